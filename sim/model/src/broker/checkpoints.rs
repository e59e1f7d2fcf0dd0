//! What is written down now and then: high watermarks, recovery points, log starts, where compaction goes on; and at the end, that the end was
//! a clean one. Follows Kafka's `ReplicaManager.checkpointHighWatermarks` and `LogManager`'s checkpoints.

use super::{Process, SELF, Task};
use crate::disk::{DiskResult, DiskToken, Path};
use crate::ids::*;
use crate::log::checkpoint::{
    CLEAN_SHUTDOWN, CLEANER_OFFSET_CHECKPOINT, HIGH_WATERMARK_CHECKPOINT, LOG_START_CHECKPOINT, META_PROPERTIES,
    Progress, RECOVERY_POINT_CHECKPOINT, Replace, format_clean_shutdown, format_offsets,
};
use crate::node::Outbox;
use crate::units::{Duration, Now};
use bytes::Bytes;

/// The files of the data directory that are replaced as a whole.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    high_watermarks: Replace,
    recovery_points: Replace,
    log_starts: Replace,
    cleaner_offsets: Replace,
    clean_shutdown: Replace,
    meta_properties: Replace,
}

/// What a completion meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// Another's.
    NotMine,
    /// One of these, and all is well.
    Fine,
    /// The recovery points last asked to be written are durable.
    RecoveryPoints,
    /// The disk failed.
    Failed,
}

impl Checkpoints {
    /// Nothing under way.
    pub fn new() -> Checkpoints {
        let file = |name: &str| Replace::new(SELF, Path::new(name));
        Checkpoints {
            high_watermarks: file(HIGH_WATERMARK_CHECKPOINT),
            recovery_points: file(RECOVERY_POINT_CHECKPOINT),
            log_starts: file(LOG_START_CHECKPOINT),
            cleaner_offsets: file(CLEANER_OFFSET_CHECKPOINT),
            clean_shutdown: file(CLEAN_SHUTDOWN),
            meta_properties: file(META_PROPERTIES),
        }
    }
    fn all(&mut self) -> [&mut Replace; 6] {
        [
            &mut self.high_watermarks,
            &mut self.recovery_points,
            &mut self.log_starts,
            &mut self.cleaner_offsets,
            &mut self.clean_shutdown,
            &mut self.meta_properties,
        ]
    }
    /// Takes a completion.
    pub fn on_disk(&mut self, token: DiskToken, result: &DiskResult, out: &mut Outbox) -> Outcome {
        match self.recovery_points.on_disk(token, result, out) {
            Progress::NotMine => {}
            Progress::Busy => return Outcome::Fine,
            Progress::Done => return Outcome::RecoveryPoints,
            Progress::Failed(_) => return Outcome::Failed,
        }
        for file in self.all() {
            match file.on_disk(token, result, out) {
                Progress::NotMine => {}
                Progress::Busy | Progress::Done => return Outcome::Fine,
                Progress::Failed(_) => return Outcome::Failed,
            }
        }
        Outcome::NotMine
    }
    /// Whether a write is under way.
    pub fn busy(&mut self) -> bool {
        self.all().iter().any(|f| f.busy())
    }
    /// Leaves word that the end was clean, and under which epoch.
    pub fn write_clean_shutdown(&mut self, epoch: BrokerEpoch, out: &mut Outbox) {
        self.clean_shutdown.replace(format_clean_shutdown(epoch), out);
    }
    /// Writes down where compaction goes on.
    pub fn write_cleaner_offsets(&mut self, content: Bytes, out: &mut Outbox) {
        self.cleaner_offsets.replace(content, out);
    }
    /// Writes down who this is.
    pub fn write_meta_properties(&mut self, content: Bytes, out: &mut Outbox) {
        self.meta_properties.replace(content, out);
    }
}

impl Process {
    pub(super) fn checkpoint_interval(&self, task: Task) -> Duration {
        let config = &self.spec.config;
        match task {
            Task::HighWatermarks => config.hw_checkpoint_interval,
            Task::RecoveryPoints => config.recovery_checkpoint_interval,
            _ => config.log_start_checkpoint_interval,
        }
    }

    /// Recovery points are durable: logs that were cut go on.
    pub(super) fn recovery_points_written(&mut self, now: Now, out: &mut Outbox) {
        let mut events = Vec::new();
        for owner in self.replicas.owners() {
            if let Some(p) = self.replicas.get_mut(owner) {
                p.log.cut_recorded(out, &mut events);
            }
            for event in events.drain(..) {
                self.on_log_event(now, owner, event, out);
            }
        }
    }

    /// Writes one of them anew, from all replicas: one whose leader is unknown is not left out (KAFKA-1647).
    pub(super) fn write_checkpoint(&mut self, task: Task, out: &mut Outbox) {
        let ready = self.replicas.iter().filter(|p| p.ready);
        let line = |p: &super::partition::Partition| match task {
            Task::HighWatermarks => Some(p.high_watermark()),
            Task::RecoveryPoints => Some(p.log.recovery_point()),
            _ => Some(p.log.log_start()).filter(|start| start.0 > 0),
        };
        let lines: Vec<_> = ready.filter_map(|p| line(p).map(|offset| (&**p.topic, p.id.partition, offset))).collect();
        let content = format_offsets(lines);
        let file = match task {
            Task::HighWatermarks => &mut self.checkpoints.high_watermarks,
            Task::RecoveryPoints => &mut self.checkpoints.recovery_points,
            _ => &mut self.checkpoints.log_starts,
        };
        file.replace(content, out);
    }
}
