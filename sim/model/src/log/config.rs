//! What a log needs of its broker's and topic's settings.

use crate::config::{BrokerConfig, Ratio};
use crate::units::Duration;

/// A log's settings. Sizes in bytes.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// Size at which a segment is closed.
    pub segment_bytes: u64,
    /// Age at which a segment is closed.
    pub roll: Duration,
    /// Bytes between two entries of an index.
    pub index_interval_bytes: u64,
    /// Bytes kept; negative: no limit.
    pub retention_bytes: i64,
    /// How long records are kept, by their timestamps; `MAX`: for ever.
    pub retention: Duration,
    /// How long a deleted segment's files stay.
    pub segment_delete_delay: Duration,
    /// How long an idle producer's state is kept, by its records' timestamps.
    pub producer_id_expiration: Duration,
    /// Records after which the log is flushed.
    pub flush_messages: i64,
    /// Time after which the log is flushed; none: never.
    pub flush_interval: Option<Duration>,
    /// How it is compacted; none: not at all.
    pub compaction: Option<CompactionConfig>,
}

/// How a log is compacted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CompactionConfig {
    /// The share of it that must not have been compacted yet before it is.
    pub min_cleanable_ratio: Ratio,
    /// How long a record stays uncompacted at least, by its timestamp.
    pub min_lag: Duration,
    /// How long tombstones are kept after they were compacted.
    pub delete_retention: Duration,
}

impl LogConfig {
    /// From a broker's settings (with a topic's in their place, where it has its own: `TopicConfig::over`).
    pub fn of(c: &BrokerConfig) -> LogConfig {
        LogConfig {
            segment_bytes: c.segment_bytes,
            roll: c.roll,
            index_interval_bytes: c.index_interval_bytes,
            retention_bytes: c.retention_bytes,
            retention: c.retention,
            segment_delete_delay: c.segment_delete_delay,
            producer_id_expiration: c.producer_id_expiration,
            flush_messages: c.flush_messages,
            flush_interval: c.flush_interval,
            compaction: (c.has_policy("compact") && c.cleaner_enable).then_some(CompactionConfig {
                min_cleanable_ratio: c.min_cleanable_ratio,
                min_lag: c.min_compaction_lag,
                delete_retention: c.delete_retention,
            }),
        }
    }
}
