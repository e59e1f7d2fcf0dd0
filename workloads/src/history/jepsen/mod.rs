//! Histories of Jepsen's Kafka workload (`jepsen.tests.kafka`, and the queues of jepsen.redpanda and jepsen.bufstream).
//!
//! Each operation is a map: `{:process 3, :type :invoke, :f :send, :value [[:send 5 272]], :time 13620301650}`. Its
//! value is a list of micro-operations, `[:send key value]`, completed as `[:send key [offset value]]`, and `[:poll]`,
//! completed as `[:poll {key [[offset value] ...]}]`. A key stands for a partition; values are unique within a key.
//!
//! What is made of them:
//!
//! - A process is a client. A key is a topic of its name, with one partition. A value is named `key/value`.
//! - A send is open from its invocation on, and resolves as its operation does: a transaction commits or aborts as one.
//! - A poll that completed is a poll. What an operation polled that failed or crashed was read, too; but where that
//!   process stands afterwards is not known, so it counts as read by a reader of its own.
//! - `:assign` and `:subscribe` forget the positions of keys that are not among theirs; `:seek-to-beginning?` begins at
//!   offset 0. After `:subscribe`, positions are kept only if the history tells of rebalances (`:rebalance-log`).
//! - At the end, all readers together count as one final reader, from offset 0 to the highest offset that was read: this
//!   is Jepsen's own rule for lost writes.

mod edn;

use super::names::{Name, Names, SentBefore, State};
use super::text::shortened;
use super::{HistoryError, HistoryErrorKind as Kind};
use edn::{Edn, Form, Wrong};
use klamm_model::history::*;
use klamm_model::ids::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// What a history of Jepsen's holds beside what is judged.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Aside {
    /// Operations of several micro-operations, or of a kind that is transactional.
    pub transactions: u64,
    /// Operations that failed or crashed after they had polled.
    pub polls_astray: u64,
    /// Records that were polled without an offset.
    pub without_offset: u64,
    /// Operations of the nemesis and others that concern no client.
    pub others: u64,
    /// Whether processes subscribed, and no rebalance is told.
    pub blind_subscriptions: bool,
}

/// Reads such a history.
pub struct Jepsen<'a> {
    edn: Edn<'a>,
    text: &'a str,
    /// Line, and the place up to which lines were counted.
    line: (u64, usize),
    in_list: bool,
    begun: bool,
    failed: bool,
    last: u64,
    clients: BTreeMap<i64, Process>,
    next_client: u32,
    names: Names,
    topics: BTreeMap<String, Arc<str>>,
    /// By key: who reads for all, and everything that was read.
    all: BTreeMap<Arc<str>, BTreeMap<i64, ValueId>>,
    tells_rebalances: bool,
    queue: VecDeque<Entry>,
    aside: Aside,
}

/// A process: its client, and where it stands.
struct Process {
    client: ClientId,
    subscribed: bool,
    /// The keys it has a position in.
    placed: BTreeSet<Arc<str>>,
    /// Its sends that have not resolved.
    open: Vec<(Name, Arc<str>)>,
    /// Its open operation polls.
    polls: bool,
}

