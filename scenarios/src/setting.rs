//! What a scenario's figures depend on, in two lines: printed with every chart and table of it.

use crate::profiles::{disk_in_words, network_in_words};
use crate::schema::{Atom, Draw, Scenario, Settings};

/// Both lines, with a line break between them: durability, then load and machines.
pub fn setting(s: &Scenario) -> String {
    format!("{}\n{}", durability(s), machines(s))
}

fn durability(s: &Scenario) -> String {
    let show = |settings: &Settings, key: &str| settings.get(key).map(|d| words(d, |v| v.0.clone()));
    let topic = &s.topics[0];
    let producer = s.clients.iter().find(|c| c.load.is_some());
    let acks = producer.map_or("-".to_owned(), |p| show(&p.config, "acks").unwrap_or_else(|| "all".to_owned()));
    let of_topic = |key: &str, of_broker: &str, default: &str| {
        show(&topic.config, key).or_else(|| show(&s.broker, of_broker)).unwrap_or_else(|| default.to_owned())
    };
    let min_isr = of_topic("min.insync.replicas", "min.insync.replicas", "1");
    let flush = match of_topic("flush.messages", "log.flush.interval.messages", "never").as_str() {
        "never" => "never".to_owned(),
        n => format!("every {n}"),
    };
    let replication = words(&topic.replication, ToString::to_string);
    format!(
        "virtual time, modelled cluster · acks={acks} · replication {replication} · min.insync.replicas {min_isr} · \
         flush {flush}"
    )
}

fn machines(s: &Scenario) -> String {
    let mut load = Vec::new();
    for client in &s.clients {
        let Some(spec) = &client.load else { continue };
        let rate = spec
            .rate
            .as_ref()
            .map_or("as fast as answered".to_owned(), |r| format!("{}/s", words(r, ToString::to_string)));
        let arrivals = words(&spec.arrivals, Clone::clone);
        let value = words(&spec.value, |v| format!("{} B", v.0));
        load.push(format!("load {} x {rate} {arrivals} of {value}", words(&client.count, ToString::to_string)));
    }
    let warm =
        s.warm_up.as_ref().map_or(String::new(), |w| format!(", {} of it warm-up", words(w, ToString::to_string)));
    let mut parts = vec![load.join(" + "), format!("for {}{warm}", words(&s.duration, ToString::to_string))];
    let disk = &s.cluster.disk;
    let ends = [false, true].map(|last| disk.profile(last).map(|p| disk_in_words(&p)));
    parts.push(both(ends, &format!("disk {}", words(&disk.table().profile, Clone::clone))));
    let network = &s.cluster.network;
    let name = words(&network.table().profile, Clone::clone);
    let ends = [false, true].map(|last| network.figures(last).map(|f| network_in_words(&name, &f)));
    parts.push(both(ends, &format!("network {name}, drawn")));
    parts.retain(|p| !p.is_empty());
    parts.join(" · ")
}

/// The one thing if both ends are alike, the other words if not.
fn both(ends: [Option<String>; 2], otherwise: &str) -> String {
    match ends {
        [Some(a), Some(b)] if a == b => a,
        _ => otherwise.to_owned(),
    }
}

fn words<T: Atom>(draw: &Draw<T>, show: impl Fn(&T) -> String) -> String {
    match draw {
        Draw::Fixed(v) => show(v),
        Draw::Choice(list) => list.iter().map(show).collect::<Vec<_>>().join("/"),
        Draw::Range(a, b) => format!("{}..{}", show(a), show(b)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog;

    #[test]
    fn figures_say_what_they_depend_on() {
        let s = &catalog::find("acks").unwrap()[0];
        let said = setting(s);
        let (durability, machines) = said.split_once('\n').unwrap();
        assert!(durability.contains("acks=all · replication 3 · min.insync.replicas 1 · flush never"), "{said}");
        assert!(machines.contains("load 2 x 60/s poisson of 200 B · for 10s..14s · disk nvme (fsync 250us)"), "{said}");
        assert!(machines.contains("network busy (250us, 1 in 100 above 2.00ms, 1 Gbit/s)"), "{said}");
    }
}
