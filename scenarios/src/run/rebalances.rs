//! What rebalances cost: how long they took, who stood still and for how long, what moved, what was delivered again; and
//! for one seed, who had what when, and how far behind each partition was.
//!
//! From what clients say, but for the beginning and end of a rebalance, which only the coordinator knows. It judges
//! nothing. All figures are integers of virtual time.

use super::measure::WINDOW_NS;
use klamm_model::history::{Entry, Op, TopicPartition};
use klamm_model::ids::ClientId;
use klamm_model::trace::TraceEvent;
use klamm_reports::charts::{LagSeries, Lane, LaneSpan};
use klamm_reports::figures::GroupOverTime;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One rebalance of one group.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rebalance {
    /// When it began, virtual nanoseconds.
    pub from: u64,
    /// When the group was stable again, or empty.
    pub to: u64,
    /// The generation, or group epoch, it ended with.
    pub generation: i32,
    /// Members at its end.
    pub members: u32,
    /// Partitions that changed hands.
    pub moved: u64,
    /// For each member that had partitions and then none: for how long.
    pub stopped: Vec<u64>,
    /// Records delivered to a member after it that had been delivered before, until the next one.
    pub redelivered: u64,
}

/// One group over one seed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GroupCost {
    /// Its rebalances, in order; one that never ended is not among them.
    pub rebalances: Vec<Rebalance>,
    /// Records delivered, repetitions included.
    pub delivered: u64,
}

#[derive(Debug, Default)]
struct Member {
    incarnation: u32,
    holds: BTreeSet<TopicPartition>,
    generation: i32,
    /// Since when it has had what it has.
    since: u64,
    /// It had partitions, and has had none since then.
    stopped: Option<u64>,
    spans: Vec<LaneSpan>,
}

#[derive(Debug, Default)]
struct Group {
    cost: GroupCost,
    /// A rebalance under way, and who had what when it began.
    running: Option<(u64, BTreeMap<TopicPartition, ClientId>)>,
    /// Who had what when the last one began: what it moved is known once everybody has what it was given.
    before: BTreeMap<TopicPartition, ClientId>,
    owners: BTreeMap<TopicPartition, ClientId>,
    members: BTreeMap<ClientId, Member>,
    /// One past the highest offset delivered.
    delivered: BTreeMap<TopicPartition, i64>,
    lag: BTreeMap<TopicPartition, Vec<(u64, u64)>>,
}

/// Measures groups.
#[derive(Debug)]
pub struct Rebalances {
    groups: BTreeMap<Arc<str>, Group>,
    clients: BTreeMap<ClientId, Arc<str>>,
    /// Keep lanes and lag.
    over_time: bool,
    /// The committed end of each partition.
    ends: BTreeMap<TopicPartition, i64>,
    /// When lag is noted next.
    window: u64,
}

impl Group {
    fn set(&mut self, client: ClientId, at: u64, change: impl FnOnce(&mut Member), over_time: bool) {
        let member = self.members.entry(client).or_default();
        if over_time && at > member.since && !member.holds.is_empty() {
            let partitions = member.holds.len() as u32;
            member.spans.push(LaneSpan { from: member.since, to: at, generation: member.generation, partitions });
        }
        change(member);
        member.since = at;
    }
    /// The last rebalance, if it is over.
    fn last(&mut self) -> Option<&mut Rebalance> {
        self.cost.rebalances.last_mut()
    }
    fn stood_still(&mut self, time: u64) {
        if let Some(last) = self.last() {
            last.stopped.push(time);
        }
    }
    /// Counts what the last rebalance moved.
    fn settle(&mut self) {
        let moved = self.before.iter().filter(|(p, c)| self.owners.get(*p).is_some_and(|now| now != *c)).count() as u64;
        if let Some(last) = self.last() {
            last.moved = moved;
        }
    }
}

impl Rebalances {
    /// Nothing measured yet.
    pub fn new(over_time: bool) -> Rebalances {
        let (groups, clients, ends) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Rebalances { groups, clients, over_time, ends, window: 0 }
    }

    /// Whether somebody wants to know of partitions' ends.
    pub fn follows_ends(&self) -> bool {
        self.over_time && !self.clients.is_empty()
    }

