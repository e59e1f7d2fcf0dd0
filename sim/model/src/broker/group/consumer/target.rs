//! Who should have what: what a group knows of its topics, and the target assignment made of it. Follows Kafka's
//! `TargetAssignmentBuilder` and KIP-1101 (a hash stands for what is known of topics).

use super::super::Ctx;
use super::super::assignor::{Assignor, Candidate};
use super::*;
use crate::controller::image::Image;
use crate::record::schema::GroupRecord;

/// The members as they will be once the records decided on are written.
pub(super) struct Members<'a> {
    group: &'a ConsumerGroup,
    /// One that comes or changes.
    changed: Option<&'a Member>,
    /// One that is replaced or goes.
    gone: Option<&'a str>,
}

impl<'a> Members<'a> {
    pub fn of(group: &'a ConsumerGroup, changed: Option<&'a Member>, gone: Option<&'a str>) -> Members<'a> {
        Members { group, changed, gone }
    }
    /// In order of id.
    fn all(&self) -> Vec<&'a Member> {
        let is_there = |m: &&'a Member| self.gone != Some(&*m.id) && self.changed.is_none_or(|c| c.id != m.id);
        let mut all: Vec<&'a Member> = self.group.members.values().filter(is_there).chain(self.changed).collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }
    /// A hash of what there is to know of the topics they subscribe to; 0 if there is nothing.
    pub fn metadata_hash(&self, image: &Image) -> i64 {
        let all = self.all();
        let names: BTreeSet<&str> =
            all.iter().flat_map(|m| &m.said.subscribed_topic_names).map(String::as_str).collect();
        // FNV-1a; the names are in order.
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        let mut known = false;
        for topic in names.into_iter().filter_map(|name| image.topic_by_name(name)) {
            known = true;
            let (high, low) = topic.id.0.as_u64_pair();
            for word in [high, low, topic.partitions.len() as u64] {
                for byte in word.to_be_bytes() {
                    hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
                }
            }
        }
        if known { hash as i64 } else { 0 }
    }

    fn assignor(&self, ctx: &Ctx<'_>) -> Assignor {
        let configured = ctx.config.group_consumer_assignors.split(',').next().map(str::trim);
        preferred(self.all().into_iter(), configured)
    }

    /// The records that bring the target to `epoch`, and the changed member's part.
    pub fn assign(&self, epoch: i32, ctx: &Ctx<'_>) -> (Vec<GroupRecord>, Partitions) {
        let nothing = Partitions::new();
        let group = self.group;
        let all = self.all();
        let mut sizes = BTreeMap::new();
        let mut candidate = |m: &&'a Member| {
            let mut topics = BTreeSet::new();
            for topic in m.said.subscribed_topic_names.iter().filter_map(|name| ctx.image.topic_by_name(name)) {
                topics.insert(topic.id);
                sizes.insert(topic.id, topic.partitions.len() as i32);
            }
            // Whoever takes a static member's place takes its part, too.
            let before = if self.changed.is_some_and(|c| c.id == m.id) { self.gone.unwrap_or(&m.id) } else { &m.id };
            (topics, group.target.get(before))
        };
        let specs: Vec<_> = all.iter().map(&mut candidate).collect();
        let candidates: Vec<Candidate<'_>> = all
            .iter()
            .zip(specs)
            .map(|(m, (topics, current))| Candidate {
                id: &m.id,
                instance: m.said.instance_id.as_deref(),
                topics,
                current: current.unwrap_or(&nothing),
            })
            .collect();
        let given = self.assignor(ctx).assign(&candidates, &sizes);
        let mut records = Vec::new();
        let mut part = Partitions::new();
        for (m, partitions) in all.iter().zip(given) {
            if group.target.get(&m.id) != Some(&partitions) {
                records.push(target_record(&group.id, &m.id, &partitions));
            }
            if self.changed.is_some_and(|c| c.id == m.id) {
                part = partitions;
            }
        }
        records.push(GroupRecord::TargetAssignmentMetadata { group: group.id.to_string(), value: Some(epoch) });
        (records, part)
    }
}

pub(super) fn target_record(group: &str, member: &str, partitions: &Partitions) -> GroupRecord {
    GroupRecord::TargetAssignmentMember {
        group: group.to_owned(),
        member: member.to_owned(),
        value: Some(to_record(partitions)),
    }
}

/// The assignor that most ask for; the first by name if several do; the configured one if nobody does.
pub(super) fn preferred<'m>(members: impl Iterator<Item = &'m Member>, configured: Option<&str>) -> Assignor {
    let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
    for name in members.filter_map(|m| m.said.server_assignor.as_deref()) {
        *votes.entry(name).or_default() += 1;
    }
    let most = votes.into_iter().max_by_key(|&(name, n)| (n, std::cmp::Reverse(name))).map(|(name, _)| name);
    most.or(configured).and_then(Assignor::named).unwrap_or(Assignor::Uniform)
}
