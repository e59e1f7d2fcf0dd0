//! Of all that lies above a place, what is best: for a finding that many pieces of evidence show, the one that is hardest
//! to excuse, without looking at each.

use std::collections::BTreeMap;

/// Things by their places. Of those that another one is better than, and not below, none is kept: from each place up to
/// the next one, merits fall.
pub(super) struct Staircase<T>(BTreeMap<i64, (u64, T)>);

impl<T> Default for Staircase<T> {
    fn default() -> Staircase<T> {
        Staircase(BTreeMap::new())
    }
}

impl<T: Copy> Staircase<T> {
    /// A thing at a place. Of two that are equally good, the first counts.
    pub(super) fn add(&mut self, place: i64, merit: u64, thing: T) {
        if self.0.range(place..).next().is_some_and(|(_, (best, _))| *best >= merit) {
            return;
        }
        while let Some((&lower, _)) = self.0.range(..=place).next_back().filter(|(_, (least, _))| *least <= merit) {
            self.0.remove(&lower);
        }
        self.0.insert(place, (merit, thing));
    }

    /// The best of all above a place.
    pub(super) fn best_above(&self, place: i64) -> Option<T> {
        self.0.range(place.checked_add(1)?..).next().map(|(_, (_, thing))| *thing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_best_above_is_found(things in prop::collection::vec((0i64..20, 0u64..20), 0..40), place in -1i64..21) {
            let mut stairs = Staircase::default();
            things.iter().for_each(|&(at, merit)| stairs.add(at, merit, merit));
            let best = things.iter().filter(|(at, _)| *at > place).map(|(_, merit)| *merit).max();
            prop_assert_eq!(stairs.best_above(place), best);
        }
    }
}
