//! What readers of compacted topics hold of each key, and the final reads. It judges nothing.

use super::read_model::{Instance, Instances};
use klamm_model::history::{Entry, ReadRecord};
use klamm_model::ids::{ClientId, Incarnation};
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
}

impl Default for View {
    fn default() -> View {
        View { keys: BTreeMap::new(), last: super::store::NONE }
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
        let view = self.of(entry.client, entry.incarnation, part).map_or_else(BTreeMap::new, |v| v.keys.clone());
        self.finals.insert(part, Final { part, to, entry: entry.clone(), view });
    }
}
