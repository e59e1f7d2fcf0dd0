//! lost-write: an acknowledged value is missing although later ones of its partition were read. unseen: an
//! acknowledged value was never read by the final full read.
//!
//! A reader that passes an acknowledged offset without reading it has found a loss, unless the value stands somewhere
//! else, or somebody reads it later (then it was a poll-skip). What was read once and is gone in the final read is
//! lost too. The acknowledgement may come after the reader: then [`acknowledged`] finds that it was passed.

use super::report::{Findings, Report};
use super::sends::{LOST, State};
use super::slots::{ACK, READ, Slot};
use super::store::{NONE, Read, Reader, Store};
use klamm_model::history::{Entry, Op};
use klamm_model::ids::{ClientId, Offset};

/// A reader passed what is known in `gap`.
pub(super) fn gap(store: &mut Store, out: &mut Findings, read: &Read, reader: &mut Reader, gap: &[(i64, Slot)]) {
    for (offset, slot) in gap.iter().filter(|(_, s)| s.flags & ACK != 0) {
        reader.skipped.push(slot.value);
        if slot.flags & READ == 0 && is_missing(store, slot.value) {
            let witness = |store: &Store| {
                let passing = store.before(read, reader).into_iter().chain([store.read(read)]);
                store.story(slot.value).chain(passing).collect()
            };
            lost(
                store,
                out,
                Loss { check: "lost-write", at: read.at, client: read.client, part: read.part },
                slot.value,
                *offset,
                witness,
            );
        }
    }
}

/// A send was acknowledged at an offset at which nothing was read, although something above was.
pub(super) fn acknowledged(store: &mut Store, out: &mut Findings, value: u64, part: u32, offset: i64, at: u64) {
    let p = &store.parts[part as usize];
    if p.gone.contains(&offset) {
        return;
    }
    let slots = &p.slots;
    let Some((below, slot)) = slots.read_below(offset) else { return };
    let Some(next) = slot.next.into_iter().filter(|&n| n != 0).map(|n| below + i64::from(n)).find(|&n| n > offset)
    else {
        return;
    };
    if is_missing(store, value) {
        let client = klamm_model::history::ValueId(value).client();
        let witness = |store: &Store| {
            let reads = store.read_at(part, below).into_iter().chain(store.read_at(part, next));
            store.story(value).chain(reads).collect()
        };
        lost(store, out, Loss { check: "lost-write", at, client, part }, value, offset, witness);
    }
}

/// The final read of a partition is complete: nothing acknowledged may be missing from it.
pub(super) fn final_read(store: &mut Store, out: &mut Findings, entry: &Entry, part: u32, from: i64, to: i64) {
    let (at, client) = (entry.at, entry.client);
    let reader = store.reader(client, entry.incarnation, part).clone();
    // Offsets of which this reader has not already had to account for.
    let last = if reader.last == NONE { from - 1 } else { reader.last };
    let covered_from = if reader.covered_from == NONE { last + 1 } else { reader.covered_from };
    let p = &store.parts[part as usize];
    let begun = p.slots.between(from, covered_from.min(to));
    let begun_at = if reader.covered_from == NONE { at } else { reader.begun };
    let acked_by_then = |value: u64| store.send(value).is_some_and(|s| s.completed <= begun_at);
    let mut tail = p.slots.between(last.saturating_add(1).max(from), i64::MAX);
    // What was acknowledged while it read may lie behind the end it went for.
    tail.retain(|(offset, slot)| *offset < to || acked_by_then(slot.value));
    let unread = begun.into_iter().chain(tail).filter(|(_, s)| s.flags & ACK != 0).map(|(o, s)| (s.value, o));
    let elsewhere = |values: &[u64]| -> Vec<(u64, i64)> {
        values.iter().filter_map(|&v| store.send(v).map(|s| (v, s.offset))).collect()
    };
    let mut missing: Vec<(u64, i64)> = unread.collect();
    missing.extend(elsewhere(&reader.skipped));
    missing.extend(elsewhere(&p.displaced).into_iter().filter(|(v, _)| !store.stands(*v)));
    missing.extend(elsewhere(&p.unplaced).into_iter().filter(|(v, _)| !store.stands(*v) && acked_by_then(*v)));
    missing.retain(|&(value, offset)| {
        if p.gone.contains(&offset) {
            return false;
        }
        // It may stand at another offset than the one at which it is missing.
        !store.send(value).is_some_and(|s| s.offset != offset && store.stands(value))
    });
    for (value, offset) in missing {
        if store.send(value).is_none_or(|s| s.state != State::Acknowledged || s.is(LOST)) {
            continue;
        }
        let check = if offset >= 0 && offset < last { "lost-write" } else { "unseen" };
        let witness = |store: &Store| {
            let earlier = if offset >= 0 { store.read_at(part, offset) } else { None };
            store.story(value).chain(earlier).chain([entry.clone()]).collect()
        };
        lost(store, out, Loss { check, at, client, part }, value, offset, witness);
    }
    // What this read has settled need not be settled by its next pass.
    let p = &mut store.parts[part as usize];
    p.displaced.clear();
    p.unplaced.clear();
    debug_assert!(matches!(entry.op, Op::FinalRead { to: Offset(t), .. } if t == to));
}

