//! ConsumerGroupDescribe: a KIP-848 group as its coordinator sees it. Follows Kafka's
//! `ConsumerGroup.asDescribedGroup`.

use super::super::super::Process;
use super::super::assignor::Partitions;
use super::super::shard::Group;
use super::{ConsumerGroup, Member, UNKNOWN_CLIENT, target};
use crate::broker::connections::Caller;
use crate::broker::text;
use crate::controller::image::Image;
use crate::ids::*;
use crate::node::Outbox;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_group_describe_response::TopicPartitions;
use kafka_protocol::messages::consumer_group_describe_response::{Assignment, DescribedGroup, Member as Described};
use kafka_protocol::messages::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, GroupId};

/// The first version that tells members of the classic protocol from others, and what it calls the others.
const MEMBER_TYPES: i16 = 1;
const CONSUMER: i8 = 1;

impl Process {
    pub(in crate::broker::group) fn on_consumer_group_describe(
        &mut self,
        caller: Caller,
        request: &ConsumerGroupDescribeRequest,
        out: &mut Outbox,
    ) {
        let configured = self.spec.config.group_consumer_assignors.split(',').next().unwrap_or_default().trim();
        let describe = |id: &GroupId| {
            let owner = self.coordinator_of_named(id, out);
            let group = owner.and_then(|owner| {
                let shard = &self.groups.shards[&owner];
                let group = shard.groups.get(id.as_str()).and_then(Group::consumer);
                group.ok_or(ResponseError::GroupIdNotFound)
            });
            let described = match group {
                Ok(group) => group.describe(&self.metadata.image, configured, caller.version),
                Err(error) => DescribedGroup::default().with_error_code(error.code()),
            };
            described.with_group_id(id.clone())
        };
        let groups = request.group_ids.iter().map(describe).collect();
        self.answer(caller, ConsumerGroupDescribeResponse::default().with_groups(groups), out);
    }
}

impl ConsumerGroup {
    fn describe(&self, image: &Image, configured: &str, version: i16) -> DescribedGroup {
        let nothing = Partitions::new();
        let member = |m: &Member| {
            let names = m.said.subscribed_topic_names.iter().map(|name| TopicName(text(name))).collect();
            let mut described = Described::default()
                .with_member_id(text(&m.id))
                .with_instance_id(m.said.instance_id.as_deref().map(text))
                .with_rack_id(m.said.rack_id.as_deref().map(text))
                .with_member_epoch(m.epoch)
                .with_client_id(text(UNKNOWN_CLIENT))
                .with_client_host(text(UNKNOWN_CLIENT))
                .with_subscribed_topic_names(names)
                .with_subscribed_topic_regex(None)
                .with_assignment(assignment(&m.assigned, image))
                .with_target_assignment(assignment(self.target.get(&m.id).unwrap_or(&nothing), image));
            if version >= MEMBER_TYPES {
                described.member_type = CONSUMER;
            }
            described
        };
        DescribedGroup::default()
            .with_group_state(text(self.state()))
            .with_group_epoch(self.epoch)
            .with_assignment_epoch(self.target_epoch)
            .with_assignor_name(text(target::preferred(self.members.values(), Some(configured)).name()))
            .with_members(self.members.values().map(member).collect())
    }
}

/// Partitions of topics that still are.
fn assignment(partitions: &Partitions, image: &Image) -> Assignment {
    let topics = partitions.iter().filter_map(|(id, partitions)| {
        let name = TopicName(text(image.topic_name(*id)?));
        let topic = TopicPartitions::default().with_topic_id(id.0).with_topic_name(name);
        Some(topic.with_partitions(partitions.iter().copied().collect()))
    });
    Assignment::default().with_topic_partitions(topics.collect())
}
