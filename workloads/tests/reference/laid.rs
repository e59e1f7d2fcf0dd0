//! A history laid out for looking at: what was sent, what was read and in which stretch, which questions were answered.
//!
//! A **stretch** is what one reader (client and incarnation) reads of one partition between two changes of its position
//! that reading did not make: poll checks judge within it.

use klamm_model::history::{Acks, Entry, IsolationLevel, Op, Outcome, ProducerFacts, TopicPartition, ValueId};
use klamm_model::ids::{ClientId, TopicId};
use klamm_workloads::permission::Declared;
use std::sync::Arc;

/// Where an entry stands: its number in the history, and its time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Moment {
    pub number: usize,
    pub at: u64,
}

/// A client in one of its lives.
pub type Life = (ClientId, u32);

pub struct Resolved {
    pub when: Moment,
    pub outcome: Outcome,
    pub partition: Option<i32>,
    pub offset: Option<i64>,
    pub attempts: u32,
    pub producer_id: Option<i64>,
}

pub struct Send {
    pub value: ValueId,
    pub life: Life,
    pub topic: Arc<str>,
    pub chosen: Option<i32>,
    pub key: Option<u64>,
    pub invoked: Moment,
    pub resolved: Option<Resolved>,
    pub facts: ProducerFacts,
    /// Whether the producer's settings are known; if not, `facts` are Kafka's defaults.
    pub facts_known: bool,
}

impl Send {
    pub fn outcome(&self) -> Option<Outcome> {
        self.resolved.as_ref().map(|r| r.outcome)
    }

    /// The partition that the application chose, or else the one that its resolution names.
    pub fn partition(&self) -> Option<TopicPartition> {
        let partition = self.chosen.or(self.resolved.as_ref().and_then(|r| r.partition))?;
        Some(TopicPartition { topic: self.topic.clone(), partition })
    }

    /// Where it was acknowledged.
    pub fn acknowledged_at(&self) -> Option<(TopicPartition, i64)> {
        let resolved = self.resolved.as_ref().filter(|r| r.outcome == Outcome::Ok)?;
        let source = match resolved.partition {
            Some(partition) => TopicPartition { topic: self.topic.clone(), partition },
            None => self.partition()?,
        };
        Some((source, resolved.offset?))
    }

    /// Whether it was put into a request more than once; one that never resolved may have been.
    pub fn retried(&self) -> bool {
        self.resolved.as_ref().is_none_or(|r| r.attempts > 1)
    }
}

pub struct Read {
    pub when: Moment,
    pub life: Life,
    pub source: TopicPartition,
    pub isolation: IsolationLevel,
    pub offset: i64,
    pub epoch: i32,
    pub value: ValueId,
}

#[derive(Default)]
pub struct Stretch {
    /// The position it began at, if the reader said so, and when.
    pub start: Option<(i64, Moment)>,
    /// Numbers of reads.
    pub reads: Vec<usize>,
}

/// A reader goes from one place to the next, and what lies between is not handed out.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Jump {
    /// The record before it; none at the first record after a position.
    pub before: Option<usize>,
    /// The first offset that was due.
    pub due: i64,
    /// The record that came.
    pub came: usize,
}

/// What a reader did last at an offset.
#[derive(PartialEq, Debug)]
pub enum Last {
    /// It never came there.
    Nothing,
    /// It came past it.
    Passed(Jump),
    /// It got this value there.
    Got(ValueId),
}

pub struct Final {
    pub when: Moment,
    /// When its reader came to the partition, or to the piece of it that it has not left since.
    pub begun: Moment,
    /// When its reader's position was set for the last time.
    pub stretch: Moment,
    pub life: Life,
    pub source: TopicPartition,
    pub to: i64,
}

pub struct Answer {
    pub asked: Moment,
    pub when: Moment,
    pub source: TopicPartition,
    pub topic_id: Option<TopicId>,
    pub isolation: IsolationLevel,
    pub query: i64,
    pub offset: i64,
    pub epoch: i32,
    pub client: ClientId,
}

pub struct Laid<'a> {
    pub declared: &'a Declared,
    pub end: u64,
    pub sends: Vec<Send>,
    pub reads: Vec<Read>,
    pub stretches: Vec<Stretch>,
    pub finals: Vec<Final>,
    pub answers: Vec<Answer>,
    /// When each life of a client was first seen.
    pub lives: Vec<(Life, Moment)>,
}

