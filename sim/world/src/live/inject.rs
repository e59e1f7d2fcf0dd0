//! Faults done to a live cluster: the vocabulary of schedules ([`Action`]), aimed by asking the cluster, and lifted when their
//! time is over. What cannot be done to real sockets and real disks is refused by name.

use super::board::{CLIENTS, Fault, FaultId, lock};
use super::cluster::Cluster;
use super::host::NodeSpec;
use super::supervisor::Supervisor;
use crate::disk::DiskFault;
use crate::faults::who::Expr;
use crate::faults::{Action, ParseError, PartitionName, Who, nearest};
use klamm_model::ids::{ApiKey, NodeId};
use klamm_model::inspect::{BrokerInspection, ControllerPartition, Inspection};
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// How many faults may be in force at once.
pub const MAX_IN_FORCE: usize = 1_000;

/// Why a fault is not done.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Not in this world.
    #[error("`{kind}` cannot be done to a live cluster: {why}")]
    NotHere {
        /// The fault.
        kind: &'static str,
        /// Why not.
        why: &'static str,
    },
    /// Nobody is meant, as things are.
    #[error("`{0}` means nobody at present{1}")]
    Nobody(String, String),
    /// Nobody can be told apart.
    #[error("`{0}` cannot be told apart from other clients here; `clients` means all of them")]
    Clients(String),
    /// It cannot be understood.
    #[error(transparent)]
    Who(#[from] ParseError),
    /// There are too many.
    #[error("{MAX_IN_FORCE} faults are in force; lift some before")]
    TooMany,
}

/// What a live cluster can have done to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Deed {
    /// One of a schedule's.
    Action(Action),
    /// Requests of clients are answered with an error.
    Answer {
        /// Of which broker.
        who: Who,
        /// Which requests.
        api: ApiKey,
        /// Kafka's error code.
        error: i16,
        /// How many; `None`: until it is lifted.
        times: Option<u32>,
    },
}

/// How a fault is lifted.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Lift {
    Board(FaultId),
    /// It holds a host down, or pauses it.
    Host(String),
}

/// A fault in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InForce {
    /// Its number.
    pub id: u64,
    /// What it is, with hosts' names.
    pub what: String,
    lifts: Vec<Lift>,
    until: Option<Instant>,
}

#[derive(Default)]
struct State {
    in_force: BTreeMap<u64, InForce>,
    next: u64,
    last_killed: Option<String>,
}

/// Does faults, and lifts them. Nothing here waits for a host but the aim, and that only for as long as one may take to
/// answer.
pub struct Injector {
    cluster: Arc<Cluster>,
    supervisor: Supervisor,
    seed: u64,
    state: Mutex<State>,
}

/// Who can be meant: the cluster as it is when a fault is aimed. Asked only if an expression needs to know.
struct Sight<'a> {
    cluster: &'a Cluster,
    seen: OnceCell<Seen<'a>>,
}

struct Seen<'a> {
    partitions: Vec<ControllerPartition>,
    brokers: Vec<(&'a str, Option<BrokerInspection>)>,
}

fn name(node: NodeId) -> String {
    format!("b{}", node.0)
}

