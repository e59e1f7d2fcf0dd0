//! Roles, listeners and the quorum (`KafkaConfig.validateValues`, `AbstractKafkaConfig`).

use super::super::examine::Values;
use super::super::special;
use super::Broken;
use std::collections::{BTreeMap, BTreeSet};

const PROTOCOLS: [&str; 4] = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];

/// An endpoint of `listeners` or `advertised.listeners`.
struct Endpoint {
    /// In upper case, as Kafka compares it.
    name: String,
    host: String,
    port: i64,
}

pub(super) fn check(v: &Values<'_>, broken: &mut Broken) {
    let empty = [];
    let names = v.list("controller.listener.names").unwrap_or(&empty);
    let Some(protocols) = protocols(v, names, broken) else { return };
    let given = v.list("listeners").unwrap_or(&empty);
    let Some(listeners) = endpoints("listeners", given, &protocols, true, broken) else { return };
    let advertised = match v.list("advertised.listeners") {
        Some(given) => match endpoints("advertised.listeners", given, &protocols, false, broken) {
            Some(advertised) => advertised,
            None => return,
        },
        None => endpoints("listeners", given, &protocols, true, broken).unwrap_or_default(),
    };
    for name in v.list("early.start.listeners").unwrap_or(&empty) {
        let known = listeners.iter().any(|l| l.name == name.to_uppercase()) || names.contains(name);
        broken.require(
            known,
            "early.start.listeners",
            format!(
                "early.start.listeners contains listener {name}, but this is not contained in listeners or \
                 controller.listener.names"
            ),
        );
    }
    let is_controllers = |e: &&Endpoint| names.iter().any(|n| n.to_uppercase() == e.name);
    let brokers: BTreeSet<&str> = advertised.iter().filter(|e| !is_controllers(e)).map(|e| e.name.as_str()).collect();
    let of_controllers = listeners.iter().filter(is_controllers).count();
    quorum(v, names, of_controllers, &listeners, &protocols, broken);
    if has(v, "broker") {
        brokers_side(v, &brokers, &listeners, &protocols, broken);
    }
    let everywhere = advertised.iter().any(|e| e.host == "0.0.0.0" && !is_controllers(&e));
    broken.require(
        !everywhere,
        if v.given("advertised.listeners") { "advertised.listeners" } else { "listeners" },
        "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address.",
    );
}

fn has(v: &Values<'_>, role: &str) -> bool {
    v.list("process.roles").is_some_and(|roles| roles.iter().any(|r| r == role))
}

