//! Who is meant: host names and expressions that are resolved when a fault fires.

use super::View;
use super::parse::{Cursor, ParseError, PartitionName, nearest};
use crate::event::HostId;

/// A parsed [`Who`](super::Who).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Expr {
    /// A host by its name.
    Host(String),
    /// The host of a partition's leader.
    Leader(PartitionName),
    /// A follower's host: the n-th (from 0, in replica order, the leader left out), or a drawn one.
    Follower(PartitionName, Option<usize>),
    /// The hosts of all replicas.
    Replicas(PartitionName),
    /// The hosts of the in-sync replicas.
    Isr(PartitionName),
    /// The host of a consumer group's coordinator.
    Coordinator(String),
    /// The hosts of the replicas that would take over from it.
    CoordinatorFollowers(String),
    /// A drawn member's host.
    Member(String),
    /// The hosts of all members.
    Members(String),
    /// The host of the member that assigns.
    LeaderMember(String),
    /// The active controller's host.
    Controller,
    /// A drawn broker's host.
    Broker,
    /// Every broker's host.
    Brokers,
    /// Every client's host.
    Clients,
    /// Everybody who is not on the other side.
    Others,
    /// The host that was killed, or lost power, last.
    LastKilled,
}

const WORDS: [&str; 6] = ["controller", "broker", "brokers", "clients", "others", "last-killed"];
const FUNCTIONS: [&str; 4] = ["leader", "follower", "replicas", "isr"];
const OF_GROUPS: [&str; 5] = ["coordinator", "coordinator-followers", "member", "members", "leader-member"];

