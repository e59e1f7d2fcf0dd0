//! lost-write: an acknowledged value is missing although later ones of its partition were read. unseen: an
//! acknowledged value was never read by the final full read.
//!
//! A value is missing if no reader got it, and one passed its offset; or if the final read, which is to get everything,
//! did not get it: then it is gone, whoever else read it and when. A log start above what was acknowledged is no
//! excuse by itself. A value that was read elsewhere than it was acknowledged is not missing: see unknown-read. None of
//! this depends on what came first, the reader or the acknowledgement.
//!
//! Several readers may show that a value is missing, each at its moment and with other records around it. What permits
//! the loss must permit each of these observations.

use super::passes;
use super::places;
use super::ranges::Ranges;
use super::report::{self, Findings, Report};
use super::sends::{CHOSEN, LOST, OFFSET_ACKED, READ as SEND_READ, State, TOLD};
use super::slots::{ACK, READ, Slot};
use super::store::{NONE, Reader, Store};
use crate::permission::{Cause, Declared, permits};
use klamm_model::checks::Check;
use klamm_model::history::Entry;
use klamm_model::ids::ClientId;
use klamm_model::units::Instant;
use std::collections::BTreeMap;

/// The final read of a partition.
pub(super) struct Final {
    entry: Entry,
    /// What it passed, and what of that it did not read.
    covered: Ranges,
    holes: Ranges,
    /// Its last stretch: the first offset and the last.
    run: Option<(i64, i64)>,
    /// When it began that.
    begun: u64,
    /// The end that it reached, exclusive.
    to: i64,
    /// The lowest offset that it read since its position was set.
    lowest: i64,
    tick: u64,
    floor: usize,
}

impl Final {
    fn passed(&self, offset: i64) -> bool {
        self.run.is_some_and(|(from, last)| (from..=last).contains(&offset)) || self.covered.contains(offset)
    }
    fn got(&self, offset: i64) -> bool {
        self.passed(offset) && !self.holes.contains(offset)
    }
    /// The last offset of its last stretch.
    fn last(&self) -> i64 {
        self.run.map_or(NONE, |(_, last)| last)
    }
    /// What it did not read: from the first offset of each piece to its last.
    fn absent(&self) -> Vec<(i64, i64)> {
        let mut pieces: Vec<(i64, i64)> =
            self.covered.iter().map(|(from, to)| (from, to - 1)).chain(self.run).collect();
        pieces.sort_unstable();
        let (mut absent, mut at) = (Vec::new(), Some(i64::MIN));
        for (from, last) in pieces {
            let Some(next) = at else { break };
            if next < from {
                absent.push((next, from - 1));
            }
            at = last.checked_add(1).map(|after| after.max(next));
        }
        absent.extend(at.map(|next| (next, i64::MAX)));
        absent.extend(self.holes.iter().map(|(from, to)| (from, to - 1)));
        absent
    }
}

/// A final read of a partition is complete. A reader that said nothing of its position began where this did.
pub(super) fn final_read(store: &mut Store, entry: &Entry, part: u32, from: i64, to: i64) {
    let tick = store.tick;
    let reader = store.reader(entry.client, entry.incarnation, part).clone();
    let from = from.max(store.parts[part as usize].log_start);
    if let Some(first) = reader.first.filter(|first| from < first.offset()) {
        let start = Reader::at(entry.incarnation, from - 1, false, first.at, None, -1);
        store.parts[part as usize].passes.add(&first, &start, from, tick);
    }
    let begun = if reader.run_from == NONE { entry.at } else { reader.begun };
    let p = &mut store.parts[part as usize];
    p.final_read = Some(Final {
        entry: entry.clone(),
        run: (reader.run_from != NONE && reader.run_from <= reader.last).then_some((reader.run_from, reader.last)),
        covered: reader.covered,
        holes: reader.holes,
        begun,
        to,
        lowest: reader.lowest,
        tick,
        floor: p.passes.mark(),
    });
}

/// One observation that a value is missing.
struct Piece {
    /// Since when it is.
    at: u64,
    client: ClientId,
    witness: Witness,
    /// See [`crate::permission::Facts`].
    displaced: bool,
    within: bool,
    older: bool,
}

