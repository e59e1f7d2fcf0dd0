//! Client applications: nodes that embed the client library, put load on a cluster and tell what they saw.
//!
//! Each is told everything when it is made; none knows of faults or of other applications. What it did and saw
//! leaves as operations of the history (`klamm_model::history::Op`), which is all that oracles get.

mod consumer;
mod final_reader;
mod forward;
mod grower;
mod member;
mod probe;
mod producer;
mod setup;

pub use consumer::{ConsumerApp, ConsumerAppSpec};
pub use final_reader::{FinalPartition, FinalReaderApp, FinalReaderSpec};
pub use forward::ForwardSpec;
pub use grower::{GrowerApp, GrowerSpec};
pub use member::{CommitStyle, GroupMemberApp, GroupMemberSpec, Stall};
pub use probe::{ProbeApp, ProbeSpec};
pub use producer::{Pace, PartitionChoice, ProducerApp, ProducerAppSpec};
pub use setup::{SetupApp, SetupSpec};

use crate::load::{decode_value, key_hash};
use klamm_model::client::consumer::ConsumerRecord;
use klamm_model::client::producer::ProducerEvent;
use klamm_model::config::ProducerConfig;
use klamm_model::history::{Op, Outcome, ProducerFacts, ReadRecord, ValueId};
use klamm_model::ids::{ClientId, Incarnation};
use klamm_model::node::Endpoint;
use klamm_model::versions::VersionCaps;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// What every application needs to reach the cluster.
#[derive(Clone, Debug)]
pub struct Reach {
    /// `bootstrap.servers`.
    pub bootstrap: Vec<Endpoint>,
    /// The highest versions this client admits to.
    pub caps: VersionCaps,
}

/// The header that says which send a tombstone is.
const TOMBSTONE_ID: &str = "klamm-id";

/// A client number that no application has: values under it were never sent.
const NOBODY: ClientId = ClientId((1 << 20) - 1);

/// A record as the history tells it. A value that does not verify becomes one that nobody sent.
fn read_record(record: &ConsumerRecord<'_>) -> ReadRecord {
    // A tombstone has no value to bear its id: a header does.
    let named = || record.headers.filter_map(Result::ok).find(|(key, _)| *key == TOMBSTONE_ID).and_then(|(_, id)| id);
    let value = record.value.or_else(named).unwrap_or_default();
    ReadRecord {
        offset: record.offset,
        leader_epoch: record.leader_epoch,
        value: decode_value(value).unwrap_or_else(|_| ValueId::new(NOBODY, key_hash(value))),
        key: record.key.map(key_hash),
        timestamp: record.timestamp.0,
    }
}

/// A send's end as the history tells it.
fn sent(event: &ProducerEvent) -> Op {
    match *event {
        ProducerEvent::Delivered { id, partition, offset, attempts, producer_id, acknowledged } => Op::Sent {
            value: ValueId(id),
            // acks=0 is never acknowledged: it was sent, and that is all that is known.
            outcome: if acknowledged { Outcome::Ok } else { Outcome::Info },
            partition: Some(partition),
            offset,
            attempts,
            producer_id,
            error: None,
        },
        ProducerEvent::Failed { id, error, definite, partition, attempts, producer_id } => Op::Sent {
            value: ValueId(id),
            outcome: if definite { Outcome::Fail } else { Outcome::Info },
            partition,
            offset: None,
            attempts,
            producer_id,
            error: Some(error.into()),
        },
    }
}

/// What a producer promises by its settings.
fn producer_facts(config: &ProducerConfig) -> ProducerFacts {
    ProducerFacts {
        acks: config.acks,
        idempotent: config.enable_idempotence,
        max_in_flight: config.max_in_flight,
        resolves_within: config.delivery_timeout.saturating_add(config.max_block).as_nanos(),
    }
}

/// The n-th value of a process. One that was started again goes on far from where the old one stopped: values are unique
/// over a run.
fn nth_value(client: ClientId, incarnation: Incarnation, n: u64) -> ValueId {
    ValueId::new(client, (u64::from(incarnation.0 - 1) << 32) + n)
}

/// A send that the client library refused at once.
fn refused(value: ValueId, partition: Option<i32>, why: &impl std::fmt::Display) -> Op {
    Op::Sent {
        value,
        outcome: Outcome::Fail,
        partition,
        offset: None,
        attempts: 0,
        producer_id: None,
        error: Some(why.to_string().into()),
    }
}

/// Splits a node's stream, so that the parts of an application draw independently.
fn split(rng: &mut ChaCha8Rng) -> ChaCha8Rng {
    ChaCha8Rng::from_rng(rng)
}
