//! Histories made by hand.

use super::{Finding, Judge, JudgeConfig, Verdicts};
use crate::permission::Declared;
pub(super) use klamm_model::checks::Check;
use klamm_model::checks::CheckKind;
use klamm_model::history::*;
use klamm_model::ids::*;

/// A history under construction: topic `t`, partition 0, producer client 1, readers from 10, unless said otherwise.
/// Time passes by itself, 10 ns each.
#[derive(Clone)]
pub(super) struct History {
    pub(super) entries: Vec<Entry>,
    pub(super) clock: u64,
    pub(super) declared: Declared,
    /// What was compacted away, and after how many entries.
    gone: Vec<(usize, Vec<Offset>)>,
    partition: i32,
    protocol: RebalanceProtocol,
    processing: Processing,
}

pub(super) fn source(partition: i32) -> TopicPartition {
    TopicPartition { topic: "t".into(), partition }
}

pub(super) fn value(index: u64) -> ValueId {
    ValueId::new(ClientId(1), index)
}

pub(super) const WITHIN: u64 = 1_000_000;

impl History {
    /// With an idempotent producer of acks=all.
    pub(super) fn new() -> History {
        History::with(Acks::All, true, 5)
    }

    pub(super) fn with(acks: Acks, idempotent: bool, max_in_flight: u32) -> History {
        let mut h = History {
            entries: Vec::new(),
            clock: 0,
            declared: Declared::default(),
            gone: Vec::new(),
            partition: 0,
            protocol: RebalanceProtocol::Cooperative,
            processing: Processing::FinishThenCommit,
        };
        let facts = ProducerFacts { acks, idempotent, max_in_flight, resolves_within: WITHIN };
        h.push(1, Op::Producer { facts });
        h
    }

    /// From here on, in this partition.
    pub(super) fn on(&mut self, partition: i32) -> &mut Self {
        self.partition = partition;
        self
    }

    pub(super) fn push(&mut self, client: u32, op: Op) -> &mut Self {
        self.push_as(client, 1, op)
    }

    pub(super) fn push_as(&mut self, client: u32, incarnation: u32, op: Op) -> &mut Self {
        self.clock += 10;
        let incarnation = Incarnation(incarnation);
        self.entries.push(Entry { at: self.clock, client: ClientId(client), incarnation, op });
        self
    }

    pub(super) fn send_op(&self, index: u64, partition: Option<i32>, key: Option<u64>) -> Op {
        Op::Send { value: value(index), topic: "t".into(), partition, key, tombstone: false, late_by: 0, from: None }
    }

    pub(super) fn sent_op(&self, index: u64, outcome: Outcome, offset: Option<i64>, attempts: u32) -> Op {
        Op::Sent {
            value: value(index),
            outcome,
            partition: Some(self.partition),
            offset: offset.map(Offset),
            attempts,
            producer_id: Some(ProducerId(1)),
            error: None,
        }
    }

    pub(super) fn send(&mut self, index: u64) -> &mut Self {
        let op = self.send_op(index, Some(self.partition), None);
        self.push(1, op)
    }

    pub(super) fn sends(&mut self, indices: std::ops::Range<u64>) -> &mut Self {
        for i in indices {
            self.send(i);
        }
        self
    }

    /// A send under a key, of a value or a tombstone.
    pub(super) fn put(&mut self, index: u64, key: u64, tombstone: bool) -> &mut Self {
        let op = match self.send_op(index, Some(self.partition), Some(key)) {
            Op::Send { value, topic, partition, key, late_by, from, .. } => {
                Op::Send { value, topic, partition, key, tombstone, late_by, from }
            }
            other => other,
        };
        self.push(1, op)
    }

    /// A poll of (offset, value, key).
    pub(super) fn poll_keys(&mut self, reader: u32, records: &[(i64, u64, u64)]) -> &mut Self {
        let op = self.poll_keys_op(records);
        self.push(reader, op)
    }

    pub(super) fn poll_keys_op(&self, records: &[(i64, u64, u64)]) -> Op {
        let plain: Vec<_> = records.iter().map(|&(o, v, _)| (o, v, 1)).collect();
        let mut op = self.poll_op(&plain, IsolationLevel::ReadCommitted);
        if let Op::Poll { records: read, .. } = &mut op {
            read.iter_mut().zip(records).for_each(|(r, (_, _, key))| r.key = Some(*key));
        }
        op
    }

    /// Compaction takes these offsets away, as it may.
    pub(super) fn compacted(&mut self, offsets: &[i64]) -> &mut Self {
        self.gone.push((self.entries.len(), offsets.iter().map(|o| Offset(*o)).collect()));
        self
    }

