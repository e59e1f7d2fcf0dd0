//! What is audited: a team's own settings, read from its files and checked, each error with file and line.

use super::kinds;
use super::properties::{self, Entry};
use crate::schema::{ClientKind, Draw, MAX_FILE_BYTES, Scenario, Setting, Settings, Span};
use klamm_model::config::{
    BrokerConfig, ConfigError, ConsumerConfig, ProducerConfig, Properties, Scope, TopicConfig, Unheeded, Warning,
};
use klamm_model::units::Duration;
use std::io::Read;
use std::path::Path;

/// Which file a setting belongs in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Place {
    /// A producer's.
    Producer,
    /// A topic's.
    Topic,
    /// A broker's.
    Broker,
    /// A consumer's, of a group.
    Consumer,
}

impl Place {
    /// Its name on the command line and in words.
    pub const fn name(self) -> &'static str {
        match self {
            Place::Producer => "producer",
            Place::Topic => "topic",
            Place::Broker => "broker",
            Place::Consumer => "consumer",
        }
    }

    /// Kafka's word for it.
    pub(super) const fn scope(self) -> Scope {
        match self {
            Place::Producer => Scope::Producer,
            Place::Topic => Scope::Topic,
            Place::Broker => Scope::Broker,
            Place::Consumer => Scope::Consumer,
        }
    }

    fn check(self, properties: &Properties) -> Result<Vec<Warning>, Vec<ConfigError>> {
        match self {
            Place::Producer => ProducerConfig::read(properties).map(|r| r.1),
            Place::Topic => TopicConfig::read(properties).map(|r| r.1),
            Place::Broker => BrokerConfig::read(properties).map(|r| r.1),
            Place::Consumer => ConsumerConfig::read(properties).map(|r| r.1),
        }
    }
}

/// Settings that every file has and that say nothing about losses or latencies.
const BESIDE_THE_POINT: &[&str] = &[
    "bootstrap.servers",
    "key.serializer",
    "value.serializer",
    "key.deserializer",
    "value.deserializer",
    "client.id",
    "group.id",
];

/// How long anything is waited for at most, in virtual time: what is not done by then stands still. Kafka lets a send take 24
/// days, and whoever sets that means to wait for ever.
const LONGEST_WAIT: Duration = Duration::from_secs(1200);

/// Members are static if the file names one; the names themselves are each member's own.
const STATIC: &str = "group.instance.id";

/// The settings on trial; what is not set is Kafka's default.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Subject {
    /// Of every producer.
    pub producer: Properties,
    /// Of the topic.
    pub topic: Properties,
    /// Of every broker.
    pub broker: Properties,
    /// Of every member of a group.
    pub consumer: Properties,
    /// Whether members are static (`group.instance.id` was given).
    pub fixed: bool,
    /// Settings given that Klamm does not act on: what they would change is not in the verdict.
    pub not_modelled: Vec<String>,
}

/// Settings in force.
pub(super) struct InForce {
    pub(super) producer: ProducerConfig,
    pub(super) broker: BrokerConfig,
    pub(super) topic: BrokerConfig,
    pub(super) consumer: ConsumerConfig,
}

/// What is wrong with a file, each with its line.
fn with_lines(name: &impl std::fmt::Display, wrong: &[(usize, String)]) -> miette::Report {
    let lines: Vec<String> = wrong.iter().map(|(line, what)| format!("{name}:{line}: {what}")).collect();
    miette::miette!("{}", lines.join("\n"))
}

/// Reads a properties file; returns its entries, and what is to be said of its form.
///
/// # Errors
/// With file and line, if it cannot be read, is too large, or is no properties file.
pub(crate) fn read_file(place: Place, path: &Path) -> miette::Result<(Vec<Entry>, Vec<String>)> {
    let name = path.display();
    let failed = |e: std::io::Error| miette::miette!("{name}: {e}");
    let mut bytes = Vec::new();
    std::fs::File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(miette::miette!(
            help = "properties files are some dozen lines",
            "{name}: over {MAX_FILE_BYTES} bytes is too large for a properties file"
        ));
    }
    let (text, marked) = properties::decode(&bytes);
    if let Some(why) = kinds::no_properties(&text) {
        return Err(miette::miette!("{name}: {why}"));
    }
    let entries = properties::parse(&text).map_err(|wrong| with_lines(&name, &wrong))?;
    let mut said = Vec::new();
    if marked {
        said.push("the byte-order mark at its start is skipped; Java makes it a part of the first name".to_owned());
    }
    said.extend(kinds::of_another_kind(place, &entries));
    Ok((entries, said))
}

