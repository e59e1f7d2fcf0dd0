//! The same remote calls in the `des` world and in turmoil, in one run, printed as ratios.
//!
//! Echo: five pairs of hosts, 16 calls under way in each, 200 bytes there and back, in turmoil once as they are and once
//! in the messages of Kafka's protocol (Envelope), which whoever tests Kafka's clients there must encode and decode.
//! Heartbeats: fourteen hosts that each call a fifteenth every two seconds; how much virtual time passes in a second of
//! wall time. The `des` side goes through its network, CPU and digest with typed messages; the turmoil side through its
//! TCP, with frames that bear their length, one write for each. Both links take 100 to 400 us (turmoil rounds up to its tick of 1 ms, its
//! default). Rounds alternate, and the median of each side counts, so that a noisy machine is noisy to both.

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::{EnvelopeRequest, EnvelopeResponse, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};
use klamm_benches::rpc::{Counter, echo_pairs, heartbeats};
use klamm_model::units::Duration as Span;
use klamm_world::des::{Sim, Stop};
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use turmoil::net::{TcpListener, TcpStream};

const PAIRS: usize = 5;
const IN_FLIGHT: u32 = 16;
const ECHO_BYTES: usize = 200;
const HOSTS: u64 = 14;
const PERIOD_MS: u64 = 2_000;
const HEARTBEAT_BYTES: usize = 48;
const PORT: u16 = 9092;
/// How long each round of each side goes on, about.
const ROUND: Duration = Duration::from_millis(1_000);
const ROUNDS: usize = 5;

type Any = Box<dyn std::error::Error>;

fn frame(bytes: usize) -> Vec<u8> {
    let mut frame = (bytes as u32).to_be_bytes().to_vec();
    frame.resize(4 + bytes, 7);
    frame
}

/// Reads one frame, its length included.
async fn read_frame(from: &mut (impl AsyncReadExt + Unpin), frame: &mut Vec<u8>) -> std::io::Result<()> {
    frame.resize(4, 0);
    from.read_exact(&mut frame[..4]).await?;
    let length = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize;
    frame.resize(4 + length, 0);
    from.read_exact(&mut frame[4..]).await?;
    Ok(())
}

/// What is in a frame.
#[derive(Clone, Copy)]
enum Content {
    /// Bytes that nobody looks at.
    Plain,
    /// A message with its header, encoded and decoded at both ends.
    Kafka,
}

/// Puts a message with its header into a frame.
fn encode<H: Encodable, M: Encodable + HeaderVersion>(header: &H, message: &M) -> Vec<u8> {
    let mut frame = BytesMut::zeroed(4);
    header.encode(&mut frame, M::header_version(0)).expect("a header");
    message.encode(&mut frame, 0).expect("a message");
    let length = frame.len() as u32 - 4;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame.into()
}

/// Takes a message and its header out of a frame.
fn decode<H: Decodable, M: Decodable + HeaderVersion>(frame: &[u8]) -> (H, M) {
    let mut frame = Bytes::copy_from_slice(frame);
    frame.advance(4);
    let header = H::decode(&mut frame, M::header_version(0)).expect("a header");
    (header, M::decode(&mut frame, 0).expect("a message"))
}

impl Content {
    fn call(self, correlation: i32) -> Vec<u8> {
        match self {
            Content::Plain => frame(ECHO_BYTES),
            Content::Kafka => {
                let header = RequestHeader::default()
                    .with_request_api_key(58)
                    .with_correlation_id(correlation)
                    .with_client_id(Some(StrBytes::from_static_str("echo")));
                encode(&header, &EnvelopeRequest::default().with_request_data(Bytes::from_static(&[7; ECHO_BYTES])))
            }
        }
    }
    fn answer(self, call: Vec<u8>) -> Vec<u8> {
        match self {
            Content::Plain => call,
            Content::Kafka => {
                let (header, request) = decode::<RequestHeader, EnvelopeRequest>(&call);
                let answer = EnvelopeResponse::default().with_response_data(Some(request.request_data));
                encode(&ResponseHeader::default().with_correlation_id(header.correlation_id), &answer)
            }
        }
    }
    fn take(self, answer: &[u8]) {
        if let Content::Kafka = self {
            let (_, response) = decode::<ResponseHeader, EnvelopeResponse>(answer);
            assert!(response.response_data.is_some_and(|d| d.len() == ECHO_BYTES), "an echo");
        }
    }
}

async fn serve(content: Content) -> Result<(), Any> {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            let (read, mut write) = stream.into_split();
            let (mut read, mut frame) = (BufReader::new(read), Vec::new());
            while read_frame(&mut read, &mut frame).await.is_ok() {
                frame = content.answer(frame);
                if write.write_all(&frame).await.is_err() {
                    break;
                }
            }
        });
    }
}

async fn keep_calling(to: String, content: Content, calls: Rc<Cell<u64>>) -> Result<(), Any> {
    let (read, mut write) = TcpStream::connect((to.as_str(), PORT)).await?.into_split();
    let (mut read, mut answer) = (BufReader::new(read), Vec::new());
    for n in 0..IN_FLIGHT {
        write.write_all(&content.call(n as i32)).await?;
    }
    for n in IN_FLIGHT as i32.. {
        read_frame(&mut read, &mut answer).await?;
        content.take(&answer);
        calls.set(calls.get() + 1);
        write.write_all(&content.call(n)).await?;
    }
    Ok(())
}