    /// Takes one operation.
    pub fn entry(&mut self, entry: &Entry) {
        if let Op::Member { facts } = &entry.op {
            self.ended(entry.client, entry.at);
            self.clients.insert(entry.client, facts.group.clone());
            let group = self.groups.entry(facts.group.clone()).or_default();
            group.members.entry(entry.client).or_default().incarnation = entry.incarnation.0;
            return;
        }
        if self.clients.is_empty() {
            return;
        }
        let (at, client, over_time) = (entry.at, entry.client, self.over_time);
        let Some(group) = self.clients.get(&client).and_then(|g| self.groups.get_mut(g)) else { return };
        match &entry.op {
            Op::Assigned { generation, partitions } => {
                let mut still = None;
                let change = |m: &mut Member| {
                    m.generation = *generation;
                    m.holds.extend(partitions.iter().cloned());
                    if !m.holds.is_empty() {
                        still = m.stopped.take();
                    }
                };
                group.set(client, at, change, over_time);
                group.owners.extend(partitions.iter().map(|p| (p.clone(), client)));
                if let Some(since) = still {
                    group.stood_still(at - since);
                }
            }
            Op::Revoked { partitions, .. } => {
                let change = |m: &mut Member| {
                    let had = !m.holds.is_empty();
                    m.holds.retain(|p| !partitions.contains(p));
                    if had && m.holds.is_empty() {
                        m.stopped = Some(at);
                    }
                };
                group.set(client, at, change, over_time);
            }
            Op::Poll { source, records, .. } => {
                let end = group.delivered.entry(source.clone()).or_insert(0);
                let again = records.iter().filter(|r| r.offset.0 < *end).count() as u64;
                *end = records.iter().map(|r| r.offset.0 + 1).max().unwrap_or(0).max(*end);
                group.cost.delivered += records.len() as u64;
                if again > 0
                    && let Some(last) = group.last()
                {
                    last.redelivered += again;
                }
                self.lag(at);
            }
            _ => {}
        }
    }

    /// A client's process ended: it has nothing, and stands still no more.
    pub fn ended(&mut self, client: ClientId, at: u64) {
        let Some(group) = self.clients.get(&client).and_then(|g| self.groups.get_mut(g)) else { return };
        let forget = |m: &mut Member| {
            m.holds.clear();
            m.stopped = None;
        };
        group.set(client, at, forget, self.over_time);
    }

    /// What a coordinator says of a group.
    pub fn state(&mut self, at: u64, event: &TraceEvent) {
        let TraceEvent::GroupState { group, generation, to, members, .. } = event else { return };
        let group = self.groups.entry(group.clone()).or_default();
        let rest = matches!(*to, "Stable" | "Empty" | "Dead");
        match (rest, group.running.take()) {
            (false, None) => {
                group.settle();
                group.running = Some((at, group.owners.clone()));
            }
            (false, running) => group.running = running,
            (true, Some((from, before))) => {
                group.before = before;
                let (generation, members) = (*generation, *members);
                group.cost.rebalances.push(Rebalance { from, to: at, generation, members, ..Rebalance::default() });
            }
            (true, None) => {}
        }
    }

    /// The committed end of a partition rose.
    pub fn end(&mut self, source: TopicPartition, end: i64) {
        if self.over_time {
            let known = self.ends.entry(source).or_default();
            *known = end.max(*known);
        }
    }

    /// Notes how far behind groups are, once in a window.
    pub fn lag(&mut self, at: u64) {
        if !self.over_time || at < self.window {
            return;
        }
        self.window = (at / WINDOW_NS + 1) * WINDOW_NS;
        for group in self.groups.values_mut() {
            for (source, &next) in &group.delivered {
                let end = self.ends.get(source).copied().unwrap_or(next);
                let points = group.lag.entry(source.clone()).or_default();
                points.push((at, u64::try_from(end - next).unwrap_or(0)));
            }
        }
    }

    /// The end of the run: what each group's rebalances cost.
    pub fn finish(&mut self) -> BTreeMap<String, GroupCost> {
        for group in self.groups.values_mut() {
            group.settle();
        }
        self.groups.iter().map(|(name, g)| (name.to_string(), g.cost.clone())).collect()
    }

