//! A group member: subscribes, processes what it is handed in its time, commits, and answers to rebalances.
//!
//! One thread does what Java's poll loop does: poll, process, commit, poll. While it processes, waits for a commit or
//! stalls, it is not in `poll`, and no rebalance moves on its side. With hand-off processing, workers process while
//! the loop polls on. A member that forwards ([`forward`](super::forward)) is through with a record when what follows
//! from it is acknowledged. Everything it does and sees leaves as operations, in the order in which it happens.

use super::forward::{ForwardSpec, Forwarder};
use super::{Reach, read_record, split};
use crate::load::{Purpose, ServiceTime, draw, exponential_gap};
use klamm_model::client::consumer::{Consumer, ConsumerEvent};
use klamm_model::config::{ConsumerConfig, GroupProtocol};
use klamm_model::defects::Defects;
use klamm_model::history::{
    CommitTrigger, MemberFacts, Op, Outcome, Processing, ReadRecord, RebalanceProtocol, TopicPartition,
};
use klamm_model::ids::{ClientId, Incarnation, Offset};
use klamm_model::inspect::{ClientInspection, Inspection};
use klamm_model::node::{Input, Node, Outbox, Output};
use klamm_model::units::{Duration, Instant, Now};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Records handed to workers and not finished, above which the member reads no more, and below which it reads again.
const BACKLOG: (usize, usize) = (1_000, 500);

/// How an application commits that does not leave it to the consumer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CommitStyle {
    /// `commitSync`: it waits.
    Sync,
    /// `commitAsync`: it goes on.
    Async,
}

/// An application that stays away from `poll` now and then, as one does whose handler hangs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stall {
    /// The mean time between two.
    pub every: Duration,
    /// How long each takes.
    pub lasts: Duration,
}

/// What a group member does.
#[derive(Clone, Debug)]
pub struct GroupMemberSpec {
    /// Its number in the run.
    pub client: ClientId,
    /// The run's seed, for keyed draws.
    pub seed: u64,
    /// How it reaches the cluster.
    pub reach: Reach,
    /// Its settings, `group.id` among them.
    pub config: ConsumerConfig,
    /// Defects switched on.
    pub defects: Defects,
    /// What it subscribes to.
    pub topics: Vec<Arc<str>>,
    /// When it commits.
    pub processing: Processing,
    /// How, unless `enable.auto.commit` does.
    pub commit: CommitStyle,
    /// How long a record takes.
    pub service: ServiceTime,
    /// How many workers, with hand-off processing.
    pub workers: usize,
    /// Whether each record has an effect outside Kafka.
    pub effects: bool,
    /// What follows from each record, unless it is handed off.
    pub forward: Option<ForwardSpec>,
    /// Whether it stays away now and then.
    pub stall: Option<Stall>,
    /// How long after its start it joins.
    pub join_after: Duration,
    /// How long after its start it leaves for good, if it does.
    pub leave_after: Option<Duration>,
}

/// Records of one partition, as one poll handed them out.
#[derive(Debug)]
struct Run {
    source: TopicPartition,
    records: Vec<ReadRecord>,
    /// Their keys, where something follows from them.
    keys: Vec<Option<Arc<[u8]>>>,
    /// How many of them are done.
    done: usize,
}

impl Run {
    fn next_offset(&self) -> Offset {
        self.records.last().map_or(Offset(0), |r| Offset(r.offset.0 + 1))
    }
}

/// What the poll loop is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Activity {
    /// It joins at that time.
    Waiting(Instant),
    /// In `poll`.
    Polling,
    /// The record (or run) under way is done at that time.
    Processing(Instant),
    /// What follows from the record under way is not acknowledged.
    Forwarding,
    /// It waits for a commit, and then...
    Committing(u64, AfterCommit),
    /// The handler hangs until then.
    Stalling(Instant),
    /// The workers finish what they have.
    Draining,
    /// The consumer leaves the group.
    Leaving,
    /// It has left.
    Gone,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum AfterCommit {
    Poll,
    Process,
    Leave,
}

