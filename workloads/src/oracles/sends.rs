//! What is known of each send: one compact record, indexed by client and index, because values are dense per client.

use super::blocks::Blocks;
use crate::permission::SendFacts;
use klamm_model::history::{Acks, Outcome, ProducerFacts, ValueId};
use klamm_model::ids::{ClientId, Incarnation, ProducerId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How a send stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// No such send.
    Absent,
    /// Not resolved.
    Pending,
    /// Acknowledged.
    Acknowledged,
    /// Definitely did not happen.
    Failed,
    /// May or may not have happened; acks=0 is never more than this.
    Info,
}

/// The key is known.
pub(super) const KEYED: u16 = 1;
/// The application chose the partition.
pub(super) const CHOSEN: u16 = 2;
/// It was read at `offset`.
pub(super) const READ: u16 = 4;
/// Reported as lost.
pub(super) const LOST: u16 = 8;
/// Its resolution named a partition.
pub(super) const TOLD: u16 = 16;
/// The acknowledgement had an offset.
pub(super) const OFFSET_ACKED: u16 = 32;
/// It was seen elsewhere than at `offset`, or acknowledged elsewhere than it was sent to: see [`super::places`].
pub(super) const MOVED: u16 = 128;

/// One send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Send {
    pub(super) invoked: u64,
    pub(super) completed: u64,
    /// Where it was acknowledged; if that is not known, where it was read first; -1 if neither is known.
    pub(super) offset: i64,
    pub(super) key: u64,
    pub(super) topic: u32,
    /// The partition, or [`NOWHERE`].
    pub(super) part: u32,
    pub(super) incarnation: u32,
    /// Which of the client's producer ids, from 1; 0 if none.
    pub(super) producer: u16,
    pub(super) attempts: u16,
    pub(super) state: State,
    pub(super) flags: u16,
}

/// It has no value: a tombstone.
pub(super) const TOMBSTONE: u16 = 256;

/// Its offset is claimed by another value, too: it is remembered to the end.
pub(super) const CLAIMED: u16 = 512;

/// No partition is known.
pub(super) const NOWHERE: u32 = u32::MAX;

const ABSENT: Send = Send {
    invoked: 0,
    completed: 0,
    offset: -1,
    key: 0,
    topic: 0,
    part: NOWHERE,
    incarnation: 0,
    producer: 0,
    attempts: 0,
    state: State::Absent,
    flags: 0,
};

impl Send {
    /// Whether all of these flags are set.
    pub(super) fn is(&self, flags: u16) -> bool {
        self.flags & flags == flags
    }
    /// How it ended.
    pub(super) fn outcome(&self, acks: Acks) -> Option<Outcome> {
        match self.state {
            State::Absent | State::Pending => None,
            State::Acknowledged => Some(Outcome::Ok),
            State::Failed => Some(Outcome::Fail),
            State::Info if acks == Acks::None => Some(Outcome::Ok),
            State::Info => Some(Outcome::Info),
        }
    }
}

/// One client's sends.
pub(super) struct Client {
    pub(super) id: ClientId,
    pub(super) incarnation: u32,
    /// The settings of each incarnation.
    facts: BTreeMap<u32, ProducerFacts>,
    /// Ascending, none touching another. A client that starts again may leap ahead: it begins another run.
    runs: Vec<Run>,
    /// Sends that fit no run: far apart or out of order, or old and yet to be remembered.
    sparse: BTreeMap<u64, Send>,
    /// How many sends the runs hold.
    held: usize,
    /// Its producer ids, in the order in which they were first seen.
    pub(super) producers: Vec<ProducerId>,
    numbers: BTreeMap<ProducerId, u16>,
    /// The producer ids of each incarnation that took the place of another one, as they were first seen.
    replaced: BTreeMap<u32, Vec<Replaced>>,
    /// The incarnations whose producer ids are known.
    identified: BTreeSet<u32>,
    /// The producer id that its last resolved send went out under, that send's incarnation, and when it resolved.
    identity: Option<(u32, u16, u64)>,
    pub(super) errors: BTreeMap<u64, Arc<str>>,
    /// When the producer took, or may have taken, a new epoch in a partition: when it gave up a send of it. By
    /// incarnation and partition, ascending.
    renewals: BTreeMap<(u32, u32), Vec<u64>>,
    /// Sends that resolved too late just now, and the last ones that resolved in time at the same moment.
    pub(super) late: super::send_resolves::Late,
}

