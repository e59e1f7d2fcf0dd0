//! A queue in blocks: millions of entries come in at one end and are forgotten at the other, and none is ever moved.
//! A `VecDeque` copies all it holds when it grows, and then holds both copies.

use std::collections::VecDeque;
use std::ops::{Index, IndexMut};

const BITS: u32 = 9;
const BLOCK: usize = 1 << BITS;

/// Entries by position, oldest first.
pub(super) struct Blocks<T> {
    /// Every block is full but the last. A short queue is one short block.
    blocks: VecDeque<Vec<T>>,
    /// How many entries of the first block are gone.
    gone: usize,
    len: usize,
}

impl<T> Default for Blocks<T> {
    fn default() -> Blocks<T> {
        Blocks { blocks: VecDeque::new(), gone: 0, len: 0 }
    }
}

impl<T: Copy> Blocks<T> {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// The oldest.
    pub(super) fn front(&self) -> Option<&T> {
        self.get(0)
    }

    /// One by its position.
    pub(super) fn get(&self, i: usize) -> Option<&T> {
        let at = self.gone + i;
        self.blocks.get(at >> BITS)?.get(at & (BLOCK - 1))
    }
    /// The same, to change it.
    pub(super) fn get_mut(&mut self, i: usize) -> Option<&mut T> {
        let at = self.gone + i;
        self.blocks.get_mut(at >> BITS)?.get_mut(at & (BLOCK - 1))
    }

    /// A new youngest.
    pub(super) fn push_back(&mut self, value: T) {
        self.len += 1;
        match self.blocks.back_mut() {
            Some(last) if last.len() < BLOCK => last.push(value),
            None => self.blocks.push_back(vec![value]),
            Some(_) => {
                let mut block = Vec::with_capacity(BLOCK);
                block.push(value);
                self.blocks.push_back(block);
            }
        }
    }

    /// New ones at the old end, all alike.
    pub(super) fn fill_front(&mut self, many: usize, value: T) {
        self.len += many;
        let here = many.min(self.gone);
        self.blocks.front_mut().into_iter().for_each(|b| b[self.gone - here..self.gone].fill(value));
        self.gone -= here;
        let mut left = many - here;
        while left > 0 {
            // What a block has too many counts as gone.
            self.blocks.push_front(vec![value; BLOCK]);
            self.gone = BLOCK.saturating_sub(left);
            left = left.saturating_sub(BLOCK);
        }
    }

    /// New ones at the young end until there are so many.
    pub(super) fn fill_to(&mut self, len: usize, value: T) {
        while self.len < len {
            self.push_back(value);
        }
    }

    /// The oldest go.
    pub(super) fn forget(&mut self, many: usize) {
        let many = many.min(self.len);
        self.len -= many;
        self.gone += many;
        while self.gone >= BLOCK {
            self.blocks.pop_front();
            self.gone -= BLOCK;
        }
        if self.len == 0 {
            *self = Blocks::default();
        }
    }

    /// All of them, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.blocks.iter().flatten().skip(self.gone)
    }
}

impl<T: Copy> Index<usize> for Blocks<T> {
    type Output = T;
    fn index(&self, i: usize) -> &T {
        self.get(i).expect("a position within the queue")
    }
}
impl<T: Copy> IndexMut<usize> for Blocks<T> {
    fn index_mut(&mut self, i: usize) -> &mut T {
        self.get_mut(i).expect("a position within the queue")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn blocks_are_a_queue(ops in proptest::collection::vec((0u8..4, 0usize..1500), 1..40)) {
            let (mut blocks, mut plain) = (Blocks::default(), VecDeque::new());
            for (n, (kind, many)) in ops.into_iter().enumerate() {
                match kind {
                    0 => {
                        blocks.forget(many);
                        plain.drain(..many.min(plain.len()));
                    }
                    // A queue grows at its old end only while it has something.
                    1 if !plain.is_empty() => {
                        blocks.fill_front(many, n);
                        (0..many).for_each(|_| plain.push_front(n));
                    }
                    _ => {
                        blocks.fill_to(plain.len() + many, n);
                        plain.resize(plain.len() + many, n);
                    }
                }
                prop_assert_eq!(blocks.len(), plain.len());
                prop_assert!(blocks.iter().eq(&plain));
                prop_assert_eq!(blocks.front(), plain.front());
                for i in [0, 1, plain.len() / 2, plain.len().saturating_sub(1), plain.len()] {
                    prop_assert_eq!(blocks.get(i), plain.get(i));
                }
            }
        }
    }
}
