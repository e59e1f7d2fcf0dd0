//! The tasks of a connection: one reads, one writes. They hold no state of the node's; what they read goes to the process
//! in the order of the stream, and what they write they write in the order they are given it.
//!
//! Back-pressure: a reader takes a place among its connection's requests, and its request's bytes out of the process's
//! budget, before it reads the request ([`Hold`]). Both are given back when the answer is on its way. So a client that sends
//! without reading is not read, and all clients together take no more memory than [`Limits`] say.

use super::codec::{CodecError, Incoming, decode_request, decode_response};
use super::frame::{FrameError, FrameReader};
use super::limits::{Limits, WRITE_CHUNK};
use super::net::{Net, StreamOf, reason};
use super::observer::Fault;
use super::planted::Planted;
use bytes::BytesMut;
use kafka_protocol::messages::ResponseKind;
use klamm_model::ids::ApiKey;
use klamm_model::node::Listener;
use klamm_model::versions::VersionCaps;
use klamm_model::{ConnId, DisconnectReason};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// What a request that is not answered yet takes of the process: its place and its bytes.
#[derive(Debug)]
pub(super) struct Hold {
    _place: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
    _rest: Option<OwnedSemaphorePermit>,
}

/// What the tasks tell their process.
pub(super) enum News<N: Net> {
    /// Somebody connected.
    Accepted { listener: Listener, stream: StreamOf<N> },
    /// A connection that the node asked for is open.
    Connected { conn: ConnId, stream: StreamOf<N> },
    /// A request came.
    Request { conn: ConnId, incoming: Box<Incoming>, hold: Hold },
    /// An answer came.
    Response { conn: ConnId, correlation: i32, version: i16, response: Box<ResponseKind> },
    /// A connection is over, or could not be opened. With the fault, where the socket did not fail.
    Ended { conn: ConnId, reason: DisconnectReason, fault: Option<Fault> },
}

/// A frame to be written.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) frame: BytesMut,
    /// Given back once the frame is on its way.
    pub(super) hold: Option<Hold>,
}

/// Requests that an outgoing connection waits for answers to, oldest first: correlation id, API, version.
pub(super) type Asked = Rc<RefCell<VecDeque<(i32, ApiKey, i16)>>>;

/// Why a connection is not read any further.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("nothing was heard of it for {0:?}")]
    Idle(std::time::Duration),
    #[error("a frame's bytes took more than {0:?}")]
    Slow(std::time::Duration),
}

impl ReadError {
    fn reason(&self) -> DisconnectReason {
        match self {
            ReadError::Frame(FrameError::Io(e)) => reason(e),
            _ => DisconnectReason::Closed,
        }
    }

    fn fault(&self) -> Option<Fault> {
        match self {
            ReadError::Frame(FrameError::Io(_)) => None,
            ReadError::Idle(_) | ReadError::Slow(_) => Some(Fault::Silent(self.to_string())),
            ReadError::Frame(FrameError::Truncated { .. }) => Some(Fault::Truncated(self.to_string())),
            ReadError::Frame(_) | ReadError::Codec(_) => Some(Fault::Malformed(self.to_string())),
        }
    }
}

/// Bytes that a frame's announcement alone sets aside; the rest of them once these have come.
const CLAIMED: usize = 64 << 10;

/// What the readers of a process share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) limits: Limits,
    pub(super) caps: VersionCaps,
    /// Bytes of requests that may be in flight: of each its first [`CLAIMED`].
    pub(super) bytes: Arc<Semaphore>,
    /// Bytes of large requests that may be in flight, beyond those.
    pub(super) rest: Arc<Semaphore>,
    /// A bug, for tests.
    pub(super) planted: Option<Planted>,
}

/// Says how a reader ended, where there is something to say.
fn told<N: Net>(conn: ConnId, (name, peer): (&str, &str), end: Result<(), ReadError>) -> News<N> {
    match end {
        Ok(()) => News::Ended { conn, reason: DisconnectReason::Closed, fault: None },
        Err(error) => {
            match &error {
                ReadError::Frame(FrameError::Io(e)) => tracing::debug!("{name}: the connection with {peer} broke: {e}"),
                _ => tracing::warn!("{name}: closing the connection with {peer}: {error}"),
            }
            News::Ended { conn, reason: error.reason(), fault: error.fault() }
        }
    }
}

