//! As much of HTTP as the control endpoint needs: one request to a connection, bounded in bytes, time and number.
//!
//! Only this machine's own programs are answered. A web page whose name was made to lead here (DNS rebinding) is known by its
//! `Host`, one that reaches across by its `Origin`; both are refused.

use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

/// Bytes of a request's head, and of its body.
const HEAD: usize = 16 << 10;
const BODY: usize = 64 << 10;
/// Headers of a request.
const HEADERS: usize = 64;
/// How long a request may take to come, and its answer to go.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections at once. One more takes the place of the one that has been talking longest without having said what it wants.
const CONNECTIONS: usize = 64;
/// Requests that are decided at once.
const DECISIONS: usize = 8;
/// Pause after a connection could not be accepted, such as for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(200);

/// A request.
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) body: Vec<u8>,
    /// Which of the endpoint's requests it is, from 0.
    pub(super) number: u64,
}

/// A status line's end, and what is answered.
pub(super) type Answer = (&'static str, Value);

pub(super) const BAD: &str = "400 Bad Request";

/// What is wrong with a request.
enum Wrong {
    /// It gets an answer.
    Said(&'static str, String),
    /// It does not.
    Gone(io::Error),
}

impl From<io::Error> for Wrong {
    fn from(error: io::Error) -> Wrong {
        Wrong::Gone(error)
    }
}

fn wrong(status: &'static str, why: impl Into<String>) -> Wrong {
    Wrong::Said(status, why.into())
}

/// What a head says of its request.
#[derive(PartialEq, Eq, Debug)]
struct Head {
    method: String,
    path: String,
    /// Bytes of the head, and of the body.
    len: usize,
    body: usize,
    /// The client waits to be told to send the body.
    expects: bool,
}

/// Whether a `Host` means this machine by a name that nobody else can give it.
fn is_own(host: &str, here: IpAddr) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback() || address == here)
}

/// Reads a head; `None` while it is not all there.
fn head(bytes: &[u8], here: IpAddr) -> Result<Option<Head>, Wrong> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let len = match request.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD => return Ok(None),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            let why = format!("more than {HEAD} bytes or {HEADERS} lines of headers");
            return Err(wrong("431 Request Header Fields Too Large", why));
        }
        Err(error) => return Err(wrong(BAD, format!("this is not HTTP: {error}"))),
    };
    let of =
        |name: &'static str| request.headers.iter().filter(move |h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value);
    let hosts: Vec<&[u8]> = of("host").collect();
    match hosts[..] {
        [host] if std::str::from_utf8(host).is_ok_and(|host| is_own(host.trim(), here)) => {}
        [] if request.version == Some(0) => {}
        [_] => return Err(wrong("421 Misdirected Request", "this Host is not here: ask for localhost or 127.0.0.1")),
        _ => return Err(wrong(BAD, "one Host is needed")),
    }
    if of("origin").next().is_some() {
        return Err(wrong("403 Forbidden", "not for web pages"));
    }
    if of("transfer-encoding").next().is_some() {
        return Err(wrong("411 Length Required", "a body needs a Content-Length"));
    }
    let lengths: Vec<Option<usize>> = of("content-length")
        .map(|value| {
            let text = std::str::from_utf8(value).ok()?.trim();
            text.bytes().all(|b| b.is_ascii_digit()).then_some(text)?.parse().ok()
        })
        .collect();
    let body = match lengths[..] {
        [] => 0,
        [Some(n)] => n,
        _ => return Err(wrong(BAD, "a wrong Content-Length")),
    };
    if body > BODY {
        return Err(wrong("413 Content Too Large", format!("more than {BODY} bytes")));
    }
    Ok(Some(Head {
        method: request.method.unwrap_or_default().to_owned(),
        path: request.path.unwrap_or_default().to_owned(),
        len,
        body,
        expects: of("expect").any(|value| value.eq_ignore_ascii_case(b"100-continue")),
    }))
}

async fn ask(tcp: &mut TcpStream, here: IpAddr, number: u64) -> Result<Asked, Wrong> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(head) = head(&bytes, here)? {
            break head;
        }
        if (&mut *tcp).take((HEAD - bytes.len()) as u64).read_buf(&mut bytes).await? == 0 {
            return Err(wrong(BAD, "the request ended before its headers did"));
        }
    };
    let mut body = bytes.split_off(head.len);
    if head.expects && body.len() < head.body {
        tcp.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    while body.len() < head.body {
        let missing = (head.body - body.len()) as u64;
        if (&mut *tcp).take(missing).read_buf(&mut body).await? == 0 {
            return Err(wrong(BAD, "the request ended before its body did"));
        }
    }
    body.truncate(head.body);
    Ok(Asked { method: head.method, path: head.path, body, number })
}

