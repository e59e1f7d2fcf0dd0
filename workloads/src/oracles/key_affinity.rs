//! key-affinity: the same key goes to the same partition, while the partition count is fixed and the application does
//! not choose itself.

use super::places;
use super::report::{Findings, Report};
use super::sends::{CHOSEN, KEYED, NOWHERE, TOLD};
use super::store::Store;
use crate::planted::planted;
use klamm_model::checks::Check;
use klamm_model::history::ValueId;
use std::collections::BTreeSet;

#[derive(Clone, Copy)]
struct Seat {
    topic: u32,
    part: u32,
    key: u64,
    value: u64,
    at: u64,
}

const FREE: Seat = Seat { topic: NOWHERE, part: NOWHERE, key: 0, value: 0, at: 0 };

/// Where each key went first: an open hash table, because keys come hashed. Nothing depends on its order.
pub(super) struct Keys {
    seats: Vec<Seat>,
    used: usize,
    /// Topics whose number of partitions changes: producers learn of it one by one, and go by the old number until then.
    moving: BTreeSet<u32>,
}

impl Keys {
    pub(super) fn new() -> Keys {
        Keys { seats: vec![FREE; 64], used: 0, moving: BTreeSet::new() }
    }

    /// The seat of a key, or the free one that is to be its own.
    fn find(&self, topic: u32, key: u64) -> usize {
        let mask = self.seats.len() - 1;
        // Fibonacci hashing: recorded histories may bring keys that are hashed badly.
        let mixed = (key ^ (u64::from(topic) << 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut i = (mixed >> 32) as usize & mask;
        while self.seats[i].part != NOWHERE && (self.seats[i].key != key || self.seats[i].topic != topic) {
            i = (i + 1) & mask;
        }
        i
    }

    fn put(&mut self, seat: Seat) {
        if 2 * self.used >= self.seats.len() {
            let twice = vec![FREE; 2 * self.seats.len()];
            let old = std::mem::replace(&mut self.seats, twice);
            for seat in old.into_iter().filter(|s| s.part != NOWHERE) {
                let i = self.find(seat.topic, seat.key);
                self.seats[i] = seat;
            }
        }
        let i = self.find(seat.topic, seat.key);
        self.seats[i] = seat;
        self.used += 1;
    }

    /// The topic's number of partitions changes: its keys are not judged from now on.
    pub(super) fn stop(&mut self, topic: u32) {
        self.moving.insert(topic);
    }
}

/// A send lies in a partition, as is known since `at`. Returns whether that of its key was known before.
pub(super) fn placed(store: &Store, keys: &mut Keys, out: &mut Findings, value: u64, part: u32, at: u64) -> bool {
    let Some(send) = store.send(value) else { return false };
    if !send.is(KEYED) || send.is(CHOSEN) || keys.moving.contains(&send.topic) {
        return false;
    }
    let first = keys.seats[keys.find(send.topic, send.key)];
    if first.part == NOWHERE {
        keys.put(Seat { topic: send.topic, part, key: send.key, value, at });
        return false;
    }
    if first.part != part && !planted(31) {
        let client = ValueId(value).client();
        let words = || {
            let partition = |part: u32| store.parts[part as usize].source.partition;
            format!("the key went to partition {} before, now to {}", partition(first.part), partition(part))
        };
        let witness = || store.story(first.value).chain(store.story(value)).collect();
        let report = Report::new(Check::KeyAffinity, at.max(first.at), client, part);
        out.add(store, report.values(&[first.value, value]), words, witness);
    }
    true
}

/// The history ends: what no answer named a partition of lies where it was read. Returns for how many of those the
/// partition of their key was known before.
pub(super) fn end(store: &Store, keys: &mut Keys, out: &mut Findings) -> u64 {
    let mut read = Vec::new();
    for client in store.clients() {
        for (index, send) in client.all().filter(|(_, s)| s.is(KEYED) && s.flags & (CHOSEN | TOLD) == 0) {
            let value = ValueId::new(client.id, index).0;
            let Some(part) = places::first_read_in(store, &places::all(store, value, send), send) else { continue };
            let there = places::all(store, value, send).into_iter().filter(|place| place.0 == part);
            let at = there.map(|place| places::when(store, value, send, place)).min().unwrap_or(send.invoked);
            read.push((at, send.invoked, part, value));
        }
    }
    read.sort_unstable();
    read.into_iter().map(|(at, _, part, value)| u64::from(placed(store, keys, out, value, part, at))).sum()
}

#[cfg(test)]
mod tests {
    use crate::oracles::testing::*;
    use crate::oracles::{Judge, JudgeConfig};
    use crate::permission::PartitionChange;

    fn keyed(h: &mut History, index: u64, key: u64, partition: i32) {
        let send = h.send_op(index, None, Some(key));
        h.push(1, send).on(partition).ack(index, index as i64);
    }

    #[test]
    fn one_key_on_two_partitions() {
        let mut h = History::new();
        (0..300).for_each(|i| keyed(&mut h, i, i % 150, (i % 150 % 7) as i32));
        h.silent();
        keyed(&mut h, 300, 149, 6);
        let found = h.fires(Check::KeyAffinity);
        assert_eq!(found.values, [value(149), value(300)]);
        assert_eq!(found.permitted, None);
    }

    #[test]
    fn what_was_read_and_never_answered_counts() {
        let mut h = History::new();
        let send = h.send_op(0, None, Some(5));
        h.push(1, send).on(1).assigned(10, 0).poll(10, &[(0, 0)]);
        h.silent();
        keyed(&mut h, 1, 5, 0);
        h.fires(Check::KeyAffinity);
    }

    #[test]
    fn a_declared_change_of_the_partition_count_ends_it() {
        let mut h = History::new();
        keyed(&mut h, 0, 5, 0);
        let grown = h.clock + 1;
        keyed(&mut h, 1, 5, 1);
        assert_eq!(h.fires(Check::KeyAffinity).permitted, None);
        let change = |at, topic: &str| PartitionChange { at, topic: topic.into(), count: 2 };
        h.declared.partition_changes = vec![change(grown, "another"), change(h.clock + 1, "t")];
        h.fires(Check::KeyAffinity);
        h.declared.partition_changes.push(change(grown, "t"));
        h.silent();
    }

    #[test]
    fn chosen_partitions_and_new_partition_counts_are_legal() {
        let mut h = History::new();
        keyed(&mut h, 0, 5, 0);
        let send = h.send_op(1, Some(1), Some(5));
        h.push(1, send).on(1).ack(1, 0).silent();
        let mut judge = Judge::new(JudgeConfig { resolve_slack: 0, max_findings: 9 });
        h.entries.iter().for_each(|e| judge.entry(e));
        judge.partitions_change(&"t".into());
        let before = h.entries.len();
        keyed(&mut h, 2, 5, 1);
        // A producer that has not heard of it.
        keyed(&mut h, 3, 5, 0);
        h.entries[before..].iter().for_each(|e| judge.entry(e));
        assert_eq!(judge.finish(h.clock, &h.declared).findings, []);
    }
}
