//! What readers passed: of two records that one got in a row, or of its position and the first it got, everything in
//! between. It judges nothing.
//!
//! What a pass proves depends on what else is known of the offsets passed, and that may still become known: another
//! reader gets a record there, or an acknowledgement comes. So passes are kept, and judged when the partition forgets
//! those offsets, or at the end. Where offsets have no gaps there are none.

use super::store::{Part, Read, Reader, Store};
use klamm_model::history::{Entry, IsolationLevel, PositionReason, ReadRecord};
use klamm_model::ids::{ClientId, Incarnation};

/// A reader came from `last` to the record that it read next.
#[derive(Clone)]
pub(super) struct Pass {
    /// The first offset passed.
    pub(super) from: i64,
    /// The read that completed it.
    pub(super) record: ReadRecord,
    pub(super) at: u64,
    pub(super) client: ClientId,
    pub(super) incarnation: Incarnation,
    pub(super) isolation: IsolationLevel,
    /// Both ends were handed over together.
    pub(super) within_poll: bool,
    /// How it had come to the offset in front of what it passed.
    pub(super) last: i64,
    pub(super) by_read: bool,
    reason: Option<PositionReason>,
    since: u64,
    pub(super) epoch: i32,
    /// The tick of its operation.
    pub(super) tick: u64,
    /// From which floor on reads came later.
    floor: usize,
}

impl Pass {
    /// One past what was passed.
    pub(super) fn to(&self) -> i64 {
        self.record.offset.0
    }

    /// The read that completed it.
    pub(super) fn read(&self, part: u32) -> Read {
        Read {
            at: self.at,
            client: self.client,
            incarnation: self.incarnation,
            part,
            isolation: self.isolation,
            record: self.record,
            within_poll: self.within_poll,
        }
    }

    /// Its two ends, as operations.
    pub(super) fn story(&self, store: &Store, part: u32) -> Vec<Entry> {
        let reader = Reader::at(self.incarnation, self.last, self.by_read, self.since, self.reason, self.epoch);
        let read = self.read(part);
        store.before(&read, &reader).into_iter().chain([store.read(&read)]).collect()
    }

    /// Whether records of one leadership stand on both sides.
    pub(super) fn within_a_leadership(&self) -> bool {
        self.by_read && self.epoch >= 0 && self.epoch == self.record.leader_epoch.0
    }
}

/// The passes of one partition.
#[derive(Default)]
pub(super) struct Passes {
    pub(super) list: Vec<Pass>,
    /// The lowest offset read from one pass to the next; the last is of what was read since the last pass.
    floors: Vec<i64>,
}

impl Passes {
    /// A record is read.
    pub(super) fn read(&mut self, offset: i64) {
        if let Some(floor) = self.floors.last_mut() {
            *floor = offset.min(*floor);
        }
    }

    /// From here on reads are later than something: from which floor on.
    pub(super) fn mark(&mut self) -> usize {
        self.floors.push(i64::MAX);
        self.floors.len() - 1
    }

    /// A reader passes what lies between its position and this read.
    pub(super) fn add(&mut self, read: &Read, reader: &Reader, from: i64, tick: u64) {
        let floor = self.mark();
        self.list.push(Pass {
            from,
            record: read.record,
            at: read.at,
            client: read.client,
            incarnation: read.incarnation,
            isolation: read.isolation,
            within_poll: read.within_poll,
            last: reader.last,
            by_read: reader.by_read,
            reason: reader.reason,
            since: reader.at,
            epoch: reader.epoch,
            tick,
            floor,
        });
    }

    /// The lowest offsets that were read from each floor on.
    pub(super) fn floors(&self) -> Vec<i64> {
        let mut floors = self.floors.clone();
        for i in (1..floors.len()).rev() {
            floors[i - 1] = floors[i - 1].min(floors[i]);
        }
        floors
    }

    /// Forgets what lies below an offset.
    pub(super) fn trim(&mut self, below: i64) {
        self.list.retain_mut(|pass| {
            pass.from = pass.from.max(below);
            pass.from < pass.to()
        });
        // What is left may need them; without passes nothing does.
        if self.list.is_empty() {
            self.floors.clear();
        }
    }
}

/// Whether an older record than that at `offset` was read on the way to what proves it gone, or later. A reader whose
/// position fell below the log start says so, by a new position: between two records that it got in a row there was no
/// deletion.
pub(super) fn older_survives(pass: &Pass, floors: &[i64], offset: i64) -> bool {
    pass.by_read || floors.get(pass.floor).copied().unwrap_or(i64::MAX) < offset
}

/// Whether compaction took all that lies in a gap, as far as was told.
pub(super) fn all_gone(p: &Part, from: i64, to: i64) -> bool {
    let many = u64::try_from(to.saturating_sub(from)).unwrap_or(u64::MAX);
    many <= p.gone.len() as u64 && p.gone.range(from..to).count() as u64 == many
}
