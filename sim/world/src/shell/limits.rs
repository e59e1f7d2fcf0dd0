//! Every bound of the shell. Kafka's own, where it has one.

use klamm_model::config::{ConfigError, FromConfig, Properties};
use klamm_model::node::Listener;
use std::time::Duration;

/// What one process allows others to take of it.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The largest frame, bytes (Kafka: `socket.request.max.bytes`, 100 MiB). Whoever announces a larger one is
    /// disconnected.
    pub frame_bytes: usize,
    /// Open connections of clients (Kafka: `max.connections`). One more is closed as soon as it is accepted.
    pub connections: usize,
    /// Requests of one connection that are read and not answered yet. Kafka reads one at a time; a few more hide the way.
    pub requests_per_connection: usize,
    /// Bytes of requests that are read and not answered yet, over all connections (Kafka: `queued.max.request.bytes`). While
    /// they are used up, one frame at a time is read. Not below `frame_bytes`. A frame takes of them what has come of it.
    pub bytes_in_flight: usize,
    /// Bytes of answers that are not sent yet, over all connections. One answer more, and the peer that has taken none for
    /// longest is disconnected.
    pub answer_bytes: usize,
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
            answer_bytes: 512 << 20,
            idle: Duration::from_secs(600),
            frame_time: Duration::from_secs(60),
            write_time: Duration::from_secs(60),
        }
    }
}

impl Limits {
    /// Open incoming connections of a listener: nodes need fewer among themselves.
    pub fn connections_on(&self, listener: Listener) -> usize {
        match listener {
            Listener::Client => self.connections,
            Listener::InterBroker | Listener::Controller => (self.connections / OTHERS).max(LEAST_OF_NODES),
        }
    }

    /// Takes out of a broker's settings those that are limits, under Kafka's names. `queued.max.request.bytes` of -1, and
    /// what is not set, leaves the limit as it is.
    ///
    /// # Errors
    /// A value that does not parse or makes no sense.
    pub fn take_from(settings: &mut Properties) -> Result<Limits, ConfigError> {
        let mut limits = Limits::default();
        if let Some(idle) = take(settings, "connections.max.idle.ms", i64::MIN)? {
            // Negative: for ever.
            limits.idle = Duration::from_millis(u64::try_from(idle).unwrap_or(FOR_EVER));
        }
        if let Some(n) = take(settings, "max.connections", 0)? {
            limits.connections = n as usize;
        }
        if let Some(n) = take(settings, "socket.request.max.bytes", 1)? {
            limits.frame_bytes = n as usize;
        }
        let queued = take(settings, "queued.max.request.bytes", i64::MIN)?.filter(|n| *n > 0);
        if let Some(n) = queued.and_then(|n| usize::try_from(n).ok()) {
            limits.bytes_in_flight = n;
        }
        limits.bytes_in_flight = limits.bytes_in_flight.max(limits.frame_bytes);
        Ok(limits)
    }
}

/// One connection of another node's for so many of clients, and at least so many.
const OTHERS: usize = 8;
const LEAST_OF_NODES: usize = 16;

/// Milliseconds of a century, for a connection that is never idle too long.
const FOR_EVER: u64 = 100 * 365 * 24 * 3_600_000;

fn take(settings: &mut Properties, key: &str, least: i64) -> Result<Option<i64>, ConfigError> {
    let Some(value) = settings.remove(key) else { return Ok(None) };
    let wrong = |value, reason| Err(ConfigError::BadValue { key: key.to_owned(), value, reason });
    match i64::from_config(&value) {
        Ok(limit) if limit >= least => Ok(Some(limit)),
        Ok(_) => wrong(value, format!("Value must be at least {least}")),
        Err(_) => wrong(value, "Not a number of type LONG".to_owned()),
    }
}

/// Bytes a reader asks a new connection's socket for: most connections say little, and there may be ten thousand.
pub const FIRST_CHUNK: usize = 1 << 10;
/// Bytes a reader asks its socket for at once, and sets aside for a frame of which nothing has come yet. A frame at least
/// so large gets a buffer of its own.
pub const READ_CHUNK: usize = 64 << 10;
/// Bytes of small frames that a writer hands to its socket at once.
pub const WRITE_CHUNK: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Properties {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn limits_are_set_under_kafkas_names() {
        let mut all = settings(&[
            ("connections.max.idle.ms", "3000"),
            ("max.connections", "7"),
            ("socket.request.max.bytes", "1000"),
            ("queued.max.request.bytes", "5000"),
            ("num.partitions", "3"),
        ]);
        let limits = Limits::take_from(&mut all).unwrap();
        assert_eq!((limits.idle, limits.connections), (Duration::from_secs(3), 7));
        assert_eq!((limits.frame_bytes, limits.bytes_in_flight), (1_000, 5_000));
        assert_eq!(all, settings(&[("num.partitions", "3")]), "the others are left for the model");
    }

    #[test]
    fn a_frame_always_fits_into_what_may_be_in_flight() {
        let mut small = settings(&[("queued.max.request.bytes", "5000")]);
        let limits = Limits::take_from(&mut small).unwrap();
        assert_eq!(limits.bytes_in_flight, limits.frame_bytes);
        let mut none = settings(&[("queued.max.request.bytes", "-1")]);
        assert_eq!(Limits::take_from(&mut none).unwrap().bytes_in_flight, Limits::default().bytes_in_flight);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_key() {
        for (key, value) in [
            ("connections.max.idle.ms", "soon"),
            ("max.connections", "-1"),
            ("socket.request.max.bytes", "0"),
            ("queued.max.request.bytes", "much"),
        ] {
            let error = Limits::take_from(&mut settings(&[(key, value)])).unwrap_err().to_string();
            assert!(error.starts_with(&format!("Invalid value {value} for configuration {key}: ")), "{error}");
        }
    }
}
