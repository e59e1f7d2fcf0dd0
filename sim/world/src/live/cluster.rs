//! A live cluster: a controller and brokers, each on a thread of its own, or one of them alone in this process.
//!
//! Where data is kept, `cluster.properties` beside the nodes' directories holds the cluster's id; a cluster that finds one is
//! the same cluster again. The directory is claimed for as long as it is served.

use super::board::Board;
use super::claim::{Claim, Refused, claim};
use super::handles::share;
use super::host::{Data, Host, HostEnded, NodeSpec, answer, take_port};
use super::memory::MemoryFiles;
use crate::shell::limits::Limits;
use crate::shell::process::Control;
use klamm_model::broker::{BrokerSpec, Truncation};
use klamm_model::config::BrokerConfig;
use klamm_model::controller::ControllerSpec;
use klamm_model::defects::Defects;
use klamm_model::ids::{NodeId, Uuid};
use klamm_model::inspect::{BrokerInspection, ControllerInspection, Inspection};
use klamm_model::node::{Endpoint, Listener};
use klamm_model::versions::VersionCaps;
use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpSocket;

/// The controller's node id; brokers count from 1.
pub const CONTROLLER: i32 = 101;
/// Fewer connections than these, for want of descriptors, are worth saying.
const WORTH_SAYING: usize = 1_000;
/// How long a node may take to give an account of itself.
const PATIENCE: Duration = Duration::from_secs(2);

/// Which nodes run in this process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Members {
    /// The controller and all brokers.
    All,
    /// The controller alone, on the given address.
    Controller(SocketAddr),
    /// One broker alone, which finds the controller at the given address.
    Broker {
        /// Which, from 1.
        number: u32,
        /// Where the controller is.
        controller: SocketAddr,
    },
}

/// What to serve.
#[derive(Clone, Debug)]
pub struct ClusterSpec {
    /// How many brokers.
    pub brokers: u32,
    /// Where the first broker listens for clients; the others take the next ports. With port 0 each takes any.
    pub listen: SocketAddr,
    /// Where data is kept; `None`: in memory.
    pub data: Option<PathBuf>,
    /// `server.properties` of every node.
    pub config: BrokerConfig,
    /// Bounds of every process.
    pub limits: Limits,
    /// Which nodes run here.
    pub members: Members,
}

impl ClusterSpec {
    /// The names of the nodes that run here.
    fn nodes(&self) -> Vec<String> {
        match &self.members {
            Members::All => (1..=self.brokers).map(|n| format!("b{n}")).chain(["c1".to_owned()]).collect(),
            Members::Controller(_) => vec!["c1".to_owned()],
            Members::Broker { number, .. } => vec![format!("b{number}")],
        }
    }
}

/// Why a cluster cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        error: io::Error,
    },
    /// There are not so many ports.
    #[error("{brokers} brokers need ports from {first} on, and there are none above 65535")]
    Ports {
        /// As many.
        brokers: u32,
        /// The first.
        first: u16,
    },
    /// The data directory.
    #[error("cannot use the data directory {}: {error}", path.display())]
    Data {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// Another process serves it, or one that lies in it or around it.
    #[error("the data directory {} is being served by another process{}", path.display(), where_else(path, served))]
    Locked {
        /// Which was asked for.
        path: PathBuf,
        /// Which is served.
        served: PathBuf,
    },
    /// A thread.
    #[error("cannot start {host}: {error}")]
    Thread {
        /// Which host's.
        host: String,
        /// Why not.
        error: io::Error,
    },
}

fn where_else(path: &Path, served: &Path) -> String {
    match fs::canonicalize(path) {
        Ok(path) if path == served => String::new(),
        _ => format!(": it holds {}", served.join(super::claim::LOCK).display()),
    }
}

/// A running cluster. Dropping it kills it.
pub struct Cluster {
    /// Hosts: the controller first, then brokers by number.
    hosts: Vec<Host>,
    board: Arc<Board>,
    ended: Mutex<Receiver<HostEnded>>,
    brokers: u32,
    bootstrap: Vec<SocketAddr>,
    _claim: Option<Claim>,
}

/// A cluster's or a directory's new id.
fn new_id(purpose: &str) -> Uuid {
    Uuid::from_u64_pair(super::host::entropy(purpose), super::host::entropy(&format!("{purpose}'")))
}

