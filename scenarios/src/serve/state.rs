//! The state of a live cluster as JSON: hosts, leaders and in-sync replicas, groups and their lag, faults in force.

use klamm_model::inspect::{BrokerInspection, Inspection};
use klamm_world::live::cluster::Cluster;
use klamm_world::live::inject::Injector;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a host may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Everything.
pub fn state(cluster: &Cluster, injector: &Injector) -> Value {
    let accounts = cluster.accounts();
    let controller = accounts.iter().find_map(|(_, account)| match account {
        Some(Inspection::Controller(account)) => Some(account),
        _ => None,
    });
    let broker = |account: &Option<Inspection>| match account {
        Some(Inspection::Broker(account)) => Some(account.clone()),
        _ => None,
    };
    let brokers: Vec<BrokerInspection> = accounts.iter().filter_map(|(_, account)| broker(account)).collect();
    let hosts: Vec<Value> = accounts
        .iter()
        .map(|(host, account)| {
            let part = broker(account).map(|a| a.unfenced);
            let mut told = json!({ "host": &*host.name, "up": host.is_up(), "takes-part": part });
            if let (Some(told), Some(account)) = (told.as_object_mut(), injector.supervisor().account(&host.name))
                && let Ok(Value::Object(more)) = serde_json::to_value(account)
            {
                told.extend(more);
            }
            told
        })
        .collect();
    let replica = |topic: &str, partition: i32, id| {
        let of = brokers.iter().find(|b| b.id == id)?;
        of.partitions.iter().find(|p| p.topic == topic && p.partition.partition == partition)
    };
    let mut partitions = Vec::new();
    let mut ends: BTreeMap<(&str, i32), i64> = BTreeMap::new();
    for p in controller.into_iter().flat_map(|c| &c.partitions) {
        let number = p.partition.partition;
        let leader = replica(&p.topic, number, p.leader);
        if let Some(leader) = leader {
            ends.insert((&p.topic, number), leader.high_watermark.0);
        }
        partitions.push(json!({
            "topic": p.topic,
            "partition": number,
            "leader": p.leader,
            "leader-epoch": p.leader_epoch,
            "replicas": p.replicas,
            "isr": p.isr,
            "log-start": leader.map(|l| l.log_start),
            "high-watermark": leader.map(|l| l.high_watermark),
            "log-end": leader.map(|l| l.log_end),
        }));
    }
    let mut groups = Vec::new();
    for (coordinator, part) in brokers.iter().flat_map(|b| b.coordinated.iter().map(move |c| (b.id, c))) {
        for (id, group) in &part.groups {
            let offsets: Vec<Value> = group
                .offsets
                .iter()
                .map(|((topic, partition), offset)| {
                    let lag = ends.get(&(topic.as_str(), *partition)).map(|end| end - offset.0);
                    json!({ "topic": topic, "partition": partition, "committed": offset, "lag": lag })
                })
                .collect();
            groups.push(json!({
                "group": id,
                "kind": group.kind,
                "state": group.state,
                "generation": group.generation,
                "members": group.members.keys().collect::<Vec<_>>(),
                "coordinator": coordinator,
                "offsets": offsets,
            }));
        }
    }
    let faults: Vec<Value> = injector.in_force().iter().map(|f| json!({ "id": f.id, "what": f.what })).collect();
    json!({
        "bootstrap": cluster.bootstrap(),
        "hosts": hosts,
        "partitions": partitions,
        "groups": groups,
        "faults": faults,
        "recovered": recovered(cluster),
    })
}

/// What the start of each host that is up found on its disk, in numbers.
fn recovered(cluster: &Cluster) -> Value {
    let counts = |host: &klamm_world::live::host::Host| {
        let counts = host.inspect(PATIENCE)?.recovered()?.counts();
        let counts: BTreeMap<&str, u64> = counts.into_iter().collect();
        Some((host.name.to_string(), json!(counts)))
    };
    Value::Object(cluster.hosts().iter().filter_map(counts).collect())
}