async fn call_now_and_then(first: Duration, calls: Rc<Cell<u64>>) -> Result<(), Any> {
    let (read, mut write) = TcpStream::connect(("s", PORT)).await?.into_split();
    let (mut read, mut answer, call) = (BufReader::new(read), Vec::new(), frame(HEARTBEAT_BYTES));
    tokio::time::sleep(first).await;
    let mut ticks = tokio::time::interval(Duration::from_millis(PERIOD_MS));
    loop {
        ticks.tick().await;
        write.write_all(&call).await?;
        read_frame(&mut read, &mut answer).await?;
        calls.set(calls.get() + 1);
    }
}

fn turmoil_world() -> turmoil::Sim<'static> {
    turmoil::Builder::new()
        .simulation_duration(Duration::from_secs(1 << 40))
        .min_message_latency(Duration::from_micros(100))
        .max_message_latency(Duration::from_micros(400))
        .tcp_capacity(1 << 16)
        .rng_seed(1)
        .build()
}

/// What a round gave: calls, virtual time, wall time.
struct Round {
    calls: u64,
    virtual_time: Duration,
    wall: Duration,
}

impl Round {
    fn calls_per_second(&self) -> f64 {
        self.calls as f64 / self.wall.as_secs_f64()
    }
    fn virtual_to_wall(&self) -> f64 {
        self.virtual_time.as_secs_f64() / self.wall.as_secs_f64()
    }
}

fn turmoil_round(sim: &mut turmoil::Sim<'static>, calls: &Cell<u64>) -> Round {
    let (before, from, begun) = (calls.get(), sim.elapsed(), Instant::now());
    while begun.elapsed() < ROUND {
        for _ in 0..50 {
            sim.step().expect("nothing fails");
        }
    }
    Round { calls: calls.get() - before, virtual_time: sim.elapsed() - from, wall: begun.elapsed() }
}

fn des_round(sim: &mut Sim, step: Span) -> Round {
    let (from, begun, mut counter) = (sim.now(), Instant::now(), Counter::default());
    while begun.elapsed() < ROUND {
        let until = sim.now() + step;
        assert_eq!(sim.run_until(until, &mut counter), Stop::Reached);
    }
    let virtual_time = Duration::from_nanos(sim.now().since(from).as_nanos());
    Round { calls: counter.calls, virtual_time, wall: begun.elapsed() }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn compare(
    name: &str,
    unit: &str,
    target: f64,
    figure: fn(&Round) -> f64,
    mut des: impl FnMut() -> Round,
    mut turmoil: impl FnMut() -> Round,
) {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    // The first round of each warms up.
    for round in 0..=ROUNDS {
        let (a, b) = (des(), turmoil());
        assert!(a.calls > 0 && b.calls > 0, "both sides call");
        if round > 0 {
            ours.push(figure(&a));
            theirs.push(figure(&b));
        }
    }
    let (ours, theirs) = (median(ours), median(theirs));
    println!(
        "{name:<34} des {ours:>12.0} {unit:<16} turmoil {theirs:>10.0} {unit:<16} ratio {:>7.1}  (target {target})",
        ours / theirs
    );
}

fn main() {
    // `cargo test --benches` only wants to know that it builds.
    if std::env::args().any(|a| a == "--test") {
        return;
    }
    println!("median of {ROUNDS} rounds of {ROUND:?} each, alternating; one core");
    for (name, content) in
        [("echo, 5 pairs, 16 in flight, 200 B", Content::Plain), ("the same in Kafka's messages", Content::Kafka)]
    {
        let echoed = Rc::new(Cell::new(0));
        let mut pairs = turmoil_world();
        for n in 0..PAIRS {
            pairs.host(format!("s{n}"), move || serve(content));
            pairs.client(format!("c{n}"), keep_calling(format!("s{n}"), content, echoed.clone()));
        }
        let mut ours = echo_pairs(PAIRS, IN_FLIGHT, ECHO_BYTES);
        compare(
            name,
            "calls/s",
            3.0,
            Round::calls_per_second,
            || des_round(&mut ours, Span::from_millis(10)),
            || turmoil_round(&mut pairs, &echoed),
        );
    }

    let beaten = Rc::new(Cell::new(0));
    let mut hosts = turmoil_world();
    hosts.host("s", || serve(Content::Plain));
    for n in 0..HOSTS {
        let first = Duration::from_millis(PERIOD_MS * n / HOSTS);
        hosts.client(format!("c{n}"), call_now_and_then(first, beaten.clone()));
    }
    let mut ours = heartbeats(HOSTS, Span::from_millis(PERIOD_MS), HEARTBEAT_BYTES);
    compare(
        "heartbeats, 14 hosts, every 2 s",
        "virtual s/s",
        500.0,
        Round::virtual_to_wall,
        || des_round(&mut ours, Span::from_secs(60)),
        || turmoil_round(&mut hosts, &beaten),
    );
}
