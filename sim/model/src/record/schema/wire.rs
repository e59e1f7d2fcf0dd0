//! Kafka's primitive types as flexible versions write them (KIP-482): compact strings and arrays, tagged fields; and
//! the fixed lengths of older versions, under names that say `old`.
//!
//! Reading never trusts a length: counts are bounded by the bytes that are left.

use crate::ids::NodeId;
use bytes::{BufMut, BytesMut};
use uuid::Uuid;

/// Why bytes are not a record of that schema.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SchemaError {
    /// The bytes end within a field, or a length points past them.
    #[error("the record ends too early")]
    Truncated,
    /// Bytes are left after the record.
    #[error("{0} bytes follow the record")]
    Trailing(usize),
    /// Kafka knows frame version 1 only.
    #[error("frame version {0} is not known")]
    FrameVersion(u32),
    /// No schema has that number, or none that a node here replays.
    #[error("record type {0} is not known")]
    UnknownType(u32),
    /// The schema has no such version.
    #[error("record type {api_key} has no version {version}")]
    UnknownVersion {
        /// The schema's number.
        api_key: u32,
        /// As written.
        version: u32,
    },
    /// A string that its field's length cannot say.
    #[error("a string is longer than its field allows")]
    TooLong,
    /// A value that its field cannot have.
    #[error("`{0}` has an impossible value")]
    BadValue(&'static str),
}

/// Appends fields to a buffer.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub buf: BytesMut,
}

impl Writer {
    pub fn unsigned_varint(&mut self, mut n: u32) {
        while n >= 0x80 {
            self.buf.put_u8(n as u8 | 0x80);
            n >>= 7;
        }
        self.buf.put_u8(n as u8);
    }
    pub fn bool(&mut self, b: bool) {
        self.buf.put_u8(u8::from(b));
    }
    pub fn uuid(&mut self, id: Uuid) {
        self.buf.put_slice(id.as_bytes());
    }
    pub fn string(&mut self, s: &str) {
        self.unsigned_varint(s.len() as u32 + 1);
        self.buf.put_slice(s.as_bytes());
    }
    pub fn nullable_string(&mut self, s: Option<&str>) {
        match s {
            Some(s) => self.string(s),
            None => self.unsigned_varint(0),
        }
    }
    pub fn array_len(&mut self, len: usize) {
        self.unsigned_varint(len as u32 + 1);
    }
    pub fn nodes(&mut self, nodes: &[NodeId]) {
        self.array_len(nodes.len());
        for node in nodes {
            self.buf.put_i32(node.0);
        }
    }
    pub fn uuids(&mut self, ids: &[Uuid]) {
        self.array_len(ids.len());
        for id in ids {
            self.uuid(*id);
        }
    }
    /// A string behind two bytes of length.
    ///
    /// # Errors
    /// It is longer than they can say.
    pub fn old_string(&mut self, s: &str) -> Result<(), SchemaError> {
        let len = i16::try_from(s.len()).map_err(|_| SchemaError::TooLong)?;
        self.buf.put_i16(len);
        self.buf.put_slice(s.as_bytes());
        Ok(())
    }
    /// As [`Writer::old_string`]; none is a length of -1.
    pub fn old_nullable_string(&mut self, s: Option<&str>) -> Result<(), SchemaError> {
        match s {
            Some(s) => self.old_string(s),
            None => {
                self.buf.put_i16(-1);
                Ok(())
            }
        }
    }
    /// Bytes behind four bytes of length.
    pub fn old_bytes(&mut self, bytes: &[u8]) -> Result<(), SchemaError> {
        let len = i32::try_from(bytes.len()).map_err(|_| SchemaError::TooLong)?;
        self.buf.put_i32(len);
        self.buf.put_slice(bytes);
        Ok(())
    }
    /// The end of a structure without tagged fields.
    pub fn no_tags(&mut self) {
        self.unsigned_varint(0);
    }
    /// The end of a structure with tagged fields, which must come in order of tag.
    pub fn tags(&mut self, tags: Tags) {
        debug_assert!(tags.0.is_sorted_by_key(|(tag, _)| *tag));
        self.unsigned_varint(tags.0.len() as u32);
        for (tag, value) in tags.0 {
            self.unsigned_varint(tag);
            self.unsigned_varint(value.len() as u32);
            self.buf.put_slice(&value);
        }
    }
}

/// Tagged fields to write.
#[derive(Debug, Default)]
pub(super) struct Tags(Vec<(u32, BytesMut)>);

impl Tags {
    /// Adds a field that is there.
    pub fn put<T>(&mut self, tag: u32, value: Option<T>, write: impl FnOnce(&mut Writer, T)) {
        if let Some(value) = value {
            let mut w = Writer::default();
            write(&mut w, value);
            self.0.push((tag, w.buf));
        }
    }
}

