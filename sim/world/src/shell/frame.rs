//! Frames: four bytes of length, and as many bytes. A length is a claim: memory is set aside as bytes arrive, never for
//! what is only announced.

use super::limits::{FIRST_CHUNK, READ_CHUNK};
use super::planted::Planted;
use bytes::{Buf, Bytes, BytesMut};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes of a frame's length.
pub const LENGTH: usize = 4;

/// Why no further frame can be read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// A frame is longer than it may be.
    #[error("a frame of {size} bytes was announced, the limit is {limit}")]
    TooLarge {
        /// As announced.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// A length below zero.
    #[error("a frame of {0} bytes was announced")]
    Negative(i32),
    /// The stream ended within a frame.
    #[error("the stream ended within a frame: {missing} bytes are missing")]
    Truncated {
        /// At least so many.
        missing: usize,
    },
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Cuts a stream of bytes into frames.
#[derive(Debug)]
pub struct FrameReader<R> {
    from: R,
    buffer: BytesMut,
    limit: usize,
    /// How much is set aside before anything is known of the next frame: it grows with what comes.
    chunk: usize,
    /// See [`Planted::PartialFrame`].
    takes_parts: bool,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads frames of at most `limit` bytes.
    pub fn new(from: R, limit: usize) -> FrameReader<R> {
        FrameReader { from, buffer: BytesMut::new(), limit, chunk: FIRST_CHUNK, takes_parts: false }
    }

    /// With a bug, if one is planted.
    pub(super) fn with(self, planted: Option<Planted>) -> FrameReader<R> {
        FrameReader { takes_parts: planted == Some(Planted::PartialFrame), ..self }
    }

    /// The next frame's length, once it is there; `None` where the stream ends between two frames. To be followed by
    /// [`FrameReader::body`].
    pub async fn length(&mut self) -> Result<Option<usize>, FrameError> {
        while self.buffer.len() < LENGTH {
            if self.fill(self.chunk, usize::MAX).await? == 0 {
                let missing = LENGTH - self.buffer.len();
                return if self.buffer.is_empty() { Ok(None) } else { Err(FrameError::Truncated { missing }) };
            }
        }
        let length = self.buffer.get_i32();
        let size = usize::try_from(length).map_err(|_| FrameError::Negative(length))?;
        if size > self.limit {
            return Err(FrameError::TooLarge { size, limit: self.limit });
        }
        Ok(Some(size))
    }

    /// How many bytes of the frame whose length was read last have come, and of what follows it.
    pub fn come(&self) -> usize {
        self.buffer.len()
    }

    /// Reads more of the frame whose length was read last, and returns that length. May be given up while it waits.
    pub async fn more(&mut self, size: usize) -> Result<usize, FrameError> {
        let missing = size.saturating_sub(self.buffer.len());
        // A few times as much as has come: a lie about the length costs little memory, and the truth few copies.
        let chunk = missing.min((16 * self.buffer.len()).max(READ_CHUNK));
        // What comes after a large frame is left where it is, so that nobody else has a part in its buffer: its
        // records may be stamped in place.
        if self.fill(chunk, if size >= READ_CHUNK { missing } else { usize::MAX }).await? == 0 {
            return Err(FrameError::Truncated { missing });
        }
        Ok(if self.takes_parts { size.min(self.buffer.len()) } else { size })
    }

    /// The bytes of the frame whose length was read last, once all of them have come.
    pub fn take(&mut self, size: usize) -> Bytes {
        if size >= READ_CHUNK && self.buffer.len() == size {
            return std::mem::take(&mut self.buffer).freeze();
        }
        self.buffer.split_to(size).freeze()
    }

    /// The bytes of the frame whose length was read last.
    pub async fn body(&mut self, mut size: usize) -> Result<Bytes, FrameError> {
        while self.buffer.len() < size {
            size = self.more(size).await?;
        }
        Ok(self.take(size))
    }

    /// Reads what there is, at most `most` bytes, and sets `chunk` bytes aside for it where there is no room.
    async fn fill(&mut self, chunk: usize, most: usize) -> Result<usize, FrameError> {
        if self.buffer.capacity() - self.buffer.len() < chunk.min(READ_CHUNK).div_ceil(4) {
            self.buffer.reserve(chunk);
        }
        let read = (&mut self.from).take(most as u64).read_buf(&mut self.buffer).await?;
        if self.buffer.len() == self.buffer.capacity() {
            self.chunk = READ_CHUNK.min(self.chunk * 4);
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    fn frame(bytes: &[u8]) -> Vec<u8> {
        [&(bytes.len() as i32).to_be_bytes(), bytes].concat()
    }

    async fn read_all(pieces: Vec<Vec<u8>>, limit: usize) -> (Vec<Vec<u8>>, Result<(), FrameError>) {
        let (mut to, from) = tokio::io::duplex(1 << 16);
        let writer = async move {
            for piece in pieces {
                to.write_all(&piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let reader = async {
            let (mut reader, mut frames) = (FrameReader::new(from, limit), Vec::new());
            loop {
                match reader.length().await {
                    Ok(None) => return (frames, Ok(())),
                    Ok(Some(size)) => match reader.body(size).await {
                        Ok(bytes) => frames.push(bytes.to_vec()),
                        Err(error) => return (frames, Err(error)),
                    },
                    Err(error) => return (frames, Err(error)),
                }
            }
        };
        tokio::join!(writer, reader).1
    }

    #[tokio::test]
    async fn frames_come_out_whole_however_they_are_cut() {
        let stream = [frame(b"one"), frame(b""), frame(&[7; 5000]), frame(b"last")].concat();
        for step in [1, 2, 3, 5, 4096, stream.len()] {
            let (frames, end) = read_all(stream.chunks(step).map(<[u8]>::to_vec).collect(), 5000).await;
            assert!(end.is_ok(), "in steps of {step}: {end:?}");
            assert_eq!(frames, [b"one".to_vec(), Vec::new(), vec![7; 5000], b"last".to_vec()], "in steps of {step}");
        }
    }

    #[tokio::test]
    async fn a_frame_above_the_limit_is_refused_before_a_byte_of_it_is_read() {
        let (frames, end) = read_all(vec![frame(b"ok"), frame(&[0; 11])], 10).await;
        assert_eq!(frames.len(), 1);
        assert!(matches!(end, Err(FrameError::TooLarge { size: 11, limit: 10 })), "{end:?}");
        let (_, end) = read_all(vec![(-1i32).to_be_bytes().to_vec()], 10).await;
        assert!(matches!(end, Err(FrameError::Negative(-1))), "{end:?}");
    }

    #[tokio::test]
    async fn an_end_within_a_frame_is_told_from_one_between_frames() {
        let whole = frame(b"frame");
        for cut in 1..whole.len() {
            let (frames, end) = read_all(vec![whole[..cut].to_vec()], 10).await;
            assert!(frames.is_empty() && matches!(end, Err(FrameError::Truncated { .. })), "cut at {cut}: {end:?}");
        }
    }

    #[tokio::test]
    async fn a_lie_about_the_length_costs_no_memory() {
        let (mut to, from) = tokio::io::duplex(1 << 16);
        let mut reader = FrameReader::new(from, 1 << 30);
        to.write_all(&(1i32 << 30).to_be_bytes()).await.unwrap();
        let size = reader.length().await.unwrap().unwrap();
        to.write_all(b"a few bytes").await.unwrap();
        drop(to);
        assert!(reader.body(size).await.is_err());
        assert!(reader.buffer.capacity() <= 4 * READ_CHUNK, "{} bytes set aside", reader.buffer.capacity());
    }

    #[tokio::test]
    async fn who_says_little_is_given_little() {
        let (mut to, from) = tokio::io::duplex(1 << 16);
        let mut reader = FrameReader::new(from, 1 << 20);
        for _ in 0..100 {
            to.write_all(&frame(&[7; 30])).await.unwrap();
            let size = reader.length().await.unwrap().unwrap();
            assert_eq!(reader.body(size).await.unwrap().len(), 30);
        }
        assert!(reader.buffer.capacity() <= FIRST_CHUNK, "{} bytes set aside", reader.buffer.capacity());
        // Who says much is read in large pieces.
        to.write_all(&frame(&[7; 50_000])).await.unwrap();
        let size = reader.length().await.unwrap().unwrap();
        assert_eq!(reader.body(size).await.unwrap().len(), 50_000);
        assert!(reader.chunk > FIRST_CHUNK);
    }
}
