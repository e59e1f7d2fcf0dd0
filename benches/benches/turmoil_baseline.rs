//! The same remote calls in the `des` world and in turmoil, in one run, printed as ratios.
//!
//! Echo: five pairs of hosts, 16 calls under way in each, 200 bytes there and back. Heartbeats: fourteen hosts that
//! each call a fifteenth every two seconds; how much virtual time passes in a second of wall time. The `des` side goes
//! through its network, CPU and digest with typed messages; the turmoil side through its TCP, with frames that bear
//! their length, one write for each. Both links take 100 to 400 us (turmoil rounds up to its tick of 1 ms, its
//! default). Rounds alternate, and the median of each side counts, so that a noisy machine is noisy to both.

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

async fn serve() -> Result<(), Any> {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            let (read, mut write) = stream.into_split();
            let (mut read, mut frame) = (BufReader::new(read), Vec::new());
            while read_frame(&mut read, &mut frame).await.is_ok() {
                if write.write_all(&frame).await.is_err() {
                    break;
                }
            }
        });
    }
}

async fn keep_calling(to: String, calls: Rc<Cell<u64>>) -> Result<(), Any> {
    let (read, mut write) = TcpStream::connect((to.as_str(), PORT)).await?.into_split();
    let (mut read, mut answer, call) = (BufReader::new(read), Vec::new(), frame(ECHO_BYTES));
    for _ in 0..IN_FLIGHT {
        write.write_all(&call).await?;
    }
    loop {
        read_frame(&mut read, &mut answer).await?;
        calls.set(calls.get() + 1);
        write.write_all(&call).await?;
    }
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
    let echoed = Rc::new(Cell::new(0));
    let mut pairs = turmoil_world();
    for n in 0..PAIRS {
        pairs.host(format!("s{n}"), serve);
        pairs.client(format!("c{n}"), keep_calling(format!("s{n}"), echoed.clone()));
    }
    let mut ours = echo_pairs(PAIRS, IN_FLIGHT, ECHO_BYTES);
    compare(
        "echo, 5 pairs, 16 in flight, 200 B",
        "calls/s",
        3.0,
        Round::calls_per_second,
        || des_round(&mut ours, Span::from_millis(10)),
        || turmoil_round(&mut pairs, &echoed),
    );

    let beaten = Rc::new(Cell::new(0));
    let mut hosts = turmoil_world();
    hosts.host("s", serve);
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
