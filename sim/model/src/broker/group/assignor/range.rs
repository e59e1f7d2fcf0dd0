//! `range`: each topic's partitions are cut into as many ranges as it has subscribers, the first of them longer by one
//! where it does not come out even. Topics of one size are cut alike, so that partitions of one number meet at one member.
//! Follows Kafka's `RangeAssignor`: static members first, in order of their instances, then the others by id.

use super::{Candidate, Partitions};
use crate::ids::TopicId;
use std::collections::BTreeMap;

/// Where the next range of a topic begins.
struct Cut {
    size: i32,
    quota: i32,
    longer: i32,
    next: i32,
}

pub(super) fn assign(members: &[Candidate<'_>], sizes: &BTreeMap<TopicId, i32>) -> Vec<Partitions> {
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by_key(|&i| (members[i].instance.is_none(), members[i].instance, members[i].id));
    let mut subscribers: BTreeMap<TopicId, i32> = BTreeMap::new();
    for topic in members.iter().flat_map(|m| &m.topics) {
        *subscribers.entry(*topic).or_default() += 1;
    }
    let cut = |(&topic, &n): (&TopicId, &i32)| {
        let size = sizes.get(&topic).copied().unwrap_or(0);
        (topic, Cut { size, quota: size / n, longer: size % n, next: 0 })
    };
    let mut cuts: BTreeMap<TopicId, Cut> = subscribers.iter().map(cut).collect();
    let mut given = vec![Partitions::new(); members.len()];
    for i in order {
        for topic in &members[i].topics {
            let Some(cut) = cuts.get_mut(topic) else { continue };
            let longer = i32::from(cut.longer > 0);
            cut.longer -= longer;
            let end = (cut.next + cut.quota + longer).min(cut.size);
            if cut.next < end {
                given[i].insert(*topic, (cut.next..end).collect());
            }
            cut.next = end;
        }
    }
    given
}
