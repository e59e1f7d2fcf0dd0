//! One incarnation of a node: its inputs gathered from sockets, disk and clock, its outputs carried out.
//!
//! Everything happens on one thread, one input after the other, in the order of arrival. Answers leave a connection in the
//! order of its requests, whoever gives them. A timer never comes before its deadline. Dropping the future that
//! [`run`] returns is a kill: tasks, sockets and files are gone, nothing is flushed.

use super::budget::{Hold, Owed, Requests, Unsent};
use super::codec::{encode_request, encode_response, is_answered};
use super::complaints::Complaints;
use super::connection::{Asked, News, Outgoing, Shared, accept, read_requests, read_responses, write};
use super::disk::{Completion, Disk};
use super::limits::Limits;
use super::net::{Net, StreamOf, reason};
use super::observer::{Ends, Fault, Meddler, Observer, Place};
use super::planted::Planted;
use bytes::BytesMut;
use kafka_protocol::messages::{RequestKind, ResponseKind};
use kafka_protocol::protocol::StrBytes;
use klamm_model::ids::{ApiKey, Incarnation};
use klamm_model::inspect::Inspection;
use klamm_model::node::{Endpoint, Listener, Node, Outbox};
use klamm_model::units::{Instant, Now, Timestamp};
use klamm_model::versions::{VersionCaps, api_of};
use klamm_model::{ConnId, DisconnectReason, Input, Output};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Sleep, sleep_until, timeout};

/// How many timers in a row may leave the next one due at once.
const HURRIED: u32 = 1_000;
/// How many inputs are handled before control and timers are looked at again.
const INPUTS_AT_ONCE: usize = 64;
/// How long the last answers of a process that ends in order may take to leave.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A node's two clocks.
pub struct Clock {
    began: tokio::time::Instant,
    read: Instant,
    wall: Box<dyn Fn() -> Timestamp>,
}

impl Clock {
    /// The monotonic clock begins now; `wall` reads the other.
    pub fn new(wall: impl Fn() -> Timestamp + 'static) -> Clock {
        Clock::reading(Instant::ZERO, wall)
    }
    /// The monotonic clock reads `read` now; `wall` reads the other.
    pub fn reading(read: Instant, wall: impl Fn() -> Timestamp + 'static) -> Clock {
        Clock { began: tokio::time::Instant::now(), read, wall: Box::new(wall) }
    }
    /// Reads both.
    pub fn now(&self) -> Now {
        let mono = Instant::from_nanos(self.read.as_nanos() + self.began.elapsed().as_nanos() as u64);
        Now { mono, wall: (self.wall)() }
    }
    /// When a deadline comes, on tokio's clock; never is far away.
    fn when(&self, at: Instant) -> tokio::time::Instant {
        self.began + Duration::from_nanos(at.since(self.read).as_nanos().min(i64::MAX as u64 / 2))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("began", &self.began).finish_non_exhaustive()
    }
}

/// What is done to a process from outside.
#[derive(Debug)]
pub enum Control {
    /// SIGTERM.
    Shutdown,
    /// Nothing is processed from now on; sockets stay open.
    Pause,
    /// Processing goes on.
    Resume,
    /// The node gives an account of itself.
    Inspect(oneshot::Sender<Inspection>),
}

/// How a process ended, unless it was killed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// In order.
    Exit,
    /// The node gave up.
    Halt {
        /// As it said.
        reason: Box<str>,
    },
}

/// What a process is made of.
pub struct Parts<N: Net, D, O, M> {
    /// Its name, in logs and as the client id of its own requests.
    pub name: Rc<str>,
    /// The node, which has not started yet.
    pub node: Box<dyn Node>,
    /// From 1.
    pub incarnation: Incarnation,
    /// The node's stream.
    pub rng: ChaCha8Rng,
    /// The sockets it opens.
    pub net: Rc<N>,
    /// The sockets it listens on, from when its node lets others in.
    pub listeners: Vec<(Listener, N::Listener)>,
    /// The highest versions its node admits to.
    pub caps: VersionCaps,
    /// Bounds.
    pub limits: Limits,
    /// Its disk.
    pub disk: D,
    /// Its clocks.
    pub clock: Clock,
    /// Who watches.
    pub observer: O,
    /// Who meddles.
    pub meddler: M,
    /// A bug, for tests.
    pub planted: Option<Planted>,
}

/// A request that is not answered yet, or whose answer waits for an earlier one.
struct Pending {
    correlation: i32,
    api: ApiKey,
    hold: Hold,
    answer: Option<(BytesMut, Owed)>,
}

