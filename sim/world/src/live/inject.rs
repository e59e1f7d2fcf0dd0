//! Faults done to a live cluster: the vocabulary of schedules ([`Action`]), aimed by asking the cluster, and lifted when their
//! time is over. What cannot be done to real sockets and real disks is refused by name.

use super::board::{CLIENTS, Fault, FaultId, lock};
use super::cluster::Cluster;
use crate::disk::DiskFault;
use crate::faults::who::Expr;
use crate::faults::{Action, ParseError, PartitionName, Who, nearest};
use klamm_model::ids::{ApiKey, NodeId};
use klamm_model::inspect::{BrokerInspection, ControllerPartition};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use xxhash_rust::xxh3::xxh3_64_with_seed;

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
    /// The host's data cannot be removed, or its process not be started.
    #[error("{0}")]
    Failed(String),
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
    Restart(String),
    Resume(String),
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

/// Does faults, and lifts them.
pub struct Injector {
    cluster: Arc<Cluster>,
    seed: u64,
    state: Mutex<State>,
}

/// Who can be meant: the cluster as it is when a fault is aimed.
struct Sight<'a> {
    cluster: &'a Cluster,
    partitions: Vec<ControllerPartition>,
    brokers: Vec<(&'a str, Option<BrokerInspection>)>,
}

fn name(node: NodeId) -> String {
    format!("b{}", node.0)
}

impl Sight<'_> {
    fn partition(&self, name: &PartitionName) -> Option<&ControllerPartition> {
        self.partitions.iter().find(|p| p.topic == name.topic && p.partition.partition == name.partition)
    }
    /// What an expression names and the cluster does not have: a topic or a partition may still be created, and is said.
    fn missing(&self, expr: &Expr) -> String {
        let Some((name, _)) = expr.partition() else {
            let group = expr.group().map(|group| format!(": there is no group `{group}` yet, or no coordinator of it"));
            return group.unwrap_or_default();
        };
        if self.partitions.iter().any(|p| p.topic == name.topic) {
            let found = self.partition(name).is_some();
            return if found {
                String::new()
            } else {
                format!(": `{}` has no partition {} yet", name.topic, name.partition)
            };
        }
        let hint = nearest(&name.topic, self.partitions.iter().map(|p| p.topic.as_str()));
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
                let coordinators = self.brokers.iter().filter_map(|(_, account)| account.as_ref());
                let mut parts = coordinators.flat_map(|b| b.coordinated.iter().map(move |c| (b.id, c)));
                let Some((id, part)) = parts.find(|(_, c)| c.groups.contains_key(group)) else {
                    return Ok((Vec::new(), false));
                };
                if matches!(expr, Expr::Coordinator(_)) {
                    return Ok((nodes(&[id]), false));
                }
                let p = self.partitions.iter().find(|p| p.partition == part.partition);
                (p.map_or_else(Vec::new, |p| nodes(&followers(p))), false)
            }
            Expr::Member(_) | Expr::Members(_) | Expr::LeaderMember(_) => {
                return Err(Refused::Clients(text.to_owned()));
            }
            Expr::Controller => (vec!["c1".to_owned()], false),
            Expr::Broker => {
                let up = self.brokers.iter().filter(|(name, _)| self.cluster.host(name).is_some_and(|h| h.is_up()));
                (up.map(|(name, _)| (*name).to_owned()).collect(), true)
            }
            Expr::Brokers => (self.brokers.iter().map(|(name, _)| (*name).to_owned()).collect(), false),
            Expr::Clients => (vec![CLIENTS.to_owned()], false),
            // Seen to by whoever knows the other side, and what was killed.
            Expr::Others | Expr::LastKilled => (Vec::new(), false),
        })
    }
}

impl Injector {
    /// Of a cluster. Choices are drawn by `seed`.
    pub fn new(cluster: Arc<Cluster>, seed: u64) -> Injector {
        Injector { cluster, seed, state: Mutex::default() }
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
        let sight = Sight {
            cluster: &self.cluster,
            partitions: self.cluster.controller().map_or_else(Vec::new, |c| c.partitions),
            brokers: self.cluster.brokers(),
        };
        let board = self.cluster.board();
        let (what, lifts) = match deed {
            Deed::Answer { who, api, error, times } => {
                let who = self.one(&sight, who)?;
                let fault = Fault::Answer { who: who.clone(), api: *api, error: *error, times: *times };
                (format!("answer {api:?} of {who} with {error}"), vec![Lift::Board(board.add(fault))])
            }
            Deed::Action(action) => self.act(&sight, action)?,
        };
        if lifts.is_empty() {
            return Ok((None, what));
        }
        let mut state = lock(&self.state);
        state.next += 1;
        let id = state.next;
        let until = lasts.map(|lasts| Instant::now() + lasts);
        state.in_force.insert(id, InForce { id, what: what.clone(), lifts, until });
        Ok((Some(id), what))
    }

    fn act(&self, sight: &Sight<'_>, action: &Action) -> Result<(String, Vec<Lift>), Refused> {
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
                let who = self.one(sight, who)?;
                self.cluster.kill(&who);
                if matches!(action, Action::Wipe { .. }) {
                    self.cluster.wipe(&who).map_err(|e| Refused::Failed(format!("cannot wipe {who}: {e}")))?;
                }
                lock(&self.state).last_killed = Some(who.clone());
                Ok((format!("{kind} {who}"), vec![Lift::Restart(who)]))
            }
            Action::Shutdown { who } => {
                let who = self.one(sight, who)?;
                self.cluster.shut_down(&who);
                Ok((format!("{kind} {who}"), vec![Lift::Restart(who)]))
            }
            Action::Restart { who } => {
                let who = self.one(sight, who)?;
                self.cluster.restart(&who).map_err(|e| Refused::Failed(e.to_string()))?;
                Ok((format!("{kind} {who}"), Vec::new()))
            }
            Action::Pause { who } => {
                let who = self.one(sight, who)?;
                self.cluster.pause(&who, true);
                Ok((format!("{kind} {who}"), vec![Lift::Resume(who)]))
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

    /// Lifts a fault: what was killed starts again, what was paused goes on. `None`: it is not in force.
    ///
    /// # Errors
    /// A process that cannot be started.
    pub fn lift(&self, id: u64) -> Result<Option<String>, Refused> {
        let Some(fault) = lock(&self.state).in_force.remove(&id) else { return Ok(None) };
        for lift in &fault.lifts {
            match lift {
                Lift::Board(id) => {
                    self.cluster.board().lift(*id);
                }
                Lift::Resume(who) => {
                    self.cluster.pause(who, false);
                }
                Lift::Restart(who) => {
                    // A shutdown may still be under way.
                    if let Some(host) = self.cluster.host(who) {
                        let until = Instant::now() + Duration::from_secs(5);
                        while host.is_up() && Instant::now() < until {
                            std::thread::sleep(Duration::from_millis(5));
                        }
                    }
                    self.cluster.restart(who).map_err(|e| Refused::Failed(e.to_string()))?;
                }
            }
        }
        Ok(Some(fault.what))
    }

    /// Lifts whatever has lasted long enough; tells what.
    pub fn lift_due(&self) -> Vec<Result<String, Refused>> {
        let now = Instant::now();
        let due = |f: &&InForce| f.until.is_some_and(|until| until <= now);
        let ids: Vec<u64> = lock(&self.state).in_force.values().filter(due).map(|f| f.id).collect();
        ids.into_iter().filter_map(|id| self.lift(id).transpose()).collect()
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
