//! A situation that no node can tell of: a group's coordinator died while it worked on a commit, and another one took
//! over. (One that lives and loses its partition says so itself, by the same mark.)

use super::marks::COORDINATOR_MOVED;
use kafka_protocol::messages::{RequestKind, ResponseKind};
use klamm_model::ids::TopicIdPartition;
use klamm_model::node::ConnId;
use klamm_model::trace::TraceEvent;
use klamm_world::event::{Event, NodeRef, What};
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Default)]
pub struct Moves {
    /// Commits that a broker works on, by group.
    commits: BTreeMap<(NodeRef, ConnId), String>,
    /// Who coordinates.
    loaded: BTreeMap<TopicIdPartition, NodeRef>,
    /// Whose coordinator died at it.
    cut: BTreeMap<TopicIdPartition, NodeRef>,
}

impl Moves {
    /// The mark, if an event completes the situation. `home` tells the partition that keeps a group.
    pub fn event(
        &mut self,
        event: &Event<'_>,
        home: impl Fn(&str) -> Option<TopicIdPartition>,
    ) -> Option<&'static str> {
        match &event.what {
            What::RequestTaken { to, request: RequestKind::OffsetCommit(commit), .. } => {
                self.commits.insert((to.node, to.conn), commit.group_id.0.to_string());
            }
            What::ResponseSent { from, response: ResponseKind::OffsetCommit(_), .. } => {
                self.commits.remove(&(from.node, from.conn));
            }
            What::Disconnected { conn, .. } => {
                self.commits.remove(&(event.node?, *conn));
            }
            What::Trace(TraceEvent::CoordinatorLoaded { partition, .. }) => {
                let node = event.node?;
                self.loaded.insert(*partition, node);
                let died = self.cut.remove(partition)?;
                return (died != node).then_some(COORDINATOR_MOVED);
            }
            What::Trace(TraceEvent::CoordinatorUnloaded { partition, .. }) => {
                self.loaded.remove(partition);
            }
            What::Ended { .. } => self.ended(event.node?, home),
            _ => {}
        }
        None
    }

    fn ended(&mut self, node: NodeRef, home: impl Fn(&str) -> Option<TopicIdPartition>) {
        let groups = self.commits.extract_if(.., |(broker, _), _| *broker == node).map(|(_, group)| group);
        for home in groups.filter_map(|group| home(&group)) {
            if self.loaded.get(&home) == Some(&node) {
                self.cut.insert(home, node);
            }
        }
        self.loaded.retain(|_, broker| *broker != node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::{GroupId, OffsetCommitRequest, OffsetCommitResponse};
    use kafka_protocol::protocol::StrBytes;
    use klamm_model::ids::*;
    use klamm_model::units::Instant;
    use klamm_world::event::{ConnEnd, Ending, Ordinal};

    const HOME: TopicIdPartition = TopicIdPartition { topic: TopicId::ZERO, partition: 1 };

    fn happens(moves: &mut Moves, node: u16, what: What<'_>) -> Option<&'static str> {
        let (at, host, node) = (Instant::from_nanos(0), None, Some(NodeRef(node)));
        let event = Event { ordinal: Ordinal(0), cause: Ordinal(0), at, host, node, what };
        moves.event(&event, |group| (group == "g").then_some(HOME))
    }
    fn loads(moves: &mut Moves, node: u16) -> Option<&'static str> {
        let (epoch, log_end) = (LeaderEpoch(0), Offset(0));
        let loaded = TraceEvent::CoordinatorLoaded { partition: HOME, epoch, log_end, groups: 1 };
        happens(moves, node, What::Trace(&loaded))
    }
    fn end(node: u16) -> ConnEnd {
        ConnEnd { node: NodeRef(node), incarnation: Incarnation(1), conn: ConnId::incoming(7) }
    }

    /// Node 1 coordinates, takes up a commit of a group, maybe answers it, and dies; another node takes over.
    fn moved(group: &str, answered: bool, to: u16) -> Option<&'static str> {
        let mut moves = Moves::default();
        assert_eq!(loads(&mut moves, 1), None);
        let group_id = GroupId(StrBytes::from_string(group.to_owned()));
        let request = RequestKind::OffsetCommit(OffsetCommitRequest::default().with_group_id(group_id));
        let (from, to_end, correlation, version) = (end(5), end(1), 3, 9);
        happens(&mut moves, 1, What::RequestTaken { from, to: to_end, correlation, version, request: &request });
        if answered {
            let response = ResponseKind::OffsetCommit(OffsetCommitResponse::default());
            let (from, to, response) = (end(1), end(5), &response);
            happens(&mut moves, 1, What::ResponseSent { from, to, correlation, version, response });
        }
        happens(&mut moves, 1, What::Ended { incarnation: Incarnation(1), how: &Ending::Killed });
        loads(&mut moves, to)
    }

    #[test]
    fn a_coordinator_that_dies_at_a_commit_and_is_replaced_is_marked() {
        assert_eq!(moved("g", false, 2), Some("coordinator-moved-with-pending-commit"));
        assert_eq!(moved("g", false, 1), None, "it came back itself");
        assert_eq!(moved("g", true, 2), None, "it had answered");
        assert_eq!(moved("another", false, 2), None, "a group that lives elsewhere");
    }
}