    /// Each group over time from `from` to `to`: lanes of its members, its rebalances, and its lag.
    pub fn over_time(&mut self, from: u64, to: u64, name: impl Fn(ClientId) -> String) -> Vec<GroupOverTime> {
        if !self.over_time {
            return Vec::new();
        }
        let shift = |at: u64| at.clamp(from, to) - from;
        let mut all = Vec::new();
        for (id, group) in &mut self.groups {
            let clients: Vec<ClientId> = group.members.keys().copied().collect();
            for client in clients {
                group.set(client, to, |_| (), true);
            }
            let span = |s: &LaneSpan| LaneSpan { from: shift(s.from), to: shift(s.to), ..*s };
            let lanes = group.members.iter().map(|(client, m)| Lane {
                label: name(*client),
                spans: m.spans.iter().filter(|s| s.to > from).map(span).collect(),
            });
            let rebalances = group.cost.rebalances.iter().filter(|r| r.to > from);
            let lag = group.lag.iter().map(|(source, points)| LagSeries {
                label: format!("{}-{}", source.topic, source.partition),
                points: points
                    .iter()
                    .filter(|(at, _)| (from..=to).contains(at))
                    .map(|(at, lag)| (at - from, *lag))
                    .collect(),
            });
            all.push(GroupOverTime {
                group: id.to_string(),
                end: to - from,
                lanes: lanes.collect(),
                rebalances: rebalances.map(|r| (shift(r.from), shift(r.to))).collect(),
                lag: lag.collect(),
            });
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm_model::history::{IsolationLevel, MemberFacts, Processing, ReadRecord, RebalanceProtocol, ValueId};
    use klamm_model::ids::{Incarnation, LeaderEpoch, Offset};

    fn source(partition: i32) -> TopicPartition {
        TopicPartition { topic: "orders".into(), partition }
    }
    fn op(r: &mut Rebalances, at: u64, client: u32, op: Op) {
        r.entry(&Entry { at, client: ClientId(client), incarnation: Incarnation(1), op });
    }
    fn member(r: &mut Rebalances, at: u64, client: u32) {
        let facts = MemberFacts {
            group: "billing".into(),
            protocol: RebalanceProtocol::Eager,
            instance: None,
            auto_commit: true,
            processing: Processing::FinishThenCommit,
            effects: false,
            resets_to_latest: false,
            forwards_to: Vec::new(),
            declines_to: None,
        };
        op(r, at, client, Op::Member { facts });
    }
    fn state(r: &mut Rebalances, at: u64, generation: i32, to: &'static str) {
        let event = TraceEvent::GroupState {
            group: "billing".into(),
            epoch: LeaderEpoch(0),
            generation,
            from: "?",
            to,
            members: 2,
            why: "a test",
        };
        r.state(at, &event);
    }
    fn assigned(r: &mut Rebalances, at: u64, client: u32, generation: i32, parts: &[i32]) {
        op(r, at, client, Op::Assigned { generation, partitions: parts.iter().map(|p| source(*p)).collect() });
    }
    fn revoked(r: &mut Rebalances, at: u64, client: u32, parts: &[i32]) {
        let partitions = parts.iter().map(|p| source(*p)).collect();
        op(r, at, client, Op::Revoked { generation: 1, partitions, lost: false });
    }
    fn polls(r: &mut Rebalances, at: u64, client: u32, partition: i32, offsets: std::ops::Range<i64>) {
        let record = |o: i64| ReadRecord {
            offset: Offset(o),
            leader_epoch: LeaderEpoch(0),
            value: ValueId(o as u64),
            key: None,
            timestamp: 0,
        };
        let isolation = IsolationLevel::ReadCommitted;
        op(r, at, client, Op::Poll { source: source(partition), isolation, records: offsets.map(record).collect() });
    }

    /// One member has both partitions; a second one comes.
    fn played() -> Rebalances {
        let mut r = Rebalances::new(true);
        member(&mut r, 10, 1);
        state(&mut r, 20, 1, "PreparingRebalance");
        state(&mut r, 30, 1, "Stable");
        assigned(&mut r, 40, 1, 1, &[0, 1]);
        r.end(source(0), 9);
        polls(&mut r, 50, 1, 0, 0..5);
        polls(&mut r, 51, 1, 1, 0..4);
        member(&mut r, 90, 2);
        state(&mut r, 100, 1, "PreparingRebalance");
        revoked(&mut r, 110, 1, &[0, 1]);
        state(&mut r, 120, 2, "CompletingRebalance");
        state(&mut r, 130, 2, "Stable");
        assigned(&mut r, 140, 1, 2, &[0]);
        assigned(&mut r, 150, 2, 2, &[1]);
        polls(&mut r, 160, 2, 1, 2..6);
        r
    }

    #[test]
    fn a_rebalance_is_counted_with_all_it_cost() {
        let cost = played().finish().remove("billing").unwrap();
        assert_eq!(cost.delivered, 13);
        let first = Rebalance { from: 20, to: 30, generation: 1, members: 2, ..Rebalance::default() };
        let second =
            Rebalance { from: 100, to: 130, generation: 2, members: 2, moved: 1, stopped: vec![30], redelivered: 2 };
        assert_eq!(cost.rebalances, [first, second]);
    }

    #[test]
    fn lanes_show_who_had_how_much_in_which_generation() {
        let mut r = played();
        r.ended(ClientId(2), 180);
        let all = r.over_time(50, 200, |c| format!("m{c}"));
        let [group] = &all[..] else { panic!("one group") };
        let span = |from, to, generation, partitions| LaneSpan { from, to, generation, partitions };
        assert_eq!(group.lanes[0].spans, [span(0, 60, 1, 2), span(90, 150, 2, 1)]);
        assert_eq!(group.lanes[1].spans, [span(100, 130, 2, 1)]);
        assert_eq!(group.rebalances, [(50, 80)]);
        assert_eq!(group.lag[0].points, [(0, 4)]);
        assert_eq!((group.end, group.lanes[1].label.as_str()), (150, "m2"));
    }
}
