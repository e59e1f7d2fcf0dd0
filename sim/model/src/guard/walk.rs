//! Walking over a message along its layout. Nothing is copied or allocated; the depth is the layout's.

use super::layout::{Field, Item, Kind, Layout};
use super::{Fault, PATH};
use crate::limits::MAX_MESSAGE_ELEMENTS;

/// Where a message stops being one.
#[derive(Debug)]
pub(super) struct Stop {
    pub fault: Fault,
    pub at: usize,
    /// The field, outermost first; as many levels as there are.
    pub path: [&'static str; PATH],
}

impl Stop {
    fn within(mut self, name: &'static str) -> Stop {
        self.path.rotate_right(1);
        self.path[0] = name;
        self
    }
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the innermost tagged field, or the message, ends.
    end: usize,
    version: i16,
    flexible: bool,
    elements: usize,
}

/// Walks over a whole message.
pub(super) fn walk(layout: &Layout, version: i16, bytes: &[u8]) -> Result<(), Stop> {
    let flexible = version >= layout.flexible;
    let mut walk = Walk { bytes, at: 0, end: bytes.len(), version, flexible, elements: 0 };
    walk.fields(layout.fields)?;
    match walk.left() {
        0 => Ok(()),
        left => walk.stop(Fault::Trailing(left)),
    }
}

impl Walk<'_> {
    fn left(&self) -> usize {
        self.end - self.at
    }
    fn stop<T>(&self, fault: Fault) -> Result<T, Stop> {
        Err(Stop { fault, at: self.at, path: [""; PATH] })
    }

    fn fields(&mut self, fields: &'static [Field]) -> Result<(), Stop> {
        let version = self.version;
        for field in fields.iter().filter(|f| f.tag.is_none() && f.is_in(version)) {
            self.field(field)?;
        }
        if self.flexible { self.tagged(fields) } else { Ok(()) }
    }

    fn tagged(&mut self, fields: &'static [Field]) -> Result<(), Stop> {
        let count = self.varint()?;
        self.expect(count as usize)?;
        let mut last = None;
        for _ in 0..count {
            let tag = self.varint()?;
            if last.is_some_and(|last| tag <= last) {
                return self.stop(Fault::TagOrder(tag));
            }
            last = Some(tag);
            let size = self.varint()? as usize;
            if size > self.left() {
                return self.stop(Fault::Short { need: size, have: self.left() });
            }
            let known = fields.iter().find(|f| f.tag == Some(tag) && f.is_in(self.version));
            let Some(field) = known else {
                self.at += size;
                continue;
            };
            let outer = std::mem::replace(&mut self.end, self.at + size);
            self.field(field)?;
            if self.left() > 0 {
                return self.stop(Fault::TagSize(self.left())).map_err(|stop| stop.within(field.name));
            }
            self.end = outer;
        }
        Ok(())
    }

    fn field(&mut self, field: &'static Field) -> Result<(), Stop> {
        let walked = match field.kind {
            Kind::One(item) => self.item(item, field.nullable),
            Kind::ArrayOf(item) => self.array(field.nullable, |walk| walk.item(item, false)),
            Kind::Array(fields) => self.array(field.nullable, |walk| walk.fields(fields)),
            Kind::Structure(fields) if field.nullable => match self.byte()? as i8 {
                -1 => Ok(()),
                1 => self.fields(fields),
                marker => self.stop(Fault::Marker(marker)),
            },
            Kind::Structure(fields) => self.fields(fields),
        };
        walked.map_err(|stop| stop.within(field.name))
    }

    fn array(&mut self, nullable: bool, mut element: impl FnMut(&mut Self) -> Result<(), Stop>) -> Result<(), Stop> {
        let length = if self.flexible { self.compact_length()? } else { i64::from(self.int32()?) };
        let Some(count) = self.length(length, nullable)? else { return Ok(()) };
        self.expect(count)?;
        (0..count).try_for_each(|_| element(self))
    }

    /// So many elements are to come, each of at least a byte.
    fn expect(&mut self, count: usize) -> Result<(), Stop> {
        if count > self.left() {
            return self.stop(Fault::Count { count, have: self.left() });
        }
        self.elements += count;
        if self.elements > MAX_MESSAGE_ELEMENTS {
            return self.stop(Fault::TooMany);
        }
        Ok(())
    }

    fn item(&mut self, item: Item, nullable: bool) -> Result<(), Stop> {
        let length = match item {
            Item::Bool => return self.skip(1),
            Item::Int(bytes) => return self.skip(usize::from(bytes)),
            Item::Uuid => return self.skip(16),
            Item::String | Item::Bytes if self.flexible => self.compact_length()?,
            Item::String => i64::from(self.int16()?),
            Item::Bytes => i64::from(self.int32()?),
        };
        match self.length(length, nullable)? {
            Some(length) => self.skip(length),
            None => Ok(()),
        }
    }

    /// A length as it was written; -1 is null.
    fn length(&self, length: i64, nullable: bool) -> Result<Option<usize>, Stop> {
        match usize::try_from(length) {
            Ok(length) => Ok(Some(length)),
            Err(_) if length == -1 && nullable => Ok(None),
            Err(_) if length == -1 => self.stop(Fault::Null),
            Err(_) => self.stop(Fault::Negative(length)),
        }
    }

    fn skip(&mut self, n: usize) -> Result<(), Stop> {
        if n > self.left() {
            return self.stop(Fault::Short { need: n, have: self.left() });
        }
        self.at += n;
        Ok(())
    }
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        match self.bytes[self.at..self.end].first_chunk() {
            Some(chunk) => {
                self.at += N;
                Ok(*chunk)
            }
            None => self.stop(Fault::Short { need: N, have: self.left() }),
        }
    }
    fn byte(&mut self) -> Result<u8, Stop> {
        self.take::<1>().map(|[byte]| byte)
    }
    fn int16(&mut self) -> Result<i16, Stop> {
        self.take().map(i16::from_be_bytes)
    }
    fn int32(&mut self) -> Result<i32, Stop> {
        self.take().map(i32::from_be_bytes)
    }
    fn compact_length(&mut self) -> Result<i64, Stop> {
        Ok(i64::from(self.varint()?) - 1)
    }
    fn varint(&mut self) -> Result<u32, Stop> {
        let mut n = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && byte > 0x0f {
                break;
            }
            n |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(n);
            }
        }
        self.stop(Fault::Varint)
    }
}
