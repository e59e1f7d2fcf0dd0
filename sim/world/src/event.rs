//! What the world tells those who watch it: invariants, oracles, recorders, the digest.
//!
//! An event has an ordinal and its cause's ordinal: send -> deliver, operation -> completion, timer set -> timer
//! fired. Stories and slices are built on that.

use crate::faults::Action;
use kafka_protocol::messages::{RequestKind, ResponseKind};
use klamm_model::disk::{DiskOp, DiskResult, Path};
use klamm_model::history::Op;
use klamm_model::ids::Incarnation;
use klamm_model::node::{ConnId, DisconnectReason, Endpoint, Listener};
use klamm_model::trace::TraceEvent;
use klamm_model::units::Instant;

/// A host, by its place in the world's list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HostId(pub u16);

/// A node, by its place in the world's list, over all its incarnations.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeRef(pub u16);

/// An event's place in its run, from 1; 0 is "no cause".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Ordinal(pub u64);

/// One end of a connection as its node knows it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ConnEnd {
    /// The node.
    pub node: NodeRef,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// The node's number for the connection.
    pub conn: ConnId,
}

/// Something that happened.
#[derive(Debug)]
pub struct Event<'a> {
    /// Its place.
    pub ordinal: Ordinal,
    /// What led to it.
    pub cause: Ordinal,
    /// The world's time.
    pub at: Instant,
    /// Where; `None` for what concerns no single host.
    pub host: Option<HostId>,
    /// To whom; `None` for what concerns a host.
    pub node: Option<NodeRef>,
    /// What.
    pub what: What<'a>,
}

/// What happened. Events of messages and disk operations come at four moments: sent and taken up, submitted and
/// completed. "Taken up" is when a worker finishes with the input: what a node does in answer has the same time.
#[derive(Debug)]
pub enum What<'a> {
    /// A phase of the run began.
    Phase(Phase),
    /// A node's process started.
    Started {
        /// Its incarnation.
        incarnation: Incarnation,
    },
    /// A node's process ended.
    Ended {
        /// Its incarnation.
        incarnation: Incarnation,
        /// How.
        how: &'a Ending,
    },
    /// A fault was applied, or ended.
    Fault {
        /// The fault, resolved.
        action: &'a Action,
        /// True when it ends.
        over: bool,
    },
    /// A host lost power (its nodes' `Ended` came just before).
    PowerLost {
        /// What its files lost of their unsynced data, per file; empty if nothing.
        lost: &'a [LostData],
    },
    /// Data on a disk was damaged by a fault.
    Damaged {
        /// Which ranges.
        ranges: &'a [LostData],
    },
    /// A connection came up on both sides' behalf.
    Connected {
        /// Who opened it.
        from: ConnEnd,
        /// Who accepted it.
        to: ConnEnd,
        /// The door.
        listener: Listener,
    },
    /// A connection could not be opened, or ended, as `node` sees it.
    Disconnected {
        /// Its number.
        conn: ConnId,
        /// Why.
        reason: DisconnectReason,
    },
    /// A node asked for a connection.
    Connecting {
        /// Its number.
        conn: ConnId,
        /// Where to.
        to: &'a Endpoint,
    },
    /// A timer a node had set is handed to it; the cause is what the node handled when it set it.
    TimerFired,
    /// A node was asked to shut down in order.
    ShutdownAsked,
    /// A request left `node`.
    RequestSent {
        /// Sender's end.
        from: ConnEnd,
        /// Receiver's end.
        to: ConnEnd,
        /// Its number.
        correlation: i32,
        /// Its version.
        version: i16,
        /// The message.
        request: &'a RequestKind,
    },
    /// A request is handed to `node`.
    RequestTaken {
        /// Sender's end.
        from: ConnEnd,
        /// Receiver's end.
        to: ConnEnd,
        /// Its number.
        correlation: i32,
        /// Its version.
        version: i16,
        /// The message.
        request: &'a RequestKind,
    },
    /// A response left `node`; whether anybody is still there to get it, `node` need not know.
    ResponseSent {
        /// Sender's end (who was asked).
        from: ConnEnd,
        /// Receiver's end (who asked).
        to: ConnEnd,
        /// The request's number.
        correlation: i32,
        /// Its version.
        version: i16,
        /// The message.
        response: &'a ResponseKind,
    },
    /// A response is handed to `node`.
    ResponseTaken {
        /// Sender's end (who was asked).
        from: ConnEnd,
        /// Receiver's end (who asked).
        to: ConnEnd,
        /// The request's number.
        correlation: i32,
        /// Its version.
        version: i16,
        /// The message.
        response: &'a ResponseKind,
    },
    /// A node asked its disk.
    DiskAsked {
        /// For what.
        op: &'a DiskOp,
    },
    /// The disk answered; effects that crashes spared stand from here.
    DiskDone {
        /// To what.
        op: &'a DiskOp,
        /// How.
        result: &'a DiskResult,
    },
    /// A node said that something became true inside it.
    Trace(&'a TraceEvent),
    /// A client application did or saw something.
    Op(&'a Op),
}

/// A run's phases, in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Topics are created and led.
    Setup,
    /// Load and faults.
    Hardship,
    /// Faults end; hosts restart; what an operator would do is done. Everything must converge.
    Heal,
    /// Every partition is read from log start to end by fresh clients.
    FinalRead,
    /// Over.
    Done,
}

/// How a process ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// In order.
    Exit,
    /// It gave up.
    Halt {
        /// As it said.
        reason: Box<str>,
    },
    /// Killed; the page cache stays.
    Killed,
    /// Its host lost power.
    PowerLost,
    /// It panicked, which is a violation.
    Panicked {
        /// The message.
        message: Box<str>,
    },
}

/// A range of a file that is gone or wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LostData {
    /// Which file.
    pub file: Path,
    /// First byte.
    pub from: u64,
    /// One past the last byte.
    pub to: u64,
}

/// Somebody who watches.
///
/// Called for every event, in order, synchronously. Must be cheap, and must not influence the run.
pub trait Observer {
    /// One event.
    fn event(&mut self, event: &Event<'_>);
}
