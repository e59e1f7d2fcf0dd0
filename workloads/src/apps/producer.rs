//! Sends records to one topic, in an open loop (at drawn times, whatever the cluster does) or a closed one (the
//! next record goes when an earlier one has resolved).

use super::{Reach, TOMBSTONE_ID, nth_value, producer_facts, refused, sent, split};
use crate::load::{
    ArrivalKind, Arrivals, KeyChooser, MIN_VALUE, Purpose, Sizes, below, draw, encode_value, key_bytes, key_hash,
};
use klamm_model::client::producer::{Producer, ProducerRecord};
use klamm_model::config::ProducerConfig;
use klamm_model::defects::Defects;
use klamm_model::history::Op;
use klamm_model::ids::{ClientId, Incarnation};
use klamm_model::inspect::{ClientInspection, Inspection};
use klamm_model::node::{Input, Node, Outbox, Output};
use klamm_model::record::RecordHeader;
use klamm_model::units::{Duration, Instant, Now};
use std::sync::Arc;

/// Which partition a record goes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PartitionChoice {
    /// As the client's partitioner says.
    Partitioner,
    /// Always this one.
    Fixed(i32),
}

/// When records are sent.
#[derive(Clone, Debug)]
pub enum Pace {
    /// At drawn times.
    Open {
        /// The shape of the arrivals.
        kind: ArrivalKind,
        /// Records per 1000 seconds.
        per_second_milli: u64,
    },
    /// The next record when fewer than so many are under way.
    Closed(u32),
}

/// What a producer application does.
#[derive(Clone, Debug)]
pub struct ProducerAppSpec {
    /// Its number in the run.
    pub client: ClientId,
    /// The run's seed, for keyed draws.
    pub seed: u64,
    /// How it reaches the cluster.
    pub reach: Reach,
    /// Its settings.
    pub config: ProducerConfig,
    /// Defects switched on.
    pub defects: Defects,
    /// Where it sends to.
    pub topic: Arc<str>,
    /// Which partition.
    pub partition: PartitionChoice,
    /// When; closed: so many under way.
    pub pace: Pace,
    /// Which keys.
    pub keys: KeyChooser,
    /// How large.
    pub sizes: Sizes,
    /// How many in a thousand have no value but delete their key.
    pub tombstones_per_mille: u64,
    /// For how long it sends.
    pub duration: Duration,
    /// How many records at most.
    pub records: Option<u64>,
}

/// The application.
#[derive(Debug)]
pub struct ProducerApp {
    spec: ProducerAppSpec,
    producer: Producer,
    started: Instant,
    incarnation: Incarnation,
    /// The next record's number.
    next: u64,
    /// When it is due; `Instant::MAX` after the last.
    due: Instant,
    arrivals: Option<Arrivals>,
    under_way: u64,
}

impl ProducerApp {
    /// A new process.
    pub fn new(spec: ProducerAppSpec) -> ProducerApp {
        let producer =
            Producer::new(spec.config.clone(), spec.reach.bootstrap.clone(), spec.reach.caps.clone(), spec.defects);
        ProducerApp {
            producer,
            started: Instant::ZERO,
            incarnation: Incarnation(0),
            next: 0,
            due: Instant::MAX,
            arrivals: None,
            under_way: 0,
            spec,
        }
    }

    fn start(&mut self, now: Now, out: &mut Outbox) {
        self.started = now.mono;
        self.arrivals = match self.spec.pace {
            Pace::Open { kind, per_second_milli } => {
                Some(Arrivals::new(kind, per_second_milli, self.spec.seed, self.spec.client, now.mono))
            }
            Pace::Closed(_) => None,
        };
        self.plan_next();
        out.op(Op::Producer { facts: producer_facts(&self.spec.config) });
    }

    /// Settles when the next record is due.
    fn plan_next(&mut self) {
        self.due = match &mut self.arrivals {
            _ if self.spec.records.is_some_and(|n| self.next >= n) => Instant::MAX,
            Some(arrivals) => arrivals.next_arrival(),
            None => self.started,
        };
        if self.due >= self.end() {
            self.due = Instant::MAX;
        }
    }

    fn end(&self) -> Instant {
        self.started + self.spec.duration
    }

    fn send_due(&mut self, now: Now, out: &mut Outbox) {
        while self.due <= now.mono {
            let late_by = match self.spec.pace {
                Pace::Open { .. } => now.mono.since(self.due).as_nanos(),
                Pace::Closed(limit) if self.under_way >= u64::from(limit) => return,
                Pace::Closed(_) if now.mono >= self.end() => {
                    self.due = Instant::MAX;
                    return;
                }
                Pace::Closed(_) => 0,
            };
            self.send(now, late_by, out);
            self.plan_next();
        }
        if self.due < Instant::MAX {
            out.wake_at(self.due);
        }
    }

    fn send(&mut self, now: Now, late_by: u64, out: &mut Outbox) {
        let spec = &self.spec;
        let value = nth_value(spec.client, self.incarnation, self.next);
        let index = value.index();
        let drawn = || below(draw(spec.seed, Purpose::Tombstone, spec.client, index), 1000);
        let tombstone = spec.tombstones_per_mille > 0 && drawn() < spec.tombstones_per_mille;
        let size = if tombstone { MIN_VALUE } else { spec.sizes.size(spec.seed, spec.client, index) };
        let bytes = encode_value(value, size);
        let key = spec.keys.key(spec.seed, spec.client, index).map(key_bytes);
        self.next += 1;
        let partition = match spec.partition {
            PartitionChoice::Partitioner => None,
            PartitionChoice::Fixed(p) => Some(p),
        };
        let hash = key.as_deref().map(key_hash);
        out.op(Op::Send { value, topic: spec.topic.clone(), partition, key: hash, tombstone, late_by, from: None });
        let named = || RecordHeader { key: TOMBSTONE_ID.to_owned(), value: Some(bytes.clone()) };
        let id: Vec<RecordHeader> = tombstone.then(named).into_iter().collect();
        let record = ProducerRecord {
            topic: &spec.topic,
            partition,
            key: key.as_deref(),
            value: (!tombstone).then_some(&*bytes),
            headers: &id,
            timestamp: None,
        };
        match self.producer.send(now, record, value.0, out) {
            Ok(()) => self.under_way += 1,
            Err(why) => out.op(refused(value, partition, &why)),
        }
    }
}

impl Node for ProducerApp {
    fn handle(&mut self, now: Now, input: Input, out: &mut Outbox) {
        match input {
            Input::Start { mut rng, incarnation } => {
                self.incarnation = incarnation;
                self.producer.start(now, split(&mut rng));
                self.start(now, out);
            }
            Input::Shutdown => out.push(Output::Exit),
            other => {
                let _not_ours = self.producer.on_input(now, other, out);
            }
        }
        // Results first: in a closed loop they make room.
        loop {
            while let Some(event) = self.producer.next_event() {
                self.under_way -= 1;
                out.op(sent(&event));
            }
            self.send_due(now, out);
            self.producer.poll(now, out);
            match self.producer.next_event() {
                Some(event) => {
                    self.under_way -= 1;
                    out.op(sent(&event));
                }
                None => break,
            }
        }
    }

    fn inspect(&self) -> Inspection {
        Inspection::Client(ClientInspection {
            pending_sends: self.under_way,
            done: self.under_way == 0 && self.due == Instant::MAX,
            reach: vec![self.producer.reach()],
            ..ClientInspection::default()
        })
    }
}
