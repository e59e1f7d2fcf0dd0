//! DeleteRecords (KIP-107): a log's start moves up at once, and whoever asked hears of it when every replica that is
//! alive has followed. Follows Kafka's `ReplicaManager.deleteRecords`, `Partition.deleteRecordsOnLeader` and
//! `DelayedDeleteRecords`.

use super::connections::Caller;
use super::replicas::settings;
use super::{Process, Task};
use crate::ids::*;
use crate::node::Outbox;
use crate::timers::TimerKey;
use crate::units::{Duration, Now};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use std::collections::BTreeMap;

/// What a low watermark is told to be that is not known (Kafka: `DeleteRecordsResponse.INVALID_LOW_WATERMARK`).
const NO_LOW_WATERMARK: i64 = -1;

/// A partition whose replicas have not all followed.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    slot: (usize, usize),
    owner: u32,
    required: Offset,
}

#[derive(Debug)]
struct DelayedDelete {
    caller: Caller,
    response: DeleteRecordsResponse,
    awaited: Vec<Awaited>,
    timer: TimerKey,
}

/// Requests that wait for replicas.
#[derive(Debug, Default)]
pub(crate) struct Deletions {
    waiting: BTreeMap<u64, DelayedDelete>,
    next: u64,
}

impl Process {
    pub(super) fn on_delete_records(
        &mut self,
        now: Now,
        caller: Caller,
        request: &DeleteRecordsRequest,
        out: &mut Outbox,
    ) {
        let (mut response, mut awaited) = (DeleteRecordsResponse::default(), Vec::new());
        for (t, topic) in request.topics.iter().enumerate() {
            let id = self.topic_asked_for(&topic.name, Uuid::nil());
            let mut results = Vec::with_capacity(topic.partitions.len());
            for (p, asked) in topic.partitions.iter().enumerate() {
                let place =
                    id.and_then(|topic| self.hosted(TopicIdPartition { topic, partition: asked.partition_index }));
                let mut result = DeleteRecordsPartitionResult::default()
                    .with_partition_index(asked.partition_index)
                    .with_low_watermark(NO_LOW_WATERMARK);
                match place.and_then(|owner| Ok((owner, self.delete_records(owner, asked.offset, out)?))) {
                    Ok((owner, required)) => awaited.push(Awaited { slot: (t, p), owner, required }),
                    Err(error) => result.error_code = error.code(),
                }
                results.push(result);
            }
            let name = topic.name.clone();
            response.topics.push(DeleteRecordsTopicResult::default().with_name(name).with_partitions(results));
        }
        self.deletions.next += 1;
        let number = self.deletions.next;
        let timeout = Duration::from_millis(request.timeout_ms.max(0) as u64);
        let timer = self.timers.set(now.mono + timeout, Task::DeleteRecords(number));
        self.deletions.waiting.insert(number, DelayedDelete { caller, response, awaited, timer });
        self.look_at_deletion(number, out);
    }

    /// Moves a log's start; where every replica's has to be.
    fn delete_records(&mut self, owner: u32, offset: i64, out: &mut Outbox) -> Result<Offset, ResponseError> {
        let p = self.replicas.get_mut(owner).ok_or(ResponseError::NotLeaderOrFollower)?;
        if p.topic.as_str() == OFFSETS_TOPIC {
            return Err(ResponseError::InvalidTopicException);
        }
        if !settings(&self.metadata.image, &p.topic, &self.spec.config).has_policy("delete") {
            return Err(ResponseError::PolicyViolation);
        }
        p.check(-1, true)?;
        p.delete_records(offset, out)
    }

    /// A follower told where its log starts.
    pub(super) fn check_deletions(&mut self, owner: u32, out: &mut Outbox) {
        self.look_at_deletions(|d| d.awaited.iter().any(|a| a.owner == owner), out);
    }

    /// Everything that waits for a partition fails: it is no leader any more.
    pub(super) fn fail_deletions(&mut self, owner: u32, error: ResponseError, out: &mut Outbox) {
        for delayed in self.deletions.waiting.values_mut() {
            give_up(delayed, |a| a.owner == owner, error);
        }
        self.look_at_deletions(|d| d.awaited.is_empty(), out);
    }

    fn look_at_deletions(&mut self, which: impl Fn(&DelayedDelete) -> bool, out: &mut Outbox) {
        let numbers: Vec<u64> = self.deletions.waiting.iter().filter(|(_, d)| which(d)).map(|(n, _)| *n).collect();
        for number in numbers {
            self.look_at_deletion(number, out);
        }
    }

    /// `timeout.ms` is over.
    pub(super) fn delete_records_timed_out(&mut self, number: u64, out: &mut Outbox) {
        if let Some(delayed) = self.deletions.waiting.get_mut(&number) {
            give_up(delayed, |_| true, ResponseError::RequestTimedOut);
            self.look_at_deletion(number, out);
        }
    }

    /// Answers a request of which nothing is awaited any more.
    fn look_at_deletion(&mut self, number: u64, out: &mut Outbox) {
        let Some(delayed) = self.deletions.waiting.get_mut(&number) else { return };
        let (replicas, image) = (&self.replicas, &self.metadata.image);
        let DelayedDelete { response, awaited, .. } = delayed;
        awaited.retain(|a| {
            let low = replicas.get(a.owner).and_then(|p| p.low_watermark(image)).filter(|low| *low >= a.required);
            if let Some(low) = low {
                response.topics[a.slot.0].partitions[a.slot.1].low_watermark = low.0;
            }
            low.is_none()
        });
        if awaited.is_empty()
            && let Some(DelayedDelete { caller, response, timer, .. }) = self.deletions.waiting.remove(&number)
        {
            self.timers.cancel(timer);
            self.answer(caller, response, out);
        }
    }
}

/// Some of what is awaited is not awaited any more.
fn give_up(delayed: &mut DelayedDelete, which: impl Fn(&Awaited) -> bool, error: ResponseError) {
    let DelayedDelete { response, awaited, .. } = delayed;
    awaited.retain(|a| {
        let over = which(a);
        if over {
            response.topics[a.slot.0].partitions[a.slot.1].error_code = error.code();
        }
        !over
    });
}