/// Takes out of settings what a config provider gives and what belongs to plugins and listeners: neither is known here.
/// Returns their names.
pub(crate) fn take_out_unknowable(given: &mut Properties) -> Vec<String> {
    let provided = |value: &String| value.contains("${");
    // Roles, listeners and voters are judged together, or not at all.
    let hidden = given.values().any(provided);
    let unknowable = |key: &String, value: &String| {
        provided(value) || kinds::is_handed_on(key) || (hidden && key == "process.roles")
    };
    let names: Vec<String> = given.iter().filter(|(k, v)| unknowable(k, v)).map(|(k, _)| k.clone()).collect();
    names.iter().for_each(|name| drop(given.remove(name)));
    names
}

impl Subject {
    /// The settings of one place.
    pub fn of(&self, place: Place) -> &Properties {
        match place {
            Place::Producer => &self.producer,
            Place::Topic => &self.topic,
            Place::Broker => &self.broker,
            Place::Consumer => &self.consumer,
        }
    }

    /// Everything as it is in force, the topic's settings over the brokers'; nothing while some of it is refused.
    pub(super) fn in_force(&self) -> Option<InForce> {
        let (broker, _) = BrokerConfig::parse(&self.broker).ok()?;
        Some(InForce {
            producer: ProducerConfig::parse(&self.producer).ok()?.0,
            topic: TopicConfig::read_scaled(&self.topic).ok()?.0.over(&broker),
            broker,
            consumer: ConsumerConfig::parse(&self.consumer).ok()?.0,
        })
    }

    pub(super) fn of_mut(&mut self, place: Place) -> &mut Properties {
        match place {
            Place::Producer => &mut self.producer,
            Place::Topic => &mut self.topic,
            Place::Broker => &mut self.broker,
            Place::Consumer => &mut self.consumer,
        }
    }

    /// Takes a properties file. Returns what is to be said of it: names that Kafka ignores, forms that are others'.
    ///
    /// # Errors
    /// With file and line, if it cannot be read or Kafka would refuse it: everything at once.
    pub fn read(&mut self, place: Place, path: &Path) -> miette::Result<Vec<String>> {
        let name = path.display();
        let (entries, mut said) = read_file(place, path)?;
        let all = |wrong: Vec<(usize, String)>| with_lines(&name, &wrong);
        said.extend(self.take(place, &entries).map_err(all)?);
        Ok(said.into_iter().map(|what| format!("{name}: {what}")).collect())
    }

    fn take(&mut self, place: Place, entries: &[Entry]) -> Result<Vec<String>, Vec<(usize, String)>> {
        let mut given: Properties = entries.iter().map(|e| (e.key.clone(), e.value.clone())).collect();
        let line = |key: &str| entries.iter().rfind(|entry| entry.key == key).map_or(1, |entry| entry.line);
        let unknowable = take_out_unknowable(&mut given);
        self.not_modelled.extend(unknowable.iter().map(|key| format!("{} `{key}`", place.name())));
        let warnings = place.check(&given).map_err(|errors| {
            let mut wrong: Vec<(usize, String)> = errors.iter().map(|e| (line(e.key()), e.to_string())).collect();
            wrong.sort();
            // A file of another kind may be refused for its kind alone.
            let first = entries.first().map_or(1, |entry| entry.line);
            wrong.extend(kinds::of_another_kind(place, entries).into_iter().map(|what| (first, what)));
            wrong
        })?;
        given.retain(|key, _| !BESIDE_THE_POINT.contains(&key.as_str()));
        if place == Place::Consumer {
            self.fixed |= given.remove(STATIC).is_some();
        }
        let mut said = Vec::new();
        for warning in warnings {
            if given.remove(&warning.key).is_none() {
                continue;
            }
            if let Unheeded::Unknown { .. } = warning.why {
                said.push((line(&warning.key), warning.to_string()));
            } else {
                self.not_modelled.push(format!("{} `{}`", place.name(), warning.key));
            }
        }
        self.of_mut(place).extend(given);
        said.sort();
        Ok(said.into_iter().map(|(line, what)| format!("line {line}: {what}")).collect())
    }

