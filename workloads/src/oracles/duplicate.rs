//! duplicate: one value at two offsets. Reading an offset again is none.

use super::report::{Findings, Report};
use super::slots::REPEATED;
use super::store::{Read, Store};

/// The value was read at `first` already. `first` is None if that place was deleted meanwhile.
#[cold]
pub(super) fn at(store: &mut Store, out: &mut Findings, read: &Read, first: Option<i64>) {
    let slot = store.parts[read.part as usize].slots.entry(read.offset());
    if slot.flags & REPEATED != 0 {
        return;
    }
    slot.flags |= REPEATED;
    let words = || match first {
        Some(first) => format!("the value at offset {first} is at offset {} too", read.offset()),
        None => format!("the value at offset {} stood at a deleted offset before", read.offset()),
    };
    let witness = || {
        let earlier = first.and_then(|first| store.read_at(read.part, first));
        store.story(read.value()).chain(earlier).chain([store.read(read)]).collect()
    };
    out.add(store, Report::of_read("duplicate", read).values(&[read.value()]), words, witness);
}
