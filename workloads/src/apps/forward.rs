//! What a service makes of a record: one new record in each of some topics, or one in another when it declines.
//!
//! One record at a time, as a service does that waits for `send(...).get()`: the next is handled, and offsets are
//! committed, once everything that follows from this one is acknowledged. A send that fails is made anew under another
//! value, for as long as it takes (the outbox of a service that must not lose a step). Whether it declines depends on
//! the record alone, so that whoever handles it again decides alike.

use super::{Reach, nth_value, producer_facts, refused, sent};
use crate::load::{Purpose, Sizes, below, draw, encode_value, key_hash};
use klamm_model::client::producer::{Producer, ProducerEvent, ProducerRecord};
use klamm_model::config::ProducerConfig;
use klamm_model::defects::Defects;
use klamm_model::history::{Op, ValueId};
use klamm_model::ids::{ClientId, Incarnation};
use klamm_model::inspect::ReachInspection;
use klamm_model::node::{Input, Outbox};
use klamm_model::units::{Duration, Instant, Now};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How long after a refusal (the buffer is full, the topic is not known in time) a send is made anew.
const REFUSED_BACKOFF: Duration = Duration::from_millis(100);

/// What follows from each record.
#[derive(Clone, Debug)]
pub struct ForwardSpec {
    /// The topics that each get a record.
    pub to: Vec<Arc<str>>,
    /// How many records in a thousand it declines, and the topic that then gets the only record.
    pub declines: Option<(u64, Arc<str>)>,
    /// How large the new records are.
    pub sizes: Sizes,
    /// The settings of its producer.
    pub config: ProducerConfig,
}

impl ForwardSpec {
    /// Where the consequences of a value go.
    fn targets(&self, seed: u64, from: ValueId) -> Vec<Arc<str>> {
        match &self.declines {
            Some((share, topic)) if below(draw(seed, Purpose::Decline, from.client(), from.index()), 1000) < *share => {
                vec![topic.clone()]
            }
            _ => self.to.clone(),
        }
    }
}

/// A send that has not been acknowledged.
#[derive(Debug)]
struct Step {
    from: ValueId,
    key: Option<Arc<[u8]>>,
    topic: Arc<str>,
}

/// The sending half of such a service.
#[derive(Debug)]
pub(super) struct Forwarder {
    spec: ForwardSpec,
    client: ClientId,
    seed: u64,
    producer: Producer,
    incarnation: Incarnation,
    sent: u64,
    /// By value.
    under_way: BTreeMap<u64, Step>,
    /// Those that were refused, to be tried again at that time.
    refused: Vec<Step>,
    again_at: Instant,
}

impl Forwarder {
    pub(super) fn new(spec: ForwardSpec, client: ClientId, seed: u64, reach: Reach, defects: Defects) -> Forwarder {
        let producer = Producer::new(spec.config.clone(), reach.bootstrap, reach.caps, defects);
        Forwarder {
            spec,
            client,
            seed,
            producer,
            incarnation: Incarnation(0),
            sent: 0,
            under_way: BTreeMap::new(),
            refused: Vec::new(),
            again_at: Instant::MAX,
        }
    }

    pub(super) fn start(&mut self, now: Now, rng: ChaCha8Rng, incarnation: Incarnation, out: &mut Outbox) {
        self.incarnation = incarnation;
        self.producer.start(now, rng);
        out.op(Op::Producer { facts: producer_facts(&self.spec.config) });
    }

    pub(super) fn on_input(&mut self, now: Now, input: Input, out: &mut Outbox) {
        let _not_ours = self.producer.on_input(now, input, out);
    }

    /// Whether something that follows from a record is not acknowledged yet.
    pub(super) fn is_busy(&self) -> bool {
        !self.under_way.is_empty() || !self.refused.is_empty()
    }

    /// How many sends are not acknowledged.
    pub(super) fn pending(&self) -> u64 {
        (self.under_way.len() + self.refused.len()) as u64
    }

    /// How its producer stands to the cluster.
    pub(super) fn reach(&self) -> ReachInspection {
        self.producer.reach()
    }

    /// Sends what follows from a record.
    pub(super) fn forward(&mut self, now: Now, from: ValueId, key: Option<&Arc<[u8]>>, out: &mut Outbox) {
        for topic in self.spec.targets(self.seed, from) {
            self.send(now, Step { from, key: key.cloned(), topic }, out);
        }
    }

    fn send(&mut self, now: Now, step: Step, out: &mut Outbox) {
        let value = nth_value(self.client, self.incarnation, self.sent);
        self.sent += 1;
        let bytes = encode_value(value, self.spec.sizes.size(self.seed, self.client, value.index()));
        let key = step.key.as_deref();
        let (topic, from) = (step.topic.clone(), Some(step.from));
        out.op(Op::Send { value, topic, partition: None, key: key.map(key_hash), tombstone: false, late_by: 0, from });
        let record = ProducerRecord {
            topic: &step.topic,
            partition: None,
            key,
            value: Some(&bytes),
            headers: &[],
            timestamp: None,
        };
        match self.producer.send(now, record, value.0, out) {
            Ok(()) => {
                self.under_way.insert(value.0, step);
            }
            Err(why) => {
                out.op(refused(value, None, &why));
                self.refused.push(step);
                self.again_at = now.mono + REFUSED_BACKOFF;
            }
        }
    }

    /// Takes results, and makes failed sends anew.
    pub(super) fn poll(&mut self, now: Now, out: &mut Outbox) {
        if now.mono >= self.again_at {
            self.again_at = Instant::MAX;
            for step in std::mem::take(&mut self.refused) {
                self.send(now, step, out);
            }
        }
        self.producer.poll(now, out);
        while let Some(event) = self.producer.next_event() {
            out.op(sent(&event));
            match event {
                ProducerEvent::Delivered { id, .. } => {
                    self.under_way.remove(&id);
                }
                ProducerEvent::Failed { id, .. } => {
                    if let Some(step) = self.under_way.remove(&id) {
                        self.send(now, step, out);
                    }
                }
            }
            self.producer.poll(now, out);
        }
        if self.again_at < Instant::MAX {
            out.wake_at(self.again_at);
        }
    }
}
