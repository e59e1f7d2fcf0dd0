//! The words of scenario files with a line each: faults, marks, checks and Kafka's settings. Names come from where they are
//! at home; this adds what they mean.

use crate::run::MARKS_IN_WORDS;
use crate::schema::{KINDS, checks};
use klamm_model::config::table::{self, Row, Value};
use klamm_model::config::{BrokerConfig, ConsumerConfig, ProducerConfig, Properties, Scope, TopicConfig, Unheeded};

/// A word and what it means.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Line {
    /// The word.
    pub name: String,
    /// Where it may stand, or what it needs; empty if that is always the same.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub of: String,
    /// What it means.
    pub about: String,
}

/// What there are words of, in the order of `klamm list --help`.
pub const TOPICS: [&str; 4] = ["faults", "marks", "checks", "settings"];

/// The words of a topic; `None` if it is none of [`TOPICS`].
pub fn lines(topic: &str) -> Option<Vec<Line>> {
    let line = |name: &str, of: String, about: &str| Line { name: name.to_owned(), of, about: about.to_owned() };
    Some(match topic {
        "faults" => KINDS.iter().map(|(kind, needs, about)| line(kind, needs.join(", "), about)).collect(),
        "marks" => MARKS_IN_WORDS.iter().map(|(mark, about)| line(mark, String::new(), about)).collect(),
        "checks" => checks().into_iter().map(|check| line(check, String::new(), check_in_words(check))).collect(),
        "settings" => settings(),
        _ => return None,
    })
}

/// What a violation of a check is.
fn check_in_words(check: &str) -> &'static str {
    CHECKS.iter().find(|(name, _)| *name == check).map_or("", |(_, about)| about)
}

/// What a violation of each check is: first what clients can see, then what only the world can.
const CHECKS: &[(&str, &str)] = &[
    ("lost-write", "an acknowledged record is missing although later ones of its partition were read"),
    ("unseen", "an acknowledged record was never read by the final full read"),
    ("failed-write-visible", "a send that definitely failed is read"),
    ("send-resolves", "a send has no outcome after delivery.timeout.ms and max.block.ms"),
    ("key-affinity", "one key went to two partitions, though their number did not change"),
    ("duplicate", "one record stands at two offsets"),
    ("inconsistent-offsets", "two records stand at one offset"),
    ("unknown-read", "a record that was never sent, or elsewhere than it was sent to or acknowledged"),
    ("nonmonotonic-send", "a producer's later send lies at a lower offset; the earlier had ended before it began"),
    ("int-nonmonotonic-send", "the same of two sends that were under way together"),
    ("poll-skip", "between two polls a consumer jumped over a record that another reader got"),
    ("int-poll-skip", "the same within one poll"),
    ("nonmonotonic-poll", "between two polls a consumer went back, though nothing moved its position"),
    ("int-nonmonotonic-poll", "the same within one poll"),
    ("realtime-order", "an acknowledged send lies below an offset that was acknowledged before it began"),
    ("next-offset-divergence", "two readers saw different records follow upon one offset"),
    ("read-epoch-regression", "along a partition the leader epochs of the records read fall"),
    ("list-offsets-regression", "a later question for the latest offset got a lower answer at no lower epoch"),
    ("illegal-resume", "a group member began elsewhere than at a commit, a reset or a truncation"),
    ("skipped-record", "in the end a record below a group's committed offset was finished by no member"),
    ("commit-too-far", "a commit covers a record that was delivered to no member"),
    ("commit-regression", "a member's auto-commits went back within one assignment"),
    ("clean-handover", "a clean handover delivered a record again that its commit covered"),
    ("double-effect", "a record had its effect outside Kafka twice"),
    ("compacted-value", "in the end a compacted topic lacks the last acknowledged value of a key"),
    ("read-model", "in the end an instance of a read model holds another value than its topic"),
    ("half-done", "a service committed a record of which not everything followed"),
    ("out-of-step", "what follows from two records of one key stands in the wrong order"),
    ("ack-justified", "an acknowledgement rests on less than the replicas must hold"),
    ("assignment-legal", "a group's partitions were shared out against its protocol"),
    ("batch-integrity", "the bytes of a batch are not those that its producer made"),
    ("client-recovers", "the faults are over, and a client that lived through them does not work"),
    ("committed-offset", "an acknowledged commit is not in the log, or an answer is not what was committed"),
    ("committed-prefix", "what was committed changed, or a leader's high watermark passed what is not"),
    ("compaction-legal", "compaction removed a record that nothing supersedes"),
    ("convergence", "some time after the faults ended, something still had not settled"),
    ("crash", "a node panicked"),
    ("deletion-legal", "a log's start moved over what retention keeps"),
    ("disk-audit", "a replica's files are not what its log should be"),
    ("fencing", "something of an epoch that is over was accepted"),
    ("high-watermark", "a high watermark went back, or beyond what it may say"),
    ("isr-legal", "a replica counted as in sync that may not"),
    ("leader-completeness", "a new leader lacks a committed record"),
    ("liveness-verdicts", "a living member was expelled, or a dead one kept"),
    ("log-matching", "one offset and epoch name two batches"),
    ("metadata-prefix", "a node's metadata is no prefix of the controller's"),
    ("needless-move", "a sticky assignment moved a partition without need"),
    ("needless-rebalance", "a settled group rebalanced without a reason"),
    ("needless-revocation", "a cooperative member gave up a partition that it keeps"),
    ("no-spurious-reset", "an offset that the log has was answered as out of range"),
    ("quorum-safety", "two metadata records were committed at one offset"),
    ("replay-equals-live", "what a node holds is not what its own log adds up to"),
    ("runaway", "a seed had far more events than its load explains"),
    ("sequence-contiguous", "a producer's batches do not follow one another in a log"),
    ("shell-contract", "a message was lost, doubled, changed or reordered between two living shells"),
    ("single-leader-per-epoch", "two leaders in one epoch"),
    ("single-owner", "two members own one partition"),
    ("trace-contradicted", "a node says of itself what its messages or its disk contradict"),
    ("truncation-justified", "a log was cut where no leader asked for it"),
    ("unique-ids", "one id was given out twice"),
];