impl<'a> Sight<'a> {
    fn seen(&self) -> &Seen<'a> {
        self.seen.get_or_init(|| {
            let mut seen = Seen { partitions: Vec::new(), brokers: Vec::new() };
            for (host, account) in self.cluster.accounts() {
                match (&host.spec, account) {
                    (NodeSpec::Controller(_), Some(Inspection::Controller(c))) => seen.partitions = c.partitions,
                    (NodeSpec::Broker(_), Some(Inspection::Broker(b))) => seen.brokers.push((&host.name, Some(b))),
                    (NodeSpec::Broker(_), _) => seen.brokers.push((&host.name, None)),
                    (NodeSpec::Controller(_), _) => {}
                }
            }
            seen
        })
    }
    fn partitions(&self) -> &[ControllerPartition] {
        &self.seen().partitions
    }
    fn broker_names(&self) -> impl Iterator<Item = &'a str> {
        let brokers = self.cluster.hosts().iter().filter(|h| matches!(h.spec, NodeSpec::Broker(_)));
        brokers.map(|host| &*host.name)
    }
    fn partition(&self, name: &PartitionName) -> Option<&ControllerPartition> {
        self.partitions().iter().find(|p| p.topic == name.topic && p.partition.partition == name.partition)
    }
    /// What an expression names and the cluster does not have: a topic or a partition may still be created, and is said.
    fn missing(&self, expr: &Expr) -> String {
        let Some((name, _)) = expr.partition() else {
            let group = expr.group().map(|group| format!(": there is no group `{group}` yet, or no coordinator of it"));
            return group.unwrap_or_default();
        };
        if self.partitions().iter().any(|p| p.topic == name.topic) {
            let found = self.partition(name).is_some();
            return if found {
                String::new()
            } else {
                format!(": `{}` has no partition {} yet", name.topic, name.partition)
            };
        }
        let hint = nearest(&name.topic, self.partitions().iter().map(|p| p.topic.as_str()));
        format!(": there is no topic `{}` yet{hint}", name.topic)
    }
    /// Everybody an expression may mean, and whether one of them is to be drawn.
    fn of(&self, expr: &Expr, text: &str) -> Result<(Vec<String>, bool), Refused> {
        let nodes = |nodes: &[NodeId]| nodes.iter().filter(|n| **n != NodeId::NONE).map(|n| name(*n)).collect();
        let followers =
            |p: &ControllerPartition| p.replicas.iter().copied().filter(|n| *n != p.leader).collect::<Vec<NodeId>>();
        Ok(match expr {
            Expr::Host(host) => (vec![host.clone()], false),
            Expr::Leader(p) => (self.partition(p).map_or_else(Vec::new, |p| nodes(&[p.leader])), false),
            Expr::Replicas(p) => (self.partition(p).map_or_else(Vec::new, |p| nodes(&p.replicas)), false),
            Expr::Isr(p) => (self.partition(p).map_or_else(Vec::new, |p| nodes(&p.isr)), false),
            Expr::Follower(p, which) => {
                let followers = self.partition(p).map_or_else(Vec::new, followers);
                match which {
                    Some(n) => (followers.get(*n).map_or_else(Vec::new, |n| nodes(&[*n])), false),
                    None => (nodes(&followers), true),
                }
            }
            Expr::Coordinator(group) | Expr::CoordinatorFollowers(group) => {
                let coordinators = self.seen().brokers.iter().filter_map(|(_, account)| account.as_ref());
                let mut parts = coordinators.flat_map(|b| b.coordinated.iter().map(move |c| (b.id, c)));
                let Some((id, part)) = parts.find(|(_, c)| c.groups.contains_key(group)) else {
                    return Ok((Vec::new(), false));
                };
                if matches!(expr, Expr::Coordinator(_)) {
                    return Ok((nodes(&[id]), false));
                }
                let p = self.partitions().iter().find(|p| p.partition == part.partition);
                (p.map_or_else(Vec::new, |p| nodes(&followers(p))), false)
            }
            Expr::Member(_) | Expr::Members(_) | Expr::LeaderMember(_) => {
                return Err(Refused::Clients(text.to_owned()));
            }
            Expr::Controller => (vec!["c1".to_owned()], false),
            Expr::Broker => {
                let up = self.broker_names().filter(|name| self.cluster.host(name).is_some_and(|h| h.is_up()));
                (up.map(str::to_owned).collect(), true)
            }
            Expr::Brokers => (self.broker_names().map(str::to_owned).collect(), false),
            Expr::Clients => (vec![CLIENTS.to_owned()], false),
            // Seen to by whoever knows the other side, and what was killed.
            Expr::Others | Expr::LastKilled => (Vec::new(), false),
        })
    }
}

impl Injector {
    /// Of a cluster. Choices are drawn by `seed`.
    pub fn new(cluster: Arc<Cluster>, seed: u64) -> Injector {
        Injector { supervisor: Supervisor::new(cluster.clone()), cluster, seed, state: Mutex::default() }
    }

    /// What keeps the hosts running; faults hold them down through it.
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// What is in force.
    pub fn in_force(&self) -> Vec<InForce> {
        let answered_out: Vec<FaultId> = self.cluster.board().faults().iter().map(|(id, _)| *id).collect();
        let mut state = lock(&self.state);
        // Answers end by themselves when they have been given often enough.
        state
            .in_force
            .retain(|_, f| f.lifts.iter().any(|lift| !matches!(lift, Lift::Board(id) if !answered_out.contains(id))));
        state.in_force.values().cloned().collect()
    }

    /// Does a fault, and lifts it after `lasts`. Tells what was done to whom; a fault that is over at once has no number.
    ///
    /// # Errors
    /// [`Refused`], and then nothing was done.
    pub fn inject(&self, deed: &Deed, lasts: Option<Duration>) -> Result<(Option<u64>, String), Refused> {
        if self.in_force().len() >= MAX_IN_FORCE {
            return Err(Refused::TooMany);
        }
        let sight = Sight { cluster: &self.cluster, seen: OnceCell::new() };
        let board = self.cluster.board();
        let id = {
            let mut state = lock(&self.state);
            state.next += 1;
            state.next
        };
        let (what, lifts) = match deed {
            Deed::Answer { who, api, error, times } => {
                let who = self.one(&sight, who)?;
                let fault = Fault::Answer { who: who.clone(), api: *api, error: *error, times: *times };
                (format!("answer {api:?} of {who} with {error}"), vec![Lift::Board(board.add(fault))])
            }
            Deed::Action(action) => self.act(&sight, id, action)?,
        };
        if lifts.is_empty() {
            return Ok((None, what));
        }
        let until = lasts.and_then(|lasts| Instant::now().checked_add(lasts));
        lock(&self.state).in_force.insert(id, InForce { id, what: what.clone(), lifts, until });
        Ok((Some(id), what))
    }

