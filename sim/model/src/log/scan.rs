//! Walking over a log file's batches chunk by chunk. Whatever the bytes are, it ends: each chunk is bounded by the
//! file, and a batch is believed to be as long as it says only if the file is that long.

use crate::disk::{DiskOp, Path, ReadRange};
use crate::limits::SCAN_CHUNK_BYTES;
use crate::record::{BATCH_HEADER_SIZE, BatchHeader};
use smallvec::smallvec;

/// A walk over one file.
#[derive(Debug)]
pub(super) struct Scanner {
    file: Path,
    /// The next batch's place.
    pub(super) pos: u64,
    len: u64,
    want: u64,
}

/// What to do after a batch.
pub(super) enum Visit {
    Go,
    /// Stop before it.
    Stop,
    /// It is corrupt: stop before it.
    Bad,
}

/// What came of a chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fed {
    /// Read on.
    More,
    /// The file's end, just after a batch.
    End,
    /// The visitor stopped.
    Stopped,
    /// What lies at `pos` is no whole batch.
    Bad,
}

impl Scanner {
    pub(super) fn new(file: Path, pos: u64, len: u64) -> Scanner {
        Scanner { file, pos, len: len.max(pos), want: SCAN_CHUNK_BYTES }
    }

    /// The file's length.
    pub(super) fn len(&self) -> u64 {
        self.len
    }
    /// Whether everything was walked over.
    pub(super) fn at_end(&self) -> bool {
        self.pos >= self.len
    }

    fn asked(&self) -> u64 {
        self.want.min(self.len - self.pos)
    }

    /// The read for the next chunk.
    pub(super) fn read(&self) -> DiskOp {
        DiskOp::Read { ranges: smallvec![ReadRange { file: self.file.clone(), pos: self.pos, len: self.asked() }] }
    }

    /// Takes the chunk asked for.
    pub(super) fn feed(&mut self, data: &[u8], mut visit: impl FnMut(&BatchHeader, u64, &[u8]) -> Visit) -> Fed {
        if (data.len() as u64) < self.asked() {
            // The file is shorter than it was listed.
            self.len = self.pos + data.len() as u64;
        }
        let mut rest = data;
        loop {
            let left = self.len - self.pos;
            if left == 0 {
                return Fed::End;
            }
            if rest.len() < BATCH_HEADER_SIZE {
                self.want = SCAN_CHUNK_BYTES;
                return if left <= rest.len() as u64 { Fed::Bad } else { Fed::More };
            }
            let Ok(header) = BatchHeader::parse(rest) else { return Fed::Bad };
            if header.size() > left {
                return Fed::Bad;
            }
            if header.size() > rest.len() as u64 {
                self.want = SCAN_CHUNK_BYTES.max(header.size());
                return Fed::More;
            }
            let (batch, after) = rest.split_at(header.size() as usize);
            match visit(&header, self.pos, batch) {
                Visit::Go => {}
                Visit::Stop => return Fed::Stopped,
                Visit::Bad => return Fed::Bad,
            }
            self.pos += header.size();
            rest = after;
        }
    }
}
