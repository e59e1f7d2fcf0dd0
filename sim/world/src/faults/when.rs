//! Conditions a fault can wait for, evaluated on a [`View`] whenever it changes.
//!
//! Atoms, joined by `and`, each negated by `not`:
//! - `unreplicated(orders-0)`: the leader's log end is above its high watermark;
//! - `hw-lag(orders-0)`: a follower's high watermark is below the leader's;
//! - `follower-behind(orders-0)`: a follower's log end is below the leader's;
//! - `isr-size(orders-0) <= 2` (also `<`, `==`, `>=`, `>`);
//! - `leader-changed(orders-0)`: another broker leads than when the line's time came;
//! - `leads(b1, orders-0)`, `in-isr(b1, orders-0)`, `up(b1)`, `down(b1)`;
//! - `loading(b1)`: its broker has started and is not registered yet;
//! - `commit-in-flight(billing)`: a broker works on a commit of the group's offsets;
//! - `rebalancing(billing)`: the group is in no state of rest;
//! - `coordinator-loading(billing)`: its coordinator is elected and does not answer yet;
//! - `coordinator-unreplicated(billing)`: the log of its offsets has a record that is not committed.
//!
//! Instead of a host any expression of [`who`](super::who) may stand; the condition holds if it holds for one of
//! those it may mean.

use super::parse::{Cursor, ParseError, PartitionName, nearest};
use super::who::Expr;
use super::{PartitionView, ReplicaView, View};
use crate::event::HostId;
use klamm_model::ids::NodeId;

/// How two sizes compare.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `==`
    Equal,
    /// `>=`
    AtLeast,
    /// `>`
    More,
}

/// A parsed condition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Condition {
    /// The leader holds a record that is not known to be replicated.
    Unreplicated(PartitionName),
    /// A follower's high watermark lags.
    HwLag(PartitionName),
    /// A follower's log lags.
    FollowerBehind(PartitionName),
    /// The in-sync replicas are so many.
    IsrSize(PartitionName, Comparison, usize),
    /// Another broker leads than at first.
    LeaderChanged(PartitionName),
    /// A host's broker leads.
    Leads(Expr, PartitionName),
    /// A host's broker is in sync.
    InIsr(Expr, PartitionName),
    /// A host's processes run.
    Up(Expr),
    /// A host's processes do not all run.
    Down(Expr),
    /// A host's broker has started and is not registered.
    Loading(Expr),
    /// A group's coordinator works on a commit.
    CommitInFlight(String),
    /// A group rebalances.
    Rebalancing(String),
    /// A group's coordinator is not ready.
    CoordinatorLoading(String),
    /// What a group's coordinator wrote is not committed.
    CoordinatorUnreplicated(String),
    /// The opposite.
    Not(Box<Condition>),
    /// All of them.
    And(Vec<Condition>),
}

/// What was so when a line's time came.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Since {
    leaders: Vec<(PartitionName, NodeId)>,
}

const ATOMS: [&str; 14] = [
    "unreplicated",
    "hw-lag",
    "follower-behind",
    "isr-size",
    "leader-changed",
    "leads",
    "in-isr",
    "up",
    "down",
    "loading",
    "commit-in-flight",
    "rebalancing",
    "coordinator-loading",
    "coordinator-unreplicated",
];