/// Every setting that a scenario file may hold, by table.
fn settings() -> Vec<Line> {
    [Scope::Broker, Scope::Topic, Scope::Producer, Scope::Consumer]
        .into_iter()
        .flat_map(|scope| table::rows(scope).iter().map(move |row| (scope, row)))
        .map(|(scope, row)| Line {
            name: row.name.to_owned(),
            of: scope.name().to_owned(),
            about: {
                let kind = format!("{:?}", row.kind).to_lowercase();
                format!("{kind}, {}{}", default(row), if acts(scope, row) { "" } else { "; no effect here" })
            },
        })
        .collect()
}

fn default(row: &Row) -> String {
    match &row.default {
        None => "must be set".to_owned(),
        Some(Value::Null) => "not set by default".to_owned(),
        Some(Value::Bool(b)) => format!("default {b}"),
        Some(Value::Int(n)) => format!("default {n}"),
        Some(Value::Double(n)) => format!("default {n}"),
        Some(Value::Text(text)) if text.is_empty() => "default empty".to_owned(),
        Some(Value::Text(text)) => format!("default {text}"),
        Some(Value::List(list)) if list.is_empty() => "default empty".to_owned(),
        Some(Value::List(list)) => format!("default {}", list.join(",")),
    }
}

/// Whether Klamm acts on a setting: with some value it takes, the model says nothing of having passed it over.
fn acts(scope: Scope, row: &Row) -> bool {
    let reads = |value: &str| {
        let one: Properties = [(row.name.to_owned(), value.to_owned())].into_iter().collect();
        let warnings = match scope {
            Scope::Broker => BrokerConfig::read(&one).ok()?.1,
            Scope::Topic => TopicConfig::read(&one).ok()?.1,
            Scope::Producer => ProducerConfig::read(&one).ok()?.1,
            Scope::Consumer => ConsumerConfig::read(&one).ok()?.1,
            Scope::Admin | Scope::Group => return None,
        };
        Some(!warnings.iter().any(|w| w.key == row.name && w.why == Unheeded::NotModelled))
    };
    let default = default(row);
    let default = default.strip_prefix("default ").filter(|word| *word != "empty").unwrap_or_default();
    [default, "1", "true", "-1", "1000000"].into_iter().find_map(reads).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_check_is_in_words_and_no_other() {
        let told: Vec<&str> = CHECKS.iter().map(|(name, _)| *name).collect();
        assert_eq!(told.iter().copied().collect::<BTreeSet<_>>(), checks().into_iter().collect());
        assert_eq!(told.len(), checks().len());
    }

    #[test]
    fn every_topic_has_lines_and_every_line_words() {
        for topic in TOPICS {
            let lines = lines(topic).unwrap();
            assert!(
                lines.iter().all(|l| !l.name.is_empty() && l.about.len() > 5 && !l.about.contains('\n')),
                "{topic}"
            );
            let names: BTreeSet<(&str, &str)> = lines.iter().map(|l| (l.of.as_str(), l.name.as_str())).collect();
            assert_eq!(names.len(), lines.len(), "{topic}");
        }
        assert_eq!(lines("fault"), None);
    }

    #[test]
    fn settings_say_whether_they_have_an_effect() {
        let all = lines("settings").unwrap();
        assert_eq!(all.len(), 379 + 38 + 120 + 120);
        let about = |of: &str, name: &str| &all.iter().find(|l| l.of == of && l.name == name).unwrap().about;
        assert_eq!(about("producer", "linger.ms"), "long, default 5");
        assert_eq!(about("consumer", "session.timeout.ms"), "int, default 45000");
        assert!(about("producer", "compression.lz4.level").ends_with("; no effect here"));
    }
}
