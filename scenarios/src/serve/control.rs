//! A small HTTP endpoint, on loopback only: reads the state, injects faults, lifts them.

use super::faults::read_for_now;
use super::http::{self, Answer, Asked, BAD};
use super::state::state;
use klamm_world::live::cluster::Cluster;
use klamm_world::live::inject::Injector;
use serde_json::{Value, json};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

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
        let decides = move |asked: &Asked| decide(asked, &cluster, &injector, seed ^ asked.number);
        Ok(Control { address: http::start(at, decides)? })
    }
}

fn decide(asked: &Asked, cluster: &Cluster, injector: &Injector, seed: u64) -> Answer {
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
            let done = read_for_now(fault, &hosts, seed).and_then(|faults| {
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
            let lifted: Vec<String> = injector.in_force().iter().filter_map(|f| injector.lift(f.id)).collect();
            ("200 OK", json!({ "lifted": lifted }))
        }
        ("DELETE", path) if path.starts_with("/faults/") => {
            let id = path.trim_start_matches("/faults/").parse().ok();
            match id.and_then(|id| injector.lift(id)) {
                Some(what) => ("200 OK", json!({ "lifted": [what] })),
                None => ("404 Not Found", json!({ "error": "no such fault is in force" })),
            }
        }
        _ => ("404 Not Found", json!({ "error": format!("there is no {} {}; see GET /", asked.method, asked.path) })),
    }
}
