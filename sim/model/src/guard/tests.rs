use super::compose::{self, Source};
use super::{Fault, Malformed, check_request, check_response, layouts};
use crate::ids::ApiKey;
use crate::node::Listener;
use crate::versions::offered;
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{RequestKind, ResponseKind};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Everything there, and nothing at its default.
struct Full(ChaCha8Rng);

impl Source for Full {
    fn int(&mut self, _: &'static str, _: u8) -> i64 {
        2 * self.0.random_range(1..60) + 1
    }
    fn string(&mut self, field: &'static str) -> String {
        format!("{field}-{}", "x".repeat(self.0.random_range(0..150)))
    }
    fn bytes(&mut self, _: &'static str) -> Vec<u8> {
        (0..self.0.random_range(1..200)).collect()
    }
    fn uuid(&mut self, _: &'static str) -> [u8; 16] {
        self.0.random()
    }
    fn count(&mut self, _: &'static str) -> usize {
        self.0.random_range(1..4)
    }
    fn absent(&mut self, _: &'static str) -> bool {
        false
    }
}

/// Anything.
struct Any(ChaCha8Rng);

impl Source for Any {
    fn int(&mut self, _: &'static str, _: u8) -> i64 {
        self.0.random()
    }
    fn string(&mut self, _: &'static str) -> String {
        "y".repeat(self.0.random_range(0..5))
    }
    fn bytes(&mut self, _: &'static str) -> Vec<u8> {
        vec![9; self.0.random_range(0..5)]
    }
    fn uuid(&mut self, _: &'static str) -> [u8; 16] {
        self.0.random()
    }
    fn count(&mut self, _: &'static str) -> usize {
        self.0.random_range(0..3)
    }
    fn absent(&mut self, _: &'static str) -> bool {
        self.0.random()
    }
}

fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

type Check = fn(ApiKey, i16, &[u8]) -> Result<(), Malformed>;

/// Decoded and encoded again by the codec crate.
type Through = fn(ApiKey, i16, &[u8]) -> Result<Vec<u8>, String>;

fn request_through(api: ApiKey, version: i16, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut input = Bytes::copy_from_slice(bytes);
    let message = RequestKind::decode(api, &mut input, version).map_err(|e| e.to_string())?;
    assert!(input.is_empty(), "{api:?} {version}: {} bytes are left", input.len());
    let mut out = BytesMut::new();
    message.encode(&mut out, version).map_err(|e| e.to_string())?;
    Ok(out.to_vec())
}

fn response_through(api: ApiKey, version: i16, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut input = Bytes::copy_from_slice(bytes);
    let message = ResponseKind::decode(api, &mut input, version).map_err(|e| e.to_string())?;
    assert!(input.is_empty(), "{api:?} {version}: {} bytes are left", input.len());
    let mut out = BytesMut::new();
    message.encode(&mut out, version).map_err(|e| e.to_string())?;
    Ok(out.to_vec())
}

/// Every message, in every version that has a layout.
fn each(mut with: impl FnMut(ApiKey, i16, &dyn Fn(&mut dyn Source) -> Vec<u8>, Check, Through)) {
    for api in (0..=100).filter_map(|key| ApiKey::try_from(key).ok()) {
        let Some((request, response)) = layouts(api) else { continue };
        for version in request.min..=request.max {
            let make = |source: &mut dyn Source| compose::request(api, version, source).unwrap();
            with(api, version, &make, check_request, request_through);
        }
        for version in response.min..=response.max {
            let make = |source: &mut dyn Source| compose::response(api, version, source).unwrap();
            with(api, version, &make, check_response, response_through);
        }
    }
}

#[test]
fn everything_offered_has_a_layout() {
    for listener in [Listener::Client, Listener::InterBroker, Listener::Controller] {
        for (api, range) in offered(listener) {
            let (request, response) = layouts(*api).unwrap_or_else(|| panic!("{api:?} has no layout"));
            for layout in [request, response] {
                assert!(layout.min <= range.min && range.max <= layout.max, "{api:?}: {range:?} beyond its layout");
            }
        }
    }
}

#[test]
fn full_messages_are_the_codecs_to_the_byte() {
    each(|api, version, make, check, through| {
        for seed in 0..5 {
            let bytes = make(&mut Full(rng(seed)));
            assert_eq!(check(api, version, &bytes), Ok(()));
            assert_eq!(through(api, version, &bytes).as_ref(), Ok(&bytes), "{api:?} {version}");
        }
    });
}

#[test]
fn whatever_the_codec_makes_of_a_message_is_let_through() {
    each(|api, version, make, check, through| {
        for seed in 0..20 {
            let bytes = make(&mut Any(rng(seed)));
            assert_eq!(check(api, version, &bytes), Ok(()));
            let again = through(api, version, &bytes).unwrap_or_else(|e| panic!("{api:?} {version}: {e}"));
            assert_eq!(check(api, version, &again), Ok(()));
        }
    });
}

#[test]
fn every_truncation_and_every_addition_is_refused() {
    each(|api, version, make, check, _| {
        let mut bytes = make(&mut Full(rng(1)));
        for at in 0..bytes.len() {
            assert!(check(api, version, &bytes[..at]).is_err(), "{api:?} {version}: {at} of {} bytes", bytes.len());
        }
        bytes.push(0);
        let fault = check(api, version, &bytes).map_err(|m| m.fault);
        assert_eq!(fault, Err(Fault::Trailing(1)), "{api:?} {version}");
    });
}