#[derive(Clone, Copy)]
enum Witness {
    /// A pass, by its place in the list.
    Pass(usize),
    /// Another value was read in its place.
    Displaced,
    Final,
}

impl Piece {
    /// Whether nothing excuses this one that does not excuse the other.
    fn covers(&self, other: &Piece) -> bool {
        let shape = self.displaced >= other.displaced && self.within >= other.within && self.older >= other.older;
        self.at <= other.at && shape
    }
}

/// All observations that one value is missing.
#[derive(Default)]
struct Evidence {
    /// Later ones were read: it is lost, and not only unseen.
    lost: bool,
    pieces: Vec<Piece>,
}

/// By offset and value.
#[derive(Default)]
struct Missing(BTreeMap<(i64, u64), Evidence>);

impl Missing {
    fn add(&mut self, place: (i64, u64), lost: bool, piece: Piece) {
        let evidence = self.0.entry(place).or_default();
        evidence.lost |= lost;
        if evidence.pieces.iter().any(|known| known.covers(&piece)) {
            return;
        }
        evidence.pieces.retain(|known| !piece.covers(known));
        evidence.pieces.push(piece);
    }
}

/// Whether a value was acknowledged and is not yet reported. What was seen before its send began says nothing of it: it
/// lies where a log was that has been cut since.
fn is_owed_at(store: &Store, value: u64, at: u64) -> bool {
    store.send(value).is_some_and(|s| s.state == State::Acknowledged && !s.is(LOST) && s.invoked <= at)
}

/// What is missing below `below`; at the end of the history, what the final read lacks, too. Every observation is added
/// that is not covered by another one.
pub(super) fn settle(store: &mut Store, out: &mut Findings, part: u32, below: i64, floors: &[i64], end: bool) {
    let mut missing = Missing::default();
    passed(store, part, below, floors, &mut missing);
    displaced(store, part, below, &mut missing);
    if end {
        absent(store, part, floors, &mut missing);
    }
    for (place, evidence) in &missing.0 {
        let case = out.case();
        for piece in &evidence.pieces {
            tell(store, out, (part, *place, case), piece, if evidence.lost { Check::LostWrite } else { Check::Unseen });
        }
    }
    for (_, value) in missing.0.into_keys() {
        store.mark(value, LOST);
    }
}

/// What readers passed and no reader got.
fn passed(store: &Store, part: u32, below: i64, floors: &[i64], missing: &mut Missing) {
    let p = &store.parts[part as usize];
    for (n, pass) in p.passes.list.iter().enumerate().filter(|(_, pass)| pass.from < below) {
        let slots = p.slots.within(pass.from, pass.to().min(below).saturating_sub(1));
        for (offset, slot) in slots.filter(|(o, s)| s.flags & ACK != 0 && !p.was_gone(*o, pass.tick)) {
            for value in p.acknowledged(offset, slot) {
                if !is_owed_at(store, value, pass.at) || store.is_read(value) {
                    continue;
                }
                let piece = Piece {
                    at: pass.at,
                    client: pass.client,
                    witness: Witness::Pass(n),
                    displaced: false,
                    within: pass.within_a_leadership(),
                    older: passes::older_survives(pass, floors, offset),
                };
                missing.add((offset, value), true, piece);
            }
        }
    }
}

/// What another value was read in the place of, with later ones read.
fn displaced(store: &Store, part: u32, below: i64, missing: &mut Missing) {
    let p = &store.parts[part as usize];
    for (&offset, clash) in
        p.clashes.range(p.log_start.min(below)..below).filter(|(o, c)| **o < p.max_read && !c.read.is_empty())
    {
        for &value in clash.acked.iter().filter(|value| !store.is_read(**value)) {
            let Some(send) = store.send(value) else { continue };
            let first = clash.read_instead(value, send.invoked..=send.completed);
            let Some(first) = first.filter(|first| is_owed_at(store, value, first.at)) else { continue };
            let client = store.reader_of(first).unwrap_or_default();
            let (at, witness) = (first.at, Witness::Displaced);
            let piece = Piece { at, client, witness, displaced: true, within: false, older: false };
            missing.add((offset, value), true, piece);
        }
    }
}