#[derive(Debug, Default)]
struct Worker {
    queue: VecDeque<(TopicPartition, ReadRecord)>,
    due: Instant,
}

/// The application.
#[derive(Debug)]
pub struct GroupMemberApp {
    spec: GroupMemberSpec,
    consumer: Consumer,
    forwarder: Option<Forwarder>,
    incarnation: Incarnation,
    activity: Activity,
    /// What the last poll handed out and is not done.
    runs: VecDeque<Run>,
    workers: Vec<Worker>,
    paused: bool,
    /// Next offsets that may be committed and are not known to be.
    uncommitted: BTreeMap<TopicPartition, Offset>,
    /// The offsets of commits under way.
    committing: BTreeMap<u64, Vec<(TopicPartition, Offset)>>,
    /// Partitions to be given up, and the commit that must come first.
    revoking: Option<(i32, Vec<TopicPartition>, Option<u64>)>,
    processed: u64,
    stalls: u64,
    next_stall: Instant,
    leave_at: Instant,
    asked_to_stop: bool,
}

impl GroupMemberApp {
    /// A new process.
    pub fn new(spec: GroupMemberSpec) -> GroupMemberApp {
        let reach = spec.reach.clone();
        let consumer = Consumer::new(spec.config.clone(), reach.bootstrap, reach.caps, spec.defects);
        let forwarder =
            spec.forward.clone().map(|f| Forwarder::new(f, spec.client, spec.seed, spec.reach.clone(), spec.defects));
        let workers = if spec.processing == Processing::HandOff { spec.workers.max(1) } else { 0 };
        GroupMemberApp {
            consumer,
            forwarder,
            incarnation: Incarnation(0),
            activity: Activity::Waiting(Instant::MAX),
            runs: VecDeque::new(),
            workers: (0..workers).map(|_| Worker::default()).collect(),
            paused: false,
            uncommitted: BTreeMap::new(),
            committing: BTreeMap::new(),
            revoking: None,
            processed: 0,
            stalls: 0,
            next_stall: Instant::MAX,
            leave_at: Instant::MAX,
            asked_to_stop: false,
            spec,
        }
    }

    fn facts(&self) -> MemberFacts {
        let c = &self.spec.config;
        let cooperative = c.assignors.iter().all(|a| a.is_cooperative());
        MemberFacts {
            group: c.group_id.as_deref().unwrap_or_default().into(),
            protocol: match c.group_protocol {
                GroupProtocol::Consumer => RebalanceProtocol::Consumer,
                GroupProtocol::Classic if cooperative => RebalanceProtocol::Cooperative,
                GroupProtocol::Classic => RebalanceProtocol::Eager,
            },
            instance: c.group_instance_id.as_deref().map(Arc::from),
            auto_commit: c.enable_auto_commit,
            processing: self.spec.processing,
            effects: self.spec.effects,
            resets_to_latest: c.auto_offset_reset == klamm_model::config::AutoOffsetReset::Latest,
            forwards_to: self.spec.forward.as_ref().map(|f| f.to.clone()).unwrap_or_default(),
            declines_to: self.spec.forward.as_ref().and_then(|f| Some(f.declines.as_ref()?.1.clone())),
        }
    }

    fn start(&mut self, now: Now, out: &mut Outbox) {
        out.op(Op::Member { facts: self.facts() });
        self.activity = Activity::Waiting(now.mono + self.spec.join_after);
        self.leave_at = self.spec.leave_after.map_or(Instant::MAX, |after| now.mono + after);
        self.plan_stall(now.mono);
    }

    fn index(&self, n: u64) -> u64 {
        (u64::from(self.incarnation.0) << 40) + n
    }

