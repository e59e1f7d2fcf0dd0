//! `ProducerConfig` of Kafka's Java client.

use super::{ConfigError, Properties, config};
use crate::history::Acks;
use crate::limits::MAX_IN_FLIGHT_IDEMPOTENT;
use crate::record::{Compression, Compressor};
use crate::units::Duration;

/// What zstd takes.
const ZSTD_LEVELS: std::ops::RangeInclusive<i32> = -131_072..=22;

config! {
    /// A producer's settings.
    ProducerConfig("producer") {
        /// Who must have a record before it counts as sent.
        "acks" acks: Acks = "all";
        /// The most bytes of one batch.
        "batch.size" batch_size: usize = "16384";
        /// How batches are compressed.
        "compression.type" compression: Compression = "none";
        /// How hard gzip tries: 1 to 9, or -1 for its own default.
        "compression.gzip.level" gzip_level: i32 = "-1";
        /// How hard zstd tries.
        "compression.zstd.level" zstd_level: i32 = "3";
        /// How long a batch may wait to fill (0 until Kafka 4.0, 5 since).
        "linger.ms" linger: Duration = "5";
        /// Bytes of records that may wait to be sent.
        "buffer.memory" buffer_memory: usize = "33554432";
        /// How long a send may wait for metadata or for a place in the buffer.
        "max.block.ms" max_block: Duration = "60000";
        /// How long a send may take from being accepted to its result.
        "delivery.timeout.ms" delivery_timeout: Duration = "120000";
        /// How long a request may go unanswered.
        "request.timeout.ms" request_timeout: Duration = "30000";
        /// How often a batch may be sent again.
        "retries" retries: u32 = "2147483647";
        /// The first pause before sending again.
        "retry.backoff.ms" retry_backoff: Duration = "100";
        /// The longest pause before sending again.
        "retry.backoff.max.ms" retry_backoff_max: Duration = "1000";
        /// Requests under way to one broker.
        "max.in.flight.requests.per.connection" max_in_flight: u32 = "5";
        /// Sequence numbers, so that the broker can tell repetitions.
        "enable.idempotence" enable_idempotence: bool = "true";
        /// The most bytes of one request.
        "max.request.size" max_request_size: usize = "1048576";
        /// How old metadata may grow.
        "metadata.max.age.ms" metadata_max_age: Duration = "300000";
        /// The first pause before connecting again.
        "reconnect.backoff.ms" reconnect_backoff: Duration = "50";
        /// The longest pause before connecting again.
        "reconnect.backoff.max.ms" reconnect_backoff_max: Duration = "1000";
        /// How long a connection may take to come up.
        "socket.connection.setup.timeout.ms" connection_setup_timeout: Duration = "10000";
        /// Whether records with keys are spread like those without.
        "partitioner.ignore.keys" partitioner_ignore_keys: bool = "false";
        /// A name for the cluster's logs.
        "client.id" client_id: String = "";
    }
}

impl ProducerConfig {
    /// How batches are compressed, and how hard.
    pub fn compressor(&self) -> Compressor {
        let level = if self.compression == Compression::Gzip { self.gzip_level } else { self.zstd_level };
        Compressor { with: self.compression, level }
    }

    /// Kafka's own cross-checks (`ProducerConfig.postProcessAndValidateIdempotenceConfigs`, `KafkaProducer.configureDeliveryTimeout`).
    fn validate(&mut self, given: &Properties) -> Result<(), ConfigError> {
        let conflict = |key: &str, why: String| Err(ConfigError::Conflict { key: key.to_owned(), why });
        let explicit = given.contains_key("enable.idempotence");
        if self.enable_idempotence {
            let obstacle = if self.retries == 0 {
                Some(("retries", "an idempotent producer must be allowed to retry".to_owned()))
            } else if self.acks != Acks::All {
                Some(("acks", "an idempotent producer needs `acks` = `all`".to_owned()))
            } else if self.max_in_flight > MAX_IN_FLIGHT_IDEMPOTENT {
                let why =
                    format!("an idempotent producer may have at most {MAX_IN_FLIGHT_IDEMPOTENT} requests in flight");
                Some(("max.in.flight.requests.per.connection", why))
            } else {
                None
            };
            match obstacle {
                // The exception: too many in flight is refused even when idempotence is only on by default.
                Some((key, why)) if explicit || key.starts_with("max.in") => return conflict(key, why),
                Some(_) => self.enable_idempotence = false,
                None => {}
            }
        }
        let least = self.linger.saturating_add(self.request_timeout);
        if self.delivery_timeout < least {
            if given.contains_key("delivery.timeout.ms") {
                return conflict(
                    "delivery.timeout.ms",
                    format!("must be at least `linger.ms` + `request.timeout.ms` = {} ms", least.as_millis()),
                );
            }
            self.delivery_timeout = least;
        }
        if self.gzip_level != -1 && !(1..=9).contains(&self.gzip_level) {
            return conflict("compression.gzip.level", "must be 1 to 9, or -1".to_owned());
        }
        if !ZSTD_LEVELS.contains(&self.zstd_level) {
            return conflict("compression.zstd.level", "must be -131072 to 22".to_owned());
        }
        if self.max_in_flight == 0 {
            return conflict("max.in.flight.requests.per.connection", "must be at least 1".to_owned());
        }
        Ok(())
    }
}
