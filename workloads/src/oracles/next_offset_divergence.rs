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
    // What one of them passed over may have been compacted away.
    if p.gone.contains(&(reader.last + i64::from(first.min(step)))) {
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
        assert_eq!(h.fires("next-offset-divergence").offset, Some(Offset(2)));
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
