//! One node and its incarnations: each a thread of its own, with its sockets, its disk and its clocks.

use super::answers::Answers;
use super::board::{Board, lock};
use super::faulty::FaultyDisk;
use super::files::FilesDisk;
use super::memory::{MemoryDisk, MemoryFiles};
use super::net::{Door, LiveNet};
use super::reporter::Reporter;
use crate::shell::disk::Disk;
use crate::shell::limits::Limits;
use crate::shell::process::{Clock, Control, Ending, Parts, run};
use klamm_model::broker::{Broker, BrokerSpec};
use klamm_model::controller::{Controller, ControllerSpec};
use klamm_model::ids::Incarnation;
use klamm_model::inspect::Inspection;
use klamm_model::node::{Listener, Node};
use klamm_model::units::Timestamp;
use klamm_model::versions::VersionCaps;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpSocket;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

/// Threads that wait for a node's device.
const DISK_THREADS: usize = 4;
/// How long a host that is started at once waits for its former process to be gone, and for its ports to be free.
pub(super) const START_PATIENCE: Duration = Duration::from_secs(5);

/// What runs on a host.
#[derive(Clone, Debug)]
pub enum NodeSpec {
    /// A broker.
    Broker(Box<BrokerSpec>),
    /// A controller.
    Controller(Box<ControllerSpec>),
}

impl NodeSpec {
    fn make(&self) -> Box<dyn Node> {
        match self {
            NodeSpec::Broker(spec) => Box::new(Broker::new((**spec).clone())),
            NodeSpec::Controller(spec) => Box::new(Controller::new((**spec).clone())),
        }
    }
    fn caps(&self) -> VersionCaps {
        match self {
            NodeSpec::Broker(spec) => spec.caps.clone(),
            NodeSpec::Controller(spec) => spec.caps.clone(),
        }
    }
}

/// Where its data is.
#[derive(Clone, Debug)]
pub(super) enum Data {
    Files(PathBuf),
    Memory(MemoryFiles),
}

/// How an incarnation ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ended {
    /// In order.
    Exit,
    /// The node gave up.
    Halt(String),
    /// Killed from outside.
    Killed,
    /// Its code failed.
    Failed(String),
}

/// An incarnation that ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostEnded {
    /// The host's name.
    pub host: Arc<str>,
    /// Which of its incarnations.
    pub incarnation: u32,
    /// How.
    pub how: Ended,
}

struct Running {
    control: UnboundedSender<Control>,
    kill: Option<oneshot::Sender<()>>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    running: Option<Running>,
    /// What remains to be done of a process that was killed: its thread ends, its data may be removed.
    ending: Option<JoinHandle<()>>,
    incarnation: u32,
}

impl State {
    /// Whether nothing is left of earlier processes.
    fn is_gone(&mut self) -> bool {
        if let Some(running) = self.running.take_if(|r| r.thread.is_finished()) {
            let _ = running.thread.join();
        }
        if let Some(ending) = self.ending.take_if(|e| e.is_finished()) {
            let _ = ending.join();
        }
        self.running.is_none() && self.ending.is_none()
    }
}

/// A host: its name, and what runs on it now.
pub struct Host {
    /// `b1`, `c1`.
    pub name: Arc<str>,
    /// What runs on it.
    pub spec: NodeSpec,
    pub(super) addresses: Vec<(Listener, SocketAddr)>,
    pub(super) data: Data,
    pub(super) limits: Limits,
    /// Log files that it keeps open.
    pub(super) files: usize,
    pub(super) board: Arc<Board>,
    pub(super) ended: Sender<HostEnded>,
    state: Mutex<State>,
}

/// Entropy for a node's stream. The live world repeats nothing.
pub(super) fn entropy(salt: &str) -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let n = since.as_nanos() as u64 ^ u64::from(std::process::id()).rotate_left(40);
    xxhash_rust::xxh3::xxh3_64_with_seed(salt.as_bytes(), n)
}

