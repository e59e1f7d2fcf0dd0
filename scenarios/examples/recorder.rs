//! A recorder in Rust, for rskafka: what clients did, in the format of docs/history.md, for `klamm check`.
//!
//! `recorder BOOTSTRAP TOPIC HISTORY` sends a thousand records to partition 0 of a topic that exists, reads everything
//! from start to end, and writes the history.

use rskafka::client::ClientBuilder;
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::record::Record;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::error::Error;
use std::time::Instant;

/// Operations in the order they happened: one clock for all clients.
struct History {
    began: Instant,
    lines: Vec<Value>,
}

impl History {
    fn new() -> History {
        let header = json!({ "klamm-history": 1, "declared": { "recorded": true } });
        History { began: Instant::now(), lines: vec![header] }
    }

    /// Adds an operation; `fields` are those of its own.
    fn add(&mut self, client: u32, op: &str, fields: Value) {
        let at = self.began.elapsed().as_nanos() as u64;
        let mut line = json!({ "at": at, "client": client, "incarnation": 1, "op": op });
        if let (Value::Object(line), Value::Object(fields)) = (&mut line, fields) {
            line.extend(fields);
        }
        self.lines.push(line);
    }

    fn write(&self, path: &str) -> std::io::Result<()> {
        let text: String = self.lines.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(path, text)
    }
}

/// Sends a record and writes down what came of it. A value is the text of its record, and no other record has it.
async fn send(history: &mut History, client: u32, topic: &str, partition: &PartitionClient, value: String) {
    // Before the call: the record may be read before the call returns.
    history.add(client, "send", json!({ "value": value, "topic": topic, "partition": 0 }));
    let bytes = Some(value.clone().into_bytes());
    let record =
        Record { key: None, value: bytes, headers: BTreeMap::new(), timestamp: std::time::SystemTime::now().into() };
    let resolved = match partition.produce(vec![record], Compression::NoCompression).await {
        Ok(offsets) => json!({ "value": value, "outcome": "ok", "partition": 0, "offset": offsets[0] }),
        // An error may stand beside an appended record: the outcome is unknown.
        Err(e) => json!({ "value": value, "outcome": "info", "partition": 0, "error": e.to_string() }),
    };
    history.add(client, "sent", resolved);
}

/// Reads the partition from its start to its end, and writes it down. To be done when all sends have resolved.
async fn final_read(
    history: &mut History,
    client: u32,
    topic: &str,
    partition: &PartitionClient,
) -> Result<usize, Box<dyn Error>> {
    let source = json!({ "topic": topic, "partition": 0 });
    let (start, end) = (partition.get_offset(OffsetAt::Earliest).await?, partition.get_offset(OffsetAt::Latest).await?);
    // Told before the first read: what is passed over from here on must have a reason.
    history.add(client, "position", json!({ "source": source, "offset": start, "reason": "assigned" }));
    let (mut at, mut count) = (start, 0);
    while at < end {
        let (records, _) = partition.fetch_records(at, 1..1_000_000, 1000).await?;
        let Some(last) = records.last() else { continue };
        at = last.offset + 1;
        count += records.len();
        let told = |r: &rskafka::record::RecordAndOffset| {
            let value = r.record.value.as_ref().map(|v| String::from_utf8_lossy(v).into_owned());
            json!({ "offset": r.offset, "value": value, "timestamp": r.record.timestamp.timestamp_millis() })
        };
        let records: Vec<Value> = records.iter().map(told).collect();
        let poll = json!({ "source": source, "isolation": "read_uncommitted", "records": records });
        history.add(client, "poll", poll);
    }
    history.add(client, "final_read", json!({ "source": source, "from": start, "to": at }));
    Ok(count)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, bootstrap, topic, path] = &arguments[..] else { return Err("recorder BOOTSTRAP TOPIC HISTORY".into()) };
    let client = ClientBuilder::new(bootstrap.split(',').map(str::to_owned).collect()).build().await?;
    let partition = client.partition_client(topic, 0, UnknownTopicHandling::Retry).await?;
    let mut history = History::new();
    // rskafka sends again what it had no answer to, without idempotence, for as long as it takes.
    let facts = json!({ "acks": "all", "idempotent": false, "max_in_flight": 1, "resolves_within": u64::MAX });
    history.add(1, "producer", json!({ "facts": facts }));
    for n in 0..1000 {
        send(&mut history, 1, topic, &partition, format!("order-{n}")).await;
    }
    let count = final_read(&mut history, 2, topic, &partition).await?;
    history.write(path)?;
    println!("  rskafka: 1000 sent, {count} in the final read");
    Ok(())
}