    /// The same with one setting changed; `None` if that changes nothing, or if Kafka would refuse the whole.
    pub fn with(&self, place: Place, key: &str, value: &str) -> Option<Subject> {
        let mut changed = self.clone();
        changed.of_mut(place).insert(key.to_owned(), value.to_owned());
        place.check(changed.of(place)).ok()?;
        (changed.effective() != self.effective()).then_some(changed)
    }

    /// What is in force, defaults included.
    fn effective(&self) -> Option<(ProducerConfig, BrokerConfig, ConsumerConfig)> {
        let broker = BrokerConfig::parse(&self.broker).ok()?.0;
        let topic = TopicConfig::read_scaled(&self.topic).ok()?.0.over(&broker);
        Some((ProducerConfig::parse(&self.producer).ok()?.0, topic, ConsumerConfig::parse(&self.consumer).ok()?.0))
    }

    /// A setting in force, as a properties file would say it.
    pub fn current(&self, place: Place, key: &str) -> String {
        let fallback = |keys: &[(&str, &str)]| {
            keys.iter().find(|(k, _)| *k == key).map_or_else(String::new, |(_, default)| (*default).to_owned())
        };
        let broker = |key: &str| self.broker.get(key).cloned();
        match place {
            Place::Producer => self.producer.get(key).cloned().unwrap_or_else(|| fallback(ProducerConfig::KEYS)),
            Place::Broker => broker(key).unwrap_or_else(|| fallback(BrokerConfig::KEYS)),
            Place::Consumer => self.consumer.get(key).cloned().unwrap_or_else(|| fallback(ConsumerConfig::KEYS)),
            Place::Topic => {
                let of_brokers =
                    || broker(key).or_else(|| Some(fallback(BrokerConfig::KEYS)).filter(|v| !v.is_empty()));
                self.topic.get(key).cloned().or_else(of_brokers).unwrap_or_else(|| "not set".to_owned())
            }
        }
    }

    /// A fault class, with these settings in place of its own.
    pub fn onto(&self, class: &Scenario) -> Scenario {
        let put = |into: &mut Settings, from: &Properties| {
            into.extend(from.iter().map(|(k, v)| (k.clone(), Draw::Fixed(Setting(v.clone())))));
        };
        let mut scenario = class.clone();
        let longer = |within: &Draw<Span>, slowest: Duration| {
            let least = slowest.saturating_add(Duration::from_secs(60)).min(LONGEST_WAIT);
            Draw::Fixed(Span(within.extremes()[0].0.max(least)))
        };
        put(&mut scenario.broker, &self.broker);
        for topic in &mut scenario.topics {
            // What a class sets itself is what it is about, here as below.
            let own = topic.config.clone();
            put(&mut topic.config, &self.topic);
            topic.config.extend(own);
        }
        for client in scenario.clients.iter_mut().filter(|c| c.kind == ClientKind::Producer) {
            put(&mut client.config, &self.producer);
        }
        for client in scenario.clients.iter_mut().filter(|c| c.kind == ClientKind::Group) {
            // What a class sets itself is what it is about: a habit of the application, not a setting on trial.
            let habit = client.config.clone();
            put(&mut client.config, &self.consumer);
            client.config.extend(habit);
            if let Some(member) = &mut client.member {
                member.fixed |= self.fixed;
            }
        }
        if scenario.clients.iter().any(|c| c.kind == ClientKind::Group)
            && let Ok((config, _)) = ConsumerConfig::parse(&self.consumer)
        {
            // A dead member is waited for, a rebalance waits for those who do not poll, and new partitions are found
            // when metadata is fetched anew.
            let slowest = config.session_timeout.max(config.max_poll_interval).max(config.metadata_max_age);
            scenario.converge_within = longer(&scenario.converge_within, slowest);
        }
        // Whatever may still be pending when the faults end must be able to end.
        if let Ok((config, _)) = ProducerConfig::parse(&self.producer) {
            scenario.converge_within = longer(&scenario.converge_within, config.delivery_timeout);
        }
        scenario
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog;

    fn entries(text: &str) -> Vec<Entry> {
        properties::parse(text).unwrap()
    }

    #[test]
    fn settings_are_taken_and_what_is_not_modelled_is_named() {
        let mut s = Subject::default();
        s.take(Place::Producer, &entries("bootstrap.servers=b:9092\nacks=1\nsend.buffer.bytes=4096\n")).unwrap();
        assert_eq!(s.producer.get("acks").map(String::as_str), Some("1"));
        assert_eq!(s.not_modelled, ["producer `send.buffer.bytes`"]);
    }

    #[test]
    fn a_slip_has_its_line_and_a_suggestion() {
        let mut s = Subject::default();
        let said = s.take(Place::Producer, &entries("# ours\nacks=all\nlinger.sm=5\n")).unwrap();
        assert!(said[0].starts_with("line 3: ") && said[0].contains("did you mean `linger.ms`"), "{said:?}");
        assert!(!s.producer.contains_key("linger.sm"));
        let wrong =
            s.take(Place::Topic, &entries("\nmin.insync.replicas=zero\nsegment.byte=1\nretention.ms=-2")).unwrap_err();
        assert_eq!(wrong.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3, 4], "{wrong:?}");
        assert!(wrong[1].1.contains("did you mean `segment.bytes`"), "{wrong:?}");
    }

