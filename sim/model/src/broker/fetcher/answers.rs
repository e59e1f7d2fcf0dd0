//! Acts on what a leader answered.

use super::truncation::{Own, cut};
use super::{After, Following, Round, Sent, Stage, Truncation};
use crate::broker::Process;
use crate::defects::Defect;
use crate::ids::*;
use crate::node::Outbox;
use crate::trace::{TraceEvent, TruncationReason};
use crate::units::Now;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{
    FetchResponse, ListOffsetsResponse, OffsetForLeaderEpochResponse, ResponseKind, TopicName,
};

/// How a partition's part of an answer was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Taken {
    /// It goes on.
    Fine,
    /// It pauses for `replica.fetch.backoff.ms`.
    Delay,
    /// It stops until metadata brings a new epoch.
    Stop,
}

impl Process {
    /// A leader answered a round.
    pub(super) fn on_round(
        &mut self,
        now: Now,
        leader: NodeId,
        round: Round,
        mut response: Box<ResponseKind>,
        out: &mut Outbox,
    ) {
        match (round, &mut *response) {
            (Round::Epochs(sent), ResponseKind::OffsetForLeaderEpoch(answer)) => {
                self.on_end_offsets(now, leader, &sent, answer, out);
            }
            (Round::Latest(sent), ResponseKind::ListOffsets(answer)) => {
                self.on_listed(now, leader, &sent, answer, true, out);
            }
            (Round::Earliest(sent), ResponseKind::ListOffsets(answer)) => {
                self.on_listed(now, leader, &sent, answer, false, out);
            }
            (Round::Records(sent), ResponseKind::Fetch(answer)) => self.on_records(now, leader, &sent, answer, out),
            _ => {}
        }
    }

    fn owner_by_name(&self, topic: &TopicName, partition: i32) -> Option<u32> {
        let topic = self.metadata.image.topic_id(topic)?;
        self.replicas.owner(TopicIdPartition { topic, partition })
    }

    /// The state of a partition, if it is still what it was when the request left.
    fn unchanged(&mut self, leader: NodeId, sent: &[Sent], owner: u32) -> Option<(Sent, &mut Following)> {
        let sent = sent.iter().find(|s| s.owner == owner)?;
        let following = self.fetchers.leaders().get_mut(&leader)?.parts.get_mut(&owner)?;
        let same = following.epoch == sent.epoch && following.offset == sent.offset && following.busy.is_none();
        same.then_some((*sent, following))
    }

    fn finish(&mut self, now: Now, owner: u32, taken: Taken) {
        match taken {
            Taken::Fine => {}
            Taken::Delay => {
                let until = now.mono + self.fetchers.backoff;
                if let Some(f) = self.fetchers.following(owner) {
                    f.delayed_until = until;
                }
            }
            Taken::Stop => self.fetchers.remove(owner),
        }
    }

    /// A refusal. A fenced follower that has not heard of a newer epoch waits for it; others try again.
    fn refused(&self, error: ResponseError) -> Taken {
        let unknown = error == ResponseError::UnknownLeaderEpoch;
        let ends = unknown && self.fetchers.defects.on(Defect::UnknownEpochEndsFetching);
        if error == ResponseError::FencedLeaderEpoch || ends { Taken::Stop } else { Taken::Delay }
    }

    fn on_end_offsets(
        &mut self,
        now: Now,
        leader: NodeId,
        sent: &[Sent],
        answer: &OffsetForLeaderEpochResponse,
        out: &mut Outbox,
    ) {
        for topic in &answer.topics {
            for a in &topic.partitions {
                let Some(owner) = self.owner_by_name(&topic.topic, a.partition) else { continue };
                if self.unchanged(leader, sent, owner).is_none() {
                    continue;
                }
                let taken = match ResponseError::try_from_code(a.error_code) {
                    Some(error) => self.refused(error),
                    None => self.cut_at(now, owner, LeaderEpoch(a.leader_epoch), Offset(a.end_offset), out),
                };
                self.finish(now, owner, taken);
            }
        }
    }

    /// Cuts a log where it diverges from the leader's.
    fn cut_at(&mut self, now: Now, owner: u32, epoch: LeaderEpoch, end: Offset, out: &mut Outbox) -> Taken {
        let defects = self.fetchers.defects;
        let by_fetch = self.fetchers.truncation == Truncation::Fetch;
        let Some(p) = self.replicas.get_mut(owner) else { return Taken::Stop };
        let Some(f) = self.fetchers.following(owner) else { return Taken::Stop };
        let cut = cut(&Own { log: &p.log, initial: f.offset }, epoch, end, defects);
        p.truncate(now, cut.to, TruncationReason::Divergence, out);
        let next = if cut.complete || by_fetch { Stage::Fetching } else { Stage::Truncating };
        f.offset = p.log.next_offset();
        f.stage = next;
        f.last_fetched = p.log.latest_epoch();
        if !p.settled() {
            self.wait(owner, After::Cut { next });
        }
        Taken::Fine
    }