async fn answer(tcp: &mut TcpStream, (status, said): Answer) -> io::Result<()> {
    let body = match said {
        Value::String(text) => text,
        other => format!("{other}\n"),
    };
    let kind = if body.starts_with('{') { "application/json" } else { "text/plain" };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    tcp.write_all([head.as_bytes(), body.as_bytes()].concat().as_slice()).await?;
    tcp.shutdown().await
}

/// One connection, from its request to its answer. `talks` while the request is not all there.
async fn serve<D>(
    mut tcp: TcpStream,
    (here, number): (IpAddr, u64),
    talks: Arc<AtomicBool>,
    decide: Arc<D>,
) -> io::Result<()>
where
    D: Fn(&Asked) -> Answer + Send + Sync + 'static,
{
    let slow = || wrong("408 Request Timeout", format!("the request took more than {PATIENCE:?}"));
    let asked = timeout(PATIENCE, ask(&mut tcp, here, number)).await.unwrap_or_else(|_| Err(slow()));
    talks.store(false, Ordering::Relaxed);
    let refused = asked.is_err();
    let said = match asked {
        Ok(asked) => {
            let decides = tokio::task::spawn_blocking(move || decide(&asked)).await;
            decides.unwrap_or_else(|_| ("500 Internal Server Error", json!({ "error": "this is a defect of klamm's" })))
        }
        Err(Wrong::Said(status, why)) => (status, json!({ "error": why })),
        Err(Wrong::Gone(error)) => return Err(error),
    };
    let slow = |_| io::Error::from(io::ErrorKind::TimedOut);
    timeout(PATIENCE, answer(&mut tcp, said)).await.map_err(slow)??;
    if refused {
        // A socket that is closed with bytes unread is reset, and the answer is lost with it.
        let rest = async { tokio::io::copy(&mut (&mut tcp).take((HEAD + BODY) as u64), &mut tokio::io::sink()).await };
        let _ = timeout(PATIENCE, rest).await;
    }
    Ok(())
}

