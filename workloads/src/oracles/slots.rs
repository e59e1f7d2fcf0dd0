//! What is known of each retained offset of a partition: dense from a base, because offsets nearly are.

use super::blocks::Blocks;
use klamm_model::history::IsolationLevel;
use std::collections::BTreeMap;

/// A value was acknowledged here.
pub(super) const ACK: u16 = 1;
/// Read by a reader of uncommitted data.
pub(super) const READ_UNCOMMITTED: u16 = 2;
/// Read by a reader of committed data.
pub(super) const READ_COMMITTED: u16 = 4;
/// Read by any reader.
pub(super) const READ: u16 = READ_UNCOMMITTED | READ_COMMITTED;
/// More than one value was read or acknowledged here: see [`super::inconsistent_offsets`].
pub(super) const CLASH: u16 = 8;
/// The leader epoch of its first read is not all that is known of its epochs: see [`super::read_epoch_regression`].
pub(super) const EPOCHS: u16 = 16;

/// A reader got another record after it, by isolation.
pub(super) const FOLLOWED: [u16; 2] = [32, 64];
/// A reader got it directly after the record at the offset below, by isolation.
pub(super) const REACHED: [u16; 2] = [128, 256];

/// The flag of having been read under an isolation.
pub(super) fn read_flag(isolation: IsolationLevel) -> u16 {
    match isolation {
        IsolationLevel::ReadUncommitted => READ_UNCOMMITTED,
        IsolationLevel::ReadCommitted => READ_COMMITTED,
    }
}

/// A read: evidence is complete when the first read shows it, and later ones of the same add nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) at: u64,
    pub(super) epoch: i32,
    /// The reader, by number; 0 if it has none.
    pub(super) reader: u16,
}

/// One offset. Without flags there is nothing.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Slot {
    /// The value read here first; before any is, the one acknowledged. Others are in the clash.
    pub(super) value: u64,
    /// When it was read first; before it is, when it was acknowledged.
    pub(super) at: u64,
    /// When it was read last.
    pub(super) last: u64,
    /// The first leader epoch that is known of it.
    pub(super) epoch: i32,
    /// The reader that got it first, by number.
    pub(super) reader: u16,
    pub(super) flags: u16,
}

impl Slot {
    /// The first read here, if there is one.
    pub(super) fn seen(&self) -> Option<Seen> {
        (self.flags & READ != 0).then_some(Seen { at: self.at, epoch: self.epoch, reader: self.reader })
    }
}

/// The offsets of one partition.
#[derive(Default)]
pub(super) struct Slots {
    base: i64,
    dense: Blocks<Slot>,
    /// How many of the dense ones something is known of, at the most.
    used: usize,
    sparse: BTreeMap<i64, Slot>,
}

/// How many places the dense part may have for each offset of which something is known: offsets from a file may lie as
/// far apart as they like, and memory must follow what is known.
const STRETCH: i64 = 8;

impl Slots {
    /// The place of an offset within the dense part.
    fn place(&self, offset: i64) -> Option<usize> {
        let i = usize::try_from(offset.checked_sub(self.base)?).ok()?;
        (i < self.dense.len()).then_some(i)
    }

    /// An offset of which something is known.
    pub(super) fn get(&self, offset: i64) -> Option<&Slot> {
        let found = match self.place(offset) {
            Some(i) => self.dense.get(i),
            None if self.sparse.is_empty() => None,
            None => self.sparse.get(&offset),
        };
        found.filter(|s| s.flags != 0)
    }

    /// Any offset, to change it.
    pub(super) fn entry(&mut self, offset: i64) -> &mut Slot {
        if self.dense.is_empty() {
            self.base = offset;
        }
        if let Some(i) = self.place(offset) {
            let slot = &mut self.dense[i];
            self.used += usize::from(slot.flags == 0);
            return slot;
        }
        let len = self.dense.len() as i64;
        let room = STRETCH * (self.used as i64 + 1);
        let i = offset.saturating_sub(self.base);
        if (len..room.max(len + 1)).contains(&i) && !self.sparse.contains_key(&offset) {
            self.dense.fill_to(i as usize + 1, Slot::default());
            self.used += 1;
            // What waited aside for the gap to close must be found again.
            if !self.sparse.is_empty() {
                let moved: Vec<i64> = self.sparse.range(self.base..=offset).map(|(o, _)| *o).collect();
                for o in moved {
                    let slot = self.sparse.remove(&o).expect("listed above");
                    self.dense[(o - self.base) as usize] = slot;
                    self.used += 1;
                }
            }
            return &mut self.dense[i as usize];
        }
        if i < 0 && len - i <= room && self.sparse.is_empty() {
            self.dense.fill_front(-i as usize, Slot::default());
            self.base = offset;
            self.used += 1;
            return &mut self.dense[0];
        }
        self.sparse.entry(offset).or_default()
    }

    /// What is known of the offsets from `from` to `to`, inclusive, ascending.
    pub(super) fn within(&self, from: i64, to: i64) -> impl Iterator<Item = (i64, &Slot)> {
        let end = self.base.saturating_add(self.dense.len() as i64 - 1);
        let (a, b) = (from.max(self.base), to.min(end));
        let dense =
            (!self.dense.is_empty() && a <= b).then(|| (a..=b).map(|o| (o, &self.dense[(o - self.base) as usize])));
        let mut dense = dense.into_iter().flatten().filter(|(_, s)| s.flags != 0).peekable();
        let sparse = (from <= to).then(|| self.sparse.range(from..=to).map(|(o, s)| (*o, s)));
        let mut sparse = sparse.into_iter().flatten().filter(|(_, s)| s.flags != 0).peekable();
        std::iter::from_fn(move || match (dense.peek(), sparse.peek()) {
            (Some(d), Some(s)) if s.0 < d.0 => sparse.next(),
            (Some(_), _) => dense.next(),
            (None, _) => sparse.next(),
        })
    }

    /// What is known of the offsets from `from` to `to`, exclusive, ascending.
    pub(super) fn between(&self, from: i64, to: i64) -> Vec<(i64, Slot)> {
        let last = to.checked_sub(1).filter(|last| from <= *last);
        last.map_or(Vec::new(), |last| self.within(from, last).map(|(o, s)| (o, *s)).collect())
    }

    /// Forgets everything below an offset.
    pub(super) fn trim(&mut self, below: i64) {
        let gone = below.saturating_sub(self.base).clamp(0, self.dense.len() as i64);
        self.dense.forget(gone as usize);
        self.used = self.used.saturating_sub(gone as usize);
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
