//! A process behind one end of a pipe, its client's bytes at the other.

use super::codec::{decode_response, encode_request};
use super::disk::{Completion, Disk};
use super::frame::FrameReader;
use super::limits::Limits;
use super::net::{Net, Stream};
use super::observer::{Unmeddled, Unwatched};
use super::process::{Clock, Control, Ending, Parts, run};
use bytes::Bytes;
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use kafka_protocol::protocol::StrBytes;
use klamm_model::Input;
use klamm_model::disk::{DiskOp, DiskToken};
use klamm_model::ids::{ApiKey, Incarnation};
use klamm_model::inspect::{ClientInspection, Inspection};
use klamm_model::node::{Endpoint, Listener, Node, Outbox, Output};
use klamm_model::units::{Duration, Instant, Now, Timestamp};
use klamm_model::versions::VersionCaps;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::cell::RefCell;
use std::future::pending;
use std::io;
use std::rc::Rc;
use tokio::io::{AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, LocalSet, spawn_local};

/// A network of one connection.
struct Pipe;

impl Net for Pipe {
    type Listener = RefCell<Option<DuplexStream>>;
    type Read = ReadHalf<DuplexStream>;
    type Write = WriteHalf<DuplexStream>;

    async fn accept(&self, listener: &Self::Listener) -> io::Result<Stream<Self::Read, Self::Write>> {
        let stream = listener.borrow_mut().take();
        let Some(stream) = stream else { return pending().await };
        let (read, write) = split(stream);
        Ok(Stream { read, write, local: "here".to_owned(), peer: "there".to_owned() })
    }
    async fn connect(&self, _: &Endpoint) -> io::Result<Stream<Self::Read, Self::Write>> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }
}

/// No disk.
struct NoDisk;

impl Disk for NoDisk {
    fn submit(&mut self, _: Instant, _: DiskToken, op: DiskOp) {
        panic!("nobody asks for {op:?}");
    }
    fn done(&mut self, _: Instant, _: &mut Vec<Completion>) {}
    fn due(&self) -> Option<Instant> {
        None
    }
    async fn woken(&mut self) {
        pending().await
    }
}

/// A node that is one function, and says how many inputs it had.
struct Script<F>(F, u32);

impl<F: FnMut(Now, Input, &mut Outbox)> Node for Script<F> {
    fn handle(&mut self, now: Now, input: Input, out: &mut Outbox) {
        self.1 += 1;
        (self.0)(now, input, out);
    }
    fn inspect(&self) -> Inspection {
        Inspection::Client(ClientInspection { pending_sends: u64::from(self.1), ..ClientInspection::default() })
    }
}

/// Starts a process of a node; returns the client's end, its controls, and its end.
fn process(
    node: impl FnMut(Now, Input, &mut Outbox) + 'static,
) -> (DuplexStream, UnboundedSender<Control>, JoinHandle<Ending>) {
    let (client, server) = duplex(1 << 16);
    let (control, controlled) = unbounded_channel();
    let parts = parts(Pipe, RefCell::new(Some(server)), node);
    (client, control, spawn_local(run(parts, controlled)))
}

/// What a process of a node is made of.
fn parts<N: Net>(
    net: N,
    listener: N::Listener,
    node: impl FnMut(Now, Input, &mut Outbox) + 'static,
) -> Parts<N, NoDisk, Unwatched, Unmeddled> {
    Parts {
        name: Rc::from("n"),
        node: Box::new(Script(node, 0)),
        incarnation: Incarnation(1),
        rng: ChaCha8Rng::seed_from_u64(1),
        net: Rc::new(net),
        listeners: vec![(Listener::Client, listener)],
        caps: VersionCaps::default(),
        limits: Limits::default(),
        disk: NoDisk,
        clock: Clock::reading(Instant::from_nanos(5), || Timestamp(0)),
        observer: Unwatched,
        meddler: Unmeddled,
        planted: None,
    }
}

fn request(correlation: i32) -> Bytes {
    let client = StrBytes::from_static_str("test");
    encode_request(&client, correlation, 3, &ApiVersionsRequest::default().into()).unwrap().freeze()
}

