//! What readers of compacted topics hold of each key, and the final reads. It judges nothing.

use super::read_model::{Instance, Instances};
use super::sends::{KEYED, TOMBSTONE};
use super::store::Store;
use klamm_model::history::{Entry, ReadRecord};
use klamm_model::ids::{ClientId, Incarnation, Offset};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A value of a key, and where it was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Held {
    pub(super) offset: i64,
    pub(super) value: u64,
}

/// What a reader holds of one partition.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// By key, what it read last.
    pub(super) keys: BTreeMap<u64, Held>,
    /// The last offset it read.
    pub(super) last: i64,
    /// What compaction took away before it had got there, and how far it had read then.
    missed: BTreeMap<i64, i64>,
}

impl Default for View {
    fn default() -> View {
        View { keys: BTreeMap::new(), last: super::store::NONE, missed: BTreeMap::new() }
    }
}

/// The final read of a partition.
#[derive(Debug)]
pub(super) struct Final {
    pub(super) part: u32,
    pub(super) to: i64,
    pub(super) entry: Entry,
    /// By key, what it read last.
    pub(super) view: BTreeMap<u64, Held>,
    missed: BTreeMap<i64, i64>,
}

/// All of it.
#[derive(Default, Debug)]
pub(super) struct Views {
    topics: BTreeSet<u32>,
    views: BTreeMap<(ClientId, u32), (Incarnation, View)>,
    pub(super) instances: Instances,
    pub(super) finals: BTreeMap<u32, Final>,
}

impl Views {
    /// A topic is compacted.
    pub(super) fn compacts(&mut self, topic: u32) {
        self.topics.insert(topic);
    }
    /// Whether a topic is.
    pub(super) fn follows(&self, topic: u32) -> bool {
        !self.topics.is_empty() && self.topics.contains(&topic)
    }
    /// An instance came up.
    pub(super) fn came_up(&mut self, entry: &Entry, topics: &[Arc<str>]) {
        let instance = Instance { incarnation: entry.incarnation, topics: topics.to_vec() };
        self.instances.insert(entry.client, instance);
    }
    /// Records of a compacted topic were read.
    pub(super) fn read(&mut self, entry: &Entry, part: u32, records: &[ReadRecord]) {
        let (incarnation, view) = self.views.entry((entry.client, part)).or_default();
        if *incarnation != entry.incarnation {
            (*incarnation, *view) = (entry.incarnation, View::default());
        }
        for record in records {
            view.last = record.offset.0;
            if let Some(key) = record.key {
                view.keys.insert(key, Held { offset: record.offset.0, value: record.value.0 });
            }
        }
    }
    /// A reader's view.
    pub(super) fn of(&self, client: ClientId, incarnation: Incarnation, part: u32) -> Option<&View> {
        self.views.get(&(client, part)).filter(|(i, _)| *i == incarnation).map(|(_, view)| view)
    }
    /// A partition was read to its end, for the last time so far.
    pub(super) fn finished(&mut self, entry: &Entry, part: u32, to: i64) {
        let read = self.of(entry.client, entry.incarnation, part).cloned().unwrap_or_default();
        let (view, missed) = (read.keys, read.missed);
        self.finals.insert(part, Final { part, to, entry: entry.clone(), view, missed });
    }
    /// Compaction took these offsets away: whoever is on its way to them will not meet them.
    pub(super) fn removed(&mut self, part: u32, offsets: &[Offset]) {
        let readers = self.views.iter_mut().filter(|((_, p), (_, v))| *p == part && v.last != super::store::NONE);
        for (_, (_, view)) in readers {
            let ahead = offsets.iter().filter(|o| o.0 > view.last);
            view.missed.extend(ahead.map(|o| (o.0, view.last)));
        }
    }
    /// A final read takes its time, and tombstones may be due meanwhile: of a key whose tombstone went after the final
    /// reader had read an earlier value, and before it got there, there is nothing in the topic.
    pub(super) fn amend(&mut self, store: &Store) {
        for end in self.finals.values_mut().filter(|end| !end.missed.is_empty()) {
            let all = store.clients().flat_map(|c| c.all()).map(|(_, send)| send);
            for tombstone in all.filter(|s| s.part == end.part && s.is(KEYED) && s.is(TOMBSTONE)) {
                let Some(&had_read) = end.missed.get(&tombstone.offset) else { continue };
                if end.view.get(&tombstone.key).is_some_and(|held| held.offset <= had_read) {
                    end.view.remove(&tombstone.key);
                }
            }
        }
    }
}
