//! A broker's settings for `klamm serve`: a properties file, as `klamm audit` reads it, and single settings, over what a small
//! cluster needs.

use crate::audit::{Place, read_file, take_out_unknowable};
use klamm_model::config::{BrokerConfig, ConfigError, Properties, Unheeded};
use klamm_world::shell::limits::Limits;
use std::collections::BTreeMap;
use std::path::Path;

/// Settings that were read.
#[derive(Clone, Debug)]
pub struct Read {
    /// What the model acts on.
    pub config: BrokerConfig,
    /// What bounds a process.
    pub limits: Limits,
    /// What is to be said of them.
    pub said: Vec<String>,
}

/// What holds if nothing else is said, for so many brokers.
fn own(brokers: u32) -> Properties {
    let few = brokers.min(3).to_string();
    [
        // Kafka's own quick start has these at 1 and 0; a cluster of one cannot have 3.
        ("default.replication.factor", few.as_str()),
        ("offsets.topic.replication.factor", few.as_str()),
        ("group.initial.rebalance.delay.ms", "0"),
        // A restart on the same data is found out sooner, and a dead leader replaced sooner.
        ("broker.session.timeout.ms", "3000"),
        ("broker.heartbeat.interval.ms", "500"),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect()
}

/// Reads a file and single settings (`KEY=VALUE`), which go before it.
///
/// # Errors
/// Everything for which Kafka would refuse them, each with its place.
pub fn read(brokers: u32, file: Option<&Path>, single: &[String]) -> miette::Result<Read> {
    // Where each setting was given.
    let mut places: BTreeMap<String, String> = BTreeMap::new();
    let (mut settings, mut said) = (own(brokers), Vec::new());
    if let Some(path) = file {
        let name = path.display();
        let (entries, of_its_form) = read_file(Place::Broker, path)?;
        said.extend(of_its_form.into_iter().map(|what| format!("{name}: {what}")));
        for entry in entries {
            places.insert(entry.key.clone(), format!("{name}:{}", entry.line));
            settings.insert(entry.key, entry.value);
        }
    }
    for setting in single {
        let Some((key, value)) = setting.split_once('=') else {
            return Err(miette::miette!("-c {setting}: expected KEY=VALUE, such as `-c num.partitions=3`"));
        };
        places.insert(key.trim().to_owned(), format!("-c {setting}"));
        settings.insert(key.trim().to_owned(), value.trim().to_owned());
    }
    let place = |key: &str| places.get(key).map_or_else(String::new, |place| format!("{place}: "));
    let mut without_effect = take_out_unknowable(&mut settings);
    let refused = |all: Vec<ConfigError>| {
        let mut lines: Vec<String> = all.iter().map(|e| format!("{}{e}", place(e.key()))).collect();
        lines.sort();
        miette::miette!("{}", lines.join("\n"))
    };
    let (_, warnings) = BrokerConfig::read(&settings).map_err(refused)?;
    let limits = Limits::take_from(&mut settings).map_err(|e| refused(vec![e]))?;
    let (config, _) = BrokerConfig::parse(&settings).map_err(|e| refused(vec![e]))?;
    for warning in warnings.into_iter().filter(|w| settings.contains_key(&w.key)) {
        match warning.why {
            Unheeded::NotModelled => without_effect.push(warning.key),
            _ => said.push(format!("{}{warning}", place(&warning.key))),
        }
    }
    if !without_effect.is_empty() {
        without_effect.sort();
        let names: Vec<String> = without_effect.iter().map(|key| format!("`{key}`")).collect();
        said.push(format!("no effect here: {}", names.join(", ")));
    }
    Ok(Read { config, limits, said })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &[u8], single: &[&str]) -> Result<Read, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("server.properties");
        std::fs::write(&path, text).unwrap();
        let single: Vec<String> = single.iter().map(|s| (*s).to_owned()).collect();
        let shown = dir.path().display().to_string();
        read(1, Some(&path), &single).map_err(|e| e.to_string().replace(&shown, ""))
    }

    #[test]
    fn a_file_is_read_as_the_audit_reads_it() {
        let text = b"\xef\xbb\xbfnum.partitions=3\rlog.dirs=/x\nspring.kafka.x=1\nbackground.threads=${env:N}\nnum.partition=1\n";
        let read = of(text, &["min.insync.replicas=1"]).unwrap();
        assert_eq!(read.config.num_partitions, 3);
        let said = read.said.join("\n");
        for words in [
            "the byte-order mark at its start is skipped",
            "1 names begin with `spring.`",
            "config provider",
            "server.properties:5: Kafka has no broker setting called `num.partition`",
            "no effect here: `background.threads`, `log.dirs`",
        ] {
            assert!(said.contains(words), "`{words}` is not in:\n{said}");
        }
    }

    #[test]
    fn what_is_refused_has_its_place() {
        let all = of(b"num.partitions=0\nnode.id=x\n", &["log.retention.check.interval.ms=0"]).unwrap_err();
        for words in [
            "/server.properties:1: Invalid value 0",
            "/server.properties:2: ",
            "-c log.retention.check.interval.ms=0: ",
        ] {
            assert!(all.contains(words), "`{words}` is not in:\n{all}");
        }
        assert!(of(b"---\nbroker:\n  x: 1\n", &[]).unwrap_err().contains("YAML"));
        assert!(of(b"[broker]\n", &[]).unwrap_err().contains("TOML"));
        assert!(of(&vec![b'#'; 2 << 20], &[]).unwrap_err().contains("too large"));
        let limit = of(b"socket.request.max.bytes=0\n", &[]).unwrap_err();
        assert!(limit.contains("server.properties:1: "), "{limit}");
    }
}
