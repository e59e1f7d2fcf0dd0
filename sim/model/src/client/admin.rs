//! The admin client: creates and describes topics, lists offsets.

use crate::history::{IsolationLevel, TopicPartition};
use crate::ids::{LeaderEpoch, NodeId, Offset, TopicId};
use crate::node::{Endpoint, Input, Outbox};
use crate::units::{Duration, Now};
use crate::versions::VersionCaps;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// `AdminClientConfig` of Kafka's Java client, as far as needed.
#[derive(Clone, PartialEq, Debug)]
pub struct AdminConfig {
    /// `request.timeout.ms`.
    pub request_timeout: Duration,
    /// `default.api.timeout.ms`: how long one operation may take, retries included.
    pub api_timeout: Duration,
    /// `retry.backoff.ms`.
    pub retry_backoff: Duration,
    /// `retry.backoff.max.ms`.
    pub retry_backoff_max: Duration,
    /// `reconnect.backoff.ms`.
    pub reconnect_backoff: Duration,
    /// `reconnect.backoff.max.ms`.
    pub reconnect_backoff_max: Duration,
    /// `socket.connection.setup.timeout.ms`.
    pub connection_setup_timeout: Duration,
}

impl AdminConfig {
    /// Kafka's defaults.
    pub const fn kafka_defaults() -> AdminConfig {
        AdminConfig {
            request_timeout: Duration::from_millis(30_000),
            api_timeout: Duration::from_millis(60_000),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_millis(1_000),
            reconnect_backoff: Duration::from_millis(50),
            reconnect_backoff_max: Duration::from_millis(1_000),
            connection_setup_timeout: Duration::from_millis(10_000),
        }
    }
}

/// A topic to create.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewTopic {
    /// Its name.
    pub name: Arc<str>,
    /// How many partitions.
    pub partitions: i32,
    /// How many replicas of each.
    pub replication: i16,
    /// Topic settings.
    pub configs: Vec<(String, String)>,
}

/// A topic as a broker describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicDescription {
    /// Its name.
    pub name: Arc<str>,
    /// Its id.
    pub id: TopicId,
    /// Its partitions, in order.
    pub partitions: Vec<PartitionDescription>,
}

/// A partition as a broker describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionDescription {
    /// Its index.
    pub partition: i32,
    /// Its leader, if it has one.
    pub leader: Option<NodeId>,
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// All replicas, preferred leader first.
    pub replicas: Vec<NodeId>,
    /// Those in sync.
    pub isr: Vec<NodeId>,
}

/// How an operation ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AdminEvent {
    /// A topic exists now (`TOPIC_ALREADY_EXISTS` after a repeated attempt included).
    TopicCreated {
        /// The application's name for the operation.
        id: u64,
        /// The topic's id, if the answer had it.
        topic_id: Option<TopicId>,
    },
    /// A topic's description.
    Topic {
        /// The application's name for the operation.
        id: u64,
        /// The description.
        topic: TopicDescription,
    },
    /// An offset.
    Offset {
        /// The application's name for the operation.
        id: u64,
        /// Topic and partition.
        source: TopicPartition,
        /// The topic's id, as metadata had it.
        topic_id: Option<TopicId>,
        /// The answer; none when no record is that young.
        offset: Option<Offset>,
        /// The leader epoch of the answer.
        leader_epoch: LeaderEpoch,
    },
    /// Given up.
    Failed {
        /// The application's name for the operation.
        id: u64,
        /// Kafka's name of the error.
        error: &'static str,
    },
}

/// An admin client.
#[derive(Debug)]
pub struct Admin {
    #[expect(dead_code)]
    config: AdminConfig,
}

impl Admin {
    /// An admin client that has not been started.
    pub fn new(config: AdminConfig, _bootstrap: Vec<Endpoint>, _caps: VersionCaps) -> Admin {
        Admin { config }
    }
    /// Starts it; `rng` is for jitter.
    pub fn start(&mut self, _now: Now, _rng: ChaCha8Rng) {}
    /// Creates a topic.
    pub fn create_topic(&mut self, _now: Now, _topic: NewTopic, _id: u64) {}
    /// Describes a topic.
    pub fn describe_topic(&mut self, _now: Now, _topic: Arc<str>, _id: u64) {}
    /// Asks for an offset: `query` is -1 for latest, -2 for earliest, else a time in milliseconds.
    pub fn list_offsets(
        &mut self,
        _now: Now,
        _source: TopicPartition,
        _query: i64,
        _isolation: IsolationLevel,
        _id: u64,
    ) {
    }
    /// Takes an input if it is this client's; gives it back if it is not.
    pub fn on_input(&mut self, _now: Now, input: Input, _out: &mut Outbox) -> Option<Input> {
        Some(input)
    }
    /// Does what is due and says the next deadline. Call after every input of the node, and after operations.
    pub fn poll(&mut self, _now: Now, _out: &mut Outbox) {}
    /// The next result.
    pub fn next_event(&mut self) -> Option<AdminEvent> {
        None
    }
    /// Closes every connection; operations under way are forgotten.
    pub fn close(&mut self, _now: Now, _out: &mut Outbox) {}
}
