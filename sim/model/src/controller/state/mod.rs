//! What the active controller knows and decides. No I/O: a request comes in, records and an answer come out.
//!
//! Decisions are made on the *working* image, which holds every record decided, committed or not; the *committed*
//! image follows when the quorum has the records, and only then does the answer leave. An answer that needs no record
//! still waits for what it was read from. Follows Kafka's `QuorumController` and its control managers.
//!
//! - `cluster`: registration, heartbeats, fencing; `replication`: leaders and in-sync replicas; `topics`: creation,
//!   `partitions`: more of them, `deletion`, `configs`: their settings;
//!   producer ids, here.

mod cluster;
mod configs;
mod deletion;
mod partitions;
mod replication;
#[cfg(test)]
mod tests;
mod topics;

pub(crate) use deletion::named as named_for_deletion;

use super::image::{ELR_FEATURE, Image, METADATA_VERSION_FEATURE, ReplayError};
use super::sessions::Sessions;
use super::spec::ControllerSpec;
use crate::config::{BrokerConfig, TopicConfig};
use crate::defects::Defect;
use crate::ids::*;
use crate::inspect::ControllerPartition;
use crate::limits::PRODUCER_ID_BLOCK;
use crate::record::schema::MetadataRecord;
use crate::units::Instant;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{AllocateProducerIdsRequest, AllocateProducerIdsResponse};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// Kafka's `metadata.version` 4.0-IV3.
const METADATA_VERSION: i16 = 25;

/// How often a request names what it names.
fn counted<K: Ord>(names: impl IntoIterator<Item = K>) -> BTreeMap<K, usize> {
    let mut named = BTreeMap::new();
    for name in names {
        *named.entry(name).or_default() += 1;
    }
    named
}

/// The refusal of what is named more than once.
fn twice<T>() -> Result<T, topics::Refusal> {
    Err((ResponseError::InvalidRequest, "the request names it twice".to_owned()))
}

/// What was decided.
#[derive(Clone, PartialEq, Debug)]
pub struct Decided<T> {
    /// To be appended as one batch, from the offset that the decision was told.
    pub records: Vec<MetadataRecord>,
    /// Situations worth a mark.
    pub marks: Vec<&'static str>,
    /// The answer, for when all of it is committed.
    pub reply: T,
}

impl<T> Decided<T> {
    /// No records, only an answer.
    pub fn nothing(reply: T) -> Decided<T> {
        Decided { records: Vec::new(), marks: Vec::new(), reply }
    }
    /// With the answer turned into another.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Decided<U> {
        Decided { records: self.records, marks: self.marks, reply: f(self.reply) }
    }
}

/// Records and marks while a decision is being made.
#[derive(Default, Debug)]
struct Batch {
    records: Vec<MetadataRecord>,
    marks: Vec<&'static str>,
}

impl Batch {
    fn mark(&mut self, mark: &'static str) {
        self.marks.push(mark);
    }
    fn reply<T>(self, reply: T) -> Decided<T> {
        Decided { records: self.records, marks: self.marks, reply }
    }
}

/// The controller's knowledge.
#[derive(Debug)]
pub struct State {
    spec: ControllerSpec,
    working: Image,
    committed: Image,
    sessions: Sessions,
    /// Where each broker's latest registration lies.
    registered_at: BTreeMap<NodeId, Offset>,
}

impl State {
    /// Nothing yet.
    pub fn new(spec: ControllerSpec) -> State {
        let sessions = Sessions::new(spec.config.session_timeout);
        let (working, committed) = (Image::new(), Image::new());
        State { spec, working, committed, sessions, registered_at: BTreeMap::new() }
    }

    /// What the committed records add up to.
    pub fn committed(&self) -> &Image {
        &self.committed
    }
    /// What all records decided add up to.
    pub fn working(&self) -> &Image {
        &self.working
    }

