//! A member of a classic group (Kafka: `ClassicGroupMember`).

use super::super::Session;
use crate::broker::connections::Caller;
use bytes::Bytes;
use std::sync::Arc;

/// One member.
#[derive(Clone, Debug)]
pub(in crate::broker::group) struct Member {
    /// Given out by a coordinator.
    pub id: Arc<str>,
    /// `group.instance.id` of a static member (KIP-345).
    pub instance: Option<Arc<str>>,
    /// How long it may take to come to a rebalance, milliseconds.
    pub rebalance_timeout: i32,
    /// How long it may be silent, milliseconds.
    pub session_timeout: i32,
    /// The assignors it knows, the ones it likes best first, each with its subscription.
    pub protocols: Vec<(String, Bytes)>,
    /// What it was given in this generation.
    pub assignment: Bytes,
    /// Its JoinGroup that waits.
    pub joining: Option<Caller>,
    /// Its SyncGroup that waits.
    pub syncing: Option<Caller>,
    /// It has not been part of a generation yet.
    pub is_new: bool,
    /// When it has been silent for too long.
    pub session: Session,
}

impl Member {
    /// Its subscription under an assignor.
    pub fn metadata(&self, protocol: Option<&str>) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| Some(name.as_str()) == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }
    /// Whether it waits for the coordinator, which a session's end does not hold against it. A new member must stay in
    /// touch even then: its client may be gone for good (KAFKA-7610).
    pub fn is_excused(&self) -> bool {
        !self.is_new && (self.joining.is_some() || self.syncing.is_some())
    }
}
