//! Which log is compacted next: one at a time, the one of which the largest share was not compacted yet. When there is
//! nothing to do it rests for `log.cleaner.backoff.ms`. Where each log's compaction goes on is kept in
//! `cleaner-offset-checkpoint`; an old one only means that more is looked at than need be. It names every log that is
//! to be compacted, from the first (Kafka: those that were): recovery, which knows no topic's settings, must know
//! whether a gap between batches is damage.
//!
//! A broker without compacted logs has no part of this, nor any timer for it. Follows Kafka's `LogCleaner` with one
//! thread, and `LogCleanerManager.grabFilthiestCompactedLog`.

use super::partition::Partition;
use super::{Process, Task};
use crate::ids::Offset;
use crate::log::checkpoint::format_offsets;
use crate::node::Outbox;
use crate::timers::TimerKey;
use crate::units::{Duration, Now};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// What is known of compactions.
#[derive(Debug, Default)]
pub(crate) struct Cleaner {
    /// By topic and partition: from here on nothing was compacted.
    first_dirty: BTreeMap<(String, i32), Offset>,
    /// The log being compacted.
    current: Option<u32>,
    /// When a look is due.
    timer: Option<TimerKey>,
}

/// A log by topic and partition, as the checkpoint names it.
fn name(p: &Partition) -> (String, i32) {
    (p.topic.to_string(), p.id.partition)
}

impl Cleaner {
    /// Whether a log may have the gaps that compaction leaves, its own or its leader's.
    pub fn may_have_gaps(&self, log: &(String, i32)) -> bool {
        self.first_dirty.contains_key(log)
    }
    /// A log is no more.
    pub fn forget(&mut self, topic: &str, partition: i32) {
        self.first_dirty.remove(&(topic.to_owned(), partition));
    }
    /// As the checkpoint says.
    pub fn restore(&mut self, offsets: BTreeMap<(String, i32), Offset>) {
        self.first_dirty = offsets;
    }
}

impl Process {
    /// A replica was taken up: if it is to be compacted, it is looked at now and then.
    pub(super) fn look_for_cleaning(&mut self, now: Now, owner: u32, out: &mut Outbox) {
        let compacted = self.replicas.get(owner).is_some_and(|p| p.log.config().compaction.is_some());
        if !compacted {
            return;
        }
        if self.cleaner.timer.is_none() {
            self.look_in(now, self.spec.config.cleaner_backoff);
        }
        let Some(p) = self.replicas.get(owner) else { return };
        if let Entry::Vacant(unnamed) = self.cleaner.first_dirty.entry(name(p)) {
            unnamed.insert(Offset(0));
            self.write_cleaner_offsets(out);
        }
    }

    fn write_cleaner_offsets(&mut self, out: &mut Outbox) {
        let lines = self.cleaner.first_dirty.iter();
        let lines = lines.map(|((topic, partition), offset)| (topic.as_str(), *partition, *offset));
        self.checkpoints.write_cleaner_offsets(format_offsets(lines), out);
    }

    fn look_in(&mut self, now: Now, pause: Duration) {
        if let Some(timer) = self.cleaner.timer.take() {
            self.timers.cancel(timer);
        }
        // Kafka's cleaner never stops with a pause of 0; a millisecond is as fine as time is counted here.
        let pause = pause.max(Duration::from_millis(1));
        self.cleaner.timer = Some(self.timers.set(now.mono + pause, Task::Clean));
    }

    /// Begins with the log that needs it most, or rests.
    pub(super) fn clean_next(&mut self, now: Now, out: &mut Outbox) {
        // A truncation may have ended what was under way.
        let busy = self.cleaner.current.and_then(|o| self.replicas.get(o)).is_some_and(|p| p.log.is_cleaning());
        if !busy && matches!(self.phase, super::Phase::Serving) {
            self.cleaner.current = None;
            let mut filthiest = None;
            for owner in self.replicas.owners() {
                let Some(p) = self.replicas.get(owner).filter(|p| p.ready) else { continue };
                let Some(config) = p.log.config().compaction else { continue };
                let first_dirty = self.cleaner.first_dirty.get(&name(p)).copied().unwrap_or(Offset(0));
                let Some(what) = p.log.cleanable(first_dirty, p.high_watermark(), now.wall) else { continue };
                let enough = what.dirty_ppm > config.min_cleanable_ratio.0;
                if enough
                    && filthiest.is_none_or(|(_, other): (u32, crate::log::Cleanable)| what.dirty_ppm > other.dirty_ppm)
                {
                    filthiest = Some((owner, what));
                }
            }
            if let Some((owner, what)) = filthiest
                && let Some(p) = self.replicas.get_mut(owner)
            {
                p.log.clean(now, what, out);
                self.cleaner.current = Some(owner);
            }
        }
        self.look_in(now, self.spec.config.cleaner_backoff);
    }

    /// A log was cut: nothing beyond is compacted.
    pub(super) fn cleaned_log_cut(&mut self, owner: u32) {
        let Some(p) = self.replicas.get(owner).filter(|_| !self.cleaner.first_dirty.is_empty()) else { return };
        if let Some(offset) = self.cleaner.first_dirty.get_mut(&name(p)) {
            *offset = p.log.next_offset().min(*offset);
        }
    }

    /// A log is compacted: that is written down, and the next one is looked for at once.
    pub(super) fn cleaned(&mut self, now: Now, owner: u32, up_to: Offset, out: &mut Outbox) {
        self.cleaner.current = None;
        if let Some(p) = self.replicas.get(owner) {
            self.cleaner.first_dirty.insert(name(p), up_to);
        }
        self.write_cleaner_offsets(out);
        self.look_in(now, Duration::ZERO);
    }
}
