//! `ConsumerConfig` of Kafka's Java client: what a consumer with assigned partitions needs.

use super::{ConfigError, FromConfig, Properties, config};
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
    fn from_config(text: &str) -> Result<Self, String> {
        match text.trim() {
            "earliest" => Ok(AutoOffsetReset::Earliest),
            "latest" => Ok(AutoOffsetReset::Latest),
            "none" => Ok(AutoOffsetReset::None),
            _ => Err("`earliest`, `latest` or `none`".to_owned()),
        }
    }
}

config! {
    /// A consumer's settings.
    ConsumerConfig("consumer") {
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
    }
}

impl ConsumerConfig {
    fn validate(&mut self, _given: &Properties) -> Result<(), ConfigError> {
        if self.max_poll_records == 0 {
            return Err(ConfigError::Conflict {
                key: "max.poll.records".to_owned(),
                why: "must be at least 1".to_owned(),
            });
        }
        Ok(())
    }
}
