//! The memory that the oracles share: names, sends, offsets, readers. It judges nothing.

use super::sends::{Client, Known, NOWHERE, READ as SEND_READ, Send};
use super::slots::{Slot, Slots};
use klamm_model::history::{Entry, IsolationLevel, Op, PositionReason, ReadRecord, TopicPartition, ValueId};
use klamm_model::ids::{ClientId, Incarnation, LeaderEpoch, Offset};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// No offset yet.
pub(super) const NONE: i64 = i64::MIN;

/// One partition.
pub(super) struct Part {
    pub(super) source: TopicPartition,
    pub(super) topic: u32,
    pub(super) slots: Slots,
    pub(super) log_start: i64,
    /// The highest offset read by anybody.
    pub(super) max_read: i64,
    /// The highest acknowledged offset over time; see realtime-order.
    pub(super) acked: VecDeque<Acked>,
    /// Acknowledged values in whose place something else was read.
    pub(super) displaced: Vec<u64>,
    /// Values acknowledged without an offset.
    pub(super) unplaced: Vec<u64>,
    /// Offsets that compaction took away, and was right to: nobody need read them.
    pub(super) gone: BTreeSet<i64>,
}

impl Part {
    /// What is known of the offsets from `from` to `to`, exclusive, but for those that compaction took away.
    pub(super) fn kept_between(&self, from: i64, to: i64) -> Vec<(i64, Slot)> {
        let mut found = self.slots.between(from, to);
        if !self.gone.is_empty() {
            found.retain(|(offset, _)| !self.gone.contains(offset));
        }
        found
    }
}

/// From `at` on, the highest acknowledged offset was `offset`, of `value`.
#[derive(Clone, Copy)]
pub(super) struct Acked {
    pub(super) at: u64,
    pub(super) offset: i64,
    pub(super) value: u64,
}

/// One client as the reader of one partition.
#[derive(Clone)]
pub(super) struct Reader {
    pub(super) incarnation: u32,
    /// The last offset read, or the one in front of the position; [`NONE`] if unknown.
    pub(super) last: i64,
    /// `last` was read, and nothing moved the position since.
    pub(super) by_read: bool,
    /// When and where it was read, or the position set.
    pub(super) at: u64,
    pub(super) reason: Option<PositionReason>,
    /// The leader epoch of `last`, if that was read; -1 if unknown.
    pub(super) epoch: i32,
    /// The offset from which on it has passed every one up to `last`.
    pub(super) covered_from: i64,
    /// When it began there.
    pub(super) begun: u64,
    /// Acknowledged values it passed without reading them.
    pub(super) skipped: Vec<u64>,
    /// Its number among the readers.
    pub(super) number: u16,
}

/// One record, as it is read.
#[derive(Clone, Copy)]
pub(super) struct Read {
    pub(super) at: u64,
    pub(super) client: ClientId,
    pub(super) incarnation: Incarnation,
    pub(super) part: u32,
    pub(super) isolation: IsolationLevel,
    pub(super) record: ReadRecord,
    /// Not the first of its poll.
    pub(super) within_poll: bool,
}

impl Read {
    pub(super) fn offset(&self) -> i64 {
        self.record.offset.0
    }
    pub(super) fn value(&self) -> u64 {
        self.record.value.0
    }
}

#[derive(Default)]
struct Topic {
    name: Arc<str>,
    /// The numbers of its partitions; [`NOWHERE`] where there is none yet.
    dense: Vec<u32>,
    sparse: BTreeMap<i32, u32>,
}

/// Partitions below this are looked up by index.
const DENSE_PARTITIONS: usize = 4096;

/// Everything the oracles know.
#[derive(Default)]
pub(super) struct Store {
    topics: Vec<Topic>,
    topic_numbers: BTreeMap<Arc<str>, u32>,
    last_topic: usize,
    pub(super) parts: Vec<Part>,
    clients: Vec<Option<Box<Client>>>,
    readers: BTreeMap<(ClientId, u32), Reader>,
    /// Who reads, by number from 1, and under which isolation.
    reader_ids: Vec<(ClientId, Incarnation, IsolationLevel)>,
}

impl Store {
    /// The number of a topic.
    pub(super) fn topic(&mut self, name: &Arc<str>) -> u32 {
        if self.topics.get(self.last_topic).is_some_and(|t| Arc::ptr_eq(&t.name, name)) {
            return self.last_topic as u32;
        }
        let number = match self.topic_numbers.get(name) {
            Some(n) => *n,
            None => {
                let n = self.topics.len() as u32;
                self.topics.push(Topic { name: name.clone(), ..Topic::default() });
                self.topic_numbers.insert(name.clone(), n);
                n
            }
        };
        self.last_topic = number as usize;
        number
    }