impl<'a> Jepsen<'a> {
    /// A history, as text.
    pub fn new(text: &'a str) -> Jepsen<'a> {
        Jepsen {
            edn: Edn::new(text),
            text,
            line: (1, 0),
            in_list: false,
            begun: false,
            failed: false,
            last: 0,
            clients: BTreeMap::new(),
            next_client: 1,
            names: Names::default(),
            topics: BTreeMap::new(),
            all: BTreeMap::new(),
            tells_rebalances: text.contains(":rebalance-log"),
            queue: VecDeque::new(),
            aside: Aside::default(),
        }
    }

    /// The values met so far.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// What was not judged.
    pub fn aside(&self) -> &Aside {
        &self.aside
    }

    /// All readers together, as one final reader. To be judged after the history.
    pub fn together(&self) -> Vec<Entry> {
        let entry = |op| Entry { at: self.last, client: ALL, incarnation: Incarnation(1), op };
        let mut entries = Vec::new();
        for (topic, read) in &self.all {
            let source = TopicPartition { topic: topic.clone(), partition: 0 };
            let Some(end) = read.keys().next_back().map(|last| Offset(last.saturating_add(1))) else { continue };
            let records: Vec<ReadRecord> = read.iter().map(|(offset, value)| record(*offset, *value)).collect();
            for chunk in records.chunks(1000) {
                let op = Op::Poll { source: source.clone(), isolation: ISOLATION, records: chunk.to_vec() };
                entries.push(entry(op));
            }
            entries.push(entry(Op::FinalRead { source, from: Offset(0), to: end }));
        }
        entries
    }

    fn error(&self, at: usize, kind: Kind) -> HistoryError {
        let at = (0..=at.min(self.text.len())).rev().find(|i| self.text.is_char_boundary(*i)).unwrap_or(0);
        let before = &self.text[..at];
        let line = before.matches('\n').count() as u64 + 1;
        HistoryError::new(line, at - before.rfind('\n').map_or(0, |n| n + 1) + 1, kind)
    }

    fn broken(&self, at: usize, message: impl Into<String>) -> HistoryError {
        self.error(at, Kind::Contract(message.into()))
    }

    /// Reads the next form that is an operation of a client, into the queue; false at the end.
    fn read(&mut self) -> Result<bool, HistoryError> {
        let syntax = |me: &Jepsen<'_>, wrong: Wrong| me.error(wrong.at, Kind::Edn(wrong.message));
        loop {
            if !self.edn.more().map_err(|w| syntax(self, w))? {
                if self.in_list {
                    return Err(self.error(self.text.len(), Kind::Edn("the text ends within a list".to_owned())));
                }
                return if self.begun { Ok(false) } else { Err(HistoryError::new(1, 1, Kind::EmptyEdn)) };
            }
            if !self.begun && self.edn.opens_list() {
                (self.begun, self.in_list) = (true, true);
                continue;
            }
            if self.in_list && self.edn.closes_list() {
                self.in_list = false;
                continue;
            }
            self.begun = true;
            let at = self.edn.at;
            let form = self.edn.form(0).map_err(|w| syntax(self, w))?;
            self.line.0 += self.text[self.line.1..at].matches('\n').count() as u64;
            self.line.1 = at;
            if !matches!(form, Form::Map(_)) || form.get("type").is_none() {
                return Err(
                    self.broken(at, "expected an operation of Jepsen's, {:process 0, :type :invoke, :f :send, ...}")
                );
            }
            self.operation(&form, at)?;
            if !self.queue.is_empty() {
                return Ok(true);
            }
        }
    }

    fn push(&mut self, client: ClientId, op: Op) {
        self.queue.push_back(Entry { at: self.last, client, incarnation: Incarnation(1), op });
    }

    /// The topic that stands for a key.
    fn topic(&mut self, key: &Form<'_>) -> Arc<str> {
        let name = shown(key);
        if let Some(topic) = self.topics.get(&name) {
            return topic.clone();
        }
        let topic: Arc<str> = name.as_str().into();
        self.topics.insert(name, topic.clone());
        self.all.insert(topic.clone(), BTreeMap::new());
        // Whatever is acknowledged comes after all readers together have begun.
        let source = TopicPartition { topic: topic.clone(), partition: 0 };
        self.push(ALL, Op::Position { source, offset: Offset(0), reason: PositionReason::Assigned });
        topic
    }

    fn fresh(&mut self, at: usize) -> Result<ClientId, HistoryError> {
        let client = ClientId(self.next_client);
        self.next_client += 1;
        if client.0 >= super::MAX_CLIENT - 1 {
            return Err(self.broken(at, format!("more than {} processes", super::MAX_CLIENT)));
        }
        Ok(client)
    }

    fn operation(&mut self, form: &Form<'_>, at: usize) -> Result<(), HistoryError> {
        let word = |key: &str| form.get(key).and_then(Form::word).unwrap_or_default();
        let (kind, f) = (word("type"), word("f"));
        if let Some(Form::Int(time)) = form.get("time") {
            self.last = self.last.max(u64::try_from(*time).unwrap_or(0));
        }
        let Some(Form::Int(process)) = form.get("process") else {
            self.aside.others += 1;
            return Ok(());
        };
        if !matches!(kind, "invoke" | "ok" | "fail" | "info") {
            let kind = shortened(kind);
            return Err(self.broken(at, format!("unknown :type `{kind}`; expected :invoke, :ok, :fail or :info")));
        }
        if !self.clients.contains_key(process) {
            let client = self.fresh(at)?;
            let new = Process { client, subscribed: false, placed: BTreeSet::new(), open: Vec::new(), polls: false };
            self.clients.insert(*process, new);
        }
        match f {
            "send" | "poll" | "txn" if kind == "invoke" => self.invoked(*process, form, at),
            "send" | "poll" | "txn" => self.completed(*process, kind, form, at),
            "assign" | "subscribe" if kind != "invoke" => {
                self.assigned(*process, f, form);
                Ok(())
            }
            _ => {
                self.aside.others += u64::from(!matches!(f, "assign" | "subscribe" | "crash"));
                Ok(())
            }
        }
    }

    fn invoked(&mut self, process: i64, form: &Form<'_>, at: usize) -> Result<(), HistoryError> {
        let micro = form.get("value").map(Form::items).unwrap_or_default();
        let client = self.clients[&process].client;
        let mut open = Vec::new();
        let mut polls = false;
        for op in micro {
            match (op.items().first().and_then(Form::word), op.items()) {
                (Some("send"), [_, key, value]) => {
                    let topic = self.topic(key);
                    let name = name(key, value);
                    let id = self.names.send(name.clone(), (client, Incarnation(1)), self.line.0).map_err(
                        |SentBefore(line)| {
                            self.broken(at, format!("value {name} is sent a second time; line {line} sent it"))
                        },
                    )?;
                    let (partition, from) = (Some(0), None);
                    let topic_of = topic.clone();
                    self.push(
                        client,
                        Op::Send { value: id, topic, partition, key: None, tombstone: false, late_by: 0, from },
                    );
                    open.push((name, topic_of));
                }
                (Some("poll"), _) => polls = true,
                _ => return Err(self.broken(at, "expected micro-operations [:send key value] or [:poll]")),
            }
        }
        self.aside.transactions += u64::from(micro.len() > 1);
        let mine = self.clients.get_mut(&process).expect("it was made above");
        if !mine.open.is_empty() {
            return Err(self.broken(at, format!("process {process} has an operation open")));
        }
        (mine.open, mine.polls) = (open, polls);
        Ok(())
    }

    fn completed(&mut self, process: i64, kind: &str, form: &Form<'_>, at: usize) -> Result<(), HistoryError> {
        let (outcome, whole) = match kind {
            "ok" => (Outcome::Ok, true),
            "fail" => (Outcome::Fail, false),
            _ => (Outcome::Info, false),
        };
        for key in form.get("rebalance-log").map(Form::items).unwrap_or_default() {
            let keys: Vec<Form<'_>> = key.get("keys").map(Form::items).unwrap_or_default().to_vec();
            for key in &keys {
                let topic = self.topic(key);
                self.lost_place(process, &topic);
            }
        }
        let mine = self.clients.get_mut(&process).expect("it was made above");
        let (client, open, polls) = (mine.client, std::mem::take(&mut mine.open), std::mem::take(&mut mine.polls));
        if mine.subscribed && !self.tells_rebalances {
            self.aside.blind_subscriptions = true;
            self.lost_places(process);
        }
        let mut open: VecDeque<(Name, Arc<str>)> = open.into();
        let error = form.get("error").map(|e| Arc::from(shortened(&shown(e))));
        for op in form.get("value").map(Form::items).unwrap_or_default() {
            match (op.items().first().and_then(Form::word), op.items()) {
                (Some("send"), [_, key, value]) => {
                    let (offset, value) = match value.items() {
                        [Form::Int(offset), value] if *offset >= 0 => (Some(*offset), value),
                        [_, value] => (None, value),
                        _ => (None, value),
                    };
                    let name = name(key, value);
                    let Some(place) = open.iter().position(|(open, _)| *open == name) else {
                        let message =
                            format!("value {name} resolves, but no operation that process {process} has open sends it");
                        return Err(self.broken(at, message));
                    };
                    open.remove(place);
                    self.resolved(client, &name, outcome, offset.filter(|_| whole), &error);
                }
                (Some("poll"), [_]) => {}
                (Some("poll"), [_, Form::Nil]) => {}
                (Some("poll"), [_, read]) => self.polled(process, whole, read, at)?,
                _ => {
                    return Err(
                        self.broken(at, "expected micro-operations [:send key [offset value]] or [:poll {...}]")
                    );
                }
            }
        }
        // What the completion does not repeat resolved as the operation did.
        for (name, _) in open {
            self.resolved(client, &name, outcome, None, &error);
        }
        if polls && !whole {
            self.aside.polls_astray += 1;
            self.lost_places(process);
        }
        Ok(())
    }

    fn resolved(
        &mut self,
        client: ClientId,
        name: &Name,
        outcome: Outcome,
        offset: Option<i64>,
        error: &Option<Arc<str>>,
    ) {
        let Some(told) = self.names.told_mut(name) else { return };
        told.state = State::Done(outcome);
        let (value, offset) = (told.id, offset.map(Offset));
        let error = error.clone().filter(|_| outcome != Outcome::Ok);
        let (partition, attempts, producer_id) = (Some(0), 1, None);
        self.push(client, Op::Sent { value, outcome, partition, offset, attempts, producer_id, error });
    }

    fn polled(&mut self, process: i64, whole: bool, read: &Form<'_>, at: usize) -> Result<(), HistoryError> {
        let Form::Map(keys) = read else {
            return Err(self.broken(at, "expected [:poll {key [[offset value] ...]}]"));
        };
        let client = if whole { self.clients[&process].client } else { self.fresh(at)? };
        for (key, pairs) in keys {
            let topic = self.topic(key);
            let mut records = Vec::new();
            for pair in pairs.items() {
                match pair.items() {
                    [Form::Int(offset), value] if *offset >= 0 => {
                        let named = if *value == Form::Nil { None } else { Some(name(key, value)) };
                        let id = self.names.spoken_of(named, true, self.line.0);
                        records.push(record(*offset, id));
                        if let Some(all) = self.all.get_mut(&topic) {
                            all.entry(*offset).or_insert(id);
                        }
                    }
                    [_, _] => self.aside.without_offset += 1,
                    _ => return Err(self.broken(at, "expected pairs of offset and value in a poll")),
                }
            }
            if records.is_empty() {
                continue;
            }
            if whole && let Some(mine) = self.clients.get_mut(&process) {
                mine.placed.insert(topic.clone());
            }
            let source = TopicPartition { topic, partition: 0 };
            self.push(client, Op::Poll { source, isolation: ISOLATION, records });
        }
        Ok(())
    }

    fn assigned(&mut self, process: i64, f: &str, form: &Form<'_>) {
        let keys: Vec<Form<'_>> = form.get("value").map(Form::items).unwrap_or_default().to_vec();
        let topics: BTreeSet<Arc<str>> = keys.iter().map(|key| self.topic(key)).collect();
        let Some(mine) = self.clients.get_mut(&process) else { return };
        mine.subscribed = f == "subscribe";
        let client = mine.client;
        let gone: Vec<Arc<str>> = mine.placed.iter().filter(|topic| !topics.contains(*topic)).cloned().collect();
        for topic in gone {
            self.lost_place(process, &topic);
        }
        if form.get("seek-to-beginning?") == Some(&Form::Bool(true)) {
            for topic in topics {
                if let Some(mine) = self.clients.get_mut(&process) {
                    mine.placed.insert(topic.clone());
                }
                let source = TopicPartition { topic, partition: 0 };
                self.push(client, Op::Position { source, offset: Offset(0), reason: PositionReason::Seek });
            }
        }
    }

    /// Where a process stands in a key is not known any more.
    fn lost_place(&mut self, process: i64, topic: &Arc<str>) {
        let Some(mine) = self.clients.get_mut(&process) else { return };
        if mine.placed.remove(topic) {
            let client = mine.client;
            let source = TopicPartition { topic: topic.clone(), partition: 0 };
            self.push(client, Op::Position { source, offset: Offset::NONE, reason: PositionReason::Assigned });
        }
    }

    fn lost_places(&mut self, process: i64) {
        let placed: Vec<Arc<str>> =
            self.clients.get(&process).into_iter().flat_map(|mine| mine.placed.clone()).collect();
        for topic in placed {
            self.lost_place(process, &topic);
        }
    }
}

/// All readers together.
const ALL: ClientId = ClientId(0);

/// A history does not tell it; Jepsen's clients read committed records.
const ISOLATION: IsolationLevel = IsolationLevel::ReadCommitted;

fn record(offset: i64, value: ValueId) -> ReadRecord {
    ReadRecord { offset: Offset(offset), leader_epoch: LeaderEpoch::NONE, value, key: None, timestamp: -1 }
}

/// A key or value as people write it.
fn shown(form: &Form<'_>) -> String {
    match form {
        Form::Nil => "nil".to_owned(),
        Form::Bool(b) => b.to_string(),
        Form::Int(n) => n.to_string(),
        Form::Other(text) | Form::Keyword(text) => (*text).to_owned(),
        Form::Text(text) => text.clone().into_owned(),
        Form::List(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" ")),
        Form::Map(pairs) => {
            let pair = |(k, v): &(Form<'_>, Form<'_>)| format!("{} {}", shown(k), shown(v));
            format!("{{{}}}", pairs.iter().map(pair).collect::<Vec<_>>().join(", "))
        }
    }
}

/// A value is unique within its key.
fn name(key: &Form<'_>, value: &Form<'_>) -> Name {
    Name::text(&format!("{}/{}", shown(key), shown(value)))
}

impl Iterator for Jepsen<'_> {
    type Item = Result<Entry, HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        if self.queue.is_empty() {
            match self.read() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(e) => {
                    self.failed = true;
                    return Some(Err(e));
                }
            }
        }
        self.queue.pop_front().map(Ok)
    }
}

#[cfg(test)]
mod tests;