/// A producer id took the place of another one.
#[derive(Clone, Copy)]
struct Replaced {
    number: u16,
    /// When the last send under the other one resolved.
    until: u64,
    /// When the first under this one did.
    from: u64,
}

/// Sends of consecutive indices.
struct Run {
    /// It began here, and begins at `base` now: what lies between is forgotten.
    first: u64,
    base: u64,
    sends: Blocks<Send>,
}

impl Run {
    fn next(&self) -> u64 {
        self.base + self.sends.len() as u64
    }
}

/// How many places a run may have for each send that it holds: what leaps further is kept apart.
const STRETCH: u64 = 8;

/// The most runs of a client; what leaps further is kept apart.
const MAX_RUNS: usize = 256;

/// Settings of a producer that never said: Kafka's defaults, and no promise of time.
const UNSAID: ProducerFacts =
    ProducerFacts { acks: Acks::All, idempotent: true, max_in_flight: 5, resolves_within: u64::MAX };

/// What is known of a value.
pub(super) enum Known<'a> {
    /// It was sent.
    Sent(&'a mut Send),
    /// It was sent, resolved, deleted with the log it was in, and forgotten.
    Forgotten,
    /// Nobody sent it.
    Unknown,
}

impl Client {
    pub(super) fn new(id: ClientId) -> Client {
        Client {
            id,
            incarnation: 0,
            facts: BTreeMap::new(),
            runs: Vec::new(),
            sparse: BTreeMap::new(),
            held: 0,
            producers: Vec::new(),
            numbers: BTreeMap::new(),
            replaced: BTreeMap::new(),
            identified: BTreeSet::new(),
            identity: None,
            errors: BTreeMap::new(),
            renewals: BTreeMap::new(),
            late: super::send_resolves::Late::default(),
        }
    }

    /// Its settings in an incarnation.
    pub(super) fn facts(&self, incarnation: u32) -> &ProducerFacts {
        self.facts.get(&incarnation).unwrap_or(&UNSAID)
    }

    /// A producer came up.
    pub(super) fn came_up(&mut self, incarnation: Incarnation, facts: &ProducerFacts) {
        self.incarnation = self.incarnation.max(incarnation.0);
        self.facts.insert(incarnation.0, facts.clone());
    }

    /// A new send.
    pub(super) fn send(&mut self, index: u64, send: Send) {
        let room = STRETCH * (self.held as u64 + 1);
        let most = self.runs.len() >= MAX_RUNS;
        match self.runs.last_mut() {
            Some(run) if index == run.next() => {
                self.held += 1;
                return run.sends.push_back(send);
            }
            Some(run) if index > run.next() && index - run.base <= room => {
                run.sends.fill_to((index - run.base) as usize, ABSENT);
                self.held += 1;
                return run.sends.push_back(send);
            }
            Some(run) if most || index < run.next() => {}
            _ => {
                let mut sends = Blocks::default();
                sends.push_back(send);
                self.held += 1;
                return self.runs.push(Run { first: index, base: index, sends });
            }
        }
        if let Some(run) = self.run(index).map(|r| &mut self.runs[r]).filter(|r| r.base <= index && index < r.next()) {
            let slot = &mut run.sends[(index - run.base) as usize];
            if slot.state == State::Absent {
                *slot = send;
                self.held += 1;
            }
        } else if matches!(self.get_mut(index), Known::Unknown) {
            self.sparse.insert(index, send);
        }
    }

    /// The run that may hold an index.
    fn run(&self, index: u64) -> Option<usize> {
        let last = self.runs.len().checked_sub(1)?;
        if self.runs[last].first <= index {
            return Some(last);
        }
        self.runs.partition_point(|r| r.first <= index).checked_sub(1)
    }