/// What the final read did not get.
fn absent(store: &Store, part: u32, floors: &[i64], missing: &mut Missing) {
    let p = &store.parts[part as usize];
    let Some(end) = &p.final_read else { return };
    let own: Vec<_> = p.passes.list.iter().filter(|pass| pass.client == end.entry.client).collect();
    let lowest = floors.get(end.floor).copied().unwrap_or(i64::MAX).min(end.lowest);
    let mut owed = |offset: i64, value: u64| {
        let Some(send) = store.send(value).filter(|_| is_owed_at(store, value, end.entry.at)) else { return };
        // Where it belongs is not known of a value that nothing says the partition of.
        let elsewhere = !send.is(CHOSEN) && !send.is(TOLD);
        let found = |&(at, o): &(u32, i64)| match at == part {
            true => end.got(o) && p.got_by(end.entry.client, o) == Some(value),
            false => elsewhere,
        };
        let places = places::all(store, value, send);
        // Read, but never where it was acknowledged: that is unknown-read, and no loss beside it.
        let refuted = send.is(OFFSET_ACKED) && !places.is_empty() && !places.contains(&(part, send.offset));
        let acknowledged_here = send.is(OFFSET_ACKED) && send.offset == offset;
        let lies_here = offset < 0 || acknowledged_here || places.contains(&(part, offset));
        if refuted || send.part != part || !lies_here || places.iter().any(found) {
            return;
        }
        // What was acknowledged while it read may lie behind the end it went for.
        if (offset < 0 || offset >= end.to) && send.completed >= end.begun {
            return;
        }
        // What its reader did last at the offset.
        let last_pass = own.iter().rev().find(|pass| pass.from <= offset && offset < pass.to());
        let piece = Piece {
            at: end.entry.at,
            client: end.entry.client,
            witness: Witness::Final,
            displaced: end.got(offset) && p.got_by(end.entry.client, offset) != Some(value),
            within: end.holes.contains(offset) && last_pass.is_some_and(|pass| pass.within_a_leadership()),
            older: lowest < offset,
        };
        missing.add((offset, value), (0..end.last()).contains(&offset), piece);
    };
    let read_and_acknowledged = |slot: &Slot| {
        (slot.flags & READ != 0 && store.send(slot.value).is_some_and(|s| s.is(SEND_READ))).then_some(slot.value)
    };
    for (from, to) in end.absent() {
        for (offset, slot) in p.slots.within(from, to).filter(|(o, _)| !p.was_gone(*o, end.tick)) {
            for value in p.acknowledged(offset, slot).into_iter().chain(read_and_acknowledged(slot)) {
                owed(offset, value);
            }
        }
    }
    for (&offset, clash) in p.clashes.range(p.log_start..).filter(|(o, _)| !p.was_gone(**o, end.tick)) {
        clash.acked.iter().chain(clash.read.keys()).for_each(|value| owed(offset, *value));
    }
    p.unplaced.iter().filter(|value| !store.is_read(**value)).for_each(|value| owed(-1, *value));
}

#[cold]
fn tell(
    store: &Store,
    out: &mut Findings,
    (part, (offset, value), case): (u32, (i64, u64), u32),
    piece: &Piece,
    check: Check,
) {
    let p = &store.parts[part as usize];
    let values = [value];
    let acked_at = store.send(value).map_or(0, |s| s.completed);
    let report = Report {
        since: Some(piece.at),
        displaced: piece.displaced,
        within_a_leadership: piece.within,
        older_survives: piece.older,
        epoch_above: if offset >= 0 { p.leaderships.lowest_above(offset) } else { None },
        ..Report::new(check, piece.at.max(acked_at), piece.client, part).values(&values).case(case)
    };
    let report = if offset >= 0 { report.offset(offset) } else { report };
    let words = || {
        let at = Instant::from_nanos(acked_at);
        match (piece.witness, check, offset) {
            (_, _, -1) => format!("acknowledged at {at} without an offset, and in no place of the final read"),
            (_, Check::Unseen, _) => format!("acknowledged at {at}, absent from the final read"),
            (Witness::Displaced, ..) => format!("acknowledged at {at}, and another value was read in its place"),
            _ => format!("acknowledged at {at}, absent although later records were read"),
        }
    };
    out.add(store, report, words, || {
        let shown = match piece.witness {
            Witness::Pass(n) => p.passes.list[n].story(store, part),
            Witness::Displaced => {
                store.read_at(part, offset).into_iter().chain(store.read_at(part, p.max_read)).collect()
            }
            Witness::Final => {
                let end = p.final_read.as_ref().map(|end| end.entry.clone());
                let earlier = if offset >= 0 { store.read_at(part, offset) } else { None };
                earlier.into_iter().chain(end).collect()
            }
        };
        store.story(value).chain(shown).collect()
    });
}