    fn wait(&mut self, owner: u32, after: After) {
        let Some(leader) = self.fetchers.leader_of.get(&owner).copied() else { return };
        let Some(fetcher) = self.fetchers.leaders().get_mut(&leader) else { return };
        if let Some(f) = fetcher.parts.get_mut(&owner)
            && f.busy.replace(after).is_none()
        {
            fetcher.busy += 1;
        }
    }

    fn on_listed(
        &mut self,
        now: Now,
        leader: NodeId,
        sent: &[Sent],
        answer: &ListOffsetsResponse,
        latest: bool,
        out: &mut Outbox,
    ) {
        for topic in &answer.topics {
            for a in &topic.partitions {
                let Some(owner) = self.owner_by_name(&topic.name, a.partition_index) else { continue };
                if self.unchanged(leader, sent, owner).is_none() {
                    continue;
                }
                let taken = match ResponseError::try_from_code(a.error_code) {
                    Some(error) => self.refused(error),
                    None => self.range_known(now, owner, Offset(a.offset), latest, out),
                };
                self.finish(now, owner, taken);
            }
        }
    }

    /// The fetch offset was out of the leader's range, and now one end of that range is known. A log that is longer
    /// than the leader's is cut to its length (an unclean election made the leader shorter); one that ends below the
    /// leader's start begins anew there.
    fn range_known(&mut self, now: Now, owner: u32, leaders: Offset, latest: bool, out: &mut Outbox) -> Taken {
        let Some(p) = self.replicas.get_mut(owner) else { return Taken::Stop };
        let Some(f) = self.fetchers.following(owner) else { return Taken::Stop };
        let log_end = p.log.next_offset();
        if latest && leaders >= log_end {
            f.stage = Stage::AskEarliest;
            return Taken::Fine;
        }
        if latest {
            p.truncate(now, leaders, TruncationReason::OutOfRange, out);
        } else if leaders > log_end {
            p.start_anew(now, leaders, out);
        }
        f.offset = p.log.next_offset();
        f.stage = Stage::Fetching;
        f.last_fetched = p.log.latest_epoch();
        if !p.settled() {
            self.wait(owner, After::Cut { next: Stage::Fetching });
        }
        Taken::Fine
    }

    fn on_records(&mut self, now: Now, leader: NodeId, sent: &[Sent], answer: &mut FetchResponse, out: &mut Outbox) {
        if answer.error_code != 0 {
            for s in sent {
                self.finish(now, s.owner, Taken::Delay);
            }
            return;
        }
        for topic in &mut answer.responses {
            let id = TopicId(topic.topic_id);
            for data in &mut topic.partitions {
                let partition = data.partition_index;
                let owner = if id == TopicId::ZERO {
                    self.owner_by_name(&topic.topic, partition)
                } else {
                    self.replicas.owner(TopicIdPartition { topic: id, partition })
                };
                let Some(owner) = owner else { continue };
                let Some((_, f)) = self.unchanged(leader, sent, owner) else { continue };
                if f.stage != Stage::Fetching || f.delayed_until > now.mono {
                    continue;
                }
                let taken = match ResponseError::try_from_code(data.error_code) {
                    Some(ResponseError::OffsetOutOfRange) => {
                        f.stage = Stage::AskLatest;
                        Taken::Fine
                    }
                    Some(error) => self.refused(error),
                    None => self.take_records(now, owner, data, out),
                };
                self.finish(now, owner, taken);
            }
        }
    }

    fn take_records(&mut self, now: Now, owner: u32, data: &mut PartitionData, out: &mut Outbox) -> Taken {
        // A diverging answer moves no watermark: that waits until the log is cut (KAFKA-14704).
        if self.fetchers.truncation == Truncation::Fetch && data.diverging_epoch.epoch >= 0 {
            out.trace(TraceEvent::Mark { mark: "diverging-epoch" });
            let (epoch, end) = (data.diverging_epoch.epoch, data.diverging_epoch.end_offset);
            return self.cut_at(now, owner, LeaderEpoch(epoch), Offset(end), out);
        }
        let Some(p) = self.replicas.get_mut(owner) else { return Taken::Stop };
        let (high_watermark, log_start) = (Offset(data.high_watermark), Offset(data.log_start_offset));
        let records = data.records.take().unwrap_or_default();
        if records.is_empty() {
            if p.follow_watermarks(high_watermark, log_start, out) {
                self.check_fetches(owner, out);
            }
            return Taken::Fine;
        }
        match p.log.append_as_follower(now, records, out) {
            Ok(Some(_)) => {
                self.replicas.note_deadline(owner);
                self.wait(owner, After::Append { high_watermark, log_start });
                Taken::Fine
            }
            Ok(None) => Taken::Fine,
            Err(_) => Taken::Delay,
        }
    }
}