    #[test]
    fn a_change_that_changes_nothing_is_none() {
        let mut s = Subject::default();
        assert!(s.with(Place::Producer, "acks", "all").is_none(), "the default");
        assert!(s.with(Place::Topic, "min.insync.replicas", "2").is_some());
        s.broker.insert("min.insync.replicas".to_owned(), "2".to_owned());
        assert!(s.with(Place::Topic, "min.insync.replicas", "2").is_none(), "the brokers say so already");
        s.producer.insert("acks".to_owned(), "1".to_owned());
        assert!(s.with(Place::Producer, "enable.idempotence", "true").is_none(), "Kafka refuses it with acks=1");
        assert_eq!(s.current(Place::Topic, "min.insync.replicas"), "2");
        assert_eq!(s.current(Place::Producer, "acks"), "1");
    }

    #[test]
    fn a_consumers_file_is_taken_as_people_have_it() {
        let mut s = Subject::default();
        let text = "group.id=billing\ngroup.instance.id=pod-1\nenable.auto.commit=false\nmax.poll.records=50\n";
        s.take(Place::Consumer, &entries(text)).unwrap();
        assert!(s.fixed && s.not_modelled.is_empty() && s.consumer.len() == 2, "{s:?}");
        let class = catalog::find("audit-member-killed").unwrap().remove(0);
        let member = s.onto(&class).clients.remove(1);
        assert!(member.member.unwrap().fixed);
        assert_eq!(member.config["group.id"], Draw::Fixed(Setting("audited".to_owned())), "faults aim at it");
        assert_eq!(member.config["enable.auto.commit"], Draw::Fixed(Setting("false".to_owned())));
        // A habit of the application stays what it is.
        s.consumer.insert("enable.auto.commit".to_owned(), "true".to_owned());
        let habit = catalog::find("audit-committed-first").unwrap().remove(0);
        assert_eq!(s.onto(&habit).clients[1].config["enable.auto.commit"], Draw::Fixed(Setting("false".to_owned())));
    }

    #[test]
    fn every_class_takes_every_subject() {
        let mut s = Subject::default();
        s.producer.insert("delivery.timeout.ms".to_owned(), "600000".to_owned());
        for class in catalog::find("audit").unwrap() {
            let scenario = s.onto(&class);
            assert!(crate::schema::check(&scenario).is_ok(), "{}", class.name);
            assert!(scenario.converge_within.extremes()[0].0 >= Duration::from_secs(660));
        }
    }
}