/// What some reader got, and deletion took later, is no loss.
pub(super) fn leave_out_deleted(pieces: &mut Vec<report::Piece>, declared: &Declared) {
    pieces.retain(|piece| {
        let f = &piece.finding;
        let read = matches!(f.check, Check::LostWrite | Check::Unseen) && f.facts.sends.iter().all(|s| s.read);
        !(read && permits(Cause::Deletion, f.check, &f.facts, declared))
    });
}

/// How many acknowledged sends it could have missed, and how many of those the final read could have.
pub(super) fn armed(store: &Store) -> (u64, u64) {
    let (mut passed, mut unseen) = (store.parts.iter().map(|p| p.judged).sum(), 0);
    for (_, send) in store.clients().flat_map(|c| c.all()).filter(|(_, s)| s.state == State::Acknowledged) {
        let Some(p) = store.parts.get(send.part as usize) else { continue };
        let last = p.final_read.is_some();
        passed += u64::from(last || (send.offset >= 0 && send.offset < p.max_read));
        unseen += u64::from(last);
    }
    (passed, unseen)
}

#[cfg(test)]
mod tests {
    use crate::oracles::testing::*;
    use crate::oracles::{Judge, JudgeConfig};
    use crate::permission::{Cause, Compacted, LeaderChange, LogStart, Unclean};
    use klamm_model::history::{Acks, Op, Outcome, PositionReason};
    use klamm_model::ids::{LeaderEpoch, Offset};

    fn deleted(h: &mut History, at: u64, offset: i64) {
        h.declared.log_starts.push(LogStart { at, source: source(0), offset: Offset(offset) });
    }

    #[test]
    fn an_acknowledged_value_that_a_reader_passed_is_lost() {
        let mut h = History::new();
        h.acked(0..4).assigned(10, 0).poll(10, &[(0, 0), (1, 1), (3, 3)]);
        let found = h.fires(Check::LostWrite);
        assert_eq!((found.offset, found.values), (Some(Offset(2)), vec![value(2)]));
        let ops: Vec<_> = found.witness.iter().map(|e| &e.op).collect();
        assert!(matches!(ops[..], [Op::Send { .. }, Op::Sent { .. }, Op::Poll { .. }, Op::Poll { .. }]), "{ops:#?}");
        assert_eq!(found.witness[1], h.entries[6]);
    }

    #[test]
    fn so_it_is_when_the_acknowledgement_comes_after_the_reader() {
        let mut h = History::new();
        h.acked(0..2).send(2).acked(3..4).assigned(10, 0).poll(10, &[(0, 0), (1, 1), (3, 3)]).ack(2, 2);
        h.fires(Check::LostWrite);
    }

    #[test]
    fn what_is_absent_at_the_end_of_the_final_read_is_unseen() {
        let mut h = History::new();
        h.acked(0..4).assigned(99, 0).reads(99, 0..2).final_read(99, 0, 2);
        let verdicts = h.judge();
        assert_eq!(verdicts.findings.iter().map(|f| f.check).collect::<Vec<_>>(), [Check::Unseen, Check::Unseen]);
        assert_eq!(verdicts.summary.lost(), 2);
    }

