//! inconsistent-offsets: two values at one offset, read or acknowledged. An acknowledgement that reading refutes (its
//! value was read, and never there) claims nothing: that is unknown-read. So what is found is told at the end, when all
//! claims are known. Each two of them are a piece of evidence.

use super::report::{Findings, Report};
use super::sends::CLAIMED;
use super::slots::{ACK, CLASH, REACHED, READ, Seen, read_flag};
use super::store::{Read, Store};
use crate::permission::Clause;
use klamm_model::checks::Check;
use klamm_model::history::ValueId;
use klamm_model::ids::ClientId;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

/// An offset of which more than one value is known.
#[derive(Debug, Default)]
pub(super) struct Clash {
    /// What was read here.
    pub(super) read: BTreeMap<u64, Got>,
    pub(super) acked: BTreeSet<u64>,
    /// What was read here before there was a clash, by whoever read here.
    first: Option<u64>,
    /// What each reader got here since.
    by: BTreeMap<ClientId, u64>,
}

/// One of several values read at an offset.
#[derive(Debug)]
pub(super) struct Got {
    /// When it was read first.
    pub(super) seen: Seen,
    /// How many others were read here before.
    pub(super) rank: usize,
    /// When it was read again: last before there was a clash, and each time since, up to a bound.
    again: Vec<u64>,
    /// Under which isolation it was read, and reached from the offset below.
    pub(super) flags: u16,
}

impl Clash {
    /// What a reader got that read here.
    pub(super) fn got_by(&self, client: ClientId) -> Option<u64> {
        self.by.get(&client).copied().or(self.first)
    }
    /// The read here of another value than this one that is the hardest to excuse, as far as reads are remembered. Where
    /// this one was while its send was open is not known: of the reads of that time the last counts.
    pub(super) fn read_instead(&self, value: u64, open: RangeInclusive<u64>) -> Option<Seen> {
        let others = self.read.iter().filter(|(other, _)| **other != value).map(|(_, got)| got);
        let reads = others.flat_map(|got| {
            let again = got.again.iter().map(|at| Seen { at: *at, ..got.seen });
            std::iter::once(got.seen).chain(again)
        });
        let (mut meanwhile, mut after): (Option<Seen>, Option<Seen>) = (None, None);
        for seen in reads {
            if open.contains(&seen.at) {
                meanwhile = meanwhile.filter(|m| m.at >= seen.at).or(Some(seen));
            } else if seen.at > *open.end() {
                after = after.filter(|a| a.at <= seen.at).or(Some(seen));
            }
        }
        meanwhile.or(after)
    }
}

/// Notes what was read at an offset.
pub(super) fn read(store: &mut Store, read: &Read, reader: u16) {
    let seen = Seen { at: read.at, epoch: read.record.leader_epoch.0, reader };
    let slot = store.parts[read.part as usize].slots.entry(read.offset());
    if slot.flags & (ACK | READ) != 0 && (slot.value != read.value() || slot.flags & CLASH != 0) {
        clashes(store, read, seen);
    }
    let slot = store.parts[read.part as usize].slots.entry(read.offset());
    if slot.flags & READ == 0 {
        (slot.value, slot.at, slot.reader, slot.epoch) = (read.value(), seen.at, seen.reader, seen.epoch);
    } else if slot.epoch < 0 {
        slot.epoch = seen.epoch;
    }
    slot.last = read.at;
    slot.flags |= read_flag(read.isolation);
}

/// The clash at an offset, begun with what is known there if it is new.
fn clash(store: &mut Store, part: u32, offset: i64) -> &mut Clash {
    let p = &mut store.parts[part as usize];
    let slot = p.slots.entry(offset);
    let new = slot.flags & CLASH == 0;
    slot.flags |= CLASH;
    let slot = *slot;
    if new {
        let clash = p.clashes.entry(offset).or_default();
        if let Some(seen) = slot.seen() {
            let flags = slot.flags & (READ | REACHED[0] | REACHED[1]);
            clash.read.insert(slot.value, Got { seen, rank: 0, again: vec![slot.last], flags });
            clash.first = Some(slot.value);
        }
        // Where something was read, what was acknowledged is the same value, or there would be a clash already.
        if slot.flags & ACK != 0 {
            clash.acked.insert(slot.value);
        }
        store.mark(slot.value, CLAIMED);
    }
    store.parts[part as usize].clashes.entry(offset).or_default()
}

#[cold]
fn clashes(store: &mut Store, read: &Read, seen: Seen) {
    let clash = clash(store, read.part, read.offset());
    clash.by.insert(read.client, read.value());
    let flag = read_flag(read.isolation);
    let rank = clash.read.len();
    let got = clash.read.entry(read.value()).or_insert(Got { seen, rank, again: Vec::new(), flags: flag });
    got.flags |= flag;
    if got.again.len() < CLAIMS {
        got.again.push(seen.at);
    }
    store.mark(read.value(), CLAIMED);
}

/// Notes what was acknowledged at an offset. Returns whether something was known there.
pub(super) fn acknowledged(store: &mut Store, value: u64, part: u32, offset: i64, at: u64) -> bool {
    let slot = store.parts[part as usize].slots.entry(offset);
    if slot.flags & (ACK | READ) == 0 {
        (slot.value, slot.at, slot.epoch) = (value, at, -1);
        slot.flags |= ACK;
        return false;
    }
    if slot.value != value || slot.flags & CLASH != 0 {
        clash(store, part, offset).acked.insert(value);
        store.mark(value, CLAIMED);
    }
    let slot = store.parts[part as usize].slots.entry(offset);
    slot.flags |= ACK;
    true
}

