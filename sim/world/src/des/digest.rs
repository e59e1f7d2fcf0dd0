//! A rolling hash over every event: kind, ordinals, time, places, sizes, batch CRCs. Equal digests mean that two runs
//! were the same run, as far as anybody could tell.
//!
//! Message bodies are not walked here: what carries records is covered by their CRCs, and the message digest of
//! [`super::SimConfig::hash_messages`] covers the rest.

use crate::event::{Ending, Event, HostId, NodeRef, Ordinal, What};
use bytes::Bytes;
use kafka_protocol::messages::{RequestKind, ResponseKind};
use klamm_model::disk::{DiskOp, DiskReply, Path};
use klamm_model::history::{Op, TopicPartition};
use klamm_model::trace::TraceEvent;
use klamm_model::units::Instant;
use xxhash_rust::xxh3::xxh3_64;

const K0: u64 = 0xa076_1d64_78bd_642f;
const K1: u64 = 0xe703_7ed1_a0b4_28db;

/// The hash so far.
#[derive(Debug)]
pub(crate) struct Digest(u64);

impl Digest {
    pub(crate) fn new(seed: u64) -> Digest {
        let mut digest = Digest(K0);
        digest.words(seed, K1);
        digest
    }

    pub(crate) fn value(&self) -> u64 {
        self.0
    }

    /// Folds two words in: one 64 by 64 bit multiplication, halves combined.
    #[inline(always)]
    fn words(&mut self, a: u64, b: u64) {
        let product = u128::from(self.0 ^ a ^ K0) * u128::from(b ^ K1);
        self.0 = ((product as u64) ^ ((product >> 64) as u64)).rotate_left(23) ^ a.wrapping_mul(K1);
    }

    /// Takes an event in; `size` is its message's.
    pub(crate) fn event(&mut self, event: &Event<'_>, size: u32) {
        let &Event { ordinal, cause, at, host, node, ref what } = event;
        self.parts(ordinal, cause, at, host, node, what, size);
    }

    /// Takes an event in, in parts: where the event has not been put together yet, its kind is known when this is
    /// compiled, and of all that is below little is left.
    #[inline(always)]
    pub(crate) fn parts(
        &mut self,
        ordinal: Ordinal,
        cause: Ordinal,
        at: Instant,
        host: Option<HostId>,
        node: Option<NodeRef>,
        what: &What<'_>,
        size: u32,
    ) {
        let place = |p: Option<u16>| u64::from(p.map_or(u16::MAX, |p| p));
        let places = place(host.map(|h| h.0)) << 16 | place(node.map(|n| n.0));
        self.words(at.as_nanos(), ordinal.0);
        self.words(cause.0, u64::from(kind(what)) << 56 | places << 24 ^ u64::from(size));
        match what {
            What::Phase(phase) => self.words(*phase as u64, 0),
            What::Started { incarnation } => self.words(u64::from(incarnation.0), 0),
            What::Ended { incarnation, how } => self.words(u64::from(incarnation.0), ending(how)),
            What::Fault { action, over } => self.words(xxh3_64(format!("{action:?}").as_bytes()), u64::from(*over)),
            What::PowerLost { lost: ranges } | What::Damaged { ranges } => {
                for range in *ranges {
                    self.words(path(&range.file) ^ range.from, range.to);
                }
            }
            What::Connected { from, to, listener } => {
                self.words(from.conn.0, to.conn.0);
                self.words(u64::from(from.node.0) << 32 | u64::from(from.incarnation.0), *listener as u64);
            }
            What::Disconnected { conn, reason } => self.words(conn.0, *reason as u64),
            What::Connecting { conn, to } => self.words(conn.0, xxh3_64(to.host.as_bytes()) ^ u64::from(to.port)),
            What::TimerFired | What::ShutdownAsked => {}
            What::RequestSent { to, correlation, version, request, .. } => {
                self.words(to.conn.0, (*correlation as u64) << 16 ^ *version as u64);
                if let RequestKind::Produce(produce) = request {
                    for partition in produce.topic_data.iter().flat_map(|t| &t.partition_data) {
                        self.batches(partition.index, partition.records.as_ref());
                    }
                }
            }
            What::ResponseSent { to, correlation, version, response, .. } => {
                self.words(to.conn.0, (*correlation as u64) << 16 ^ *version as u64);
                if let ResponseKind::Fetch(fetch) = response {
                    for partition in fetch.responses.iter().flat_map(|t| &t.partitions) {
                        self.words(partition.high_watermark as u64, partition.error_code as u64);
                        self.batches(partition.partition_index, partition.records.as_ref());
                    }
                }
            }
            What::RequestTaken { from, correlation, .. } | What::ResponseTaken { from, correlation, .. } => {
                self.words(from.conn.0, *correlation as u64);
            }
            What::DiskAsked { op } => self.operation(op),
            What::DiskDone { op: _, result } => match result {
                Ok(DiskReply::Done) => self.words(1, 0),
                Ok(DiskReply::Data(buffers)) => buffers.iter().for_each(|b| self.words(2, b.len() as u64)),
                Ok(DiskReply::Listing(files)) => files.iter().for_each(|f| self.words(path(&f.path), f.len)),
                Err(error) => self.words(4, *error as u64),
            },
            What::Trace(trace) => self.trace(trace),
            What::Op(op) => self.op(op),
        }
    }

