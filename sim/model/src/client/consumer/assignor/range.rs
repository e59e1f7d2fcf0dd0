//! Each topic by itself, in ranges: of P partitions and C subscribers, the first P mod C get one more than the others.

use super::{GroupMember, Partitions, by_name};
use crate::defects::{Defect, Defects};
use crate::history::TopicPartition;
use std::collections::BTreeMap;

/// Assigns; see [`super::assign`].
pub fn assign(partitions: &Partitions, members: &[GroupMember], defects: Defects) -> Vec<Vec<TopicPartition>> {
    let mut subscribers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, member) in members.iter().enumerate() {
        for topic in &member.topics {
            subscribers.entry(topic).or_default().push(at);
        }
    }
    let mut assignment = vec![Vec::new(); members.len()];
    for (topic, mut subscribers) in subscribers {
        let Some((name, &count)) = partitions.get_key_value(topic) else { continue };
        subscribers.sort_by(|&a, &b| by_name(&members[a], &members[b]));
        subscribers.dedup();
        let by_all = defects.on(Defect::RangeDividesByAllMembers);
        let sharers = if by_all { members.len() } else { subscribers.len() };
        let (each, extra) = (count.max(0) as usize / sharers, count.max(0) as usize % sharers);
        let mut next = 0;
        for (turn, &at) in subscribers.iter().enumerate() {
            let end = next + each + usize::from(turn < extra);
            assignment[at].extend((next..end).map(|p| TopicPartition { topic: name.clone(), partition: p as i32 }));
            next = end;
        }
    }
    assignment
}