    fn plan_stall(&mut self, from: Instant) {
        if let Some(stall) = self.spec.stall {
            let drawn = draw(self.spec.seed, Purpose::Stall, self.spec.client, self.index(self.stalls));
            self.stalls += 1;
            self.next_stall = from + exponential_gap(stall.every, drawn);
        }
    }

    fn service(&mut self) -> Duration {
        let index = self.index(self.processed);
        self.processed += 1;
        self.spec.service.time(self.spec.seed, self.spec.client, index)
    }

    // --- what the consumer says ---

    fn events(&mut self, now: Now, out: &mut Outbox) {
        while let Some(event) = self.consumer.next_event() {
            match event {
                ConsumerEvent::Position { source, offset, reason } => out.op(Op::Position { source, offset, reason }),
                ConsumerEvent::Assigned { generation, partitions } => {
                    if self.paused {
                        self.consumer.pause(&partitions);
                    }
                    out.op(Op::Assigned { generation, partitions });
                }
                ConsumerEvent::Revoking { generation, partitions } => self.revoke(now, generation, partitions, out),
                ConsumerEvent::Lost { generation, partitions } => {
                    // Whatever was being done to give them up is in vain.
                    self.revoking = None;
                    self.forget(&partitions);
                    out.op(Op::Revoked { generation, partitions, lost: true });
                }
                ConsumerEvent::CommitSent { id, trigger, generation, offsets } => {
                    self.committing.insert(id, offsets.clone());
                    out.op(Op::Commit { commit: id, trigger, generation, offsets });
                }
                ConsumerEvent::Committed { id, outcome, error } => {
                    out.op(Op::Committed { commit: id, outcome, error: error.map(Arc::from) });
                    self.committed(now, id, outcome, out);
                }
                ConsumerEvent::GroupFailed { .. } => self.leave(now),
                ConsumerEvent::Left => {
                    self.activity = Activity::Gone;
                    self.consumer.close(now, out);
                    if self.asked_to_stop {
                        out.push(Output::Exit);
                    }
                }
                ConsumerEvent::Truncated { .. } | ConsumerEvent::Failed { .. } | ConsumerEvent::Error { .. } => {}
            }
        }
    }

    /// `onPartitionsRevoked`: what is finished is committed first, unless the consumer has done so.
    fn revoke(&mut self, now: Now, generation: i32, partitions: Vec<TopicPartition>, out: &mut Outbox) {
        let mine = |p: &TopicPartition| Some((p.clone(), *self.uncommitted.get(p)?));
        let offsets: Vec<_> = partitions.iter().filter_map(mine).collect();
        let commit = if self.spec.config.enable_auto_commit || offsets.is_empty() {
            None
        } else {
            self.consumer.commit(now, CommitTrigger::Revocation, Some(&offsets))
        };
        self.revoking = Some((generation, partitions, commit));
        if commit.is_none() {
            self.revoked(now, out);
        }
    }

    fn revoked(&mut self, now: Now, out: &mut Outbox) {
        let Some((generation, partitions, _)) = self.revoking.take() else { return };
        self.forget(&partitions);
        out.op(Op::Revoked { generation, partitions, lost: false });
        self.consumer.revocation_done(now);
    }

    fn forget(&mut self, partitions: &[TopicPartition]) {
        partitions.iter().for_each(|p| {
            self.uncommitted.remove(p);
        });
    }

    fn committed(&mut self, now: Now, id: u64, outcome: Outcome, out: &mut Outbox) {
        let offsets = self.committing.remove(&id).unwrap_or_default();
        if outcome == Outcome::Ok {
            for (source, offset) in offsets {
                if self.uncommitted.get(&source).is_some_and(|&next| next <= offset) {
                    self.uncommitted.remove(&source);
                }
            }
        }
        if self.revoking.as_ref().is_some_and(|(_, _, commit)| *commit == Some(id)) {
            self.revoked(now, out);
        }
        if let Activity::Committing(waiting, then) = self.activity
            && waiting == id
        {
            match then {
                AfterCommit::Poll => self.enter_poll(now),
                AfterCommit::Leave => self.leave(now),
                AfterCommit::Process if outcome == Outcome::Ok => self.process_next(now.mono),
                // At most once: what may not be committed is not processed.
                AfterCommit::Process => {
                    self.runs.clear();
                    self.enter_poll(now);
                }
            }
        }
    }