/// Serves for as long as the process lives.
async fn run<D>(listener: TcpListener, here: IpAddr, decide: Arc<D>)
where
    D: Fn(&Asked) -> Answer + Send + Sync + 'static,
{
    let mut open = JoinSet::new();
    let mut talking: VecDeque<(AbortHandle, Arc<AtomicBool>)> = VecDeque::new();
    let (mut number, mut failing) = (0, false);
    loop {
        let accepted = tokio::select! {
            biased;
            Some(_) = open.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let tcp = match accepted {
            Ok((tcp, _)) => tcp,
            Err(error) => {
                if !failing {
                    tracing::warn!("control: cannot accept a connection: {error}");
                }
                failing = true;
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        failing = false;
        talking.retain(|(task, talks)| !task.is_finished() && talks.load(Ordering::Relaxed));
        if open.len() >= CONNECTIONS {
            match talking.pop_front() {
                Some((longest, _)) => longest.abort(),
                // All have said what they want, and are answered soon.
                None => drop(open.join_next().await),
            }
        }
        let talks = Arc::new(AtomicBool::new(true));
        let task = open.spawn(serve(tcp, (here, number), talks.clone(), decide.clone()));
        talking.push_back((task, talks));
        number += 1;
    }
}

/// Begins to serve on a thread of its own. `decide` may take its time.
///
/// # Errors
/// A port that is taken, or a thread that cannot be started.
pub(super) fn start<D>(at: SocketAddr, decide: D) -> io::Result<SocketAddr>
where
    D: Fn(&Asked) -> Answer + Send + Sync + 'static,
{
    let listener = std::net::TcpListener::bind(at)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(DECISIONS).build()?;
    let listener = {
        let _within = runtime.enter();
        TcpListener::from_std(listener)?
    };
    let body = move || runtime.block_on(run(listener, address.ip(), Arc::new(decide)));
    std::thread::Builder::new().name("control".to_owned()).spawn(body)?;
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::time::Instant;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn read(text: &str) -> Result<Option<Head>, &'static str> {
        head(text.as_bytes(), HERE).map_err(|wrong| match wrong {
            Wrong::Said(status, _) => status,
            Wrong::Gone(_) => "gone",
        })
    }

    #[test]
    fn only_this_machines_own_names_are_hosts() {
        for own in ["localhost", "LOCALHOST:80", "127.0.0.1:8080", "127.9.9.9", "[::1]:9", "[::1]"] {
            assert!(is_own(own, HERE), "{own}");
        }
        for other in
            ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example", "", "10.0.0.1"]
        {
            assert!(!is_own(other, HERE), "{other}");
        }
        assert!(is_own("10.0.0.1:5", "10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn heads_are_read_or_refused() {
        let whole = "POST /faults HTTP/1.1\r\nHost: localhost\r\nContent-Length: 12\r\nExpect: 100-continue\r\n\r\n";
        let read_whole = read(whole).unwrap().unwrap();
        assert_eq!((read_whole.method.as_str(), read_whole.path.as_str()), ("POST", "/faults"));
        assert_eq!((read_whole.len, read_whole.body, read_whole.expects), (whole.len(), 12, true));
        for cut in 0..whole.len() {
            assert_eq!(read(&whole[..cut]), Ok(None), "cut at {cut}");
        }
        let with = |headers: &str| read(&format!("GET / HTTP/1.1\r\n{headers}\r\n"));
        assert_eq!(with("Host: evil.example\r\n"), Err("421 Misdirected Request"));
        assert_eq!(with("Host: localhost\r\nOrigin: http://localhost\r\n"), Err("403 Forbidden"));
        assert_eq!(with(""), Err(BAD));
        assert_eq!(with("Host: localhost\r\nHost: localhost\r\n"), Err(BAD));
        assert!(read("GET / HTTP/1.0\r\n\r\n").unwrap().is_some());
        for length in ["-1", "+1", "x", "1, 1", "99999999999999999999999"] {
            assert_eq!(with(&format!("Host: localhost\r\nContent-Length: {length}\r\n")), Err(BAD), "{length}");
        }
        assert_eq!(with("Host: localhost\r\nContent-Length: 1\r\nContent-Length: 1\r\n"), Err(BAD));
        assert_eq!(with("Host: localhost\r\nContent-Length: 65537\r\n"), Err("413 Content Too Large"));
        assert_eq!(with("Host: localhost\r\nTransfer-Encoding: chunked\r\n"), Err("411 Length Required"));
        let many = format!("Host: localhost\r\n{}", "X: y\r\n".repeat(HEADERS));
        assert_eq!(with(&many), Err("431 Request Header Fields Too Large"));
        assert_eq!(
            with(&format!("Host: localhost\r\nX: {}", "y".repeat(HEAD))),
            Err("431 Request Header Fields Too Large")
        );
        assert_eq!(read("\x16\x03\x01 hello"), Err(BAD));
    }

    fn get(at: SocketAddr) -> String {
        let mut tcp = std::net::TcpStream::connect(at).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        tcp.write_all(b"GET /fast HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut said = String::new();
        tcp.read_to_string(&mut said).unwrap();
        said
    }

    #[test]
    fn slow_peers_and_slow_decisions_hold_up_nobody() {
        let at = start("127.0.0.1:0".parse().unwrap(), |asked: &Asked| {
            if asked.path == "/slow" {
                std::thread::sleep(Duration::from_secs(2));
            }
            ("200 OK", json!({ "path": asked.path }))
        })
        .unwrap();
        // More than there are places, some of which say a byte now and then.
        let mut slow: Vec<_> = (0..3 * CONNECTIONS).map(|_| std::net::TcpStream::connect(at).unwrap()).collect();
        let mut asks = std::net::TcpStream::connect(at).unwrap();
        asks.write_all(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        for _ in 0..3 {
            // Those that were let go are closed.
            slow.iter_mut().for_each(|tcp| drop(tcp.write_all(b"G")));
            let began = Instant::now();
            assert!(get(at).contains("/fast"));
            assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
        }
        let mut said = String::new();
        asks.read_to_string(&mut said).unwrap();
        assert!(said.contains("/slow"), "a request that came is answered: {said}");
    }

    #[test]
    fn what_comes_too_slowly_is_said_to() {
        let at = start("127.0.0.1:0".parse().unwrap(), |_: &Asked| ("200 OK", json!({}))).unwrap();
        let mut tcp = std::net::TcpStream::connect(at).unwrap();
        let began = Instant::now();
        let mut said = String::new();
        tcp.write_all(b"GET / HT").unwrap();
        tcp.read_to_string(&mut said).unwrap();
        assert!(said.contains("408"), "{said}");
        assert!(began.elapsed() < 2 * PATIENCE);
    }
}
