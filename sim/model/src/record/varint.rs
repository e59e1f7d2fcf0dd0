//! Zig-zag variable-length integers, as record fields have them (Protocol Buffers' encoding).

/// Reads an `int` from the front of `data`, and moves it on. `None`: it ends too early, or is too long.
#[inline]
pub(super) fn read_i32(data: &mut &[u8]) -> Option<i32> {
    let raw = read_u64(data, 5)?;
    let raw = u32::try_from(raw).ok()?;
    Some((raw >> 1) as i32 ^ -((raw & 1) as i32))
}

/// Reads a `long` from the front of `data`, and moves it on. `None`: it ends too early, or is too long.
#[inline]
pub(super) fn read_i64(data: &mut &[u8]) -> Option<i64> {
    let raw = read_u64(data, 10)?;
    Some((raw >> 1) as i64 ^ -((raw & 1) as i64))
}

#[inline]
fn read_u64(data: &mut &[u8], at_most: usize) -> Option<u64> {
    let (&first, rest) = data.split_first()?;
    if first < 0x80 {
        *data = rest;
        return Some(u64::from(first));
    }
    let mut value = u64::from(first & 0x7f);
    for (i, &byte) in rest.iter().enumerate().take(at_most - 1) {
        let shift = 7 * (i as u32 + 1);
        let low = u64::from(byte & 0x7f);
        if shift == 63 && low > 1 {
            return None;
        }
        value |= low << shift;
        if byte < 0x80 {
            *data = &rest[i + 1..];
            return Some(value);
        }
    }
    None
}

/// A few bytes on the stack, to gather small fields before they are copied at once.
pub(super) struct Scratch {
    bytes: [u8; 40],
    len: usize,
}

impl Scratch {
    #[inline]
    pub(super) fn new() -> Scratch {
        Scratch { bytes: [0; 40], len: 0 }
    }
    #[inline]
    pub(super) fn byte(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }
    #[inline]
    pub(super) fn int(&mut self, value: i32) {
        self.raw(u64::from(zigzag32(value)));
    }
    #[inline]
    pub(super) fn long(&mut self, value: i64) {
        self.raw(zigzag64(value));
    }
    #[inline]
    fn raw(&mut self, mut value: u64) {
        if value < 0x80 {
            return self.byte(value as u8);
        }
        while value >= 0x80 {
            self.byte(value as u8 | 0x80);
            value >>= 7;
        }
        self.byte(value as u8);
    }
    #[inline]
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

const fn zigzag32(value: i32) -> u32 {
    (value << 1 ^ value >> 31) as u32
}
const fn zigzag64(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

/// How many bytes an `int` takes.
#[inline]
pub(super) const fn size_i32(value: i32) -> usize {
    size_raw(zigzag32(value) as u64)
}
/// How many bytes a `long` takes.
#[inline]
pub(super) const fn size_i64(value: i64) -> usize {
    size_raw(zigzag64(value))
}
#[inline]
const fn size_raw(value: u64) -> usize {
    (70 - (value | 1).leading_zeros() as usize) / 7
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(i: i32, l: i64) {
            let mut s = Scratch::new();
            s.int(i);
            prop_assert_eq!(s.as_slice().len(), size_i32(i));
            s.long(l);
            prop_assert_eq!(s.as_slice().len(), size_i32(i) + size_i64(l));
            let mut data = s.as_slice();
            prop_assert_eq!(read_i32(&mut data), Some(i));
            prop_assert_eq!(read_i64(&mut data), Some(l));
            prop_assert!(data.is_empty());
        }
        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let mut a = bytes.as_slice();
            let _ = read_i32(&mut a);
            let mut b = bytes.as_slice();
            let _ = read_i64(&mut b);
        }
    }

    #[test]
    fn too_long_is_refused() {
        assert_eq!(read_i32(&mut &[0xff; 5][..]), None);
        assert_eq!(read_i32(&mut &[0xff, 0xff, 0xff, 0xff, 0x1f][..]), None);
        assert_eq!(read_i32(&mut &[0xff, 0xff, 0xff, 0xff, 0x0f][..]), Some(i32::MIN));
        assert_eq!(read_i64(&mut &[0xff; 11][..]), None);
        assert_eq!(read_i64(&mut &[0x80][..]), None);
    }
}
