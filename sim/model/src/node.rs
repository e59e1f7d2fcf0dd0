//! The node: a plain state machine that is handed inputs and returns outputs. See the crate's documentation.

use crate::disk::{DiskOp, DiskResult, DiskToken};
use crate::history::Op;
use crate::ids::Incarnation;
use crate::inspect::Inspection;
use crate::trace::TraceEvent;
use crate::units::{Instant, Now};
use kafka_protocol::messages::{RequestKind, ResponseKind};
use rand_chacha::ChaCha8Rng;
use std::fmt;
use std::sync::Arc;

/// A connection as one node knows it. Outgoing numbers are the node's, incoming ones the world's; the top bit
/// keeps them apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

impl ConnId {
    const INCOMING: u64 = 1 << 63;
    /// The `n`-th connection a node opened.
    pub const fn outgoing(n: u64) -> ConnId {
        ConnId(n)
    }
    /// The `n`-th connection a node accepted.
    pub const fn incoming(n: u64) -> ConnId {
        ConnId(n | Self::INCOMING)
    }
    /// Whether the other side opened it.
    pub const fn is_incoming(self) -> bool {
        self.0 & Self::INCOMING != 0
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.is_incoming() { "in" } else { "out" }, self.0 & !Self::INCOMING)
    }
}

/// Which of a node's doors a connection came through.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Listener {
    /// For clients.
    Client,
    /// For other brokers.
    InterBroker,
    /// For brokers and controllers, on a controller.
    Controller,
}

/// A host name and port, resolved by the world.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Endpoint {
    /// Host name.
    pub host: Arc<str>,
    /// TCP port.
    pub port: u16,
}

