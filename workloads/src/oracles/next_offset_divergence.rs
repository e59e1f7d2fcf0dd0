//! next-offset-divergence: two readers of the same isolation see different successors of an offset. The nearer one is
//! what the other has not.
//!
//! A step over a gap is a pass, and kept; of a step without one, what was read after it keeps that there was one.

use super::passes::{self, Pass};
use super::report::{Findings, Report};
use super::slots::{FOLLOWED, REACHED};
use super::store::{Part, Read, Reader, Store};
use crate::planted::planted;
use klamm_model::checks::Check;
use std::collections::BTreeMap;

/// Notes a record and what the same reader got next. Returns whether the offset had a successor.
pub(super) fn next(store: &mut Store, read: &Read, reader: &Reader) -> bool {
    if !reader.by_read || read.offset() <= reader.last {
        return false;
    }
    let p = &mut store.parts[read.part as usize];
    if p.slots.get(reader.last).is_none() {
        return false;
    }
    let slot = p.slots.entry(reader.last);
    let isolation = read.isolation as usize;
    let known = slot.flags & FOLLOWED[isolation] != 0;
    slot.flags |= FOLLOWED[isolation];
    if read.offset() - 1 == reader.last {
        p.reached(read, REACHED[isolation]);
    }
    known
}

/// So many successors of one offset are held against each other.
const LOOKED_AT: usize = 64;

/// The successors of an offset below `below` that readers of one isolation got, with the values; `far` are those behind
/// a gap.
fn successors(p: &Part, last: i64, far: &[&Pass], below: i64) -> Vec<(i64, u64)> {
    let mut all: Vec<(i64, u64)> = far.iter().map(|pass| (pass.to(), pass.record.value.0)).collect();
    let reached = REACHED[far[0].isolation as usize];
    if let Some(slot) = p.slots.get(last + 1) {
        all.extend(p.read_values(last + 1, slot, reached).into_iter().map(|value| (last + 1, value)));
    }
    all.retain(|(offset, _)| (p.log_start..below).contains(offset));
    all.sort_by_key(|&(offset, value)| (offset, p.rank(offset, value), value));
    all.dedup();
    all
}

/// Readers that disagree about what lies below `below`.
pub(super) fn settle(store: &Store, out: &mut Findings, part: u32, below: i64, floors: &[i64]) {
    let p = &store.parts[part as usize];
    let mut steps: BTreeMap<(i64, u8), Vec<&Pass>> = BTreeMap::new();
    for pass in p.passes.list.iter().filter(|pass| pass.from < below && pass.by_read) {
        steps.entry((pass.last, pass.isolation as u8)).or_default().push(pass);
    }
    for ((last, _), far) in steps {
        let mut case = (last, 0);
        for near in successors(p, last, &far, below).into_iter().take(LOOKED_AT) {
            // What one of them passed over may have been compacted away.
            let other = far.iter().filter(|pass| {
                near.0 < pass.to() && !p.was_gone(near.0, pass.tick) && !(planted(29) && pass.within_poll)
            });
            // What excuses the first of them excuses the others, too.
            let Some(other) = other.min_by_key(|pass| pass.at) else { continue };
            if case.0 != near.0 {
                case = (near.0, out.case());
            }
            diverges(store, out, part, other, near, passes::older_survives(other, floors, near.0), case.1);
        }
    }
}

#[cold]
fn diverges(
    store: &Store,
    out: &mut Findings,
    part: u32,
    pass: &Pass,
    next: (i64, u64),
    older_survives: bool,
    case: u32,
) {
    let (offset, value) = next;
    // The one that was passed over decides what excuses it.
    let values = [value];
    let report = Report::new(Check::NextOffsetDivergence, pass.at, pass.client, part).offset(offset).values(&values);
    let words = || format!("offset {} is followed by {}, and by {offset} for another reader", pass.last, pass.to());
    out.add(store, Report { older_survives, ..report.case(case) }, words, || {
        store.read_of(value, (part, offset)).into_iter().chain(pass.story(store, part)).collect()
    });
}

#[cfg(test)]
mod tests {
    use crate::oracles::testing::*;
    use klamm_model::history::{IsolationLevel, PositionReason};
    use klamm_model::ids::Offset;

    #[test]
    fn readers_of_one_isolation_agree_on_successors() {
        let mut h = History::new();
        h.sends(0..6);
        h.assigned(10, 0).poll(10, &[(0, 0), (3, 3)]).assigned(11, 0).poll(11, &[(0, 0), (2, 2)]);
        assert_eq!(h.fires_among(Check::NextOffsetDivergence).offset, Some(Offset(2)));
        h.fires_among(Check::IntPollSkip);
        let mut h = History::new();
        h.sends(0..6);
        h.assigned(10, 0).poll(10, &[(0, 0), (2, 2)]).assigned(11, 0).poll(11, &[(0, 0), (3, 3)]);
        h.fires_among(Check::NextOffsetDivergence);
    }

    #[test]
    fn each_successor_is_held_against_those_behind_it() {
        let mut h = History::new();
        h.sends(0..6);
        for (reader, next) in [(10, 1), (11, 3), (12, 5)] {
            h.assigned(reader, 0).poll(reader, &[(0, 0), (next, next as u64)]);
        }
        let found = h.judge().findings;
        let found = found.iter().filter(|f| f.check == Check::NextOffsetDivergence).map(|f| f.offset);
        assert_eq!(found.collect::<Vec<_>>(), [Some(Offset(1)), Some(Offset(3))]);
    }

    #[test]
    fn other_isolations_and_new_positions_do_not_count() {
        let mut h = History::new();
        h.sends(0..6);
        let all = h.poll_op(&[(0, 0, 1), (1, 1, 1), (3, 3, 1)], IsolationLevel::ReadUncommitted);
        h.assigned(10, 0).push(10, all).assigned(11, 0).poll(11, &[(0, 0), (3, 3)]);
        h.assigned(12, 0).poll(12, &[(0, 0)]).position(12, 4, PositionReason::Seek).poll(12, &[(4, 4)]).silent();
    }
}
