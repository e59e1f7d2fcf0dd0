//! TCP under faults: what passes is delayed or held back by whoever receives it, since only that side can be sure that
//! nothing overtakes.
//!
//! Clients are outside, and receive what nobody here can hold back: what a fault does to the way to them is done to the way
//! from them (a delay), or by not writing (a cut).

use super::board::{Board, CLIENTS, Line, Way, lock};
use super::handles::is_out_of_files;
use crate::shell::net::{Net, Stream};
use bytes::{Buf, Bytes};
use klamm_model::node::Endpoint;
use std::cell::{OnceCell, RefCell};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, Sleep, sleep_until};

/// Bytes taken from a socket at once while they are delayed.
const DELAYED_CHUNK: usize = 16 << 10;
/// Bytes that may be on their way in a delayed connection.
const DELAYED_BYTES: usize = 8 << 20;
/// A peer that does not answer a connection is given up.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// Connections that are turned away at once where there is no descriptor for them.
const TURNED_AWAY: usize = 64;

/// A port that is this process's, and closed: connections to it are refused until somebody accepts.
#[derive(Debug)]
pub struct Door {
    bound: RefCell<Option<TcpSocket>>,
    listening: OnceCell<Rc<TcpListener>>,
    /// A descriptor kept for turning connections away: they get an end, and do not hang.
    spare: RefCell<Option<File>>,
}

impl Door {
    pub(super) fn new(bound: TcpSocket) -> Door {
        let spare = RefCell::new(File::open("/dev/null").ok());
        Door { bound: RefCell::new(Some(bound)), listening: OnceCell::new(), spare }
    }
    fn open(&self) -> io::Result<Rc<TcpListener>> {
        if let Some(listener) = self.listening.get() {
            return Ok(listener.clone());
        }
        let bound = self.bound.take().ok_or(io::ErrorKind::AddrInUse)?;
        let listener = Rc::new(bound.listen(BACKLOG)?);
        Ok(self.listening.get_or_init(|| listener).clone())
    }

    /// There are no descriptors left: whoever waits to be accepted is closed instead. How many that were.
    async fn turn_away(&self, listener: &TcpListener) -> usize {
        drop(self.spare.take());
        let mut count = 0;
        while count < TURNED_AWAY
            && let Ok(Ok(accepted)) = tokio::time::timeout(Duration::ZERO, listener.accept()).await
        {
            drop(accepted);
            count += 1;
        }
        self.spare.replace(File::open("/dev/null").ok());
        count
    }
}

/// The network of one host.
#[derive(Debug)]
pub struct LiveNet {
    /// The host.
    pub me: Arc<str>,
    /// The faults.
    pub board: Arc<Board>,
}

impl LiveNet {
    fn stream(
        &self,
        tcp: TcpStream,
        peer: SocketAddr,
        opened: Option<(u16, Arc<str>)>,
    ) -> io::Result<Stream<LiveRead, LiveWrite>> {
        tcp.set_nodelay(true)?;
        let local = tcp.local_addr().map_or_else(|_| String::new(), |address| address.to_string());
        let line = self.board.line(self.me.clone(), opened.as_ref().map(|(_, peer)| peer.clone()));
        let (read, write) = tcp.into_split();
        let way = Ways { board: self.board.clone(), line, generation: u64::MAX, way: Way::default() };
        let read = LiveRead {
            inner: read,
            ways: way.clone(),
            from_port: peer.port(),
            delayed: VecDeque::new(),
            held: 0,
            sleep: None,
            ended: false,
        };
        let write = LiveWrite { inner: write, ways: way, opened: opened.map(|(port, _)| port) };
        Ok(Stream { read, write, local, peer: peer.to_string() })
    }
}

impl Net for LiveNet {
    type Listener = Door;
    type Read = LiveRead;
    type Write = LiveWrite;

