//! Turmoil's TCP as the shell's sockets. Turmoil delivers what was written at once as one piece; here writes are cut into
//! segments of drawn sizes, which then travel one by one, so that frames come in parts.

use super::shared::{Line, Shared};
use crate::des::random::{Purpose, below, draw};
use crate::event::HostId;
use crate::shell::net::{Net, Stream};
use ::turmoil::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use ::turmoil::net::{TcpListener, TcpStream};
use klamm_model::node::Endpoint;
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A peer that does not answer a connection is given up, as in `des`.
const CONNECT_TIME: Duration = Duration::from_secs(60);
/// The largest segments, one size for each connection: from dial-up to loopback.
const SEGMENTS: [usize; 4] = [536, 1_448, 8_948, 65_483];
/// One write of so many is cut after a few bytes.
const CUT_ONE_OF: u64 = 8;
/// So few.
const CUT_BYTES: u64 = 16;

const READER: usize = 0;
const WRITER: usize = 1;

/// A port, closed until somebody accepts at it.
pub(super) struct Door {
    port: u16,
    listening: RefCell<Option<Rc<TcpListener>>>,
}

impl Door {
    pub(super) fn new(port: u16) -> Door {
        Door { port, listening: RefCell::default() }
    }
    async fn open(&self) -> io::Result<Rc<TcpListener>> {
        let known = self.listening.borrow().clone();
        if let Some(listener) = known {
            return Ok(listener);
        }
        let listener = Rc::new(TcpListener::bind(("0.0.0.0", self.port)).await?);
        *self.listening.borrow_mut() = Some(listener.clone());
        Ok(listener)
    }
}

/// The network of one host.
pub(super) struct TurmoilNet {
    pub(super) shared: Rc<Shared>,
    pub(super) me: HostId,
}

impl TurmoilNet {
    fn stream(&self, tcp: TcpStream) -> io::Result<Stream<Read, Write>> {
        let (local, peer) = (tcp.local_addr()?, tcp.peer_addr()?);
        let host = self.shared.addresses.borrow().get(&peer.ip()).copied().unwrap_or(self.me);
        let line = self.shared.line(self.me, host);
        let (local, peer) = (local.to_string(), peer.to_string());
        let key = xxh3_64_with_seed(format!("{local} {peer}").as_bytes(), self.shared.seed);
        let segment = SEGMENTS[below(draw(Purpose::Segment, key, 0), SEGMENTS.len() as u64) as usize];
        let (read, write) = tcp.into_split();
        let read = Read { inner: read, line: line.clone(), shared: self.shared.clone() };
        let write = Write { inner: write, line, shared: self.shared.clone(), key, segment, writes: 0 };
        Ok(Stream { read, write, local, peer })
    }
}

impl Net for TurmoilNet {
    type Listener = Door;
    type Read = Read;
    type Write = Write;

    async fn accept(&self, door: &Door) -> io::Result<Stream<Read, Write>> {
        let (tcp, _) = door.open().await?.accept().await?;
        self.stream(tcp)
    }

    async fn connect(&self, to: &Endpoint) -> io::Result<Stream<Read, Write>> {
        let host = self.shared.names.borrow().get(&*to.host).copied();
        let Some(host) = host else { return Err(io::ErrorKind::NotFound.into()) };
        {
            let target = &mut self.shared.hosts.borrow_mut()[usize::from(host.0)];
            if target.unresolvable {
                target.unresolved += 1;
                return Err(io::ErrorKind::NotFound.into());
            }
        }
        self.shared.leaves(self.me, host);
        let connect = TcpStream::connect((to.host.to_string(), to.port));
        let tcp = tokio::time::timeout(CONNECT_TIME, connect).await.map_err(|_| io::ErrorKind::TimedOut)??;
        self.stream(tcp)
    }
}

impl Line {
    fn check(&self) -> io::Result<()> {
        if self.reset.get() { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
    fn wait(&self, direction: usize, cx: &Context<'_>) {
        self.wakers.borrow_mut()[direction] = Some(cx.waker().clone());
    }
}

/// The reading half.
pub(super) struct Read {
    inner: OwnedReadHalf,
    line: Rc<Line>,
    shared: Rc<Shared>,
}

impl AsyncRead for Read {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.line.check()?;
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.inner).poll_read(cx, buf);
        match &polled {
            Poll::Pending => this.line.wait(READER, cx),
            Poll::Ready(_) => this.shared.read(&this.line, &buf.filled()[before..]),
        }
        polled
    }
}

/// The writing half.
pub(super) struct Write {
    inner: OwnedWriteHalf,
    line: Rc<Line>,
    shared: Rc<Shared>,
    key: u64,
    segment: usize,
    writes: u64,
}

impl AsyncWrite for Write {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.line.check()?;
        let drawn = draw(Purpose::Segment, this.key, this.writes + 1);
        let most = if below(drawn, CUT_ONE_OF) == 0 {
            1 + below(drawn.rotate_left(32), CUT_BYTES) as usize
        } else {
            this.segment
        };
        let polled = Pin::new(&mut this.inner).poll_write(cx, &bytes[..bytes.len().min(most)]);
        match &polled {
            Poll::Pending => this.line.wait(WRITER, cx),
            Poll::Ready(_) => {
                this.writes += 1;
                this.shared.leaves(this.line.me, this.line.peer);
            }
        }
        polled
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
