//! Files that hold settings of Kafka's in another form: recognised, and said what to do with them.

use super::Place;
use super::properties::Entry;
use klamm_model::config::{Scope, table};

/// Names that librdkafka has and Kafka's Java clients have not.
const LIBRDKAFKA: &[&str] = &[
    "message.timeout.ms",
    "message.send.max.retries",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queue.buffering.max.ms",
    "queued.min.messages",
    "queued.max.messages.kbytes",
    "request.required.acks",
    "metadata.broker.list",
    "compression.codec",
    "enable.auto.offset.store",
    "batch.num.messages",
    "socket.keepalive.enable",
    "topic.metadata.refresh.interval.ms",
    "statistics.interval.ms",
];

/// Names that only a Connect worker has.
const WORKER: &[&str] = &[
    "config.storage.topic",
    "key.converter",
    "offset.flush.interval.ms",
    "offset.storage.file.filename",
    "offset.storage.topic",
    "plugin.path",
    "status.storage.topic",
    "value.converter",
];

/// Why a text is no properties file at all, and what to do.
pub(super) fn no_properties(text: &str) -> Option<String> {
    let lines = || text.lines().filter(|l| !l.trim().is_empty() && !l.trim_start().starts_with(['#', '!']));
    let first = lines().next()?;
    let do_this = "write one `name=value` a line";
    if text.starts_with("\u{ff}\u{fe}") || text.starts_with("\u{fe}\u{ff}") {
        return Some(format!("this is UTF-16, and Java reads Latin-1: save it as UTF-8 without a mark, and {do_this}"));
    }
    if first.trim_start().starts_with(['{', '<']) {
        let what = if first.trim_start().starts_with('{') { "JSON" } else { "XML" };
        return Some(format!("this is {what}, and no properties file: {do_this}"));
    }
    // Java would read all sections and levels as one, so that the last one decides: such a form is looked for everywhere.
    if lines().any(|l| l.trim().starts_with('[') && l.trim().ends_with(']')) {
        return Some(format!("this is TOML or INI, and no properties file: {do_this}"));
    }
    let indent = |l: &str| l.len() - l.trim_start().len();
    let opens = |l: &str| l.trim_end().ends_with(':') && !l.trim_end().ends_with("\\:");
    let nested = lines().zip(lines().skip(1)).any(|(outer, inner)| opens(outer) && indent(inner) > indent(outer));
    let yaml = first.trim() == "---" || nested;
    yaml.then(|| format!("this is YAML, and no properties file: {do_this}"))
}

/// What is said once of a file whose names are of another kind.
pub(super) fn of_another_kind(place: Place, entries: &[Entry]) -> Vec<String> {
    let count = |of: &dyn Fn(&str) -> bool| entries.iter().filter(|e| of(&e.key)).count();
    let own = place.name();
    let mut said = Vec::new();
    let spring = count(&|k| k.starts_with("spring."));
    if spring > 0 {
        said.push(format!(
            "{spring} names begin with `spring.`: these are Spring's. Write Kafka's own: `acks` for \
             `spring.kafka.producer.acks`, and what stands below `properties.` as it is"
        ));
    }
    let native = count(&|k| LIBRDKAFKA.contains(&k));
    if native > 0 {
        said.push(format!(
            "{native} names are librdkafka's. Write Kafka's own: `linger.ms` for `queue.buffering.max.ms`, \
             `delivery.timeout.ms` for `message.timeout.ms`, `buffer.memory` for `queue.buffering.max.kbytes`"
        ));
    }
    if count(&|k| WORKER.contains(&k)) > 0 {
        said.push(format!(
            "this is a file of Kafka Connect's workers: what they give to their {own}s begins with `{own}.`; write it without"
        ));
    } else if matches!(place, Place::Producer | Place::Consumer) {
        for other in ["producer.", "consumer.", "admin."] {
            let n = count(&|k| k.starts_with(other));
            if n > 0 {
                said.push(format!(
                    "{n} names begin with `{other}`: that is how Connect, Streams and others pass settings on. Kafka's {own} \
                     ignores them; write them without"
                ));
            }
        }
    }
    said.extend(of_another_place(place, entries));
    if count(&|k| k.starts_with("zookeeper.")) > 0 {
        said.push("names of `zookeeper.`: Kafka has no ZooKeeper since 4.0, and ignores them".to_owned());
    }
    let mut provided = entries.iter().filter(|e| e.value.contains("${") && !e.key.starts_with("spring."));
    if let Some(first) = provided.next() {
        said.push(format!(
            "{} values are for a config provider to give, such as `{}`; nothing is looked up here",
            provided.count() + 1,
            first.key
        ));
    }
    said
}