/// What a connection is to this process.
enum Role {
    /// Accepted.
    Server { listener: Listener, pending: VecDeque<Pending> },
    /// Opened.
    Client { asked: Asked },
}

/// An open connection.
struct Connection {
    role: Role,
    peer: String,
    outgoing: UnboundedSender<Outgoing>,
    unsent: Rc<Unsent>,
    reader: AbortHandle,
    writer: AbortHandle,
}

struct Process<N: Net, D, O, M> {
    name: Rc<str>,
    node: Box<dyn Node>,
    outbox: Outbox,
    outputs: Vec<Output>,
    deadline: Option<Instant>,
    /// Timers in a row that left the next one due already.
    hurried: u32,
    net: Rc<N>,
    /// Ports that are closed until the node lets others in.
    doors: Vec<(Listener, N::Listener)>,
    connections: BTreeMap<ConnId, Connection>,
    /// Connections being opened.
    opening: BTreeMap<ConnId, AbortHandle>,
    accepted: u64,
    /// Open connections that were accepted, by listener.
    open_on: [usize; 3],
    /// Requests that nobody waits for an answer to; they hold their places until the disk is through.
    unanswered: Vec<Hold>,
    asked_of_disk: usize,
    shared: Rc<Shared>,
    client_id: StrBytes,
    disk: D,
    completions: Vec<Completion>,
    clock: Clock,
    observer: O,
    meddler: M,
    /// Those that accept, connect and read.
    tasks: JoinSet<()>,
    writers: JoinSet<()>,
    news: UnboundedSender<News<N>>,
    ending: Option<Ending>,
}

/// Where a listener stands among all.
fn place(listener: Listener) -> usize {
    match listener {
        Listener::Client => 0,
        Listener::InterBroker => 1,
        Listener::Controller => 2,
    }
}

/// Runs a process to its end. Must be polled within a `LocalSet`. `control` may be closed early; the process goes on.
pub async fn run<N: Net, D: Disk, O: Observer, M: Meddler>(
    parts: Parts<N, D, O, M>,
    mut control: UnboundedReceiver<Control>,
) -> Ending {
    let (news, mut heard) = unbounded_channel();
    let (mut process, rng, incarnation) = Process::new(parts, news);
    process.input(Input::Start { rng: Box::new(rng), incarnation });
    let mut sleep: Pin<Box<Sleep>> = Box::pin(sleep_until(process.clock.began));
    let (mut armed, mut paused, mut controlled) = (None, false, true);
    loop {
        if !paused {
            process.settle();
        }
        process.reap();
        if let Some(ending) = process.ending.take() {
            return process.end(ending).await;
        }
        let wake = [process.deadline, process.disk.due()].into_iter().flatten().min().filter(|&at| at < Instant::MAX);
        if wake != armed {
            armed = wake;
            if let Some(at) = wake {
                sleep.as_mut().reset(process.clock.when(at));
            }
        }
        tokio::select! {
            biased;
            asked = control.recv(), if controlled => match asked {
                None => controlled = false,
                Some(Control::Pause) => paused = true,
                Some(Control::Resume) => paused = false,
                Some(Control::Shutdown) => {
                    process.observer.shutdown(process.clock.now());
                    process.input(Input::Shutdown);
                }
                Some(Control::Inspect(to)) => { let _ = to.send(process.node.inspect()); }
            },
            () = sleep.as_mut(), if armed.is_some() && !paused => {
                armed = None;
                process.timer();
            }
            () = process.disk.woken(), if !paused => {}
            first = heard.recv(), if !paused => {
                let (mut next, mut handled) = (first, 0);
                while let Some(one) = next {
                    process.hear(one);
                    process.settle();
                    handled += 1;
                    if handled == INPUTS_AT_ONCE || process.ending.is_some() {
                        break;
                    }
                    next = heard.try_recv().ok();
                }
            }
        }
    }
}

impl<N: Net, D: Disk, O: Observer, M: Meddler> Process<N, D, O, M> {
    fn new(parts: Parts<N, D, O, M>, news: UnboundedSender<News<N>>) -> (Self, ChaCha8Rng, Incarnation) {
        let limits = parts.limits;
        let (requests, answers, complaints) = (Requests::new(&limits), Rc::default(), Rc::<Complaints>::default());
        let shared = Shared { limits, caps: parts.caps, requests, answers, complaints, planted: parts.planted };
        let process = Process {
            doors: parts.listeners,
            client_id: StrBytes::from_string(parts.name.to_string()),
            name: parts.name,
            node: parts.node,
            outbox: Outbox::new(),
            outputs: Vec::new(),
            deadline: None,
            hurried: 0,
            net: parts.net,
            connections: BTreeMap::new(),
            opening: BTreeMap::new(),
            accepted: 0,
            open_on: [0; 3],
            unanswered: Vec::new(),
            asked_of_disk: 0,
            shared: Rc::new(shared),
            disk: parts.disk,
            completions: Vec::new(),
            clock: parts.clock,
            observer: parts.observer,
            meddler: parts.meddler,
            tasks: JoinSet::new(),
            writers: JoinSet::new(),
            news,
            ending: None,
        };
        (process, parts.rng, parts.incarnation)
    }

