//! What a record went through from its origin's send to the last effect that followed from it: how long that took, how
//! far behind services were, what they handled twice, and what origins noticed while a service was down.
//!
//! From what clients say, and from nothing else: it judges nothing, and knows of the scenario only which service reads
//! which topic. Whatever happens twice counts from the first time. All figures are integers of virtual time, and all is
//! worked out at the end of the run.
//!
//! The **last effect** of a record: every service that reads its topic has handled it. One that forwards has, once one
//! record in each of its topics is acknowledged, or one in the topic for what it declines, and these have had their last
//! effects in turn. A member without a topic to forward to has, when it is finished. An instance of a read model has,
//! once it has read as far: a later value of the key counts for an earlier one. What nobody reads has had its last
//! effect when it is acknowledged.

use super::build::is_load;
use super::measure::WINDOW_NS;
use crate::schema::{ClientKind, Scenario};
use hdrhistogram::Histogram;
use klamm_model::history::{Entry, Op, Outcome, ReadRecord, TopicPartition};
use klamm_model::ids::ClientId;
use klamm_reports::charts::LagSeries;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A service is behind while a record has waited for it for so long: nanoseconds of virtual time.
pub const BEHIND_NS: u64 = 1_000_000_000;

/// What came of one seed's services.
#[derive(Clone, Debug)]
pub struct ServiceTimes {
    /// Records that origins sent while it was measured, and that are in the cluster.
    pub records: u64,
    /// Of these, those whose last effect never came.
    pub unfinished: u64,
    /// Of these, those whose last effect came after the scenario's deadline, or never. None without a deadline.
    pub late: Option<u64>,
    /// Effects beyond the first: records that services made twice of one that they read, and outside effects repeated.
    pub twice: u64,
    /// From the origin's intended send time to the last effect, nanoseconds.
    pub end_to_end: Histogram<u64>,
    /// From a record's acknowledgement (or its first reading, if that comes before) to the acknowledgement of what one service
    /// made of it (or to its end), nanoseconds.
    pub steps: Histogram<u64>,
    /// Response times of origins alone, nanoseconds.
    pub origins: Histogram<u64>,
    /// The same, of what was to be sent while some service had no process at all.
    pub origins_down: Histogram<u64>,
    /// For how long some service had none, nanoseconds.
    pub down: u64,
    /// The most records that waited for one service at a time.
    pub lag_peak: u64,
    /// The longest that one service was behind, nanoseconds.
    pub behind: u64,
    /// How many records waited for each service over time, if it was kept; nanoseconds from the beginning of hardship.
    pub lag: Vec<LagSeries>,
}

/// Whoever reads a topic: the members of a group together, or one instance of a read model.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Reader {
    Group(Arc<str>),
    Model(ClientId),
}

#[derive(Debug, Default)]
struct Service {
    /// What it makes of a record, and where.
    forwards_to: Vec<Arc<str>>,
    declines_to: Option<Arc<str>>,
    effects: bool,
    /// What it made, by what it follows from.
    made: BTreeMap<u64, Vec<(Arc<str>, u64)>>,
    /// Where it makes nothing: when each value was through.
    through: BTreeMap<u64, u64>,
    /// Effects by value.
    applied: BTreeMap<u64, u64>,
    /// What was read where, for `through`.
    read: BTreeMap<(TopicPartition, i64), u64>,
    /// Its processes, and since when it has had none.
    up: BTreeSet<ClientId>,
    down_since: Option<u64>,
    down: Vec<(u64, u64)>,
}

#[derive(Debug)]
struct Record {
    /// Its intended send time.
    sent: u64,
    topic: Arc<str>,
    origin: bool,
    acknowledged: Option<u64>,
    /// Written to its connection, with acks=0.
    through: Option<u64>,
    failed: bool,
    seen: Option<u64>,
    place: Option<(i32, i64)>,
}

impl Record {
    /// Since when it can be read, if it is in the cluster.
    fn there(&self) -> Option<u64> {
        let seen = self.seen.map(|seen| self.through.map_or(seen, |through| through.min(seen)));
        self.acknowledged.or(seen)
    }
}

