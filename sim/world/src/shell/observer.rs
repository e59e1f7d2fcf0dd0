//! Who watches a process, and who meddles with it.

use kafka_protocol::messages::{RequestKind, ResponseKind};
use klamm_model::disk::{DiskOp, DiskResult, DiskToken};
use klamm_model::history::Op;
use klamm_model::node::{Endpoint, Listener};
use klamm_model::trace::TraceEvent;
use klamm_model::units::Now;
use klamm_model::{ConnId, DisconnectReason};

/// A message as it is watched: on which connection, and where it belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The connection, by its node's number.
    pub conn: ConnId,
    /// The request's number.
    pub correlation: i32,
    /// The message's version.
    pub version: i16,
}

/// The two addresses of a connection, this side's first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ends<'a> {
    /// This side's.
    pub local: &'a str,
    /// The other side's.
    pub peer: &'a str,
}

/// Why a connection is not read any further, where it is not the socket that failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The bytes cannot be what the other side means.
    Malformed(String),
    /// The stream ended within a frame.
    Truncated(String),
    /// Too little came for too long.
    Silent(String),
}

/// Somebody who watches a process: called synchronously, in order. Must be cheap, and must not influence it.
pub trait Observer {
    /// The node says that something became true inside it.
    fn trace(&mut self, _now: Now, _event: &TraceEvent) {}
    /// A client application did or saw something.
    fn op(&mut self, _now: Now, _op: &Op) {}
    /// A deadline is handed to the node.
    fn timer(&mut self, _now: Now) {}
    /// The node is asked to shut down in order.
    fn shutdown(&mut self, _now: Now) {}
    /// The node asked for a connection.
    fn connecting(&mut self, _now: Now, _conn: ConnId, _to: &Endpoint) {}
    /// It is open.
    fn connected(&mut self, _now: Now, _conn: ConnId, _ends: Ends<'_>) {}
    /// Somebody connected.
    fn accepted(&mut self, _now: Now, _conn: ConnId, _listener: Listener, _ends: Ends<'_>) {}
    /// The node is told that a connection is over.
    fn disconnected(&mut self, _now: Now, _conn: ConnId, _reason: DisconnectReason) {}
    /// The node closes a connection.
    fn closed(&mut self, _now: Now, _conn: ConnId) {}
    /// A connection is not read any further.
    fn unreadable(&mut self, _now: Now, _conn: ConnId, _fault: &Fault) {}
    /// A request leaves the node, in this frame.
    fn request_sent(&mut self, _now: Now, _place: Place, _request: &RequestKind, _frame: &[u8]) {}
    /// A request is handed to the node.
    fn request_taken(&mut self, _now: Now, _place: Place, _request: &RequestKind) {}
    /// A response leaves the node, in this frame.
    fn response_sent(&mut self, _now: Now, _place: Place, _response: &ResponseKind, _frame: &[u8]) {}
    /// A response is handed to the node.
    fn response_taken(&mut self, _now: Now, _place: Place, _response: &ResponseKind) {}
    /// The node asks its disk.
    fn disk_asked(&mut self, _now: Now, _token: DiskToken, _op: &DiskOp) {}
    /// The disk has answered.
    fn disk_done(&mut self, _now: Now, _token: DiskToken, _result: &DiskResult) {}
}

/// Nobody watches.
#[derive(Debug, Default)]
pub struct Unwatched;

impl Observer for Unwatched {}

/// Somebody who answers requests in the node's place: a fault.
pub trait Meddler {
    /// The answer to a request that the node shall never see; `None` lets it pass.
    fn answer(&mut self, listener: Listener, version: i16, request: &RequestKind) -> Option<ResponseKind>;
}

/// Nobody meddles.
#[derive(Debug, Default)]
pub struct Unmeddled;

impl Meddler for Unmeddled {
    fn answer(&mut self, _: Listener, _: i16, _: &RequestKind) -> Option<ResponseKind> {
        None
    }
}