impl<'a> Laid<'a> {
    pub fn new(entries: &[Entry], declared: &'a Declared) -> Laid<'a> {
        let end = entries.last().map_or(0, |e| e.at);
        let mut laid = Laid {
            declared,
            end,
            sends: Vec::new(),
            reads: Vec::new(),
            stretches: Vec::new(),
            finals: Vec::new(),
            answers: Vec::new(),
            lives: Vec::new(),
        };
        let mut facts: Vec<(Life, ProducerFacts)> = Vec::new();
        let mut asked: Vec<(ClientId, u64, Moment)> = Vec::new();
        // The stretch that a reader is in.
        let mut current: Vec<(Life, TopicPartition, usize)> = Vec::new();
        for (number, entry) in entries.iter().enumerate() {
            let when = Moment { number, at: entry.at };
            let life = (entry.client, entry.incarnation.0);
            if !laid.lives.iter().any(|(l, _)| *l == life) {
                laid.lives.push((life, when));
            }
            match &entry.op {
                Op::Producer { facts: f } => facts.push((life, f.clone())),
                Op::Send { value, topic, partition, key, .. } => {
                    let known = facts.iter().rev().find(|(l, _)| *l == life).map(|(_, f)| f.clone());
                    laid.sends.push(Send {
                        value: *value,
                        life,
                        topic: topic.clone(),
                        chosen: *partition,
                        key: *key,
                        invoked: when,
                        resolved: None,
                        facts_known: known.is_some(),
                        facts: known.unwrap_or(ProducerFacts {
                            acks: Acks::All,
                            idempotent: true,
                            max_in_flight: 5,
                            resolves_within: u64::MAX,
                        }),
                    });
                }
                Op::Sent { value, outcome, partition, offset, attempts, producer_id, .. } => {
                    if let Some(send) = laid.sends.iter_mut().find(|s| s.value == *value) {
                        // With acks=0 no broker answers: such a send is never acknowledged.
                        let unanswered = send.facts.acks == Acks::None && *outcome == Outcome::Ok;
                        send.resolved = Some(Resolved {
                            when,
                            outcome: if unanswered { Outcome::Info } else { *outcome },
                            partition: *partition,
                            offset: offset.map(|o| o.0).filter(|_| !unanswered),
                            attempts: *attempts,
                            producer_id: producer_id.map(|p| p.0),
                        });
                    }
                }
                Op::Position { source, offset, .. } => {
                    current.retain(|(l, s, _)| (*l, s) != (life, source));
                    current.push((life, source.clone(), laid.stretches.len()));
                    laid.stretches.push(Stretch { start: Some((offset.0, when)), reads: Vec::new() });
                }
                Op::Poll { source, isolation, records } => {
                    let known = current.iter().find(|(l, s, _)| (*l, s) == (life, source)).map(|c| c.2);
                    let stretch = known.unwrap_or_else(|| {
                        current.push((life, source.clone(), laid.stretches.len()));
                        laid.stretches.push(Stretch::default());
                        laid.stretches.len() - 1
                    });
                    for record in records {
                        laid.stretches[stretch].reads.push(laid.reads.len());
                        laid.reads.push(Read {
                            when,
                            life,
                            source: source.clone(),
                            isolation: *isolation,
                            offset: record.offset.0,
                            epoch: record.leader_epoch.0,
                            value: record.value,
                        });
                    }
                }
                Op::AskOffset { ask } => asked.push((entry.client, *ask, when)),
                Op::ListOffsets { ask, source, topic_id, isolation, query, offset, leader_epoch } => {
                    let question = asked.iter().rev().find(|(c, a, _)| (*c, *a) == (entry.client, *ask));
                    laid.answers.push(Answer {
                        asked: question.map_or(when, |q| q.2),
                        when,
                        source: source.clone(),
                        topic_id: *topic_id,
                        isolation: *isolation,
                        query: *query,
                        offset: offset.0,
                        epoch: leader_epoch.0,
                        client: entry.client,
                    });
                }
                Op::FinalRead { source, from, to } => {
                    let stretch = current.iter().find(|(l, s, _)| (*l, s) == (life, source)).map(|c| c.2);
                    let first = |s: usize| {
                        let stretch = &laid.stretches[s];
                        stretch.start.map(|s| s.1).or(stretch.reads.first().map(|r| laid.reads[*r].when))
                    };
                    let begun = stretch.and_then(first).unwrap_or(when);
                    // A final reader that said nothing of its position began where its final read did.
                    if let Some(s) = stretch.filter(|s| laid.stretches[*s].start.is_none()) {
                        laid.stretches[s].start = Some((from.0, begun));
                    }
                    laid.finals.push(Final { when, begun, stretch: begun, life, source: source.clone(), to: to.0 });
                }
                _ => {}
            }
        }
        laid
    }

    pub fn send(&self, value: ValueId) -> Option<&Send> {
        self.sends.iter().find(|s| s.value == value)
    }

    /// Whether a read cannot be of the send that its value names: there is none, it had not begun, or it went elsewhere.
    /// Such a read is unknown-read, and evidence for nothing else.
    pub fn is_unknown(&self, read: &Read) -> bool {
        let Some(send) = self.send(read.value).filter(|s| s.invoked < read.when) else { return true };
        if send.topic != read.source.topic {
            return true;
        }
        // What nothing says the partition of lies in one, the first by name: elsewhere it has no business.
        let seen = || {
            let of = |r: &&Read| r.value == read.value && send.invoked < r.when && r.source.topic == send.topic;
            self.reads.iter().filter(of).map(|r| r.source.clone()).min()
        };
        send.partition().or_else(seen).is_some_and(|own| own != read.source)
    }

    /// The reads that can be of a send.
    pub fn reads_of(&self, value: ValueId) -> impl Iterator<Item = &Read> {
        self.reads.iter().filter(move |r| r.value == value && !self.is_unknown(r))
    }

    /// Whether any reader got a send's value, wherever.
    pub fn seen(&self, send: &Send) -> bool {
        self.reads.iter().any(|r| r.value == send.value && r.when > send.invoked)
    }

    /// Where a send's acknowledgement puts it, unless reading refutes that: the value was read, and never there.
    pub fn standing_ack(&self, send: &Send) -> Option<(TopicPartition, i64)> {
        let (source, offset) = send.acknowledged_at()?;
        let read = self.seen(send);
        let there = self.reads_of(send.value).any(|r| r.source == source && r.offset == offset);
        (there || !read).then_some((source, offset))
    }

    /// The only offset of a partition at which a value is known to lie, and the first moment at which it is known. What has
    /// several is a duplicate, what was read elsewhere than acknowledged is unknown-read: neither says anything of order.
    pub fn place(&self, send: &Send, source: &TopicPartition) -> Option<(i64, Moment)> {
        if send.acknowledged_at().is_some() && self.standing_ack(send).is_none() {
            return None;
        }
        // Nor does what resolved to another partition than was chosen.
        let resolved = send.resolved.as_ref().and_then(|r| r.partition);
        if send.chosen.zip(resolved).is_some_and(|(chosen, resolved)| chosen != resolved) {
            return None;
        }
        let mut places: Vec<(i64, Moment)> =
            self.reads_of(send.value).filter(|r| r.source == *source).map(|r| (r.offset, r.when)).collect();
        if let (Some((on, offset)), Some(resolved)) = (self.standing_ack(send), &send.resolved)
            && on == *source
        {
            places.push((offset, resolved.when));
        }
        let first = places.iter().min().copied()?;
        places.iter().all(|p| p.0 == first.0).then_some(first)
    }

    /// What a reader did last at an offset.
    pub fn last_at(&self, life: Life, source: &TopicPartition, offset: i64) -> Last {
        let steps = self.steps();
        let mut last = Last::Nothing;
        for (n, read) in self.reads.iter().enumerate().filter(|(_, r)| r.life == life && r.source == *source) {
            if read.offset == offset {
                last = Last::Got(read.value);
            } else if let Some(step) = steps.iter().find(|s| s.came == n && s.due <= offset && offset < read.offset) {
                last = Last::Passed(*step);
            }
        }
        last
    }

    /// Each step of each reader upwards, to the next record or beyond it.
    pub fn steps(&self) -> Vec<Jump> {
        let mut jumps = Vec::new();
        for s in &self.stretches {
            for (i, &came) in s.reads.iter().enumerate() {
                let before = i.checked_sub(1).map(|i| s.reads[i]);
                let due = match before {
                    Some(before) => Some(self.reads[before].offset.saturating_add(1)),
                    None => s.start.map(|s| s.0).or(Some(self.reads[came].offset)),
                };
                if let Some(due) = due.filter(|due| *due <= self.reads[came].offset) {
                    jumps.push(Jump { before, due, came });
                }
            }
        }
        jumps
    }
}