    /// Hands the node one input, and carries out what it returns.
    fn input(&mut self, input: Input) {
        let now = self.clock.now();
        self.node.handle(now, input, &mut self.outbox);
        let mut outputs = std::mem::take(&mut self.outputs);
        self.deadline = self.outbox.take(&mut outputs);
        for output in outputs.drain(..) {
            // What a node does after it gave up is not done.
            if self.ending.is_some() {
                break;
            }
            self.carry_out(now, output);
        }
        self.outputs = outputs;
        if !self.doors.is_empty() && self.node.is_open() {
            for (listener, socket) in std::mem::take(&mut self.doors) {
                let (net, complaints) = (self.net.clone(), self.shared.complaints.clone());
                let task = accept(net, (self.name.clone(), listener), socket, complaints, self.news.clone());
                self.tasks.spawn_local(task);
            }
        }
    }

    /// Takes leave of tasks that are over. A panic in one of them is the process's own.
    fn reap(&mut self) {
        while let Some(ended) = self.tasks.try_join_next().or_else(|| self.writers.try_join_next()) {
            if let Some(panic) = ended.err().and_then(|error| error.try_into_panic().ok()) {
                std::panic::resume_unwind(panic);
            }
        }
    }

    /// The deadline may have come. The disk's is seen to by [`Process::settle`].
    fn timer(&mut self) {
        let now = self.clock.now();
        if self.deadline.is_some_and(|at| at <= now.mono) {
            self.observer.timer(now);
            self.input(Input::Timer);
            self.pace(now.mono);
        }
    }

    /// A node whose timer is always due would keep a processor busy: after many in a row it waits a millisecond.
    fn pace(&mut self, now: Instant) {
        if self.deadline.is_none_or(|at| at > now) {
            self.hurried = 0;
            return;
        }
        self.hurried = self.hurried.saturating_add(1);
        if self.hurried == HURRIED {
            tracing::warn!("{}: {HURRIED} timers in a row were due at once; from now on one a millisecond", self.name);
        }
        if self.hurried >= HURRIED {
            self.deadline = Some(now + klamm_model::units::Duration::from_millis(1));
        }
    }

    /// Hands the node what its disk has done by now, and its timer if that is due.
    fn settle(&mut self) {
        let mut done = std::mem::take(&mut self.completions);
        while self.ending.is_none() {
            self.disk.done(self.clock.now().mono, &mut done);
            if done.is_empty() {
                break;
            }
            for (token, result) in done.drain(..) {
                self.asked_of_disk -= 1;
                if self.ending.is_none() {
                    self.observer.disk_done(self.clock.now(), token, &result);
                    self.input(Input::Disk { token, result });
                }
            }
        }
        self.completions = done;
        if self.asked_of_disk == 0 {
            self.unanswered.clear();
        }
        if self.ending.is_none() {
            self.timer();
        }
    }

    fn hear(&mut self, news: News<N>) {
        match news {
            News::Accepted { listener, stream, .. } => self.accepted(listener, stream),
            News::Panicked => self.reap(),
            News::Connected { conn, stream } => self.connected(conn, stream),
            News::Request { conn, incoming, hold } => {
                let Some(Connection { role: Role::Server { listener, pending }, .. }) = self.connections.get_mut(&conn)
                else {
                    return;
                };
                let (correlation, version, api) = (incoming.correlation, incoming.version, incoming.api);
                let meddled = self.meddler.answer(*listener, version, &incoming.request);
                if is_answered(&incoming.request) {
                    pending.push_back(Pending { correlation, api, hold, answer: None });
                } else {
                    self.unanswered.push(hold);
                }
                let now = self.clock.now();
                match meddled {
                    Some(response) if is_answered(&incoming.request) => {
                        self.respond(now, conn, correlation, version, &response);
                    }
                    Some(_) => {}
                    None => {
                        self.observer.request_taken(now, Place { conn, correlation, version }, &incoming.request);
                        let request = Box::new(incoming.request);
                        self.input(Input::Request { conn, correlation, version, request });
                    }
                }
            }
            News::Response { conn, correlation, version, response } => {
                if self.connections.contains_key(&conn) {
                    let place = Place { conn, correlation, version };
                    self.observer.response_taken(self.clock.now(), place, &response);
                    self.input(Input::Response { conn, correlation, version, response });
                }
            }
            News::Ended { conn, reason, fault } => {
                let known = self.opening.remove(&conn).is_some() | self.forget(conn);
                if known {
                    let now = self.clock.now();
                    fault.iter().for_each(|fault| self.observer.unreadable(now, conn, fault));
                    self.observer.disconnected(now, conn, reason);
                    self.input(Input::Disconnected { conn, reason });
                }
            }
        }
    }

