//! A broker's (and controller's) settings, and a topic's, which fall back on the broker's.

use super::{FromConfig, Properties, Ratio, Scope, config};
use crate::units::Duration;

config! {
    /// A broker's or controller's settings. Sizes in bytes.
    BrokerConfig(Scope::Broker) {
        /// Replicas that must be in sync for acks=all.
        "min.insync.replicas" min_insync_replicas: u32 = "1";
        /// Whether a replica that is not in sync may lead.
        "unclean.leader.election.enable" unclean_leader_election: bool = "false";
        /// How long a follower may lag before it leaves the ISR.
        "replica.lag.time.max.ms" replica_lag_time_max: Duration = "30000";
        /// How long a leader may hold a follower's fetch.
        "replica.fetch.wait.max.ms" replica_fetch_wait_max: Duration = "500";
        /// Bytes a follower waits for.
        "replica.fetch.min.bytes" replica_fetch_min_bytes: i32 = "1";
        /// Bytes a follower asks for from one partition.
        "replica.fetch.max.bytes" replica_fetch_max_bytes: i32 = "1048576";
        /// Bytes a follower asks for at once.
        "replica.fetch.response.max.bytes" replica_fetch_response_max_bytes: i32 = "10485760";
        /// A fetcher's pause after an error.
        "replica.fetch.backoff.ms" replica_fetch_backoff: Duration = "1000";
        /// How long a follower waits for its leader's answer.
        "replica.socket.timeout.ms" replica_socket_timeout: Duration = "30000";
        /// How often high watermarks are checkpointed.
        "replica.high.watermark.checkpoint.interval.ms" hw_checkpoint_interval: Duration = "5000";
        /// How often recovery points are checkpointed.
        "log.flush.offset.checkpoint.interval.ms" recovery_checkpoint_interval: Duration = "60000";
        /// How often log starts are checkpointed.
        "log.flush.start.offset.checkpoint.interval.ms" log_start_checkpoint_interval: Duration = "60000";
        /// Records after which a log is flushed (never, by default: replication is the durability).
        "log.flush.interval.messages" flush_messages: i64 = "9223372036854775807";
        /// Time after which a log is flushed; empty: never.
        "log.flush.interval.ms" flush_interval: Option<Duration> = "";
        /// Size at which a segment is closed.
        "log.segment.bytes" segment_bytes: u64 = "1073741824";
        /// Age at which a segment is closed (Kafka: `log.roll.hours` x 60).
        "log.roll.ms" roll: Duration = "604800000";
        /// Bytes between two entries of an index.
        "log.index.interval.bytes" index_interval_bytes: u64 = "4096";
        /// Bytes kept in a partition; -1: no limit.
        "log.retention.bytes" retention_bytes: i64 = "-1";
        /// How long records are kept; -1: for ever.
        "log.retention.ms" retention: Duration = "604800000";
        /// How often retention is applied.
        "log.retention.check.interval.ms" retention_check_interval: Duration = "300000";
        /// What becomes of old records: `delete`, `compact`, or both with a comma.
        "log.cleanup.policy" cleanup_policy: String = "delete";
        /// Whether logs are compacted at all.
        "log.cleaner.enable" cleaner_enable: bool = "true";
        /// The share of a log that must not have been compacted yet before it is, 0 to 1.
        "log.cleaner.min.cleanable.ratio" min_cleanable_ratio: Ratio = "0.5";
        /// How long a record stays uncompacted at least.
        "log.cleaner.min.compaction.lag.ms" min_compaction_lag: Duration = "0";
        /// How long tombstones are kept after they were compacted.
        "log.cleaner.delete.retention.ms" delete_retention: Duration = "86400000";
        /// How long the cleaner rests when there is nothing to do.
        "log.cleaner.backoff.ms" cleaner_backoff: Duration = "15000";
        /// How long a deleted segment's files stay.
        "log.segment.delete.delay.ms" segment_delete_delay: Duration = "60000";
        /// The largest record batch.
        "message.max.bytes" message_max_bytes: i32 = "1048588";
        /// How long an idle producer's state is kept.
        "producer.id.expiration.ms" producer_id_expiration: Duration = "86400000";
        /// How often expired producers are looked for.
        "producer.id.expiration.check.interval.ms" producer_id_expiration_check: Duration = "600000";
        /// Bytes of one consumer's fetch.
        "fetch.max.bytes" fetch_max_bytes: i32 = "57671680";
        /// How often a broker reports to the controller.
        "broker.heartbeat.interval.ms" heartbeat_interval: Duration = "2000";
        /// How long a broker may be silent before it is fenced.
        "broker.session.timeout.ms" session_timeout: Duration = "9000";
        /// How long a starting broker tries to register.
        "initial.broker.registration.timeout.ms" registration_timeout: Duration = "60000";
        /// How long a broker waits for the controller's answer.
        "controller.socket.timeout.ms" controller_socket_timeout: Duration = "30000";
        /// How long a voter or observer waits for a fetch.
        "controller.quorum.fetch.timeout.ms" quorum_fetch_timeout: Duration = "2000";
        /// How long a quorum request may go unanswered.
        "controller.quorum.request.timeout.ms" quorum_request_timeout: Duration = "2000";
        /// Pause between quorum requests after an error.
        "controller.quorum.retry.backoff.ms" quorum_retry_backoff: Duration = "20";
        /// How long a controlled shutdown may take before the broker just stops.
        "controlled.shutdown.enable" controlled_shutdown: bool = "true";
        /// Partitions of a topic created without a number.
        "num.partitions" num_partitions: i32 = "1";
        /// Replicas of a topic created without a number.
        "default.replication.factor" default_replication_factor: i32 = "1";
        /// Whether asking for a topic's metadata creates it.
        "auto.create.topics.enable" auto_create_topics: bool = "true";
        /// Partitions of the offsets topic.
        "offsets.topic.num.partitions" offsets_topic_partitions: i32 = "50";
        /// Replicas of the offsets topic.
        "offsets.topic.replication.factor" offsets_topic_replication: i32 = "3";
        /// Segments of the offsets topic.
        "offsets.topic.segment.bytes" offsets_topic_segment_bytes: u64 = "104857600";
        /// Bytes read at once while a coordinator loads.
        "offsets.load.buffer.size" offsets_load_buffer: u64 = "5242880";
        /// How long a coordinator waits for a commit to be replicated.
        "offsets.commit.timeout.ms" offsets_commit_timeout: Duration = "5000";
        /// How long offsets outlive their group (KIP-211), minutes.
        "offsets.retention.minutes" offsets_retention_minutes: u64 = "10080";
        /// How often expired offsets are looked for.
        "offsets.retention.check.interval.ms" offsets_retention_check: Duration = "600000";
        /// The longest note with an offset, bytes.
        "offset.metadata.max.bytes" offset_metadata_max: usize = "4096";
        /// How long an empty classic group waits for more members.
        "group.initial.rebalance.delay.ms" group_initial_rebalance_delay: Duration = "3000";
        /// The shortest session a classic member may ask for.
        "group.min.session.timeout.ms" group_min_session: Duration = "6000";
        /// The longest session a classic member may ask for.
        "group.max.session.timeout.ms" group_max_session: Duration = "1800000";
        /// The most members of a classic group.
        "group.max.size" group_max_size: i32 = "2147483647";
        /// How long a KIP-848 member may be silent.
        "group.consumer.session.timeout.ms" group_consumer_session: Duration = "45000";
        /// How often a KIP-848 member shall report.
        "group.consumer.heartbeat.interval.ms" group_consumer_heartbeat: Duration = "5000";
        /// The most members of a KIP-848 group.
        "group.consumer.max.size" group_consumer_max_size: i32 = "2147483647";
        /// The coordinator's assignors, the first for members that do not choose.
        "group.consumer.assignors" group_consumer_assignors: String = "uniform,range";
        /// The broker's rack.
        "broker.rack" rack: Option<String> = "";
    }
    and {
        /// Whether topics may have smaller segments than Kafka lets them have: a simulated run writes little.
        small_segments: bool = false;
    }
}