/// Takes fields from bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes }
    }
    pub fn left(&self) -> usize {
        self.bytes.len()
    }
    fn take(&mut self, n: usize) -> Result<&'a [u8], SchemaError> {
        let (head, tail) = self.bytes.split_at_checked(n).ok_or(SchemaError::Truncated)?;
        self.bytes = tail;
        Ok(head)
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], SchemaError> {
        Ok(self.take(N)?.try_into().expect("take gives as many as asked"))
    }
    pub fn i8(&mut self) -> Result<i8, SchemaError> {
        Ok(i8::from_be_bytes(self.array()?))
    }
    pub fn i16(&mut self) -> Result<i16, SchemaError> {
        Ok(i16::from_be_bytes(self.array()?))
    }
    pub fn u16(&mut self) -> Result<u16, SchemaError> {
        Ok(u16::from_be_bytes(self.array()?))
    }
    pub fn i32(&mut self) -> Result<i32, SchemaError> {
        Ok(i32::from_be_bytes(self.array()?))
    }
    pub fn i64(&mut self) -> Result<i64, SchemaError> {
        Ok(i64::from_be_bytes(self.array()?))
    }
    pub fn node(&mut self) -> Result<NodeId, SchemaError> {
        Ok(NodeId(self.i32()?))
    }
    pub fn bool(&mut self) -> Result<bool, SchemaError> {
        Ok(self.i8()? != 0)
    }
    pub fn uuid(&mut self) -> Result<Uuid, SchemaError> {
        Ok(Uuid::from_bytes(self.array()?))
    }
    pub fn unsigned_varint(&mut self) -> Result<u32, SchemaError> {
        let mut n: u32 = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && bits > 0x0f {
                break;
            }
            n |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(n);
            }
        }
        Err(SchemaError::BadValue("varint"))
    }
    pub fn nullable_string(&mut self) -> Result<Option<String>, SchemaError> {
        let Some(len) = self.unsigned_varint()?.checked_sub(1) else { return Ok(None) };
        let text = std::str::from_utf8(self.take(len as usize)?).map_err(|_| SchemaError::BadValue("string"))?;
        Ok(Some(text.to_owned()))
    }
    pub fn string(&mut self) -> Result<String, SchemaError> {
        self.nullable_string()?.ok_or(SchemaError::BadValue("string"))
    }
    /// Items of at least `size` bytes each.
    fn nullable_array<T>(
        &mut self,
        size: usize,
        read: impl Fn(&mut Self) -> Result<T, SchemaError>,
    ) -> Result<Option<Vec<T>>, SchemaError> {
        let Some(len) = self.unsigned_varint()?.checked_sub(1) else { return Ok(None) };
        if len as usize > self.left() / size {
            return Err(SchemaError::Truncated);
        }
        (0..len).map(|_| read(self)).collect::<Result<_, _>>().map(Some)
    }
    /// Items of at least `size` bytes each.
    pub fn items<T>(
        &mut self,
        size: usize,
        read: impl Fn(&mut Self) -> Result<T, SchemaError>,
    ) -> Result<Vec<T>, SchemaError> {
        self.nullable_array(size, read)?.ok_or(SchemaError::BadValue("array"))
    }
    pub fn old_nullable_string(&mut self) -> Result<Option<String>, SchemaError> {
        let len = self.i16()?;
        if len < 0 {
            return Ok(None);
        }
        let text = std::str::from_utf8(self.take(len as usize)?).map_err(|_| SchemaError::BadValue("string"))?;
        Ok(Some(text.to_owned()))
    }
    pub fn old_string(&mut self) -> Result<String, SchemaError> {
        self.old_nullable_string()?.ok_or(SchemaError::BadValue("string"))
    }
    pub fn old_bytes(&mut self) -> Result<&'a [u8], SchemaError> {
        let len = usize::try_from(self.i32()?).map_err(|_| SchemaError::BadValue("bytes"))?;
        self.take(len)
    }
    /// Items of at least `size` bytes each, behind four bytes of count.
    pub fn old_items<T>(
        &mut self,
        size: usize,
        read: impl Fn(&mut Self) -> Result<T, SchemaError>,
    ) -> Result<Vec<T>, SchemaError> {
        let len = usize::try_from(self.i32()?).map_err(|_| SchemaError::BadValue("array"))?;
        if len > self.left() / size {
            return Err(SchemaError::Truncated);
        }
        (0..len).map(|_| read(self)).collect()
    }
    pub fn compact_bytes(&mut self) -> Result<&'a [u8], SchemaError> {
        let len = self.unsigned_varint()?.checked_sub(1).ok_or(SchemaError::BadValue("bytes"))?;
        self.take(len as usize)
    }
    pub fn nodes(&mut self) -> Result<Vec<NodeId>, SchemaError> {
        self.items(4, Reader::node)
    }
    pub fn nullable_nodes(&mut self) -> Result<Option<Vec<NodeId>>, SchemaError> {
        self.nullable_array(4, Reader::node)
    }
    pub fn uuids(&mut self) -> Result<Vec<Uuid>, SchemaError> {
        self.items(16, Reader::uuid)
    }
    /// Tagged fields; `read` is given each tag and its bytes, and leaves alone what it does not know.
    pub fn tags(
        &mut self,
        mut read: impl FnMut(u32, &mut Reader<'a>) -> Result<(), SchemaError>,
    ) -> Result<(), SchemaError> {
        let mut last = None;
        for _ in 0..self.unsigned_varint()? {
            let tag = self.unsigned_varint()?;
            if last.is_some_and(|last| tag <= last) {
                return Err(SchemaError::BadValue("tag"));
            }
            last = Some(tag);
            let size = self.unsigned_varint()?;
            read(tag, &mut Reader::new(self.take(size as usize)?))?;
        }
        Ok(())
    }
    pub fn skip_tags(&mut self) -> Result<(), SchemaError> {
        self.tags(|_, _| Ok(()))
    }
}
