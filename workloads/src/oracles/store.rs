//! The memory that the oracles share: names, sends, offsets, readers. It judges nothing.

use super::inconsistent_offsets::Clash;
use super::lost_write::Final;
use super::passes::Passes;
use super::places::{Place, Places};
use super::ranges::Ranges;
use super::sends::{Client, Known, NOWHERE, OFFSET_ACKED, READ as SEND_READ, Send, State};
use super::slots::{Seen, Slot, Slots};
use klamm_model::history::{Entry, IsolationLevel, Op, PositionReason, ReadRecord, TopicPartition, ValueId};
use klamm_model::ids::{ClientId, Incarnation, LeaderEpoch, Offset};
use std::collections::{BTreeMap, VecDeque};
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
    pub(super) leaderships: Leaderships,
    /// The highest acknowledged offset over time; see realtime-order.
    pub(super) acked: VecDeque<Acked>,
    /// Values acknowledged below such an offset; see realtime-order.
    pub(super) overtaken: Vec<u64>,
    /// Values acknowledged without an offset.
    pub(super) unplaced: Vec<u64>,
    /// Offsets that compaction took away, and was right to, each with the tick at which it was told: nobody need read
    /// them from then on.
    pub(super) gone: BTreeMap<i64, u64>,
    /// What readers passed without reading it.
    pub(super) passes: Passes,
    /// Values that were read before they were sent, if they ever were, and where; and the first read there since.
    pub(super) strays: BTreeMap<(i64, u64), Option<Seen>>,
    /// Offsets of which more than one value is known.
    pub(super) clashes: BTreeMap<i64, Clash>,
    /// The first read under each leader epoch, of offsets that were read under several.
    pub(super) epochs: BTreeMap<i64, BTreeMap<i32, Seen>>,
    /// Of what was read below the log start, the offset with the highest leader epoch.
    pub(super) trimmed: Option<(i64, Seen)>,
    /// The last final read.
    pub(super) final_read: Option<Final>,
    /// How many records with a leader epoch were read.
    pub(super) epochs_read: u64,
    /// How many acknowledged sends were forgotten whose place a reader had come past.
    pub(super) judged: u64,
}

impl Part {
    fn new(source: TopicPartition, topic: u32) -> Part {
        Part {
            source,
            topic,
            slots: Slots::default(),
            log_start: i64::MIN,
            max_read: NONE,
            leaderships: Leaderships::default(),
            acked: VecDeque::new(),
            overtaken: Vec::new(),
            unplaced: Vec::new(),
            gone: BTreeMap::new(),
            passes: Passes::default(),
            strays: BTreeMap::new(),
            clashes: BTreeMap::new(),
            epochs: BTreeMap::new(),
            trimmed: None,
            final_read: None,
            epochs_read: 0,
            judged: 0,
        }
    }

    /// What is known of the offsets from `from` to `to`, exclusive, but for those that compaction took away.
    pub(super) fn kept_between(&self, from: i64, to: i64) -> Vec<(i64, Slot)> {
        let mut found = self.slots.between(from, to);
        if !self.gone.is_empty() {
            found.retain(|(offset, _)| !self.gone.contains_key(offset));
        }
        found
    }

    /// Whether compaction had taken an offset away at a tick.
    pub(super) fn was_gone(&self, offset: i64, tick: u64) -> bool {
        !self.gone.is_empty() && self.gone.get(&offset).is_some_and(|since| *since <= tick)
    }

    /// What a reader got at an offset that it read.
    pub(super) fn got_by(&self, client: ClientId, offset: i64) -> Option<u64> {
        match self.clashes.get(&offset) {
            Some(clash) => clash.got_by(client),
            None => self.slots.get(offset).map(|slot| slot.value),
        }
    }

    /// How many other values were read at an offset before this one.
    pub(super) fn rank(&self, offset: i64, value: u64) -> usize {
        self.clashes.get(&offset).and_then(|clash| clash.read.get(&value)).map_or(0, |got| got.rank)
    }

    /// What was read has a flag more, whether or not it is alone at its offset.
    pub(super) fn reached(&mut self, read: &Read, flag: u16) {
        self.slots.entry(read.offset()).flags |= flag;
        if let Some(clash) = self.clashes.get_mut(&read.offset())
            && let Some(got) = clash.read.get_mut(&read.value())
        {
            got.flags |= flag;
        }
    }

    /// The values that were read at an offset by readers of these flags, in the order in which they were.
    pub(super) fn read_values(&self, offset: i64, slot: &Slot, flags: u16) -> Vec<u64> {
        match self.clashes.get(&offset) {
            Some(clash) => {
                let mut read: Vec<_> = clash.read.iter().filter(|(_, got)| got.flags & flags != 0).collect();
                read.sort_by_key(|(_, got)| got.rank);
                read.into_iter().map(|(value, _)| *value).collect()
            }
            None if slot.flags & flags != 0 => vec![slot.value],
            None => Vec::new(),
        }
    }

