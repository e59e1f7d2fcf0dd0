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
