//! `klamm serve` beside other brokers that run in one process: records per second that librdkafka gets in and out again.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml -- klamm=127.0.0.1:19092 other=127.0.0.1:9092 mock`
//!
//! Each argument is a name with a bootstrap address, or `mock`: librdkafka's own mock cluster, in this process. One
//! partition on one broker, linger 5 ms, no compression. Every row is measured for one broker after the other, and so
//! again and again; the median counts, so that a noisy machine is noisy to all of them. The mock keeps only the last
//! 5 MiB of a partition, so nothing is read back from it.

use anyhow::{Context, Result, ensure};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const ROUNDS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(120);

/// Size of values in bytes, and how many records of it.
const SIZES: [(usize, u64); 2] = [(100, 1_000_000), (1024, 300_000)];
const ACKS: [&str; 2] = ["1", "all"];

struct Peer {
    name: String,
    bootstrap: String,
    keeps_all: bool,
}

/// Counts what became of records.
#[derive(Default)]
struct Counts {
    delivered: AtomicU64,
    failed: AtomicU64,
}

struct Counting(Arc<Counts>);

impl ClientContext for Counting {}

impl ProducerContext for Counting {
    type DeliveryOpaque = ();
    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let count = if result.is_ok() { &self.0.delivered } else { &self.0.failed };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

fn config(peer: &Peer) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &peer.bootstrap).set("log_level", "0");
    config
}

/// Records per second until the last is acknowledged.
fn produce(peer: &Peer, topic: &str, acks: &str, size: usize, count: u64) -> Result<f64> {
    let counts = Arc::new(Counts::default());
    let producer: BaseProducer<Counting> = config(peer)
        .set("acks", acks)
        .set("linger.ms", "5")
        .set("queue.buffering.max.messages", "1000000")
        .set("queue.buffering.max.kbytes", "1048576")
        .create_with_context(Counting(counts.clone()))?;
    let value = vec![b'x'; size];
    let began = Instant::now();
    for n in 0..count {
        let mut record = BaseRecord::<(), [u8]>::to(topic).payload(&value).partition(0);
        while let Err((error, back)) = producer.send(record) {
            ensure!(error == KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), "{}: {error}", peer.name);
            producer.poll(Duration::from_millis(5));
            record = back;
        }
        if n % 1_000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(PATIENCE)?;
    let took = began.elapsed();
    let (delivered, failed) = (counts.delivered.load(Ordering::Relaxed), counts.failed.load(Ordering::Relaxed));
    ensure!(delivered == count && failed == 0, "{}: {delivered} of {count} delivered, {failed} failed", peer.name);
    Ok(count as f64 / took.as_secs_f64())
}

/// Records per second from the first byte asked for until the last record is there.
fn consume(peer: &Peer, topic: &str, size: usize, count: u64) -> Result<f64> {
    let consumer: BaseConsumer = config(peer)
        .set("group.id", "peers")
        .set("enable.auto.commit", "false")
        // Else a client whose queue was full once waits a second before it asks again, however fast it reads.
        .set("fetch.queue.backoff.ms", "1")
        .create()?;
    let mut place = TopicPartitionList::new();
    place.add_partition_offset(topic, 0, Offset::Beginning)?;
    let began = Instant::now();
    consumer.assign(&place)?;
    let mut seen = 0;
    while seen < count {
        ensure!(began.elapsed() < PATIENCE, "{}: {seen} of {count} records came out", peer.name);
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            let message = message.with_context(|| format!("{}: reading {topic}", peer.name))?;
            let length = message.payload_len();
            ensure!(length == size, "{}: a record of {length} bytes, {size} were sent", peer.name);
            seen += 1;
        }
    }
    Ok(count as f64 / began.elapsed().as_secs_f64())
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn row(what: &str, peers: &[Peer], figures: &[Vec<f64>]) {
    let medians: Vec<Option<f64>> = figures.iter().map(|f| (!f.is_empty()).then(|| median(f.clone()))).collect();
    let best = medians.iter().flatten().copied().fold(0.0, f64::max);
    print!("| {what} |");
    for figure in medians.iter().take(peers.len()) {
        match figure {
            Some(f) => print!(" {:.0} k/s ({:.2}) |", f / 1e3, f / best),
            None => print!(" - |"),
        }
    }
    println!();
}

fn main() -> Result<()> {
    let mock = MockCluster::new(1)?;
    let mut peers = Vec::new();
    for argument in std::env::args().skip(1) {
        peers.push(match argument.split_once('=') {
            Some((name, at)) => Peer { name: name.to_owned(), bootstrap: at.to_owned(), keeps_all: true },
            None if argument == "mock" => {
                Peer { name: "librdkafka's mock".to_owned(), bootstrap: mock.bootstrap_servers(), keeps_all: false }
            }
            None => anyhow::bail!("`{argument}` is neither NAME=HOST:PORT nor mock"),
        });
    }
    ensure!(!peers.is_empty(), "whom to measure? NAME=HOST:PORT ... mock");
    println!("median of {ROUNDS} rounds, records per second (share of the best)\n");
    println!("| |{}", peers.iter().map(|p| format!(" {} |", p.name)).collect::<String>());
    println!("|---|{}", "---|".repeat(peers.len()));
    for (size, count) in SIZES {
        for acks in ACKS {
            let mut wrote = vec![Vec::new(); peers.len()];
            let mut read = vec![Vec::new(); peers.len()];
            for round in 0..ROUNDS {
                for (n, peer) in peers.iter().enumerate() {
                    let topic = format!("peers-{size}-{acks}-{round}-{}", std::process::id());
                    create(peer, &topic);
                    wrote[n].push(produce(peer, &topic, acks, size, count)?);
                    if peer.keeps_all {
                        read[n].push(consume(peer, &topic, size, count)?);
                    }
                    delete(peer, &topic);
                }
            }
            row(&format!("{size} B, acks={acks}, produced"), &peers, &wrote);
            row(&format!("{size} B, acks={acks}, consumed"), &peers, &read);
        }
    }
    Ok(())
}

fn admin(peer: &Peer) -> Result<AdminClient<DefaultClientContext>> {
    Ok(config(peer).create()?)
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(Duration::from_secs(3)))
}

/// Makes a topic. A broker that does not answer this makes topics as they are written to, or the first record says why not.
fn create(peer: &Peer, topic: &str) {
    if let (true, Ok(admin)) = (peer.keeps_all, admin(peer)) {
        let new = NewTopic::new(topic, 1, TopicReplication::Fixed(1));
        let _ = block_on(admin.create_topics([&new], &options()));
    }
}

/// Gives a broker in memory its memory back; one that cannot keeps it.
fn delete(peer: &Peer, topic: &str) {
    if let (true, Ok(admin)) = (peer.keeps_all, admin(peer)) {
        let _ = block_on(admin.delete_topics(&[topic], &options()));
    }
}

/// Waits for the admin client's futures, which threads of librdkafka wake.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(done) => return done,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}