impl Condition {
    /// From text. `hosts` are the names that exist.
    pub fn parse<'a>(text: &str, hosts: impl IntoIterator<Item = &'a str>) -> Result<Condition, ParseError> {
        let hosts: Vec<&str> = hosts.into_iter().collect();
        let mut cursor = Cursor::new(text);
        let mut all = vec![Condition::read(&mut cursor, &hosts)?];
        while cursor.eat("and ") {
            all.push(Condition::read(&mut cursor, &hosts)?);
        }
        cursor.end()?;
        Ok(if all.len() == 1 { all.remove(0) } else { Condition::And(all) })
    }

    fn read(cursor: &mut Cursor<'_>, hosts: &[&str]) -> Result<Condition, ParseError> {
        if cursor.eat("not ") {
            return Ok(Condition::Not(Box::new(Condition::read(cursor, hosts)?)));
        }
        let at = cursor.place();
        let atom = cursor.word();
        if !ATOMS.contains(&atom) {
            let what = if atom.is_empty() {
                "a condition expected here".to_owned()
            } else {
                format!("there is no condition `{atom}`")
            };
            return Err(cursor.error(at, what + &nearest(atom, ATOMS)));
        }
        cursor.expect("(")?;
        let condition = match atom {
            "unreplicated" => Condition::Unreplicated(cursor.partition()?),
            "hw-lag" => Condition::HwLag(cursor.partition()?),
            "follower-behind" => Condition::FollowerBehind(cursor.partition()?),
            "leader-changed" => Condition::LeaderChanged(cursor.partition()?),
            "isr-size" => {
                let partition = cursor.partition()?;
                cursor.expect(")")?;
                let (comparison, n) = comparison(cursor)?;
                return Ok(Condition::IsrSize(partition, comparison, n));
            }
            "leads" | "in-isr" => {
                let who = Expr::read(cursor, hosts)?;
                cursor.expect(",")?;
                let partition = cursor.partition()?;
                if atom == "leads" { Condition::Leads(who, partition) } else { Condition::InIsr(who, partition) }
            }
            "up" => Condition::Up(Expr::read(cursor, hosts)?),
            "down" => Condition::Down(Expr::read(cursor, hosts)?),
            "loading" => Condition::Loading(Expr::read(cursor, hosts)?),
            "commit-in-flight" => Condition::CommitInFlight(cursor.group()?),
            "rebalancing" => Condition::Rebalancing(cursor.group()?),
            "coordinator-loading" => Condition::CoordinatorLoading(cursor.group()?),
            _ => Condition::CoordinatorUnreplicated(cursor.group()?),
        };
        cursor.expect(")")?;
        Ok(condition)
    }

    /// Whether it depends on log ends as they are written.
    pub fn needs_appends(&self) -> bool {
        match self {
            Condition::Unreplicated(_) | Condition::FollowerBehind(_) | Condition::CoordinatorUnreplicated(_) => true,
            Condition::Not(one) => one.needs_appends(),
            Condition::And(all) => all.iter().any(Condition::needs_appends),
            _ => false,
        }
    }

    /// The consumer groups it names.
    pub fn groups(&self) -> Vec<&str> {
        match self {
            Condition::CommitInFlight(group)
            | Condition::Rebalancing(group)
            | Condition::CoordinatorLoading(group)
            | Condition::CoordinatorUnreplicated(group) => vec![group],
            Condition::Leads(who, _)
            | Condition::InIsr(who, _)
            | Condition::Up(who)
            | Condition::Down(who)
            | Condition::Loading(who) => who.group().into_iter().collect(),
            Condition::Not(one) => one.groups(),
            Condition::And(all) => all.iter().flat_map(Condition::groups).collect(),
            _ => Vec::new(),
        }
    }

    /// The partitions it names, and of their followers which.
    pub fn partitions(&self) -> Vec<(&PartitionName, Option<usize>)> {
        match self {
            Condition::Unreplicated(p)
            | Condition::HwLag(p)
            | Condition::FollowerBehind(p)
            | Condition::IsrSize(p, ..)
            | Condition::LeaderChanged(p) => vec![(p, None)],
            Condition::Leads(who, p) | Condition::InIsr(who, p) => {
                who.partition().into_iter().chain([(p, None)]).collect()
            }
            Condition::Up(who) | Condition::Down(who) | Condition::Loading(who) => {
                who.partition().into_iter().collect()
            }
            Condition::Not(one) => one.partitions(),
            Condition::And(all) => all.iter().flat_map(Condition::partitions).collect(),
            Condition::CommitInFlight(_)
            | Condition::Rebalancing(_)
            | Condition::CoordinatorLoading(_)
            | Condition::CoordinatorUnreplicated(_) => Vec::new(),
        }
    }

    /// The line's time has come: what later moments are compared with.
    pub fn since(&self, view: &View) -> Since {
        let mut since = Since::default();
        self.remember(view, &mut since);
        since
    }
    fn remember(&self, view: &View, since: &mut Since) {
        match self {
            Condition::LeaderChanged(name) => {
                let leader = view.partition(name).map_or(NodeId::NONE, |p| p.leader);
                since.leaders.push((name.clone(), leader));
            }
            Condition::Not(one) => one.remember(view, since),
            Condition::And(all) => all.iter().for_each(|one| one.remember(view, since)),
            _ => {}
        }
    }

    /// Whether it holds now.
    pub fn holds(&self, view: &View, since: &Since) -> bool {
        match self {
            Condition::Unreplicated(name) => leader(view, name).is_some_and(|(_, _, l)| l.log_end > l.high_watermark),
            Condition::HwLag(name) => followers(view, name, |leader, f| f.high_watermark < leader.high_watermark),
            Condition::FollowerBehind(name) => followers(view, name, |leader, f| f.log_end < leader.log_end),
            Condition::IsrSize(name, comparison, n) => view.partition(name).is_some_and(|p| {
                let size = p.isr.len();
                match comparison {
                    Comparison::Less => size < *n,
                    Comparison::AtMost => size <= *n,
                    Comparison::Equal => size == *n,
                    Comparison::AtLeast => size >= *n,
                    Comparison::More => size > *n,
                }
            }),
            Condition::LeaderChanged(name) => view.partition(name).is_some_and(|p| {
                let before = since.leaders.iter().find(|(n, _)| n == name).map_or(NodeId::NONE, |(_, leader)| *leader);
                p.leader != NodeId::NONE && p.leader != before
            }),
            Condition::Leads(who, name) => any_broker(view, who, name, |p, broker| p.leader == broker),
            Condition::InIsr(who, name) => any_broker(view, who, name, |p, broker| p.isr.contains(&broker)),
            Condition::Up(who) => any(view, who, |host| view.is_up(host)),
            Condition::Down(who) => any(view, who, |host| !view.is_up(host)),
            Condition::Loading(who) => any(view, who, |host| view.is_loading(host)),
            Condition::CommitInFlight(group) => view.is_committing(group),
            Condition::Rebalancing(group) => view.is_rebalancing(group),
            Condition::CoordinatorLoading(group) => view.is_coordinator_loading(group),
            Condition::CoordinatorUnreplicated(group) => {
                let home = view.group_home_name(group);
                home.is_some_and(|name| Condition::Unreplicated(name).holds(view, since))
            }
            Condition::Not(one) => !one.holds(view, since),
            Condition::And(all) => all.iter().all(|one| one.holds(view, since)),
        }
    }
}

