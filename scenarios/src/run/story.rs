//! Events in words, for traces and witnesses. Short: what a reader of a failure needs, not all there is.

use kafka_protocol::messages::{RequestKind, ResponseKind};
use klamm_model::disk::{DiskOp, DiskReply};
use klamm_model::record::batches;
use klamm_model::trace::TraceEvent;
use klamm_world::event::{ConnEnd, Ending, Event, What};
use klamm_world::world::World;
use std::fmt::Write;

/// One event in words.
pub fn tell(event: &Event<'_>, sim_name: &dyn Fn(ConnEnd) -> String) -> (&'static str, String) {
    match &event.what {
        What::Phase(phase) => ("phase", format!("{phase:?} begins")),
        What::Started { incarnation } => ("started", format!("process starts, incarnation {incarnation}")),
        What::Ended { incarnation, how } => ("ended", format!("incarnation {incarnation} ends: {}", ending(how))),
        What::Fault { action, over } => ("fault", format!("{}{action:?}", if *over { "over: " } else { "" })),
        What::PowerLost { lost } => ("power-lost", format!("power lost; unsynced data gone: {}", ranges(lost))),
        What::Damaged { ranges: r } => ("damaged", format!("data damaged: {}", ranges(r))),
        What::TimerFired => ("timer", String::new()),
        What::ShutdownAsked => ("shutdown-asked", "SIGTERM".to_owned()),
        What::Connected { from, to, listener } => {
            ("connected", format!("{} to {} ({listener:?})", sim_name(*from), sim_name(*to)))
        }
        What::Disconnected { conn, reason } => ("disconnected", format!("{conn:?}: {reason:?}")),
        What::Connecting { conn, to } => ("connecting", format!("{conn:?} to {to}")),
        What::RequestSent { to, correlation, version, request, .. } => {
            ("request-sent", format!("to {} #{correlation} v{version} {}", sim_name(*to), asked(request)))
        }
        What::RequestTaken { from, correlation, version, request, .. } => {
            ("request-taken", format!("from {} #{correlation} v{version} {}", sim_name(*from), asked(request)))
        }
        What::ResponseSent { to, correlation, response, .. } => {
            ("response-sent", format!("to {} #{correlation} {}", sim_name(*to), answered(response)))
        }
        What::ResponseTaken { from, correlation, response, .. } => {
            ("response-taken", format!("from {} #{correlation} {}", sim_name(*from), answered(response)))
        }
        What::DiskAsked { op } => ("disk-asked", disk(op)),
        What::DiskDone { op, result } => match result {
            Ok(DiskReply::Data(data)) => {
                ("disk-done", format!("{}: {} bytes", disk(op), data.iter().map(|d| d.len()).sum::<usize>()))
            }
            Ok(_) => ("disk-done", disk(op)),
            Err(e) => ("disk-failed", format!("{}: {e}", disk(op))),
        },
        What::Trace(TraceEvent::Mark { mark }) => ("mark", (*mark).to_owned()),
        What::Trace(e) => ("trace", short(&format!("{e:?}"), 600)),
        What::Op(op) => ("op", short(&format!("{op:?}"), 400)),
    }
}

/// Names a connection's end by its node.
pub fn namer(sim: &dyn World) -> impl Fn(ConnEnd) -> String + use<> {
    let names: Vec<String> = sim.nodes().map(|n| sim.node_name(n).to_owned()).collect();
    move |end| names.get(usize::from(end.node.0)).cloned().unwrap_or_default()
}

fn ending(how: &Ending) -> String {
    match how {
        Ending::Exit => "in order".to_owned(),
        Ending::Halt { reason } => format!("it gives up: {reason}"),
        Ending::Killed => "killed".to_owned(),
        Ending::PowerLost => "power lost".to_owned(),
        Ending::Panicked { message } => format!("panic: {message}"),
    }
}

fn ranges(lost: &[klamm_world::event::LostData]) -> String {
    let list: Vec<String> = lost.iter().map(|l| format!("{} [{}, {})", l.file, l.from, l.to)).collect();
    if list.is_empty() { "nothing".to_owned() } else { list.join(", ") }
}