    #[test]
    fn a_partition_found_empty_has_lost_everything() {
        let mut h = History::new();
        h.acked(0..2).assigned(99, 0).final_read(99, 0, 0);
        h.fires(Check::Unseen);
        let mut h = History::new();
        h.acked(0..2).final_read(99, 0, 0);
        h.fires(Check::Unseen);
    }

    #[test]
    fn what_was_read_once_and_is_gone_in_the_final_read_is_lost() {
        let mut h = History::new();
        h.acked(0..4).assigned(10, 0).reads(10, 0..4);
        h.assigned(99, 0).poll(99, &[(0, 0), (1, 1), (3, 3)]).final_read(99, 0, 4);
        h.fires_among(Check::LostWrite);
        h.fires_among(Check::IntPollSkip);
    }

    #[test]
    fn what_another_value_took_the_place_of_is_lost() {
        let mut h = History::new();
        h.acked(0..3).send(7).assigned(99, 0).poll(99, &[(0, 0), (1, 7), (2, 2)]).final_read(99, 0, 3);
        h.fires_among(Check::InconsistentOffsets);
        assert_eq!(h.fires_among(Check::LostWrite).values, [value(1)]);
    }

    #[test]
    fn a_value_acknowledged_without_offset_must_be_somewhere() {
        let mut h = History::new();
        h.send(0).resolve(0, Outcome::Ok, None, 1).acked(1..2).assigned(99, 0).reads(99, 1..2).final_read(99, 0, 2);
        assert_eq!(h.fires(Check::Unseen).values, [value(0)]);
        let mut h = History::new();
        h.send(0).resolve(0, Outcome::Ok, None, 1).acked(1..2).finally(0, 2).silent();
    }

    #[test]
    fn a_reader_who_passed_by_is_no_loss_if_the_value_is_there() {
        let mut h = History::new();
        h.acked(0..4).assigned(10, 0).poll(10, &[(0, 0), (1, 1), (3, 3)]).finally(0, 4);
        let verdicts = h.judge();
        assert_eq!(verdicts.summary.lost(), 0);
        h.fires_among(Check::IntPollSkip);
    }

    #[test]
    fn deletion_leaves_nothing_that_is_older() {
        // A reader got older ones on the way, in the same poll or in another.
        for polls in [vec![(0..2), (4..6)], vec![0..1, 1..2, 4..6]] {
            let mut h = History::new();
            h.acked(0..6).assigned(10, 0);
            polls.into_iter().for_each(|offsets| {
                h.reads(10, offsets);
            });
            deleted(&mut h, 5, 4);
            assert_eq!(h.fires(Check::LostWrite).permitted, None);
        }
        // It came from a position, and got none: those may be gone.
        let mut h = History::new();
        h.acked(0..6).assigned(10, 2).reads(10, 4..6);
        deleted(&mut h, 5, 4);
        assert_eq!(h.fires(Check::LostWrite).permitted, Some(Cause::Deletion));
        // Or an older one is read later, by any reader.
        h.assigned(11, 0).reads(11, 0..1);
        assert_eq!(h.fires(Check::LostWrite).permitted, None);
    }

    #[test]
    fn what_was_read_and_then_deleted_is_no_loss() {
        let mut h = History::new();
        h.acked(0..6).assigned(10, 0).reads(10, 0..6).finally(3, 6);
        deleted(&mut h, 150, 3);
        h.silent();
    }

    #[test]
    fn what_takes_a_record_away_leaves_its_place_empty() {
        let mut h = History::new();
        h.acked(0..3).send(7).assigned(10, 1).poll(10, &[(1, 7), (2, 2)]);
        deleted(&mut h, 5, 2);
        h.declared.compactions.push(Compacted { at: 5, source: source(0), removed: vec![Offset(1)] });
        assert_eq!(h.fires_among(Check::LostWrite).permitted, None);
        h.declared.uncleans.push(Unclean { at: 95, source: source(0), from: None });
        assert_eq!(h.fires_among(Check::LostWrite).permitted, Some(Cause::UncleanElection));
    }

