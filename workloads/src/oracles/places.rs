//! Values that were seen at more than one place, or elsewhere than they were sent to or acknowledged. It judges at the
//! end: which of a value's places is its own is not known before every answer is in.
//!
//! A value's own partition is the one that the application chose, else the one that its send resolved to, else the
//! first by name in which it was read. Its own offset is the acknowledged one, else the lowest at which it was read.

use super::report::Findings;
use super::sends::{CHOSEN, OFFSET_ACKED, READ, Send, TOLD};
use super::store::Store;
use super::{duplicate, unknown_read};
use std::collections::{BTreeMap, BTreeSet};

/// One place: partition and offset.
pub(super) type Place = (u32, i64);

/// All such values.
#[derive(Default)]
pub(super) struct Places {
    /// Where each was read, but for its send's own place.
    read: BTreeMap<u64, BTreeSet<Place>>,
    /// The partition chosen for values that were acknowledged on another.
    chosen: BTreeMap<u64, u32>,
}

impl Places {
    /// A value was read elsewhere than at the place its send names.
    pub(super) fn add(&mut self, value: u64, place: Place) {
        self.read.entry(value).or_default().insert(place);
    }

    /// A value's send names this place now. Whether it was read there.
    pub(super) fn take(&mut self, value: u64, place: Place) -> bool {
        let Some(read) = self.read.get_mut(&value) else { return false };
        let taken = read.remove(&place);
        if read.is_empty() {
            self.read.remove(&value);
        }
        taken
    }

    /// A value was acknowledged on another partition than the application chose.
    pub(super) fn misplaced(&mut self, value: u64, chosen: u32) {
        self.chosen.entry(value).or_insert(chosen);
    }

    /// The partition chosen for a value that was acknowledged on another.
    pub(super) fn chosen(&self, value: u64) -> Option<u32> {
        self.chosen.get(&value).copied()
    }

    /// Whether a value was read at a place that its send does not name.
    pub(super) fn is_read(&self, value: u64) -> bool {
        self.read.contains_key(&value)
    }

    /// Where a value was read, but for its send's own place.
    pub(super) fn of(&self, value: u64) -> impl Iterator<Item = Place> {
        self.read.get(&value).into_iter().flatten().copied()
    }
}

/// Every place at which a value was read.
pub(super) fn all(store: &Store, value: u64, send: &Send) -> BTreeSet<Place> {
    let own = send.is(READ).then_some((send.part, send.offset));
    store.places.of(value).chain(own).collect()
}

/// When the place of a send that has one was known: it was acknowledged, or read.
pub(super) fn known_at(store: &Store, send: &Send) -> u64 {
    let read = send.is(READ).then(|| store.parts[send.part as usize].slots.get(send.offset)).flatten();
    let acknowledged = send.is(OFFSET_ACKED).then_some(send.completed);
    acknowledged.into_iter().chain(read.map(|slot| slot.at)).min().unwrap_or(0)
}

/// The history ends.
pub(super) fn end(store: &Store, out: &mut Findings) {
    let values: BTreeSet<u64> = store.places.read.keys().chain(store.places.chosen.keys()).copied().collect();
    for value in values {
        let Some(send) = store.send(value).copied() else { continue };
        let read = all(store, value, &send);
        let in_topic = |place: &&Place| store.parts[place.0 as usize].topic == send.topic;
        let chosen = store.places.chosen(value);
        let home = match chosen {
            Some(part) => Some(part),
            None if send.is(CHOSEN) || send.is(TOLD) => Some(send.part),
            None => read.iter().filter(in_topic).map(|p| p.0).min_by_key(|p| store.parts[*p as usize].source.clone()),
        };
        for &place in read.iter().filter(|place| Some(place.0) != home) {
            unknown_read::wrong_partition(store, out, value, &send, home, place);
        }
        let local: Vec<i64> = read.iter().filter(|place| Some(place.0) == home).map(|place| place.1).collect();
        let Some((&lowest, _)) = local.split_first() else { continue };
        let part = home.expect("it was read there");
        let acked = send.is(OFFSET_ACKED).then_some(send.offset);
        let own = match acked {
            Some(acked) if chosen.is_none() && local.contains(&acked) => acked,
            Some(acked) => {
                unknown_read::other_offset(store, out, value, (part, lowest), acked, chosen.is_some());
                lowest
            }
            None => lowest,
        };
        for &offset in local.iter().filter(|offset| **offset != own) {
            duplicate::at(store, out, value, (part, offset), Some(own));
        }
    }
}