    /// The send with this index.
    pub(super) fn get(&self, index: u64) -> Option<&Send> {
        let dense = self.run(index).and_then(|r| {
            let run = &self.runs[r];
            run.sends.get(usize::try_from(index.checked_sub(run.base)?).ok()?)
        });
        dense.or_else(|| self.sparse.get(&index)).filter(|s| s.state != State::Absent)
    }

    /// The same, to change it.
    pub(super) fn get_mut(&mut self, index: u64) -> Known<'_> {
        let mut forgotten = false;
        if let Some(run) = self.run(index).map(|r| &mut self.runs[r]) {
            forgotten = index < run.base;
            let i = index.wrapping_sub(run.base) as usize;
            if !forgotten && i < run.sends.len() {
                let send = &mut run.sends[i];
                return if send.state == State::Absent { Known::Unknown } else { Known::Sent(send) };
            }
        }
        match self.sparse.get_mut(&index) {
            Some(send) => Known::Sent(send),
            None if forgotten => Known::Forgotten,
            None => Known::Unknown,
        }
    }

    /// All sends that are remembered, ascending by index.
    pub(super) fn all(&self) -> impl Iterator<Item = (u64, &Send)> {
        let mut dense = self.runs.iter().flat_map(|r| (r.base..).zip(r.sends.iter())).peekable();
        let mut sparse = self.sparse.iter().map(|(i, s)| (*i, s)).peekable();
        let merged = std::iter::from_fn(move || match (dense.peek(), sparse.peek()) {
            (Some(d), Some(s)) if s.0 < d.0 => sparse.next(),
            (Some(_), _) => dense.next(),
            (None, _) => sparse.next(),
        });
        merged.filter(|(_, s)| s.state != State::Absent)
    }

    /// The producer gave up a send of a partition: it took a new epoch there, perhaps.
    pub(super) fn gave_up(&mut self, incarnation: u32, part: u32, at: u64) {
        let moments = self.renewals.entry((incarnation, part)).or_default();
        if moments.last() != Some(&at) {
            moments.push(at);
        }
    }

    /// A send resolved that last went out under a producer id: its number, from 1; 0 when there are too many.
    pub(super) fn went_out_under(&mut self, id: ProducerId, incarnation: u32, at: u64) -> u16 {
        let number = match self.numbers.get(&id) {
            Some(n) => *n,
            None if self.producers.len() < usize::from(u16::MAX) => {
                self.producers.push(id);
                let n = self.producers.len() as u16;
                if let Some((_, _, until)) = self.identity.filter(|(i, ..)| *i == incarnation) {
                    self.replaced.entry(incarnation).or_default().push(Replaced { number: n, until, from: at });
                }
                self.numbers.insert(id, n);
                n
            }
            None => 0,
        };
        self.identified.insert(incarnation);
        self.identity = Some((incarnation, number, at));
        number
    }

    /// When the producer took a new epoch in this send's partition while it was open; of its own giving up only if
    /// `own` says so. What was given up then was not sent again.
    fn bumped(&self, send: &Send, own: bool) -> Option<u64> {
        let moments = self.renewals.get(&(send.incarnation, send.part))?;
        let first = *moments.get(moments.partition_point(|&at| at < send.invoked))?;
        let pending = send.state == State::Pending;
        (pending || first < send.completed || (own && first == send.completed)).then_some(first)
    }

    /// When the producer took another id while this send was open: not before the last send under the old one resolved.
    fn got_another_id(&self, send: &Send) -> Option<u64> {
        // Both of their times ascend.
        let ids = self.replaced.get(&send.incarnation)?;
        let first = ids.partition_point(|r| r.from <= send.invoked);
        let next = ids.get(first)?;
        let under_another = || ids.binary_search_by_key(&send.producer, |r| r.number).is_ok_and(|i| i >= first);
        let open = match send.state {
            State::Pending => true,
            State::Acknowledged | State::Failed => under_another(),
            _ => next.until <= send.completed || under_another(),
        };
        open.then_some(next.until)
    }

    /// What permission depends on.
    pub(super) fn send_facts(&self, index: u64, read: bool) -> Option<SendFacts> {
        let send = self.get(index)?;
        let facts = self.facts(send.incarnation);
        let pending = send.state == State::Pending;
        let other_id = self.got_another_id(send).filter(|_| facts.idempotent);
        let bumped = |own| self.bumped(send, own).filter(|_| facts.idempotent);
        // Where the ids are not known, the new identity may have been another id.
        let unsaid = send.producer == 0 && !self.identified.contains(&send.incarnation);
        Some(SendFacts {
            value: ValueId::new(self.id, index),
            invoked: send.invoked,
            completed: (!pending).then_some(send.completed),
            acks: facts.acks,
            idempotent: facts.idempotent,
            max_in_flight: facts.max_in_flight,
            // A client that did not live to tell may have tried more than once.
            attempts: u32::from(send.attempts).max(if pending { 2 } else { 0 }),
            acknowledged: send.state == State::Acknowledged,
            read,
            renewed_at: other_id.into_iter().chain(bumped(false)).min(),
            unfenced_at: other_id.into_iter().chain(bumped(send.state == State::Info).filter(|_| unsaid)).min(),
            producer_id: usize::from(send.producer).checked_sub(1).map(|n| self.producers[n]),
        })
    }

    /// Forgets the oldest sends for which nothing can be found any more: `gone` says whether the place of a send was
    /// deleted. Those that may still turn up are kept aside.
    pub(super) fn forget(&mut self, mut gone: impl FnMut(&Send) -> bool) {
        for run in &mut self.runs {
            while let Some(send) = run.sends.front() {
                let deleted = send.offset >= 0 && gone(send);
                let kept = match send.state {
                    State::Pending => break,
                    State::Absent => false,
                    State::Failed => true,
                    // What was tried once cannot turn up a second time.
                    State::Acknowledged | State::Info if deleted => {
                        send.attempts > 1 || send.flags & (MOVED | CLAIMED) != 0
                    }
                    State::Info if send.offset < 0 => true,
                    State::Acknowledged | State::Info => break,
                };
                if kept {
                    self.sparse.insert(run.base, *send);
                }
                self.held -= usize::from(send.state != State::Absent);
                run.sends.forget(1);
                run.base += 1;
            }
        }
    }

    /// How many sends are remembered.
    pub(super) fn remembered(&self) -> usize {
        self.runs.iter().map(|r| r.sends.len()).sum::<usize>() + self.sparse.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(offset: i64, state: State) -> Send {
        Send { offset, state, attempts: 1, ..ABSENT }
    }

    #[test]
    fn sends_are_found_dense_or_not() {
        let mut client = Client::new(ClientId(1));
        client.send(10, send(0, State::Pending));
        client.send(11, send(1, State::Pending));
        client.send(20, send(2, State::Pending));
        client.send(1 << 40, send(3, State::Pending));
        client.send(15, send(4, State::Pending));
        client.send(3, send(5, State::Pending));
        let offset = |i| client.get(i).map(|s| s.offset);
        assert_eq!([10, 11, 20, 1 << 40, 15].map(offset), [0, 1, 2, 3, 4].map(Some));
        assert_eq!(offset(12), None);
        assert_eq!(client.all().count(), 6);
    }

    #[test]
    fn what_was_deleted_is_forgotten_and_what_may_turn_up_is_not() {
        let mut client = Client::new(ClientId(1));
        for (i, state) in [State::Acknowledged, State::Failed, State::Info, State::Acknowledged].into_iter().enumerate()
        {
            client.send(i as u64, send(if state == State::Info { -1 } else { i as i64 }, state));
        }
        client.forget(|s| s.offset < 3);
        assert!(matches!(client.get_mut(0), Known::Forgotten));
        assert!(matches!(client.get_mut(1), Known::Sent(_)));
        assert!(matches!(client.get_mut(2), Known::Sent(_)));
        assert!(matches!(client.get_mut(9), Known::Unknown));
        assert_eq!(client.remembered(), 3);
    }
}
