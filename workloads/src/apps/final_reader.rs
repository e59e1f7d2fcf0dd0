//! The final read: a fresh client reads each partition from its log start to a given end.

use super::consumer::tell;
use super::{Reach, split};
use klamm_model::client::consumer::{Consumer, StartAt};
use klamm_model::config::ConsumerConfig;
use klamm_model::history::{IsolationLevel, Op, TopicPartition};
use klamm_model::ids::{ClientId, Offset};
use klamm_model::inspect::{ClientInspection, Inspection};
use klamm_model::node::{Input, Node, Outbox, Output};
use klamm_model::units::Now;

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
}

/// The application.
#[derive(Debug)]
pub struct FinalReaderApp {
    spec: FinalReaderSpec,
    consumer: Consumer,
    finished: Vec<bool>,
}

impl FinalReaderApp {
    /// A new process.
    pub fn new(spec: FinalReaderSpec) -> FinalReaderApp {
        let mut config = ConsumerConfig::kafka_defaults();
        config.isolation = spec.isolation;
        let consumer = Consumer::new(config, spec.reach.bootstrap.clone(), spec.reach.caps.clone());
        FinalReaderApp { finished: vec![false; spec.partitions.len()], spec, consumer }
    }
}

impl Node for FinalReaderApp {
    fn handle(&mut self, now: Now, input: Input, out: &mut Outbox) {
        match input {
            Input::Start { mut rng, .. } => {
                self.consumer.start(now, split(&mut rng));
                let assignment: Vec<_> =
                    self.spec.partitions.iter().map(|p| (p.source.clone(), StartAt::Offset(p.from))).collect();
                self.consumer.assign(now, &assignment);
            }
            Input::Shutdown => out.push(Output::Exit),
            other => {
                let _not_ours = self.consumer.on_input(now, other, out);
            }
        }
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
        if self.finished.iter().all(|f| *f) {
            self.consumer.close(now, out);
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
        let done = self.finished.iter().all(|f| *f);
        Inspection::Client(ClientInspection { positions, done, ..ClientInspection::default() })
    }
}
