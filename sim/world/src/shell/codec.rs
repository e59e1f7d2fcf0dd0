//! Headers and versions around the messages: what turns a frame into a request or a response, and back.
//!
//! What clients punish (`KIP-482`, `KIP-511`): the header's version follows from API and version; the header of an
//! ApiVersions response is always version 0; an ApiVersions request above what is known is answered with a body of
//! version 0; tagged fields that hold their default are not written (the codec crate sees to that). An API or version
//! that is not offered costs the connection, as in Kafka: there is no telling how to answer it.

use super::guard;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{RequestHeader, RequestKind, ResponseHeader, ResponseKind};
use kafka_protocol::protocol::{Encodable, StrBytes};
use klamm_model::ids::ApiKey;
use klamm_model::node::Listener;
use klamm_model::versions::{VersionCaps, api_of, offered};

/// `UNSUPPORTED_VERSION`.
const UNSUPPORTED_VERSION: i16 = 35;

/// What is wrong with a frame.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// It ends too early, or says of itself what cannot be.
    #[error("a malformed {what}: {why}")]
    Malformed {
        /// Header, or the message by its API and version.
        what: String,
        /// As the codec tells it.
        why: String,
    },
    /// A message whose counts and lengths do not fit its bytes.
    #[error(transparent)]
    Unfit(#[from] guard::Malformed),
    /// Not an API of Kafka's, or none that is offered here.
    #[error("API {api} at version {version} is not offered here")]
    NotOffered {
        /// The key, with its name if it has one.
        api: String,
        /// The version.
        version: i16,
    },
    /// An answer that does not belong to the oldest request.
    #[error("an answer to request {answered}, when {expected} was to be answered next")]
    OutOfOrder {
        /// As the answer says.
        answered: i32,
        /// The oldest unanswered.
        expected: i32,
    },
    /// An answer that was not asked for.
    #[error("an answer to request {0}, which nobody sent")]
    Unasked(i32),
    /// A message that its version cannot carry.
    #[error("a {api:?} message at version {version} cannot be encoded: {why}")]
    Unencodable {
        /// Which.
        api: ApiKey,
        /// The version.
        version: i16,
        /// As the codec tells it.
        why: String,
    },
}

/// A request as it came.
#[derive(Debug)]
pub struct Incoming {
    /// Its API.
    pub api: ApiKey,
    /// Its version.
    pub version: i16,
    /// To be repeated in the answer.
    pub correlation: i32,
    /// The client's name of itself.
    pub client_id: StrBytes,
    /// The message.
    pub request: RequestKind,
}

/// Whether a request is answered at all: nobody waits for an answer with acks=0.
pub fn is_answered(request: &RequestKind) -> bool {
    !matches!(request, RequestKind::Produce(produce) if produce.acks == 0)
}

fn malformed(what: impl Into<String>, why: impl ToString) -> CodecError {
    CodecError::Malformed { what: what.into(), why: why.to_string() }
}

/// A header's end that came too early.
fn short() -> CodecError {
    malformed("header", "it ends too early")
}