    fn act(&self, sight: &Sight<'_>, id: u64, action: &Action) -> Result<(String, Vec<Lift>), Refused> {
        let board = self.cluster.board();
        let kind = action.kind();
        if let Some(why) = why_not(action) {
            return Err(Refused::NotHere { kind, why });
        }
        let disk = |who: &Who, what: DiskFault| -> Result<(String, Vec<Lift>), Refused> {
            let who = self.one(sight, who)?;
            Ok((format!("{kind} {who}"), vec![Lift::Board(board.add(Fault::Disk { who, what }))]))
        };
        match action {
            Action::Kill { who } | Action::Wipe { who } => {
                let (who, already) = self.running(sight, who)?;
                self.supervisor.kill(&who, id, matches!(action, Action::Wipe { .. }));
                lock(&self.state).last_killed = Some(who.clone());
                Ok((format!("{kind} {who}{already}"), vec![Lift::Host(who)]))
            }
            Action::Shutdown { who } => {
                let (who, already) = self.running(sight, who)?;
                self.supervisor.shut_down(&who, id);
                Ok((format!("{kind} {who}{already}"), vec![Lift::Host(who)]))
            }
            Action::Restart { who } => {
                let who = self.one(sight, who)?;
                let over = self.supervisor.start(&who);
                lock(&self.state).in_force.retain(|id, _| !over.contains(id));
                Ok((format!("{kind} {who}"), Vec::new()))
            }
            Action::Pause { who } => {
                let (who, already) = self.running(sight, who)?;
                self.supervisor.pause(&who, id);
                Ok((format!("{kind} {who}{already}"), vec![Lift::Host(who)]))
            }
            Action::Partition { a, b, one_way } => {
                let (a, b) = self.sides(sight, a, b)?;
                let what = format!("{kind} {} {} {}", a.join(","), if *one_way { "->" } else { "|" }, b.join(","));
                Ok((what, vec![Lift::Board(board.add(Fault::Cut { a, b, one_way: *one_way }))]))
            }
            Action::Latency { a, b, extra } => {
                let (a, b) = self.sides(sight, a, b)?;
                let by = Duration::from_nanos(*extra);
                let what = format!("{kind} {} | {} {by:?}", a.join(","), b.join(","));
                Ok((what, vec![Lift::Board(board.add(Fault::Delay { a, b, by }))]))
            }
            Action::Reset { a, b } => {
                let (a, b) = self.sides(sight, a, b)?;
                let count = board.reset(&a, &b);
                Ok((format!("{kind} {count} connections between {} and {}", a.join(","), b.join(",")), Vec::new()))
            }
            Action::DiskStall { who } => disk(who, DiskFault::Stall),
            Action::DiskSlow { who, factor } => disk(who, DiskFault::Slow(*factor)),
            Action::DiskError { who, on } => disk(who, DiskFault::Error(*on)),
            Action::DiskFull { who } => disk(who, DiskFault::Full),
            Action::ClockStep { who, by_ms } => {
                let who = self.one(sight, who)?;
                board.step_clock(&who, *by_ms);
                Ok((format!("{kind} {who} by {by_ms} ms"), Vec::new()))
            }
            Action::PowerLoss { .. }
            | Action::Loss { .. }
            | Action::Hold { .. }
            | Action::Unresolvable { .. }
            | Action::LyingFsync { .. }
            | Action::BitRot { .. }
            | Action::ClockDrift { .. } => unreachable!("refused above"),
        }
    }

    /// One host; drawn, if several can be meant.
    fn one(&self, sight: &Sight<'_>, who: &Who) -> Result<String, Refused> {
        let found = self.everybody(sight, who, &[])?;
        let found = found.into_iter().next().filter(|found| self.cluster.host(found).is_some());
        found.ok_or_else(|| self.nobody(sight, std::slice::from_ref(who)))
    }

    /// One host, and what there is to say if it does not run.
    fn running(&self, sight: &Sight<'_>, who: &Who) -> Result<(String, &'static str), Refused> {
        let who = self.one(sight, who)?;
        let is_up = self.cluster.host(&who).is_some_and(|host| host.is_up());
        Ok((who, if is_up { "" } else { ", which was down already" }))
    }