    // --- the poll loop ---

    fn is_to_leave(&self, now: Instant) -> bool {
        self.asked_to_stop || now >= self.leave_at
    }

    /// The top of the loop.
    fn enter_poll(&mut self, now: Now) {
        if self.is_to_leave(now.mono) {
            self.activity = Activity::Draining;
        } else if now.mono >= self.next_stall
            && let Some(stall) = self.spec.stall
        {
            self.activity = Activity::Stalling(now.mono + stall.lasts);
            self.plan_stall(now.mono + stall.lasts);
        } else {
            self.activity = Activity::Polling;
            self.consumer.enter_poll(now);
        }
    }

    fn leave(&mut self, now: Now) {
        if !matches!(self.activity, Activity::Leaving | Activity::Gone) {
            self.activity = Activity::Leaving;
            self.runs.clear();
            self.consumer.leave(now);
        }
    }

    /// One step of the loop, if one is due. Returns whether there was.
    fn step(&mut self, now: Now, out: &mut Outbox) -> bool {
        match self.activity {
            Activity::Waiting(at) if now.mono >= at => {
                if self.is_to_leave(now.mono) {
                    self.activity = Activity::Gone;
                    if self.asked_to_stop {
                        out.push(Output::Exit);
                    }
                    return true;
                }
                let topics = self.spec.topics.clone();
                self.consumer.subscribe(now, &topics);
                self.enter_poll(now);
                true
            }
            Activity::Waiting(_) if self.asked_to_stop => {
                self.activity = Activity::Gone;
                out.push(Output::Exit);
                true
            }
            Activity::Polling if self.revoking.is_some() => false,
            Activity::Polling if self.is_to_leave(now.mono) => {
                self.consumer.exit_poll(now);
                self.activity = Activity::Draining;
                true
            }
            Activity::Polling => self.receive(now, out),
            Activity::Processing(due) if now.mono >= due => {
                self.handled_one(now, out);
                true
            }
            Activity::Forwarding if self.forwarder.as_ref().is_none_or(|f| !f.is_busy()) => {
                self.finish_one(now, out);
                true
            }
            Activity::Stalling(until) if now.mono >= until => {
                self.enter_poll(now);
                true
            }
            Activity::Draining if self.backlog() == 0 => {
                let offsets = self.to_commit();
                let commit = if self.spec.config.enable_auto_commit {
                    None
                } else {
                    self.consumer.commit(now, CommitTrigger::Close, Some(&offsets))
                };
                match commit {
                    Some(id) => self.activity = Activity::Committing(id, AfterCommit::Leave),
                    None => self.leave(now),
                }
                true
            }
            _ => false,
        }
    }

    fn to_commit(&self) -> Vec<(TopicPartition, Offset)> {
        self.uncommitted.iter().map(|(p, o)| (p.clone(), *o)).collect()
    }