/// Passes over the tagged fields of a flexible header; whatever they are, they change nothing.
fn skip_tagged_fields(frame: &mut Bytes) -> Result<(), CodecError> {
    let varint = |frame: &mut Bytes| -> Result<usize, CodecError> {
        let mut value = 0usize;
        for shift in (0..35).step_by(7) {
            let byte = frame.try_get_u8().map_err(|_| short())?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(malformed("header", "a number of more than five bytes"))
    };
    for _ in 0..varint(frame)? {
        varint(frame)?;
        let size = varint(frame)?;
        if size > frame.remaining() {
            return Err(short());
        }
        frame.advance(size);
    }
    Ok(())
}

/// Reads a request that came through a listener of a node that admits to no more than `caps`.
pub fn decode_request(listener: Listener, caps: &VersionCaps, mut frame: Bytes) -> Result<Incoming, CodecError> {
    let key = frame.try_get_i16().map_err(|_| short())?;
    let version = frame.try_get_i16().map_err(|_| short())?;
    let correlation = frame.try_get_i32().map_err(|_| short())?;
    let api = ApiKey::try_from(key).ok();
    let range = api.and_then(|api| offered(listener).iter().find(|(key, _)| *key == api));
    let Some((&(api, range), api_range)) = range.map(|entry| (entry, caps.apply(entry.0, entry.1))) else {
        let api = api.map_or_else(|| key.to_string(), |api| format!("{key} ({api:?})"));
        return Err(CodecError::NotOffered { api, version });
    };
    if api == ApiKey::ApiVersions && !(0..=api_range.max).contains(&version) {
        // KIP-511. Nothing after these fields can be relied on, and nothing of it is needed.
        let request = RequestKind::ApiVersions(Default::default());
        return Ok(Incoming { api, version, correlation, client_id: StrBytes::default(), request });
    }
    if version < api_range.min || version > api_range.max {
        debug_assert!(api_range.max <= range.max);
        return Err(CodecError::NotOffered { api: format!("{key} ({api:?})"), version });
    }
    let length = frame.try_get_i16().map_err(|_| short())?;
    let client_id = match usize::try_from(length) {
        Err(_) => StrBytes::default(),
        Ok(length) if length > frame.remaining() => return Err(short()),
        Ok(length) => StrBytes::from_utf8(frame.split_to(length))
            .map_err(|_| malformed("header", "the client id is not UTF-8"))?,
    };
    if api.request_header_version(version) >= 2 {
        skip_tagged_fields(&mut frame)?;
    }
    match guard::check_request(api, version, &frame) {
        // As Kafka does: librdkafka 2.16 leaves three bytes behind a Metadata request for all topics.
        Ok(()) | Err(guard::Malformed { fault: guard::Fault::Trailing(_), .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let request = RequestKind::decode(api, &mut frame, version)
        .map_err(|e| malformed(format!("{api:?} request, version {version}"), format!("{e:#}")))?;
    let mut incoming = Incoming { api, version, correlation, client_id, request };
    leave_records_alone(&mut incoming);
    Ok(incoming)
}

/// Takes the names in a Produce request out of its frame, so that a lone batch has it for itself: the log keeps those
/// bytes and stamps them where they are, and copies them if anybody else holds a part.
fn leave_records_alone(incoming: &mut Incoming) {
    let RequestKind::Produce(produce) = &mut incoming.request else { return };
    let own = |name: &StrBytes| StrBytes::from_string(name.to_string());
    incoming.client_id = own(&incoming.client_id);
    produce.transactional_id = produce.transactional_id.as_ref().map(|id| own(id).into());
    for topic in &mut produce.topic_data {
        topic.name = own(&topic.name).into();
    }
}

/// A frame under construction: room for its length, which [`close_frame`] fills in.
fn open_frame(room: usize) -> BytesMut {
    let mut frame = BytesMut::with_capacity(room);
    frame.put_i32(0);
    frame
}

fn close_frame(mut frame: BytesMut) -> BytesMut {
    let length = (frame.len() - super::frame::LENGTH) as i32;
    frame[..super::frame::LENGTH].copy_from_slice(&length.to_be_bytes());
    frame
}

/// Writes a request, its frame included.
pub fn encode_request(
    client_id: &StrBytes,
    correlation: i32,
    version: i16,
    request: &RequestKind,
) -> Result<BytesMut, CodecError> {
    let api = api_of(request);
    let fail = |why: String| CodecError::Unencodable { api, version, why };
    let mut frame = open_frame(256);
    RequestHeader::default()
        .with_request_api_key(api as i16)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(client_id.clone()))
        .encode(&mut frame, api.request_header_version(version))
        .map_err(|e| fail(format!("{e:#}")))?;
    request.encode(&mut frame, version).map_err(|e| fail(format!("{e:#}")))?;
    Ok(close_frame(frame))
}

/// Bytes of records in a response, for which there is to be room at once.
fn records_in(response: &ResponseKind) -> usize {
    let ResponseKind::Fetch(fetch) = response else { return 0 };
    fetch.responses.iter().flat_map(|t| &t.partitions).filter_map(|p| p.records.as_ref()).map(Bytes::len).sum()
}

/// Writes a response, its frame included. An ApiVersions request above what is known has an answer of version 0.
pub fn encode_response(
    api: ApiKey,
    correlation: i32,
    version: i16,
    response: &ResponseKind,
) -> Result<BytesMut, CodecError> {
    let fail = |why: String| CodecError::Unencodable { api, version, why };
    let mut frame = open_frame(256 + records_in(response));
    ResponseHeader::default()
        .with_correlation_id(correlation)
        .encode(&mut frame, api.response_header_version(version))
        .map_err(|e| fail(format!("{e:#}")))?;
    response.encode(&mut frame, version).map_err(|e| fail(format!("{e:#}")))?;
    Ok(close_frame(frame))
}

/// Reads the answer to a request.
pub fn decode_response(api: ApiKey, version: i16, expected: i32, mut frame: Bytes) -> Result<ResponseKind, CodecError> {
    let what = || format!("{api:?} response, version {version}");
    let answered = frame.try_get_i32().map_err(|_| malformed(what(), "it ends too early"))?;
    if answered != expected {
        return Err(CodecError::OutOfOrder { answered, expected });
    }
    if api.response_header_version(version) >= 1 {
        skip_tagged_fields(&mut frame)?;
    }
    // KIP-511: whoever does not know the version asked for answers in version 0.
    let refused = api == ApiKey::ApiVersions && frame.starts_with(&UNSUPPORTED_VERSION.to_be_bytes());
    let version = if refused { 0 } else { version };
    guard::check_response(api, version, &frame)?;
    ResponseKind::decode(api, &mut frame, version).map_err(|e| malformed(what(), format!("{e:#}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse, FetchRequest, ProduceRequest};
    use klamm_model::versions::api_versions_response;

    fn body(frame: BytesMut) -> Bytes {
        let mut frame = frame.freeze();
        assert_eq!(frame.get_i32() as usize, frame.len());
        frame
    }

    fn client() -> StrBytes {
        StrBytes::from_static_str("test")
    }

    #[test]
    fn a_lone_batch_has_its_frame_for_itself() {
        use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
        for version in 3..=13 {
            let part = PartitionProduceData::default().with_records(Some(Bytes::from(vec![7; 1_000])));
            let topic = TopicProduceData::default().with_partition_data(vec![part]);
            let named = topic.clone().with_name(StrBytes::from_static_str("orders").into());
            let produce = ProduceRequest::default()
                .with_transactional_id(Some(StrBytes::from_static_str("t").into()))
                .with_topic_data(vec![if version < 13 { named } else { topic }]);
            let frame = body(encode_request(&client(), 1, version, &produce.into()).unwrap());
            let came = decode_request(Listener::Client, &VersionCaps::default(), frame).unwrap();
            let RequestKind::Produce(mut produce) = came.request else { panic!("{:?}", came.request) };
            let records = produce.topic_data[0].partition_data[0].records.take().unwrap();
            assert!(records.is_unique(), "version {version}");
        }
    }

    #[test]
    fn requests_pass_at_every_version_offered() {
        for listener in [Listener::Client, Listener::Controller] {
            for &(api, range) in offered(listener) {
                for version in range.min..=range.max {
                    let request = match api {
                        ApiKey::Produce => RequestKind::Produce(ProduceRequest::default()),
                        ApiKey::Fetch => RequestKind::Fetch(FetchRequest::default()),
                        ApiKey::ApiVersions => RequestKind::ApiVersions(ApiVersionsRequest::default()),
                        _ => continue,
                    };
                    let frame = body(encode_request(&client(), 7, version, &request).unwrap());
                    let came = decode_request(listener, &VersionCaps::default(), frame).unwrap();
                    assert_eq!((came.api, came.version, came.correlation), (api, version, 7));
                    assert_eq!((came.client_id, came.request), (client(), request));
                }
            }
        }
    }

    #[test]
    fn an_api_versions_request_of_the_future_is_let_through_and_answered_in_version_0() {
        let mut frame = BytesMut::new();
        frame.put_i16(ApiKey::ApiVersions as i16);
        frame.put_i16(99);
        frame.put_i32(5);
        frame.put_slice(&[0xff; 20]);
        let came = decode_request(Listener::Client, &VersionCaps::default(), frame.freeze()).unwrap();
        assert_eq!((came.version, came.correlation), (99, 5));
        let answer = api_versions_response(Listener::Client, &VersionCaps::default(), 0).with_error_code(35);
        let sent = encode_response(ApiKey::ApiVersions, 5, 0, &ResponseKind::ApiVersions(answer.clone())).unwrap();
        // Correlation id, error code, a count of four bytes: nothing of a flexible version.
        assert_eq!(sent[4..10], [0, 0, 0, 5, 0, 35]);
        let ResponseKind::ApiVersions(read) = decode_response(ApiKey::ApiVersions, 4, 5, body(sent)).unwrap() else {
            panic!("another response")
        };
        assert_eq!(read.api_keys.len(), answer.api_keys.len());
    }

    #[test]
    fn the_header_of_an_api_versions_response_never_has_tagged_fields() {
        for version in 0..=4 {
            let answer = ResponseKind::ApiVersions(ApiVersionsResponse::default());
            let sent = encode_response(ApiKey::ApiVersions, 1, version, &answer).unwrap();
            assert_eq!(sent[8..10], [0, 0], "version {version}: the error code follows the correlation id");
        }
    }

    #[test]
    fn bytes_behind_a_request_do_not_matter() {
        let mut frame = BytesMut::new();
        frame.put_i16(ApiKey::Metadata as i16);
        frame.put_i16(13);
        frame.put_i32(1);
        frame.put_i16(-1);
        // The header's tags; no topics named, no creation, no authorized operations, no tags; and what is left over.
        frame.put_slice(&[0, 0, 0, 0, 0, 1, 0, 0]);
        let came = decode_request(Listener::Client, &VersionCaps::default(), frame.freeze()).unwrap();
        assert!(matches!(came.request, RequestKind::Metadata(r) if r.topics.is_none()));
    }

    #[test]
    fn what_is_not_offered_is_named() {
        let told = |key: i16, version: i16| {
            let mut frame = BytesMut::new();
            frame.put_i16(key);
            frame.put_i16(version);
            frame.put_i32(1);
            frame.put_i16(-1);
            decode_request(Listener::Client, &VersionCaps::default(), frame.freeze()).unwrap_err().to_string()
        };
        assert_eq!(told(1, 99), "API 1 (Fetch) at version 99 is not offered here");
        assert_eq!(told(62, 0), "API 62 (BrokerRegistration) at version 0 is not offered here");
        assert_eq!(told(999, 0), "API 999 at version 0 is not offered here");
    }

    #[test]
    fn a_cut_header_is_malformed_at_every_length() {
        let request = RequestKind::Fetch(FetchRequest::default());
        let frame = body(encode_request(&client(), 1, 12, &request).unwrap());
        for cut in 0..frame.len() {
            let came = decode_request(Listener::Client, &VersionCaps::default(), frame.slice(..cut));
            assert!(matches!(came, Err(CodecError::Malformed { .. } | CodecError::Unfit(_))), "cut at {cut}: {came:?}");
        }
    }

    #[test]
    fn answers_out_of_order_are_refused() {
        let answer = ResponseKind::ApiVersions(ApiVersionsResponse::default());
        let sent = body(encode_response(ApiKey::ApiVersions, 3, 0, &answer).unwrap());
        let read = decode_response(ApiKey::ApiVersions, 0, 2, sent);
        assert!(matches!(read, Err(CodecError::OutOfOrder { answered: 3, expected: 2 })));
    }
}