    #[test]
    fn acks_1_loses_no_record_below_one_of_the_old_leader() {
        let lost = |epoch| {
            let mut h = History::with(Acks::Leader, false, 5);
            h.acked(0..4).assigned(10, 2).poll_epochs(10, &[(3, 3, epoch)]);
            let (at, epoch) = (75, LeaderEpoch(2));
            h.declared.leader_changes.push(LeaderChange { at, source: source(0), epoch, deposed_by: None });
            h.fires(Check::LostWrite).permitted
        };
        assert_eq!(lost(2), Some(Cause::Acks1LeaderChange));
        assert_eq!(lost(1), None);
    }

    #[test]
    fn each_observation_must_be_excused() {
        // One reader misses it before the election that may have cut it, another one after that.
        let mut h = History::new();
        h.acked(0..4).assigned(10, 2).reads(10, 3..4);
        let early = h.clock;
        h.assigned(11, 2).reads(11, 3..4);
        let election = |at| Unclean { at, source: source(0), from: Some(Offset(2)) };
        h.declared.uncleans.push(election(early + 5));
        let found = h.fires(Check::LostWrite);
        assert_eq!((found.permitted, found.at, h.judge().findings.len()), (None, early, 1));
        h.declared.uncleans.push(election(early));
        assert_eq!(h.fires(Check::LostWrite).permitted, Some(Cause::UncleanElection));
    }

    #[test]
    fn a_final_reader_goes_by_what_it_did_last() {
        let mut h = History::new();
        h.acked(0..4).assigned(99, 0).reads(99, 0..4).position(99, 1, PositionReason::Truncation);
        h.poll(99, &[(1, 1), (3, 3)]).final_read(99, 0, 4);
        assert_eq!(h.fires_among(Check::LostWrite).values, [value(2)]);
    }

    #[test]
    fn legal_histories_are_silent() {
        // Failed and unresolved sends may be missing; so may those of acks=0.
        let mut h = History::new();
        h.acked(0..2).send(2).resolve(2, Outcome::Info, None, 3).send(3).resolve(3, Outcome::Fail, None, 1).send(4);
        h.finally(0, 2).silent();
        let mut h = History::with(Acks::None, false, 5);
        h.send(0).resolve(0, Outcome::Ok, None, 1).finally(0, 0).silent();
        assert_eq!(h.judge().summary.acks0_missing, 1);
        // Readers that begin late, seek, or read again.
        let mut h = History::new();
        h.acked(0..9).assigned(10, 5).reads(10, 5..7).position(10, 2, PositionReason::Seek).reads(10, 2..4);
        h.position(10, 8, PositionReason::Seek).reads(10, 8..9).finally(0, 9).silent();
        // Gaps in which there is nothing.
        let mut h = History::new();
        h.send(0).ack(0, 0).send(1).ack(1, 5).assigned(10, 0).poll(10, &[(0, 0), (5, 1)]).silent();
        // Acknowledged behind the end that the final reader went for, while it read.
        let mut h = History::new();
        h.acked(0..2).assigned(99, 0).reads(99, 0..2).send(2).ack(2, 2).final_read(99, 0, 2).silent();
        // A final reader that starts over.
        let mut h = History::new();
        h.acked(0..4).assigned(99, 0).reads(99, 0..3).position(99, 1, PositionReason::Truncation).reads(99, 1..4);
        h.final_read(99, 0, 4).silent();
    }

    #[test]
    fn what_was_deleted_leaves_the_oracle() {
        let h = {
            let mut h = History::new();
            h.acked(0..6);
            h
        };
        let mut judge = Judge::new(JudgeConfig { resolve_slack: 0, max_findings: 9 });
        h.entries.iter().for_each(|e| judge.entry(e));
        assert_eq!(judge.remembered(), 12);
        judge.log_start(&source(0), Offset(4));
        assert_eq!(judge.remembered(), 4);
        let mut tail = History::new();
        tail.clock = h.clock;
        tail.entries.clear();
        // One reader still hands out what it had fetched.
        tail.assigned(10, 3).reads(10, 3..6).finally(4, 6);
        tail.entries.iter().for_each(|e| judge.entry(e));
        assert_eq!(judge.finish(tail.clock, &h.declared).findings, []);
    }
}