fn comparison(cursor: &mut Cursor<'_>) -> Result<(Comparison, usize), ParseError> {
    let known = [
        ("<=", Comparison::AtMost),
        (">=", Comparison::AtLeast),
        ("==", Comparison::Equal),
        ("<", Comparison::Less),
        (">", Comparison::More),
    ];
    let at = cursor.place();
    let found = known.into_iter().find(|(sign, _)| cursor.eat(sign));
    let (_, comparison) = found.ok_or_else(|| cursor.error(at, "`<`, `<=`, `==`, `>=` or `>` expected here"))?;
    Ok((comparison, cursor.number()?))
}

fn any(view: &View, who: &Expr, test: impl Fn(HostId) -> bool) -> bool {
    who.any(view).into_iter().any(test)
}

fn any_broker(view: &View, who: &Expr, name: &PartitionName, test: impl Fn(&PartitionView, NodeId) -> bool) -> bool {
    let Some(p) = view.partition(name) else { return false };
    any(view, who, |host| view.brokers_on(host).any(|broker| test(p, broker)))
}

fn leader<'a>(view: &'a View, name: &PartitionName) -> Option<(&'a PartitionView, NodeId, ReplicaView)> {
    let p = view.partition(name)?;
    Some((p, p.leader, view.replica(view.id(name)?, p.leader)?))
}

fn followers(view: &View, name: &PartitionName, test: impl Fn(ReplicaView, ReplicaView) -> bool) -> bool {
    let Some((p, leading, l)) = leader(view, name) else { return false };
    let Some(id) = view.id(name) else { return false };
    p.replicas.iter().filter(|b| **b != leading).any(|b| view.replica(id, *b).is_some_and(|f| test(l, f)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read() {
        let parse = |text: &str| Condition::parse(text, ["b1", "b2"]);
        assert!(matches!(parse("isr-size(my-topic-12) <= 2").unwrap(),
            Condition::IsrSize(p, Comparison::AtMost, 2) if p.topic == "my-topic" && p.partition == 12));
        assert!(matches!(parse(" not up( last-killed ) ").unwrap(), Condition::Not(_)));
        let Condition::And(all) =
            parse("hw-lag(t-0) and not in-isr(b1, t-0) and leads(follower(t-0, 1), t-0)").unwrap()
        else {
            panic!("three conditions")
        };
        assert_eq!(all.len(), 3);
        assert!(!Condition::And(all).needs_appends());
        assert!(parse("not follower-behind(t-0)").unwrap().needs_appends());
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let told = |text: &str| Condition::parse(text, ["b1"]).unwrap_err().to_string();
        for (text, place, message) in [
            ("hw-lagg(t-0)", 1, "did you mean `hw-lag`"),
            ("hw-lag(t)", 8, "a partition expected"),
            ("hw-lag(t-0", 11, "`)` expected"),
            ("isr-size(t-0) = 2", 15, "`<`, `<=`"),
            ("isr-size(t-0) < x", 17, "a number"),
            ("hw-lag(t-0) or up(b1)", 13, "unexpected `or up(b1)`"),
            ("up(b1) and ", 12, "a condition expected"),
            ("up(b7)", 4, "no host `b7`; did you mean `b1`"),
            ("", 1, "a condition expected"),
        ] {
            let error = told(text);
            assert!(error.contains(&format!("character {place}:")) && error.contains(message), "{text}: {error}");
        }
    }
}