fn quorum(
    v: &Values<'_>,
    names: &[String],
    of_controllers: usize,
    listeners: &[Endpoint],
    protocols: &BTreeMap<String, String>,
    broken: &mut Broken,
) {
    let voters: Vec<i64> =
        v.list("controller.quorum.voters").unwrap_or_default().iter().filter_map(|e| special::voter(e).ok()).collect();
    let bootstrap = v.list("controller.quorum.bootstrap.servers").unwrap_or_default();
    broken.require(
        !voters.is_empty() || !bootstrap.is_empty(),
        "process.roles",
        "If using process.roles, either controller.quorum.bootstrap.servers must contain the set of bootstrap controllers or \
         controller.quorum.voters must contain a parseable set of controllers.",
    );
    let id = v.int("node.id");
    let shown = voters.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if has(v, "controller") {
        if !has(v, "broker") {
            broken.require(
                of_controllers == listeners.len(),
                "listeners",
                "The listeners config must only contain KRaft controller listeners from controller.listener.names when \
                 process.roles=controller",
            );
            let between = v.text("inter.broker.listener.name");
            broken.require(
                between.is_empty() || !names.iter().any(|n| n == between),
                "inter.broker.listener.name",
                "controller.listener.names must not contain an explicitly set inter.broker.listener.name configuration value \
                 when process.roles=controller'",
            );
        }
        broken.require(
            voters.is_empty() || voters.contains(&id),
            "node.id",
            format!(
                "If process.roles contains the 'controller' role, the node id {id} must be included in the set of voters \
                 controller.quorum.voters=Set({shown})"
            ),
        );
        let why = "values appearing in the 'listeners' configuration when running the KRaft controller role";
        if of_controllers == 0 {
            let why = why.replacen("values", "value", 1);
            let why = format!("controller.listener.names must contain at least one {why}");
            broken.require(false, "controller.listener.names", why);
        } else {
            broken.require(
                names.iter().all(|n| listeners.iter().any(|l| l.name == *n)),
                "controller.listener.names",
                format!("controller.listener.names must only contain {why}"),
            );
        }
        return;
    }
    broken.require(
        !voters.contains(&id),
        "node.id",
        format!(
            "If process.roles contains just the 'broker' role, the node id {id} must not be included in the set of voters \
             controller.quorum.voters=Set({shown})"
        ),
    );
    broken.require(
        of_controllers == 0,
        "listeners",
        "controller.listener.names must not contain a value appearing in the 'listeners' configuration when running KRaft \
         with just the broker role",
    );
    for name in names.iter().map(|n| n.to_uppercase()) {
        broken.require(
            protocols.contains_key(&name),
            "listener.security.protocol.map",
            format!(
                "Controller listener with name {name} defined in controller.listener.names not found in \
                 listener.security.protocol.map  (an explicit security mapping for each controller listener is required if \
                 listener.security.protocol.map is non-empty, or if there are security protocols other than PLAINTEXT in use)"
            ),
        );
    }
    broken.require(
        !v.is("controller.quorum.auto.join.enable"),
        "controller.quorum.auto.join.enable",
        "controller.quorum.auto.join.enable is only supported when process.roles contains the 'controller' role.",
    );
}

fn brokers_side(
    v: &Values<'_>,
    brokers: &BTreeSet<&str>,
    listeners: &[Endpoint],
    protocols: &BTreeMap<String, String>,
    broken: &mut Broken,
) {
    let own = brokers.iter().copied().collect::<Vec<_>>().join(",");
    let (key, between, protocol) = if v.raw("inter.broker.listener.name").is_some() {
        let name = v.text("inter.broker.listener.name").to_uppercase();
        let key = "inter.broker.listener.name";
        if name.is_empty() {
            return broken.require(false, key, "The provided listener name is null or empty string");
        }
        if v.given("security.inter.broker.protocol") {
            let why = format!("Only one of {key} and security.inter.broker.protocol should be set.");
            return broken.require(false, key, why);
        }
        let Some(protocol) = protocols.get(&name) else {
            let why =
                format!("Listener with name {name} defined in {key} not found in listener.security.protocol.map.");
            return broken.require(false, key, why);
        };
        (key, name, protocol.clone())
    } else {
        let protocol = v.text("security.inter.broker.protocol").to_owned();
        ("security.inter.broker.protocol", protocol.clone(), protocol)
    };
    if brokers.is_empty() {
        return broken.require(
            false,
            "listeners",
            "There must be at least one broker advertised listener. Perhaps all listeners appear in controller.listener.names?",
        );
    }
    broken.require(
        brokers.contains(between.as_str()),
        if v.given(key) { key } else { "listeners" },
        format!(
            "inter.broker.listener.name must be a listener name defined in advertised.listeners. The valid options based on \
             currently configured listeners are {own}"
        ),
    );
    let all: BTreeSet<&str> = listeners.iter().map(|l| l.name.as_str()).collect();
    broken.require(
        brokers.is_subset(&all),
        "advertised.listeners",
        format!(
            "advertised.listeners listener names must be equal to or a subset of the ones defined in listeners. Found {own}. The \
             valid options based on the current configuration are {}",
            listeners.iter().map(|l| l.name.as_str()).collect::<Vec<_>>().join(",")
        ),
    );
    let enabled = v.list("sasl.enabled.mechanisms").unwrap_or_default();
    broken.require(
        !protocol.starts_with("SASL") || enabled.iter().any(|m| m == v.text("sasl.mechanism.inter.broker.protocol")),
        "sasl.mechanism.inter.broker.protocol",
        "sasl.mechanism.inter.broker.protocol must be included in sasl.enabled.mechanisms when SASL is used for inter-broker \
         communication",
    );
}

