//! Reads every partition of a topic from its start, and asks now and then where partitions begin and end.

use super::{Reach, read_record, split};
use crate::load::{Purpose, draw};
use klamm_model::client::admin::{Admin, AdminConfig, AdminEvent};
use klamm_model::client::consumer::{Consumer, ConsumerEvent, StartAt};
use klamm_model::config::ConsumerConfig;
use klamm_model::defects::Defects;
use klamm_model::history::{IsolationLevel, Op, ReadRecord, TopicPartition};
use klamm_model::ids::ClientId;
use klamm_model::inspect::{ClientInspection, Inspection};
use klamm_model::node::{Input, Node, Outbox, Output};
use klamm_model::units::{Duration, Instant, Now};
use std::collections::BTreeMap;

/// What a consumer application does.
#[derive(Clone, Debug)]
pub struct ConsumerAppSpec {
    /// Its number in the run.
    pub client: ClientId,
    /// The run's seed, for keyed draws.
    pub seed: u64,
    /// How it reaches the cluster.
    pub reach: Reach,
    /// Its settings.
    pub config: ConsumerConfig,
    /// Defects switched on.
    pub defects: Defects,
    /// What it reads, each from where.
    pub partitions: Vec<(TopicPartition, StartAt)>,
    /// How often it asks for offsets.
    pub list_offsets_every: Option<Duration>,
    /// Whether it is an instance of a read model: it keeps the latest value of each key in memory, and reads everything
    /// anew whenever it starts. What it holds follows from what it polls, which the history tells.
    pub read_model: bool,
}

/// The application.
#[derive(Debug)]
pub struct ConsumerApp {
    spec: ConsumerAppSpec,
    consumer: Consumer,
    admin: Option<Admin>,
    asked: u64,
    queries: BTreeMap<u64, i64>,
    next_ask: Instant,
}

impl ConsumerApp {
    /// A new process.
    pub fn new(spec: ConsumerAppSpec) -> ConsumerApp {
        let reach = spec.reach.clone();
        let consumer = Consumer::new(spec.config.clone(), reach.bootstrap.clone(), reach.caps.clone(), spec.defects);
        let admin = spec
            .list_offsets_every
            .map(|_| Admin::new(AdminConfig::kafka_defaults(), reach.bootstrap.clone(), reach.caps.clone()));
        ConsumerApp { spec, consumer, admin, asked: 0, queries: BTreeMap::new(), next_ask: Instant::MAX }
    }

    /// Asks for the latest offset of one partition, and now and then for the earliest.
    fn ask(&mut self, now: Now, out: &mut Outbox) {
        let (Some(admin), Some(every)) = (&mut self.admin, self.spec.list_offsets_every) else { return };
        if now.mono >= self.next_ask {
            self.asked += 1;
            let draw = draw(self.spec.seed, Purpose::Other, self.spec.client, self.asked);
            let (source, _) = &self.spec.partitions[(draw % self.spec.partitions.len() as u64) as usize];
            let query = if (draw >> 32).is_multiple_of(8) { -2 } else { -1 };
            self.queries.insert(self.asked, query);
            out.op(Op::AskOffset { ask: self.asked });
            admin.list_offsets(now, source.clone(), query, IsolationLevel::ReadUncommitted, self.asked);
            self.next_ask = now.mono + every;
        }
        out.wake_at(self.next_ask);
    }

    fn answers(&mut self, now: Now, out: &mut Outbox) {
        let Some(admin) = &mut self.admin else { return };
        admin.poll(now, out);
        while let Some(event) = admin.next_event() {
            match event {
                AdminEvent::Offset { id, source, topic_id, offset, leader_epoch } => {
                    let query = self.queries.remove(&id).unwrap_or(-1);
                    if let Some(offset) = offset {
                        let isolation = IsolationLevel::ReadUncommitted;
                        out.op(Op::ListOffsets { ask: id, source, topic_id, isolation, query, offset, leader_epoch });
                    }
                }
                AdminEvent::Failed { id, .. } => {
                    self.queries.remove(&id);
                }
                _ => {}
            }
        }
    }
}

/// Hands a consumer's events and records to the history, until there are no more.
pub(super) fn tell(consumer: &mut Consumer, isolation: IsolationLevel, now: Now, out: &mut Outbox) {
    loop {
        while let Some(event) = consumer.next_event() {
            // The rest is news for people, or for members of groups.
            if let ConsumerEvent::Position { source, offset, reason } = event {
                out.op(Op::Position { source, offset, reason });
            }
        }
        let mut batch: Option<(TopicPartition, Vec<ReadRecord>)> = None;
        let count = consumer.poll_records(now, |source, record| {
            let read = read_record(&record);
            match &mut batch {
                Some((current, records)) if current == source => records.push(read),
                _ => {
                    if let Some((source, records)) = batch.replace((source.clone(), vec![read])) {
                        out.op(Op::Poll { source, isolation, records });
                    }
                }
            }
        });
        if let Some((source, records)) = batch {
            out.op(Op::Poll { source, isolation, records });
        }
        consumer.poll(now, out);
        if count == 0 {
            break;
        }
    }
}

impl Node for ConsumerApp {
    fn handle(&mut self, now: Now, input: Input, out: &mut Outbox) {
        match input {
            Input::Start { mut rng, .. } => {
                if self.spec.read_model {
                    let mut topics: Vec<_> = self.spec.partitions.iter().map(|(p, _)| p.topic.clone()).collect();
                    topics.dedup();
                    out.op(Op::ReadModel { topics });
                }
                self.consumer.start(now, split(&mut rng));
                self.consumer.assign(now, &self.spec.partitions);
                if let (Some(admin), Some(every)) = (&mut self.admin, self.spec.list_offsets_every) {
                    admin.start(now, split(&mut rng));
                    self.next_ask = now.mono + every;
                }
            }
            Input::Shutdown => out.push(Output::Exit),
            other => {
                let rest = self.consumer.on_input(now, other, out);
                if let (Some(input), Some(admin)) = (rest, &mut self.admin) {
                    let _not_ours = admin.on_input(now, input, out);
                }
            }
        }
        tell(&mut self.consumer, self.spec.config.isolation, now, out);
        self.ask(now, out);
        self.answers(now, out);
    }

    fn inspect(&self) -> Inspection {
        let positions: BTreeMap<_, _> = self
            .spec
            .partitions
            .iter()
            .filter_map(|(p, _)| Some(((p.topic.to_string(), p.partition), self.consumer.position(p)?)))
            .collect();
        let unplaced = (self.spec.partitions.len() - positions.len()) as u64;
        let reach = self.admin.iter().map(Admin::reach).chain([self.consumer.reach()]).collect();
        Inspection::Client(ClientInspection { positions, unplaced, done: true, reach, ..ClientInspection::default() })
    }
}