#[test]
fn what_is_let_through_is_no_larger_than_its_bytes() {
    // Whatever four bytes, or one, are blown up: either the guard refuses, or it was no count, and the codec is at ease.
    each(|api, version, make, check, through| {
        let bytes = make(&mut Full(rng(2)));
        for at in 0..bytes.len() {
            for blown in [&[0x7f, 0xff, 0xff, 0xff][..], &[0xff, 0xff, 0xff, 0xff, 0x07], &[0xff, 0xff], &[0x7f, 0xff]]
            {
                let mut bytes = bytes.clone();
                let end = bytes.len().min(at + blown.len());
                bytes[at..end].copy_from_slice(&blown[..end - at]);
                if check(api, version, &bytes).is_ok() {
                    // A null, or text that is none.
                    let _ = through(api, version, &bytes);
                }
            }
        }
    });
}

#[test]
fn the_counts_that_abort_the_codec_are_named() {
    let error = check_request(ApiKey::Metadata, 1, &[0x7f, 0xff, 0xff, 0xff]).unwrap_err();
    assert_eq!(error.to_string(), "Metadata version 1, topics at byte 4: 2147483647 elements cannot be in 0 bytes");
    let produce = [0xff, 0xff, 0, 1, 0, 0, 0, 9, 0, 0, 0, 1, 0, 1, b't', 0x10, 0, 0, 0];
    let error = check_request(ApiKey::Produce, 3, &produce).unwrap_err();
    let expected = "Produce version 3, topic_data.partition_data at byte 19: 268435456 elements cannot be in 0 bytes";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn what_is_refused_is_refused_by_name() {
    let fault = |api, version, body: &[u8]| check_request(api, version, body).unwrap_err().fault;
    assert_eq!(fault(ApiKey::Heartbeat, 0, &[0xff, 0xff]), Fault::Null);
    assert_eq!(fault(ApiKey::Heartbeat, 0, &[0xff, 0xfe]), Fault::Negative(-2));
    assert_eq!(fault(ApiKey::Heartbeat, 0, &[0, 9, 1]), Fault::Short { need: 9, have: 1 });
    assert_eq!(fault(ApiKey::Heartbeat, 9, &[]), Fault::Version);
    assert_eq!(fault(ApiKey::Heartbeat, -1, &[]), Fault::Version);
    assert_eq!(fault(ApiKey::CreateAcls, 0, &[]), Fault::Api);
    // ApiVersions 3: name, version, tagged fields.
    assert_eq!(fault(ApiKey::ApiVersions, 3, &[1, 1, 2, 5, 0, 5, 0]), Fault::TagOrder(5));
    assert_eq!(fault(ApiKey::ApiVersions, 3, &[1, 1, 0xff, 0xff, 0xff, 0xff, 0x1f]), Fault::Varint);
    assert_eq!(fault(ApiKey::ApiVersions, 3, &[1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), Fault::Varint);
    assert_eq!(check_request(ApiKey::ApiVersions, 3, &[1, 1, 2, 5, 0, 7, 1, 42]), Ok(()), "unknown tags are skipped");
    // A known tag whose content is shorter than it says (BrokerHeartbeat 1, offline_log_dirs).
    let mut heartbeat = vec![0; 22];
    heartbeat.extend([1, 0, 2, 1, 99]);
    assert_eq!(fault(ApiKey::BrokerHeartbeat, 1, &heartbeat), Fault::TagSize(1));
    let marker = check_response(ApiKey::ConsumerGroupHeartbeat, 0, &[0; 17]).unwrap_err().fault;
    assert_eq!(marker, Fault::Marker(0));
}

#[test]
fn many_small_elements_are_too_many() {
    let count = crate::limits::MAX_MESSAGE_ELEMENTS;
    let metadata = |n: usize| {
        let mut body = (n as i32).to_be_bytes().to_vec();
        body.resize(4 + 2 * n, 0);
        check_request(ApiKey::Metadata, 1, &body)
    };
    assert_eq!(metadata(count), Ok(()));
    assert_eq!(metadata(count + 1).unwrap_err().fault, Fault::TooMany);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn random_bytes_do_no_harm(key in 0i16..=80, version in 0i16..=18, bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let Ok(api) = ApiKey::try_from(key) else { return Ok(()) };
        if check_request(api, version, &bytes).is_ok() {
            let _ = request_through(api, version, &bytes);
        }
        if check_response(api, version, &bytes).is_ok() {
            let _ = response_through(api, version, &bytes);
        }
    }
}

#[test]
fn bytes_are_called_trailing_only_behind_a_message_that_was_walked_to_its_end() {
    // Whoever lets trailing bytes pass must be able to rely on what comes before them.
    each(|api, version, make, check, _| {
        for seed in 0..3 {
            let bytes = make(&mut Full(rng(seed)));
            for at in 0..bytes.len() {
                for change in [1, 0x7f, 0x80] {
                    let mut damaged = bytes.clone();
                    damaged[at] ^= change;
                    if let Err(Malformed { fault: Fault::Trailing(left), .. }) = check(api, version, &damaged) {
                        let whole = &damaged[..damaged.len() - left];
                        assert_eq!(check(api, version, whole), Ok(()), "{api:?} {version}");
                    }
                }
            }
        }
    });
}