    /// A record was appended (or read back from the log).
    ///
    /// # Errors
    /// It does not fit what came before it.
    pub fn appended(&mut self, offset: Offset, epoch: LeaderEpoch, record: &MetadataRecord) -> Result<(), ReplayError> {
        self.working.replay(offset, epoch, record)?;
        match record {
            MetadataRecord::RegisterBroker(r) => {
                self.registered_at.insert(r.broker_id, offset);
            }
            MetadataRecord::UnregisterBroker { broker_id, .. } => {
                self.registered_at.remove(broker_id);
            }
            _ => {}
        }
        Ok(())
    }
    /// A record was committed.
    ///
    /// # Errors
    /// It does not fit what came before it.
    pub fn commit(&mut self, offset: Offset, epoch: LeaderEpoch, record: &MetadataRecord) -> Result<(), ReplayError> {
        self.committed.replay(offset, epoch, record).map(|_| ())
    }
    /// A control record was appended.
    pub fn appended_control(&mut self, offset: Offset, epoch: LeaderEpoch) {
        self.working.advance(offset, epoch);
    }
    /// A control record was committed.
    pub fn commit_control(&mut self, offset: Offset, epoch: LeaderEpoch) {
        self.committed.advance(offset, epoch);
    }

    /// This controller is active from now on: every broker gets a full session, and a new cluster its features.
    pub fn activate(&mut self, now: Instant) -> Decided<()> {
        for (id, broker) in self.working.brokers() {
            let fenced = broker.fenced || self.spec.defects.on(Defect::SessionsStartFenced);
            self.sessions.start(id, fenced, now);
        }
        let mut batch = Batch::default();
        if self.working.feature(METADATA_VERSION_FEATURE) == 0 {
            let feature = |name: &str, level| MetadataRecord::FeatureLevel { name: name.to_owned(), level };
            batch.records.push(feature(METADATA_VERSION_FEATURE, METADATA_VERSION));
            if self.spec.elr {
                batch.records.push(feature(ELR_FEATURE, 1));
            }
        }
        batch.reply(())
    }

    /// AllocateProducerIds: the next block, never given twice (`ProducerIdControlManager`).
    pub fn allocate_producer_ids(&self, request: &AllocateProducerIdsRequest) -> Decided<AllocateProducerIdsResponse> {
        let (broker_id, broker_epoch) = (NodeId(request.broker_id.0), BrokerEpoch(request.broker_epoch));
        let mut batch = Batch::default();
        let mut response = AllocateProducerIdsResponse::default();
        match self.check_broker_epoch(broker_id, broker_epoch) {
            Err(error) => response.error_code = error.code(),
            Ok(()) => {
                let start = self.working.next_producer_id();
                let next_producer_id = start + i64::from(PRODUCER_ID_BLOCK);
                batch.records.push(MetadataRecord::ProducerIds { broker_id, broker_epoch, next_producer_id });
                response.producer_id_start = start.into();
                response.producer_id_len = PRODUCER_ID_BLOCK;
            }
        }
        batch.reply(response)
    }

    /// A broker speaks for its latest registration only.
    fn check_broker_epoch(&self, id: NodeId, epoch: BrokerEpoch) -> Result<(), ResponseError> {
        match self.working.broker(id) {
            Some(broker) if broker.epoch == epoch => Ok(()),
            _ => Err(ResponseError::StaleBrokerEpoch),
        }
    }

    /// A topic's settings over the cluster's.
    fn effective_config(&self, topic: &str) -> BrokerConfig {
        match self.working.topic_config(topic) {
            // What is in the log was validated before it came there.
            Some(set) => TopicConfig::examined(set).over(&self.spec.config),
            None => self.spec.config.clone(),
        }
    }

    /// Brokers as (id, epoch, fenced, in controlled shutdown), committed.
    pub fn inspect_brokers(&self) -> Vec<(NodeId, BrokerEpoch, bool, bool)> {
        self.committed.brokers().map(|(id, b)| (id, b.epoch, b.fenced, b.in_controlled_shutdown)).collect()
    }
    /// Partitions, committed.
    pub fn inspect_partitions(&self) -> Vec<ControllerPartition> {
        let partition = |(id, p): (TopicIdPartition, &super::image::PartitionImage)| ControllerPartition {
            partition: id,
            topic: self.committed.topic_name(id.topic).unwrap_or_default().to_owned(),
            replicas: p.replicas.clone(),
            isr: p.isr.clone(),
            elr: p.elr.clone(),
            leader: p.leader,
            leader_epoch: p.leader_epoch,
            partition_epoch: p.partition_epoch,
        };
        self.committed.partitions().map(partition).collect()
    }
}

/// A random id, none of those that Kafka reserves.
fn random_uuid(rng: &mut ChaCha8Rng) -> Uuid {
    use rand::RngExt;
    uuid::Builder::from_random_bytes(rng.random()).into_uuid()
}