    fn accepted(&mut self, listener: Listener, stream: StreamOf<N>) {
        let open = self.open_on[place(listener)];
        if open >= self.shared.limits.connections_on(listener) {
            let what = format_args!("refusing {}: {open} connections are open", stream.peer);
            self.shared.complaints.say(&self.name, "connections too many", &stream.peer, &what);
            return;
        }
        self.open_on[place(listener)] += 1;
        self.accepted += 1;
        let conn = ConnId::incoming(self.accepted);
        let ends = Ends { local: &stream.local, peer: &stream.peer };
        self.observer.accepted(self.clock.now(), conn, listener, ends);
        let (name, shared, news) = (self.name.clone(), self.shared.clone(), self.news.clone());
        let (peer, unsent) = (stream.peer.clone(), Unsent::new(shared.answers.clone()));
        let reads =
            read_requests::<N>((conn, listener), (name, stream.peer), stream.read, unsent.clone(), shared, news);
        let reader = self.tasks.spawn_local(reads);
        let role = Role::Server { listener, pending: VecDeque::new() };
        self.open(conn, role, reader, (peer, stream.write), unsent);
        self.input(Input::Accepted { conn, listener });
    }

    fn connected(&mut self, conn: ConnId, stream: StreamOf<N>) {
        if self.opening.remove(&conn).is_none() {
            return; // The node has given it up in the meantime.
        }
        self.observer.connected(self.clock.now(), conn, Ends { local: &stream.local, peer: &stream.peer });
        let asked = Asked::default();
        let (name, shared, news) = (self.name.clone(), self.shared.clone(), self.news.clone());
        let (peer, unsent) = (stream.peer.clone(), Unsent::new(shared.answers.clone()));
        let reads = read_responses::<N>(conn, (name, stream.peer), stream.read, asked.clone(), shared, news);
        let reader = self.tasks.spawn_local(reads);
        self.open(conn, Role::Client { asked }, reader, (peer, stream.write), unsent);
        self.input(Input::Connected { conn });
    }

    fn open(
        &mut self,
        conn: ConnId,
        role: Role,
        reader: AbortHandle,
        (peer, to): (String, N::Write),
        unsent: Rc<Unsent>,
    ) {
        let (outgoing, frames) = unbounded_channel();
        let writes = write::<N>(conn, to, frames, unsent.clone(), self.shared.clone(), self.news.clone());
        let writer = self.writers.spawn_local(writes);
        self.connections.insert(conn, Connection { role, peer, outgoing, unsent, reader, writer });
    }

    /// If more answers wait than may, those of whose peers take nothing are dropped, and their connections closed.
    fn bound_answers(&mut self) {
        let limit = self.shared.limits.answer_bytes;
        let of = self.connections.iter().map(|(conn, connection)| (*conn, &connection.unsent));
        for conn in self.shared.answers.give_up(limit, of) {
            let Some(connection) = self.connections.get_mut(&conn) else { continue };
            let why = format!("over {limit} bytes of answers wait, and it takes none");
            let what = format_args!("closing the connection with {}: {why}", connection.peer);
            self.shared.complaints.say(&self.name, "answers not taken", &connection.peer, &what);
            connection.reader.abort();
            connection.writer.abort();
            if let Role::Server { pending, .. } = &mut connection.role {
                pending.clear();
            }
            let (reason, fault) = (DisconnectReason::Closed, Some(Fault::Silent(why)));
            let _ = self.news.send(News::Ended { conn, reason, fault });
        }
    }

    /// A connection is over for this process. What was written to it still leaves.
    fn forget(&mut self, conn: ConnId) -> bool {
        let Some(connection) = self.connections.remove(&conn) else { return false };
        connection.reader.abort();
        if self.shared.planted == Some(Planted::LateBytesDropped) {
            connection.writer.abort();
        }
        if let Role::Server { listener, .. } = connection.role {
            self.open_on[place(listener)] -= 1;
        }
        true
    }

