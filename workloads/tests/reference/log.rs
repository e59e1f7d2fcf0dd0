//! Legal executions of a small log: producers that retry, a leader that changes, readers that poll, seek and ask. What
//! happens to the log is declared, as `klamm-scenarios` would declare it.

use super::dice::Dice;
use klamm_model::history::*;
use klamm_model::ids::*;
use klamm_workloads::permission::{Compacted, Declared, LeaderChange, LogStart, Loss, Unclean};
use std::sync::Arc;

/// What one history is.
#[derive(Clone, Debug)]
pub struct History {
    pub entries: Vec<Entry>,
    pub declared: Declared,
}

pub const FINAL: u32 = 9;
const STEP: u64 = 1_000_000;

#[derive(Clone)]
struct Record {
    offset: i64,
    epoch: i32,
    value: ValueId,
    key: Option<u64>,
    safe: bool,
}

/// One partition: its log as the present leader has it.
#[derive(Clone, Default)]
struct Log {
    records: Vec<Record>,
    start: i64,
    end: i64,
    epoch: i32,
    /// Nothing below is lost in a clean change of the leader.
    committed: i64,
}

struct Open {
    value: ValueId,
    client: u32,
    partition: usize,
    key: Option<u64>,
    attempts: u32,
    landed: Vec<i64>,
}

struct Producer {
    client: u32,
    incarnation: u32,
    facts: ProducerFacts,
    id: i64,
    next: u64,
}

struct Reader {
    client: u32,
    isolation: IsolationLevel,
    partition: usize,
    position: Option<i64>,
}

struct World<'a> {
    dice: &'a mut Dice,
    now: u64,
    logs: Vec<Log>,
    producers: Vec<Producer>,
    open: Vec<Open>,
    readers: Vec<Reader>,
    asked: Vec<(u32, u64)>,
    history: History,
}

pub fn topic() -> Arc<str> {
    "t".into()
}

pub fn source(partition: usize) -> TopicPartition {
    TopicPartition { topic: topic(), partition: partition as i32 }
}

/// A legal execution.
pub fn run(dice: &mut Dice) -> History {
    let partitions = if dice.chance(70) { 1 } else { 2 };
    let mut world = World {
        now: STEP,
        logs: vec![Log::default(); partitions],
        producers: Vec::new(),
        open: Vec::new(),
        readers: Vec::new(),
        asked: Vec::new(),
        history: History { entries: Vec::new(), declared: Declared::default() },
        dice,
    };
    world.set_up();
    let steps = 8 + world.dice.below(14);
    for _ in 0..steps {
        world.step();
    }
    world.wind_up();
    world.history
}

