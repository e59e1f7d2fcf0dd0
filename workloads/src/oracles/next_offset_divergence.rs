//! next-offset-divergence: two readers of the same isolation see different successors of an offset. Each offset keeps
//! its nearest successor; a reader that passed it saw another.

use super::groups::visible_flag;
use super::passes::{self, Pass};
use super::report::{Findings, Report};
use super::store::{Read, Reader, Store};
use crate::planted::planted;
use klamm_model::history::IsolationLevel;
use std::collections::BTreeSet;

/// Notes a record and what the same reader got next. Returns whether the offset had a successor.
pub(super) fn next(store: &mut Store, read: &Read, reader: &Reader) -> bool {
    if !reader.by_read || read.offset() <= reader.last {
        return false;
    }
    let slots = &mut store.parts[read.part as usize].slots;
    if slots.get(reader.last).is_none() {
        return false;
    }
    let step = u32::try_from(read.offset() - reader.last).unwrap_or(u32::MAX);
    let next = &mut slots.entry(reader.last).next[read.isolation as usize];
    let known = *next != 0;
    if !known || step < *next {
        *next = step;
    }
    known
}

/// The nearest successor of an offset that a reader of this isolation got, and its value.
fn nearest(store: &Store, part: u32, offset: i64, isolation: IsolationLevel) -> Option<(i64, u64)> {
    let slots = &store.parts[part as usize].slots;
    match slots.get(offset)?.next[isolation as usize] {
        0 => None,
        // It lies so far away that the step says no more than that.
        u32::MAX => {
            let from = offset.checked_add(i64::from(u32::MAX))?;
            let seen = |s: &super::slots::Slot| s.flags & visible_flag(isolation) != 0;
            slots.within(from, i64::MAX).find(|(_, s)| seen(s)).map(|(o, s)| (o, s.value))
        }
        step => {
            let next = offset.checked_add(i64::from(step))?;
            slots.get(next).map(|s| (next, s.value))
        }
    }
}

/// Readers that disagree about what lies below `below`.
pub(super) fn settle(store: &Store, out: &mut Findings, part: u32, below: i64, floors: &[i64]) {
    let p = &store.parts[part as usize];
    let mut told = BTreeSet::new();
    for pass in p.passes.list.iter().filter(|pass| pass.from < below && pass.by_read) {
        let Some((offset, value)) = nearest(store, part, pass.last, pass.isolation) else { continue };
        // What one of them passed over may have been compacted away.
        if offset < pass.to()
            && !p.was_gone(offset, pass.tick)
            && !(planted(29) && pass.within_poll)
            && told.insert((pass.last, pass.isolation))
        {
            diverges(store, out, part, pass, (offset, value), passes::older_survives(pass, floors, offset));
        }
    }
}

#[cold]
fn diverges(store: &Store, out: &mut Findings, part: u32, pass: &Pass, next: (i64, u64), older_survives: bool) {
    let (offset, value) = next;
    // The one that was passed over decides what excuses it.
    let values = [value];
    let report = Report::new("next-offset-divergence", pass.at, pass.client, part).offset(offset).values(&values);
    let words = || format!("offset {} is followed by {}, and by {offset} for another reader", pass.last, pass.to());
    out.add(store, Report { older_survives, ..report }, words, || {
        store.read_at(part, offset).into_iter().chain(pass.story(store, part)).collect()
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
        assert_eq!(h.fires_among("next-offset-divergence").offset, Some(Offset(2)));
        h.fires_among("int-poll-skip");
        let mut h = History::new();
        h.sends(0..6);
        h.assigned(10, 0).poll(10, &[(0, 0), (2, 2)]).assigned(11, 0).poll(11, &[(0, 0), (3, 3)]);
        h.fires_among("next-offset-divergence");
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
