//! Values that were seen at more than one place, or elsewhere than they were sent to or acknowledged. It judges at the
//! end: which of a value's places is its own is not known before every answer is in.
//!
//! A value's own partition is the one that the application chose, else the one that its send resolved to, else the
//! first by name in which it was read. Its own offset is the acknowledged one, else the lowest at which it was read.
//! Where several places say the same, each is a piece of evidence, complete when the value was first read there.

use super::report::Findings;
use super::sends::{CHOSEN, OFFSET_ACKED, READ, Send, TOLD};
use super::slots::Seen;
use super::store::Store;
use super::{duplicate, unknown_read};
use std::collections::{BTreeMap, BTreeSet};

/// One place: partition and offset.
pub(super) type Place = (u32, i64);

/// All such values.
#[derive(Default)]
pub(super) struct Places {
    /// Where each was read elsewhere than at the place that its send named then, and when it was first.
    read: BTreeMap<u64, BTreeMap<Place, Seen>>,
    /// The partition chosen for values that were acknowledged on another.
    chosen: BTreeMap<u64, u32>,
}

impl Places {
    /// A value was read elsewhere than at the place its send names.
    pub(super) fn add(&mut self, value: u64, place: Place, seen: Seen) {
        self.read.entry(value).or_default().entry(place).or_insert(seen);
    }

    /// The first read of a value at a place, if it was of those.
    pub(super) fn seen(&self, value: u64, place: Place) -> Option<Seen> {
        self.read.get(&value)?.get(&place).copied()
    }

    /// A value was acknowledged on another partition than the application chose.
    pub(super) fn misplaced(&mut self, value: u64, chosen: u32) {
        self.chosen.entry(value).or_insert(chosen);
    }

    /// The partition chosen for a value that was acknowledged on another.
    pub(super) fn chosen(&self, value: u64) -> Option<u32> {
        self.chosen.get(&value).copied()
    }

    /// Whether a value was read at such a place.
    pub(super) fn is_read(&self, value: u64) -> bool {
        self.read.contains_key(&value)
    }

    /// Such places of a value.
    pub(super) fn of(&self, value: u64) -> impl Iterator<Item = Place> {
        self.read.get(&value).into_iter().flat_map(BTreeMap::keys).copied()
    }
}

/// Every place at which a value was read.
pub(super) fn all(store: &Store, value: u64, send: &Send) -> BTreeSet<Place> {
    let own = send.is(READ).then_some((send.part, send.offset));
    store.places.of(value).chain(own).collect()
}

/// Of the partitions of its topic in which a value was read, the first by name.
pub(super) fn first_read_in(store: &Store, read: &BTreeSet<Place>, send: &Send) -> Option<u32> {
    let part = |place: &Place| &store.parts[place.0 as usize];
    let in_topic = read.iter().filter(|place| part(place).topic == send.topic);
    in_topic.min_by_key(|place| part(place).source.partition).map(|place| place.0)
}

/// A value's own partition, where it was read at these places.
pub(super) fn home(store: &Store, value: u64, send: &Send, read: &BTreeSet<Place>) -> Option<u32> {
    match store.places.chosen(value) {
        Some(part) => Some(part),
        None if send.is(CHOSEN) || send.is(TOLD) => Some(send.part),
        None => first_read_in(store, read, send),
    }
}

/// When a value was read at a place, at the first time; of one that is not remembered, when its send began.
pub(super) fn when(store: &Store, value: u64, send: &Send, place: Place) -> u64 {
    store.seen(value, place).map_or(send.invoked, |seen| seen.at)
}

/// When the place of a send was known: it was acknowledged, or read.
pub(super) fn known_at(store: &Store, value: u64, send: &Send, place: Place) -> u64 {
    let here = place == (send.part, send.offset);
    let read = store.seen(value, place).filter(|_| !here || send.is(READ)).map(|seen| seen.at);
    let acknowledged = (here && send.is(OFFSET_ACKED)).then_some(send.completed);
    acknowledged.into_iter().chain(read).min().unwrap_or(0)
}

/// The history ends.
pub(super) fn end(store: &Store, out: &mut Findings) {
    let values: BTreeSet<u64> = store.places.read.keys().chain(store.places.chosen.keys()).copied().collect();
    for value in values {
        let Some(send) = store.send(value).copied() else { continue };
        let read = all(store, value, &send);
        let chosen = store.places.chosen(value);
        let home = home(store, value, &send, &read);
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
                let case = out.case();
                for &offset in &local {
                    let on_another = chosen.is_some();
                    unknown_read::other_offset(store, out, value, (part, offset), lowest, acked, on_another, case);
                }
                lowest
            }
            None => lowest,
        };
        duplicate::found(store, out, value, &send, part, own, &local);
    }
}