/// Listener names to protocols (`effectiveListenerSecurityProtocolMap`); none if the map cannot be read.
fn protocols(v: &Values<'_>, names: &[String], broken: &mut Broken) -> Option<BTreeMap<String, String>> {
    let key = "listener.security.protocol.map";
    let mut map = BTreeMap::new();
    for entry in v.text(key).split(',').map(str::trim).filter(|e| !e.is_empty()) {
        let Some((name, protocol)) = entry.rsplit_once(':') else {
            let why = format!("begin 0, end -1, length {}", entry.len());
            broken.require(false, key, format!("Error parsing configuration property '{key}': {why}"));
            return None;
        };
        let (name, protocol) = (name.trim().to_uppercase(), protocol.trim());
        if !PROTOCOLS.contains(&protocol.to_uppercase().as_str()) {
            broken.require(false, key, format!("Invalid security protocol `{protocol}` defined in {key}"));
            return None;
        }
        map.insert(name, protocol.to_uppercase());
    }
    if !v.given(key) {
        let secure = |name: &str| PROTOCOLS[1..].contains(&name);
        let mut plain = !names.iter().any(|n| secure(n));
        for listener in v.list("listeners").unwrap_or_default() {
            match listener.split_once(':') {
                Some((name, _)) => plain &= !secure(&name.to_uppercase()),
                None => {
                    let why = format!("Unable to parse a listener name from {listener}");
                    broken.require(false, "listeners", why);
                    return None;
                }
            }
        }
        if plain {
            map.extend(names.iter().filter(|n| *n != "PLAINTEXT").map(|n| (n.clone(), "PLAINTEXT".to_owned())));
        }
    }
    Some(map)
}

/// None if one of them cannot be read, which is said.
fn endpoints(
    key: &str,
    given: &[String],
    protocols: &BTreeMap<String, String>,
    distinct_ports: bool,
    broken: &mut Broken,
) -> Option<Vec<Endpoint>> {
    let shown = format!("[{}]", given.join(", "));
    let wrong = |broken: &mut Broken, why: String| {
        broken.require(false, key, format!("Error creating broker listeners from '{shown}': {why}"));
    };
    let mut list: Vec<Endpoint> = Vec::new();
    for entry in given {
        let Some(endpoint) = endpoint(entry) else {
            wrong(broken, format!("Unable to parse {entry} to a broker endpoint"));
            return None;
        };
        if !protocols.contains_key(&endpoint.name) {
            wrong(broken, format!("No security protocol defined for listener {}", endpoint.name));
            return None;
        }
        list.push(endpoint);
    }
    let names: BTreeSet<&str> = list.iter().map(|e| e.name.as_str()).collect();
    if names.len() != list.len() {
        wrong(broken, format!("Each listener must have a different name, listeners: {shown}"));
        return None;
    }
    let ports: Vec<i64> = list.iter().map(|e| e.port).filter(|p| *p != 0).collect();
    let distinct: BTreeSet<i64> = ports.iter().copied().collect();
    // Two listeners may share a port if one is of IPv4 and the other of IPv6: both must then be numeric.
    let numeric = list.iter().all(|e| e.host.parse::<std::net::IpAddr>().is_ok());
    if distinct_ports && distinct.len() != ports.len() && !numeric {
        wrong(broken, format!("Each listener must have a different port, listeners: {shown}"));
        return None;
    }
    Some(list)
}

/// `NAME://host:port`; the host may be empty, and in brackets.
fn endpoint(text: &str) -> Option<Endpoint> {
    let (name, address) = text.rsplit_once("://")?;
    let (host, port) = address.rsplit_once(':')?;
    let host = host.strip_prefix('[').unwrap_or(host);
    let host = host.strip_suffix(']').unwrap_or(host);
    let legal = |c: char| c.is_ascii_alphanumeric() || "-%._:".contains(c);
    if !host.chars().all(legal) {
        return None;
    }
    Some(Endpoint { name: name.to_uppercase(), host: host.to_owned(), port: port.parse::<i32>().ok()?.into() })
}
