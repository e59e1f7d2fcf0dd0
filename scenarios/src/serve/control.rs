//! A small HTTP endpoint, on loopback only: reads the state, injects faults, lifts them. One request at a time, one to a
//! connection; what is longer or slower than it need be is refused. Requests of web pages (they have an `Origin`) are, too.

use super::faults::read;
use super::state::state;
use klamm_world::live::cluster::Cluster;
use klamm_world::live::inject::Injector;
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// Bytes of a request's head, and of its body.
const HEAD: u64 = 16 << 10;
const BODY: usize = 64 << 10;
/// How long a client may take.
const PATIENCE: Duration = Duration::from_secs(5);

const HELP: &str = "\
GET    /state       hosts, leaders, in-sync replicas, groups and their lag, faults in force
POST   /faults      a fault, now: {\"kind\": \"kill\", \"who\": \"leader(orders-0)\", \"for\": \"3s\"}
DELETE /faults/ID   lifts one; what was killed starts again
DELETE /faults      lifts all
";

/// An endpoint that is served by a thread of its own until the process ends.
pub struct Control {
    /// Where.
    pub address: SocketAddr,
}

impl Control {
    /// Begins to serve.
    ///
    /// # Errors
    /// A port that is taken.
    pub fn start(at: SocketAddr, cluster: Arc<Cluster>, injector: Arc<Injector>, seed: u64) -> io::Result<Control> {
        let listener = TcpListener::bind(at)?;
        let address = listener.local_addr()?;
        let body = move || {
            for (n, connection) in listener.incoming().enumerate() {
                let Ok(connection) = connection else { continue };
                if let Err(error) = serve(connection, &cluster, &injector, seed ^ n as u64) {
                    tracing::debug!("control: {error}");
                }
            }
        };
        std::thread::Builder::new().name("control".to_owned()).spawn(body)?;
        Ok(Control { address })
    }
}

struct Asked {
    method: String,
    path: String,
    body: Vec<u8>,
}

fn serve(connection: TcpStream, cluster: &Cluster, injector: &Injector, seed: u64) -> io::Result<()> {
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let asked = ask(&connection)?;
    let refused = asked.is_err();
    let (status, answer) = match asked {
        Ok(asked) => decide(&asked, cluster, injector, seed),
        Err((status, why)) => (status, json!({ "error": why })),
    };
    let body = match answer {
        Value::String(text) => text,
        other => format!("{other}\n"),
    };
    let kind = if body.starts_with('{') { "application/json" } else { "text/plain" };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    (&connection).write_all([head.as_bytes(), body.as_bytes()].concat().as_slice())?;
    if refused {
        // A socket that is closed with bytes unread is reset, and the answer is lost with it.
        connection.shutdown(Shutdown::Write)?;
        io::copy(&mut (&connection).take(HEAD + BODY as u64), &mut io::sink())?;
    }
    Ok(())
}

const BAD: &str = "400 Bad Request";

/// Reads a request, or says what is wrong with it.
fn ask(connection: &TcpStream) -> io::Result<Result<Asked, (&'static str, String)>> {
    let mut from = BufReader::new(connection.take(HEAD + BODY as u64));
    let (mut line, mut head) = (String::new(), 0);
    from.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Ok(Err((BAD, "this is not HTTP".to_owned())));
    };
    let (method, path) = (method.to_owned(), path.to_owned());
    let mut length = 0;
    loop {
        let mut line = String::new();
        head += from.read_line(&mut line)? as u64;
        let line = line.trim_end();
        if head > HEAD {
            return Ok(Err(("431 Request Header Fields Too Large", format!("more than {HEAD} bytes of headers"))));
        }
        if line.is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("origin") {
            return Ok(Err(("403 Forbidden", "not for web pages".to_owned())));
        }
        if name.eq_ignore_ascii_case("content-length") {
            match value.trim().parse() {
                Ok(n) => length = n,
                Err(_) => return Ok(Err((BAD, "a wrong Content-Length".to_owned()))),
            }
        }
    }
    if length > BODY {
        return Ok(Err(("413 Content Too Large", format!("more than {BODY} bytes"))));
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok(Ok(Asked { method, path, body }))
}

fn decide(asked: &Asked, cluster: &Cluster, injector: &Injector, seed: u64) -> (&'static str, Value) {
    let bad = |why: String| (BAD, json!({ "error": why }));
    match (asked.method.as_str(), asked.path.as_str()) {
        ("GET", "/") => ("200 OK", Value::String(HELP.to_owned())),
        ("GET", "/state") => ("200 OK", state(cluster, injector)),
        ("POST", "/faults") => {
            let fault = match serde_json::from_slice(&asked.body) {
                Ok(fault) => fault,
                Err(error) => return bad(format!("not JSON: {error}")),
            };
            let hosts: Vec<&str> = cluster.hosts().iter().map(|h| &*h.name).collect();
            let done = read(fault, &hosts, seed).and_then(|faults| {
                let done = faults.iter().map(|fault| injector.inject(&fault.deed, fault.lasts));
                done.collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())
            });
            match done {
                Ok(done) => {
                    let told = done.iter().map(|(id, what)| json!({ "id": id, "what": what })).collect::<Vec<_>>();
                    ("200 OK", json!({ "done": told }))
                }
                Err(why) => bad(why),
            }
        }
        ("DELETE", "/faults") => {
            let lifted: Result<Vec<_>, _> = injector.in_force().iter().map(|f| injector.lift(f.id)).collect();
            match lifted {
                Ok(lifted) => ("200 OK", json!({ "lifted": lifted.into_iter().flatten().collect::<Vec<_>>() })),
                Err(error) => ("500 Internal Server Error", json!({ "error": error.to_string() })),
            }
        }
        ("DELETE", path) if path.starts_with("/faults/") => {
            let id = path.trim_start_matches("/faults/").parse();
            match id.map(|id| injector.lift(id)) {
                Ok(Ok(Some(what))) => ("200 OK", json!({ "lifted": [what] })),
                Ok(Err(error)) => ("500 Internal Server Error", json!({ "error": error.to_string() })),
                Ok(Ok(None)) | Err(_) => ("404 Not Found", json!({ "error": "no such fault is in force" })),
            }
        }
        _ => ("404 Not Found", json!({ "error": format!("there is no {} {}; see GET /", asked.method, asked.path) })),
    }
}