    fn carry_out(&mut self, now: Now, output: Output) {
        match output {
            Output::Connect { conn, to } => {
                self.observer.connecting(now, conn, &to);
                self.connect(conn, to);
            }
            Output::Close { conn } => {
                self.observer.closed(now, conn);
                if let Some(opening) = self.opening.remove(&conn) {
                    opening.abort();
                }
                self.forget(conn);
            }
            Output::Request { conn, correlation, version, request } => {
                self.ask(now, conn, correlation, version, &request)
            }
            Output::Response { conn, correlation, version, response } => {
                self.respond(now, conn, correlation, version, &response);
            }
            Output::Disk { token, op } => {
                self.asked_of_disk += 1;
                self.observer.disk_asked(now, token, &op);
                self.disk.submit(now.mono, token, op);
            }
            Output::Trace(event) => self.observer.trace(now, &event),
            Output::Op(op) => self.observer.op(now, &op),
            Output::Exit => self.ending = Some(Ending::Exit),
            Output::Halt { reason } => self.ending = Some(Ending::Halt { reason }),
        }
    }

    fn connect(&mut self, conn: ConnId, to: Endpoint) {
        let (net, news) = (self.net.clone(), self.news.clone());
        let connects = async move {
            let _ = news.send(match net.connect(&to).await {
                Ok(stream) => News::Connected { conn, stream },
                Err(error) => {
                    tracing::debug!("cannot connect to {to}: {error}");
                    News::Ended { conn, reason: reason(&error), fault: None }
                }
            });
        };
        let opening = self.tasks.spawn_local(connects);
        self.opening.insert(conn, opening);
    }

    fn ask(&mut self, now: Now, conn: ConnId, correlation: i32, version: i16, request: &RequestKind) {
        let Some(Connection { role: Role::Client { asked }, outgoing, .. }) = self.connections.get(&conn) else {
            return;
        };
        match encode_request(&self.client_id, correlation, version, request) {
            Ok(frame) => {
                if is_answered(request) {
                    asked.borrow_mut().push_back((correlation, api_of(request), version));
                }
                self.observer.request_sent(now, Place { conn, correlation, version }, request, &frame);
                let _ = outgoing.send(Outgoing { frame, hold: None, owed: None });
            }
            Err(error) => self.broken(conn, &error),
        }
    }

    /// Answers a request: at once if it is the connection's oldest, else after those before it.
    fn respond(&mut self, now: Now, conn: ConnId, correlation: i32, version: i16, response: &ResponseKind) {
        let Some(Connection { role: Role::Server { pending, .. }, outgoing, unsent, .. }) =
            self.connections.get_mut(&conn)
        else {
            return;
        };
        let asked = pending.iter_mut().find(|p| p.correlation == correlation && p.answer.is_none());
        let Some(asked) = asked else {
            tracing::error!("{}: an answer to request {correlation}, which nobody sent", self.name);
            return;
        };
        match encode_response(asked.api, correlation, version, response) {
            Ok(frame) => {
                self.observer.response_sent(now, Place { conn, correlation, version }, response, &frame);
                let owed = unsent.owe(frame.len());
                asked.answer = Some((frame, owed));
            }
            Err(error) => return self.broken(conn, &error),
        }
        if self.shared.planted == Some(Planted::AnswersSwapped) && pending.len() > 1 {
            if pending[1].answer.is_none() {
                return;
            }
            pending.swap(0, 1);
        }
        while let Some(next) = pending.pop_front_if(|p| p.answer.is_some()) {
            let Some((frame, owed)) = next.answer else { unreachable!("just looked at") };
            let _ = outgoing.send(Outgoing { frame, hold: Some(next.hold), owed: Some(owed) });
        }
        self.bound_answers();
    }

    /// The node made a message that its version cannot carry: a defect of the node's, at the cost of the connection.
    fn broken(&mut self, conn: ConnId, error: &dyn fmt::Display) {
        tracing::error!("{}: {error}", self.name);
        let _ = self.news.send(News::Ended { conn, reason: DisconnectReason::Reset, fault: None });
    }

    /// The last answers leave, and it is over.
    async fn end(self, ending: Ending) -> Ending {
        let Process { tasks, mut writers, connections, .. } = self;
        drop(tasks);
        if ending == Ending::Exit {
            // Without their senders, writers write what they have, and end.
            drop(connections);
            let _ = timeout(LAST_WORDS, async { while writers.join_next().await.is_some() {} }).await;
        }
        ending
    }
}
