//! The final read: a fresh client reads each partition from its log start to a given end, and asks what groups have
//! committed.

use super::consumer::tell;
use super::{Reach, split};
use klamm_model::client::admin::{Admin, AdminConfig, AdminEvent};
use klamm_model::client::consumer::{Consumer, StartAt};
use klamm_model::config::ConsumerConfig;
use klamm_model::defects::Defects;
use klamm_model::history::{IsolationLevel, Op, TopicPartition};
use klamm_model::ids::{ClientId, Offset};
use klamm_model::inspect::{ClientInspection, Inspection};
use klamm_model::node::{Input, Node, Outbox, Output};
use klamm_model::units::Now;
use std::sync::Arc;

/// One partition to read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FinalPartition {
    /// Which.
    pub source: TopicPartition,
    /// Its log start.
    pub from: Offset,
    /// Its end, exclusive.
    pub to: Offset,
}

/// What is read.
#[derive(Clone, Debug)]
pub struct FinalReaderSpec {
    /// Its number in the run.
    pub client: ClientId,
    /// How it reaches the cluster.
    pub reach: Reach,
    /// What may be seen.
    pub isolation: IsolationLevel,
    /// What is read.
    pub partitions: Vec<FinalPartition>,
    /// Whose committed offsets are asked for.
    pub groups: Vec<Arc<str>>,
}

/// The application.
#[derive(Debug)]
pub struct FinalReaderApp {
    spec: FinalReaderSpec,
    consumer: Consumer,
    finished: Vec<bool>,
    admin: Admin,
    asked_groups: bool,
    open_groups: usize,
}

impl FinalReaderApp {
    /// A new process.
    pub fn new(spec: FinalReaderSpec) -> FinalReaderApp {
        let mut config = ConsumerConfig::kafka_defaults();
        config.isolation = spec.isolation;
        let consumer = Consumer::new(config, spec.reach.bootstrap.clone(), spec.reach.caps.clone(), Defects::NONE);
        let admin = Admin::new(AdminConfig::kafka_defaults(), spec.reach.bootstrap.clone(), spec.reach.caps.clone());
        let (finished, open_groups) = (vec![false; spec.partitions.len()], spec.groups.len());
        FinalReaderApp { finished, spec, consumer, admin, asked_groups: false, open_groups }
    }

    /// What has come of the questions about groups.
    fn group_offsets(&mut self, now: Now, out: &mut Outbox) {
        if self.open_groups == 0 {
            return;
        }
        if !self.asked_groups {
            self.asked_groups = true;
            for (id, group) in self.spec.groups.iter().enumerate() {
                self.admin.group_offsets(now, group.clone(), id as u64);
            }
        }
        self.admin.poll(now, out);
        while let Some(event) = self.admin.next_event() {
            match event {
                AdminEvent::GroupOffsets { group, offsets, .. } => {
                    self.open_groups -= 1;
                    for p in &self.spec.partitions {
                        let offset = offsets.get(&p.source).copied();
                        out.op(Op::GroupOffset { group: group.clone(), source: p.source.clone(), offset });
                    }
                }
                AdminEvent::Failed { id, .. } => {
                    let group = self.spec.groups[id as usize].clone();
                    self.admin.group_offsets(now, group, id);
                    self.admin.poll(now, out);
                }
                _ => {}
            }
        }
    }

    fn is_done(&self) -> bool {
        self.open_groups == 0 && self.finished.iter().all(|f| *f)
    }
}

impl Node for FinalReaderApp {
    fn handle(&mut self, now: Now, input: Input, out: &mut Outbox) {
        match input {
            Input::Start { mut rng, .. } => {
                self.consumer.start(now, split(&mut rng));
                if !self.spec.groups.is_empty() {
                    self.admin.start(now, split(&mut rng));
                }
                let assignment: Vec<_> =
                    self.spec.partitions.iter().map(|p| (p.source.clone(), StartAt::Offset(p.from))).collect();
                self.consumer.assign(now, &assignment);
            }
            Input::Shutdown => out.push(Output::Exit),
            other => {
                if let Some(input) = self.consumer.on_input(now, other, out) {
                    let _not_ours = self.admin.on_input(now, input, out);
                }
            }
        }
        self.group_offsets(now, out);
        self.consumer.poll(now, out);
        tell(&mut self.consumer, self.spec.isolation, now, out);
        for (partition, finished) in self.spec.partitions.iter().zip(&mut self.finished) {
            let position = self.consumer.position(&partition.source);
            if !*finished && (partition.from >= partition.to || position.is_some_and(|p| p >= partition.to)) {
                *finished = true;
                out.op(Op::FinalRead {
                    source: partition.source.clone(),
                    from: partition.from,
                    to: position.unwrap_or(partition.to),
                });
            }
        }
        if self.is_done() {
            self.consumer.close(now, out);
            self.admin.close(now, out);
        }
    }

    fn inspect(&self) -> Inspection {
        let positions = self
            .spec
            .partitions
            .iter()
            .filter_map(|p| {
                Some(((p.source.topic.to_string(), p.source.partition), self.consumer.position(&p.source)?))
            })
            .collect();
        let done = self.is_done();
        Inspection::Client(ClientInspection { positions, done, ..ClientInspection::default() })
    }
}
