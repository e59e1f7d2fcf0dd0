//! `klamm serve` as a process: what it does with a directory that is another's, a node that gives up, too few file
//! descriptors, peers that misbehave. Everything stays on loopback, is bounded, and ends with its test.

mod common;

use common::Place;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// A server that is killed at the end of its test.
struct Server {
    child: Child,
    bootstrap: String,
    control: Option<SocketAddr>,
    log: PathBuf,
}

impl Server {
    /// Starts one, and waits until it is ready; `None` if it ends before.
    fn try_start(place: &Place, before: &str, args: &str) -> Option<Server> {
        let log = place.path().join(format!("log-{:?}", Instant::now()).replace([' ', '{', '}', ':'], ""));
        let klamm = env!("CARGO_BIN_EXE_klamm");
        let line = format!("{before} exec {klamm} serve --format json {args}");
        let mut child = Command::new("sh")
            .args(["-c", &line])
            .current_dir(place.path())
            .env_remove("KLAMM_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let Ok(told) = serde_json::from_str::<serde_json::Value>(&ready) else {
            child.wait().unwrap();
            return None;
        };
        let control = told["control"].as_str().map(|url| url.trim_start_matches("http://").parse().unwrap());
        Some(Server { child, bootstrap: told["bootstrap"].as_str().unwrap().to_owned(), control, log })
    }
    fn start(place: &Place, args: &str) -> Server {
        Server::try_start(place, "", args).expect("it does not start")
    }
    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
    fn first(&self) -> SocketAddr {
        self.bootstrap.split(',').next().unwrap().parse().unwrap()
    }
    /// Asks the control endpoint.
    fn ask(&self, request: &str, body: &str) -> serde_json::Value {
        let mut tcp = TcpStream::connect(self.control.unwrap()).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        write!(tcp, "{request} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }
    fn host(&self, name: &str) -> serde_json::Value {
        let state = self.ask("GET /state", "");
        state["hosts"].as_array().unwrap().iter().find(|h| h["host"] == name).unwrap().clone()
    }
    /// Waits until something is so.
    fn until(&self, what: &str, mut so: impl FnMut(&Server) -> bool) {
        let began = Instant::now();
        while !so(self) {
            assert!(began.elapsed() < PATIENCE, "never: {what}\n{}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    /// Its exit code.
    fn ends(&mut self) -> i32 {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(began.elapsed() < PATIENCE, "it goes on\n{}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    fn terminate(mut self) -> i32 {
        let kill = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        self.ends()
    }
    /// Seconds of a processor that it has used.
    fn used(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An ApiVersions request of version 0, framed.
fn api_versions(correlation: i32) -> Vec<u8> {
    let mut request = Vec::new();
    request.extend(18i16.to_be_bytes());
    request.extend(0i16.to_be_bytes());
    request.extend(correlation.to_be_bytes());
    request.extend((-1i16).to_be_bytes());
    [&(request.len() as i32).to_be_bytes()[..], &request].concat()
}

/// Whether a broker answers on a connection.
fn answers(tcp: &mut TcpStream) -> bool {
    let mut length = [0; 4];
    tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    if tcp.write_all(&api_versions(7)).is_err() || tcp.read_exact(&mut length).is_err() {
        return false;
    }
    let mut answer = vec![0; i32::from_be_bytes(length) as usize];
    tcp.read_exact(&mut answer).is_ok() && answer[..4] == 7i32.to_be_bytes()
}

/// Whether the other side has closed it.
fn is_closed(tcp: &mut TcpStream) -> bool {
    tcp.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    match tcp.read(&mut [0; 1]) {
        Ok(n) => n == 0,
        Err(error) => !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut),
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn one_directory_is_one_clusters_whatever_the_mode() {
    let place = Place::new();
    let server = Server::start(&place, "--brokers 1 --listen 127.0.0.1:0 --data d/data");
    let (port, controller) = (free_port(), free_port());
    let node = format!("--brokers 1 --listen 127.0.0.1:{port} --controller 127.0.0.1:{controller}");
    let others = [
        "--brokers 1 --listen 127.0.0.1:0 --data d/data".to_owned(),
        "--brokers 1 --listen 127.0.0.1:0 --data d".to_owned(),
        "--brokers 1 --listen 127.0.0.1:0 --data d/data/b1".to_owned(),
        "--brokers 1 --listen 127.0.0.1:0 --data d/data/within/it".to_owned(),
        format!("{node} --data d/data --node broker-1"),
        format!("{node} --data d/data --node controller"),
        format!("{node} --data d/data/within --node broker-1"),
    ];
    for other in &others {
        let args: Vec<&str> = ["serve"].into_iter().chain(other.split(' ')).collect();
        place.klamm(&args).refused(&["is being served by another process"]);
    }
    assert!(!place.path().join("d/data/within").exists(), "nothing is made in another's directory");
    assert_eq!(server.terminate(), 0);
    // One process for each node, and no other beside them.
    let nodes: Vec<Server> =
        ["controller", "broker-1"].map(|n| Server::start(&place, &format!("{node} --data d/data --node {n}"))).into();
    for other in [&others[0], &others[1], &others[2], &others[4], &others[5]] {
        let args: Vec<&str> = ["serve"].into_iter().chain(other.split(' ')).collect();
        place.klamm(&args).refused(&["is being served by another process"]);
    }
    drop(nodes);
    // A lock ends with its process, even one that was killed.
    assert_eq!(Server::start(&place, &others[0]).terminate(), 0);
}

#[test]
fn a_node_that_gives_up_ends_its_process_and_a_failed_start_says_so() {
    let place = Place::new();
    let (port, controller) = (free_port(), free_port());
    // A file where a directory belongs: nothing can be written there.
    place.put("data/c1/__cluster_metadata-0", "x");
    let node = format!("--brokers 1 --listen 127.0.0.1:{port} --controller 127.0.0.1:{controller} --data data");
    let mut alone = Server::start(&place, &format!("{node} --node controller"));
    assert_eq!(alone.ends(), 1, "{}", alone.said());
    assert!(alone.said().contains("c1 gave up"), "{}", alone.said());
    place
        .klamm(&["serve", "--brokers", "1", "--listen", "127.0.0.1:0", "--data", "data"])
        .refused(&["c1 cannot start"]);
}

#[test]
fn a_broker_that_gave_up_is_started_again_and_reported() {
    let place = Place::new();
    let server = Server::start(&place, "--brokers 1 --listen 127.0.0.1:0 --data data");
    let fault = r#"{"kind": "disk-error", "who": "b1", "on": "write"}"#;
    let id = server.ask("POST /faults", fault)["done"][0]["id"].as_u64().unwrap();
    server.until("b1 gives up twice", |s| s.host("b1")["gave-up"].as_u64() >= Some(2));
    server.until("b1 waits", |s| s.host("b1")["state"] == "restarting");
    assert!(server.host("b1")["why"].is_string() && server.host("c1")["state"] == "up");
    assert!(server.said().contains("b1 gave up") && server.said().contains("it starts again in"), "{}", server.said());
    server.ask(&format!("DELETE /faults/{id}"), "");
    server.until("b1 takes part again", |s| s.host("b1")["takes-part"] == true && s.host("b1")["state"] == "up");
    assert!(answers(&mut TcpStream::connect(server.first()).unwrap()));
}

#[test]
fn too_few_descriptors_end_nothing_and_cost_little() {
    let place = Place::new();
    // As few as it can begin with, so that there are none left after a few connections.
    let start = |limit: u32| {
        let before = format!("ulimit -n {limit};");
        Server::try_start(&place, &before, "--brokers 1 --listen 127.0.0.1:0 --data data")
    };
    // With the least of these it may start and have none left for anybody.
    let serves = |limit: u32| {
        let server = start(limit)?;
        let mut early = TcpStream::connect(server.first()).ok()?;
        answers(&mut early).then_some((limit, server, early))
    };
    let (limit, server, mut early) = [34, 36, 40, 48, 64].into_iter().find_map(serves).expect("it serves with 64");
    let used = server.used();
    let began = Instant::now();
    let mut crowd: Vec<TcpStream> = Vec::new();
    while began.elapsed() < Duration::from_secs(4) {
        if crowd.len() < 200 {
            crowd.extend(TcpStream::connect(server.first()));
        } else {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    assert!(answers(&mut early), "who was there before is answered");
    let closed = crowd.iter_mut().map(is_closed).filter(|closed| *closed).count();
    assert!(closed >= 100, "{closed} of {} were closed with a limit of {limit}", crowd.len());
    let busy = server.used() - used;
    assert!(busy < 2.0, "{busy} s of a processor in four seconds");
    drop(crowd);
    server.until("others are let in again", |s| answers(&mut TcpStream::connect(s.first()).unwrap()));
    let said = server.said();
    assert!(!said.contains("gave up") && !said.contains("failed"), "{said}");
    assert!(said.lines().count() < 40, "{said}");
    assert_eq!(server.terminate(), 0);
}

#[test]
fn the_soft_limit_of_open_files_is_raised() {
    let place = Place::new();
    let server = Server::try_start(&place, "ulimit -S -n 64;", "--brokers 3 --listen 127.0.0.1:0").unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.child.id())).unwrap();
    let files: Vec<&str> =
        limits.lines().find(|l| l.starts_with("Max open files")).unwrap().split_whitespace().collect();
    assert_eq!(files[3], files[4], "{files:?}");
}

#[test]
fn bad_frames_do_not_fill_the_log() {
    let place = Place::new();
    let server = Server::start(&place, "--brokers 1 --listen 127.0.0.1:0");
    for _ in 0..500 {
        let mut tcp = TcpStream::connect(server.first()).unwrap();
        tcp.write_all(b"\xff\xff\xff\xffGET / HTTP/1.1").unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let _ = tcp.read(&mut [0; 64]);
    }
    let lines = |s: &Server| s.said().lines().filter(|l| l.contains("frame")).count();
    assert!((1..=4).contains(&lines(&server)), "{}", server.said());
    server.until("the others are counted", |s| {
        s.said().contains("bad frames: and 499 more in the last 10s, of 127.0.0.1")
    });
    assert!(lines(&server) <= 4, "{}", server.said());
}

#[test]
fn sockets_claims() {
    let place = Place::new();
    let server = Server::start(&place, "--brokers 1 --listen 127.0.0.1:0");
    for (peers, sent) in [(6, 10), (100, 10), (100, 70_000)] {
        let mut claims: Vec<TcpStream> = (0..peers).map(|_| TcpStream::connect(server.first()).unwrap()).collect();
        let bytes = [&100_000_000i32.to_be_bytes()[..], &vec![b'x'; sent]].concat();
        claims.iter_mut().for_each(|tcp| tcp.write_all(&bytes).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let began = Instant::now();
        runtime.block_on(async {
            let produced = tokio::time::timeout(Duration::from_secs(8), produce_large(&server.bootstrap)).await;
            assert!(produced.is_ok(), "{peers} peers that sent {sent} bytes of 100,000,000");
        });
        assert!(began.elapsed() < Duration::from_secs(8));
        assert_eq!(claims.iter_mut().map(is_closed).filter(|closed| *closed).count(), 0, "nobody was in need");
    }
}

/// A record that needs memory of its own.
async fn produce_large(bootstrap: &str) {
    use rskafka::client::partition::{Compression, UnknownTopicHandling};
    let client = rskafka::client::ClientBuilder::new(vec![bootstrap.to_owned()]).build().await.unwrap();
    let _ = client.controller_client().unwrap().create_topic("large", 1, 1, 5_000).await;
    let partition = client.partition_client("large", 0, UnknownTopicHandling::Retry).await.unwrap();
    let record = rskafka::record::Record {
        key: None,
        value: Some(vec![b'v'; 500_000]),
        headers: Default::default(),
        timestamp: std::time::SystemTime::now().into(),
    };
    partition.produce(vec![record], Compression::NoCompression).await.unwrap();
}
