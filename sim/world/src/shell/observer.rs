//! Who watches a process, and who meddles with it.

use kafka_protocol::messages::{RequestKind, ResponseKind};
use klamm_model::ConnId;
use klamm_model::history::Op;
use klamm_model::node::Listener;
use klamm_model::trace::TraceEvent;
use klamm_model::units::Now;

/// Somebody who watches a process: called synchronously, in order. Must be cheap, and must not influence it.
pub trait Observer {
    /// The node says that something became true inside it.
    fn trace(&mut self, _now: Now, _event: &TraceEvent) {}
    /// A client application did or saw something.
    fn op(&mut self, _now: Now, _op: &Op) {}
    /// A request is handed to the node.
    fn request_taken(&mut self, _now: Now, _conn: ConnId, _version: i16, _request: &RequestKind) {}
    /// A response left the node.
    fn response_sent(&mut self, _now: Now, _conn: ConnId, _version: i16, _response: &ResponseKind) {}
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
