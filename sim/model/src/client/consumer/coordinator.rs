//! Who coordinates the group: asked of any broker, and again whenever the coordinator says it is not the one, or
//! cannot be reached.
//!
//! Requests to the coordinator have a connection of their own, as in Java: a JoinGroup is answered when the rebalance
//! is over, and must not be in the way of fetches, nor they in the way of heartbeats.

use super::Consumer;
use super::group::{Group, GroupTag};
use super::requests::Tag;
use crate::client::errors;
use crate::ids::{ApiKey, NodeId};
use crate::node::{Endpoint, Outbox};
use crate::units::Instant;
use kafka_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};

/// What is known of the coordinator.
#[derive(Debug, Default)]
pub(super) struct Coordinator {
    /// Its connection's name in the network.
    pub node: Option<NodeId>,
    asking: bool,
    retry_at: Instant,
    failures: u32,
}

impl Group {
    /// The next question who coordinates waits until then: brokers do not agree yet.
    pub fn coordinator_after(&mut self, at: Instant) {
        self.coordinator.retry_at = at;
    }
}

/// The connection to a coordinator is none of those to brokers; Java counts down from the largest number too.
fn apart(broker: i32) -> NodeId {
    NodeId(i32::MAX - broker)
}

impl Consumer {
    /// The coordinator, if a request can be sent to it now. Otherwise it is being looked for or connected to.
    pub(super) fn coordinator(&mut self, group: &Group, now: Instant, out: &mut Outbox) -> Option<NodeId> {
        let node = group.coordinator.node?;
        self.net.connect(now, node, out).then_some(node)
    }

    /// Looks for the coordinator if there is none; every part of a group needs it sooner or later. Returns when to
    /// come back.
    pub(super) fn find_if_unknown(&mut self, group: &mut Group, now: Instant, out: &mut Outbox) -> Instant {
        if let Some(node) = group.coordinator.node {
            // A connection that was lost may not be opened again at once.
            return self.net.retry_at(node).filter(|&at| at > now).unwrap_or(Instant::MAX);
        }
        if group.coordinator.asking || group.failed.is_some() {
            return Instant::MAX;
        }
        if now < group.coordinator.retry_at {
            return group.coordinator.retry_at;
        }
        let Some(node) = self.net.least_loaded(now) else {
            return self.net.next_retry().unwrap_or(Instant::MAX);
        };
        if !self.net.connect(now, node, out) {
            return self.net.retry_at(node).unwrap_or(Instant::MAX);
        }
        let Some(version) = self.net.version(node, ApiKey::FindCoordinator) else {
            self.not_found(group, now);
            return group.coordinator.retry_at;
        };
        let request = if version >= 4 {
            FindCoordinatorRequest::default().with_coordinator_keys(vec![group.id.0.clone()])
        } else {
            FindCoordinatorRequest::default().with_key(group.id.0.clone())
        };
        group.coordinator.asking = true;
        self.net.send_version(now, node, version.min(6), request, Tag::Group(GroupTag::Find), out);
        Instant::MAX
    }

    pub(super) fn on_found(
        &mut self,
        group: &mut Group,
        now: Instant,
        version: i16,
        answer: &FindCoordinatorResponse,
        out: &mut Outbox,
    ) {
        group.coordinator.asking = false;
        let (error, node, host, port) = match answer.coordinators.first().filter(|_| version >= 4) {
            Some(c) => (c.error_code, c.node_id.0, c.host.as_str(), c.port),
            None if version >= 4 => (errors::UNKNOWN_SERVER_ERROR, -1, "", 0),
            None => (answer.error_code, answer.node_id.0, answer.host.as_str(), answer.port),
        };
        if error == errors::GROUP_AUTHORIZATION_FAILED {
            self.give_up(group, errors::name(error));
        } else if error != errors::NONE || node < 0 {
            self.not_found(group, now);
        } else {
            let node = apart(node);
            let lost = self.net.set_apart(now, node, Endpoint::new(host, port as u16), out);
            lost.into_iter().for_each(|tag| self.lost_in_group(group, now, tag));
            group.coordinator.node = Some(node);
            group.coordinator.failures = 0;
            group.membership.coordinator_found(now);
        }
        self.dirty = true;
    }

    /// Nobody could say who it is; asked again after a pause.
    pub(super) fn not_found(&mut self, group: &mut Group, now: Instant) {
        let c = &mut group.coordinator;
        c.asking = false;
        c.retry_at = now + self.retry.after(c.failures, self.net.rng());
        c.failures += 1;
        self.dirty = true;
    }

    /// The coordinator is not what it was: every request to it is given up, and it is looked for anew.
    pub(super) fn forget_coordinator(&mut self, group: &mut Group, now: Instant, out: &mut Outbox) {
        if let Some(node) = group.coordinator.node.take() {
            for tag in self.net.disconnect(now, node, out) {
                self.lost_in_group(group, now, tag);
            }
        }
        self.dirty = true;
    }

    /// A connection is gone: perhaps the coordinator's.
    pub(super) fn connection_lost(&mut self, node: NodeId) {
        if let Some(group) = &mut self.group
            && group.coordinator.node == Some(node)
        {
            group.coordinator.node = None;
        }
    }

    fn lost_in_group(&mut self, group: &mut Group, now: Instant, tag: Tag) {
        if let Tag::Group(tag) = tag {
            self.on_group_lost(group, now, tag);
        }
    }
}