    /// A topic's name.
    pub(super) fn topic_name(&self, topic: u32) -> &Arc<str> {
        &self.topics[topic as usize].name
    }

    /// The number of a topic's partition.
    pub(super) fn part(&mut self, topic: u32, partition: i32) -> u32 {
        let entry = &mut self.topics[topic as usize];
        let number = match usize::try_from(partition) {
            Ok(i) if i < DENSE_PARTITIONS => {
                if entry.dense.len() <= i {
                    entry.dense.resize(i + 1, NOWHERE);
                }
                &mut entry.dense[i]
            }
            _ => entry.sparse.entry(partition).or_insert(NOWHERE),
        };
        if *number == NOWHERE {
            *number = self.parts.len() as u32;
            self.parts.push(Part {
                source: TopicPartition { topic: entry.name.clone(), partition },
                topic,
                slots: Slots::default(),
                log_start: i64::MIN,
                max_read: NONE,
                acked: VecDeque::new(),
                displaced: Vec::new(),
                unplaced: Vec::new(),
                gone: BTreeSet::new(),
            });
        }
        *number
    }

    /// The number of a partition by its names.
    pub(super) fn source(&mut self, source: &TopicPartition) -> u32 {
        let topic = self.topic(&source.topic);
        self.part(topic, source.partition)
    }

    /// A client that may own values.
    pub(super) fn client(&self, id: ClientId) -> Option<&Client> {
        self.clients.get(id.0 as usize)?.as_deref()
    }

    /// The same, to change it.
    pub(super) fn client_mut(&mut self, id: ClientId) -> Option<&mut Client> {
        self.clients.get_mut(id.0 as usize)?.as_deref_mut()
    }

    /// The same, made if it is new. None if no value can name it.
    pub(super) fn client_made(&mut self, id: ClientId) -> Option<&mut Client> {
        let i = id.0 as usize;
        if ValueId::new(id, 0).client() != id {
            return None;
        }
        if self.clients.len() <= i {
            self.clients.resize_with(i + 1, || None);
        }
        Some(self.clients[i].get_or_insert_with(|| Box::new(Client::new(id))))
    }

    /// All clients that own values.
    pub(super) fn clients(&self) -> impl Iterator<Item = &Client> {
        self.clients.iter().filter_map(Option::as_deref)
    }

    /// What is known of a value's send.
    pub(super) fn send(&self, value: u64) -> Option<&Send> {
        let value = ValueId(value);
        self.client(value.client())?.get(value.index())
    }

    /// The same, to change it.
    pub(super) fn send_mut(&mut self, value: u64) -> Known<'_> {
        let value = ValueId(value);
        self.client_mut(value.client()).map_or(Known::Unknown, |c| c.get_mut(value.index()))
    }

    /// Sets flags of a value's send.
    pub(super) fn mark(&mut self, value: u64, flags: u16) {
        if let Known::Sent(send) = self.send_mut(value) {
            send.flags |= flags;
        }
    }

    /// Clears flags of a value's send.
    pub(super) fn unmark(&mut self, value: u64, flags: u16) {
        if let Known::Sent(send) = self.send_mut(value) {
            send.flags &= !flags;
        }
    }

    /// Whether the value stands where it was read.
    pub(super) fn stands(&self, value: u64) -> bool {
        self.send(value).is_some_and(|s| {
            s.is(SEND_READ)
                && s.part != NOWHERE
                && self.parts[s.part as usize].slots.get(s.offset).is_some_and(|slot| slot.value == value)
        })
    }

    /// A reader of a partition, made if it is new; a new incarnation is a new reader.
    pub(super) fn reader(&mut self, client: ClientId, incarnation: Incarnation, part: u32) -> &mut Reader {
        let fresh = || Reader {
            incarnation: incarnation.0,
            last: NONE,
            by_read: false,
            at: 0,
            reason: None,
            epoch: -1,
            covered_from: NONE,
            begun: 0,
            skipped: Vec::new(),
            number: 0,
        };
        let reader = self.readers.entry((client, part)).or_insert_with(fresh);
        if reader.incarnation != incarnation.0 {
            *reader = fresh();
        }
        reader
    }

    /// The number by which slots remember a reader; 0 when there are too many.
    pub(super) fn reader_number(&mut self, read: &Read) -> u16 {
        let id = (read.client, read.incarnation, read.isolation);
        if let Some(i) = self.reader_ids.iter().rposition(|r| *r == id) {
            return i as u16 + 1;
        }
        if self.reader_ids.len() >= usize::from(u16::MAX) {
            return 0;
        }
        self.reader_ids.push(id);
        self.reader_ids.len() as u16
    }

    /// A topic's deletion of records: forgets what lies below.
    pub(super) fn trim(&mut self, part: u32, offset: i64) {
        let p = &mut self.parts[part as usize];
        if offset <= p.log_start {
            return;
        }
        p.log_start = offset;
        p.slots.trim(offset);
        p.gone = p.gone.split_off(&offset);
        let parts = &self.parts;
        for client in self.clients.iter_mut().flatten() {
            client.forget(|s| s.part != NOWHERE && s.offset < parts[s.part as usize].log_start);
        }
    }

    /// How many sends and offsets are remembered.
    pub(super) fn remembered(&self) -> usize {
        self.clients().map(Client::remembered).sum::<usize>()
            + self.parts.iter().map(|p| p.slots.remembered()).sum::<usize>()
    }
}