    fn judge_compacted(&self) -> Verdicts {
        let mut judge = Judge::new(JudgeConfig { resolve_slack: 0, max_findings: 100 });
        judge.compacts(&"t".into());
        for (n, entry) in self.entries.iter().enumerate() {
            for (_, offsets) in self.gone.iter().filter(|(at, _)| *at == n) {
                judge.compacted(&source(0), offsets);
            }
            judge.entry(entry);
        }
        judge.finish(self.clock, &self.declared)
    }

    /// Nothing is found in a compacted topic.
    #[track_caller]
    pub(super) fn judges_compacted(&self) {
        let findings = self.judge_compacted().findings;
        assert!(findings.is_empty(), "{findings:#?}");
    }

    /// This check, among others perhaps, finds something in a compacted topic.
    #[track_caller]
    pub(super) fn fires_compacted(&self, check: Check) -> Finding {
        let findings = self.judge_compacted().findings;
        findings.iter().find(|f| f.check == check).cloned().unwrap_or_else(|| panic!("{check}: {findings:#?}"))
    }

    pub(super) fn ack(&mut self, index: u64, offset: i64) -> &mut Self {
        self.resolve(index, Outcome::Ok, Some(offset), 1)
    }

    pub(super) fn resolve(&mut self, index: u64, outcome: Outcome, offset: Option<i64>, attempts: u32) -> &mut Self {
        let op = self.sent_op(index, outcome, offset, attempts);
        self.push(1, op)
    }

    /// Sent and acknowledged: value n at offset n.
    pub(super) fn acked(&mut self, indices: std::ops::Range<u64>) -> &mut Self {
        for i in indices {
            self.send(i).ack(i, i as i64);
        }
        self
    }

    pub(super) fn position(&mut self, reader: u32, offset: i64, reason: PositionReason) -> &mut Self {
        self.push(reader, Op::Position { source: source(self.partition), offset: Offset(offset), reason })
    }

    pub(super) fn assigned(&mut self, reader: u32, offset: i64) -> &mut Self {
        self.position(reader, offset, PositionReason::Assigned)
    }

    /// A poll of (offset, value).
    pub(super) fn poll(&mut self, reader: u32, records: &[(i64, u64)]) -> &mut Self {
        let records: Vec<_> = records.iter().map(|&(o, v)| (o, v, 1)).collect();
        self.poll_epochs(reader, &records)
    }

    /// A poll of (offset, value, epoch).
    pub(super) fn poll_epochs(&mut self, reader: u32, records: &[(i64, u64, i32)]) -> &mut Self {
        let op = self.poll_op(records, IsolationLevel::ReadCommitted);
        self.push(reader, op)
    }

    pub(super) fn poll_op(&self, records: &[(i64, u64, i32)], isolation: IsolationLevel) -> Op {
        let record = |&(o, v, e): &(i64, u64, i32)| ReadRecord {
            offset: Offset(o),
            leader_epoch: LeaderEpoch(e),
            value: value(v),
            key: None,
            timestamp: 5,
        };
        Op::Poll { source: source(self.partition), isolation, records: records.iter().map(record).collect() }
    }

    /// Reads value n at offset n, in one poll.
    pub(super) fn reads(&mut self, reader: u32, offsets: std::ops::Range<i64>) -> &mut Self {
        let records: Vec<_> = offsets.map(|o| (o, o as u64)).collect();
        self.poll(reader, &records)
    }

    pub(super) fn final_read(&mut self, reader: u32, from: i64, to: i64) -> &mut Self {
        self.push(reader, Op::FinalRead { source: source(self.partition), from: Offset(from), to: Offset(to) })
    }

    /// A whole final read of value n at offset n.
    pub(super) fn finally(&mut self, from: i64, to: i64) -> &mut Self {
        self.assigned(99, from);
        if from < to {
            self.reads(99, from..to);
        }
        self.final_read(99, from, to)
    }

    pub(super) fn ask(&mut self, client: u32, at: u64, ask: u64) -> &mut Self {
        self.clock = at - 10;
        self.push(client, Op::AskOffset { ask })
    }

    pub(super) fn answer(&mut self, client: u32, at: u64, ask: u64, epoch: i32, offset: i64) -> &mut Self {
        self.clock = at - 10;
        let op = Op::ListOffsets {
            ask,
            source: source(self.partition),
            topic_id: None,
            isolation: IsolationLevel::ReadUncommitted,
            query: -1,
            offset: Offset(offset),
            leader_epoch: LeaderEpoch(epoch),
        };
        self.push(client, op)
    }

