//! Messages through the real codec, and past the guard that real sockets have: for proving that neither makes a
//! difference, and for a digest of their bytes.

use super::size::{api_of_request, api_of_response};
use bytes::BytesMut;
use kafka_protocol::messages::{RequestKind, ResponseKind};
use klamm_model::guard;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Why a message cannot be sent: its sender filled in what its version cannot carry, or gave it no valid version.
#[derive(Debug, thiserror::Error)]
#[error("a {api} message at version {version} cannot be encoded: {reason}")]
pub(super) struct Unencodable {
    api: String,
    version: i16,
    reason: String,
}

/// The codec, with a reused buffer.
#[derive(Debug, Default)]
pub(super) struct Codec {
    buffer: BytesMut,
    digest: u64,
}

macro_rules! pass {
    ($self:ident, $kind:ident, $api_of:ident, $message:ident, $version:ident, $round_trip:ident, $check:ident) => {{
        let fail = |reason: String| {
            let api = $api_of(&$message).map_or_else(|| "?".to_owned(), |api| format!("{api:?}"));
            Unencodable { api, version: $version, reason }
        };
        $message.encode(&mut $self.buffer, $version).map_err(|e| fail(e.to_string()))?;
        let mut bytes = $self.buffer.split().freeze();
        $self.digest = xxh3_64_with_seed(&bytes, $self.digest);
        if !$round_trip {
            return Ok($message);
        }
        let api = $api_of(&$message).ok_or_else(|| fail("nobody sends it".to_owned()))?;
        guard::$check(api, $version, &bytes).map_err(|e| fail(e.to_string()))?;
        let decoded = $kind::decode(api, &mut bytes, $version).map_err(|e| fail(e.to_string()))?;
        if !bytes.is_empty() {
            return Err(fail(format!("{} bytes are left over", bytes.len())));
        }
        Ok(Box::new(decoded))
    }};
}

impl Codec {
    /// Encodes a request, takes it into the digest and, if asked, gives back what decoding it yields.
    pub(super) fn request(
        &mut self,
        message: Box<RequestKind>,
        version: i16,
        round_trip: bool,
    ) -> Result<Box<RequestKind>, Unencodable> {
        pass!(self, RequestKind, api_of_request, message, version, round_trip, check_request)
    }

    /// The same for a response.
    pub(super) fn response(
        &mut self,
        message: Box<ResponseKind>,
        version: i16,
        round_trip: bool,
    ) -> Result<Box<ResponseKind>, Unencodable> {
        pass!(self, ResponseKind, api_of_response, message, version, round_trip, check_response)
    }

    /// Rolling hash of everything encoded so far.
    pub(super) fn digest(&self) -> u64 {
        self.digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::{ApiVersionsRequest, FetchRequest};
    use kafka_protocol::protocol::StrBytes;

    #[test]
    fn what_a_version_cannot_carry_is_not_seen_by_the_receiver() {
        let message = ApiVersionsRequest::default().with_client_software_name(StrBytes::from_static_str("klamm"));
        let mut codec = Codec::default();
        let old = codec.request(Box::new(message.clone().into()), 0, true);
        assert!(
            old.is_err() || matches!(*old.unwrap(), RequestKind::ApiVersions(r) if r.client_software_name.is_empty())
        );
        let new = codec.request(Box::new(message.into()), 3, true).unwrap();
        assert!(matches!(*new, RequestKind::ApiVersions(r) if r.client_software_name.as_str() == "klamm"));
    }

    #[test]
    fn an_impossible_version_is_named() {
        let failed = Codec::default().request(Box::new(FetchRequest::default().into()), 99, false);
        assert!(failed.unwrap_err().to_string().starts_with("a Fetch message at version 99"));
    }
}