    /// The CRCs of whatever record batches there are (KIP-98: length at 8, CRC at 17).
    fn batches(&mut self, partition: i32, records: Option<&Bytes>) {
        let mut rest: &[u8] = records.map_or(&[], |r| r);
        self.words(partition as u64, rest.len() as u64);
        while let (Some(length), Some(crc)) = (word(rest, 8), word(rest, 17)) {
            self.words(u64::from(crc), u64::from(length));
            rest = rest.get(12 + length as usize..).unwrap_or(&[]);
        }
    }

    fn operation(&mut self, op: &DiskOp) {
        match op {
            DiskOp::Append { file, data } => {
                self.words(path(file), data.len() as u64);
                self.words(1, word(data, 17).map_or(0, u64::from));
            }
            DiskOp::Write { file, data } => self.words(path(file), xxh3_64(data)),
            DiskOp::Read { ranges } => ranges.iter().for_each(|r| self.words(path(&r.file) ^ r.pos, r.len)),
            DiskOp::Fsync { file } => self.words(path(file), 4),
            DiskOp::FsyncDir { dir } => self.words(path(dir), 5),
            DiskOp::Truncate { file, len } => self.words(path(file), *len),
            DiskOp::Rename { from, to } => self.words(path(from), path(to)),
            DiskOp::Delete { path: gone } => self.words(path(gone), 8),
            DiskOp::List { dir } => self.words(path(dir), 9),
        }
    }

    fn trace(&mut self, event: &TraceEvent) {
        use TraceEvent as T;
        let (kind, a, b) = match event {
            T::ControllerActive { epoch } => (1, i64::from(epoch.0), 0),
            T::MetadataCommitted { offset, epoch, .. } => (2, offset.0, i64::from(epoch.0)),
            T::MetadataApplied { offset, epoch } => (3, offset.0, i64::from(epoch.0)),
            T::BrokerRegistered { epoch, clean } => (4, epoch.0, i64::from(*clean)),
            T::BrokerFenced { fenced } => (5, i64::from(*fenced), 0),
            T::LogLoaded { log_start, log_end, .. } => (6, log_start.0, log_end.0),
            T::BecameLeader { epoch, epoch_start, .. } => (7, i64::from(epoch.0), epoch_start.0),
            T::BecameFollower { epoch, leader, log_end, .. } => {
                (8, i64::from(epoch.0) << 32 | i64::from(leader.0 as u32), log_end.0)
            }
            T::HighWatermark { high_watermark, log_end, .. } => (9, high_watermark.0, log_end.0),
            T::Truncated { from, to, .. } => (10, from.0, to.0),
            T::LogStart { log_start, .. } => (11, log_start.0, 0),
            T::IsrProposed { epoch, isr, .. } => (12, i64::from(epoch.0), isr.len() as i64),
            T::IsrInstalled { partition_epoch, isr, .. } => (13, i64::from(partition_epoch.0), isr.len() as i64),
            T::AckDecided { base, last, .. } => (14, base.0, last.0),
            T::ProducerStateRemoved { producer, .. } => (15, producer.0, 0),
            T::LogDeleted { partition } => (16, i64::from(partition.partition), 0),
            T::Mark { mark } => (17, xxh3_64(mark.as_bytes()) as i64, 0),
            T::CoordinatorLoaded { epoch, log_end, groups, .. } => {
                (18, i64::from(epoch.0) << 32 | i64::from(*groups), log_end.0)
            }
            T::CoordinatorUnloaded { epoch, .. } => (19, i64::from(epoch.0), 0),
            T::GroupState { generation, to, members, .. } => {
                (20, i64::from(*generation) << 32 | i64::from(*members), xxh3_64(to.as_bytes()) as i64)
            }
            T::MemberAssignment { generation, member, assigned, pending_revocation, .. } => {
                self.partitions(assigned);
                self.partitions(pending_revocation);
                (21, i64::from(*generation), xxh3_64(member.as_bytes()) as i64)
            }
            T::MemberRemoved { member, reason, .. } => (22, *reason as i64, xxh3_64(member.as_bytes()) as i64),
            T::OffsetCommitted { offset, at, .. } => (23, offset.map_or(-1, |o| o.0), at.0),
            T::Found { path: place, what } => (24, path(place) as i64, xxh3_64(what.to_string().as_bytes()) as i64),
        };
        self.words(a as u64 ^ kind << 56, b as u64);
    }

