//! inconsistent-offsets: two values at one offset, read or acknowledged.

use super::report::{Findings, Report};
use super::slots::{ACK, CLASH, READ, Slot, read_flag};
use super::store::{Read, Store};
use crate::permission::Clause;
use klamm_model::history::{Entry, ValueId};

/// Notes what was read at an offset.
pub(super) fn read(store: &mut Store, out: &mut Findings, read: &Read, reader: u16) {
    let p = &mut store.parts[read.part as usize];
    let slot = p.slots.entry(read.offset());
    let own = slot.flags;
    let mut flags = own | read_flag(read.isolation);
    let mut next = slot.next;
    if own & (ACK | READ) != 0 && slot.value != read.value() {
        let (other, clash) = (slot.value, own & CLASH != 0);
        next = [0; 2];
        flags = read_flag(read.isolation) | CLASH | (own & !(ACK | READ));
        if own & ACK != 0 {
            p.displaced.push(other);
        }
        let acked_here = store
            .send(read.value())
            .is_some_and(|s| s.offset == read.offset() && s.part == read.part && s.is(super::sends::OFFSET_ACKED));
        if acked_here {
            flags |= ACK;
        }
        if !clash {
            clashes(store, out, read, other, own & READ == 0);
        }
    }
    let (value, at, epoch) = (read.value(), read.at, read.record.leader_epoch.0);
    *store.parts[read.part as usize].slots.entry(read.offset()) = Slot { value, at, epoch, next, reader, flags };
}

#[cold]
fn clashes(store: &Store, out: &mut Findings, read: &Read, other: u64, acknowledged: bool) {
    let values = [other, read.value()];
    let report = Report::of_read("inconsistent-offsets", read).values(&values);
    let report = if acknowledged { report.clause(Clause::Acknowledgement) } else { report };
    let how = if acknowledged { "acknowledged" } else { "read" };
    let words = || format!("offset {} holds {:#x}; before, {other:#x} was {how} there", read.offset(), read.value());
    let witness = || {
        let earlier = store.read_at(read.part, read.offset());
        store.story(other).chain(earlier).chain([store.read(read)]).collect()
    };
    out.add(store, report, words, witness);
}

/// Notes what was acknowledged at an offset.
pub(super) fn acknowledged(store: &mut Store, out: &mut Findings, value: u64, part: u32, offset: i64, at: u64) {
    let p = &mut store.parts[part as usize];
    let slot = p.slots.entry(offset);
    if slot.flags & (ACK | READ) == 0 {
        *slot = Slot { value, at, epoch: -1, flags: slot.flags | ACK, ..Slot::default() };
        return;
    }
    if slot.value == value {
        slot.flags |= ACK;
        return;
    }
    let (other, own) = (slot.value, slot.flags);
    slot.flags |= CLASH;
    if own & READ == 0 {
        // Which of the two is there is not known; the earlier one must be found elsewhere, or here by a reader.
        *slot = Slot { value, at, epoch: -1, flags: slot.flags, ..Slot::default() };
        p.displaced.push(other);
    } else {
        p.displaced.push(value);
    }
    if own & CLASH != 0 {
        return;
    }
    let values = [other, value];
    let client = ValueId(value).client();
    let report = Report::new("inconsistent-offsets", at, client, part).offset(offset).values(&values);
    let words = || format!("{value:#x} was acknowledged at offset {offset}, where {other:#x} is");
    let witness =
        || -> Vec<Entry> { store.story(other).chain(store.read_at(part, offset)).chain(store.story(value)).collect() };
    out.add(store, report.clause(Clause::Acknowledgement), words, witness);
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
        assert_eq!(h.fires("inconsistent-offsets").permitted, Some(Cause::A1));
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
