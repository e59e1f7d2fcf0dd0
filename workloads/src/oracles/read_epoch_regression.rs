//! read-epoch-regression: leader epochs of records read decrease along a partition. A leader appends under its own
//! epoch, so along a log epochs never fall, whoever reads it and when.

use super::report::{Findings, Report};
use super::slots::{EPOCHS, READ};
use super::store::{Read, Store};
use crate::planted::planted;

/// Notes the epoch under which an offset is read, before the offset does.
pub(super) fn read(store: &mut Store, read: &Read) {
    let epoch = read.record.leader_epoch.0;
    if epoch < 0 {
        return;
    }
    let p = &mut store.parts[read.part as usize];
    p.epochs_read += 1;
    let slot = p.slots.entry(read.offset());
    let other = slot.flags & READ != 0 && slot.epoch >= 0 && slot.epoch != epoch;
    if !other && slot.flags & EPOCHS == 0 {
        return;
    }
    slot.flags |= EPOCHS;
    let before = if slot.epoch >= 0 { slot.epoch } else { epoch };
    let range = p.epochs.entry(read.offset()).or_insert((before, before));
    *range = (range.0.min(epoch), range.1.max(epoch));
}

/// Where epochs fall, up to `below`; at the end of the history, wherever they do.
pub(super) fn settle(store: &mut Store, out: &mut Findings, part: u32, below: i64, end: bool) {
    let p = &store.parts[part as usize];
    let last = if end { i64::MAX } else { below.saturating_sub(1) };
    let mut before = p.trimmed;
    for (offset, slot) in p.slots.within(i64::MIN, last).filter(|(_, s)| s.flags & READ != 0) {
        let range = p.epochs.get(&offset).copied().unwrap_or((slot.epoch, slot.epoch));
        if range.1 < 0 {
            continue;
        }
        if let Some((lower, epoch)) = before.filter(|(_, epoch)| *epoch > range.0 + i32::from(planted(30))) {
            falls(store, out, part, (lower, epoch), (offset, range.0), slot.value);
        }
        before = Some((offset, range.1));
    }
    store.parts[part as usize].trimmed = before;
}

#[cold]
fn falls(store: &Store, out: &mut Findings, part: u32, lower: (i64, i32), upper: (i64, i32), value: u64) {
    let reads: Vec<_> = [lower.0, upper.0].into_iter().filter_map(|o| store.read_at(part, o)).collect();
    let (at, client) = reads.iter().map(|r| (r.at, r.client)).max().unwrap_or_default();
    let report = Report::new("read-epoch-regression", at, client, part).offset(upper.0);
    let words = || format!("offset {} has leader epoch {}, offset {} has {}", lower.0, lower.1, upper.0, upper.1);
    out.add(store, report.values(&[value]), words, || reads.clone());
}

#[cfg(test)]
mod tests {
    use crate::oracles::testing::*;
    use klamm_model::history::PositionReason;

    #[test]
    fn epochs_fall_for_one_reader() {
        let mut h = History::new();
        h.acked(0..3).assigned(10, 0).poll_epochs(10, &[(0, 0, 2), (1, 1, 1), (2, 2, 2)]);
        h.fires_among("read-epoch-regression");
    }

    #[test]
    fn epochs_fall_across_readers_and_gaps() {
        let mut h = History::new();
        h.acked(0..3).assigned(10, 1).poll_epochs(10, &[(1, 1, 2)]).assigned(11, 2).poll_epochs(11, &[(2, 2, 1)]);
        h.fires("read-epoch-regression");
        let mut h = History::new();
        h.acked(0..3).assigned(10, 1).poll_epochs(10, &[(1, 1, 2)]).assigned(11, 0).poll_epochs(11, &[(0, 0, 3)]);
        h.fires("read-epoch-regression");
        let mut h = History::new();
        h.send(0).send(1).assigned(10, 0).poll_epochs(10, &[(0, 0, 3), (5, 1, 2)]);
        h.fires("read-epoch-regression");
    }

    #[test]
    fn growing_unknown_and_earlier_epochs_are_legal() {
        let mut h = History::new();
        h.acked(0..4).assigned(10, 0).poll_epochs(10, &[(0, 0, 1), (1, 1, 1), (2, 2, 4), (3, 3, -1)]);
        h.position(10, 0, PositionReason::Seek).poll_epochs(10, &[(0, 0, 1)]).silent();
    }
}
