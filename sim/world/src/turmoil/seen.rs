//! What happens within a tick, gathered: hosts run one after the other, each through the whole tick, so what they do is put
//! into the order of time before anybody is told.

use crate::event::*;
use crate::faults::Action;
use kafka_protocol::messages::{RequestKind, ResponseKind};
use klamm_model::disk::{DiskOp, DiskResult};
use klamm_model::history::Op;
use klamm_model::ids::Incarnation;
use klamm_model::node::{Endpoint, Listener};
use klamm_model::trace::TraceEvent;
use klamm_model::units::Instant;
use klamm_model::{ConnId, DisconnectReason};
use std::cell::Cell;
use std::rc::Rc;

/// An event's ordinal, once it has one.
#[derive(Clone, Debug, Default)]
pub(super) struct Ticket(Rc<Cell<u64>>);

impl Ticket {
    pub(super) fn ordinal(&self) -> Ordinal {
        Ordinal(self.0.get())
    }
    pub(super) fn number(&self, ordinal: u64) {
        self.0.set(ordinal);
    }
}

/// As [`What`], but owned.
#[derive(Debug)]
pub(super) enum Seen {
    Phase(Phase),
    Started {
        incarnation: Incarnation,
    },
    Ended {
        incarnation: Incarnation,
        how: Ending,
    },
    Fault {
        action: Action,
        over: bool,
    },
    PowerLost {
        lost: Vec<LostData>,
    },
    Damaged {
        ranges: Vec<LostData>,
    },
    Connected {
        from: ConnEnd,
        to: ConnEnd,
        listener: Listener,
    },
    Disconnected {
        end: ConnEnd,
        reason: DisconnectReason,
    },
    Connecting {
        conn: ConnId,
        to: Endpoint,
    },
    Timer,
    ShutdownAsked,
    RequestSent {
        from: ConnEnd,
        to: ConnEnd,
        correlation: i32,
        version: i16,
        request: Box<RequestKind>,
    },
    RequestTaken {
        from: ConnEnd,
        to: ConnEnd,
        correlation: i32,
        version: i16,
        request: Box<RequestKind>,
    },
    ResponseSent {
        from: ConnEnd,
        to: ConnEnd,
        correlation: i32,
        version: i16,
        response: Box<ResponseKind>,
    },
    ResponseTaken {
        from: ConnEnd,
        to: ConnEnd,
        correlation: i32,
        version: i16,
        response: Box<ResponseKind>,
    },
    DiskAsked {
        op: DiskOp,
    },
    DiskDone {
        op: DiskOp,
        result: DiskResult,
    },
    Trace(Box<TraceEvent>),
    Op(Box<Op>),
    /// Of the contract of shells only: the node has closed a connection.
    Closed {
        end: ConnEnd,
    },
    /// Of the contract of shells only: what came through a connection cannot be read.
    Unreadable {
        end: ConnEnd,
        fault: crate::shell::observer::Fault,
    },
}

impl Seen {
    /// As those who watch are told; `None` where it is not for them.
    pub(super) fn what(&self) -> Option<What<'_>> {
        Some(match self {
            Seen::Phase(phase) => What::Phase(*phase),
            Seen::Started { incarnation } => What::Started { incarnation: *incarnation },
            Seen::Ended { incarnation, how } => What::Ended { incarnation: *incarnation, how },
            Seen::Fault { action, over } => What::Fault { action, over: *over },
            Seen::PowerLost { lost } => What::PowerLost { lost },
            Seen::Damaged { ranges } => What::Damaged { ranges },
            Seen::Connected { from, to, listener } => What::Connected { from: *from, to: *to, listener: *listener },
            Seen::Disconnected { end, reason } => What::Disconnected { conn: end.conn, reason: *reason },
            Seen::Connecting { conn, to } => What::Connecting { conn: *conn, to },
            Seen::Timer => What::TimerFired,
            Seen::ShutdownAsked => What::ShutdownAsked,
            Seen::RequestSent { from, to, correlation, version, request } => {
                What::RequestSent { from: *from, to: *to, correlation: *correlation, version: *version, request }
            }
            Seen::RequestTaken { from, to, correlation, version, request } => {
                What::RequestTaken { from: *from, to: *to, correlation: *correlation, version: *version, request }
            }
            Seen::ResponseSent { from, to, correlation, version, response } => {
                What::ResponseSent { from: *from, to: *to, correlation: *correlation, version: *version, response }
            }
            Seen::ResponseTaken { from, to, correlation, version, response } => {
                What::ResponseTaken { from: *from, to: *to, correlation: *correlation, version: *version, response }
            }
            Seen::DiskAsked { op } => What::DiskAsked { op },
            Seen::DiskDone { op, result } => What::DiskDone { op, result },
            Seen::Trace(event) => What::Trace(event),
            Seen::Op(op) => What::Op(op),
            Seen::Closed { .. } | Seen::Unreadable { .. } => return None,
        })
    }
}

/// Something seen, in its place.
#[derive(Debug)]
pub(super) struct Sighting {
    pub(super) at: Instant,
    pub(super) ticket: Ticket,
    pub(super) cause: Ticket,
    pub(super) host: Option<HostId>,
    pub(super) node: Option<NodeRef>,
    /// The frame's length, of a message that leaves.
    pub(super) size: u32,
    pub(super) seen: Seen,
}
