//! `ConsumerConfig` of Kafka's Java client.

use super::{Expected, FromConfig, Properties, Scope, config};
use crate::history::IsolationLevel;
use crate::units::Duration;

/// Where to read from when there is no valid position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AutoOffsetReset {
    /// From the log start.
    Earliest,
    /// From the high watermark.
    Latest,
    /// Tell the application.
    None,
}

impl FromConfig for AutoOffsetReset {
    fn from_config(text: &str) -> Result<Self, Expected> {
        match text.trim() {
            "earliest" => Ok(AutoOffsetReset::Earliest),
            "latest" => Ok(AutoOffsetReset::Latest),
            "none" => Ok(AutoOffsetReset::None),
            _ => Err(Expected("`earliest`, `latest` or `none`")),
        }
    }
    fn to_config(&self) -> String {
        let text = match self {
            AutoOffsetReset::Earliest => "earliest",
            AutoOffsetReset::Latest => "latest",
            AutoOffsetReset::None => "none",
        };
        text.to_owned()
    }
}

/// Which protocol a group member speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GroupProtocol {
    /// JoinGroup and SyncGroup: the members assign.
    Classic,
    /// ConsumerGroupHeartbeat (KIP-848): the coordinator assigns.
    Consumer,
}

impl FromConfig for GroupProtocol {
    fn from_config(text: &str) -> Result<Self, Expected> {
        match text.trim().to_ascii_lowercase().as_str() {
            "classic" => Ok(GroupProtocol::Classic),
            "consumer" => Ok(GroupProtocol::Consumer),
            _ => Err(Expected("`classic` or `consumer`")),
        }
    }
    fn to_config(&self) -> String {
        let text = match self {
            GroupProtocol::Classic => "classic",
            GroupProtocol::Consumer => "consumer",
        };
        text.to_owned()
    }
}

/// An assignor of classic groups, by its protocol name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Assignor {
    /// `RangeAssignor`.
    Range,
    /// `RoundRobinAssignor`.
    RoundRobin,
    /// `StickyAssignor`.
    Sticky,
    /// `CooperativeStickyAssignor` (KIP-429).
    CooperativeSticky,
}

impl Assignor {
    /// Every one.
    pub const ALL: [Assignor; 4] =
        [Assignor::Range, Assignor::RoundRobin, Assignor::Sticky, Assignor::CooperativeSticky];

    /// Its name in JoinGroup.
    pub const fn name(self) -> &'static str {
        match self {
            Assignor::Range => "range",
            Assignor::RoundRobin => "roundrobin",
            Assignor::Sticky => "sticky",
            Assignor::CooperativeSticky => "cooperative-sticky",
        }
    }
    /// The name of its Java class, as properties files have it.
    pub const fn class(self) -> &'static str {
        match self {
            Assignor::Range => "org.apache.kafka.clients.consumer.RangeAssignor",
            Assignor::RoundRobin => "org.apache.kafka.clients.consumer.RoundRobinAssignor",
            Assignor::Sticky => "org.apache.kafka.clients.consumer.StickyAssignor",
            Assignor::CooperativeSticky => "org.apache.kafka.clients.consumer.CooperativeStickyAssignor",
        }
    }
    /// Whether members keep what stays theirs.
    pub const fn is_cooperative(self) -> bool {
        matches!(self, Assignor::CooperativeSticky)
    }
}

/// A list, as librdkafka's short names or Java's class names.
impl FromConfig for Vec<Assignor> {
    fn from_config(text: &str) -> Result<Self, Expected> {
        let one = |name: &str| Assignor::ALL.into_iter().find(|a| name == a.name() || name == a.class());
        let list: Option<Vec<Assignor>> = text.split(',').map(|name| one(name.trim())).collect();
        list.filter(|l| !l.is_empty())
            .ok_or(Expected("a list of `range`, `roundrobin`, `sticky`, `cooperative-sticky` (or their Java classes)"))
    }
    fn to_config(&self) -> String {
        self.iter().map(|a| a.name()).collect::<Vec<_>>().join(",")
    }
}

config! {
    /// A consumer's settings.
    ConsumerConfig(Scope::Consumer) {
        /// Where to read from when there is no valid position.
        "auto.offset.reset" auto_offset_reset: AutoOffsetReset = "latest";
        /// What transactions hide.
        "isolation.level" isolation: IsolationLevel = "read_uncommitted";
        /// Records handed out by one poll.
        "max.poll.records" max_poll_records: usize = "500";
        /// Bytes the broker waits for.
        "fetch.min.bytes" fetch_min_bytes: i32 = "1";
        /// How long the broker waits for them.
        "fetch.max.wait.ms" fetch_max_wait: Duration = "500";
        /// Bytes of one answer.
        "fetch.max.bytes" fetch_max_bytes: i32 = "52428800";
        /// Bytes of one answer from one partition.
        "max.partition.fetch.bytes" max_partition_fetch_bytes: i32 = "1048576";
        /// How long a request may go unanswered.
        "request.timeout.ms" request_timeout: Duration = "30000";
        /// The first pause before asking again.
        "retry.backoff.ms" retry_backoff: Duration = "100";
        /// The longest pause before asking again.
        "retry.backoff.max.ms" retry_backoff_max: Duration = "1000";
        /// How old metadata may grow.
        "metadata.max.age.ms" metadata_max_age: Duration = "300000";
        /// The first pause before connecting again.
        "reconnect.backoff.ms" reconnect_backoff: Duration = "50";
        /// The longest pause before connecting again.
        "reconnect.backoff.max.ms" reconnect_backoff_max: Duration = "1000";
        /// How long a connection may take to come up.
        "socket.connection.setup.timeout.ms" connection_setup_timeout: Duration = "10000";
        /// Whether batches are checked against their CRC.
        "check.crcs" check_crcs: bool = "true";
        /// A name for the cluster's logs.
        "client.id" client_id: String = "";
        /// The group, for consumers that subscribe.
        "group.id" group_id: Option<String> = "";
        /// The name of a static member (KIP-345).
        "group.instance.id" group_instance_id: Option<String> = "";
        /// `classic` or `consumer` (KIP-848).
        "group.protocol" group_protocol: GroupProtocol = "classic";
        /// Which of the coordinator's assignors a KIP-848 group shall use; its own choice if empty.
        "group.remote.assignor" group_remote_assignor: Option<String> = "";
        /// Assignors of a classic member, in order of preference.
        "partition.assignment.strategy" assignors: Vec<Assignor> = "range, cooperative-sticky";
        /// How long a classic member may be silent.
        "session.timeout.ms" session_timeout: Duration = "45000";
        /// How often a classic member reports.
        "heartbeat.interval.ms" heartbeat_interval: Duration = "3000";
        /// How long the application may stay away from `poll`.
        "max.poll.interval.ms" max_poll_interval: Duration = "300000";
        /// Whether positions are committed without being asked for.
        "enable.auto.commit" enable_auto_commit: bool = "true";
        /// How often.
        "auto.commit.interval.ms" auto_commit_interval: Duration = "5000";
        /// How long a call that waits for the cluster may take.
        "default.api.timeout.ms" default_api_timeout: Duration = "60000";
        /// Whether a classic dynamic member says goodbye when it closes (an internal setting of Kafka's).
        "internal.leave.group.on.close" leave_group_on_close: bool = "true";
    }
}

impl ConsumerConfig {
    const ALSO: &[&str] = &[];

    fn complete(&mut self, _given: &Properties) {}
}
