//! The tasks of a connection: one reads, one writes. They hold no state of the node's; what they read goes to the process
//! in the order of the stream, and what they write they write in the order they are given it.
//!
//! Back-pressure: a reader takes a place among its connection's requests, and pays for its request's bytes out of the
//! process's budget as they come ([`Hold`]). Both are given back when the answer is on its way. So a client that sends
//! without reading is not read, and all clients together take no more memory than [`Limits`] say.

use super::budget::{Answers, Hold, Owed, Paid, Requests, Unsent};
use super::codec::{CodecError, Incoming, decode_request, decode_response};
use super::complaints::Complaints;
use super::frame::{FrameError, FrameReader};
use super::limits::{Limits, WRITE_CHUNK};
use super::net::{Net, StreamOf, reason};
use super::observer::Fault;
use super::planted::Planted;
use bytes::{Bytes, BytesMut};
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
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

/// What the tasks tell their process.
pub(super) enum News<N: Net> {
    /// Somebody connected; one of [`UNHEARD`] places until it is heard.
    Accepted { listener: Listener, stream: StreamOf<N>, _place: OwnedSemaphorePermit },
    /// A connection that the node asked for is open.
    Connected { conn: ConnId, stream: StreamOf<N> },
    /// A request came.
    Request { conn: ConnId, incoming: Box<Incoming>, hold: Hold },
    /// An answer came.
    Response { conn: ConnId, correlation: i32, version: i16, response: Box<ResponseKind> },
    /// A connection is over, or could not be opened. With the fault, where the socket did not fail.
    Ended { conn: ConnId, reason: DisconnectReason, fault: Option<Fault> },
    /// A task panicked: its process is to look at its tasks.
    Panicked,
}

/// Tells the process if the task that it lives in panics.
struct TellsOfPanic<N: Net>(UnboundedSender<News<N>>);

impl<N: Net> Drop for TellsOfPanic<N> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.0.send(News::Panicked);
        }
    }
}

/// A frame to be written.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) frame: BytesMut,
    /// Given back once the frame is on its way.
    pub(super) hold: Option<Hold>,
    /// What it takes of the memory for answers until then.
    pub(super) owed: Option<Owed>,
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
    Idle(Duration),
    #[error("a frame's bytes took more than {0:?}")]
    Slow(Duration),
    #[error("too few of a frame's bytes came while others waited for memory")]
    Starving,
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
            ReadError::Idle(_) | ReadError::Slow(_) | ReadError::Starving => Some(Fault::Silent(self.to_string())),
            ReadError::Frame(FrameError::Truncated { .. }) => Some(Fault::Truncated(self.to_string())),
            ReadError::Frame(_) | ReadError::Codec(_) => Some(Fault::Malformed(self.to_string())),
        }
    }

    /// In a log, where those of a kind are counted.
    fn kind(&self) -> &'static str {
        match self {
            ReadError::Frame(_) => "bad frames",
            ReadError::Codec(_) => "bad messages",
            ReadError::Idle(_) => "silent connections",
            ReadError::Slow(_) | ReadError::Starving => "slow frames",
        }
    }
}

/// While others wait for memory, a frame of which less than [`LEAST`] bytes come in this time is given up.
const LOOKED_AT: Duration = Duration::from_secs(1);
const LEAST: usize = 64 << 10;
/// Connections that may be accepted and not heard of yet: a process that is paused accepts no more.
const UNHEARD: usize = 128;

/// What the readers of a process share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) limits: Limits,
    pub(super) caps: VersionCaps,
    pub(super) requests: Requests,
    pub(super) answers: Rc<Answers>,
    pub(super) complaints: Rc<Complaints>,
    /// A bug, for tests.
    pub(super) planted: Option<Planted>,
}

/// Says how a reader ended, where there is something to say.
fn told<N: Net>(conn: ConnId, (name, peer): (&str, &str), shared: &Shared, end: Result<(), ReadError>) -> News<N> {
    match end {
        Ok(()) => News::Ended { conn, reason: DisconnectReason::Closed, fault: None },
        Err(error) => {
            match &error {
                ReadError::Frame(FrameError::Io(e)) => tracing::debug!("{name}: the connection with {peer} broke: {e}"),
                _ => {
                    let what = format_args!("closing the connection with {peer}: {error}");
                    shared.complaints.say(name, error.kind(), peer, &what);
                }
            }
            News::Ended { conn, reason: error.reason(), fault: error.fault() }
        }
    }
}