/// Follows records.
#[derive(Debug)]
pub struct Flows {
    active: bool,
    over_time: bool,
    deadline: Option<u64>,
    /// Which groups read a topic.
    readers: BTreeMap<String, Vec<Arc<str>>>,
    groups: BTreeMap<Arc<str>, Service>,
    members: BTreeMap<ClientId, Arc<str>>,
    records: BTreeMap<u64, Record>,
    /// How far each instance of a read model had read, and since when.
    models: BTreeMap<ClientId, BTreeMap<TopicPartition, Vec<(i64, u64)>>>,
    model_topics: BTreeMap<ClientId, Vec<Arc<str>>>,
    /// Their processes: all instances together are a service that is down when none is up.
    instances: Service,
}

impl Flows {
    /// Of a settled scenario: of one without services nothing is followed. With `over_time`, lag is kept for a chart.
    pub fn new(scenario: &Scenario, over_time: bool) -> Flows {
        let mut readers: BTreeMap<String, Vec<Arc<str>>> = BTreeMap::new();
        let forwards = |c: &crate::schema::ClientSpec| c.member.as_ref().is_some_and(|m| m.forward.is_some());
        let active = scenario.deadline.is_some() || scenario.clients.iter().any(|c| forwards(c) || c.read_model);
        for client in scenario.clients.iter().filter(|c| active && c.kind == ClientKind::Group) {
            let topic = client.topic.clone().unwrap_or_else(|| scenario.topics[0].name.clone());
            let Some(group) = client.config.get("group.id") else { continue };
            let (all, group) = (readers.entry(topic).or_default(), Arc::from(group.get().0.as_str()));
            if !all.contains(&group) {
                all.push(group);
            }
        }
        Flows {
            active,
            over_time,
            deadline: scenario.deadline.as_ref().map(|d| d.get().0.as_nanos()),
            readers,
            groups: BTreeMap::new(),
            members: BTreeMap::new(),
            records: BTreeMap::new(),
            models: BTreeMap::new(),
            model_topics: BTreeMap::new(),
            instances: Service::default(),
        }
    }

    /// Takes one operation.
    pub fn entry(&mut self, entry: &Entry) {
        if !self.active {
            return;
        }
        let (at, client) = (entry.at, entry.client);
        match &entry.op {
            Op::Member { facts } => {
                self.members.insert(client, facts.group.clone());
                let service = self.groups.entry(facts.group.clone()).or_default();
                service.forwards_to = facts.forwards_to.clone();
                service.declines_to = facts.declines_to.clone();
                service.effects = facts.effects;
                service.came_up(client, at);
            }
            Op::ReadModel { topics } => {
                self.model_topics.insert(client, topics.clone());
                self.models.entry(client).or_default();
                self.instances.came_up(client, at);
            }
            Op::Send { value, topic, late_by, from, .. } if is_load(client) => {
                let origin = from.is_none();
                if let Some(from) = from {
                    // What follows from the harness's own records is not followed.
                    let known = self.records.contains_key(&from.0);
                    let service = self.members.get(&client).and_then(|group| self.groups.get_mut(group));
                    let Some(service) = service.filter(|_| known) else { return };
                    service.made.entry(from.0).or_default().push((topic.clone(), value.0));
                }
                let (topic, sent) = (topic.clone(), at.saturating_sub(*late_by));
                let record = Record {
                    sent,
                    topic,
                    origin,
                    acknowledged: None,
                    through: None,
                    failed: false,
                    seen: None,
                    place: None,
                };
                self.records.insert(value.0, record);
            }
            Op::Sent { value, outcome, partition, offset, error, .. } => {
                let Some(record) = self.records.get_mut(&value.0) else { return };
                match outcome {
                    Outcome::Ok => record.acknowledged = Some(at),
                    Outcome::Fail => record.failed = true,
                    // With acks=0 nothing is ever acknowledged: a send is through once it was written to its connection.
                    Outcome::Info if error.is_none() => record.through = Some(at),
                    Outcome::Info => {}
                }
                if let (Some(partition), Some(offset)) = (partition, offset) {
                    record.place.get_or_insert((*partition, offset.0));
                }
            }
            Op::Poll { source, records, .. } => self.poll(at, client, source, records),
            Op::Effect { value, .. } => {
                let known = self.records.contains_key(&value.0);
                let service = self.members.get(&client).and_then(|group| self.groups.get_mut(group));
                if let Some(service) = service.filter(|_| known) {
                    *service.applied.entry(value.0).or_default() += 1;
                    service.through.entry(value.0).or_insert(at);
                }
            }
            Op::Finished { source, from, to } => {
                let Some(service) = self.members.get(&client).and_then(|group| self.groups.get_mut(group)) else {
                    return;
                };
                let Service { read, through, .. } = service;
                for (_, value) in read.range((source.clone(), from.0)..(source.clone(), to.0)) {
                    through.entry(*value).or_insert(at);
                }
            }
            _ => {}
        }
    }