    fn partitions(&mut self, partitions: &[TopicPartition]) {
        for p in partitions {
            self.words(xxh3_64(p.topic.as_bytes()), p.partition as u64);
        }
    }

    fn op(&mut self, op: &Op) {
        let (kind, a, b) = match op {
            Op::Producer { facts } => (1, facts.resolves_within, u64::from(facts.max_in_flight)),
            Op::ReadModel { topics } => (17, topics.len() as u64, 0),
            Op::Send { value, late_by, .. } => (2, value.0, *late_by),
            Op::Sent { value, outcome, offset, .. } => {
                (3, value.0 ^ (*outcome as u64) << 62, offset.map_or(0, |o| o.0 as u64))
            }
            Op::Poll { records, .. } => {
                for record in records {
                    self.words(record.offset.0 as u64, record.value.0);
                }
                (4, records.len() as u64, 0)
            }
            Op::Position { offset, reason, .. } => (5, offset.0 as u64, *reason as u64),
            Op::AskOffset { ask } => (6, *ask, 0),
            Op::ListOffsets { ask, offset, .. } => (7, *ask, offset.0 as u64),
            Op::FinalRead { from, to, .. } => (8, from.0 as u64, to.0 as u64),
            Op::Member { facts } => (9, xxh3_64(facts.group.as_bytes()), facts.processing as u64),
            Op::Assigned { generation, partitions } => {
                self.partitions(partitions);
                (10, *generation as u64, partitions.len() as u64)
            }
            Op::Revoked { generation, partitions, lost } => {
                self.partitions(partitions);
                (11, *generation as u64, u64::from(*lost))
            }
            Op::Commit { commit, trigger, generation, offsets } => {
                for (source, offset) in offsets {
                    self.words(source.partition as u64, offset.0 as u64);
                }
                (12, *commit ^ (*trigger as u64) << 48, *generation as u64)
            }
            Op::Committed { commit, outcome, .. } => (13, *commit, *outcome as u64),
            Op::Finished { from, to, .. } => (14, from.0 as u64, to.0 as u64),
            Op::Effect { offset, value, .. } => (15, offset.0 as u64, value.0),
            Op::GroupOffset { source, offset, .. } => {
                (16, source.partition as u64, offset.map_or(u64::MAX, |o| o.0 as u64))
            }
        };
        self.words(a ^ kind << 56, b);
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
}

fn path(path: &Path) -> u64 {
    xxh3_64(path.as_str().as_bytes())
}

fn ending(how: &Ending) -> u64 {
    match how {
        Ending::Exit => 1,
        Ending::Halt { reason } => xxh3_64(reason.as_bytes()),
        Ending::Killed => 2,
        Ending::PowerLost => 3,
        Ending::Panicked { message } => !xxh3_64(message.as_bytes()),
    }
}

/// An event's kind: its number in the digest; [`kind_name`] has the words.
#[inline(always)]
pub(crate) fn kind(what: &What<'_>) -> u8 {
    match what {
        What::Phase(_) => 1,
        What::Started { .. } => 2,
        What::Ended { .. } => 3,
        What::Fault { .. } => 4,
        What::PowerLost { .. } => 5,
        What::Damaged { .. } => 6,
        What::Connected { .. } => 7,
        What::Disconnected { .. } => 8,
        What::Connecting { .. } => 9,
        What::TimerFired => 10,
        What::ShutdownAsked => 11,
        What::RequestSent { .. } => 12,
        What::RequestTaken { .. } => 13,
        What::ResponseSent { .. } => 14,
        What::ResponseTaken { .. } => 15,
        What::DiskAsked { .. } => 16,
        What::DiskDone { .. } => 17,
        What::Trace(_) => 18,
        What::Op(_) => 19,
    }
}

/// The name that belongs to a number of [`kind`].
pub(super) fn kind_name(number: u8) -> &'static str {
    const NAMES: [&str; 20] = [
        "step",
        "phase",
        "started",
        "ended",
        "fault",
        "power lost",
        "damaged",
        "connected",
        "disconnected",
        "connecting",
        "timer",
        "shutdown asked",
        "request sent",
        "request taken",
        "response sent",
        "response taken",
        "disk asked",
        "disk done",
        "trace",
        "operation",
    ];
    NAMES.get(usize::from(number)).copied().unwrap_or("?")
}