/// What says that a value is at an offset: since when, the client that learned it, and whether by reading.
#[derive(Clone, Copy)]
struct Claim {
    at: u64,
    rank: usize,
    value: u64,
    client: ClientId,
    read: bool,
}

/// So many of the first claims of an offset are held against each other.
const CLAIMS: usize = 64;

/// The history ends.
pub(super) fn end(store: &Store, out: &mut Findings, part: u32) {
    for (&offset, clash) in &store.parts[part as usize].clashes {
        let read = clash.read.iter().map(|(&value, got)| {
            let client = store.reader_of(got.seen).unwrap_or(ValueId(value).client());
            Claim { at: got.seen.at, rank: got.rank, value, client, read: true }
        });
        let acked = clash.acked.iter().filter_map(|&value| {
            let send = store.send(value).filter(|send| !store.is_refuted(value, send))?;
            Some(Claim { at: send.completed, rank: 0, value, client: ValueId(value).client(), read: false })
        });
        let mut claims: Vec<Claim> = read.chain(acked).collect();
        claims.sort_by_key(|claim| (claim.at, claim.read, claim.rank, claim.value));
        claims.truncate(CLAIMS);
        let case = out.case();
        for (i, second) in claims.iter().enumerate() {
            for first in claims[..i].iter().filter(|first| first.value != second.value) {
                two(store, out, (part, offset), case, [*first, *second]);
            }
        }
    }
}

#[cold]
fn two(store: &Store, out: &mut Findings, place: (u32, i64), case: u32, claims: [Claim; 2]) {
    let (part, offset) = place;
    let (at, client) = (claims[1].at, claims[1].client);
    // What was acknowledged and is not there stands first: it is what may have gone.
    let [a, b] = if claims[0].read && !claims[1].read { [claims[1], claims[0]] } else { claims };
    let values = [a.value, b.value];
    let report = Report::new(Check::InconsistentOffsets, at, client, part).offset(offset).values(&values).case(case);
    let report = if a.read { report } else { report.clause(Clause::Acknowledgement) };
    // What is read there has not gone, not even where it was read before it was sent.
    let report = Report { there: b.read.then_some(b.value), ..report };
    let how = |claim: Claim| if claim.read { "read" } else { "acknowledged" };
    let words = || format!("at offset {offset}, {:#x} was {}, and {:#x} was {}", a.value, how(a), b.value, how(b));
    out.add(store, report, words, || {
        let reads = [a, b].into_iter().filter(|c| c.read).filter_map(|c| store.read_of(c.value, place));
        values.iter().flat_map(|v| store.story(*v)).chain(reads).collect()
    });
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
        let found = h.fires(Check::InconsistentOffsets);
        assert_eq!(found.values, [value(0), value(1)]);
        assert_eq!(found.facts.clause, None);
    }

    #[test]
    fn one_acknowledged_and_another_read() {
        let mut h = History::with(Acks::Leader, true, 5);
        h.send(0).ack(0, 0).send(1).assigned(10, 0).poll(10, &[(0, 1)]);
        let found = h.fires(Check::InconsistentOffsets);
        assert_eq!(found.facts.clause, Some(Clause::Acknowledgement));
        assert_eq!(found.permitted, None);
        let change = LeaderChange { at: 5, source: source(0), epoch: LeaderEpoch(2), deposed_by: None };
        h.declared.leader_changes.push(change);
        assert_eq!(h.fires(Check::InconsistentOffsets).permitted, Some(Cause::Acks1LeaderChange));
    }

    #[test]
    fn two_acknowledged_or_one_read_and_another_acknowledged() {
        let mut h = History::new();
        h.send(0).send(1).ack(0, 0).ack(1, 0);
        h.fires(Check::InconsistentOffsets);
        let mut h = History::new();
        h.send(0).send(1).assigned(10, 0).poll(10, &[(0, 0)]).ack(1, 0);
        h.fires(Check::InconsistentOffsets);
    }

    #[test]
    fn an_acknowledgement_that_reading_refutes_claims_nothing() {
        let mut h = History::new();
        h.send(0).ack(0, 0).send(1).ack(1, 3).assigned(10, 0).poll(10, &[(0, 1)]);
        // Acknowledged at 3, read at 0: the one that was acknowledged at 0 has lost its place, and nothing clashes at 3.
        h.send(2).ack(2, 3);
        let found = h.judge().findings;
        let at: Vec<_> = found.iter().filter(|f| f.check == Check::InconsistentOffsets).map(|f| f.offset).collect();
        assert_eq!(at, [Some(klamm_model::ids::Offset(0))]);
        h.fires_among(Check::UnknownRead);
    }

    #[test]
    fn one_value_however_often_is_consistent_and_partitions_are_apart() {
        let mut h = History::new();
        h.send(0).assigned(10, 0).poll(10, &[(0, 0)]).ack(0, 0).assigned(11, 0).poll(11, &[(0, 0)]);
        h.on(1).send(1).ack(1, 0).assigned(10, 0).poll(10, &[(0, 1)]).silent();
    }
}