async fn handled(control: &UnboundedSender<Control>) -> u64 {
    let (to, from) = oneshot::channel();
    control.send(Control::Inspect(to)).unwrap();
    let Inspection::Client(client) = from.await.unwrap() else { panic!("another node") };
    client.pending_sends
}

#[tokio::test(start_paused = true)]
async fn answers_leave_in_the_order_of_requests_whoever_gives_them_first() {
    let mut came = Vec::new();
    let node = move |_: Now, input: Input, out: &mut Outbox| {
        if let Input::Request { conn, correlation, version, .. } = input {
            came.push((conn, correlation, version));
        }
        if came.len() == 3 {
            for (conn, correlation, version) in came.drain(..).rev() {
                out.respond(conn, correlation, version, ApiVersionsResponse::default());
            }
        }
    };
    let answers = async {
        let (client, _control, _process) = process(node);
        let (read, mut write) = split(client);
        for correlation in [7, 8, 9] {
            write.write_all(&request(correlation)).await.unwrap();
        }
        let mut frames = FrameReader::new(read, 1 << 20);
        for correlation in [7, 8, 9] {
            let size = frames.length().await.unwrap().unwrap();
            let body = frames.body(size).await.unwrap();
            decode_response(ApiKey::ApiVersions, 3, correlation, body).unwrap();
        }
    };
    LocalSet::new().run_until(answers).await;
}

#[tokio::test(start_paused = true)]
async fn requests_written_before_a_close_are_handed_over_and_then_the_end() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let told = seen.clone();
    let node = move |_: Now, input: Input, out: &mut Outbox| match input {
        Input::Request { correlation, .. } => told.borrow_mut().push(correlation),
        Input::Disconnected { .. } => out.push(Output::Exit),
        _ => {}
    };
    let over = async {
        let (mut client, _control, process) = process(node);
        // Three requests and a bit of a fourth, in pieces, and then the end of the stream.
        let bytes = [request(1), request(2), request(3), request(4).slice(..9)].concat();
        for piece in bytes.chunks(5) {
            client.write_all(piece).await.unwrap();
        }
        drop(client);
        assert_eq!(process.await.unwrap(), Ending::Exit);
    };
    LocalSet::new().run_until(over).await;
    assert_eq!(*seen.borrow(), [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_paused_process_hands_over_nothing_though_it_gives_an_account() {
    let ticks = |now: Now, _: Input, out: &mut Outbox| out.wake_at(now.mono + Duration::from_millis(10));
    let paused = async {
        let (mut client, control, _process) = process(ticks);
        tokio::time::sleep(std::time::Duration::from_millis(105)).await;
        let before = handled(&control).await;
        assert!(before >= 10, "{before}");
        control.send(Control::Pause).unwrap();
        client.write_all(&request(1)).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert_eq!(handled(&control).await, before);
        assert_eq!(handled(&control).await, before);
        control.send(Control::Resume).unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(105)).await;
        assert!(handled(&control).await >= before + 10);
    };
    LocalSet::new().run_until(paused).await;
}

/// A network that is broken.
struct Panics;

impl Net for Panics {
    type Listener = ();
    type Read = ReadHalf<DuplexStream>;
    type Write = WriteHalf<DuplexStream>;

    async fn accept(&self, (): &()) -> io::Result<Stream<Self::Read, Self::Write>> {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        panic!("planted")
    }
    async fn connect(&self, _: &Endpoint) -> io::Result<Stream<Self::Read, Self::Write>> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_task_is_its_processs_and_never_a_silence() {
    let over = async {
        let idle = |_: Now, _: Input, _: &mut Outbox| {};
        let (_control, controlled) = unbounded_channel();
        let process = spawn_local(run(parts(Panics, (), idle), controlled));
        let ended = tokio::time::timeout(std::time::Duration::from_secs(5), process).await.expect("it ends");
        assert_eq!(crate::panic_text(ended.unwrap_err().into_panic().as_ref()), "planted");
    };
    LocalSet::new().run_until(over).await;
}
