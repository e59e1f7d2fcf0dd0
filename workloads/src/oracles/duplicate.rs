//! duplicate: one value at two offsets of its partition. Reading an offset again is none. Each offset but one is a
//! finding: all but the acknowledged one if it was read there, else all but the lowest.

use super::places::Place;
use super::report::{Findings, Report};
use super::store::{Read, Store};

/// A value was read at a place, and at `first` too. `first` is none if that place was deleted meanwhile.
#[cold]
pub(super) fn at(store: &Store, out: &mut Findings, value: u64, place: Place, first: Option<i64>) {
    let (part, offset) = place;
    let read = store.read_of(value, place);
    let (at, client) = super::unknown_read::when(store, value, read.as_ref());
    let words = || match first {
        Some(first) => format!("the value at offset {first} is at offset {offset} too"),
        None => format!("the value at offset {offset} stood at a deleted offset before"),
    };
    let witness = || {
        let earlier = first.and_then(|first| store.read_of(value, (part, first)));
        store.story(value).chain(earlier).chain(read.clone()).collect()
    };
    out.add(store, Report::new("duplicate", at, client, part).offset(offset).values(&[value]), words, witness);
}

/// A value is read that was read, deleted and forgotten.
#[cold]
pub(super) fn again(store: &mut Store, out: &mut Findings, read: &Read) {
    let before = store.parts[read.part as usize].slots.get(read.offset());
    if before.is_some_and(|s| s.flags & super::slots::READ != 0 && s.value == read.value()) {
        return;
    }
    let words = || format!("the value at offset {} stood at a deleted offset before", read.offset());
    let witness = || store.story(read.value()).chain([store.read(read)]).collect();
    out.add(store, Report::of_read("duplicate", read).values(&[read.value()]), words, witness);
}

#[cfg(test)]
mod tests {
    use crate::oracles::testing::*;
    use crate::permission::Cause;
    use klamm_model::history::{Acks, Outcome, PositionReason};

    #[test]
    fn a_value_at_two_offsets_fires_once() {
        let mut h = History::with(Acks::All, false, 1);
        h.send(0).resolve(0, Outcome::Ok, Some(0), 2);
        h.assigned(10, 0).poll(10, &[(0, 0), (1, 0)]).assigned(11, 0).poll(11, &[(0, 0), (1, 0)]);
        assert_eq!(h.fires("duplicate").permitted, Some(Cause::AmbiguousRetry));
        assert_eq!(h.judge().findings.len(), 1);
    }

    #[test]
    fn an_idempotent_producer_has_no_excuse_but_a_new_identity() {
        let mut h = History::new();
        h.send(0).resolve(0, Outcome::Ok, Some(0), 2).assigned(10, 0).poll(10, &[(0, 0), (1, 0)]);
        assert_eq!(h.fires("duplicate").permitted, None);
        let mut h = History::new();
        h.send(0).send(1).resolve(0, Outcome::Info, None, 2).resolve(1, Outcome::Ok, Some(1), 2);
        h.assigned(10, 0).poll(10, &[(0, 1), (1, 1)]);
        assert_eq!(h.fires_among("duplicate").permitted, Some(Cause::NewProducerIdentity));
    }

    #[test]
    fn what_permits_it_may_become_known_later() {
        let mut h = History::with(Acks::All, false, 1);
        h.send(0).assigned(10, 0).poll(10, &[(0, 0), (1, 0)]).resolve(0, Outcome::Ok, Some(1), 2);
        assert_eq!(h.fires_among("duplicate").permitted, Some(Cause::AmbiguousRetry));
        // And of a client that died on the way it never does.
        let mut h = History::with(Acks::All, false, 1);
        h.send(0).assigned(10, 0).poll(10, &[(0, 0), (1, 0)]);
        assert_eq!(h.fires("duplicate").permitted, Some(Cause::AmbiguousRetry));
    }

    #[test]
    fn reading_an_offset_again_is_none() {
        let mut h = History::new();
        h.acked(0..2).assigned(10, 0).reads(10, 0..2).position(10, 0, PositionReason::Seek).reads(10, 0..2);
        h.assigned(11, 0).reads(11, 0..2).silent();
    }
}
