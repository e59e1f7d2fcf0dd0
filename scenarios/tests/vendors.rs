//! Typical files of Kafka's relatives (`cases/vendors`), by their names: what Kafka would only warn about is a warning, and a
//! file of another kind is recognised.

mod common;

use common::{Place, Said};
use std::path::PathBuf;

fn file(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases/vendors");
    folder.join(name).to_str().expect("a path of ASCII").to_owned()
}

/// A quick audit of one file.
fn audit(option: &str, name: &str) -> Said {
    let place = Place::new();
    place.klamm(&["audit", option, &file(name), "--seeds", "1", "--no-changes", "--fault", "quiet", "--out", "out"])
}

/// It is judged, with these warnings and no other.
#[track_caller]
fn judged(option: &str, name: &str, warnings: &[&str]) {
    let said = audit(option, name);
    assert!(matches!(said.code, 0 | 1), "{name}: {said:?}");
    let told: Vec<&str> = said.err.lines().filter(|line| line.starts_with("warning: ")).collect();
    for words in warnings {
        assert!(told.iter().any(|line| line.contains(words)), "{name} does not say `{words}`: {told:#?}");
    }
    let beyond: Vec<_> = told.iter().filter(|line| !warnings.iter().any(|words| line.contains(words))).collect();
    assert!(beyond.is_empty(), "{name} says more than it should: {beyond:#?}");
}

/// It is refused, and each of these words stands in the one answer, in this order.
#[track_caller]
fn refused(option: &str, name: &str, words: &[&str]) {
    let said = audit(option, name);
    assert_eq!(said.code, 2, "{name}: {said:?}");
    // The diagnostics break long lines.
    let flat = said.err.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
    let mut rest = flat.as_str();
    for word in words {
        let at = rest.find(word).unwrap_or_else(|| panic!("{name} does not say `{word}` here: {rest}"));
        rest = &rest[at + word.len()..];
    }
}

const UNKNOWN: &str = "Kafka has no";

#[test]
fn kafka_server() {
    judged("--broker", "kafka-server.properties", &[]);
}

#[test]
fn kafka_broker() {
    judged("--broker", "kafka-broker.properties", &[]);
}

#[test]
fn kafka_controller() {
    judged("--broker", "kafka-controller.properties", &["this is a controller's file"]);
}

#[test]
fn a_brokers_file_for_a_producer() {
    judged("--producer", "kafka-broker.properties", &["names are no producer's but a broker's", UNKNOWN]);
}

/// Confluent's own names are Confluent's; reporters and authorizers that are not there are none of Kafka's errors here.
#[test]
fn confluent_server() {
    judged("--broker", "confluent-server.properties", &["called `confluent."]);
}

/// What providers give, listeners' own settings and an authorizer's users.
#[test]
fn strimzi_broker() {
    judged("--broker", "strimzi-broker.properties", &["5 values are for a config provider", "`super.users`"]);
}

#[test]
fn connect_distributed() {
    for option in ["--broker", "--producer", "--consumer"] {
        judged(option, "connect-distributed.properties", &["Kafka Connect's workers", UNKNOWN]);
    }
}

#[test]
fn connect_standalone() {
    judged("--consumer", "connect-standalone.properties", &["Kafka Connect's workers", UNKNOWN]);
}

#[test]
fn spring_application_properties() {
    judged("--producer", "spring-application.properties", &["these are Spring's", UNKNOWN]);
}

#[test]
fn spring_application_yml() {
    for option in ["--broker", "--producer", "--consumer", "--topic"] {
        refused(option, "spring-application.yml", &["spring-application.yml: this is YAML, and no properties file"]);
    }
}

#[test]
fn librdkafka_producer() {
    judged("--producer", "librdkafka-producer.properties", &["9 names are librdkafka's", UNKNOWN]);
}

/// A value that only librdkafka takes is refused with Kafka's reason, and with the file's kind.
#[test]
fn librdkafka_consumer() {
    let words = ["librdkafka-consumer.properties:4: Invalid value smallest", "names are librdkafka's"];
    refused("--consumer", "librdkafka-consumer.properties", &words);
}

/// Serializers and interceptors that are not Kafka's, security, and a password from the environment.
#[test]
fn java_producer() {
    let warnings = ["1 values are for a config provider to give, such as `sasl.jaas.config`", "`schema.registry.url`"];
    judged("--producer", "java-producer.properties", &warnings);
}

#[test]
fn all_errors_of_a_file_come_in_one_answer() {
    let lines = [2, 3, 4, 5, 6, 7].map(|line| format!("many-errors.broker.properties:{line}: Invalid value"));
    refused("--broker", "many-errors.broker.properties", &lines.each_ref().map(String::as_str));
}