impl Expr {
    /// From text. `hosts` are the names that exist.
    pub fn parse<'a>(text: &str, hosts: impl IntoIterator<Item = &'a str>) -> Result<Expr, ParseError> {
        let mut cursor = Cursor::new(text);
        let expr = Expr::read(&mut cursor, &hosts.into_iter().collect::<Vec<_>>())?;
        cursor.end()?;
        Ok(expr)
    }

    pub(super) fn read(cursor: &mut Cursor<'_>, hosts: &[&str]) -> Result<Expr, ParseError> {
        let at = cursor.place();
        let word = cursor.word();
        if word.is_empty() {
            return Err(cursor.error(at, "a host's name or an expression expected here, such as `leader(orders-0)`"));
        }
        if cursor.eat("(") {
            if OF_GROUPS.contains(&word) {
                let group = cursor.group()?;
                cursor.expect(")")?;
                return Ok(match word {
                    "coordinator" => Expr::Coordinator(group),
                    "coordinator-followers" => Expr::CoordinatorFollowers(group),
                    "member" => Expr::Member(group),
                    "members" => Expr::Members(group),
                    _ => Expr::LeaderMember(group),
                });
            }
            if !FUNCTIONS.contains(&word) {
                let known = FUNCTIONS.into_iter().chain(OF_GROUPS);
                return Err(cursor.error(at, format!("there is no `{word}(...)`{}", nearest(word, known))));
            }
            let partition = cursor.partition()?;
            let expr = match word {
                "leader" => Expr::Leader(partition),
                "replicas" => Expr::Replicas(partition),
                "isr" => Expr::Isr(partition),
                _ => {
                    let which = if cursor.eat(",") { Some(cursor.number()?) } else { None };
                    Expr::Follower(partition, which)
                }
            };
            cursor.expect(")")?;
            return Ok(expr);
        }
        match word {
            _ if hosts.contains(&word) => Ok(Expr::Host(word.to_owned())),
            "controller" => Ok(Expr::Controller),
            "broker" => Ok(Expr::Broker),
            "brokers" => Ok(Expr::Brokers),
            "clients" => Ok(Expr::Clients),
            "others" => Ok(Expr::Others),
            "last-killed" => Ok(Expr::LastKilled),
            _ if FUNCTIONS.contains(&word) => {
                Err(cursor.error(at, format!("`{word}` needs a partition, such as `{word}(orders-0)`")))
            }
            _ if OF_GROUPS.contains(&word) => {
                Err(cursor.error(at, format!("`{word}` needs a group, such as `{word}(billing)`")))
            }
            _ => {
                let known = hosts.iter().copied().chain(WORDS).chain(FUNCTIONS).chain(OF_GROUPS);
                Err(cursor.error(at, format!("there is no host `{word}`{}", nearest(word, known))))
            }
        }
    }

    /// The consumer group it names.
    pub fn group(&self) -> Option<&str> {
        match self {
            Expr::Coordinator(group)
            | Expr::CoordinatorFollowers(group)
            | Expr::Member(group)
            | Expr::Members(group)
            | Expr::LeaderMember(group) => Some(group),
            _ => None,
        }
    }

    /// The partition it names, and of its followers which.
    pub fn partition(&self) -> Option<(&PartitionName, Option<usize>)> {
        match self {
            Expr::Leader(p) | Expr::Replicas(p) | Expr::Isr(p) => Some((p, None)),
            Expr::Follower(p, which) => Some((p, *which)),
            _ => None,
        }
    }

    /// Everybody it may mean now, and whether one is to be drawn among them.
    fn candidates(&self, view: &View, other: &[HostId]) -> (Vec<HostId>, bool) {
        let hosts = |nodes: &[klamm_model::ids::NodeId]| {
            nodes.iter().filter_map(|node| view.broker_host(*node)).collect::<Vec<_>>()
        };
        let partition = |name: &PartitionName| view.partition(name);
        match self {
            Expr::Host(name) => (view.host_named(name).into_iter().collect(), false),
            Expr::Leader(name) => (partition(name).map_or_else(Vec::new, |p| hosts(&[p.leader])), false),
            Expr::Replicas(name) => (partition(name).map_or_else(Vec::new, |p| hosts(&p.replicas)), false),
            Expr::Isr(name) => (partition(name).map_or_else(Vec::new, |p| hosts(&p.isr)), false),
            Expr::Follower(name, which) => {
                let Some(p) = partition(name) else { return (Vec::new(), false) };
                let followers: Vec<_> = p.replicas.iter().copied().filter(|node| *node != p.leader).collect();
                match which {
                    Some(n) => (followers.get(*n).map_or_else(Vec::new, |node| hosts(&[*node])), false),
                    None => (hosts(&followers), true),
                }
            }
            Expr::Coordinator(group) => {
                (view.group_home(group).map_or_else(Vec::new, |(_, p)| hosts(&[p.leader])), false)
            }
            Expr::CoordinatorFollowers(group) => {
                let home = view.group_home(group);
                let others = |p: &super::PartitionView| {
                    p.replicas.iter().copied().filter(|node| *node != p.leader).collect::<Vec<_>>()
                };
                (home.map_or_else(Vec::new, |(_, p)| hosts(&others(p))), false)
            }
            Expr::Member(group) => (view.group_members(group), true),
            Expr::Members(group) => (view.group_members(group), false),
            Expr::LeaderMember(group) => (view.group_leader(group).into_iter().collect(), false),
            Expr::Controller => (view.controller().into_iter().collect(), false),
            Expr::Broker => (view.brokers().collect(), true),
            Expr::Brokers => (view.brokers().collect(), false),
            Expr::Clients => (view.clients().collect(), false),
            Expr::Others => (view.hosts().filter(|h| !other.contains(h)).collect(), false),
            Expr::LastKilled => (view.last_killed().into_iter().collect(), false),
        }
    }

    /// Everybody it may mean now; for conditions, which hold if they hold for one of them.
    pub fn any(&self, view: &View) -> Vec<HostId> {
        self.candidates(view, &[]).0
    }

    /// Whom it means now, nobody if that is open. `other` is the other side of a pair; `draw` decides choices.
    pub fn resolve(&self, view: &View, other: &[HostId], draw: u64) -> Vec<HostId> {
        let (mut all, choose) = self.candidates(view, other);
        all.sort_unstable();
        all.dedup();
        if !choose || all.is_empty() {
            return all;
        }
        let running: Vec<_> = all.iter().copied().filter(|host| view.is_up(*host)).collect();
        let among = if running.is_empty() { all } else { running };
        vec![among[((u128::from(draw) * among.len() as u128) >> 64) as usize]]
    }
}