/// The rest of a frame, paid for as it comes.
async fn body<R: AsyncRead + Unpin>(
    frames: &mut FrameReader<R>,
    mut size: usize,
    shared: &Shared,
) -> Result<(Bytes, Paid), ReadError> {
    let (limits, mut paid) = (&shared.limits, Paid::default());
    let (mut until, mut looked) = (Instant::now() + limits.frame_time, (Instant::now(), 0));
    loop {
        let began = Instant::now();
        shared.requests.pay(&mut paid, frames.come(), size).await;
        // Waiting for memory is no fault of the peer's.
        let waited = began.elapsed();
        until += waited;
        looked.0 += waited;
        if frames.come() >= size {
            return Ok((frames.take(size), paid));
        }
        if let Ok(more) = timeout_at(until.min(looked.0 + LOOKED_AT), frames.more(size)).await {
            size = more?;
        }
        let now = Instant::now();
        if now >= until && frames.come() < size {
            return Err(ReadError::Slow(limits.frame_time));
        }
        if now >= looked.0 + LOOKED_AT {
            if shared.requests.are_short() && frames.come() < size.min(looked.1 + LEAST) {
                return Err(ReadError::Starving);
            }
            looked = (now, frames.come());
        }
    }
}

/// Reads requests until the stream ends.
pub(super) async fn read_requests<N: Net>(
    (conn, listener): (ConnId, Listener),
    (name, peer): (Rc<str>, String),
    from: N::Read,
    unsent: Rc<Unsent>,
    shared: Rc<Shared>,
    news: UnboundedSender<News<N>>,
) {
    let _tells = TellsOfPanic(news.clone());
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
            let (body, paid) = body(&mut frames, size, &shared).await?;
            unsent.few().await;
            let incoming = Box::new(decode_request(listener, &shared.caps, body)?);
            let hold = Hold { _place: place, _paid: paid };
            if news.send(News::Request { conn, incoming, hold }).is_err() {
                return Ok(());
            }
        }
    };
    let end = told(conn, (&name, &peer), &shared, read.await);
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
    let _tells = TellsOfPanic(news.clone());
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
    let end = told(conn, (&name, &peer), &shared, read.await);
    let _ = news.send(end);
}

/// Writes frames until nobody will give it any more, and then ends the stream.
pub(super) async fn write<N: Net>(
    conn: ConnId,
    mut to: N::Write,
    mut frames: UnboundedReceiver<Outgoing>,
    unsent: Rc<Unsent>,
    shared: Rc<Shared>,
    news: UnboundedSender<News<N>>,
) {
    let _tells = TellsOfPanic(news.clone());
    let mut held = Vec::new();
    let written = async {
        while let Some(first) = frames.recv().await {
            let mut frame = first.frame;
            held.push((first.hold, first.owed));
            // Small frames go together.
            while frame.len() < WRITE_CHUNK
                && let Ok(next) = frames.try_recv()
            {
                held.push((next.hold, next.owed));
                frame.extend_from_slice(&next.frame);
            }
            write_all(&mut to, &frame, &unsent, &shared.limits).await?;
            held.clear();
        }
        to.shutdown().await
    };
    let end: io::Result<()> = written.await;
    if let Err(error) = end {
        let _ = news.send(News::Ended { conn, reason: reason(&error), fault: None });
    }
}

/// Writes all of `bytes`, each part in its time.
async fn write_all(
    to: &mut (impl AsyncWrite + Unpin),
    mut bytes: &[u8],
    unsent: &Unsent,
    limits: &Limits,
) -> io::Result<()> {
    while !bytes.is_empty() {
        let slow = |_| io::Error::new(io::ErrorKind::TimedOut, "the peer takes no bytes");
        let n = timeout(limits.write_time, to.write(bytes)).await.map_err(slow)??;
        if n == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        unsent.moved();
        bytes = &bytes[n..];
    }
    Ok(())
}

/// Accepts connections for as long as its process lives.
pub(super) async fn accept<N: Net>(
    net: Rc<N>,
    (name, listener): (Rc<str>, Listener),
    socket: N::Listener,
    complaints: Rc<Complaints>,
    news: UnboundedSender<News<N>>,
) {
    /// Pause after a failure, such as having no file descriptors left.
    const PAUSE: Duration = Duration::from_millis(100);
    let _tells = TellsOfPanic(news.clone());
    let places = Arc::new(Semaphore::new(UNHEARD));
    loop {
        let place = places.clone().acquire_owned().await.expect("never closed");
        match net.accept(&socket).await {
            Ok(stream) => {
                if news.send(News::Accepted { listener, stream, _place: place }).is_err() {
                    return;
                }
            }
            Err(error) => {
                let what = format_args!("cannot accept a connection: {error}");
                complaints.say(&name, "connections not accepted", "any peer", &what);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
