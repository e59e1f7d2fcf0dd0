//! Makes an operation of the fields that a line holds.

use super::line::{Node, What};
use super::names::{Name, Names};
use klamm_model::history::*;
use klamm_model::ids::*;
use std::borrow::Cow;
use std::sync::Arc;

/// A line's fields, taken in the order of the table. Their kinds were checked: what is not there is a default.
pub(super) struct Fields<'a>(std::vec::IntoIter<Node<'a>>);

impl<'a> Fields<'a> {
    pub(super) fn new(nodes: Vec<Node<'a>>) -> Fields<'a> {
        Fields(nodes.into_iter())
    }

    fn next(&mut self) -> What<'a> {
        self.0.next().map_or(What::Nothing, |node| node.what)
    }

    fn maybe<T: TryFrom<i128>>(&mut self) -> Option<T> {
        if let What::Number(n) = self.next() { T::try_from(n).ok() } else { None }
    }

    fn number<T: TryFrom<i128> + Default>(&mut self) -> T {
        self.maybe().unwrap_or_default()
    }

    fn bool(&mut self) -> bool {
        matches!(self.next(), What::Bool(true))
    }

    fn text(&mut self) -> Option<Cow<'a, str>> {
        if let What::Text(text) = self.next() { Some(text) } else { None }
    }

    fn shared(&mut self) -> Option<Arc<str>> {
        self.text().map(Arc::from)
    }

    fn name(&mut self) -> Option<Name> {
        if let What::Name(name) = self.next() { Some(name) } else { None }
    }

    fn list(&mut self) -> Vec<Node<'a>> {
        if let What::List(list) = self.next() { list } else { Vec::new() }
    }

    fn object(&mut self) -> Fields<'a> {
        if let What::Object(fields) = self.next() { Fields::new(fields) } else { Fields::new(Vec::new()) }
    }

    fn offset(&mut self) -> Offset {
        Offset(self.number())
    }

    fn isolation(&mut self) -> IsolationLevel {
        match self.text().as_deref() {
            Some("read_uncommitted") => IsolationLevel::ReadUncommitted,
            _ => IsolationLevel::ReadCommitted,
        }
    }

    fn outcome(&mut self) -> Outcome {
        match self.text().as_deref() {
            Some("ok") => Outcome::Ok,
            Some("fail") => Outcome::Fail,
            _ => Outcome::Info,
        }
    }

    fn topics(&mut self) -> Vec<Arc<str>> {
        let topic = |node: Node<'a>| if let What::Text(text) = node.what { Some(text.into()) } else { None };
        self.list().into_iter().filter_map(topic).collect()
    }
}

/// Topics' names come again and again: one copy of each last one is kept.
#[derive(Default)]
pub(super) struct Topics(Vec<Arc<str>>);

impl Topics {
    fn shared(&mut self, name: &str) -> Arc<str> {
        if let Some(i) = self.0.iter().position(|known| **known == *name) {
            return self.0[i].clone();
        }
        if self.0.len() >= 64 {
            self.0.remove(0);
        }
        let name: Arc<str> = name.into();
        self.0.push(name.clone());
        name
    }

    fn source(&mut self, mut fields: Fields<'_>) -> TopicPartition {
        let topic = self.shared(&fields.text().unwrap_or_default());
        TopicPartition { topic, partition: fields.number() }
    }

    fn source_of(&mut self, node: Node<'_>) -> TopicPartition {
        self.source(if let What::Object(fields) = node.what { Fields::new(fields) } else { Fields::new(Vec::new()) })
    }

    fn sources(&mut self, fields: &mut Fields<'_>) -> Vec<TopicPartition> {
        fields.list().into_iter().map(|node| self.source_of(node)).collect()
    }
}

/// What the contract needs to know of a line besides its operation.
#[derive(Default)]
pub(super) struct Also {
    /// The name of the value that is sent, or whose send resolved.
    pub(super) value: Option<Name>,
    /// A send that resolved does not tell how often it was tried.
    pub(super) attempts_unknown: bool,
}

