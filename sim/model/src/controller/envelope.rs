//! Envelope (KIP-590): a broker forwards what a client asked, header and body as the client encoded them, and gets
//! the answer back the same way.

use crate::guard;
use crate::ids::ApiKey;
use bytes::{Bytes, BytesMut};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{
    AlterConfigsRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, EnvelopeRequest,
    EnvelopeResponse, IncrementalAlterConfigsRequest, RequestHeader, RequestKind, ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable};

/// What brokers forward.
const FORWARDABLE: [ApiKey; 5] = [
    ApiKey::CreateTopics,
    ApiKey::CreatePartitions,
    ApiKey::DeleteTopics,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::AlterConfigs,
];

/// What may be forwarded.
#[derive(Debug)]
pub enum Wish {
    /// CreateTopics.
    Topics(CreateTopicsRequest),
    /// CreatePartitions.
    Partitions(CreatePartitionsRequest),
    /// DeleteTopics.
    Deletion(DeleteTopicsRequest),
    /// IncrementalAlterConfigs.
    Configs(IncrementalAlterConfigsRequest),
    /// AlterConfigs.
    AllConfigs(AlterConfigsRequest),
}

/// A forwarded request.
#[derive(Debug)]
pub struct Forwarded {
    /// The client's header.
    pub header: RequestHeader,
    /// The client's request.
    pub request: Wish,
}

/// Opens an envelope.
///
/// # Errors
/// It holds something else, or nothing that can be read.
pub fn open(envelope: &EnvelopeRequest) -> Result<Forwarded, ResponseError> {
    let mut data = envelope.request_data.clone();
    let (api, version) = match data[..] {
        [a, b, c, d, ..] => (i16::from_be_bytes([a, b]), i16::from_be_bytes([c, d])),
        _ => return Err(ResponseError::InvalidRequest),
    };
    let invalid = ResponseError::InvalidRequest;
    let api = ApiKey::try_from(api).map_err(|()| invalid)?;
    if !FORWARDABLE.contains(&api) {
        return Err(invalid);
    }
    let range = api.valid_versions();
    if !(range.min..=range.max).contains(&version) {
        return Err(ResponseError::UnsupportedVersion);
    }
    let header = RequestHeader::decode(&mut data, api.request_header_version(version)).map_err(|_| invalid)?;
    // A client encoded it, and the broker between may have looked at its envelope only.
    guard::check_request(api, version, &data).map_err(|_| invalid)?;
    let request = match RequestKind::decode(api, &mut data, version).map_err(|_| invalid)? {
        RequestKind::CreateTopics(r) => Wish::Topics(r),
        RequestKind::CreatePartitions(r) => Wish::Partitions(r),
        RequestKind::DeleteTopics(r) => Wish::Deletion(r),
        RequestKind::IncrementalAlterConfigs(r) => Wish::Configs(r),
        RequestKind::AlterConfigs(r) => Wish::AllConfigs(r),
        _ => return Err(invalid),
    };
    Ok(Forwarded { header, request })
}

/// Puts the answer into an envelope.
pub fn seal(header: &RequestHeader, response: &impl Encodable) -> EnvelopeResponse {
    let version = header.request_api_version;
    match encode(header, response, version) {
        Ok(data) => EnvelopeResponse::default().with_response_data(Some(data)),
        Err(_) => refuse(ResponseError::UnknownServerError),
    }
}

/// An envelope without an answer.
pub fn refuse(error: ResponseError) -> EnvelopeResponse {
    EnvelopeResponse::default().with_error_code(error.code())
}

fn encode(header: &RequestHeader, response: &impl Encodable, version: i16) -> Result<Bytes, ()> {
    let mut data = BytesMut::new();
    let api = ApiKey::try_from(header.request_api_key)?;
    let answer = ResponseHeader::default().with_correlation_id(header.correlation_id);
    answer.encode(&mut data, api.response_header_version(version)).map_err(|_| ())?;
    response.encode(&mut data, version).map_err(|_| ())?;
    Ok(data.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::CreateTopicsResponse;
    use kafka_protocol::protocol::StrBytes;

    fn envelope(version: i16) -> EnvelopeRequest {
        let header = RequestHeader::default()
            .with_request_api_key(ApiKey::CreateTopics as i16)
            .with_request_api_version(version)
            .with_correlation_id(77)
            .with_client_id(Some(StrBytes::from_static_str("admin")));
        let mut data = BytesMut::new();
        header.encode(&mut data, ApiKey::CreateTopics.request_header_version(version)).unwrap();
        CreateTopicsRequest::default().with_timeout_ms(5).encode(&mut data, version).unwrap();
        EnvelopeRequest::default().with_request_data(data.freeze())
    }

    #[test]
    fn what_is_forwarded_is_answered_in_its_own_version() {
        for version in 2..=7 {
            let forwarded = open(&envelope(version)).unwrap();
            assert!(matches!(&forwarded.request, Wish::Topics(r) if r.timeout_ms == 5));
            let answer = seal(&forwarded.header, &CreateTopicsResponse::default());
            let mut data = answer.response_data.unwrap();
            let header_version = ApiKey::CreateTopics.response_header_version(version);
            assert_eq!(ResponseHeader::decode(&mut data, header_version).unwrap().correlation_id, 77);
            CreateTopicsResponse::decode(&mut data, version).unwrap();
            assert!(data.is_empty());
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let of = |bytes: &[u8]| EnvelopeRequest::default().with_request_data(Bytes::copy_from_slice(bytes));
        assert_eq!(open(&of(b"")).unwrap_err(), ResponseError::InvalidRequest);
        assert_eq!(open(&of(&[0, 3, 0, 1, 0, 0])).unwrap_err(), ResponseError::InvalidRequest);
        assert_eq!(open(&of(&[0, 19, 0, 99])).unwrap_err(), ResponseError::UnsupportedVersion);
        let whole = envelope(7).request_data;
        assert_eq!(open(&of(&whole[..12])).unwrap_err(), ResponseError::InvalidRequest);
    }
}
