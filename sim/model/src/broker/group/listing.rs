//! DescribeGroups and ListGroups.

use super::super::Process;
use super::classic::{ClassicGroup, Member, State};
use super::shard::{Group, Kind};
use crate::broker::connections::Caller;
use crate::broker::text;
use crate::node::Outbox;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{
    DescribeGroupsRequest, DescribeGroupsResponse, GroupId, ListGroupsRequest, ListGroupsResponse,
};
use kafka_protocol::protocol::StrBytes;

/// From this version on a group that is not there is an error; before, it is called dead.
const DESCRIBES_ABSENCE: i16 = 6;
/// What stands for a client's id and address: a node is not told either.
const UNKNOWN_CLIENT: &str = "unknown";

impl Process {
    pub(super) fn on_describe_groups(&mut self, caller: Caller, request: &DescribeGroupsRequest, out: &mut Outbox) {
        let describe = |id: &GroupId| {
            let shard = self.coordinator(id, out).map(|owner| &self.groups.shards[&owner]);
            let mut described = match shard.map(|s| s.groups.get(id.as_str()).and_then(Group::classic)) {
                Ok(Some(group)) => describe(group, caller.version),
                Ok(None) => {
                    let absent = DescribedGroup::default().with_group_state(text(State::Dead.name()));
                    let absence = ResponseError::GroupIdNotFound.code();
                    if caller.version >= DESCRIBES_ABSENCE { absent.with_error_code(absence) } else { absent }
                }
                Err(error) => DescribedGroup::default().with_error_code(error.code()),
            };
            described.group_id = id.clone();
            described
        };
        let answer = DescribeGroupsResponse::default().with_groups(request.groups.iter().map(describe).collect());
        self.answer(caller, answer, out);
    }

    pub(super) fn on_list_groups(&mut self, caller: Caller, request: &ListGroupsRequest, out: &mut Outbox) {
        let wanted =
            |filter: &[StrBytes], name: &str| filter.is_empty() || filter.iter().any(|f| f.eq_ignore_ascii_case(name));
        let mut answer = ListGroupsResponse::default();
        for shard in self.groups.shards.values() {
            if !shard.is_active() {
                answer.error_code = ResponseError::CoordinatorLoadInProgress.code();
                continue;
            }
            for (id, group) in &shard.groups {
                let (state, kind, protocol_type) = group.listed();
                if !wanted(&request.states_filter, state) || !wanted(&request.types_filter, kind) {
                    continue;
                }
                let mut listed =
                    ListedGroup::default().with_group_id(GroupId(text(id))).with_protocol_type(text(protocol_type));
                if caller.version >= 4 {
                    listed.group_state = text(state);
                }
                if caller.version >= 5 {
                    listed.group_type = text(kind);
                }
                answer.groups.push(listed);
            }
        }
        self.answer(caller, answer, out);
    }
}

impl Group {
    /// State, type and protocol type.
    fn listed(&self) -> (&'static str, &'static str, &str) {
        match &self.kind {
            Kind::Classic(g) => (g.state().name(), "classic", g.protocol_type.as_deref().unwrap_or("")),
            Kind::Consumer(g) => (g.state(), "consumer", "consumer"),
        }
    }
}

fn describe(group: &ClassicGroup, version: i16) -> DescribedGroup {
    // Only a generation that is complete has a protocol and assignments to speak of.
    let stable = group.state() == State::Stable;
    let protocol = group.protocol.as_deref().filter(|_| stable);
    let member = |m: &Member| {
        let mut described = DescribedGroupMember::default()
            .with_member_id(text(&m.id))
            .with_client_id(text(UNKNOWN_CLIENT))
            .with_client_host(text(UNKNOWN_CLIENT));
        if version >= 4 {
            described.group_instance_id = m.instance.as_deref().map(text);
        }
        if stable {
            described.member_metadata = m.metadata(protocol);
            described.member_assignment = m.assignment.clone();
        }
        described
    };
    DescribedGroup::default()
        .with_group_state(text(group.state().name()))
        .with_protocol_type(text(group.protocol_type.as_deref().unwrap_or("")))
        .with_protocol_data(text(protocol.unwrap_or("")))
        .with_members(group.members.values().map(member).collect())
}
