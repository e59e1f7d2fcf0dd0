//! Every bound of the model that is not one of Kafka's configuration keys, by name.

use crate::units::Duration;

/// How many of a producer's latest batches a partition remembers, to recognise a repetition
/// (Kafka: `ProducerStateEntry.NUM_BATCHES_TO_RETAIN`).
pub const BATCHES_REMEMBERED_PER_PRODUCER: usize = 5;

/// The most requests an idempotent producer may have in flight, for the window above to suffice.
pub const MAX_IN_FLIGHT_IDEMPOTENT: u32 = 5;

/// How many producer ids a broker takes from the controller at once (Kafka: `ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE`).
pub const PRODUCER_ID_BLOCK: i32 = 1000;

/// The most partitions a client believes a topic to have.
pub const MAX_PARTITIONS_PER_TOPIC: usize = 1 << 20;

/// The most sends that may wait for metadata or for a place in a producer's buffer.
pub const MAX_WAITING_SENDS: usize = 1 << 20;

/// Of how many of its latest batches a log remembers the exact place; further back its sparse index serves.
pub const BATCHES_PLACED_EXACTLY: usize = 256;

/// Bytes read at once while a log is scanned.
pub const SCAN_CHUNK_BYTES: u64 = 1 << 20;

/// Bytes read at most to find an offset whose place in its segment the index does not tell.
pub const SEARCH_BYTES: u64 = 4 << 20;

/// How many producer snapshots are tried, newest first, before a log is scanned from its start.
pub const SNAPSHOTS_TRIED: usize = 3;

/// How many expired offsets a coordinator takes back in one batch.
pub const TOMBSTONES_PER_WRITE: usize = 1000;

/// How often a coordinator's assignor looks at all topics for partitions that should move, when subscriptions differ. Each
/// look that moves something makes the assignment more even.
pub const ASSIGNOR_ROUNDS: usize = 100;

/// The most elements (of all arrays together, unknown tagged fields included) in a message from outside. An element
/// takes a few hundred bytes at most once decoded.
pub const MAX_MESSAGE_ELEMENTS: usize = 1 << 18;

/// The most bytes the records of a compressed batch may have once decompressed.
pub const MAX_DECOMPRESSED_BATCH: usize = 64 << 20;

/// How many fetch sessions a broker keeps (Kafka: `max.incremental.fetch.session.cache.slots`).
pub const FETCH_SESSIONS: usize = 1000;

/// How long a fetch session must have been idle to give way to another (Kafka: `MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS`).
pub const FETCH_SESSION_IDLE: Duration = Duration::from_secs(120);