fn disk(op: &DiskOp) -> String {
    match op {
        DiskOp::Append { file, data } => format!("append {} bytes to {file}{}", data.len(), held(file.as_str(), data)),
        DiskOp::Write { file, data } => format!("write {} bytes as {file}", data.len()),
        DiskOp::Read { ranges } => {
            let list: Vec<String> = ranges.iter().map(|r| format!("{} at {} +{}", r.file, r.pos, r.len)).collect();
            format!("read {}", list.join(", "))
        }
        DiskOp::Fsync { file } => format!("fsync {file}"),
        DiskOp::FsyncDir { dir } => format!("fsync directory {dir}"),
        DiskOp::Truncate { file, len } => format!("truncate {file} to {len}"),
        DiskOp::Rename { from, to } => format!("rename {from} to {to}"),
        DiskOp::Delete { path } => format!("delete {path}"),
        DiskOp::List { dir } => format!("list {dir}"),
    }
}

fn held(file: &str, data: &bytes::Bytes) -> String {
    if file.ends_with(".log") { records(Some(data)) } else { String::new() }
}

/// What record batches hold: offsets and epochs.
fn records(data: Option<&bytes::Bytes>) -> String {
    let Some(data) = data else { return String::new() };
    let mut text = String::new();
    for batch in batches(data).take(8) {
        match batch {
            Ok((h, _)) => {
                let _ = write!(text, " [{}..={} epoch {}", h.base_offset, h.last_offset(), h.leader_epoch);
                if h.producer_id.0 >= 0 {
                    let _ = write!(text, " producer {} seq {}", h.producer_id, h.base_sequence);
                }
                text.push(']');
            }
            Err(e) => {
                let _ = write!(text, " [{e}]");
                break;
            }
        }
    }
    text
}

fn asked(request: &RequestKind) -> String {
    match request {
        RequestKind::Produce(r) => {
            let mut text = format!("Produce acks={}", r.acks);
            for t in &r.topic_data {
                for p in &t.partition_data {
                    let _ = write!(text, " {}-{}{}", t.name.0, p.index, records(p.records.as_ref()));
                }
            }
            text
        }
        RequestKind::Fetch(r) => {
            let mut text = format!("Fetch replica={}", r.replica_state.replica_id.0.max(r.replica_id.0));
            for t in &r.topics {
                for p in &t.partitions {
                    let _ = write!(
                        text,
                        " {}-{}@{} epoch {} last {}",
                        topic(&t.topic.0, t.topic_id),
                        p.partition,
                        p.fetch_offset,
                        p.current_leader_epoch,
                        p.last_fetched_epoch
                    );
                }
            }
            text
        }
        other => short(&format!("{other:?}"), 400),
    }
}

fn answered(response: &ResponseKind) -> String {
    match response {
        ResponseKind::Produce(r) => {
            let mut text = "Produce".to_owned();
            for t in &r.responses {
                for p in &t.partition_responses {
                    let _ = write!(text, " {}-{} error {} offset {}", t.name.0, p.index, p.error_code, p.base_offset);
                }
            }
            text
        }
        ResponseKind::Fetch(r) => {
            let mut text = format!("Fetch error {}", r.error_code);
            for t in &r.responses {
                for p in &t.partitions {
                    let _ = write!(
                        text,
                        " {}-{} error {} hw {} start {}",
                        topic(&t.topic.0, t.topic_id),
                        p.partition_index,
                        p.error_code,
                        p.high_watermark,
                        p.log_start_offset
                    );
                    if p.diverging_epoch.epoch >= 0 {
                        let d = &p.diverging_epoch;
                        let _ = write!(text, " diverging epoch {} ends {}", d.epoch, d.end_offset);
                    }
                    text.push_str(&records(p.records.as_ref()));
                }
            }
            text
        }
        other => short(&format!("{other:?}"), 400),
    }
}

fn topic(name: &str, id: klamm_model::ids::Uuid) -> String {
    if name.is_empty() { id.simple().to_string()[..8].to_owned() } else { name.to_owned() }
}

fn short(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((cut, _)) => format!("{}...", &text[..cut]),
        None => text.to_owned(),
    }
}