/// Makes the operation. A send's value is numbered by the contract, later.
pub(super) fn operation(op: &str, f: &mut Fields<'_>, topics: &mut Topics, names: &mut Names, line: u64) -> (Op, Also) {
    let mut also = Also::default();
    let unnumbered = ValueId(0);
    let op = match op {
        "producer" => {
            let mut facts = f.object();
            let acks = match facts.text().as_deref() {
                Some("0") => Acks::None,
                Some("1") => Acks::Leader,
                _ => Acks::All,
            };
            let (idempotent, max_in_flight) = (facts.bool(), facts.number());
            Op::Producer { facts: ProducerFacts { acks, idempotent, max_in_flight, resolves_within: facts.number() } }
        }
        "send" => {
            also.value = f.name();
            let topic = topics.shared(&f.text().unwrap_or_default());
            Op::Send {
                value: unnumbered,
                topic,
                partition: f.maybe(),
                key: f.name().map(|name| names.key(name)),
                tombstone: f.bool(),
                late_by: f.number(),
                from: f.name().map(|name| names.spoken_of(Some(name), false, line)),
            }
        }
        "sent" => {
            also.value = f.name();
            let (outcome, partition, offset) = (f.outcome(), f.maybe(), f.maybe().map(Offset));
            let attempts = f.maybe();
            also.attempts_unknown = attempts.is_none();
            Op::Sent {
                value: unnumbered,
                outcome,
                partition,
                offset,
                attempts: attempts.unwrap_or(1),
                producer_id: f.maybe().map(ProducerId),
                error: f.shared(),
            }
        }
        "poll" => {
            let (source, isolation) = (topics.source(f.object()), f.isolation());
            let mut record = |node: Node<'_>| {
                let What::Object(fields) = node.what else { return None };
                let mut r = Fields::new(fields);
                Some(ReadRecord {
                    offset: r.offset(),
                    leader_epoch: LeaderEpoch(r.maybe().unwrap_or(-1)),
                    value: names.spoken_of(r.name(), true, line),
                    key: r.name().map(|name| names.key(name)),
                    timestamp: r.maybe().unwrap_or(-1),
                })
            };
            let records = f.list().into_iter().filter_map(&mut record).collect();
            Op::Poll { source, isolation, records }
        }
        "position" => {
            let (source, offset) = (topics.source(f.object()), Offset(f.maybe().unwrap_or(-1)));
            let reason = match f.text().as_deref() {
                Some("seek") => PositionReason::Seek,
                Some("reset") => PositionReason::Reset,
                Some("truncation") => PositionReason::Truncation,
                _ => PositionReason::Assigned,
            };
            Op::Position { source, offset, reason }
        }
        "read_model" => Op::ReadModel { topics: f.topics() },
        "ask_offset" => Op::AskOffset { ask: f.number() },
        "list_offsets" => {
            let (ask, source) = (f.number(), topics.source(f.object()));
            let topic_id = f.text().and_then(|text| Uuid::parse_str(&text).ok()).map(TopicId);
            let (isolation, query, offset) = (f.isolation(), f.number(), f.offset());
            Op::ListOffsets { ask, source, topic_id, isolation, query, offset, leader_epoch: LeaderEpoch(f.number()) }
        }
        "final_read" => {
            let (source, from) = (topics.source(f.object()), f.offset());
            Op::FinalRead { source, from, to: f.offset() }
        }
        "member" => Op::Member { facts: member(&mut f.object()) },
        "assigned" => Op::Assigned { generation: f.number(), partitions: topics.sources(f) },
        "revoked" => {
            let (generation, partitions) = (f.number(), topics.sources(f));
            Op::Revoked { generation, partitions, lost: f.bool() }
        }
        "commit" => {
            let commit = f.number();
            let trigger = match f.text().as_deref() {
                Some("auto") => CommitTrigger::Auto,
                Some("async") => CommitTrigger::Async,
                Some("revocation") => CommitTrigger::Revocation,
                Some("close") => CommitTrigger::Close,
                _ => CommitTrigger::Sync,
            };
            let generation = f.number();
            let mut pair = |node: Node<'_>| {
                let What::List(pair) = node.what else { return None };
                let mut pair = pair.into_iter();
                let source = topics.source_of(pair.next()?);
                let What::Number(offset) = pair.next()?.what else { return None };
                Some((source, Offset(i64::try_from(offset).ok()?)))
            };
            let offsets = f.list().into_iter().filter_map(&mut pair).collect();
            Op::Commit { commit, trigger, generation, offsets }
        }
        "committed" => {
            let (commit, outcome) = (f.number(), f.outcome());
            Op::Committed { commit, outcome, error: f.shared() }
        }
        "finished" => {
            let (source, from) = (topics.source(f.object()), f.offset());
            Op::Finished { source, from, to: f.offset() }
        }
        "effect" => {
            let (source, offset) = (topics.source(f.object()), f.offset());
            Op::Effect { source, offset, value: names.spoken_of(f.name(), false, line) }
        }
        "group_offset" => {
            let (group, source) = (f.shared().unwrap_or_default(), topics.source(f.object()));
            Op::GroupOffset { group, source, offset: f.maybe().map(Offset) }
        }
        _ => unreachable!("the table knows the operation"),
    };
    (op, also)
}

/// Time, client and incarnation of every operation. The operation's name follows and is known already.
pub(super) fn common(f: &mut Fields<'_>) -> (u64, ClientId, Incarnation) {
    let all = (f.number(), ClientId(f.number()), Incarnation(f.number()));
    f.next();
    all
}

fn member(f: &mut Fields<'_>) -> MemberFacts {
    let group = f.shared().unwrap_or_default();
    let protocol = match f.text().as_deref() {
        Some("cooperative") => RebalanceProtocol::Cooperative,
        Some("consumer") => RebalanceProtocol::Consumer,
        _ => RebalanceProtocol::Eager,
    };
    let (instance, auto_commit) = (f.shared(), f.bool());
    let processing = match f.text().as_deref() {
        Some("commit-then-finish") => Processing::CommitThenFinish,
        Some("hand-off") => Processing::HandOff,
        _ => Processing::FinishThenCommit,
    };
    MemberFacts {
        group,
        protocol,
        instance,
        auto_commit,
        processing,
        effects: f.bool(),
        resets_to_latest: f.bool(),
        forwards_to: f.topics(),
        declines_to: f.shared(),
    }
}
