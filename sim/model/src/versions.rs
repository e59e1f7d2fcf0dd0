//! Which APIs at which versions: what a node offers at each listener, and what two nodes settle on.

use crate::ids::ApiKey;
use crate::node::Listener;
use crate::small_map::SmallMap;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiVersionsResponse, RequestKind};
use std::collections::BTreeMap;

/// An inclusive range of versions of one API.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VersionRange {
    /// Lowest.
    pub min: i16,
    /// Highest.
    pub max: i16,
}

const fn range(min: i16, max: i16) -> VersionRange {
    VersionRange { min, max }
}

/// What a broker answers on its client and inter-broker listeners.
const BROKER: &[(ApiKey, VersionRange)] = &[
    (ApiKey::Produce, range(3, 13)),
    (ApiKey::Fetch, range(4, 17)),
    (ApiKey::ListOffsets, range(1, 9)),
    (ApiKey::Metadata, range(0, 13)),
    (ApiKey::OffsetCommit, range(2, 9)),
    (ApiKey::OffsetFetch, range(1, 9)),
    (ApiKey::FindCoordinator, range(0, 6)),
    (ApiKey::JoinGroup, range(0, 9)),
    (ApiKey::Heartbeat, range(0, 4)),
    (ApiKey::LeaveGroup, range(0, 5)),
    (ApiKey::SyncGroup, range(0, 5)),
    (ApiKey::DescribeGroups, range(0, 6)),
    (ApiKey::ListGroups, range(0, 5)),
    (ApiKey::ApiVersions, range(0, 4)),
    (ApiKey::CreateTopics, range(2, 7)),
    (ApiKey::DeleteTopics, range(1, 6)),
    (ApiKey::DeleteRecords, range(0, 2)),
    (ApiKey::InitProducerId, range(0, 5)),
    (ApiKey::OffsetForLeaderEpoch, range(2, 4)),
    (ApiKey::DescribeConfigs, range(1, 4)),
    (ApiKey::AlterConfigs, range(0, 2)),
    (ApiKey::CreatePartitions, range(0, 3)),
    (ApiKey::DeleteGroups, range(0, 2)),
    (ApiKey::IncrementalAlterConfigs, range(0, 1)),
    (ApiKey::OffsetDelete, range(0, 0)),
    (ApiKey::DescribeCluster, range(0, 2)),
    (ApiKey::ConsumerGroupHeartbeat, range(0, 1)),
    (ApiKey::ConsumerGroupDescribe, range(0, 1)),
];

/// What a controller answers.
const CONTROLLER: &[(ApiKey, VersionRange)] = &[
    (ApiKey::Fetch, range(12, 17)),
    (ApiKey::ApiVersions, range(0, 4)),
    (ApiKey::AlterPartition, range(2, 3)),
    (ApiKey::Envelope, range(0, 0)),
    (ApiKey::BrokerRegistration, range(0, 4)),
    (ApiKey::BrokerHeartbeat, range(0, 1)),
    (ApiKey::AllocateProducerIds, range(0, 0)),
];

/// What is offered at a listener.
pub const fn offered(listener: Listener) -> &'static [(ApiKey, VersionRange)] {
    match listener {
        Listener::Client | Listener::InterBroker => BROKER,
        Listener::Controller => CONTROLLER,
    }
}

/// Highest versions a node admits to, per API; lets scenarios mix old and new nodes. Empty: no cap.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct VersionCaps(pub BTreeMap<i16, i16>);

impl VersionCaps {
    /// The range left of `range`, never empty: a cap below the minimum leaves the minimum.
    pub fn apply(&self, api: ApiKey, range: VersionRange) -> VersionRange {
        let max = self.0.get(&(api as i16)).map_or(range.max, |&cap| range.max.min(cap).max(range.min));
        VersionRange { min: range.min, max }
    }
}

/// The ApiVersions answer for a listener.
pub fn api_versions_response(listener: Listener, caps: &VersionCaps, version: i16) -> ApiVersionsResponse {
    let keys = offered(listener)
        .iter()
        .map(|&(api, range)| {
            let range = caps.apply(api, range);
            ApiVersion::default().with_api_key(api as i16).with_min_version(range.min).with_max_version(range.max)
        })
        .collect();
    let response = ApiVersionsResponse::default().with_api_keys(keys);
    // The finalized features' epoch is a tagged field from version 3 on; -1 is its default and is not written.
    debug_assert!(version >= 0);
    response
}

/// The versions two nodes settled on.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Negotiated(SmallMap<i16, i16>);

impl Negotiated {
    /// The highest versions both know, from the other side's answer.
    pub fn new(answer: &ApiVersionsResponse, caps: &VersionCaps) -> Negotiated {
        let mut versions = SmallMap::new();
        for theirs in &answer.api_keys {
            let Ok(api) = ApiKey::try_from(theirs.api_key) else { continue };
            let codec = api.valid_versions();
            let ours = BROKER.iter().chain(CONTROLLER).filter(|(k, _)| *k == api).map(|(_, r)| *r);
            let ours = ours.reduce(|a, b| range(a.min.min(b.min), a.max.max(b.max)));
            let ours = caps.apply(api, ours.unwrap_or(range(codec.min, codec.max)));
            let highest = ours.max.min(theirs.max_version);
            if highest >= ours.min.max(theirs.min_version) {
                versions.insert(theirs.api_key, highest);
            }
        }
        Negotiated(versions)
    }
    /// The version to use for an API, if both sides know one.
    pub fn version(&self, api: ApiKey) -> Option<i16> {
        self.0.get(&(api as i16)).copied()
    }
}

macro_rules! api_keys {
    ($($name:ident)*) => {
        /// Which API a request belongs to.
        ///
        /// # Panics
        /// On a request of an API that no part of the model sends.
        pub fn api_of(request: &RequestKind) -> ApiKey {
            match request {
                $(RequestKind::$name(_) => ApiKey::$name,)*
                other => unreachable!("nobody sends {other:?}"),
            }
        }
    };
}

api_keys! {
    Produce Fetch ListOffsets Metadata ApiVersions CreateTopics InitProducerId OffsetForLeaderEpoch AlterPartition
    Envelope BrokerRegistration BrokerHeartbeat AllocateProducerIds DeleteTopics DeleteRecords OffsetCommit
    OffsetFetch FindCoordinator JoinGroup Heartbeat LeaveGroup SyncGroup DescribeGroups ListGroups
    AddPartitionsToTxn AddOffsetsToTxn EndTxn WriteTxnMarkers TxnOffsetCommit DescribeConfigs CreatePartitions
    Vote BeginQuorumEpoch EndQuorumEpoch FetchSnapshot DescribeCluster DescribeQuorum ConsumerGroupHeartbeat
    ControllerRegistration AlterConfigs IncrementalAlterConfigs DeleteGroups OffsetDelete
    ConsumerGroupDescribe
}
