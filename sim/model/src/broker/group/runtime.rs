//! What makes shards go: appending what they decide, committing it, their timers, and taking partitions up and giving
//! them back with their leadership.

use super::super::{Process, connections::Caller};
use super::shard::Shard;
use super::{Ctx, Task, Then, What, Write};
use crate::ids::*;
use crate::log::{AppendError, AppendInfo};
use crate::node::Outbox;
use crate::record::schema::GroupRecord;
use crate::record::{BatchBuilder, BuilderConfig};
use crate::trace::TraceEvent;
use crate::units::Now;
use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::ResponseKind;

impl Process {
    /// Lets a shard decide something, and carries it out.
    pub(super) fn with_shard<R>(
        &mut self,
        now: Now,
        owner: u32,
        out: &mut Outbox,
        decide: impl FnOnce(&mut Shard, &mut Ctx<'_>) -> R,
    ) -> Option<R> {
        let groups = &mut self.groups;
        let shard = groups.shards.get_mut(&owner)?;
        let mut ctx = Ctx {
            now,
            config: &self.spec.config,
            defects: self.spec.defects,
            image: &self.metadata.image,
            metadata_version: groups.metadata_version,
            epoch: shard.epoch,
            owner,
            number: shard.number,
            rng: &mut groups.rng,
            timers: &mut groups.timers,
            out: &mut *out,
            replies: Vec::new(),
            writes: Vec::new(),
        };
        let result = decide(shard, &mut ctx);
        let Ctx { replies, writes, .. } = ctx;
        self.carry_out(now, owner, replies, writes, out);
        Some(result)
    }

    fn carry_out(
        &mut self,
        now: Now,
        owner: u32,
        mut replies: Vec<(Caller, ResponseKind)>,
        writes: Vec<Write>,
        out: &mut Outbox,
    ) {
        for write in writes {
            match self.append_group_records(now, owner, &write.records, out) {
                Ok(Some(info)) => {
                    self.groups.busy.insert(owner);
                    self.with_shard(now, owner, out, |shard, ctx| shard.appended(write, info, ctx));
                }
                // Nothing to write down: it follows at once.
                Ok(None) => {
                    self.with_shard(now, owner, out, |shard, ctx| shard.committed_nothing(write, ctx));
                }
                Err(error) => {
                    if let Then::NewGroup { caller } = &write.then {
                        replies.retain(|(c, _)| c != caller);
                    }
                    out.trace(TraceEvent::Mark { mark: "group-write-refused" });
                    let error = coordinator_error(error);
                    self.with_shard(now, owner, out, |shard, ctx| {
                        shard.failed(&write.group, write.then, error, false, ctx);
                    });
                }
            }
        }
        for (caller, response) in replies {
            self.group_answer(caller, response, out);
        }
    }

    /// As a producer with acks=all would, in the epoch in which the shard coordinates.
    fn append_group_records(
        &mut self,
        now: Now,
        owner: u32,
        records: &[GroupRecord],
        out: &mut Outbox,
    ) -> Result<Option<AppendInfo>, ResponseError> {
        if records.is_empty() {
            return Ok(None);
        }
        let epoch = self.groups.shards.get(&owner).map(|s| s.epoch).ok_or(ResponseError::NotCoordinator)?;
        let p = self.replicas.get_mut(owner).ok_or(ResponseError::NotLeaderOrFollower)?;
        p.check(-1, true)?;
        if p.leader_epoch != epoch {
            return Err(ResponseError::NotLeaderOrFollower);
        }
        p.check_min_isr()?;
        let batch = batch(now, records)?;
        if batch.len() as i64 > i64::from(p.message_max_bytes) {
            return Err(ResponseError::RecordListTooLarge);
        }
        let info = p.log.append_as_leader(now, batch, epoch, out).map_err(|e| match e {
            AppendError::NotReady | AppendError::NotContiguous { .. } => ResponseError::NotLeaderOrFollower,
            AppendError::Failed(_) => ResponseError::KafkaStorageError,
            AppendError::Batch(_) => ResponseError::UnknownServerError,
        })?;
        self.replicas.note_deadline(owner);
        Ok(Some(info))
    }

    /// After every input: roles that have changed, logs being loaded, records that are committed now.
    pub(in crate::broker) fn settle_groups(&mut self, now: Now, out: &mut Outbox) {
        for owner in std::mem::take(&mut self.groups.roles_changed) {
            self.follow_role(owner, out);
        }
        let mut next = 0;
        while let Some(&owner) = self.groups.busy.range(next..).next() {
            next = owner + 1;
            self.advance(now, owner, out);
        }
        if !self.groups.fetches.is_empty() {
            self.answer_fetches(out);
        }
    }

    fn advance(&mut self, now: Now, owner: u32, out: &mut Outbox) {
        let Some(shard) = self.groups.shards.get(&owner) else {
            self.groups.busy.remove(&owner);
            return;
        };
        if !shard.is_active() {
            return self.load_more(now, owner, out);
        }
        let Some(high_watermark) = self.replicas.get(owner).map(|p| p.high_watermark()) else { return };
        if shard.next_pending().is_some_and(|next| next <= high_watermark) {
            self.with_shard(now, owner, out, |shard, ctx| shard.commit(high_watermark, ctx));
        }
        if self.groups.shards.get(&owner).is_none_or(|s| s.is_active() && s.next_pending().is_none()) {
            self.groups.busy.remove(&owner);
        }
    }

    /// A replica took up a role or is gone; looked at when the input is through.
    pub(in crate::broker) fn group_role_changed(&mut self, owner: u32) {
        let of_offsets = |p: &super::super::Partition| p.topic.as_str() == OFFSETS_TOPIC;
        if self.groups.shards.contains_key(&owner) || self.replicas.get(owner).is_some_and(of_offsets) {
            self.groups.roles_changed.push(owner);
        }
    }

    fn follow_role(&mut self, owner: u32, out: &mut Outbox) {
        let leads = self.replicas.get(owner).and_then(|p| p.leading().map(|l| (p.id, p.leader_epoch, l.epoch_start)));
        let known = self.groups.shards.get(&owner).map(|s| s.epoch);
        if known.is_some() && known == leads.map(|(_, epoch, _)| epoch) {
            return;
        }
        self.unload(owner, out);
        let Some((id, epoch, start)) = leads else { return };
        self.groups.shards_begun += 1;
        self.groups.shards.insert(owner, Shard::loading(id, epoch, self.groups.shards_begun, start));
        self.groups.busy.insert(owner);
    }

    /// Not the coordinator any more: whoever waits is told so, and everything is forgotten.
    fn unload(&mut self, owner: u32, out: &mut Outbox) {
        let Some(shard) = self.groups.shards.remove(&owner) else { return };
        self.groups.busy.remove(&owner);
        self.groups.reading.retain(|_, o| *o != owner);
        if shard.is_active() {
            if shard.has_pending_commit() {
                out.trace(TraceEvent::Mark { mark: "coordinator-moved-with-pending-commit" });
            }
            out.trace(TraceEvent::Mark { mark: "coordinator-unloaded" });
            out.trace(TraceEvent::CoordinatorUnloaded { partition: shard.partition, epoch: shard.epoch });
        }
        for (caller, response) in shard.give_up(ResponseError::NotCoordinator) {
            self.group_answer(caller, response, out);
        }
    }

    /// The log forgot appends (with a defect that goes on after a failed write): what was decided on them is void.
    pub(in crate::broker) fn group_appends_forgotten(&mut self, owner: u32, out: &mut Outbox) {
        if self.groups.shards.contains_key(&owner) {
            self.unload(owner, out);
            self.groups.roles_changed.push(owner);
        }
    }

    /// Deadlines of groups.
    pub(in crate::broker) fn run_group_timers(&mut self, now: Now, out: &mut Outbox) {
        while let Some(Task { owner, number, what }) = self.groups.timers.pop_due(now.mono) {
            if matches!(what, What::Fetches) {
                self.give_up_fetches(now, out);
            } else if self.groups.shards.get(&owner).is_some_and(|s| s.number == number) {
                self.with_shard(now, owner, out, |shard, ctx| shard.run(what, ctx));
            }
        }
    }
}

fn batch(now: Now, records: &[GroupRecord]) -> Result<Bytes, ResponseError> {
    let mut batch = BatchBuilder::new(BuilderConfig::PLAIN);
    for record in records {
        let (key, value) = record.encode().map_err(|_| ResponseError::InvalidRequest)?;
        batch.append(now.wall, Some(&key), value.as_deref(), &[]);
    }
    Ok(batch.build())
}

/// What a client is told of a write that failed (Kafka: `handleOperationException`).
pub(super) fn coordinator_error(error: ResponseError) -> ResponseError {
    match error {
        ResponseError::UnknownTopicOrPartition | ResponseError::NotEnoughReplicas | ResponseError::RequestTimedOut => {
            ResponseError::CoordinatorNotAvailable
        }
        ResponseError::NotLeaderOrFollower | ResponseError::KafkaStorageError => ResponseError::NotCoordinator,
        ResponseError::MessageTooLarge | ResponseError::RecordListTooLarge | ResponseError::InvalidFetchSize => {
            ResponseError::UnknownServerError
        }
        other => other,
    }
}
