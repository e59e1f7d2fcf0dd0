//! inconsistent-offsets: two values at one offset, read or acknowledged. If several were read there, what was
//! acknowledged does not matter; so what is found is told when all claims are known.

use super::report::{Findings, Report};
use super::slots::{ACK, CLASH, READ, Slot, read_flag};
use super::store::{Read, Store};
use crate::permission::Clause;
use klamm_model::history::{Entry, Op, ValueId};
use klamm_model::ids::ClientId;
use std::collections::{BTreeMap, BTreeSet};

/// An offset of which more than one value is known.
#[derive(Debug, Default)]
pub(super) struct Clash {
    pub(super) read: BTreeSet<u64>,
    pub(super) acked: BTreeSet<u64>,
    /// What was read here before there was a clash, by whoever read here.
    first: Option<u64>,
    /// What each reader got here since.
    by: BTreeMap<ClientId, u64>,
    /// The first two reads of different values.
    reads: Vec<Entry>,
    at: u64,
    client: ClientId,
}

impl Clash {
    /// What a reader got that read here.
    pub(super) fn got_by(&self, client: ClientId) -> Option<u64> {
        self.by.get(&client).copied().or(self.first)
    }
    /// The first read here that is known.
    pub(super) fn first_read(&self) -> Option<&Entry> {
        self.reads.first()
    }
    /// The read of a value, if it is kept.
    pub(super) fn read_of(&self, value: ValueId) -> Option<Entry> {
        let of =
            |read: &&Entry| matches!(&read.op, Op::Poll { records, .. } if records.iter().any(|r| r.value == value));
        self.reads.iter().find(of).cloned()
    }
}

/// How many reads a clash shows.
const SHOWN: usize = 2;

/// Notes what was read at an offset.
pub(super) fn read(store: &mut Store, read: &Read, reader: u16) {
    let (value, at, epoch) = (read.value(), read.at, read.record.leader_epoch.0);
    let slot = store.parts[read.part as usize].slots.entry(read.offset());
    if slot.flags & (ACK | READ) != 0 && (slot.value != value || slot.flags & CLASH != 0) {
        clashes(store, read);
    }
    let slot = store.parts[read.part as usize].slots.entry(read.offset());
    let epoch = if epoch < 0 && slot.flags & (ACK | READ) != 0 { slot.epoch } else { epoch };
    *slot = Slot { value, at, epoch, reader, flags: slot.flags | read_flag(read.isolation), ..*slot };
}

/// The clash at an offset, begun with what is known there if it is new.
fn clash(store: &mut Store, part: u32, offset: i64) -> &mut Clash {
    let earlier = store.read_at(part, offset);
    let p = &mut store.parts[part as usize];
    let slot = p.slots.entry(offset);
    let new = slot.flags & CLASH == 0;
    slot.flags |= CLASH;
    let (value, flags) = (slot.value, slot.flags);
    let clash = p.clashes.entry(offset).or_default();
    if new {
        if flags & READ != 0 {
            clash.read.insert(value);
            clash.first = Some(value);
            clash.reads.extend(earlier);
        }
        // Where something was read, what was acknowledged is the same value, or there would be a clash already.
        if flags & ACK != 0 {
            clash.acked.insert(value);
        }
    }
    clash
}

#[cold]
fn clashes(store: &mut Store, read: &Read) {
    let entry = store.read(read);
    let clash = clash(store, read.part, read.offset());
    clash.by.insert(read.client, read.value());
    if clash.read.insert(read.value()) {
        (clash.at, clash.client) = (read.at, read.client);
        if clash.reads.len() < SHOWN {
            clash.reads.push(entry);
        }
    }
}