    /// Takes what `poll` returns.
    fn receive(&mut self, now: Now, out: &mut Outbox) -> bool {
        let mut runs: Vec<Run> = Vec::new();
        let forwards = self.forwarder.is_some();
        self.consumer.poll_records(now, |source, record| {
            if runs.last().is_none_or(|run| run.source != *source) {
                runs.push(Run { source: source.clone(), records: Vec::new(), keys: Vec::new(), done: 0 });
            }
            let Some(run) = runs.last_mut() else { return };
            run.records.push(read_record(&record));
            if forwards {
                run.keys.push(record.key.map(Arc::from));
            }
        });
        if runs.is_empty() {
            return false;
        }
        for run in &runs {
            let (source, isolation) = (run.source.clone(), self.spec.config.isolation);
            out.op(Op::Poll { source, isolation, records: run.records.clone() });
        }
        match self.spec.processing {
            Processing::FinishThenCommit => {
                self.runs = runs.into();
                self.process_next(now.mono);
            }
            Processing::CommitThenFinish => {
                let next = runs.iter().map(|run| (run.source.clone(), run.next_offset()));
                self.uncommitted.extend(next);
                self.runs = runs.into();
                self.commit_and(now, AfterCommit::Process);
            }
            Processing::HandOff => {
                let next = runs.iter().map(|run| (run.source.clone(), run.next_offset()));
                self.uncommitted.extend(next);
                self.hand_off(now.mono, runs);
                self.commit_and(now, AfterCommit::Poll);
            }
        }
        true
    }

    /// Commits as this application does, and goes on.
    fn commit_and(&mut self, now: Now, then: AfterCommit) {
        let offsets = self.to_commit();
        let trigger = match self.spec.commit {
            CommitStyle::Sync => CommitTrigger::Sync,
            CommitStyle::Async => CommitTrigger::Async,
        };
        let commit =
            if self.spec.config.enable_auto_commit { None } else { self.consumer.commit(now, trigger, Some(&offsets)) };
        match (commit, then) {
            (Some(id), _) if self.spec.commit == CommitStyle::Sync || then == AfterCommit::Process => {
                self.activity = Activity::Committing(id, then);
            }
            (_, AfterCommit::Process) => self.process_next(now.mono),
            _ => self.enter_poll(now),
        }
    }

    /// Begins with the next record; where nothing but the end of a run can be seen, with the whole run.
    fn process_next(&mut self, now: Instant) {
        let Some(run) = self.runs.front() else {
            self.activity = Activity::Processing(now);
            return;
        };
        let records = if self.one_by_one() { 1 } else { run.records.len() - run.done };
        let takes = (0..records).fold(Duration::ZERO, |sum, _| sum.saturating_add(self.service()));
        self.activity = Activity::Processing(now + takes);
    }

    /// Whether more can be seen of a run than its end.
    fn one_by_one(&self) -> bool {
        self.spec.effects || self.forwarder.is_some()
    }

    /// The handler is through with the record (or run) under way; what follows from it may yet have to be sent.
    fn handled_one(&mut self, now: Now, out: &mut Outbox) {
        let Some(run) = self.runs.front() else { return self.finish_one(now, out) };
        let (at, record) = (run.done, run.records[run.done]);
        if self.spec.effects {
            out.op(Op::Effect { source: run.source.clone(), offset: record.offset, value: record.value });
        }
        match &mut self.forwarder {
            Some(forwarder) => {
                forwarder.forward(now, record.value, run.keys[at].as_ref(), out);
                self.activity = Activity::Forwarding;
            }
            None => self.finish_one(now, out),
        }
    }

    /// The record (or run) under way is done.
    fn finish_one(&mut self, now: Now, out: &mut Outbox) {
        let one_by_one = self.one_by_one();
        if let Some(run) = self.runs.front_mut() {
            if one_by_one {
                run.done += 1;
            } else {
                run.done = run.records.len();
            }
            if run.done == run.records.len()
                && let Some(run) = self.runs.pop_front()
            {
                let (from, to) = (run.records[0].offset, run.next_offset());
                if self.spec.processing == Processing::FinishThenCommit {
                    self.uncommitted.insert(run.source.clone(), to);
                }
                out.op(Op::Finished { source: run.source, from, to });
            }
        }
        if !self.runs.is_empty() {
            self.process_next(now.mono);
        } else if self.spec.processing == Processing::FinishThenCommit {
            self.commit_and(now, AfterCommit::Poll);
        } else {
            self.enter_poll(now);
        }
    }

    // --- workers ---

    fn backlog(&self) -> usize {
        self.workers.iter().map(|w| w.queue.len()).sum()
    }

