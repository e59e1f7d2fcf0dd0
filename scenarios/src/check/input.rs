//! Where a history comes from: a file or standard input, plain or compressed, told by its first bytes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// The most that is read of one history, unpacked: what a few kilobytes of compressed zeros may not become.
pub const MAX_BYTES: u64 = 64 << 30;

/// The most that is read of a history that must be held as a whole.
pub const MAX_TEXT: u64 = 2 << 30;

/// The largest window of a compressed file, as a power of two: 128 MiB, what `zstd --long` writes.
const WINDOW: u32 = 27;

/// Opens a file, or standard input for `-`.
///
/// # Errors
/// If it cannot be opened or read.
pub fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    if path == Path::new("-") { unpacked(io::stdin().lock()) } else { unpacked(File::open(path)?) }
}

/// What a stream holds, unpacked if it is packed.
///
/// # Errors
/// If its first bytes cannot be read.
pub fn unpacked(from: impl Read + 'static) -> io::Result<Box<dyn BufRead>> {
    let mut from = BufReader::with_capacity(1 << 16, from);
    let start = from.fill_buf()?;
    let plain: Box<dyn Read> = if start.starts_with(b"\x1f\x8b") {
        Box::new(flate2::bufread::MultiGzDecoder::new(from))
    } else if start.starts_with(b"\x28\xb5\x2f\xfd") {
        let mut decoder = zstd::Decoder::with_buffer(from)?;
        decoder.window_log_max(WINDOW)?;
        Box::new(decoder)
    } else {
        Box::new(from)
    };
    Ok(Box::new(BufReader::with_capacity(1 << 16, Bounded { from: plain, left: MAX_BYTES })))
}

/// A stream that ends in an error where it grows beyond a bound.
struct Bounded<R> {
    from: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(into)?;
        let too_large = || io::Error::other(format!("the history is larger than {MAX_BYTES} bytes"));
        self.left = self.left.checked_sub(n as u64).ok_or_else(too_large)?;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Cursor, Write};

    #[test]
    fn packed_or_not_it_is_the_same() {
        let text = "a line\n".repeat(5000).into_bytes();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text).unwrap();
        for packed in [text.clone(), gzip.finish().unwrap(), zstd::encode_all(&text[..], 1).unwrap()] {
            let mut got = Vec::new();
            unpacked(Cursor::new(packed)).unwrap().read_to_end(&mut got).unwrap();
            assert_eq!(got, text);
        }
        let mut cut = zstd::encode_all(&text[..], 1).unwrap();
        cut.truncate(cut.len() / 2);
        assert!(unpacked(Cursor::new(cut)).unwrap().read_to_end(&mut Vec::new()).is_err());
    }

    #[test]
    fn a_stream_without_end_ends_at_the_bound() {
        let mut bounded = Bounded { from: io::repeat(b'x'), left: 1 << 20 };
        assert!(io::copy(&mut bounded, &mut io::sink()).is_err());
    }
}