/// Acknowledged, not reported, and not read anywhere it would still stand.
fn is_missing(store: &Store, value: u64) -> bool {
    store.send(value).is_some_and(|s| s.state == State::Acknowledged && !s.is(LOST)) && !store.stands(value)
}

struct Loss {
    check: &'static str,
    at: u64,
    client: ClientId,
    part: u32,
}

fn lost(
    store: &mut Store,
    out: &mut Findings,
    loss: Loss,
    value: u64,
    offset: i64,
    witness: impl FnOnce(&Store) -> Vec<Entry>,
) {
    let values = [value];
    let report = Report::new(loss.check, loss.at, loss.client, loss.part).values(&values);
    let report = if offset >= 0 { report.offset(offset) } else { report };
    let acked_at = store.send(value).map_or(0, |s| s.completed);
    let words = || {
        let at = klamm_model::units::Instant::from_nanos(acked_at);
        match (loss.check, offset) {
            (_, -1) => format!("acknowledged at {at} without an offset, and in no place of the final read"),
            ("unseen", _) => format!("acknowledged at {at}, absent from the final read"),
            _ => format!("acknowledged at {at}, absent although later records were read"),
        }
    };
    out.add(store, report, words, || witness(store));
    store.mark(value, LOST);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracles::testing::*;
    use crate::oracles::{Judge, JudgeConfig};
    use klamm_model::history::{Acks, Outcome, PositionReason};

    #[test]
    fn an_acknowledged_value_that_a_reader_passed_is_lost() {
        let mut h = History::new();
        h.acked(0..4).assigned(10, 0).poll(10, &[(0, 0), (1, 1), (3, 3)]);
        let found = h.fires("lost-write");
        assert_eq!((found.offset, found.values), (Some(Offset(2)), vec![value(2)]));
        let ops: Vec<_> = found.witness.iter().map(|e| &e.op).collect();
        assert!(matches!(ops[..], [Op::Send { .. }, Op::Sent { .. }, Op::Poll { .. }, Op::Poll { .. }]), "{ops:#?}");
        assert_eq!(found.witness[1], h.entries[6]);
    }

    #[test]
    fn so_it_is_when_the_acknowledgement_comes_after_the_reader() {
        let mut h = History::new();
        h.acked(0..2).send(2).acked(3..4).assigned(10, 0).poll(10, &[(0, 0), (1, 1), (3, 3)]).ack(2, 2);
        h.fires("lost-write");
    }

    #[test]
    fn what_is_absent_at_the_end_of_the_final_read_is_unseen() {
        let mut h = History::new();
        h.acked(0..4).assigned(99, 0).reads(99, 0..2).final_read(99, 0, 2);
        let verdicts = h.judge();
        assert_eq!(verdicts.findings.iter().map(|f| &*f.check).collect::<Vec<_>>(), ["unseen", "unseen"]);
        assert_eq!(verdicts.summary.lost(), 2);
    }

    #[test]
    fn a_partition_found_empty_has_lost_everything() {
        let mut h = History::new();
        h.acked(0..2).assigned(99, 0).final_read(99, 0, 0);
        h.fires("unseen");
        let mut h = History::new();
        h.acked(0..2).final_read(99, 0, 0);
        h.fires("unseen");
    }

    #[test]
    fn what_was_read_once_and_is_gone_in_the_final_read_is_lost() {
        let mut h = History::new();
        h.acked(0..4).assigned(10, 0).reads(10, 0..4);
        h.assigned(99, 0).poll(99, &[(0, 0), (1, 1), (3, 3)]).final_read(99, 0, 4);
        h.fires_among("lost-write");
        h.fires_among("int-poll-skip");
    }

    #[test]
    fn what_another_value_took_the_place_of_is_lost() {
        let mut h = History::new();
        h.acked(0..3).send(7).assigned(99, 0).poll(99, &[(0, 0), (1, 7), (2, 2)]).final_read(99, 0, 3);
        h.fires_among("inconsistent-offsets");
        assert_eq!(h.fires_among("lost-write").values, [value(1)]);
    }

    #[test]
    fn a_value_acknowledged_without_offset_must_be_somewhere() {
        let mut h = History::new();
        h.send(0).resolve(0, Outcome::Ok, None, 1).acked(1..2).assigned(99, 0).reads(99, 1..2).final_read(99, 0, 2);
        assert_eq!(h.fires("unseen").values, [value(0)]);
        let mut h = History::new();
        h.send(0).resolve(0, Outcome::Ok, None, 1).acked(1..2).finally(0, 2).silent();
    }

    #[test]
    fn a_reader_who_passed_by_is_no_loss_if_the_value_is_there() {
        let mut h = History::new();
        h.acked(0..4).assigned(10, 0).poll(10, &[(0, 0), (1, 1), (3, 3)]).finally(0, 4);
        let verdicts = h.judge();
        assert_eq!(verdicts.summary.lost(), 0);
        h.fires_among("poll-skip");
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
