//! The records of one batch, one at a time, borrowed from its bytes.

use super::header::{BATCH_HEADER_SIZE, BatchError, BatchHeader, Compression, MIN_RECORD_SIZE};
use super::varint::{read_i32, read_i64};
use crate::ids::Offset;
use crate::units::Timestamp;

/// One record, borrowed from its batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// Its offset.
    pub offset: Offset,
    /// Its time: the producer's, or the append's if the batch says so.
    pub timestamp: Timestamp,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; none: a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers, not read yet.
    pub headers: Headers<'a>,
}

/// The records of the batch that `batch` begins with. Nothing is read ahead, and nothing is allocated; after an
/// error the iterator ends.
pub fn records(batch: &[u8]) -> RecordIter<'_> {
    RecordIter::new(batch).unwrap_or_else(|error| RecordIter {
        rest: &[],
        left: 0,
        error: Some(error),
        base_offset: 0,
        base_timestamp: 0,
        append_time: None,
    })
}

/// See [`records`].
#[derive(Clone, Debug)]
pub struct RecordIter<'a> {
    rest: &'a [u8],
    left: u32,
    error: Option<BatchError>,
    base_offset: i64,
    base_timestamp: i64,
    append_time: Option<Timestamp>,
}

impl<'a> RecordIter<'a> {
    fn new(batch: &'a [u8]) -> Result<RecordIter<'a>, BatchError> {
        let header = BatchHeader::parse(batch)?;
        if header.compression() != Compression::None {
            return Err(BatchError::Compressed(header.compression()));
        }
        let have = batch.len() as u64;
        let end = usize::try_from(header.size()).ok().filter(|&end| end <= batch.len());
        let end = end.ok_or(BatchError::Short { need: header.size(), have })?;
        let rest = &batch[BATCH_HEADER_SIZE..end];
        if header.record_count as usize > rest.len() / MIN_RECORD_SIZE {
            return Err(BatchError::Count(header.record_count));
        }
        Ok(RecordIter {
            rest,
            left: header.record_count as u32,
            error: None,
            base_offset: header.base_offset.0,
            base_timestamp: header.base_timestamp.0,
            append_time: header.log_append_time().then_some(header.max_timestamp),
        })
    }

    #[inline]
    fn read(&mut self) -> Result<Record<'a>, &'static str> {
        let length = read_i32(&mut self.rest).ok_or("its length is cut")?;
        let length = usize::try_from(length).map_err(|_| "its length is negative")?;
        let (mut body, rest) = self.rest.split_at_checked(length).ok_or("it is longer than its batch")?;
        self.rest = rest;
        let (_attributes, after) = body.split_first().ok_or("it is empty")?;
        body = after;
        let timestamp_delta = read_i64(&mut body).ok_or("its timestamp is cut")?;
        let offset_delta = read_i32(&mut body).ok_or("its offset is cut")?;
        let offset = self.base_offset.checked_add(i64::from(offset_delta)).ok_or("its offset overflows")?;
        if offset_delta < 0 {
            return Err("its offset is below its batch's");
        }
        let timestamp = match self.append_time {
            Some(time) => time,
            None => Timestamp(self.base_timestamp.checked_add(timestamp_delta).ok_or("its timestamp overflows")?),
        };
        let key = read_bytes(&mut body).ok_or("its key is cut")?;
        let value = read_bytes(&mut body).ok_or("its value is cut")?;
        let count = read_i32(&mut body).ok_or("its header count is cut")?;
        // A header takes two bytes at least, so a count is bounded by what is there.
        let count = usize::try_from(count).ok().filter(|&n| n <= body.len() / 2);
        let left = count.ok_or("its header count is impossible")? as u32;
        if left == 0 && !body.is_empty() {
            return Err("bytes follow it");
        }
        Ok(Record { offset: Offset(offset), timestamp, key, value, headers: Headers { rest: body, left } })
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.error.take() {
            return Some(Err(error));
        }
        if self.left == 0 {
            let extra = !std::mem::take(&mut self.rest).is_empty();
            return extra.then_some(Err(BatchError::Record("bytes follow the last record")));
        }
        self.left -= 1;
        match self.read() {
            Ok(record) => Some(Ok(record)),
            Err(why) => {
                self.left = 0;
                self.rest = &[];
                Some(Err(BatchError::Record(why)))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left as usize + 1))
    }
}

/// The headers of one record, read as one goes. Order and repeated keys are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Headers<'a> {
    rest: &'a [u8],
    left: u32,
}

impl<'a> Headers<'a> {
    /// The bytes not read yet, and how many headers they are.
    pub(super) fn raw(&self) -> (&'a [u8], u32) {
        (self.rest, self.left)
    }
    /// How many there are, as the record says.
    pub fn len(&self) -> usize {
        self.left as usize
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Result<(&'a str, Option<&'a [u8]>), BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let mut read = || {
            let key = read_bytes(&mut self.rest).flatten().ok_or("a header's key is cut")?;
            let key = std::str::from_utf8(key).map_err(|_| "a header's key is not UTF-8")?;
            let value = read_bytes(&mut self.rest).ok_or("a header's value is cut")?;
            Ok((key, value))
        };
        let header = read();
        let extra = self.left == 0 && !self.rest.is_empty();
        match header {
            Ok(header) if !extra => Some(Ok(header)),
            bad => {
                self.left = 0;
                Some(Err(BatchError::Record(bad.err().unwrap_or("bytes follow its headers"))))
            }
        }
    }
}

/// A length and that many bytes; `Some(None)` for a length of -1.
#[inline]
fn read_bytes<'a>(data: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = read_i32(data)?;
    if length == -1 {
        return Some(None);
    }
    let (bytes, rest) = data.split_at_checked(usize::try_from(length).ok()?)?;
    *data = rest;
    Some(Some(bytes))
}
