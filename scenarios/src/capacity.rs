//! How much load a cluster bears, by the cost model alone: what its network cards and disks carry and its workers
//! handle. Beyond that a backlog grows without end; before it, latency is that of the way, not of a queue.
//!
//! An upper bound that is reached when batches are full. It assumes what the world does: leaders spread evenly over
//! brokers, every record replicated, every consumer reading everything from the leaders.

use crate::run::properties_at;
use crate::schema::{ClientKind, Draw, LoadSpec, Scenario};
use klamm_model::config::{BrokerConfig, ProducerConfig};
use klamm_reports::record::Offered;
use klamm_world::des::CpuProfile;

/// Bytes of a batch before its records: offset, length, epoch, CRC, attributes, producer, count (message format 2).
const BATCH_HEADER: f64 = 61.0;
/// Bytes of a record beside its key and value: lengths, attributes and deltas, most of them a byte each.
const RECORD_OVERHEAD: f64 = 9.0;
/// Of a key, as the load makes them.
const KEY: f64 = 9.0;

/// The load that a scenario offers and the load its machines bear; `None` if it is drawn, or a closed loop.
pub fn offered(s: &Scenario) -> Option<Offered> {
    let mut per_second = 0;
    for (client, load) in loads(s) {
        let (Draw::Fixed(count), Some(Draw::Fixed(rate)), Draw::Fixed(arrivals)) =
            (&client.count, &load.rate, &load.arrivals)
        else {
            return None;
        };
        if arrivals == "closed" {
            return None;
        }
        per_second += u64::from(*count) * u64::from(*rate);
    }
    let (capacity, limited_by) = capacity(s)?;
    (per_second > 0).then_some(Offered { per_second, capacity, limited_by })
}

fn loads(s: &Scenario) -> impl Iterator<Item = (&crate::schema::ClientSpec, &LoadSpec)> {
    s.clients.iter().filter_map(|c| Some((c, c.load.as_ref()?)))
}

/// Records per second that a scenario's machines bear, and what ends first; `None` without exactly one loaded topic.
pub fn capacity(s: &Scenario) -> Option<(u64, String)> {
    let topic = s.topics.first().filter(|_| s.topics.len() == 1)?;
    let (client, load) = loads(s).next()?;
    let count = |draw: &Draw<u32>| f64::from(*draw.extremes()[0]);
    let brokers = count(&s.cluster.brokers);
    let (partitions, replicas) = (count(&topic.partitions), count(&topic.replication));
    // The busiest broker leads this share of everything.
    let led = (partitions / brokers).ceil() / partitions;
    let producer = ProducerConfig::parse(&properties_at(&client.config)).ok()?.0;
    BrokerConfig::read_scaled(&properties_at(&s.broker)).ok()?;

    let value = {
        let ends = load.value.extremes();
        ends.iter().map(|v| v.0 as f64).sum::<f64>() / ends.len() as f64
    };
    let keyed = load.key.uniform.is_some() || load.key.zipf.is_some();
    let record = value + RECORD_OVERHEAD + if keyed { KEY } else { 0.0 };
    let per_batch = ((producer.batch_size as f64 - BATCH_HEADER) / record).floor().max(1.0);
    let bytes = record + BATCH_HEADER / per_batch;

    let readers: f64 = s
        .clients
        .iter()
        .map(|c| match c.kind {
            ClientKind::Consumer => count(&c.count),
            ClientKind::Group => 1.0,
            ClientKind::Producer => 0.0,
        })
        .sum();
    let senders = if s.cluster.clients_on_one_host { 1.0 } else { loads(s).map(|(c, _)| count(&c.count)).sum() };
    let card = s.cluster.network.figures(false)?.bandwidth as f64 / 8.0;
    let disk = s.cluster.disk.profile(false)?;
    let cpu = CpuProfile::default();
    let batch_work = (cpu.produce.as_nanos() + cpu.completion.as_nanos()) as f64;
    let handled = batch_work / per_batch + cpu.per_kib.as_nanos() as f64 * bytes / 1024.0;

    let copies = replicas - 1.0 + readers;
    let bounds = [
        (card * senders / bytes, "the producers' network cards"),
        (if copies > 0.0 { card / (led * copies * bytes) } else { f64::INFINITY }, "the leaders' network cards"),
        (disk.bandwidth as f64 * brokers / (replicas * bytes), "the disks' bandwidth"),
        (f64::from(cpu.workers) * 1e9 / (led * handled), "the leaders' workers"),
    ];
    let least = bounds.into_iter().min_by(|a, b| a.0.total_cmp(&b.0))?;
    Some((least.0 as u64, least.1.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::parse;

    fn scenario(network: &str, more: &str) -> Scenario {
        let text = format!(
            "name = \"x\"\nsummary = \"x\"\nduration = \"5s\"\nconverge-within = \"200s\"\n[cluster]\n{network}\n\
             [[topic]]\nname = \"t\"\n{more}\n[[clients]]\nkind = \"producer\"\n\
             load = {{ rate = 10, value = \"991B\" }}\n"
        );
        parse("x.toml", &text).unwrap_or_else(|e| panic!("{e:?}"))
    }

    #[test]
    fn the_leaders_card_carries_every_copy() {
        // 1,000 bytes on the wire, and 61 more for each batch of 16; two copies; 125 kB/s.
        let (capacity, by) = capacity(&scenario("network = { bandwidth = \"1Mbit\" }", "")).unwrap();
        assert_eq!((capacity, by.as_str()), (62, "the leaders' network cards"));
        // Three leaders carry three times as much, until the producer's own card ends.
        let (more, by) = super::capacity(&scenario("network = { bandwidth = \"1Mbit\" }", "partitions = 3")).unwrap();
        assert_eq!((more, by.as_str()), (124, "the producers' network cards"));
        let (alone, by) = super::capacity(&scenario("network = { bandwidth = \"1Mbit\" }", "replication = 1")).unwrap();
        assert_eq!((alone, by.as_str()), (124, "the producers' network cards"));
    }

    #[test]
    fn a_slow_disk_ends_before_a_fast_network() {
        let slow = "disk = { bandwidth = \"100kB\" }\nnetwork = \"same-rack\"";
        assert_eq!(capacity(&scenario(slow, "")).unwrap().1, "the disks' bandwidth");
    }

    #[test]
    fn what_is_drawn_has_no_one_load() {
        let mut s = scenario("", "");
        assert_eq!(offered(&s).map(|o| o.per_second), Some(10));
        s.clients[0].load.as_mut().unwrap().rate = Some(Draw::Range(10, 20));
        assert_eq!(offered(&s), None);
    }
}
