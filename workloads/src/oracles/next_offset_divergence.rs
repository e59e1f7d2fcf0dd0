//! next-offset-divergence: two readers of the same isolation see different successors of an offset.

use super::report::{Findings, Report};
use super::slots::FORKED;
use super::store::{Read, Reader, Store};

pub(super) fn check(store: &mut Store, out: &mut Findings, read: &Read, reader: &Reader) {
    if !reader.by_read || read.offset() <= reader.last {
        return;
    }
    let Ok(step) = u32::try_from(read.offset() - reader.last) else { return };
    let p = &mut store.parts[read.part as usize];
    if p.slots.get(reader.last).is_none() {
        return;
    }
    let slot = p.slots.entry(reader.last);
    let next = &mut slot.next[read.isolation as usize];
    let first = *next;
    if first == 0 || first == step {
        *next = step;
        return;
    }
    if slot.flags & FORKED != 0 {
        return;
    }
    slot.flags |= FORKED;
    let value = slot.value;
    // The one that was passed over decides whether deletion excuses it.
    let (a, b) = (reader.last + i64::from(first), read.offset());
    out.add(
        store,
        Report::of_read("next-offset-divergence", read).offset(a.min(b)).values(&[value]),
        || format!("offset {} is followed by {b}, and by {a} for an earlier reader", reader.last),
        || {
            let earlier = store.read_at(read.part, a).into_iter().chain(store.before(read, reader));
            earlier.chain([store.read(read)]).collect()
        },
    );
}