impl Endpoint {
    /// From its parts.
    pub fn new(host: impl AsRef<str>, port: u16) -> Endpoint {
        Endpoint { host: Arc::from(host.as_ref()), port }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Why a connection ended, as far as this side can know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DisconnectReason {
    /// The name did not resolve.
    Unresolved,
    /// Nobody listens there.
    Refused,
    /// Nobody answered.
    Unreachable,
    /// The other side's process died, or a middle box reset the connection.
    Reset,
    /// The other side closed it.
    Closed,
}

/// What happens to a node.
#[derive(Debug)]
pub enum Input {
    /// The process has started. Always the first input of an incarnation, and only then.
    Start {
        /// The stream of this incarnation's jitter, timeouts and ids.
        rng: Box<ChaCha8Rng>,
        /// From 1.
        incarnation: Incarnation,
    },
    /// SIGTERM: finish in order, then [`Output::Exit`].
    Shutdown,
    /// The deadline last given has come.
    Timer,
    /// A connection this node asked for is open.
    Connected {
        /// Which.
        conn: ConnId,
    },
    /// Somebody connected to this node.
    Accepted {
        /// Its number from here on.
        conn: ConnId,
        /// The door.
        listener: Listener,
    },
    /// A connection is gone, or could not be opened. Not sent for connections this node closed itself.
    Disconnected {
        /// Which.
        conn: ConnId,
        /// As far as known.
        reason: DisconnectReason,
    },
    /// A request on an incoming connection.
    Request {
        /// The connection.
        conn: ConnId,
        /// To be repeated in the response.
        correlation: i32,
        /// The API's version, which the response must have too.
        version: i16,
        /// The message.
        request: Box<RequestKind>,
    },
    /// A response on an outgoing connection.
    Response {
        /// The connection.
        conn: ConnId,
        /// Of the request it answers.
        correlation: i32,
        /// Of the request it answers.
        version: i16,
        /// The message.
        response: Box<ResponseKind>,
    },
    /// A disk operation has completed.
    Disk {
        /// Which.
        token: DiskToken,
        /// How it went.
        result: DiskResult,
    },
}

/// What a node does.
#[derive(Debug)]
pub enum Output {
    /// Open a connection.
    Connect {
        /// Its number.
        conn: ConnId,
        /// Where to.
        to: Endpoint,
    },
    /// Close a connection. Bytes already sent may still arrive.
    Close {
        /// Which.
        conn: ConnId,
    },
    /// Send a request on an outgoing connection.
    Request {
        /// The connection.
        conn: ConnId,
        /// Unique per connection, rising.
        correlation: i32,
        /// A version both sides know.
        version: i16,
        /// The message.
        request: Box<RequestKind>,
    },
    /// Answer a request.
    Response {
        /// The connection.
        conn: ConnId,
        /// Of the request.
        correlation: i32,
        /// Of the request.
        version: i16,
        /// The message.
        response: Box<ResponseKind>,
    },
    /// Ask the disk.
    Disk {
        /// Under which the completion comes.
        token: DiskToken,
        /// What is asked.
        op: DiskOp,
    },
    /// Something just became true inside the node.
    Trace(Box<TraceEvent>),
    /// Something a client application did or saw.
    Op(Box<Op>),
    /// The process ends in order (after [`Input::Shutdown`]).
    Exit,
    /// The process gives up, as Kafka's `Exit.halt`: nothing is flushed, connections are reset.
    Halt {
        /// For people.
        reason: Box<str>,
    },
}

/// Where a node puts its outputs. One for each node incarnation; it numbers connections and disk operations.
#[derive(Debug)]
pub struct Outbox {
    outputs: Vec<Output>,
    /// The latest there is, for none.
    deadline: Instant,
    conns: u64,
    tokens: u64,
}

impl Default for Outbox {
    fn default() -> Outbox {
        Outbox::new()
    }
}

impl Outbox {
    /// An empty one, for a new incarnation.
    pub fn new() -> Outbox {
        Outbox { outputs: Vec::new(), deadline: Instant::MAX, conns: 0, tokens: 0 }
    }
    /// Adds an output.
    #[inline]
    pub fn push(&mut self, output: Output) {
        self.outputs.push(output);
    }
    /// Opens a connection.
    #[inline]
    pub fn connect(&mut self, to: Endpoint) -> ConnId {
        self.conns += 1;
        let conn = ConnId::outgoing(self.conns);
        self.push(Output::Connect { conn, to });
        conn
    }
    /// Closes a connection.
    #[inline]
    pub fn close(&mut self, conn: ConnId) {
        self.push(Output::Close { conn });
    }
    /// Answers a request.
    #[inline]
    pub fn respond(&mut self, conn: ConnId, correlation: i32, version: i16, response: impl Into<ResponseKind>) {
        self.push(Output::Response { conn, correlation, version, response: Box::new(response.into()) });
    }
    /// Asks the disk.
    #[inline]
    pub fn disk(&mut self, owner: u32, op: DiskOp) -> DiskToken {
        self.tokens += 1;
        let token = DiskToken { owner, seq: self.tokens };
        self.push(Output::Disk { token, op });
        token
    }
    /// Says what just became true.
    #[inline]
    pub fn trace(&mut self, event: TraceEvent) {
        self.push(Output::Trace(Box::new(event)));
    }
    /// Records a client operation.
    #[inline]
    pub fn op(&mut self, op: Op) {
        self.push(Output::Op(Box::new(op)));
    }
    /// Asks for [`Input::Timer`] no later than `at`. Of several calls while one input is handled, the earliest
    /// counts; a node must say its next deadline again on every input.
    #[inline]
    pub fn wake_at(&mut self, at: Instant) {
        self.deadline = self.deadline.min(at);
    }
    /// Takes what has gathered: outputs in order, and the next deadline. For the world.
    #[inline]
    pub fn take(&mut self, into: &mut Vec<Output>) -> Option<Instant> {
        if into.is_empty() {
            std::mem::swap(into, &mut self.outputs);
        } else {
            into.append(&mut self.outputs);
        }
        let deadline = std::mem::replace(&mut self.deadline, Instant::MAX);
        (deadline < Instant::MAX).then_some(deadline)
    }
}

/// A broker, controller or client application.
///
/// A node never reads a clock, opens a socket, touches a file, spawns a task or draws ambient randomness. Given
/// the same inputs it returns the same outputs.
pub trait Node {
    /// Takes one input, and puts what follows from it into `out`, the next deadline included.
    fn handle(&mut self, now: Now, input: Input, out: &mut Outbox);

    /// The node's own account of its state, for audits at the ends of phases. Not for the hot path.
    fn inspect(&self) -> Inspection;

    /// Whether others may connect. Until a process is open for the first time, a world with real ports refuses connections
    /// to it; in any world, a node that is not open answers no request.
    fn is_open(&self) -> bool {
        true
    }
}
