//! read-epoch-regression: leader epochs of records read decrease along a partition. A leader appends under its own
//! epoch, so along a log epochs never fall.

use super::report::{Findings, Report};
use super::slots::READ;
use super::store::{NONE, Read, Reader, Store};

pub(super) fn check(store: &Store, out: &mut Findings, read: &Read, reader: &Reader) {
    let epoch = read.record.leader_epoch.0;
    if epoch < 0 {
        return;
    }
    let (offset, slots) = (read.offset(), &store.parts[read.part as usize].slots);
    // A slot read for the first time is held against both neighbours, whoever read them.
    let fresh = slots.get(offset).is_none_or(|s| s.flags & READ == 0 || s.epoch != epoch);
    let neighbour = |o: i64| fresh.then(|| slots.get(o)).flatten().filter(|s| s.flags & READ != 0 && s.epoch >= 0);
    let own = reader.by_read && reader.last != NONE && reader.last < offset && reader.epoch > epoch;
    let (low, high) = if own {
        (reader.last, offset)
    } else if neighbour(offset - 1).is_some_and(|s| s.epoch > epoch) {
        (offset - 1, offset)
    } else if neighbour(offset + 1).is_some_and(|s| s.epoch < epoch) {
        (offset, offset + 1)
    } else {
        return;
    };
    let other = if low == offset { high } else { low };
    let other_epoch = if own { reader.epoch } else { slots.get(other).map_or(-1, |s| s.epoch) };
    out.add(
        store,
        Report::of_read("read-epoch-regression", read).values(&[read.value()]),
        || format!("offset {offset} has leader epoch {epoch}, offset {other} has {other_epoch}"),
        || {
            let earlier = if own { store.before(read, reader) } else { store.read_at(read.part, other) };
            earlier.into_iter().chain([store.read(read)]).collect()
        },
    );
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