    /// Why nothing can be meant by these.
    fn nobody(&self, sight: &Sight<'_>, who: &[Who]) -> Refused {
        let hosts: Vec<&str> = self.cluster.hosts().iter().map(|h| &*h.name).collect();
        let exprs = who.iter().filter_map(|who| Expr::parse(&who.0, hosts.iter().copied()).ok());
        let missing = exprs.map(|expr| sight.missing(&expr)).find(|missing| !missing.is_empty());
        let text = who.iter().map(|w| w.0.as_str()).collect::<Vec<_>>().join(", ");
        Refused::Nobody(text, missing.unwrap_or_default())
    }

    fn everybody(&self, sight: &Sight<'_>, who: &Who, other: &[String]) -> Result<Vec<String>, Refused> {
        let hosts = || self.cluster.hosts().iter().map(|h| h.name.to_string());
        let names: Vec<String> = hosts().collect();
        let expr = Expr::parse(&who.0, names.iter().map(String::as_str))?;
        let (mut found, drawn) = match expr {
            Expr::Others => {
                let all = hosts().chain([CLIENTS.to_owned()]);
                (all.filter(|name| !other.contains(name)).collect(), false)
            }
            Expr::LastKilled => (lock(&self.state).last_killed.iter().cloned().collect(), false),
            expr => sight.of(&expr, &who.0)?,
        };
        if drawn && !found.is_empty() {
            let n = lock(&self.state).next;
            let draw = xxh3_64_with_seed(format!("{}/{n}", who.0).as_bytes(), self.seed);
            found = vec![found.swap_remove((draw % found.len() as u64) as usize)];
        }
        Ok(found)
    }

    /// Two sides; `others` is whoever is not on the other one.
    fn sides(&self, sight: &Sight<'_>, a: &[Who], b: &[Who]) -> Result<(Vec<String>, Vec<String>), Refused> {
        let is_others = |side: &[Who]| side.iter().any(|w| w.0.trim() == "others");
        let side = |whole: &[Who], other: &[String]| -> Result<Vec<String>, Refused> {
            let mut all = Vec::new();
            for who in whole {
                all.extend(self.everybody(sight, who, other)?);
            }
            all.sort();
            all.dedup();
            if all.is_empty() {
                return Err(self.nobody(sight, whole));
            }
            Ok(all)
        };
        if is_others(a) {
            let b = side(b, &[])?;
            return Ok((side(a, &b)?, b));
        }
        let a = side(a, &[])?;
        let b = side(b, &a)?;
        Ok((a, b))
    }

    /// Lifts a fault: what it killed starts again, what it paused goes on, unless another fault has a hold on it. Tells what it
    /// was; `None`: it is not in force.
    pub fn lift(&self, id: u64) -> Option<String> {
        let fault = lock(&self.state).in_force.remove(&id)?;
        for lift in &fault.lifts {
            match lift {
                Lift::Board(id) => {
                    self.cluster.board().lift(*id);
                }
                Lift::Host(who) => self.supervisor.release(who, fault.id),
            }
        }
        Some(fault.what)
    }

    /// Lifts whatever has lasted long enough; tells what.
    pub fn lift_due(&self) -> Vec<String> {
        let now = Instant::now();
        let due = |f: &&InForce| f.until.is_some_and(|until| until <= now);
        let ids: Vec<u64> = lock(&self.state).in_force.values().filter(due).map(|f| f.id).collect();
        ids.into_iter().filter_map(|id| self.lift(id)).collect()
    }
}

/// Why real sockets, disks and clocks cannot do this, if they cannot.
fn why_not(action: &Action) -> Option<&'static str> {
    Some(match action {
        Action::PowerLoss { .. } => "a process cannot take the machine's power; `kill` keeps the page cache",
        Action::Loss { .. } => "packets are the kernel's; `latency` and `partition` can be had",
        Action::Hold { .. } => "messages are bytes in a stream; `partition` with one-way, or `latency`, can be had",
        Action::Unresolvable { .. } => "nodes are told addresses, not names",
        Action::LyingFsync { .. } => "nobody would notice: power is never lost here",
        Action::BitRot { .. } => "stop the broker and change its files",
        Action::ClockDrift { .. } => "the machine's clock is what it is; `clock-step` can be had",
        _ => return None,
    })
}

/// Whether a schedule's action can be done here at all, before anything is begun.
///
/// # Errors
/// [`Refused`], as [`Injector::inject`] would say.
pub fn possible(action: &Action, hosts: &[&str]) -> Result<(), Refused> {
    if let Some(why) = why_not(action) {
        return Err(Refused::NotHere { kind: action.kind(), why });
    }
    for who in action.names() {
        if matches!(
            Expr::parse(&who.0, hosts.iter().copied())?,
            Expr::Member(_) | Expr::Members(_) | Expr::LeaderMember(_)
        ) {
            return Err(Refused::Clients(who.0));
        }
    }
    Ok(())
}