    fn poll(&mut self, at: u64, client: ClientId, source: &TopicPartition, records: &[ReadRecord]) {
        for r in records {
            if let Some(record) = self.records.get_mut(&r.value.0) {
                record.seen.get_or_insert(at);
                record.place.get_or_insert((source.partition, r.offset.0));
            }
        }
        if let Some(model) = self.models.get_mut(&client) {
            let reached = model.entry(source.clone()).or_default();
            let last = records.iter().map(|r| r.offset.0).max();
            if let Some(last) = last.filter(|l| reached.last().is_none_or(|(most, _)| most < l)) {
                reached.push((last, at));
            }
        }
        let service = self.members.get(&client).and_then(|group| self.groups.get_mut(group));
        if let Some(service) = service.filter(|s| !s.forwards()) {
            service.read.extend(records.iter().map(|r| ((source.clone(), r.offset.0), r.value.0)));
        }
    }

    /// A client's process ended.
    pub fn ended(&mut self, client: ClientId, at: u64) {
        let group = self.members.get(&client).and_then(|group| self.groups.get_mut(group));
        for service in group.into_iter().chain([&mut self.instances]) {
            if service.up.remove(&client) && service.up.is_empty() {
                service.down_since = Some(at);
            }
        }
    }

    /// Everybody who reads a topic.
    fn readers(&self, topic: &str) -> Vec<Reader> {
        let groups = self.readers.get(topic).into_iter().flatten().cloned().map(Reader::Group);
        let models = self.model_topics.iter().filter(move |(_, topics)| topics.iter().any(|t| **t == *topic));
        groups.chain(models.map(|(client, _)| Reader::Model(*client))).collect()
    }

    /// When a reader was through with a record: with what it made of it acknowledged.
    fn handled(&self, reader: &Reader, value: u64, record: &Record) -> Option<u64> {
        match reader {
            Reader::Model(client) => {
                let (partition, offset) = record.place?;
                let source = TopicPartition { topic: record.topic.clone(), partition };
                let reached = self.models.get(client)?.get(&source)?;
                reached.get(reached.partition_point(|(most, _)| *most < offset)).map(|(_, at)| *at)
            }
            Reader::Group(group) => {
                let service = self.groups.get(group)?;
                let when = |made: u64| self.records.get(&made).filter(|m| !m.failed).and_then(Record::there);
                service.when(value, &when)
            }
        }
    }

    /// When a record had its last effect.
    fn done(&self, value: u64) -> Option<u64> {
        let record = self.records.get(&value).filter(|r| !r.failed)?;
        let there = record.there()?;
        self.readers(&record.topic).into_iter().try_fold(there, |latest, reader| {
            let at = match &reader {
                Reader::Group(group) if self.groups.get(group)?.forwards() => {
                    self.groups.get(group)?.when(value, &|made| self.done(made))?
                }
                _ => self.handled(&reader, value, record)?,
            };
            Some(latest.max(at))
        })
    }

