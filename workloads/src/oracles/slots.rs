//! What is known of each retained offset of a partition: dense from a base, because offsets nearly are.

use super::blocks::Blocks;
use klamm_model::history::IsolationLevel;
use std::collections::BTreeMap;

/// The value comes from an acknowledgement.
pub(super) const ACK: u8 = 1;
/// Read by a reader of uncommitted data.
pub(super) const READ_UNCOMMITTED: u8 = 2;
/// Read by a reader of committed data.
pub(super) const READ_COMMITTED: u8 = 4;
/// Read by anybody.
pub(super) const READ: u8 = READ_UNCOMMITTED | READ_COMMITTED;
/// A repetition here was reported.
pub(super) const REPEATED: u8 = 8;
/// Two values here were reported.
pub(super) const CLASH: u8 = 16;
/// A value here that nobody sent, or that is out of place, was reported.
pub(super) const STRAY: u8 = 32;
/// Readers who disagree on its successor were reported.
pub(super) const FORKED: u8 = 64;

/// The flag of having been read under an isolation.
pub(super) fn read_flag(isolation: IsolationLevel) -> u8 {
    match isolation {
        IsolationLevel::ReadUncommitted => READ_UNCOMMITTED,
        IsolationLevel::ReadCommitted => READ_COMMITTED,
    }
}

/// One offset. Without flags there is nothing.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Slot {
    pub(super) value: u64,
    /// When it was last read, or acknowledged.
    pub(super) at: u64,
    pub(super) epoch: i32,
    /// How far on the next record lies, as first seen under either isolation; 0 if not seen.
    pub(super) next: [u32; 2],
    /// Who read it last, by number.
    pub(super) reader: u16,
    pub(super) flags: u8,
}

/// The offsets of one partition.
#[derive(Default)]
pub(super) struct Slots {
    base: i64,
    dense: Blocks<Slot>,
    sparse: BTreeMap<i64, Slot>,
}

/// The largest gap for which the dense part is stretched, to either side.
const MAX_GAP: i64 = 1 << 16;

impl Slots {
    /// An offset of which something is known.
    pub(super) fn get(&self, offset: i64) -> Option<&Slot> {
        let found = match offset.checked_sub(self.base) {
            Some(i) if i >= 0 && i < self.dense.len() as i64 => self.dense.get(i as usize),
            _ if self.sparse.is_empty() => None,
            _ => self.sparse.get(&offset),
        };
        found.filter(|s| s.flags != 0)
    }

    /// Any offset, to change it.
    pub(super) fn entry(&mut self, offset: i64) -> &mut Slot {
        if self.dense.is_empty() {
            self.base = offset;
        }
        let i = offset.saturating_sub(self.base);
        let len = self.dense.len() as i64;
        if (0..len).contains(&i) {
            return &mut self.dense[i as usize];
        }
        if (len..len + MAX_GAP).contains(&i) && !self.sparse.contains_key(&offset) {
            self.dense.fill_to(i as usize + 1, Slot::default());
            // What waited aside for the gap to close must be found again.
            if !self.sparse.is_empty() {
                let moved: Vec<i64> = self.sparse.range(self.base..=offset).map(|(o, _)| *o).collect();
                for o in moved {
                    let slot = self.sparse.remove(&o).expect("listed above");
                    self.dense[(o - self.base) as usize] = slot;
                }
            }
            return &mut self.dense[i as usize];
        }
        if (-MAX_GAP..0).contains(&i) && self.sparse.is_empty() {
            self.dense.fill_front(-i as usize, Slot::default());
            self.base = offset;
            return &mut self.dense[0];
        }
        self.sparse.entry(offset).or_default()
    }

    /// What is known of the offsets from `from` to `to`, exclusive.
    pub(super) fn between(&self, from: i64, to: i64) -> Vec<(i64, Slot)> {
        let end = self.base + self.dense.len() as i64;
        let (a, b) = (from.clamp(self.base, end), to.clamp(self.base, end));
        let dense = (a..b.max(a)).map(|o| (o, self.dense[(o - self.base) as usize]));
        let mut found: Vec<_> = dense.filter(|(_, s)| s.flags != 0).collect();
        if !self.sparse.is_empty() && from < to {
            found.extend(self.sparse.range(from..to).map(|(o, s)| (*o, *s)).filter(|(_, s)| s.flags != 0));
            found.sort_by_key(|(o, _)| *o);
        }
        found
    }

    /// The nearest offset below this of which something was read, within reason.
    pub(super) fn read_below(&self, offset: i64) -> Option<(i64, Slot)> {
        (1..=MAX_GAP.min(offset - self.base.min(offset)))
            .map(|back| offset - back)
            .find_map(|o| self.get(o).filter(|s| s.flags & READ != 0).map(|s| (o, *s)))
    }

    /// Forgets everything below an offset.
    pub(super) fn trim(&mut self, below: i64) {
        let gone = below.saturating_sub(self.base).clamp(0, self.dense.len() as i64);
        self.dense.forget(gone as usize);
        self.base += gone;
        self.sparse = self.sparse.split_off(&below);
    }

    /// How many offsets are remembered.
    pub(super) fn remembered(&self) -> usize {
        self.dense.len() + self.sparse.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn slots_are_a_map(ops in proptest::collection::vec((0u8..8, -90_000i64..90_000, 1u64..99), 1..60)) {
            let mut slots = Slots::default();
            let mut plain = BTreeMap::new();
            for (kind, offset, value) in ops {
                if kind == 0 {
                    slots.trim(offset);
                    plain = plain.split_off(&offset);
                } else {
                    let near = if kind < 5 { offset % 50 } else { offset };
                    *slots.entry(near) = Slot { value, flags: ACK, ..Slot::default() };
                    plain.insert(near, value);
                }
                let all: Vec<_> = slots.between(-100_000, 100_000).into_iter().map(|(o, s)| (o, s.value)).collect();
                prop_assert_eq!(all, plain.iter().map(|(o, v)| (*o, *v)).collect::<Vec<_>>());
                for (o, v) in &plain {
                    prop_assert_eq!(slots.get(*o).map(|s| s.value), Some(*v));
                }
            }
        }
    }
}