    /// The values that were acknowledged at an offset.
    pub(super) fn acknowledged(&self, offset: i64, slot: &Slot) -> Vec<u64> {
        match self.clashes.get(&offset) {
            Some(clash) => clash.acked.iter().copied().collect(),
            None if slot.flags & super::slots::ACK != 0 => vec![slot.value],
            None => Vec::new(),
        }
    }
}

/// The highest offset that was read of each leader epoch.
#[derive(Default)]
pub(super) struct Leaderships {
    highest: BTreeMap<i32, i64>,
    /// The last epoch that was read, and its highest offset.
    now: Option<(i32, i64)>,
}

impl Leaderships {
    /// A record is read.
    pub(super) fn read(&mut self, epoch: i32, offset: i64) {
        match &mut self.now {
            Some((now, highest)) if *now == epoch => *highest = offset.max(*highest),
            _ if epoch < 0 => {}
            now => {
                if let Some((before, highest)) = now.replace((epoch, offset)) {
                    let known = self.highest.entry(before).or_insert(highest);
                    *known = highest.max(*known);
                }
            }
        }
    }

    /// The lowest epoch of all records that were read above an offset.
    pub(super) fn lowest_above(&self, offset: i64) -> Option<i32> {
        let all = self.highest.iter().map(|(epoch, highest)| (*epoch, *highest)).chain(self.now);
        all.filter(|(_, highest)| *highest > offset).map(|(epoch, _)| epoch).min()
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
    /// Where it began to read what ends with `last`; [`NONE`] if it has not begun.
    pub(super) run_from: i64,
    /// When it began there.
    pub(super) begun: u64,
    /// What it passed or read before.
    pub(super) covered: Ranges,
    /// What of all that it passed and did not read.
    pub(super) holes: Ranges,
    /// The lowest offset that it read since its position was set.
    pub(super) lowest: i64,
    /// The first record that it read, if it never said where it begins.
    pub(super) first: Option<Read>,
    /// Its number among the readers.
    pub(super) number: u16,
}

impl Reader {
    pub(super) fn new(incarnation: Incarnation) -> Reader {
        Reader {
            incarnation: incarnation.0,
            last: NONE,
            by_read: false,
            at: 0,
            reason: None,
            epoch: -1,
            run_from: NONE,
            begun: 0,
            covered: Ranges::default(),
            holes: Ranges::default(),
            lowest: i64::MAX,
            first: None,
            number: 0,
        }
    }

    /// One that came to an offset like this, as a witness.
    pub(super) fn at(
        incarnation: Incarnation,
        last: i64,
        by_read: bool,
        at: u64,
        reason: Option<PositionReason>,
        epoch: i32,
    ) -> Reader {
        Reader { last, by_read, at, reason, epoch, ..Reader::new(incarnation) }
    }

    /// It goes on elsewhere. What it passed so far it has passed.
    fn leave(&mut self) {
        if self.run_from != NONE && self.last != NONE {
            self.covered.insert(self.run_from, self.last.saturating_add(1));
        }
    }

    /// Its position was set.
    pub(super) fn moved_to(&mut self, offset: i64, at: u64, reason: PositionReason) {
        self.leave();
        (self.by_read, self.epoch, self.at, self.reason) = (false, -1, at, Some(reason));
        (self.lowest, self.first) = (i64::MAX, None);
        if offset < 0 {
            (self.last, self.run_from) = (NONE, NONE);
            return;
        }
        // Where it has been, or directly behind, it goes on with what it began.
        let known = self.covered.contains(offset) || self.covered.contains(offset.saturating_sub(1));
        if !known {
            self.begun = at;
        }
        (self.run_from, self.last) = (offset, offset - 1);
    }

    /// Where it reads is not known any more.
    pub(super) fn lose_position(&mut self, at: u64, reason: PositionReason) {
        self.moved_to(-1, at, reason);
    }