impl BrokerConfig {
    /// Whether `cleanup.policy` names this one.
    pub fn has_policy(&self, policy: &str) -> bool {
        self.cleanup_policy.split(',').any(|p| p.trim() == policy)
    }

    /// Settings that are read where they matter, or that bound others.
    const ALSO: &[&str] = &[
        "log.flush.scheduler.interval.ms",
        "log.retention.hours",
        "log.retention.minutes",
        "log.roll.hours",
        "group.consumer.max.heartbeat.interval.ms",
        "group.consumer.max.session.timeout.ms",
        "group.consumer.min.heartbeat.interval.ms",
        "group.consumer.min.session.timeout.ms",
    ];

    /// What is said in hours or minutes counts where nothing is said in milliseconds.
    fn complete(&mut self, given: &Properties) {
        let number = |key: &str| given.get(key).and_then(|text| i64::from_config(text).ok());
        let in_ms = |(key, unit): (&str, i64)| number(key).map(|n| n.saturating_mul(unit));
        let hour = 3_600_000;
        let retention = [("log.retention.ms", 1), ("log.retention.minutes", 60_000), ("log.retention.hours", hour)];
        if let Some(ms) = retention.into_iter().find_map(in_ms) {
            self.retention = kept_for(ms);
        }
        if let Some(ms) = [("log.roll.ms", 1), ("log.roll.hours", hour)].into_iter().find_map(in_ms) {
            self.roll = Duration::from_millis(ms.max(0) as u64);
        }
        if self.flush_interval.is_none() {
            self.flush_interval =
                number("log.flush.scheduler.interval.ms").map(|ms| Duration::from_millis(ms.max(0) as u64));
        }
    }
}