    /// A question and its answer.
    pub(super) fn latest(&mut self, client: u32, from: u64, to: u64, epoch: i32, offset: i64) -> &mut Self {
        let from = from.max(10);
        self.ask(client, from, from).answer(client, to.max(from), from, epoch, offset)
    }

    /// Members from here on are of a KIP-848 group.
    pub(super) fn consumer_protocol(&mut self) -> &mut Self {
        self.protocol = RebalanceProtocol::Consumer;
        self
    }

    /// Members from here on process like this.
    pub(super) fn processing(&mut self, processing: Processing) -> &mut Self {
        self.processing = processing;
        self
    }

    /// A member of group `g` comes up; it commits by itself.
    pub(super) fn member(&mut self, client: u32) -> &mut Self {
        let facts = MemberFacts {
            group: "g".into(),
            protocol: self.protocol,
            instance: None,
            auto_commit: true,
            processing: self.processing,
            effects: true,
            resets_to_latest: false,
            forwards_to: Vec::new(),
            declines_to: None,
        };
        self.push(client, Op::Member { facts })
    }

    /// The partition comes to a member.
    pub(super) fn comes(&mut self, client: u32, generation: i32) -> &mut Self {
        let partitions = vec![source(self.partition)];
        self.push(client, Op::Assigned { generation, partitions })
    }

    pub(super) fn revoked(&mut self, client: u32, generation: i32, lost: bool) -> &mut Self {
        let partitions = vec![source(self.partition)];
        self.push(client, Op::Revoked { generation, partitions, lost })
    }

    pub(super) fn asks_commit(
        &mut self,
        client: u32,
        commit: u64,
        trigger: CommitTrigger,
        generation: i32,
        offset: i64,
    ) -> &mut Self {
        let offsets = vec![(source(self.partition), Offset(offset))];
        self.push(client, Op::Commit { commit, trigger, generation, offsets })
    }

    pub(super) fn resolves(&mut self, client: u32, commit: u64, outcome: Outcome) -> &mut Self {
        self.push(client, Op::Committed { commit, outcome, error: None })
    }

    /// A commit that is accepted.
    pub(super) fn commits(
        &mut self,
        client: u32,
        commit: u64,
        trigger: CommitTrigger,
        generation: i32,
        offset: i64,
    ) -> &mut Self {
        self.asks_commit(client, commit, trigger, generation, offset).resolves(client, commit, Outcome::Ok)
    }

    pub(super) fn finished(&mut self, client: u32, from: i64, to: i64) -> &mut Self {
        self.push(client, Op::Finished { source: source(self.partition), from: Offset(from), to: Offset(to) })
    }

    /// The effect of value n at offset n.
    pub(super) fn effect(&mut self, client: u32, offset: i64) -> &mut Self {
        let value = value(offset as u64);
        self.push(client, Op::Effect { source: source(self.partition), offset: Offset(offset), value })
    }

    pub(super) fn group_offset(&mut self, offset: i64) -> &mut Self {
        let (group, source) = ("g".into(), source(self.partition));
        self.push(98, Op::GroupOffset { group, source, offset: Some(Offset(offset)) })
    }

    /// A judge who has seen all of it, for more to come.
    pub(super) fn judge_so_far(&self) -> Judge {
        let mut judge = Judge::new(JudgeConfig { resolve_slack: 1_000, max_findings: 100 });
        self.entries.iter().for_each(|e| judge.entry(e));
        judge
    }

    pub(super) fn judge(&self) -> Verdicts {
        self.judge_so_far().finish(self.clock, &self.declared)
    }

    /// This check fires, nothing else does, and there is a witness in the order of time.
    pub(super) fn fires(&self, check: Check) -> Finding {
        let found = self.fires_among(check);
        let others: Vec<_> = self.judge().findings.into_iter().filter(|f| f.check != check).collect();
        assert!(others.is_empty(), "only {check} should fire, but also {others:#?}");
        found
    }

    /// This check fires, others may.
    pub(super) fn fires_among(&self, check: Check) -> Finding {
        let verdicts = self.judge();
        for f in &verdicts.findings {
            assert!(!f.witness.is_empty(), "no witness: {f:#?}");
            assert!(f.witness.is_sorted_by_key(|e| e.at), "witness out of order: {f:#?}");
            assert!(!f.detail.is_empty());
            assert_eq!(f.check.kind(), CheckKind::Oracle, "{}", f.check);
        }
        let found = verdicts.findings.iter().find(|f| f.check == check);
        found.unwrap_or_else(|| panic!("{check} should fire; {:#?}", verdicts.findings)).clone()
    }

    pub(super) fn silent(&self) {
        let findings = self.judge().findings;
        assert!(findings.is_empty(), "nothing should fire, but {findings:#?}");
    }
}