    /// It has read an offset.
    pub(super) fn has_read(&mut self, offset: i64, at: u64, epoch: i32) {
        if self.last == NONE {
            (self.run_from, self.begun) = (offset, at);
        } else if offset <= self.last {
            self.leave();
            self.run_from = offset;
        } else if offset - 1 > self.last {
            self.holes.insert(self.last + 1, offset);
        }
        if !self.holes.is_empty() {
            self.holes.remove(offset);
        }
        self.lowest = offset.min(self.lowest);
        (self.last, self.by_read, self.at, self.epoch) = (offset, true, at, epoch);
    }
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

/// Partitions below this may be looked up by index.
const DENSE_PARTITIONS: usize = 4096;

/// How far the index of partitions may be stretched for a new one.
const STRETCH: usize = 16;

/// Clients below this are looked up by index.
const DENSE_CLIENTS: usize = 256;

/// Everything the oracles know.
#[derive(Default)]
pub(super) struct Store {
    topics: Vec<Topic>,
    topic_numbers: BTreeMap<Arc<str>, u32>,
    last_topic: usize,
    pub(super) parts: Vec<Part>,
    clients: Vec<Option<Box<Client>>>,
    more_clients: BTreeMap<ClientId, Box<Client>>,
    readers: BTreeMap<(ClientId, u32), Reader>,
    /// Who reads, by number from 1, and under which isolation.
    reader_ids: Vec<(ClientId, Incarnation, IsolationLevel)>,
    reader_numbers: BTreeMap<(ClientId, Incarnation, IsolationLevel), u16>,
    /// Values with more than one place.
    pub(super) places: Places,
    /// Sends in the order in which they began, from the first that has not resolved on.
    open: VecDeque<(u64, u64)>,
    /// How many operations there were, and words of compaction.
    pub(super) tick: u64,
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
        let near = usize::try_from(partition).ok().filter(|i| *i < DENSE_PARTITIONS.min(entry.dense.len() + STRETCH));
        let number = match near {
            Some(i) if !entry.sparse.contains_key(&partition) => {
                if entry.dense.len() <= i {
                    entry.dense.resize(i + 1, NOWHERE);
                }
                &mut entry.dense[i]
            }
            _ => entry.sparse.entry(partition).or_insert(NOWHERE),
        };
        if *number == NOWHERE {
            *number = self.parts.len() as u32;
            self.parts.push(Part::new(TopicPartition { topic: entry.name.clone(), partition }, topic));
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
        match self.clients.get(id.0 as usize) {
            Some(client) => client.as_deref(),
            None if self.more_clients.is_empty() => None,
            None => self.more_clients.get(&id).map(|c| &**c),
        }
    }

    /// The same, to change it.
    pub(super) fn client_mut(&mut self, id: ClientId) -> Option<&mut Client> {
        match self.clients.get_mut(id.0 as usize) {
            Some(client) => client.as_deref_mut(),
            None => self.more_clients.get_mut(&id).map(|c| &mut **c),
        }
    }

    /// The same, made if it is new. None if no value can name it.
    pub(super) fn client_made(&mut self, id: ClientId) -> Option<&mut Client> {
        if ValueId::new(id, 0).client() != id {
            return None;
        }
        if self.clients.is_empty() {
            self.clients.resize_with(DENSE_CLIENTS, || None);
        }
        let new = || Box::new(Client::new(id));
        Some(match self.clients.get_mut(id.0 as usize) {
            Some(client) => client.get_or_insert_with(new),
            None => self.more_clients.entry(id).or_insert_with(new),
        })
    }