/// A retention: negative is for ever.
fn kept_for(ms: i64) -> Duration {
    if ms < 0 || ms == i64::MAX { Duration::MAX } else { Duration::from_millis(ms as u64) }
}

config! {
    /// A topic's own settings; what is left empty is the broker's. Sizes in bytes.
    TopicConfig(Scope::Topic) {
        /// Replicas that must be in sync for acks=all.
        "min.insync.replicas" min_insync_replicas: Option<u32> = "";
        /// Whether a replica that is not in sync may lead.
        "unclean.leader.election.enable" unclean_leader_election: Option<bool> = "";
        /// `delete`, `compact`, or both with a comma; a log that is only compacted keeps its records whatever their age.
        "cleanup.policy" cleanup_policy: Option<String> = "";
        /// The share of a log that must not have been compacted yet before it is, 0 to 1.
        "min.cleanable.dirty.ratio" min_cleanable_ratio: Option<Ratio> = "";
        /// How long a record stays uncompacted at least.
        "min.compaction.lag.ms" min_compaction_lag: Option<Duration> = "";
        /// How long tombstones are kept after they were compacted.
        "delete.retention.ms" delete_retention: Option<Duration> = "";
        /// Size at which a segment is closed.
        "segment.bytes" segment_bytes: Option<u64> = "";
        /// Age at which a segment is closed.
        "segment.ms" roll: Option<Duration> = "";
        /// Bytes between two entries of an index.
        "index.interval.bytes" index_interval_bytes: Option<u64> = "";
        /// Bytes kept in a partition.
        "retention.bytes" retention_bytes: Option<i64> = "";
        /// How long records are kept.
        "retention.ms" retention: Option<Duration> = "";
        /// How long a deleted segment's files stay.
        "file.delete.delay.ms" segment_delete_delay: Option<Duration> = "";
        /// The largest record batch.
        "max.message.bytes" message_max_bytes: Option<i32> = "";
        /// Records after which the log is flushed.
        "flush.messages" flush_messages: Option<i64> = "";
        /// Time after which the log is flushed.
        "flush.ms" flush_interval: Option<Duration> = "";
    }
}

impl TopicConfig {
    /// Settings that are read where they matter.
    const ALSO: &[&str] = &["internal.segment.bytes"];

    fn complete(&mut self, given: &Properties) {
        let number = |key: &str| given.get(key).and_then(|text| i64::from_config(text).ok());
        if let Some(ms) = number("retention.ms") {
            self.retention = Some(kept_for(ms));
        }
        // Kafka's own way to small segments in tests.
        if let Some(bytes) = number("internal.segment.bytes") {
            self.segment_bytes = Some(bytes.max(1) as u64);
        }
    }

    /// Settings that a controller has examined before.
    pub fn examined(properties: &Properties) -> TopicConfig {
        TopicConfig::settle(properties).0
    }

    /// The broker's settings with this topic's in their place.
    #[must_use]
    pub fn over(&self, broker: &BrokerConfig) -> BrokerConfig {
        let mut c = broker.clone();
        macro_rules! take { ($($f:ident),*) => { $(if let Some(v) = self.$f.clone() { c.$f = v; })* } }
        take!(min_insync_replicas, unclean_leader_election, segment_bytes, roll, index_interval_bytes, retention_bytes);
        take!(retention, segment_delete_delay, message_max_bytes, flush_messages);
        take!(cleanup_policy, min_cleanable_ratio, min_compaction_lag, delete_retention);
        if self.flush_interval.is_some() {
            c.flush_interval = self.flush_interval;
        }
        if !c.has_policy("delete") {
            c.retention = Duration::MAX;
            c.retention_bytes = -1;
        }
        c
    }
}