/// Notes what was acknowledged at an offset. Returns whether something was known there.
pub(super) fn acknowledged(store: &mut Store, value: u64, part: u32, offset: i64, at: u64) -> bool {
    let slot = store.parts[part as usize].slots.entry(offset);
    if slot.flags & (ACK | READ) == 0 {
        *slot = Slot { value, at, epoch: -1, flags: slot.flags | ACK, ..*slot };
        return false;
    }
    if slot.value != value || slot.flags & CLASH != 0 {
        let clash = clash(store, part, offset);
        clash.acked.insert(value);
        (clash.at, clash.client) = (at, ValueId(value).client());
    }
    let slot = store.parts[part as usize].slots.entry(offset);
    slot.flags |= ACK;
    true
}

/// What clashes below `below`.
pub(super) fn settle(store: &Store, out: &mut Findings, part: u32, below: i64, end: bool) {
    let p = &store.parts[part as usize];
    let all = p.clashes.iter().filter(|(offset, _)| end || **offset < below);
    for (&offset, clash) in all.filter(|(_, c)| c.read.union(&c.acked).count() > 1) {
        let acknowledgement = clash.read.len() < 2;
        // What was acknowledged and is not there stands first: it is what may have gone.
        let gone = clash.acked.iter().filter(|v| !clash.read.contains(*v));
        let values: Vec<u64> = match acknowledgement {
            true => gone.chain(&clash.read).take(2).copied().collect(),
            false => clash.read.iter().take(2).copied().collect(),
        };
        let report = Report::new("inconsistent-offsets", clash.at, clash.client, part).offset(offset).values(&values);
        let report = if acknowledgement { report.clause(Clause::Acknowledgement) } else { report };
        let how = |value: u64| if clash.read.contains(&value) { "read" } else { "acknowledged" };
        let words = || {
            let [a, b] = [values[0], values[1]];
            format!("at offset {offset}, {a:#x} was {}, and {b:#x} was {}", how(a), how(b))
        };
        out.add(store, report, words, || {
            let stories = values.iter().flat_map(|v| store.story(*v));
            stories.chain(clash.reads.iter().cloned()).collect()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracles::testing::*;
    use crate::permission::{Cause, LeaderChange};
    use klamm_model::history::Acks;
    use klamm_model::ids::LeaderEpoch;

    #[test]
    fn two_values_read_at_one_offset() {
        let mut h = History::new();
        h.send(0).send(1).assigned(10, 0).poll(10, &[(0, 0)]).assigned(11, 0).poll(11, &[(0, 1)]);
        let found = h.fires("inconsistent-offsets");
        assert_eq!(found.values, [value(0), value(1)]);
        assert_eq!(found.facts.clause, None);
    }

    #[test]
    fn one_acknowledged_and_another_read() {
        let mut h = History::with(Acks::Leader, true, 5);
        h.send(0).ack(0, 0).send(1).assigned(10, 0).poll(10, &[(0, 1)]);
        let found = h.fires("inconsistent-offsets");
        assert_eq!(found.facts.clause, Some(Clause::Acknowledgement));
        assert_eq!(found.permitted, None);
        let change = LeaderChange { at: 5, source: source(0), epoch: LeaderEpoch(2), deposed_by: None };
        h.declared.leader_changes.push(change);
        assert_eq!(h.fires("inconsistent-offsets").permitted, Some(Cause::Acks1LeaderChange));
    }

    #[test]
    fn two_acknowledged_or_one_read_and_another_acknowledged() {
        let mut h = History::new();
        h.send(0).send(1).ack(0, 0).ack(1, 0);
        h.fires("inconsistent-offsets");
        let mut h = History::new();
        h.send(0).send(1).assigned(10, 0).poll(10, &[(0, 0)]).ack(1, 0);
        h.fires("inconsistent-offsets");
    }

    #[test]
    fn one_value_however_often_is_consistent_and_partitions_are_apart() {
        let mut h = History::new();
        h.send(0).assigned(10, 0).poll(10, &[(0, 0)]).ack(0, 0).assigned(11, 0).poll(11, &[(0, 0)]);
        h.on(1).send(1).ack(1, 0).assigned(10, 0).poll(10, &[(0, 1)]).silent();
    }
}
