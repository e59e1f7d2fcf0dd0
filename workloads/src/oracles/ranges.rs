//! Sets of offsets that are nearly one piece: what was delivered, what is finished.

use std::collections::BTreeMap;

/// Disjoint half-open ranges, none touching another.
#[derive(Clone, Default, Debug)]
pub(super) struct Ranges {
    /// Start to end, exclusive.
    pieces: BTreeMap<i64, i64>,
}

impl Ranges {
    /// Adds `from..to`.
    pub(super) fn insert(&mut self, mut from: i64, mut to: i64) {
        if from >= to {
            return;
        }
        if let Some((&start, end)) = self.pieces.range_mut(..=from).next_back()
            && *end >= from
        {
            if *end >= to {
                return;
            }
            from = start;
        }
        while let Some((&start, &end)) = self.pieces.range(from..=to).next() {
            self.pieces.remove(&start);
            to = to.max(end);
        }
        self.pieces.insert(from, to);
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// All of them, ascending: each from its start to its end, exclusive.
    pub(super) fn iter(&self) -> impl Iterator<Item = (i64, i64)> {
        self.pieces.iter().map(|(start, end)| (*start, *end))
    }

    /// Takes one offset out.
    pub(super) fn remove(&mut self, offset: i64) {
        let Some((&start, &end)) = self.pieces.range(..=offset).next_back().filter(|(_, end)| offset < **end) else {
            return;
        };
        self.pieces.remove(&start);
        if start < offset {
            self.pieces.insert(start, offset);
        }
        if offset + 1 < end {
            self.pieces.insert(offset + 1, end);
        }
    }

    /// Whether an offset is in it.
    pub(super) fn contains(&self, offset: i64) -> bool {
        self.pieces.range(..=offset).next_back().is_some_and(|(_, end)| offset < *end)
    }

    /// What of `from..to` is missing, ascending.
    pub(super) fn gaps(&self, from: i64, to: i64) -> Vec<(i64, i64)> {
        let mut gaps = Vec::new();
        let mut at = from;
        let before = self.pieces.range(..=from).next_back().map(|(_, end)| *end);
        at = at.max(before.unwrap_or(at));
        for (&start, &end) in self.pieces.range(from..).take_while(|(start, _)| **start < to) {
            if start > at {
                gaps.push((at, start));
            }
            at = at.max(end);
        }
        if at < to {
            gaps.push((at, to));
        }
        gaps
    }

    /// Forgets what lies below an offset.
    pub(super) fn trim(&mut self, below: i64) {
        while let Some((&start, &end)) = self.pieces.first_key_value()
            && start < below
        {
            self.pieces.remove(&start);
            if end > below {
                self.pieces.insert(below, end);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn as_a_set_of_offsets(
            pieces in prop::collection::vec((0i64..60, 0i64..12), 0..20),
            (from, to) in (0i64..40, 0i64..80),
            below in 0i64..30,
        ) {
            let (mut ranges, mut set) = (Ranges::default(), std::collections::BTreeSet::new());
            for (start, len) in pieces {
                ranges.insert(start, start + len);
                set.extend(start..start + len);
            }
            ranges.trim(below);
            set.retain(|o| *o >= below);
            ranges.remove(to);
            set.remove(&to);
            for offset in 0..80 {
                prop_assert_eq!(ranges.contains(offset), set.contains(&offset));
            }
            let missing: Vec<i64> = ranges.gaps(from, to).into_iter().flat_map(|(a, b)| a..b).collect();
            prop_assert_eq!(missing, (from..to).filter(|o| !set.contains(o)).collect::<Vec<_>>());
            let mut ends = ranges.pieces.iter().zip(ranges.pieces.iter().skip(1));
            prop_assert!(ends.all(|((_, end), (start, _))| end < start));
        }
    }
}
