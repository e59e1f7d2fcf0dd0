//! Shows that the healed cluster works for newcomers: a new topic is created, and a new producer sends one record
//! to it and to every partition there was.

use super::{Reach, SetupApp, SetupSpec, sent, split};
use crate::load::encode_value;
use klamm_model::client::admin::NewTopic;
use klamm_model::client::producer::{Producer, ProducerEvent, ProducerRecord};
use klamm_model::config::ProducerConfig;
use klamm_model::history::{Op, ProducerFacts, TopicPartition, ValueId};
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
    /// Partitions that must take a record.
    pub partitions: Vec<TopicPartition>,
}

/// The application.
#[derive(Debug)]
pub struct ProbeApp {
    spec: ProbeSpec,
    setup: SetupApp,
    producer: Producer,
    /// What is still to be acknowledged; `None` until the new topic is ready.
    open: Option<usize>,
    sent: u64,
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
        ProbeApp { spec, setup, producer, open: None, sent: 0 }
    }

    fn send(&mut self, now: Now, to: &TopicPartition, out: &mut Outbox) {
        let value = ValueId::new(self.spec.client, self.sent);
        self.sent += 1;
        let bytes = encode_value(value, VALUE_SIZE);
        let partition = Some(to.partition);
        out.op(Op::Send { value, topic: to.topic.clone(), partition, key: None, late_by: 0 });
        let record = ProducerRecord {
            topic: &to.topic,
            partition,
            key: None,
            value: Some(&bytes),
            headers: &[],
            timestamp: None,
        };
        self.producer.send(now, record, value.0, out).expect("a small record to an open producer");
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
                Some(Input::Start { rng, incarnation })
            }
            other => self.producer.on_input(now, other, out),
        };
        self.setup.step(now, rest, out);
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
    }

    fn inspect(&self) -> Inspection {
        Inspection::Client(ClientInspection {
            pending_sends: self.producer.pending() as u64,
            done: self.open == Some(0),
            ..ClientInspection::default()
        })
    }
}