    /// Each record goes to the worker that has least to do.
    fn hand_off(&mut self, now: Instant, runs: Vec<Run>) {
        for run in runs {
            for record in run.records {
                let Some(at) = (0..self.workers.len()).min_by_key(|&w| self.workers[w].queue.len()) else { return };
                if self.workers[at].queue.is_empty() {
                    let takes = self.service();
                    self.workers[at].due = now + takes;
                }
                self.workers[at].queue.push_back((run.source.clone(), record));
            }
        }
    }

    fn work(&mut self, now: Instant, out: &mut Outbox) {
        for at in 0..self.workers.len() {
            while self.workers[at].due <= now
                && let Some((source, record)) = self.workers[at].queue.pop_front()
            {
                let (offset, value) = (record.offset, record.value);
                if self.spec.effects {
                    out.op(Op::Effect { source: source.clone(), offset, value });
                }
                out.op(Op::Finished { source, from: offset, to: Offset(offset.0 + 1) });
                let takes = self.service();
                self.workers[at].due += takes;
            }
            if !self.workers[at].queue.is_empty() {
                out.wake_at(self.workers[at].due);
            }
        }
        let backlog = self.backlog();
        if !self.paused && backlog > BACKLOG.0 {
            self.paused = true;
            self.consumer.pause(&self.consumer.assignment());
        } else if self.paused && backlog < BACKLOG.1 {
            self.paused = false;
            self.consumer.resume_partitions(&self.consumer.assignment());
        }
    }

    fn wake(&self, out: &mut Outbox) {
        let at = match self.activity {
            Activity::Waiting(at) | Activity::Processing(at) | Activity::Stalling(at) => at,
            Activity::Polling => self.leave_at,
            _ => Instant::MAX,
        };
        if at < Instant::MAX {
            out.wake_at(at);
        }
    }
}

impl Node for GroupMemberApp {
    fn handle(&mut self, now: Now, input: Input, out: &mut Outbox) {
        match input {
            Input::Start { mut rng, incarnation } => {
                self.incarnation = incarnation;
                self.consumer.start(now, split(&mut rng));
                self.start(now, out);
                if let Some(forwarder) = &mut self.forwarder {
                    forwarder.start(now, split(&mut rng), incarnation, out);
                }
            }
            Input::Shutdown => {
                self.asked_to_stop = true;
                if self.activity == Activity::Gone {
                    out.push(Output::Exit);
                }
            }
            other => {
                let not_ours = self.consumer.on_input(now, other, out);
                if let (Some(input), Some(forwarder)) = (not_ours, &mut self.forwarder) {
                    forwarder.on_input(now, input, out);
                }
            }
        }
        self.work(now.mono, out);
        loop {
            if let Some(forwarder) = &mut self.forwarder {
                forwarder.poll(now, out);
            }
            self.consumer.poll(now, out);
            self.events(now, out);
            self.consumer.poll(now, out);
            if !self.step(now, out) && !self.consumer.has_events() {
                break;
            }
        }
        self.work(now.mono, out);
        self.consumer.poll(now, out);
        self.wake(out);
    }

    fn inspect(&self) -> Inspection {
        let assignment = self.consumer.assignment();
        let positions: BTreeMap<_, _> = assignment
            .iter()
            .filter_map(|p| Some(((p.topic.to_string(), p.partition), self.consumer.position(p)?)))
            .collect();
        let unplaced = (assignment.len() - positions.len()) as u64;
        let member = self.consumer.membership();
        let pending_sends = self.forwarder.as_ref().map_or(0, Forwarder::pending);
        let mut reach: Vec<_> = self.forwarder.iter().map(Forwarder::reach).collect();
        // Who has left its group has closed its consumer, and needs no address.
        if self.activity != Activity::Gone {
            reach.push(self.consumer.reach());
        }
        Inspection::Client(ClientInspection { pending_sends, positions, unplaced, done: true, member, reach })
    }
}
