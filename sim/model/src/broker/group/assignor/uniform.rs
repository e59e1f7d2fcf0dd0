//! `uniform`: even over all topics, and sticky: a partition moves only if evenness demands it.
//!
//! When all subscribe to the same topics (the rule), numbers of partitions differ by one at most, and no fewer moves would
//! do: those who get one more are first of all those who have one more. Kafka's `UniformHomogeneousAssignmentBuilder` gives
//! the extra partitions to the first members instead, and may move more; the assignment is as even. Otherwise partitions
//! stay where they are subscribed to, go to the subscriber that has least, and move while that makes it more even
//! (`UniformHeterogeneousAssignmentBuilder`).

use super::{Candidate, Partitions};
use crate::ids::TopicId;
use crate::limits::ASSIGNOR_ROUNDS;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn assign(members: &[Candidate<'_>], sizes: &BTreeMap<TopicId, i32>) -> Vec<Partitions> {
    let Some(first) = members.first() else { return Vec::new() };
    let (kept, free) = keep(members, sizes);
    if members.iter().all(|m| m.topics == first.topics) { level(kept, free) } else { spread(members, kept, free) }
}

/// What members may keep, and the partitions nobody has. Of several claims the first counts.
fn keep(members: &[Candidate<'_>], sizes: &BTreeMap<TopicId, i32>) -> (Vec<Partitions>, Vec<(TopicId, i32)>) {
    let mut owned: BTreeMap<TopicId, Vec<bool>> = BTreeMap::new();
    for topic in members.iter().flat_map(|m| &m.topics) {
        owned.entry(*topic).or_insert_with(|| vec![false; sizes.get(topic).copied().unwrap_or(0).max(0) as usize]);
    }
    let mut kept = Vec::with_capacity(members.len());
    for m in members {
        let mut mine = Partitions::new();
        for (topic, partitions) in m.current.iter().filter(|(t, _)| m.topics.contains(t)) {
            let Some(owned) = owned.get_mut(topic) else { continue };
            let claim = |p: &i32| {
                let slot = usize::try_from(*p).ok().and_then(|p| owned.get_mut(p));
                slot.is_some_and(|taken| !std::mem::replace(taken, true))
            };
            let partitions: BTreeSet<i32> = partitions.iter().copied().filter(claim).collect();
            if !partitions.is_empty() {
                mine.insert(*topic, partitions);
            }
        }
        kept.push(mine);
    }
    let unowned = |(topic, taken): (TopicId, Vec<bool>)| {
        (0..).zip(taken).filter(|(_, taken)| !taken).map(move |(p, _)| (topic, p)).collect::<Vec<_>>()
    };
    (kept, owned.into_iter().flat_map(unowned).collect())
}

fn count(partitions: &Partitions) -> usize {
    partitions.values().map(BTreeSet::len).sum()
}

/// All subscribe to the same: everybody gets its share.
fn level(mut kept: Vec<Partitions>, mut free: Vec<(TopicId, i32)>) -> Vec<Partitions> {
    let counts: Vec<usize> = kept.iter().map(count).collect();
    let total = counts.iter().sum::<usize>() + free.len();
    let (share, mut extra) = (total / kept.len(), total % kept.len());
    let mut quotas = vec![share; kept.len()];
    // Those who have more than a share first, then whoever comes first.
    for has_more in [true, false] {
        for (quota, &n) in quotas.iter_mut().zip(&counts) {
            if extra > 0 && (n > share) == has_more {
                *quota += 1;
                extra -= 1;
            }
        }
    }
    for ((mine, &quota), &n) in kept.iter_mut().zip(&quotas).zip(&counts) {
        for _ in quota..n {
            let Some(mut last) = mine.last_entry() else { break };
            let topic = *last.key();
            if let Some(p) = last.get_mut().pop_last() {
                free.push((topic, p));
            }
            if last.get().is_empty() {
                last.remove();
            }
        }
    }
    let mut free = free.into_iter();
    for (mine, (&quota, &n)) in kept.iter_mut().zip(quotas.iter().zip(&counts)) {
        for (topic, p) in free.by_ref().take(quota.saturating_sub(n)) {
            mine.entry(topic).or_default().insert(p);
        }
    }
    kept
}

/// Subscriptions differ.
fn spread(members: &[Candidate<'_>], mut kept: Vec<Partitions>, free: Vec<(TopicId, i32)>) -> Vec<Partitions> {
    let mut subscribers: BTreeMap<TopicId, Vec<usize>> = BTreeMap::new();
    for (i, m) in members.iter().enumerate() {
        m.topics.iter().for_each(|t| subscribers.entry(*t).or_default().push(i));
    }
    let mut counts: Vec<usize> = kept.iter().map(count).collect();
    // Topics with the fewest subscribers have the least choice.
    let mut free = free;
    free.sort_by_key(|(topic, p)| (subscribers.get(topic).map_or(0, Vec::len), *topic, *p));
    // Subscribers of the topic at hand, by load.
    let mut queue: (Option<TopicId>, BTreeSet<(usize, usize)>) = (None, BTreeSet::new());
    for (topic, p) in free {
        if queue.0 != Some(topic) {
            let of_topic = subscribers.get(&topic).into_iter().flatten();
            queue = (Some(topic), of_topic.map(|&i| (counts[i], i)).collect());
        }
        let Some((n, i)) = queue.1.pop_first() else { continue };
        kept[i].entry(topic).or_default().insert(p);
        counts[i] += 1;
        queue.1.insert((n + 1, i));
    }
    for _ in 0..ASSIGNOR_ROUNDS {
        let mut moved = false;
        for (topic, of_topic) in subscribers.iter().filter(|(_, s)| s.len() > 1) {
            moved |= even_out(*topic, of_topic, &mut kept, &mut counts);
        }
        if !moved {
            break;
        }
    }
    kept
}

/// Moves a topic's partitions from subscribers that have most to those that have least, while they differ by more than
/// one.
fn even_out(topic: TopicId, of_topic: &[usize], kept: &mut [Partitions], counts: &mut [usize]) -> bool {
    let mut loads: BTreeSet<(usize, usize)> = of_topic.iter().map(|&i| (counts[i], i)).collect();
    // Those that have none of this topic cannot give.
    let gives = |kept: &[Partitions], i: usize| kept[i].get(&topic).is_some_and(|p| !p.is_empty());
    let mut givers: BTreeSet<(usize, usize)> = loads.iter().copied().filter(|&(_, i)| gives(kept, i)).collect();
    let mut moved = false;
    while let (Some(&(most, from)), Some(&(least, to))) = (givers.last(), loads.first()) {
        if most <= least + 1 {
            break;
        }
        let Some(p) = kept[from].get_mut(&topic).and_then(BTreeSet::pop_last) else { break };
        kept[to].entry(topic).or_default().insert(p);
        for (i, before, after) in [(from, most, most - 1), (to, least, least + 1)] {
            counts[i] = after;
            loads.remove(&(before, i));
            loads.insert((after, i));
            givers.remove(&(before, i));
            if gives(kept, i) {
                givers.insert((after, i));
            } else {
                kept[i].remove(&topic);
            }
        }
        moved = true;
    }
    moved
}
