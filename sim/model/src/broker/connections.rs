//! Incoming connections: one request of each is in process at a time, those that wait in purgatory included; the rest
//! queue up. Kafka mutes the channel (`SocketServer`), so requests of one connection are answered in order.

use crate::node::{ConnId, Listener};
use crate::small_map::SmallMap;
use kafka_protocol::messages::RequestKind;
use std::collections::VecDeque;

/// Where an answer goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Caller {
    /// The connection.
    pub conn: ConnId,
    /// The request.
    pub correlation: i32,
    /// Of request and answer.
    pub version: i16,
    /// Through which door it came.
    pub listener: Listener,
}

#[derive(Debug)]
struct Waiting {
    correlation: i32,
    version: i16,
    request: Box<RequestKind>,
}

#[derive(Debug)]
struct Connection {
    listener: Listener,
    muted: bool,
    queue: VecDeque<Waiting>,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: SmallMap<ConnId, Connection>,
    /// Connections that are free and have something queued.
    runnable: VecDeque<ConnId>,
    /// Nothing is processed before the broker has started.
    held: bool,
}

impl Connections {
    /// None yet, and nothing is processed until [`Connections::release`].
    pub fn held() -> Connections {
        Connections { held: true, ..Connections::default() }
    }
    /// Whether nothing is processed yet.
    pub fn is_held(&self) -> bool {
        self.held
    }
    /// Requests are processed from now on.
    pub fn release(&mut self) {
        self.held = false;
        let waiting = self.open.iter().filter(|(_, c)| !c.muted && !c.queue.is_empty());
        self.runnable = waiting.map(|(&conn, _)| conn).collect();
    }
    /// Somebody connected.
    pub fn accepted(&mut self, conn: ConnId, listener: Listener) {
        self.open.insert(conn, Connection { listener, muted: false, queue: VecDeque::new() });
    }
    /// Somebody is gone; what it asked and was not looked at is forgotten.
    pub fn disconnected(&mut self, conn: ConnId) {
        self.open.remove(&conn);
    }
    /// Every open connection.
    pub fn all(&self) -> impl Iterator<Item = ConnId> {
        self.open.keys().copied()
    }
    /// A request came: returned if it is this connection's turn, else kept.
    pub fn arrived(
        &mut self,
        conn: ConnId,
        correlation: i32,
        version: i16,
        request: Box<RequestKind>,
    ) -> Option<(Caller, Box<RequestKind>)> {
        let connection = self.open.get_mut(&conn)?;
        if connection.muted || self.held || !connection.queue.is_empty() {
            connection.queue.push_back(Waiting { correlation, version, request });
            return None;
        }
        connection.muted = true;
        Some((Caller { conn, correlation, version, listener: connection.listener }, request))
    }
    /// The request in process is answered (or needs no answer). False if the connection is gone.
    pub fn done(&mut self, conn: ConnId) -> bool {
        let Some(connection) = self.open.get_mut(&conn) else { return false };
        connection.muted = false;
        if !connection.queue.is_empty() {
            self.runnable.push_back(conn);
        }
        true
    }
    /// The next queued request whose turn has come.
    pub fn next(&mut self) -> Option<(Caller, Box<RequestKind>)> {
        if self.held {
            return None;
        }
        while let Some(conn) = self.runnable.pop_front() {
            let Some(connection) = self.open.get_mut(&conn) else { continue };
            if connection.muted {
                continue;
            }
            let Some(w) = connection.queue.pop_front() else { continue };
            connection.muted = true;
            let caller = Caller { conn, correlation: w.correlation, version: w.version, listener: connection.listener };
            return Some((caller, w.request));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::ApiVersionsRequest;

    fn ask(c: &mut Connections, correlation: i32) -> Option<i32> {
        let request = Box::new(RequestKind::ApiVersions(ApiVersionsRequest::default()));
        c.arrived(ConnId::incoming(1), correlation, 0, request).map(|(caller, _)| caller.correlation)
    }

    #[test]
    fn one_request_of_a_connection_is_in_process_and_the_rest_queue_up_in_order() {
        let mut c = Connections::default();
        c.accepted(ConnId::incoming(1), Listener::Client);
        assert_eq!(ask(&mut c, 1), Some(1));
        assert_eq!(ask(&mut c, 2), None);
        assert_eq!(ask(&mut c, 3), None);
        assert!(c.next().is_none(), "muted");
        assert!(c.done(ConnId::incoming(1)));
        assert_eq!(c.next().map(|(caller, _)| caller.correlation), Some(2));
        assert!(c.next().is_none(), "muted again");
        c.done(ConnId::incoming(1));
        assert_eq!(c.next().map(|(caller, _)| caller.correlation), Some(3));
    }

    #[test]
    fn connections_do_not_wait_for_each_other() {
        let mut c = Connections::default();
        c.accepted(ConnId::incoming(1), Listener::Client);
        c.accepted(ConnId::incoming(2), Listener::Client);
        assert_eq!(ask(&mut c, 1), Some(1));
        let request = Box::new(RequestKind::ApiVersions(ApiVersionsRequest::default()));
        assert!(c.arrived(ConnId::incoming(2), 9, 0, request).is_some());
    }

    #[test]
    fn a_lost_connection_takes_its_queue_along() {
        let mut c = Connections::default();
        c.accepted(ConnId::incoming(1), Listener::Client);
        ask(&mut c, 1);
        ask(&mut c, 2);
        c.disconnected(ConnId::incoming(1));
        assert!(!c.done(ConnId::incoming(1)));
        assert!(c.next().is_none());
    }

    #[test]
    fn nothing_is_processed_before_the_start() {
        let mut c = Connections::held();
        c.accepted(ConnId::incoming(1), Listener::Client);
        assert_eq!(ask(&mut c, 1), None);
        assert!(c.next().is_none());
        c.release();
        assert_eq!(c.next().map(|(caller, _)| caller.correlation), Some(1));
    }
}
