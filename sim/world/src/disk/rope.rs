//! A file's bytes as the chunks they were written in: appending copies nothing, and a read within one chunk is a
//! slice of it.

use bytes::{Bytes, BytesMut};

/// The size of a page of the page cache: what survives or is lost as a whole.
pub(super) const PAGE: u64 = 4096;

static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

/// Chunks in order, each with the position of its first byte; none is empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rope {
    chunks: Vec<(u64, Bytes)>,
    len: u64,
}

impl Rope {
    /// Length, bytes.
    pub fn len(&self) -> u64 {
        self.len
    }
    /// Adds bytes at the end.
    pub fn push(&mut self, data: Bytes) {
        if !data.is_empty() {
            let at = self.len;
            self.len += data.len() as u64;
            self.chunks.push((at, data));
        }
    }
    /// Adds zeros at the end.
    pub fn push_zeros(&mut self, mut n: u64) {
        while n > 0 {
            let step = n.min(ZEROS.len() as u64);
            self.push(Bytes::from_static(&ZEROS[..step as usize]));
            n -= step;
        }
    }
    /// Adds another rope at the end.
    pub fn append(&mut self, other: &Rope) {
        self.copy_range(other, 0, other.len);
    }
    /// Adds `[from, to)` of another rope at the end, sharing its chunks.
    pub fn copy_range(&mut self, other: &Rope, from: u64, to: u64) {
        for piece in other.pieces(from, to) {
            self.push(piece);
        }
    }
    /// Removes everything from `at` on, and returns it.
    pub fn cut(&mut self, at: u64) -> Rope {
        let mut tail = Rope::default();
        if at >= self.len {
            return tail;
        }
        tail.copy_range(self, at, self.len);
        let first = self.chunks.partition_point(|(start, _)| *start < at);
        self.chunks.truncate(first);
        if let Some((start, data)) = self.chunks.last_mut() {
            data.truncate((at - *start) as usize);
        }
        self.len = at;
        tail
    }
    /// The chunks of `[from, to)`, trimmed to it; shared, not copied.
    pub fn pieces(&self, from: u64, to: u64) -> impl Iterator<Item = Bytes> + '_ {
        let to = to.min(self.len);
        let first = self.chunks.partition_point(|(start, data)| start + data.len() as u64 <= from);
        self.chunks[first..].iter().take_while(move |(start, _)| *start < to).map(move |(start, data)| {
            let low = from.saturating_sub(*start) as usize;
            let high = data.len().min((to - start) as usize);
            data.slice(low..high.max(low))
        })
    }
    /// What is in `[pos, pos + len)`; less past the end. Copied only where it spans chunks.
    pub fn read(&self, pos: u64, len: u64) -> Bytes {
        let to = pos.saturating_add(len).min(self.len);
        if pos >= to {
            return Bytes::new();
        }
        let mut pieces = self.pieces(pos, to);
        let first = pieces.next().unwrap_or_default();
        if first.len() as u64 == to - pos {
            return first;
        }
        let mut all = BytesMut::with_capacity((to - pos) as usize);
        all.extend_from_slice(&first);
        for piece in pieces {
            all.extend_from_slice(&piece);
        }
        all.freeze()
    }
    /// Puts `data` in place of as many bytes from `at` on, which must exist.
    pub fn overwrite(&mut self, at: u64, data: Bytes) {
        let mut tail = self.cut(at);
        let rest = tail.cut(data.len() as u64);
        self.push(data);
        self.append(&rest);
    }
    /// Puts zeros in place of `[from, to)`, as far as it exists.
    pub fn zero(&mut self, from: u64, to: u64) {
        let to = to.min(self.len);
        if from < to {
            let rest = self.cut(from).cut(to - from);
            self.push_zeros(to - from);
            self.append(&rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_read_within_one_chunk_shares_it() {
        let data = Bytes::from(vec![7u8; 100]);
        let mut rope = Rope::default();
        rope.push(Bytes::from_static(b"ab"));
        rope.push(data.clone());
        let read = rope.read(10, 20);
        assert_eq!(read.as_ptr(), data[8..].as_ptr());
        assert_eq!(rope.read(1, 3).as_ref(), &[b'b', 7, 7]);
        assert!(rope.read(500, 1).is_empty());
    }

    proptest! {
        #[test]
        fn behaves_as_a_vector(ops in proptest::collection::vec((0u8..5, 0u64..60, 0u64..40), 0..40)) {
            let (mut rope, mut plain) = (Rope::default(), Vec::<u8>::new());
            for (i, (what, a, b)) in ops.into_iter().enumerate() {
                let fill = vec![i as u8 + 1; b as usize];
                let a = a.min(plain.len() as u64);
                match what {
                    0 | 1 => { rope.push(fill.clone().into()); plain.extend(fill); }
                    2 => { let tail = rope.cut(a); prop_assert_eq!(tail.read(0, 1 << 20), plain[a as usize..].to_vec()); plain.truncate(a as usize); }
                    3 => { rope.zero(a, a + b); for byte in plain.iter_mut().skip(a as usize).take(b as usize) { *byte = 0; } }
                    _ => { let n = b.min(plain.len() as u64 - a); rope.overwrite(a, Bytes::from(vec![9; n as usize])); plain[a as usize..(a + n) as usize].fill(9); }
                }
                prop_assert_eq!(rope.len(), plain.len() as u64);
                let end = (a + b).min(plain.len() as u64);
                let start = a.min(end);
                prop_assert_eq!(rope.read(a, b), plain[start as usize..end as usize].to_vec());
            }
        }
    }
}
