//! Deleting old segments, by size and by time, and moving the log start. Follows Kafka's `UnifiedLog.deleteOldSegments`.

use super::{Log, Phase, Purpose};
use crate::defects::Defect;
use crate::disk::DiskOp;
use crate::ids::*;
use crate::node::Outbox;
use crate::units::{Duration, Now, Timestamp};

impl Log {
    /// Moves the log start up (DeleteRecords, or as the leader's), not beyond the log end. Whole segments below go
    /// with [`Log::delete_old_segments`]. Whether it moved.
    pub fn set_log_start(&mut self, offset: Offset, out: &mut Outbox) -> bool {
        let offset = offset.min(self.log_end);
        if offset <= self.log_start || !matches!(self.phase, Phase::Ready) {
            return false;
        }
        self.log_start = offset;
        if self.epochs.truncate_from_start(offset) {
            self.epochs.write(out);
        }
        true
    }

    /// Applies retention by time and size, and drops segments wholly below the log start; never at or above the high
    /// watermark. True: segments are no part of the log any more, and the log start may have moved;
    /// [`super::LogEvent::SegmentsDeleted`] follows when their files are gone.
    pub fn delete_old_segments(&mut self, now: Now, high_watermark: Offset, out: &mut Outbox) -> bool {
        // Segments that are being compacted are looked at next time.
        if !matches!(self.phase, Phase::Ready) || self.is_cleaning() {
            return false;
        }
        let mut too_much = match u64::try_from(self.config.retention_bytes) {
            Ok(limit) => self.size().saturating_sub(limit),
            Err(_) => 0,
        };
        let mut count = 0;
        for (at, segment) in self.segments.iter().enumerate() {
            let end = self.segment_end(at);
            let active = at + 1 == self.segments.len();
            if end > high_watermark || (active && segment.size == 0) {
                break;
            }
            let below_start = !active && end <= self.log_start;
            let fits = segment.size <= too_much || self.defects.on(Defect::RetentionBelowBytes);
            let too_large = fits && too_much > 0;
            if !below_start && !too_large && !self.too_old(now.wall, segment.max_timestamp) {
                break;
            }
            too_much = too_much.saturating_sub(segment.size);
            count += 1;
        }
        if count == 0 {
            return false;
        }
        if count == self.segments.len() {
            self.roll(now, self.next_offset, out);
        }
        let gone: Vec<_> = self.segments.drain(..count).collect();
        let start = self.segments[0].base;
        for segment in &gone {
            self.discard(now, segment, Purpose::Plain, out);
            if self.snapshots.remove(&segment.base) {
                let path = self.snapshot_file(segment.base);
                self.ask(DiskOp::Delete { path }, Purpose::Plain, out);
            }
        }
        self.flush.snapshots.retain(|s| s.offset >= start);
        self.tail.forget_below(start);
        self.set_log_start(start, out);
        self.ask(DiskOp::FsyncDir { dir: self.dir.clone() }, Purpose::SegmentsDeleted, out);
        true
    }

    fn too_old(&self, wall: Timestamp, newest: Option<(Timestamp, Offset)>) -> bool {
        // A segment of unknown age is kept.
        let Some((newest, _)) = newest else { return false };
        let limit = i64::try_from(self.config.retention.as_millis()).unwrap_or(i64::MAX);
        self.config.retention != Duration::MAX && wall.0.saturating_sub(newest.0) > limit
    }
}