impl World<'_> {
    fn push(&mut self, client: u32, incarnation: u32, op: Op) {
        // Some operations share their time with the one before.
        self.now += STEP * self.dice.below(3) as u64;
        let (client, incarnation) = (ClientId(client), Incarnation(incarnation));
        self.history.entries.push(Entry { at: self.now, client, incarnation, op });
    }

    fn set_up(&mut self) {
        for client in 1..=1 + self.dice.below(2) as u32 {
            let idempotent = self.dice.chance(60);
            let acks = match self.dice.below(10) {
                0 if !idempotent => Acks::None,
                1..=3 if !idempotent => Acks::Leader,
                _ => Acks::All,
            };
            let max_in_flight = if self.dice.chance(30) { 1 } else { 5 };
            let facts = ProducerFacts { acks, idempotent, max_in_flight, resolves_within: 120_000_000_000 };
            self.push(client, 1, Op::Producer { facts: facts.clone() });
            let id = 70 + i64::from(client);
            self.producers.push(Producer { client, incarnation: 1, facts, id, next: 0 });
        }
        for client in 5..5 + 1 + self.dice.below(3) as u32 {
            let isolation =
                if self.dice.chance(70) { IsolationLevel::ReadCommitted } else { IsolationLevel::ReadUncommitted };
            let partition = self.dice.below(self.logs.len());
            self.readers.push(Reader { client, isolation, partition, position: None });
        }
    }

    fn step(&mut self) {
        match self.dice.below(100) {
            0..=27 => self.send(),
            28..=47 => self.land(),
            48..=62 => self.resolve(),
            63..=82 => self.read(),
            83..=88 => self.ask(),
            89..=91 => self.change_leader(),
            92 => self.lose(),
            93..=94 => self.delete(),
            95 => self.compact(),
            96..=97 => self.renew(),
            _ => self.restart(),
        }
    }

    fn send(&mut self) {
        let sent = self.producers.iter().map(|p| p.next).sum::<u64>();
        if sent >= 6 {
            return;
        }
        let i = self.dice.below(self.producers.len());
        let partition = self.dice.below(self.logs.len());
        let chosen = self.dice.chance(50).then_some(partition as i32);
        let key = self.dice.chance(30).then_some(100 + partition as u64);
        let p = &mut self.producers[i];
        let value = ValueId::new(ClientId(p.client), p.next);
        p.next += 1;
        let (client, incarnation) = (p.client, p.incarnation);
        self.open.push(Open { value, client, partition, key, attempts: 1, landed: Vec::new() });
        let op = Op::Send { value, topic: topic(), partition: chosen, key, tombstone: false, late_by: 0, from: None };
        self.push(client, incarnation, op);
    }

    /// The bytes of a send reach the leader, in the producer's order unless it may reorder; again if it retries.
    fn land(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let mut i = self.dice.below(self.open.len());
        let facts = self.producer(self.open[i].client).facts.clone();
        if facts.idempotent || facts.max_in_flight == 1 {
            let (client, partition) = (self.open[i].client, self.open[i].partition);
            let first =
                self.open.iter().position(|o| (o.client, o.partition) == (client, partition) && o.landed.is_empty());
            i = first.unwrap_or(i);
        }
        if !self.open[i].landed.is_empty() {
            // A retry: appended again without idempotence, recognised with it.
            self.open[i].attempts += 1;
            if facts.idempotent || self.dice.chance(50) {
                return;
            }
        } else if self.open.iter().any(|o| {
            (o.client, o.partition) == (self.open[i].client, self.open[i].partition)
                && o.landed.is_empty()
                && o.value < self.open[i].value
        }) {
            // It overtakes another, which must have been retried.
            let (client, partition, value) = (self.open[i].client, self.open[i].partition, self.open[i].value);
            for o in &mut self.open {
                if (o.client, o.partition) == (client, partition) && o.landed.is_empty() && o.value < value {
                    o.attempts += 1;
                }
            }
        }
        let o = &mut self.open[i];
        let log = &mut self.logs[o.partition];
        let offset = log.end;
        log.end += 1;
        o.landed.push(offset);
        log.records.push(Record {
            offset,
            epoch: log.epoch,
            value: o.value,
            key: o.key,
            safe: facts.acks == Acks::All,
        });
    }

    fn resolve(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let i = self.dice.below(self.open.len());
        self.resolve_one(i);
    }

    fn resolve_one(&mut self, i: usize) {
        let mut o = self.open.remove(i);
        let producer = self.producer(o.client);
        let (facts, id, incarnation) = (producer.facts.clone(), producer.id, producer.incarnation);
        let (mut outcome, mut offset) = match o.landed.first() {
            Some(first) if self.dice.chance(85) => (Outcome::Ok, Some(Offset(*first))),
            Some(_) => (Outcome::Info, None),
            None if self.dice.chance(60) => (Outcome::Fail, None),
            None => (Outcome::Info, None),
        };
        if facts.acks == Acks::None && outcome == Outcome::Ok {
            outcome = if self.dice.chance(50) { Outcome::Ok } else { Outcome::Info };
            offset = None;
        }
        if outcome == Outcome::Ok && self.dice.chance(8) {
            offset = None;
        }
        if outcome == Outcome::Ok && facts.acks == Acks::All {
            let log = &mut self.logs[o.partition];
            log.committed = log.committed.max(log.end);
        }
        if outcome == Outcome::Info && o.landed.is_empty() && self.dice.chance(30) {
            // Its bytes come late.
            let log = &mut self.logs[o.partition];
            o.landed.push(log.end);
            log.records.push(Record { offset: log.end, epoch: log.epoch, value: o.value, key: o.key, safe: false });
            log.end += 1;
        }
        let op = Op::Sent {
            value: o.value,
            outcome,
            partition: Some(o.partition as i32),
            offset,
            attempts: o.attempts,
            producer_id: facts.idempotent.then_some(ProducerId(id)),
            error: None,
        };
        self.push(o.client, incarnation, op);
    }

    fn read(&mut self) {
        let i = self.dice.below(self.readers.len());
        let (client, isolation, partition) =
            (self.readers[i].client, self.readers[i].isolation, self.readers[i].partition);
        let log = &self.logs[partition];
        let (start, end) = (log.start, log.end);
        let moved = match self.readers[i].position {
            None => Some((if self.dice.chance(80) { start } else { end }, PositionReason::Assigned)),
            Some(position) if position < start => Some((start, PositionReason::Reset)),
            Some(position) if position > end => Some((end, PositionReason::Truncation)),
            Some(_) if self.dice.chance(7) => {
                let span = (end - start + 1) as usize;
                Some((start + self.dice.below(span) as i64, PositionReason::Seek))
            }
            Some(_) => None,
        };
        if let Some((offset, reason)) = moved {
            self.readers[i].position = Some(offset);
            // Some recorders say nothing of the first position.
            if reason != PositionReason::Assigned || self.dice.chance(90) {
                self.push(client, 1, Op::Position { source: source(partition), offset: Offset(offset), reason });
            }
        }
        let most = 1 + self.dice.below(4);
        self.poll(i, client, isolation, partition, most);
    }

    fn poll(&mut self, reader: usize, client: u32, isolation: IsolationLevel, partition: usize, most: usize) -> usize {
        let position = self.readers[reader].position.unwrap_or(0);
        let (records, next) = batch(&self.logs[partition], position, most);
        let count = records.len();
        if count > 0 {
            self.readers[reader].position = Some(next);
            let log = &mut self.logs[partition];
            log.committed = log.committed.max(next);
            self.push(client, 1, Op::Poll { source: source(partition), isolation, records });
        }
        count
    }

    fn ask(&mut self) {
        if self.asked.is_empty() || self.dice.chance(50) {
            let ask = (5 + self.dice.below(2) as u32, self.history.entries.len() as u64);
            self.asked.push(ask);
            self.push(ask.0, 1, Op::AskOffset { ask: ask.1 });
            return;
        }
        let i = self.dice.below(self.asked.len());
        let (client, ask) = self.asked.remove(i);
        let partition = self.dice.below(self.logs.len());
        let log = &mut self.logs[partition];
        // A latest answer is the high watermark.
        log.committed = log.end;
        let (offset, epoch) = (log.end, log.epoch);
        let isolation =
            if self.dice.chance(70) { IsolationLevel::ReadCommitted } else { IsolationLevel::ReadUncommitted };
        self.push(
            client,
            1,
            Op::ListOffsets {
                ask,
                source: source(partition),
                topic_id: None,
                isolation,
                query: -1,
                offset: Offset(offset),
                leader_epoch: LeaderEpoch(epoch),
            },
        );
    }

    fn change_leader(&mut self) {
        let partition = self.dice.below(self.logs.len());
        self.now += STEP;
        let at = self.now;
        let unclean = self.dice.chance(30);
        let log = &mut self.logs[partition];
        log.epoch += 1;
        let span = log.end - log.start;
        let from = if unclean {
            log.start + self.dice.below(span as usize + 1) as i64
        } else {
            log.committed.max(log.records.iter().filter(|r| r.safe).map(|r| r.offset + 1).max().unwrap_or(0))
        };
        let from = from.min(log.end);
        log.records.retain(|r| r.offset < from);
        log.end = from;
        log.committed = log.committed.min(from);
        let epoch = LeaderEpoch(log.epoch);
        let declared = &mut self.history.declared;
        declared.leader_changes.push(LeaderChange { at, source: source(partition), epoch, deposed_by: Some(at) });
        if unclean {
            let from = Some(Offset(from));
            declared.uncleans.push(Unclean { at, source: source(partition), from });
        }
        self.cut(partition, from);
    }

    fn lose(&mut self) {
        let partition = self.dice.below(self.logs.len());
        self.now += STEP;
        let log = &mut self.logs[partition];
        let span = log.end - log.start;
        let from = log.start + self.dice.below(span as usize + 1) as i64;
        log.epoch += 1;
        log.records.retain(|r| r.offset < from);
        log.end = from;
        log.committed = log.committed.min(from);
        let (at, source, from_) = (self.now, source(partition), Some(Offset(from)));
        self.history.declared.losses.push(Loss { at, source, from: from_, beyond_budget: true });
        self.cut(partition, from);
    }

    /// What was cut may land anew.
    fn cut(&mut self, partition: usize, from: i64) {
        for o in self.open.iter_mut().filter(|o| o.partition == partition) {
            o.landed.retain(|offset| *offset < from);
        }
    }

    fn delete(&mut self) {
        let partition = self.dice.below(self.logs.len());
        let log = &mut self.logs[partition];
        let committed = log.committed.min(log.end);
        if committed <= log.start {
            return;
        }
        log.start += 1 + self.dice.below((committed - log.start) as usize) as i64;
        let start = log.start;
        log.records.retain(|r| r.offset >= start);
        self.now += STEP;
        let moved = LogStart { at: self.now, source: source(partition), offset: Offset(start) };
        self.history.declared.log_starts.push(moved);
    }

    fn compact(&mut self) {
        let partition = self.dice.below(self.logs.len());
        let log = &mut self.logs[partition];
        let superseded: Vec<i64> = log
            .records
            .iter()
            .filter(|r| r.offset < log.committed && r.key.is_some())
            .filter(|r| log.records.iter().any(|l| l.key == r.key && l.offset > r.offset && l.offset < log.committed))
            .map(|r| r.offset)
            .collect();
        if superseded.is_empty() {
            return;
        }
        log.records.retain(|r| !superseded.contains(&r.offset));
        self.now += STEP;
        let removed = superseded.into_iter().map(Offset).collect();
        self.history.declared.compactions.push(Compacted { at: self.now, source: source(partition), removed });
    }

    /// A producer takes a new producer id.
    fn renew(&mut self) {
        let i = self.dice.below(self.producers.len());
        self.producers[i].id += 10;
    }

    /// A producer dies and comes up anew; what it had open is never resolved.
    fn restart(&mut self) {
        let i = self.dice.below(self.producers.len());
        let p = &mut self.producers[i];
        p.incarnation += 1;
        p.id += 10;
        let (client, incarnation, facts) = (p.client, p.incarnation, p.facts.clone());
        self.open.retain(|o| o.client != client);
        self.push(client, incarnation, Op::Producer { facts });
    }

    /// Most sends resolve, and most partitions are read to their ends.
    fn wind_up(&mut self) {
        while !self.open.is_empty() && self.dice.chance(90) {
            self.land();
            self.resolve();
        }
        for partition in 0..self.logs.len() {
            if self.dice.chance(20) {
                continue;
            }
            let (from, to) = (self.logs[partition].start, self.logs[partition].end);
            let isolation = IsolationLevel::ReadCommitted;
            let reader = self.readers.len();
            self.readers.push(Reader { client: FINAL, isolation, partition, position: Some(from) });
            let source = source(partition);
            let reason = PositionReason::Assigned;
            self.push(FINAL, 1, Op::Position { source: source.clone(), offset: Offset(from), reason });
            loop {
                let most = 1 + self.dice.below(6);
                if self.poll(reader, FINAL, isolation, partition, most) == 0 {
                    break;
                }
            }
            self.push(FINAL, 1, Op::FinalRead { source, from: Offset(from), to: Offset(to) });
        }
    }

    fn producer(&self, client: u32) -> &Producer {
        self.producers.iter().find(|p| p.client == client).expect("each send has a producer")
    }
}

/// What a fetch at a position returns, and the position after it.
fn batch(log: &Log, position: i64, most: usize) -> (Vec<ReadRecord>, i64) {
    let read = |r: &Record| ReadRecord {
        offset: Offset(r.offset),
        leader_epoch: LeaderEpoch(r.epoch),
        value: r.value,
        key: r.key,
        timestamp: 0,
    };
    let records: Vec<ReadRecord> = log.records.iter().filter(|r| r.offset >= position).take(most).map(read).collect();
    let next = records.last().map_or(position, |r| r.offset.0 + 1);
    (records, next)
}
