//! What a process's shell shows, told to the world: with both ends of each connection by name, and with causes.

use super::seen::{Seen, Ticket};
use super::shared::Shared;
use crate::event::{ConnEnd, HostId, NodeRef};
use crate::shell::observer::{Ends, Fault, Observer, Place};
use kafka_protocol::messages::{RequestKind, ResponseKind};
use klamm_model::disk::{DiskOp, DiskResult, DiskToken};
use klamm_model::history::Op;
use klamm_model::ids::Incarnation;
use klamm_model::node::{Endpoint, Listener};
use klamm_model::trace::TraceEvent;
use klamm_model::units::Now;
use klamm_model::{ConnId, DisconnectReason};
use std::collections::BTreeMap;
use std::rc::Rc;

/// A connection's name for both ends: the opener's address, the acceptor's.
type Key = (String, String);

/// Watches one incarnation of a node.
pub(super) struct Watcher {
    shared: Rc<Shared>,
    host: HostId,
    node: NodeRef,
    incarnation: Incarnation,
    /// What the node is handling.
    cause: Ticket,
    conns: BTreeMap<ConnId, Key>,
    asked: BTreeMap<Token, (Ticket, DiskOp)>,
}

/// A disk token as a key: whose, and which.
type Token = (u32, u64);

impl Watcher {
    pub(super) fn new(
        shared: Rc<Shared>,
        host: HostId,
        node: NodeRef,
        incarnation: Incarnation,
        started: Ticket,
    ) -> Watcher {
        Watcher { shared, host, node, incarnation, cause: started, conns: BTreeMap::new(), asked: BTreeMap::new() }
    }

    fn see(&self, cause: &Ticket, seen: Seen, size: usize) -> Ticket {
        // A process that was killed may not have heard of it yet.
        if !self.shared.runs(self.node, self.incarnation) {
            return Ticket::default();
        }
        self.shared.see(self.shared.now(), cause, Some(self.host), Some(self.node), seen, size)
    }

    /// What the node does.
    fn does(&self, seen: Seen) -> Ticket {
        self.see(&self.cause, seen, 0)
    }

    /// What happens to the node: the cause of what it does next.
    fn happens(&mut self, cause: &Ticket, seen: Seen) {
        self.cause = self.see(cause, seen, 0);
    }

    fn end(&self, conn: ConnId) -> ConnEnd {
        ConnEnd { node: self.node, incarnation: self.incarnation, conn }
    }

    fn opens(&mut self, conn: ConnId, ends: Ends<'_>, listener: Option<Listener>) {
        let (opener, acceptor) = if conn.is_incoming() { (ends.peer, ends.local) } else { (ends.local, ends.peer) };
        if let Some((from, to, listener)) = self.shared.pair((opener, acceptor), self.end(conn), listener) {
            self.happens(&Ticket::default(), Seen::Connected { from, to, listener });
        }
        self.conns.insert(conn, (opener.to_owned(), acceptor.to_owned()));
    }

    fn leaves(&mut self, conn: ConnId) {
        if let Some(key) = self.conns.remove(&conn) {
            self.shared.left(&key, !conn.is_incoming());
        }
    }

    /// The other end of a connection.
    fn peer(&self, conn: ConnId) -> Option<(Key, ConnEnd)> {
        let key = self.conns.get(&conn)?;
        Some((key.clone(), self.shared.peer(key, !conn.is_incoming())?))
    }
}

impl Observer for Watcher {
    fn trace(&mut self, _: Now, event: &TraceEvent) {
        self.does(Seen::Trace(Box::new(event.clone())));
    }
    fn op(&mut self, _: Now, op: &Op) {
        self.does(Seen::Op(Box::new(op.clone())));
    }
    fn timer(&mut self, _: Now) {
        // What it follows from is what the node last did: the shell does not keep which input set it.
        let cause = self.cause.clone();
        self.happens(&cause, Seen::Timer);
    }
    fn shutdown(&mut self, _: Now) {
        self.happens(&Ticket::default(), Seen::ShutdownAsked);
    }
    fn connecting(&mut self, _: Now, conn: ConnId, to: &Endpoint) {
        self.does(Seen::Connecting { conn, to: to.clone() });
    }
    fn connected(&mut self, _: Now, conn: ConnId, ends: Ends<'_>) {
        self.opens(conn, ends, None);
    }
    fn accepted(&mut self, _: Now, conn: ConnId, listener: Listener, ends: Ends<'_>) {
        self.opens(conn, ends, Some(listener));
    }
    fn disconnected(&mut self, _: Now, conn: ConnId, reason: DisconnectReason) {
        self.happens(&Ticket::default(), Seen::Disconnected { end: self.end(conn), reason });
        self.leaves(conn);
    }
    fn closed(&mut self, _: Now, conn: ConnId) {
        self.does(Seen::Closed { end: self.end(conn) });
        self.leaves(conn);
    }
    fn unreadable(&mut self, _: Now, conn: ConnId, fault: &Fault) {
        self.does(Seen::Unreadable { end: self.end(conn), fault: fault.clone() });
    }
    fn request_sent(&mut self, _: Now, place: Place, request: &RequestKind, frame: &[u8]) {
        let Place { conn, correlation, version } = place;
        let Some((key, to)) = self.peer(conn) else { return };
        let request = Box::new(request.clone());
        let seen = Seen::RequestSent { from: self.end(conn), to, correlation, version, request };
        let ticket = self.see(&self.cause, seen, frame.len());
        self.shared.sent(&key, true, correlation, ticket);
    }
    fn request_taken(&mut self, _: Now, place: Place, request: &RequestKind) {
        let Place { conn, correlation, version } = place;
        let Some((key, from)) = self.peer(conn) else { return };
        let sent = self.shared.came(&key, true, correlation);
        let request = Box::new(request.clone());
        self.happens(&sent, Seen::RequestTaken { from, to: self.end(conn), correlation, version, request });
    }
    fn response_sent(&mut self, _: Now, place: Place, response: &ResponseKind, frame: &[u8]) {
        let Place { conn, correlation, version } = place;
        let Some((key, to)) = self.peer(conn) else { return };
        let response = Box::new(response.clone());
        let seen = Seen::ResponseSent { from: self.end(conn), to, correlation, version, response };
        let ticket = self.see(&self.cause, seen, frame.len());
        self.shared.sent(&key, false, correlation, ticket);
    }
    fn response_taken(&mut self, _: Now, place: Place, response: &ResponseKind) {
        let Place { conn, correlation, version } = place;
        let Some((key, from)) = self.peer(conn) else { return };
        let sent = self.shared.came(&key, false, correlation);
        let response = Box::new(response.clone());
        self.happens(&sent, Seen::ResponseTaken { from, to: self.end(conn), correlation, version, response });
    }
    fn disk_asked(&mut self, _: Now, token: DiskToken, op: &DiskOp) {
        let ticket = self.does(Seen::DiskAsked { op: op.clone() });
        self.asked.insert((token.owner, token.seq), (ticket, op.clone()));
    }
    fn disk_done(&mut self, _: Now, token: DiskToken, result: &DiskResult) {
        if let Some((asked, op)) = self.asked.remove(&(token.owner, token.seq)) {
            self.happens(&asked, Seen::DiskDone { op, result: result.clone() });
        }
    }
}