/// Reads requests until the stream ends.
pub(super) async fn read_requests<N: Net>(
    (conn, listener): (ConnId, Listener),
    (name, peer): (Rc<str>, String),
    from: N::Read,
    shared: Rc<Shared>,
    news: UnboundedSender<News<N>>,
) {
    let limits = &shared.limits;
    let most = limits.requests_per_connection;
    let places = Arc::new(Semaphore::new(most));
    let mut frames = FrameReader::new(from, limits.frame_bytes).with(shared.planted);
    let read = async {
        loop {
            let size = match timeout(limits.idle, frames.length()).await {
                Ok(length) => match length? {
                    Some(size) => size,
                    None => return Ok(()),
                },
                // It may be waiting for an answer.
                Err(_) if places.available_permits() < most => continue,
                Err(_) => return Err(ReadError::Idle(limits.idle)),
            };
            let place = places.clone().acquire_owned().await.expect("never closed");
            // A length is a claim: what is set aside for it, others cannot have. The peer sends a part of a large frame first.
            let part = size.min(CLAIMED);
            let bytes = shared.bytes.clone().acquire_many_owned(part as u32).await.expect("never closed");
            let mut rest = None;
            if size > part {
                let begun = timeout(limits.frame_time, frames.begun(part)).await;
                begun.map_err(|_| ReadError::Slow(limits.frame_time))??;
                let weight = u32::try_from(size - part).unwrap_or(u32::MAX);
                rest = Some(shared.rest.clone().acquire_many_owned(weight).await.expect("never closed"));
            }
            let body = timeout(limits.frame_time, frames.body(size)).await;
            let body = body.map_err(|_| ReadError::Slow(limits.frame_time))??;
            let incoming = Box::new(decode_request(listener, &shared.caps, body)?);
            let hold = Hold { _place: place, _bytes: bytes, _rest: rest };
            if news.send(News::Request { conn, incoming, hold }).is_err() {
                return Ok(());
            }
        }
    };
    let end = told(conn, (&name, &peer), read.await);
    let _ = news.send(end);
}

/// Reads answers until the stream ends.
pub(super) async fn read_responses<N: Net>(
    conn: ConnId,
    (name, peer): (Rc<str>, String),
    from: N::Read,
    asked: Asked,
    shared: Rc<Shared>,
    news: UnboundedSender<News<N>>,
) {
    let limits = &shared.limits;
    let mut frames = FrameReader::new(from, limits.frame_bytes).with(shared.planted);
    let read = async {
        loop {
            let Some(size) = frames.length().await? else { return Ok(()) };
            let body = timeout(limits.frame_time, frames.body(size)).await;
            let body = body.map_err(|_| ReadError::Slow(limits.frame_time))??;
            let oldest = asked.borrow_mut().pop_front();
            let Some((correlation, api, version)) = oldest else {
                let answered = body.first_chunk().map_or(-1, |id| i32::from_be_bytes(*id));
                return Err(CodecError::Unasked(answered).into());
            };
            let response = Box::new(decode_response(api, version, correlation, body)?);
            if news.send(News::Response { conn, correlation, version, response }).is_err() {
                return Ok(());
            }
        }
    };
    let end = told(conn, (&name, &peer), read.await);
    let _ = news.send(end);
}

/// Writes frames until nobody will give it any more, and then ends the stream.
pub(super) async fn write<N: Net>(
    conn: ConnId,
    mut to: N::Write,
    mut frames: UnboundedReceiver<Outgoing>,
    shared: Rc<Shared>,
    news: UnboundedSender<News<N>>,
) {
    let mut holds = Vec::new();
    let written = async {
        while let Some(first) = frames.recv().await {
            let mut frame = first.frame;
            holds.extend(first.hold);
            // Small frames go together.
            while frame.len() < WRITE_CHUNK
                && let Ok(next) = frames.try_recv()
            {
                holds.extend(next.hold);
                frame.extend_from_slice(&next.frame);
            }
            write_all(&mut to, &frame, &shared.limits).await?;
            holds.clear();
        }
        to.shutdown().await
    };
    let end: io::Result<()> = written.await;
    if let Err(error) = end {
        let _ = news.send(News::Ended { conn, reason: reason(&error), fault: None });
    }
}

/// Writes all of `bytes`, each part in its time.
async fn write_all(to: &mut (impl AsyncWrite + Unpin), mut bytes: &[u8], limits: &Limits) -> io::Result<()> {
    while !bytes.is_empty() {
        let slow = |_| io::Error::new(io::ErrorKind::TimedOut, "the peer takes no bytes");
        let n = timeout(limits.write_time, to.write(bytes)).await.map_err(slow)??;
        if n == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[n..];
    }
    Ok(())
}

/// Accepts connections for as long as its process lives.
pub(super) async fn accept<N: Net>(
    net: Rc<N>,
    (name, listener): (Rc<str>, Listener),
    socket: N::Listener,
    news: UnboundedSender<News<N>>,
) {
    /// Pause after a failure, such as having no file descriptors left.
    const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);
    loop {
        match net.accept(&socket).await {
            Ok(stream) => {
                if news.send(News::Accepted { listener, stream }).is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!("{name}: cannot accept a connection: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
