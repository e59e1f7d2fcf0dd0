//! Every bound of the shell. Kafka's own, where it has one.

use std::time::Duration;

/// What one process allows others to take of it.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The largest frame, bytes (Kafka: `socket.request.max.bytes`, 100 MiB). Whoever announces a larger one is
    /// disconnected.
    pub frame_bytes: usize,
    /// Open incoming connections (Kafka: `max.connections`). One more is closed as soon as it is accepted.
    pub connections: usize,
    /// Requests of one connection that are read and not answered yet. Kafka reads one at a time; a few more hide the way.
    pub requests_per_connection: usize,
    /// Bytes of requests that are read and not answered yet, over all connections (Kafka: `queued.max.request.bytes`). While
    /// they are used up, nothing is read. Not below `frame_bytes`.
    pub bytes_in_flight: usize,
    /// How long a connection may be silent with nothing to be answered (Kafka: `connections.max.idle.ms`).
    pub idle: Duration,
    /// How long the bytes of one frame may take, once its first has come.
    pub frame_time: Duration,
    /// How long a peer may take no bytes of an answer.
    pub write_time: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            frame_bytes: 100 << 20,
            connections: 16_384,
            requests_per_connection: 16,
            bytes_in_flight: 512 << 20,
            idle: Duration::from_secs(600),
            frame_time: Duration::from_secs(60),
            write_time: Duration::from_secs(60),
        }
    }
}

/// Bytes a reader asks a new connection's socket for: most connections say little, and there may be ten thousand.
pub const FIRST_CHUNK: usize = 1 << 10;
/// Bytes a reader asks its socket for at once, and the most it sets aside for bytes that are only announced.
pub const READ_CHUNK: usize = 64 << 10;
/// Bytes of small frames that a writer hands to its socket at once.
pub const WRITE_CHUNK: usize = 64 << 10;