/// Takes a port, and does not listen yet.
pub(super) fn take_port(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A port that connections of an earlier process linger on is free.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn wall() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

impl Host {
    pub(super) fn new(
        name: Arc<str>,
        spec: NodeSpec,
        addresses: Vec<(Listener, SocketAddr)>,
        data: Data,
        (limits, files): (Limits, usize),
        board: Arc<Board>,
        ended: Sender<HostEnded>,
    ) -> Host {
        for (_, address) in &addresses {
            board.listening(address.port(), name.clone());
        }
        Host { name, spec, addresses, data, limits, files, board, ended, state: Mutex::default() }
    }

    /// Whether a process runs.
    pub fn is_up(&self) -> bool {
        lock(&self.state).running.as_ref().is_some_and(|r| !r.thread.is_finished())
    }

    /// Whether nothing is left of earlier processes.
    pub fn is_gone(&self) -> bool {
        lock(&self.state).is_gone()
    }

    /// Starts a process, on sockets bound already or on the same addresses again. No effect while one runs. What is left of
    /// the one before may take as long as `patience` to be gone.
    ///
    /// # Errors
    /// A process that is not gone, a port that is taken, or a thread that cannot be started.
    pub(super) fn start(&self, bound: Option<Vec<(Listener, TcpSocket)>>, patience: Duration) -> io::Result<()> {
        let until = std::time::Instant::now() + patience;
        let mut state = lock(&self.state);
        while !state.is_gone() {
            if state.running.is_some() {
                return Ok(());
            }
            if std::time::Instant::now() >= until {
                return Err(io::Error::new(io::ErrorKind::WouldBlock, "its former process is not gone yet"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let bound = bound.map_or_else(|| self.bind(until), Ok)?;
        state.incarnation += 1;
        let incarnation = state.incarnation;
        let (control, controlled) = unbounded_channel();
        let (kill, killed) = oneshot::channel();
        let (name, spec, data) = (self.name.clone(), self.spec.clone(), self.data.clone());
        let (limits, files) = (self.limits.clone(), self.files);
        let (board, ended) = (self.board.clone(), self.ended.clone());
        let body = move || {
            let incarnate = || -> io::Result<Ended> {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .max_blocking_threads(DISK_THREADS)
                    .build()?;
                let host = name.clone();
                let process = async move {
                    let seed = entropy(&format!("{host}/{incarnation}"));
                    let step = board.clock(&host);
                    let listeners = bound.into_iter().map(|(listener, socket)| (listener, Door::new(socket))).collect();
                    let parts = |disk| Parts {
                        name: Rc::from(&*host),
                        node: spec.make(),
                        incarnation: Incarnation(incarnation),
                        rng: ChaCha8Rng::seed_from_u64(seed),
                        net: Rc::new(LiveNet { me: host.clone(), board: board.clone() }),
                        listeners,
                        caps: spec.caps(),
                        limits,
                        disk,
                        clock: Clock::new(move || Timestamp(wall() + step.load(Ordering::Relaxed))),
                        observer: Reporter { host: host.clone() },
                        meddler: Answers::new(host.clone(), board.clone()),
                        planted: None,
                    };
                    let disk: AnyDisk = match data {
                        Data::Files(root) => AnyDisk::Files(FilesDisk::new(root, files)?),
                        Data::Memory(files) => AnyDisk::Memory(MemoryDisk::new(files)),
                    };
                    let process = run(parts(FaultyDisk::new(disk, host.clone(), board.clone())), controlled);
                    tokio::select! {
                        biased;
                        _ = killed => Ok(Ended::Killed),
                        ending = process => Ok(match ending {
                            Ending::Exit => Ended::Exit,
                            Ending::Halt { reason } => Ended::Halt(reason.into()),
                        }),
                    }
                };
                LocalSet::new().block_on(&runtime, process)
            };
            let how = match catch_unwind(AssertUnwindSafe(incarnate)) {
                Ok(Ok(how)) => how,
                Ok(Err(error)) => Ended::Halt(format!("its process cannot start: {error}")),
                Err(panic) => Ended::Failed(crate::panic_text(panic.as_ref()).to_owned()),
            };
            let _ = ended.send(HostEnded { host: name, incarnation, how });
        };
        let thread = Builder::new().name(self.name.to_string()).spawn(body)?;
        state.running = Some(Running { control, kill: Some(kill), thread });
        Ok(())
    }

    fn bind(&self, until: std::time::Instant) -> io::Result<Vec<(Listener, TcpSocket)>> {
        let bind = |&(listener, address): &(Listener, SocketAddr)| loop {
            match take_port(address) {
                Ok(socket) => return Ok((listener, socket)),
                Err(_) if std::time::Instant::now() < until => std::thread::sleep(Duration::from_millis(20)),
                Err(error) => return Err(io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))),
            }
        };
        self.addresses.iter().map(bind).collect()
    }

    /// The process is to vanish, and with `wipe` its data after it; nothing is flushed. It is over when [`Host::is_gone`] says
    /// so. False if no process ran.
    pub(super) fn stop(&self, wipe: bool) -> bool {
        let mut state = lock(&self.state);
        let mut ran = false;
        if let Some(mut running) = state.running.take() {
            ran = !running.thread.is_finished();
            drop(running.kill.take());
            // One that was killed before has been waited for by this one's start.
            state.ending = Some(running.thread);
        }
        if wipe {
            let (before, data, name) = (state.ending.take(), self.data.clone(), self.name.clone());
            let removes = move || {
                if let Some(before) = before {
                    let _ = before.join();
                }
                if let Err(error) = data.wipe() {
                    tracing::error!("{name}: its data could not be removed: {error}");
                }
            };
            match Builder::new().name(format!("{}-wipe", self.name)).spawn(removes) {
                Ok(thread) => state.ending = Some(thread),
                Err(error) => tracing::error!("{}: its data was not removed: {error}", self.name),
            }
        }
        ran
    }

    /// The process is gone when this returns. Nothing is flushed. False if none ran.
    pub(super) fn kill(&self) -> bool {
        let ran = self.stop(false);
        let ending = lock(&self.state).ending.take();
        if let Some(ending) = ending {
            let _ = ending.join();
        }
        ran
    }

    /// Waits for the process to end.
    pub(super) fn join(&self) {
        let running = lock(&self.state).running.take();
        if let Some(mut running) = running {
            // To be dropped only after the end: a sender that is gone is a kill, too.
            let kill = running.kill.take();
            let _ = running.thread.join();
            drop(kill);
        }
    }

    /// Tells the process something. False if none runs.
    pub(super) fn tell(&self, what: Control) -> bool {
        lock(&self.state).running.as_ref().is_some_and(|r| r.control.send(what).is_ok())
    }

    /// Asks for the node's account of itself; `None` if it is down.
    pub(super) fn ask(&self) -> Option<oneshot::Receiver<Inspection>> {
        let (to, from) = oneshot::channel();
        self.tell(Control::Inspect(to)).then_some(from)
    }

    /// The node's account of itself; `None` if it is down, or does not answer in time (a paused one does).
    pub fn inspect(&self, patience: Duration) -> Option<Inspection> {
        answer(self.ask()?, std::time::Instant::now() + patience)
    }
}

/// Waits for a node's account of itself.
pub(super) fn answer(mut from: oneshot::Receiver<Inspection>, until: std::time::Instant) -> Option<Inspection> {
    loop {
        match from.try_recv() {
            Ok(account) => return Some(account),
            Err(oneshot::error::TryRecvError::Closed) => return None,
            Err(oneshot::error::TryRecvError::Empty) if std::time::Instant::now() >= until => return None,
            Err(oneshot::error::TryRecvError::Empty) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// Either disk.
#[derive(Debug)]
enum AnyDisk {
    Files(FilesDisk),
    Memory(MemoryDisk),
}

impl Disk for AnyDisk {
    fn submit(
        &mut self,
        now: klamm_model::units::Instant,
        token: klamm_model::disk::DiskToken,
        op: klamm_model::disk::DiskOp,
    ) {
        match self {
            AnyDisk::Files(disk) => disk.submit(now, token, op),
            AnyDisk::Memory(disk) => disk.submit(now, token, op),
        }
    }
    fn done(&mut self, now: klamm_model::units::Instant, into: &mut Vec<crate::shell::disk::Completion>) {
        match self {
            AnyDisk::Files(disk) => disk.done(now, into),
            AnyDisk::Memory(disk) => disk.done(now, into),
        }
    }
    fn due(&self) -> Option<klamm_model::units::Instant> {
        match self {
            AnyDisk::Files(disk) => disk.due(),
            AnyDisk::Memory(disk) => disk.due(),
        }
    }
    async fn woken(&mut self) {
        match self {
            AnyDisk::Files(disk) => disk.woken().await,
            AnyDisk::Memory(disk) => disk.woken().await,
        }
    }
}