/// What is said of Kafka's own names in a place that does not have them: another one's file was given.
fn of_another_place(place: Place, entries: &[Entry]) -> Option<String> {
    let own = place.scope();
    let roles = entries.iter().rfind(|e| e.key == "process.roles").map(|e| e.value.trim());
    if place == Place::Broker && roles == Some("controller") {
        return Some("this is a controller's file: brokers of the cluster have another, and theirs counts".to_owned());
    }
    let stray: Vec<&Entry> = entries.iter().filter(|e| table::find(own, &e.key).is_none()).collect();
    let of = |scope: Scope| stray.iter().filter(|e| table::find(scope, &e.key).is_some()).count();
    // Of the first place that most of them belong to.
    let (other, n) = Scope::ALL.into_iter().map(|scope| (scope, of(scope))).rev().max_by_key(|(_, n)| *n)?;
    (n >= ANOTHERS).then(|| {
        let (other, own) = (other.name(), place.name());
        format!("{n} names are no {own}'s but a {other}'s: is this the right file for a {own}?")
    })
}

/// So many names of another place are no slip.
const ANOTHERS: usize = 3;

/// Names that Kafka hands on to plugins and listeners, and that say nothing here.
pub(super) fn is_handed_on(key: &str) -> bool {
    let prefixes = ["listener.name.", "config.providers.", "metrics.context.", "rlmm.config.", "rsm.config."];
    prefixes.iter().any(|p| key.starts_with(p))
}

#[cfg(test)]
mod tests {
    use super::super::properties;
    use super::*;

    #[test]
    fn other_forms_are_recognised() {
        for (text, what) in [
            ("---\nacks: all\n", "YAML"),
            ("spring:\n  kafka:\n    producer:\n      acks: all\n", "YAML"),
            ("{ \"acks\": \"all\" }", "JSON"),
            ("<properties/>", "XML"),
            ("[producer]\nacks=all\n", "TOML"),
            ("acks=all\n\n[consumer]\ngroup.id=g\n", "TOML"),
            ("acks: all\nspring:\n  kafka:\n    producer:\n      acks: 1\n", "YAML"),
        ] {
            assert!(no_properties(text).is_some_and(|said| said.contains(what)), "{text}");
        }
        assert_eq!(no_properties("# ours\nacks: all\nlinger.ms: 5\n"), None, "a colon is as good as `=`");
    }

    #[test]
    fn other_names_are_said_once_with_what_to_do() {
        let said = |place, text: &str| of_another_kind(place, &properties::parse(text).unwrap()).join("\n");
        let spring = said(Place::Producer, "spring.kafka.producer.acks=1\nspring.kafka.bootstrap-servers=b:1\n");
        assert!(spring.contains("2 names begin with `spring.`"), "{spring}");
        let native = said(Place::Producer, "queue.buffering.max.ms=5\n");
        assert!(native.contains("librdkafka") && native.contains("`linger.ms`"), "{native}");
        let worker = said(Place::Producer, "bootstrap.servers=b:1\nkey.converter=x\nproducer.acks=1\n");
        assert!(worker.contains("Connect's workers"), "{worker}");
        let prefix = said(Place::Producer, "producer.acks=1\nproducer.linger.ms=100\n");
        assert!(prefix.contains("2 names begin with `producer.`"), "{prefix}");
        assert_eq!(said(Place::Producer, "acks=all\n"), "");
        let broker = "process.roles=broker\nnode.id=1\nlog.dirs=/x\nnum.io.threads=8\n";
        let stray = said(Place::Producer, broker);
        assert!(stray.contains("4 names are no producer's but a broker's"), "{stray}");
        assert_eq!(said(Place::Broker, broker), "");
        let controller = said(Place::Broker, "process.roles=controller\nnode.id=1\n");
        assert!(controller.contains("a controller's file"), "{controller}");
        assert_eq!(said(Place::Producer, "acks=all\ngroup.id=a\nfetch.min.bytes=1\n"), "", "two are a slip");
    }
}
