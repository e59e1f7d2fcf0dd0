//! `ProducerConfig` of Kafka's Java client.

use super::{Properties, Scope, config};
use crate::history::Acks;
use crate::record::{Compression, Compressor};
use crate::units::Duration;

config! {
    /// A producer's settings.
    ProducerConfig(Scope::Producer) {
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

    const ALSO: &[&str] = &[];

    /// What Kafka changes by itself (`ProducerConfig.postProcessParsedConfig`, `KafkaProducer.configureDeliveryTimeout`).
    fn complete(&mut self, given: &Properties) {
        if self.retries == 0 || self.acks != Acks::All {
            self.enable_idempotence = false;
        }
        let least = self.linger.saturating_add(self.request_timeout).min(Duration::from_millis(i32::MAX as u64));
        if !given.contains_key("delivery.timeout.ms") {
            self.delivery_timeout = self.delivery_timeout.max(least);
        }
    }
}