    /// The end of the run: when it was measured (origins' sends), when it is drawn, and what clients are called.
    pub fn finish(
        &mut self,
        (from, until): (u64, u64),
        (begin, end): (u64, u64),
        name: &dyn Fn(ClientId) -> String,
    ) -> Option<ServiceTimes> {
        if !self.active {
            return None;
        }
        for service in self.groups.values_mut().chain([&mut self.instances]) {
            if let Some(since) = service.down_since.take() {
                service.down.push((since, end));
            }
        }
        let empty = || Histogram::new(3).expect("three significant digits");
        let mut times = ServiceTimes {
            records: 0,
            unfinished: 0,
            late: self.deadline.map(|_| 0),
            twice: 0,
            end_to_end: empty(),
            steps: empty(),
            origins: empty(),
            origins_down: empty(),
            down: 0,
            lag_peak: 0,
            behind: 0,
            lag: Vec::new(),
        };
        let all = self
            .groups
            .values()
            .chain([&self.instances])
            .flat_map(|s| &s.down)
            .map(|(a, b)| ((*a).max(from), (*b).min(until)));
        let down = united(all.filter(|(a, b)| a < b).collect());
        times.down = down.iter().map(|(a, b)| b - a).sum();
        let put = |into: &mut Histogram<u64>, ns: u64| into.record(ns.max(1)).expect("histograms grow");
        for (&value, record) in self.records.iter().filter(|(_, r)| r.origin && (from..until).contains(&r.sent)) {
            if let Some(at) = record.acknowledged.or(record.through) {
                let response = at.saturating_sub(record.sent);
                put(&mut times.origins, response);
                if down.iter().any(|(a, b)| (*a..*b).contains(&record.sent)) {
                    put(&mut times.origins_down, response);
                }
            }
            if record.failed || record.there().is_none() {
                continue;
            }
            times.records += 1;
            let took = self.done(value).map(|at| at.saturating_sub(record.sent));
            match took {
                Some(took) => put(&mut times.end_to_end, took),
                None => times.unfinished += 1,
            }
            if let (Some(deadline), Some(late)) = (self.deadline, &mut times.late) {
                *late += u64::from(took.is_none_or(|took| took > deadline));
            }
        }
        times.twice = self.groups.values().map(|s| s.twice(&self.records)).sum();
        self.lag(&mut times, (begin, end), name, &put);
        Some(times)
    }

    /// How long records waited for each of their readers.
    fn lag(
        &self,
        times: &mut ServiceTimes,
        (begin, end): (u64, u64),
        name: &dyn Fn(ClientId) -> String,
        put: &impl Fn(&mut Histogram<u64>, u64),
    ) {
        // By reader: since when each record waited, until when, and where it stands.
        let mut waits: BTreeMap<Reader, Vec<Wait>> = BTreeMap::new();
        for (&value, record) in self.records.iter().filter(|(_, r)| !r.failed) {
            // Whoever sent it may learn of it after others have read it.
            let Some(since) = record.there().map(|there| record.seen.map_or(there, |seen| there.min(seen))) else {
                continue;
            };
            for reader in self.readers(&record.topic) {
                let until = self.handled(&reader, value, record);
                if let Some(until) = until {
                    put(&mut times.steps, until.saturating_sub(since));
                }
                let place = record.place.map(|(partition, offset)| (record.topic.clone(), partition, offset));
                waits.entry(reader).or_default().push(Wait { since, until, place });
            }
        }
        for (reader, mut waits) in waits {
            never_handled(&mut waits, end);
            let stretch = |w: &Wait| (w.since + BEHIND_NS, w.until.unwrap_or(end));
            let behind = united(waits.iter().map(stretch).filter(|(a, b)| a < b).collect());
            times.behind = behind.iter().map(|(a, b)| b - a + BEHIND_NS).max().unwrap_or(0).max(times.behind);
            // What is handled at the moment at which another comes has left before.
            let mut steps: Vec<(u64, i64)> = waits.iter().map(|w| (w.since, 1)).collect();
            steps.extend(waits.iter().map(|w| (w.until.unwrap_or(end).max(w.since), -1)));
            steps.sort_unstable();
            let peak = steps.iter().scan(0, |lag, (_, by)| {
                *lag += by;
                Some(*lag)
            });
            times.lag_peak = peak.max().unwrap_or(0).max(0).cast_unsigned().max(times.lag_peak);
            if self.over_time {
                let label = match reader {
                    Reader::Group(group) => group.to_string(),
                    Reader::Model(client) => name(client),
                };
                times.lag.push(LagSeries { label, points: sampled(&steps, begin, end) });
            }
        }
    }
}

