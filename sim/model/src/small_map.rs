//! A map of a few keys, in order of the key: a sorted vector.
//!
//! What a node holds for each peer, connection or deadline is looked at on every input, and there are a dozen of it,
//! not thousands. A vector costs a fraction of a tree to walk and next to nothing to search. Insertion and removal
//! move what lies behind; a map that may grow large is a `BTreeMap`.

use smallvec::SmallVec;
use std::slice;

/// A list that mostly has one entry, and then is no allocation.
pub type Few<T> = SmallVec<[T; 1]>;

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SmallMap<K, V>(Vec<(K, V)>);

impl<K, V> Default for SmallMap<K, V> {
    fn default() -> Self {
        SmallMap(Vec::new())
    }
}

impl<K: Ord, V> SmallMap<K, V> {
    /// An empty one.
    pub const fn new() -> SmallMap<K, V> {
        SmallMap(Vec::new())
    }
    fn place(&self, key: &K) -> Result<usize, usize> {
        self.0.binary_search_by(|(k, _)| k.cmp(key))
    }
    /// What is there under a key.
    #[inline]
    pub fn get(&self, key: &K) -> Option<&V> {
        self.place(key).ok().map(|at| &self.0[at].1)
    }
    /// What is there under a key.
    #[inline]
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.place(key).ok().map(|at| &mut self.0[at].1)
    }
    /// Puts something under a key; returns what was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.place(&key) {
            Ok(at) => Some(std::mem::replace(&mut self.0[at].1, value)),
            Err(at) => {
                self.0.insert(at, (key, value));
                None
            }
        }
    }
    /// What is there under a key, put there if it is not.
    pub fn get_or_insert_with(&mut self, key: K, new: impl FnOnce() -> V) -> &mut V {
        let at = self.place(&key).unwrap_or_else(|at| {
            self.0.insert(at, (key, new()));
            at
        });
        &mut self.0[at].1
    }
    /// Takes what is there under a key.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.place(key).ok().map(|at| self.0.remove(at).1)
    }
    /// The first key, and what is there.
    #[inline]
    pub fn first_key_value(&self) -> Option<(&K, &V)> {
        self.0.first().map(|(k, v)| (k, v))
    }
    /// Takes the first.
    pub fn pop_first(&mut self) -> Option<(K, V)> {
        if self.0.is_empty() { None } else { Some(self.0.remove(0)) }
    }
    /// Keeps what it is told to keep.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        self.0.retain_mut(|(k, v)| keep(k, v));
    }
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }
    /// How much there is.
    pub fn len(&self) -> usize {
        self.0.len()
    }
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// Everything, in order.
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter(self.0.iter())
    }
    /// Everything, in order.
    pub fn iter_mut(&mut self) -> IterMut<'_, K, V> {
        IterMut(self.0.iter_mut())
    }
    /// Every key, in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().map(|(k, _)| k)
    }
    /// Everything, in order of key.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, v)| v)
    }
    /// Everything, in order of key.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.iter_mut().map(|(_, v)| v)
    }
}

/// Keys and values, in order.
#[derive(Debug)]
pub struct Iter<'a, K, V>(slice::Iter<'a, (K, V)>);

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);
    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(k, v)| (k, v))
    }
}

/// Keys and values, in order.
#[derive(Debug)]
pub struct IterMut<'a, K, V>(slice::IterMut<'a, (K, V)>);

impl<'a, K, V> Iterator for IterMut<'a, K, V> {
    type Item = (&'a K, &'a mut V);
    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(k, v)| (&*k, v))
    }
}

impl<'a, K: Ord, V> IntoIterator for &'a SmallMap<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a, K: Ord, V> IntoIterator for &'a mut SmallMap<K, V> {
    type Item = (&'a K, &'a mut V);
    type IntoIter = IterMut<'a, K, V>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::SmallMap;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// It is the map it replaces, whatever is done to it.
        #[test]
        fn does_as_a_tree_does(steps in prop::collection::vec((0u8..5, 0u32..12, any::<u16>()), 0..80)) {
            let (mut small, mut tree) = (SmallMap::new(), BTreeMap::new());
            for (what, key, value) in steps {
                match what {
                    0 | 1 => prop_assert_eq!(small.insert(key, value), tree.insert(key, value)),
                    2 => prop_assert_eq!(small.remove(&key), tree.remove(&key)),
                    3 => prop_assert_eq!(small.pop_first(), tree.pop_first()),
                    _ => {
                        let (a, b) = (small.get_or_insert_with(key, || value), tree.entry(key).or_insert(value));
                        prop_assert_eq!(&a, &b);
                        *a = a.wrapping_add(1);
                        *b = b.wrapping_add(1);
                    }
                }
                prop_assert_eq!(small.get(&key), tree.get(&key));
                prop_assert_eq!(small.first_key_value(), tree.first_key_value());
                prop_assert!(small.iter().eq(tree.iter()));
                prop_assert!(small.keys().eq(tree.keys()) && small.values().eq(tree.values()));
                prop_assert_eq!(small.len(), tree.len());
            }
            small.retain(|k, _| k % 2 == 0);
            tree.retain(|k, _| k % 2 == 0);
            prop_assert!(small.iter().eq(tree.iter()));
        }
    }
}
