//! All partitions of all topics in one row, dealt out member by member; who does not subscribe is passed over.

use super::{GroupMember, Partitions, by_name};
use crate::history::TopicPartition;
use std::collections::BTreeSet;

/// Assigns; see [`super::assign`].
pub fn assign(partitions: &Partitions, members: &[GroupMember]) -> Vec<Vec<TopicPartition>> {
    let topics: Vec<BTreeSet<&str>> = members.iter().map(|m| m.topics.iter().map(|t| &**t).collect()).collect();
    let wanted: BTreeSet<&str> = topics.iter().flatten().copied().collect();
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by(|&a, &b| by_name(&members[a], &members[b]));
    let mut assignment = vec![Vec::new(); members.len()];
    let mut turn = 0;
    for topic in wanted {
        let Some((name, &count)) = partitions.get_key_value(topic) else { continue };
        for partition in 0..count {
            while !topics[order[turn]].contains(topic) {
                turn = (turn + 1) % order.len();
            }
            assignment[order[turn]].push(TopicPartition { topic: name.clone(), partition });
            turn = (turn + 1) % order.len();
        }
    }
    assignment
}