/// Operations, made again from what is known, as witnesses.
impl Store {
    /// That a value was sent.
    pub(super) fn sent(&self, value: u64) -> Option<Entry> {
        let id = ValueId(value);
        let send = self.send(value)?;
        let partition = (send.is(super::sends::CHOSEN) && send.part != NOWHERE)
            .then(|| self.parts[send.part as usize].source.partition);
        Some(Entry {
            at: send.invoked,
            client: id.client(),
            incarnation: Incarnation(send.incarnation),
            op: Op::Send {
                value: id,
                topic: self.topics[send.topic as usize].name.clone(),
                partition,
                key: send.is(super::sends::KEYED).then_some(send.key),
                tombstone: send.is(super::sends::TOMBSTONE),
                late_by: 0,
                from: None,
            },
        })
    }

    /// How the send of a value resolved, if it did. The offset is that of the acknowledgement.
    pub(super) fn resolved(&self, value: u64, offset: Option<i64>) -> Option<Entry> {
        let id = ValueId(value);
        let (client, send) = (self.client(id.client())?, self.send(value)?);
        let outcome = send.outcome(client.facts(send.incarnation).acks)?;
        let acked = send.is(super::sends::OFFSET_ACKED).then_some(send.offset);
        Some(Entry {
            at: send.completed,
            client: id.client(),
            incarnation: Incarnation(send.incarnation),
            op: Op::Sent {
                value: id,
                outcome,
                partition: (send.part != NOWHERE).then(|| self.parts[send.part as usize].source.partition),
                offset: offset.or(acked).map(Offset),
                attempts: u32::from(send.attempts),
                producer_id: usize::from(send.producer).checked_sub(1).map(|i| client.producers[i]),
                error: client.errors.get(&id.index()).cloned(),
            },
        })
    }

    /// Both.
    pub(super) fn story(&self, value: u64) -> impl Iterator<Item = Entry> {
        self.sent(value).into_iter().chain(self.resolved(value, None))
    }

    /// This read.
    pub(super) fn read(&self, read: &Read) -> Entry {
        Entry {
            at: read.at,
            client: read.client,
            incarnation: read.incarnation,
            op: Op::Poll {
                source: self.parts[read.part as usize].source.clone(),
                isolation: read.isolation,
                records: vec![read.record],
            },
        }
    }

    /// The last read of an offset, if it was read.
    pub(super) fn read_at(&self, part: u32, offset: i64) -> Option<Entry> {
        let slot = self.parts[part as usize].slots.get(offset)?;
        if slot.flags & super::slots::READ == 0 {
            return None;
        }
        let (client, incarnation, isolation) = *self.reader_ids.get(usize::from(slot.reader).checked_sub(1)?)?;
        let record = self.record(offset, slot);
        Some(self.read(&Read { at: slot.at, client, incarnation, part, isolation, record, within_poll: false }))
    }

    /// The record an offset holds. Its timestamp is not remembered: -1, as Kafka says it.
    fn record(&self, offset: i64, slot: &Slot) -> ReadRecord {
        let key = self.send(slot.value).filter(|s| s.is(super::sends::KEYED)).map(|s| s.key);
        let (value, leader_epoch) = (ValueId(slot.value), LeaderEpoch(slot.epoch));
        ReadRecord { offset: Offset(offset), leader_epoch, value, key, timestamp: -1 }
    }

    /// What a reader did before this read: what it read last, or how its position was set.
    pub(super) fn before(&self, read: &Read, reader: &Reader) -> Option<Entry> {
        let source = || self.parts[read.part as usize].source.clone();
        let op = match (reader.by_read, reader.reason) {
            (true, _) => {
                let slot = self.parts[read.part as usize].slots.get(reader.last)?;
                let records = vec![self.record(reader.last, &Slot { epoch: reader.epoch, ..*slot })];
                Op::Poll { source: source(), isolation: read.isolation, records }
            }
            (false, Some(reason)) => Op::Position { source: source(), offset: Offset(reader.last + 1), reason },
            (false, None) => return None,
        };
        Some(Entry { at: reader.at, client: read.client, incarnation: read.incarnation, op })
    }
}