    /// All clients that own values.
    pub(super) fn clients(&self) -> impl Iterator<Item = &Client> {
        self.clients.iter().filter_map(Option::as_deref).chain(self.more_clients.values().map(|c| &**c))
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

    /// Clears flags of a value's send.
    pub(super) fn unmark(&mut self, value: u64, flags: u16) {
        if let Known::Sent(send) = self.send_mut(value) {
            send.flags &= !flags;
        }
    }

    /// Sets flags of a value's send.
    pub(super) fn mark(&mut self, value: u64, flags: u16) {
        if let Known::Sent(send) = self.send_mut(value) {
            send.flags |= flags;
        }
    }

    /// A send begins.
    pub(super) fn begins(&mut self, at: u64, value: u64) {
        self.open.push_back((at, value));
    }

    /// The moment at which the oldest send began that has not resolved.
    pub(super) fn oldest_open(&mut self) -> Option<u64> {
        while let Some(&(at, value)) = self.open.front() {
            if self.send(value).is_some_and(|s| s.state == State::Pending) {
                return Some(at);
            }
            self.open.pop_front();
        }
        None
    }

    /// Whether reading refutes where a send was acknowledged: its value was read, and never there.
    pub(super) fn is_refuted(&self, value: u64, send: &Send) -> bool {
        let there = send.is(SEND_READ) && self.places.chosen(value).is_none();
        send.is(OFFSET_ACKED) && !there && self.is_read(value)
    }

    /// The first read of a value at a place.
    pub(super) fn seen(&self, value: u64, place: Place) -> Option<Seen> {
        let part = &self.parts[place.0 as usize];
        if let Some(seen) = part.strays.get(&(place.1, value)).copied().flatten() {
            return Some(seen);
        }
        let clash = part.clashes.get(&place.1).and_then(|clash| clash.read.get(&value));
        let slot = part.slots.get(place.1).filter(|slot| slot.value == value);
        let here = clash.map(|got| got.seen).or_else(|| slot.and_then(Slot::seen));
        here.or_else(|| self.places.seen(value, place))
    }

    /// The client that a read was made by.
    pub(super) fn reader_of(&self, seen: Seen) -> Option<ClientId> {
        Some(self.reader_ids.get(usize::from(seen.reader).checked_sub(1)?)?.0)
    }

    /// Whether any reader got a value, wherever.
    pub(super) fn is_read(&self, value: u64) -> bool {
        self.send(value).is_some_and(|s| s.is(SEND_READ)) || self.places.is_read(value)
    }

    /// A reader of a partition, made if it is new; a new incarnation is a new reader.
    pub(super) fn reader(&mut self, client: ClientId, incarnation: Incarnation, part: u32) -> &mut Reader {
        let reader = self.readers.entry((client, part)).or_insert_with(|| Reader::new(incarnation));
        if reader.incarnation != incarnation.0 {
            *reader = Reader::new(incarnation);
        }
        reader
    }

    /// The number by which slots remember a reader; 0 when there are too many.
    pub(super) fn reader_number(
        &mut self,
        client: ClientId,
        incarnation: Incarnation,
        isolation: IsolationLevel,
    ) -> u16 {
        let id = (client, incarnation, isolation);
        if let Some(n) = self.reader_numbers.get(&id) {
            return *n;
        }
        if self.reader_ids.len() >= usize::from(u16::MAX) {
            return 0;
        }
        self.reader_ids.push(id);
        let n = self.reader_ids.len() as u16;
        self.reader_numbers.insert(id, n);
        n
    }

    /// A topic's deletion of records: forgets what lies below.
    pub(super) fn trim(&mut self, part: u32, offset: i64) {
        let p = &mut self.parts[part as usize];
        p.log_start = offset;
        p.slots.trim(offset);
        p.gone = p.gone.split_off(&offset);
        p.epochs = p.epochs.split_off(&offset);
        p.passes.trim(offset);
        let parts = &mut self.parts;
        for client in self.clients.iter_mut().flatten().chain(self.more_clients.values_mut()) {
            client.forget(|s| {
                let Some(p) = parts.get_mut(s.part as usize).filter(|p| s.offset < p.log_start) else { return false };
                p.judged += u64::from(s.state == State::Acknowledged && s.offset < p.max_read);
                true
            });
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
        let chosen = self.places.chosen(value).unwrap_or(send.part);
        let partition = send
            .is(super::sends::CHOSEN)
            .then(|| self.parts.get(chosen as usize).map(|p| p.source.partition))
            .flatten();
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
                partition: self.parts.get(send.part as usize).map(|p| p.source.partition),
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

    /// The first read of an offset, if it was read.
    pub(super) fn read_at(&self, part: u32, offset: i64) -> Option<Entry> {
        let slot = self.parts[part as usize].slots.get(offset)?;
        self.read_then(slot.value, (part, offset), slot.seen()?)
    }

    /// The first read of a value at a place.
    pub(super) fn read_of(&self, value: u64, place: Place) -> Option<Entry> {
        self.read_then(value, place, self.seen(value, place)?)
    }

    /// A read of a value at a place.
    pub(super) fn read_then(&self, value: u64, place: Place, seen: Seen) -> Option<Entry> {
        let (client, incarnation, isolation) = *self.reader_ids.get(usize::from(seen.reader).checked_sub(1)?)?;
        let (part, record) = (place.0, self.record(value, place.1, seen.epoch));
        Some(self.read(&Read { at: seen.at, client, incarnation, part, isolation, record, within_poll: false }))
    }

    /// A record at an offset. Its timestamp is not remembered: -1, as Kafka says it.
    fn record(&self, value: u64, offset: i64, epoch: i32) -> ReadRecord {
        let key = self.send(value).filter(|s| s.is(super::sends::KEYED)).map(|s| s.key);
        let (value, leader_epoch) = (ValueId(value), LeaderEpoch(epoch));
        ReadRecord { offset: Offset(offset), leader_epoch, value, key, timestamp: -1 }
    }

    /// What a reader did before this read: what it read last, or how its position was set.
    pub(super) fn before(&self, read: &Read, reader: &Reader) -> Option<Entry> {
        let source = || self.parts[read.part as usize].source.clone();
        let op = match (reader.by_read, reader.reason) {
            (true, _) => {
                let value = self.parts[read.part as usize].got_by(read.client, reader.last)?;
                let records = vec![self.record(value, reader.last, reader.epoch)];
                Op::Poll { source: source(), isolation: read.isolation, records }
            }
            (false, Some(reason)) => Op::Position { source: source(), offset: Offset(reader.last + 1), reason },
            (false, None) => return None,
        };
        Some(Entry { at: reader.at, client: read.client, incarnation: read.incarnation, op })
    }
}
