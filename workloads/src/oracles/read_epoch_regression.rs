//! read-epoch-regression: leader epochs of records read decrease along a partition. A leader appends under its own
//! epoch, so along a log epochs never fall, whoever reads it and when.

use super::report::{Findings, Report};
use super::slots::{EPOCHS, READ, Seen};
use super::staircase::Staircase;
use super::store::{Part, Read, Store};
use crate::planted::planted;
use klamm_model::checks::Check;
use klamm_model::history::ValueId;

/// Notes the epoch under which an offset is read, before the offset does.
pub(super) fn read(store: &mut Store, read: &Read, reader: u16) {
    let epoch = read.record.leader_epoch.0;
    if epoch < 0 {
        return;
    }
    let p = &mut store.parts[read.part as usize];
    p.epochs_read += 1;
    let slot = p.slots.entry(read.offset());
    // The first read is the slot's own.
    let Some(first) = slot.seen() else { return };
    if slot.flags & EPOCHS == 0 && slot.epoch == epoch {
        return;
    }
    let new = slot.flags & EPOCHS == 0;
    slot.flags |= EPOCHS;
    let epochs = p.epochs.entry(read.offset()).or_default();
    if new && first.epoch >= 0 {
        epochs.insert(first.epoch, first);
    }
    epochs.entry(epoch).or_insert(Seen { at: read.at, epoch, reader });
}

/// Every epoch under which offsets up to `last` were read, at first; ascending by offset.
fn epochs(p: &Part, last: i64) -> Vec<(i64, Seen)> {
    let mut all: Vec<(i64, Seen)> = p.trimmed.into_iter().collect();
    for (offset, slot) in p.slots.within(i64::MIN, last).filter(|(_, s)| s.flags & READ != 0) {
        match p.epochs.get(&offset).filter(|_| slot.flags & EPOCHS != 0) {
            Some(several) => all.extend(several.values().map(|seen| (offset, *seen))),
            None => all.extend(slot.seen().filter(|seen| seen.epoch >= 0).map(|seen| (offset, seen))),
        }
    }
    all
}

/// Where epochs fall, up to `below`; at the end of the history, wherever they do. Each lower record of a higher epoch is
/// a finding; beside it stands, of the higher records of a lower epoch, the one that was read first: what excuses that
/// excuses the others, too.
pub(super) fn settle(store: &mut Store, out: &mut Findings, part: u32, below: i64, end: bool) {
    let p = &store.parts[part as usize];
    let last = if end { i64::MAX } else { below.saturating_sub(1) };
    let all = epochs(p, last);
    // Along a log that is in order there is nothing more to look at.
    if !all.is_sorted_by_key(|(_, seen)| seen.epoch) {
        // By epoch, the higher the lower, what was read first.
        let mut above: Staircase<(i64, Seen)> = Staircase::default();
        let (mut next, mut case) = (i64::MAX, 0);
        for group in all.chunk_by(|a, b| a.0 == b.0).rev() {
            for &(offset, seen) in group {
                let epoch = i64::from(seen.epoch) - i64::from(planted(30));
                let Some(upper) = above.best_above(-epoch) else { continue };
                if next != offset || case == 0 {
                    (next, case) = (offset, out.case());
                }
                falls(store, out, part, (offset, seen), upper, case);
            }
            for &(offset, seen) in group {
                above.add(-i64::from(seen.epoch), u64::MAX - seen.at, (offset, seen));
            }
        }
    }
    let highest = all.iter().max_by_key(|(_, seen)| (seen.epoch, std::cmp::Reverse(seen.at))).copied();
    store.parts[part as usize].trimmed = highest;
}

#[cold]
fn falls(store: &Store, out: &mut Findings, part: u32, lower: (i64, Seen), upper: (i64, Seen), case: u32) {
    let value = |offset: i64| store.parts[part as usize].slots.get(offset).map(|slot| slot.value);
    let values: Vec<u64> = value(lower.0).into_iter().collect();
    let last = if lower.1.at > upper.1.at { lower } else { upper };
    let client = store.reader_of(last.1).or(values.first().map(|v| ValueId(*v).client())).unwrap_or_default();
    let report = Report::new(Check::ReadEpochRegression, last.1.at, client, part).offset(lower.0);
    let words =
        || format!("offset {} has leader epoch {}, offset {} has {}", lower.0, lower.1.epoch, upper.0, upper.1.epoch);
    out.add(store, report.values(&values).case(case), words, || {
        let read = |(offset, seen): (i64, Seen)| store.read_then(value(offset)?, (part, offset), seen);
        [lower, upper].into_iter().filter_map(read).collect()
    });
}

#[cfg(test)]
mod tests {
    use crate::oracles::testing::*;
    use crate::permission::{Cause, Unclean};
    use klamm_model::history::PositionReason;

    #[test]
    fn epochs_fall_for_one_reader() {
        let mut h = History::new();
        h.acked(0..3).assigned(10, 0).poll_epochs(10, &[(0, 0, 2), (1, 1, 1), (2, 2, 2)]);
        h.fires_among(Check::ReadEpochRegression);
    }

    #[test]
    fn epochs_fall_across_readers_and_gaps() {
        let mut h = History::new();
        h.acked(0..3).assigned(10, 1).poll_epochs(10, &[(1, 1, 2)]).assigned(11, 2).poll_epochs(11, &[(2, 2, 1)]);
        h.fires(Check::ReadEpochRegression);
        let mut h = History::new();
        h.acked(0..3).assigned(10, 1).poll_epochs(10, &[(1, 1, 2)]).assigned(11, 0).poll_epochs(11, &[(0, 0, 3)]);
        h.fires(Check::ReadEpochRegression);
        let mut h = History::new();
        h.send(0).send(1).assigned(10, 0).poll_epochs(10, &[(0, 0, 3), (5, 1, 2)]);
        h.fires(Check::ReadEpochRegression);
    }

    #[test]
    fn what_an_election_explains_hides_nothing_that_it_does_not() {
        let mut h = History::new();
        h.acked(0..3).assigned(10, 0).poll_epochs(10, &[(0, 0, 3), (1, 1, 2)]);
        let shown = h.clock;
        h.assigned(11, 0).poll_epochs(11, &[(0, 0, 3), (1, 1, 2), (2, 2, 1)]);
        h.declared.uncleans.push(Unclean { at: shown + 5, source: source(0), from: None });
        let found = h.judge().findings;
        let found = found.iter().map(|f| (f.at, f.offset.map(|o| o.0), f.permitted));
        let excused = (h.clock, Some(1), Some(Cause::UncleanElection));
        assert_eq!(found.collect::<Vec<_>>(), [(shown, Some(0), None), excused]);
    }

    #[test]
    fn growing_unknown_and_earlier_epochs_are_legal() {
        let mut h = History::new();
        h.acked(0..4).assigned(10, 0).poll_epochs(10, &[(0, 0, 1), (1, 1, 1), (2, 2, 4), (3, 3, -1)]);
        h.position(10, 0, PositionReason::Seek).poll_epochs(10, &[(0, 0, 1)]).silent();
    }
}