/// The cluster's id: found, or made and written down.
fn identity(dir: &Path) -> io::Result<Uuid> {
    let file = dir.join("cluster.properties");
    match fs::read_to_string(&file) {
        Ok(text) => {
            let id = text.lines().find_map(|line| line.strip_prefix("cluster.id="));
            let wrong = || io::Error::new(io::ErrorKind::InvalidData, format!("{} names no cluster", file.display()));
            id.and_then(|id| Uuid::try_parse(id.trim()).ok()).ok_or_else(wrong)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let id = new_id("cluster");
            let aside = dir.join(format!("cluster.properties.{}", std::process::id()));
            fs::write(&aside, format!("cluster.id={id}\n"))?;
            File::open(&aside)?.sync_all()?;
            // Of several processes that begin at once, the first to link wins.
            let linked = fs::hard_link(&aside, &file);
            fs::remove_file(&aside)?;
            match linked {
                Ok(()) => Ok(id),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => identity(dir),
                Err(error) => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

fn bind(address: SocketAddr) -> Result<(SocketAddr, TcpSocket), StartError> {
    let bound = take_port(address).and_then(|socket| Ok((socket.local_addr()?, socket)));
    bound.map_err(|error| StartError::Listen { address, error })
}

impl Cluster {
    /// Starts it. It is not ready yet: see [`Cluster::await_ready`].
    ///
    /// # Errors
    /// Ports that are taken, a data directory that cannot be used.
    pub fn start(spec: &ClusterSpec) -> Result<Cluster, StartError> {
        let (ended, ends) = channel();
        let board = Arc::new(Board::default());
        let in_data = |error: io::Error| StartError::Data { path: spec.data.clone().unwrap_or_default(), error };
        let (mut claimed, mut cluster_id) = (None, new_id("cluster"));
        if let Some(dir) = &spec.data {
            let refused = |why: Refused| match why {
                Refused::Served(served) => StartError::Locked { path: dir.clone(), served },
                Refused::Io(error) => in_data(error),
            };
            claimed = Some(claim(dir, &spec.nodes(), spec.members == Members::All).map_err(refused)?);
            cluster_id = identity(dir).map_err(in_data)?;
            super::directories::compare(dir).map_err(in_data)?;
        }
        let data = |name: &str| match &spec.data {
            Some(dir) => Data::Files(dir.join(name)),
            None => Data::Memory(MemoryFiles::default()),
        };
        let nodes = spec.nodes();
        let share = share(nodes.len(), nodes.iter().filter(|name| *name != "c1").count());
        let mut limits = spec.limits.clone();
        if share.connections < limits.connections.min(WORTH_SAYING) {
            tracing::warn!(
                "few files may be open: each node keeps {} log files open, each broker takes {} connections; a higher \
                 `ulimit -n` helps",
                share.files,
                share.connections
            );
        }
        limits.connections = limits.connections.min(share.connections);
        let ip = spec.listen.ip();
        let any_port = |ip: IpAddr| SocketAddr::new(ip, 0);
        let endpoint = |address: SocketAddr| Endpoint::new(address.ip().to_string(), address.port());
        let (mut hosts, mut sockets, mut bootstrap) = (Vec::new(), Vec::new(), Vec::new());

        let controller_bound = match &spec.members {
            Members::All => Some(bind(any_port(ip))?),
            Members::Controller(address) => Some(bind(*address)?),
            Members::Broker { .. } => None,
        };
        let controller_at = match (&controller_bound, &spec.members) {
            (_, Members::Broker { controller, .. }) => *controller,
            (Some((address, _)), _) => *address,
            (None, _) => unreachable!("whoever is no broker alone has a controller"),
        };
        let controllers = vec![(NodeId(CONTROLLER), endpoint(controller_at))];
        let mut host = |name: String, spec_of: NodeSpec, bound: Vec<(Listener, (SocketAddr, TcpSocket))>| {
            let addresses = bound.iter().map(|(listener, (address, _))| (*listener, *address)).collect();
            let (board, ended) = (board.clone(), ended.clone());
            let data = data(&name);
            hosts.push(Host::new(name.into(), spec_of, addresses, data, (limits.clone(), share.files), board, ended));
            sockets.push(bound.into_iter().map(|(listener, (_, socket))| (listener, socket)).collect::<Vec<_>>());
        };
        if let Some(bound) = controller_bound {
            let controller = ControllerSpec {
                id: NodeId(CONTROLLER),
                config: spec.config.clone(),
                cluster_id,
                dir_id: new_id("c1"),
                shares_disk: false,
                voters: controllers.clone(),
                elr: true,
                defects: Defects::default(),
                caps: VersionCaps::default(),
            };
            host("c1".to_owned(), NodeSpec::Controller(Box::new(controller)), vec![(Listener::Controller, bound)]);
        }
        let numbers: Vec<u32> = match spec.members {
            Members::All => (1..=spec.brokers).collect(),
            Members::Controller(_) => Vec::new(),
            Members::Broker { number, .. } => vec![number],
        };
        for number in numbers {
            let port = match spec.listen.port() {
                0 => 0,
                first => {
                    let ports = StartError::Ports { brokers: spec.brokers, first };
                    u16::try_from(u32::from(first) + number - 1).map_err(|_| ports)?
                }
            };
            let client = bind(SocketAddr::new(ip, port))?;
            let inter_broker = bind(any_port(ip))?;
            bootstrap.push(client.0);
            let name = format!("b{number}");
            let broker = BrokerSpec {
                id: NodeId(number as i32),
                config: spec.config.clone(),
                client: endpoint(client.0),
                inter_broker: endpoint(inter_broker.0),
                controllers: controllers.clone(),
                truncation: Truncation::Fetch,
                defects: Defects::default(),
                caps: VersionCaps::default(),
                cluster_id,
                dir_id: new_id(&name),
            };
            let bound = vec![(Listener::Client, client), (Listener::InterBroker, inter_broker)];
            host(name, NodeSpec::Broker(Box::new(broker)), bound);
        }
        let cluster =
            Cluster { hosts, board, ended: Mutex::new(ends), brokers: spec.brokers, bootstrap, _claim: claimed };
        for (host, bound) in cluster.hosts.iter().zip(sockets) {
            let failed = |error| StartError::Thread { host: host.name.to_string(), error };
            host.start(Some(bound), Duration::ZERO).map_err(failed)?;
        }
        Ok(cluster)
    }

    /// The faults in force.
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }
    /// Where clients connect first.
    pub fn bootstrap(&self) -> String {
        self.bootstrap.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(",")
    }
    /// Hosts that run here, by name.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }
    /// One host.
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|h| &*h.name == name)
    }
    /// The next process that ended, if one does within `patience`.
    pub fn next_ended(&self, patience: Duration) -> Option<HostEnded> {
        super::board::lock(&self.ended).recv_timeout(patience).ok()
    }

    /// Waits until every broker here takes part. False if that takes longer than `patience`.
    pub fn await_ready(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let ready = |host: &Host| match host.inspect(PATIENCE) {
            Some(Inspection::Broker(broker)) => broker.unfenced && self.sees_everybody(&broker),
            Some(_) => true,
            None => false,
        };
        loop {
            if self.hosts.iter().all(ready) {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether a broker's metadata has come as far as the controller's, as of now.
    fn sees_everybody(&self, broker: &BrokerInspection) -> bool {
        self.controller().is_none_or(|c| {
            let unfenced = c.brokers.iter().filter(|(_, _, fenced, _)| !fenced).count();
            unfenced as u32 >= self.brokers && broker.metadata_applied >= c.committed
        })
    }

    /// The accounts of all hosts that run here, asked for at once: one that does not answer holds up no other.
    pub fn accounts(&self) -> Vec<(&Host, Option<Inspection>)> {
        let asked: Vec<_> = self.hosts.iter().map(|host| (host, host.ask())).collect();
        let until = Instant::now() + PATIENCE;
        asked.into_iter().map(|(host, from)| (host, from.and_then(|from| answer(from, until)))).collect()
    }
    /// The controller's account, if it runs here.
    pub fn controller(&self) -> Option<ControllerInspection> {
        match self.host("c1")?.inspect(PATIENCE)? {
            Inspection::Controller(account) => Some(account),
            _ => None,
        }
    }
    /// The accounts of the brokers that run here.
    pub fn brokers(&self) -> Vec<(&str, Option<BrokerInspection>)> {
        let brokers = self.accounts().into_iter().filter(|(host, _)| matches!(host.spec, NodeSpec::Broker(_)));
        let account = |account| match account {
            Some(Inspection::Broker(account)) => Some(account),
            _ => None,
        };
        brokers.map(|(host, told)| (&*host.name, account(told))).collect()
    }

    /// The process is gone at once; connections break, what was written stays written.
    pub fn kill(&self, name: &str) -> bool {
        self.host(name).is_some_and(Host::kill)
    }
    /// A host's process starts again, where none runs.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn restart(&self, name: &str) -> Result<(), StartError> {
        let Some(host) = self.host(name) else { return Ok(()) };
        let failed = |error| StartError::Thread { host: name.to_owned(), error };
        host.start(None, super::host::START_PATIENCE).map_err(failed)
    }
    /// SIGTERM for one host.
    pub fn shut_down(&self, name: &str) -> bool {
        self.host(name).is_some_and(|h| h.tell(Control::Shutdown))
    }
    /// A host's process stops where it is, or goes on.
    pub fn pause(&self, name: &str, paused: bool) -> bool {
        self.host(name).is_some_and(|h| h.tell(if paused { Control::Pause } else { Control::Resume }))
    }
    /// SIGTERM for everybody: brokers first, and the controller once they are through. Whoever is not through within
    /// `patience` is killed; their names are returned.
    pub fn shut_down_all(&self, patience: Duration) -> Vec<String> {
        self.board.lift_all();
        let until = Instant::now() + patience;
        let mut late = Vec::new();
        let (controllers, brokers): (Vec<&Host>, Vec<&Host>) =
            self.hosts.iter().partition(|h| matches!(h.spec, NodeSpec::Controller(_)));
        for group in [brokers, controllers] {
            for host in &group {
                host.tell(Control::Resume);
                host.tell(Control::Shutdown);
            }
            for host in group {
                while host.is_up() && Instant::now() < until {
                    std::thread::sleep(Duration::from_millis(2));
                }
                if host.is_up() {
                    late.push(host.name.to_string());
                    host.kill();
                }
                host.join();
            }
        }
        late
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for host in &self.hosts {
            host.kill();
        }
    }
}

impl Data {
    /// Everything is gone but the lock: the host is this process's, whatever becomes of its data.
    pub(super) fn wipe(&self) -> io::Result<()> {
        let dir = match self {
            Data::Files(dir) => dir,
            Data::Memory(files) => {
                files.wipe();
                return Ok(());
            }
        };
        let entries = match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else if entry.file_name() != super::claim::LOCK {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}
