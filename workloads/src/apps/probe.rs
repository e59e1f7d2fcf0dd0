//! Shows that the healed cluster works for newcomers: a new topic is created, and a new producer sends one record
//! to it and to every partition there was. Where groups are on trial, a new group reads the new topic and commits.

use super::{Reach, SetupApp, SetupSpec, sent, split};
use crate::load::{encode_value, key_hash};
use klamm_model::client::admin::NewTopic;
use klamm_model::client::consumer::{Consumer, ConsumerEvent};
use klamm_model::client::producer::{Producer, ProducerEvent, ProducerRecord};
use klamm_model::config::{AutoOffsetReset, ConsumerConfig, ProducerConfig};
use klamm_model::history::{CommitTrigger, Op, Outcome, ProducerFacts, TopicPartition, ValueId};
use klamm_model::ids::ClientId;
use klamm_model::inspect::{ClientInspection, Inspection};
use klamm_model::node::{Input, Node, Outbox};
use klamm_model::units::Now;

/// A probing value's size, bytes.
const VALUE_SIZE: usize = 32;

/// What is probed.
#[derive(Clone, Debug)]
pub struct ProbeSpec {
    /// Its number in the run.
    pub client: ClientId,
    /// How it reaches the cluster.
    pub reach: Reach,
    /// The new topic.
    pub topic: NewTopic,
    /// Topics that take only records with a key.
    pub keyed: Vec<std::sync::Arc<str>>,
    /// Partitions that must take a record.
    pub partitions: Vec<TopicPartition>,
    /// Whether a new group must work, too.
    pub with_group: bool,
}

/// The new group.
const GROUP: &str = "klamm-probe";

/// The application.
#[derive(Debug)]
pub struct ProbeApp {
    spec: ProbeSpec,
    setup: SetupApp,
    producer: Producer,
    /// What is still to be acknowledged; `None` until the new topic is ready.
    open: Option<usize>,
    sent: u64,
    member: Option<ProbeMember>,
}

impl ProbeApp {
    /// A new process.
    pub fn new(spec: ProbeSpec) -> ProbeApp {
        let setup = SetupApp::new(SetupSpec { reach: spec.reach.clone(), topics: vec![spec.topic.clone()] });
        let producer = Producer::new(
            ProducerConfig::kafka_defaults(),
            spec.reach.bootstrap.clone(),
            spec.reach.caps.clone(),
            klamm_model::defects::Defects::NONE,
        );
        let member = spec.with_group.then(|| ProbeMember::new(&spec));
        ProbeApp { spec, setup, producer, open: None, sent: 0, member }
    }

    fn send(&mut self, now: Now, to: &TopicPartition, out: &mut Outbox) {
        let value = ValueId::new(self.spec.client, self.sent);
        self.sent += 1;
        let bytes = encode_value(value, VALUE_SIZE);
        let partition = Some(to.partition);
        let key: Option<&[u8]> = if self.spec.keyed.contains(&to.topic) { Some(b"klamm-probe") } else { None };
        let hash = key.map(key_hash);
        out.op(Op::Send {
            value,
            topic: to.topic.clone(),
            partition,
            key: hash,
            tombstone: false,
            late_by: 0,
            from: None,
        });
        let record =
            ProducerRecord { topic: &to.topic, partition, key, value: Some(&bytes), headers: &[], timestamp: None };
        self.producer.send(now, record, value.0, out).expect("a small record to an open producer");
    }
}

/// A member alone in its group, which reads the new topic from its start, commits and leaves.
#[derive(Debug)]
struct ProbeMember {
    consumer: Consumer,
    subscribed: bool,
    committed: bool,
    left: bool,
}

impl ProbeMember {
    fn new(spec: &ProbeSpec) -> ProbeMember {
        let mut config = ConsumerConfig::kafka_defaults();
        config.group_id = Some(GROUP.to_owned());
        config.enable_auto_commit = false;
        config.auto_offset_reset = AutoOffsetReset::Earliest;
        let (bootstrap, caps) = (spec.reach.bootstrap.clone(), spec.reach.caps.clone());
        let consumer = Consumer::new(config, bootstrap, caps, klamm_model::defects::Defects::NONE);
        ProbeMember { consumer, subscribed: false, committed: false, left: false }
    }

    /// One input, or none.
    fn step(&mut self, now: Now, topic: &NewTopic, input: Option<Input>, out: &mut Outbox) {
        if self.left {
            return;
        }
        if let Some(input) = input {
            let _not_ours = self.consumer.on_input(now, input, out);
        }
        if !self.subscribed {
            self.subscribed = true;
            self.consumer.subscribe(now, std::slice::from_ref(&topic.name));
        }
        loop {
            if !self.committed {
                self.consumer.enter_poll(now);
            }
            self.consumer.poll(now, out);
            while let Some(event) = self.consumer.next_event() {
                match event {
                    ConsumerEvent::Committed { outcome: Outcome::Ok, .. } => {
                        self.committed = true;
                        self.consumer.leave(now);
                    }
                    ConsumerEvent::Revoking { .. } => self.consumer.revocation_done(now),
                    ConsumerEvent::Left => {
                        self.left = true;
                        self.consumer.close(now, out);
                        return;
                    }
                    _ => {}
                }
            }
            if !self.committed && self.consumer.poll_records(now, |_, _| {}) > 0 {
                self.consumer.commit(now, CommitTrigger::Sync, None);
            }
            self.consumer.poll(now, out);
            if !self.consumer.has_events() {
                return;
            }
        }
    }
}

impl Node for ProbeApp {
    fn handle(&mut self, now: Now, input: Input, out: &mut Outbox) {
        let rest = match input {
            Input::Start { mut rng, incarnation } => {
                let c = ProducerConfig::kafka_defaults();
                out.op(Op::Producer {
                    facts: ProducerFacts {
                        acks: c.acks,
                        idempotent: c.enable_idempotence,
                        max_in_flight: c.max_in_flight,
                        resolves_within: c.delivery_timeout.saturating_add(c.max_block).as_nanos(),
                    },
                });
                self.producer.start(now, split(&mut rng));
                if let Some(member) = &mut self.member {
                    member.consumer.start(now, split(&mut rng));
                }
                Some(Input::Start { rng, incarnation })
            }
            other => self.producer.on_input(now, other, out),
        };
        let rest = self.setup.step(now, rest, out);
        if self.open.is_none() && self.setup.is_done() {
            let mut targets = self.spec.partitions.clone();
            targets.push(TopicPartition { topic: self.spec.topic.name.clone(), partition: 0 });
            for target in &targets {
                self.send(now, target, out);
            }
            self.open = Some(targets.len());
        }
        self.producer.poll(now, out);
        while let Some(event) = self.producer.next_event() {
            out.op(sent(&event));
            // A probe that failed stays open: the cluster has not converged.
            if let (ProducerEvent::Delivered { .. }, Some(open)) = (event, &mut self.open) {
                *open -= 1;
            }
        }
        if let Some(member) = self.member.as_mut().filter(|_| self.open.is_some()) {
            member.step(now, &self.spec.topic, rest, out);
        }
    }

    fn inspect(&self) -> Inspection {
        Inspection::Client(ClientInspection {
            pending_sends: self.producer.pending() as u64,
            done: self.open == Some(0) && self.member.as_ref().is_none_or(|m| m.left),
            ..ClientInspection::default()
        })
    }
}
