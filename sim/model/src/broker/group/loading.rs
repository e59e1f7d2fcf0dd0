//! Taking a partition up: its log is read in chunks of `offsets.load.buffer.size` and replayed, up to where the leader's
//! epoch begins. Follows Kafka's `CoordinatorLoaderImpl`.

use super::super::{Process, SELF};
use super::shard::State;
use crate::disk::{DiskError, DiskOp, DiskReply, DiskResult, DiskToken};
use crate::ids::*;
use crate::log::{Found, ReadPlan};
use crate::node::Outbox;
use crate::record::schema::GroupRecord;
use crate::record::{batches, records};
use crate::trace::TraceEvent;
use crate::units::Now;
use bytes::Bytes;
use smallvec::smallvec;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How far it has come.
#[derive(Debug)]
pub(super) struct Loading {
    /// The next offset to be replayed.
    pub position: Offset,
    /// Exclusive; the first offset of the leader's epoch.
    pub target: Offset,
    /// What is being read.
    reading: Option<ReadPlan>,
    /// Chunks replayed.
    pub chunk: u32,
    /// In which chunk each group came first.
    pub first_chunk: BTreeMap<Arc<str>, u32>,
}

impl Loading {
    /// From the log's start.
    pub fn up_to(target: Offset) -> Loading {
        Loading { position: Offset(0), target, reading: None, chunk: 0, first_chunk: BTreeMap::new() }
    }
}

impl Process {
    /// Reads on, or takes up coordination when all is replayed and known to be committed.
    pub(super) fn load_more(&mut self, now: Now, owner: u32, out: &mut Outbox) {
        let Some(shard) = self.groups.shards.get_mut(&owner) else { return };
        let State::Loading(loading) = &mut shard.state else { return };
        let Some(p) = self.replicas.get(owner) else { return };
        if loading.reading.is_some() {
            return;
        }
        loading.position = loading.position.max(p.log.log_start());
        if loading.position < loading.target {
            let size = self.spec.config.offsets_load_buffer;
            match p.log.read(loading.position, size, loading.target, true) {
                Ok(Some(plan)) => {
                    let token = out.disk(SELF, DiskOp::Read { ranges: smallvec![plan.range.clone()] });
                    loading.reading = Some(plan);
                    self.groups.reading.insert(token.seq, owner);
                    return;
                }
                // The last records were compacted away.
                Ok(None) if p.log.log_end() >= loading.target => loading.position = loading.target,
                // What this replica appended as a follower is still on its way to the disk.
                _ => return,
            }
        }
        // What the predecessor acknowledged lies below its log's end, and that is not above this one. Until the high
        // watermark says so of all that was replayed, some of it might not be committed.
        if p.high_watermark() >= loading.target {
            self.with_shard(now, owner, out, |shard, ctx| shard.loaded(ctx));
        }
    }

    /// A chunk was read.
    pub(in crate::broker) fn group_log_read(
        &mut self,
        now: Now,
        token: DiskToken,
        result: DiskResult,
        out: &mut Outbox,
    ) {
        let Some(owner) = self.groups.reading.remove(&token.seq) else { return };
        let Some(shard) = self.groups.shards.get_mut(&owner) else { return };
        let State::Loading(loading) = &mut shard.state else { return };
        let Some(plan) = loading.reading.take() else { return };
        let data = match result {
            Ok(DiskReply::Data(buffers)) => match plan.look(buffers.first().cloned().unwrap_or_default()) {
                Found::Batches(data) => data,
                Found::Corrupt { .. } => return self.load_failed(out),
                Found::Below { pos, need } => {
                    let replica = self.replicas.get_mut(owner);
                    let next = match replica.map(|p| p.log.read_on(&plan, pos, need)) {
                        Some(Ok(Some(next))) => next,
                        Some(Err(_)) => return self.load_failed(out),
                        _ => return self.load_more(now, owner, out),
                    };
                    let token = out.disk(SELF, DiskOp::Read { ranges: smallvec![next.range.clone()] });
                    loading.reading = Some(next);
                    self.groups.reading.insert(token.seq, owner);
                    return;
                }
            },
            // Retention took the segment away: what is left begins further on.
            Err(DiskError::NotFound) => Bytes::new(),
            _ => return self.disk_failed("a log could not be read", out),
        };
        self.with_shard(now, owner, out, |shard, ctx| shard.replay_chunk(&data, ctx));
        self.load_more(now, owner, out);
    }

    /// The partition cannot be read to its end: its groups are not coordinated here as long as that is so.
    fn load_failed(&mut self, out: &mut Outbox) {
        out.trace(TraceEvent::Mark { mark: "coordinator-load-failed" });
    }
}

/// The records of a chunk, each with its offset, and the offset after the last; what no coordinator knows is left out.
pub(super) fn decode_chunk(data: &Bytes) -> (Vec<(Offset, GroupRecord)>, Option<Offset>) {
    let mut found = Vec::new();
    let mut next = None;
    for (header, batch) in batches(data).map_while(Result::ok) {
        next = Some(header.next_offset());
        if header.is_control() {
            continue;
        }
        for record in records(&batch).map_while(Result::ok) {
            let Some(key) = record.key else { continue };
            if let Ok(decoded) = GroupRecord::decode(key, record.value) {
                found.push((record.offset, decoded));
            }
        }
    }
    (found, next)
}