    async fn accept(&self, door: &Door) -> io::Result<Stream<LiveRead, LiveWrite>> {
        let listener = door.open()?;
        loop {
            match listener.accept().await {
                Ok((tcp, peer)) => match self.stream(tcp, peer, None) {
                    Ok(stream) => return Ok(stream),
                    // It is over already.
                    Err(_) => continue,
                },
                Err(error) if is_out_of_files(&error) => {
                    let count = door.turn_away(&listener).await;
                    let told = format!("{error}; {count} were closed; a higher `ulimit -n` helps");
                    return Err(io::Error::new(error.kind(), told));
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn connect(&self, to: &Endpoint) -> io::Result<Stream<LiveRead, LiveWrite>> {
        let resolve = tokio::net::lookup_host((&*to.host, to.port)).await;
        let resolved = resolve.map_err(|e| io::Error::new(io::ErrorKind::NotFound, e))?.next();
        let addr = resolved.ok_or(io::ErrorKind::NotFound)?;
        let peer = self.board.listener(addr.port());
        let connect = async {
            // A cut keeps connections from opening, too.
            let mut changed = self.board.subscribe();
            while self.board.way(&self.me, &peer).cut || self.board.way(&peer, &self.me).cut {
                if changed.changed().await.is_err() {
                    break;
                }
            }
            TcpStream::connect(addr).await
        };
        let tcp = tokio::time::timeout(CONNECT_TIME, connect).await.map_err(|_| io::ErrorKind::TimedOut)??;
        let port = tcp.local_addr()?.port();
        self.board.opened(port, self.me.clone());
        self.stream(tcp, addr, Some((port, peer)))
    }
}

/// What faults do to a connection, looked up again whenever one comes or goes.
#[derive(Clone, Debug)]
struct Ways {
    board: Arc<Board>,
    line: Arc<Line>,
    generation: u64,
    way: Way,
}

const READER: usize = 0;
const WRITER: usize = 1;

impl Ways {
    /// Whether the connection has been reset; if so, the other side is told with a RST when it is dropped.
    fn check_reset(&self, tcp: &TcpStream) -> io::Result<()> {
        if !self.line.reset.load(Ordering::Relaxed) {
            return Ok(());
        }
        tcp.set_zero_linger()?;
        Err(io::ErrorKind::ConnectionReset.into())
    }
    /// The way from the other side, or to it.
    fn look(&mut self, direction: usize) -> Way {
        let generation = self.board.generation();
        if generation == self.generation {
            return self.way;
        }
        let Some(peer) = lock(&self.line.peer).clone() else { return Way::default() };
        self.generation = generation;
        let (me, board) = (&self.line.me, &self.board);
        self.way = if direction == WRITER { board.way(me, &peer) } else { board.way(&peer, me) };
        if direction == READER && &*peer == CLIENTS {
            self.way.delay += board.way(me, &peer).delay;
        }
        self.way
    }
    /// To be polled again when faults change.
    fn wait(&self, direction: usize, cx: &Context<'_>) {
        lock(&self.line.wakers)[direction] = Some(cx.waker().clone());
    }
}

/// The reading half.
#[derive(Debug)]
pub struct LiveRead {
    inner: OwnedReadHalf,
    ways: Ways,
    from_port: u16,
    /// What has come, and when it may be seen.
    delayed: VecDeque<(Instant, Bytes)>,
    held: usize,
    sleep: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

impl LiveRead {
    /// Takes what has come, to be seen later.
    fn take_in(&mut self, delay: Duration, cx: &mut Context<'_>) -> io::Result<()> {
        while !self.ended && self.held < DELAYED_BYTES {
            let mut chunk = vec![0; DELAYED_CHUNK];
            let mut buf = ReadBuf::new(&mut chunk);
            match Pin::new(&mut self.inner).poll_read(cx, &mut buf) {
                Poll::Pending => break,
                Poll::Ready(read) => read?,
            }
            let n = buf.filled().len();
            chunk.truncate(n);
            self.ended = n == 0;
            self.held += n;
            self.delayed.push_back((Instant::now() + delay, chunk.into()));
        }
        Ok(())
    }
}

impl AsyncRead for LiveRead {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.ways.check_reset(this.inner.as_ref())?;
        let way = this.ways.look(READER);
        if way.cut {
            this.ways.wait(READER, cx);
            return Poll::Pending;
        }
        if way.delay.is_zero() && this.delayed.is_empty() {
            let before = buf.filled().len();
            let read = Pin::new(&mut this.inner).poll_read(cx, buf);
            if read.is_pending() {
                this.ways.wait(READER, cx);
                return Poll::Pending;
            }
            // The first bytes: whoever opened the connection has said so by now.
            let unknown = lock(&this.ways.line.peer).is_none();
            if unknown {
                *lock(&this.ways.line.peer) = Some(this.ways.board.opener(this.from_port));
                let way = this.ways.look(READER);
                let came = buf.filled()[before..].to_vec();
                if (way.cut || !way.delay.is_zero()) && !came.is_empty() {
                    buf.set_filled(before);
                    this.held += came.len();
                    this.delayed.push_back((Instant::now() + way.delay, came.into()));
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
            return read;
        }
        this.take_in(way.delay, cx)?;
        this.ways.wait(READER, cx);
        loop {
            let Some((at, bytes)) = this.delayed.front_mut() else { return Poll::Pending };
            if *at > Instant::now() {
                let at = *at;
                let sleep = this.sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
                if sleep.deadline() != at {
                    sleep.as_mut().reset(at);
                }
                ready!(sleep.as_mut().poll(cx));
                continue;
            }
            if bytes.is_empty() {
                return Poll::Ready(Ok(())); // The end of the stream; it stays.
            }
            let n = bytes.len().min(buf.remaining());
            buf.put_slice(&bytes[..n]);
            bytes.advance(n);
            this.held -= n;
            if bytes.is_empty() {
                this.delayed.pop_front();
            }
            return Poll::Ready(Ok(()));
        }
    }
}

/// The writing half.
#[derive(Debug)]
pub struct LiveWrite {
    inner: OwnedWriteHalf,
    ways: Ways,
    /// The port the connection was opened from, if it was opened here.
    opened: Option<u16>,
}

impl AsyncWrite for LiveWrite {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.ways.check_reset(this.inner.as_ref())?;
        if this.ways.look(WRITER).cut {
            this.ways.wait(WRITER, cx);
            return Poll::Pending;
        }
        let written = Pin::new(&mut this.inner).poll_write(cx, buf);
        if written.is_pending() {
            this.ways.wait(WRITER, cx);
        }
        written
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl Drop for LiveWrite {
    fn drop(&mut self) {
        if let Some(port) = self.opened {
            self.ways.board.closed(port);
        }
    }
}