/// One record that waited for one reader.
struct Wait {
    since: u64,
    until: Option<u64>,
    place: Option<(Arc<str>, i32, i64)>,
}

/// What was passed by waits for nobody: only what lies above everything that was handled waits until the end.
fn never_handled(waits: &mut Vec<Wait>, end: u64) {
    let mut handled: BTreeMap<(Arc<str>, i32), i64> = BTreeMap::new();
    for (topic, partition, offset) in waits.iter().filter(|w| w.until.is_some()).filter_map(|w| w.place.clone()) {
        let most = handled.entry((topic, partition)).or_insert(offset);
        *most = offset.max(*most);
    }
    waits.retain(|w| match (&w.until, &w.place) {
        (Some(_), _) => true,
        (None, Some((topic, partition, offset))) => {
            w.since < end && handled.get(&(topic.clone(), *partition)).is_none_or(|most| most < offset)
        }
        (None, None) => false,
    });
}

/// Stretches of time that touch or overlap, as one.
fn united(mut stretches: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    stretches.sort_unstable();
    let mut all: Vec<(u64, u64)> = Vec::new();
    for (from, to) in stretches {
        match all.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => all.push((from, to)),
        }
    }
    all
}

/// How many waited at the end of each window.
fn sampled(steps: &[(u64, i64)], begin: u64, end: u64) -> Vec<(u64, u64)> {
    let (mut lag, mut next) = (0i64, 0);
    (begin / WINDOW_NS + 1..=end / WINDOW_NS)
        .map(|n| {
            let at = n * WINDOW_NS;
            while let Some((_, by)) = steps.get(next).filter(|(when, _)| *when <= at) {
                lag += by;
                next += 1;
            }
            (at.saturating_sub(begin), lag.max(0).cast_unsigned())
        })
        .collect()
}

impl Service {
    fn forwards(&self) -> bool {
        !self.forwards_to.is_empty() || self.declines_to.is_some()
    }

    fn came_up(&mut self, client: ClientId, at: u64) {
        // One process that follows another without a word of its end is still there.
        if let Some(since) = self.down_since.take() {
            self.down.push((since, at));
        }
        self.up.insert(client);
    }

    /// When all that follows from a value is there, by a clock that tells of each thing made.
    fn when(&self, value: u64, clock: &dyn Fn(u64) -> Option<u64>) -> Option<u64> {
        if !self.forwards() {
            return self.through.get(&value).copied();
        }
        let made = self.made.get(&value)?;
        let first = |topic: &Arc<str>| made.iter().filter(|(t, _)| t == topic).filter_map(|(_, v)| clock(*v)).min();
        let declined = self.declines_to.as_ref().and_then(first);
        let all = || self.forwards_to.iter().try_fold(0, |latest: u64, topic| Some(latest.max(first(topic)?)));
        declined.or_else(|| if self.forwards_to.is_empty() { None } else { all() })
    }

    /// Effects beyond the first.
    fn twice(&self, records: &BTreeMap<u64, Record>) -> u64 {
        let stands = |v: &u64| records.get(v).is_some_and(|r| !r.failed && r.there().is_some());
        let copies = self.made.values().map(|made| {
            let topics: BTreeSet<&Arc<str>> = made.iter().map(|(topic, _)| topic).collect();
            let of = |topic| made.iter().filter(|(t, v)| t == topic && stands(v)).count() as u64;
            topics.into_iter().map(|topic| of(topic).saturating_sub(1)).sum::<u64>()
        });
        let effects: u64 = self.applied.values().map(|n| n - 1).sum();
        copies.sum::<u64>() + effects
    }
}

#[cfg(test)]
mod tests;
