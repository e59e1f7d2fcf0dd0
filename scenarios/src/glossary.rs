//! The words of scenario files with a line each: faults, marks, checks and Kafka's settings. Names come from where they are
//! at home; this adds what they mean.

use crate::run::MARKS_IN_WORDS;
use crate::schema::KINDS;
use klamm_model::checks::{Check, CheckKind};
use klamm_model::config::table::{self, Row, Value};
use klamm_model::config::{BrokerConfig, ConsumerConfig, ProducerConfig, Properties, Scope, TopicConfig, Unheeded};
use klamm_workloads::permission::{Cause, TABLE};
use std::collections::BTreeSet;

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
        "checks" => Check::ALL.iter().map(|check| line(check.name(), String::new(), check.violation())).collect(),
        "settings" => settings(),
        _ => return None,
    })
}

/// The page `docs/checks.md`: every check with what a violation is, what it counts, where the rule comes from and what permits it.
pub fn checks_page() -> String {
    let mut page = String::from(
        "# Checks\n\nWhat a run is judged by. *Counts* is what a check looks at: a check that counted nothing says nothing by its \
         silence. *Permitted by* names what may excuse a finding; where a check is in no row of that table, nothing does. Written \
         by `KLAMM_DOCS=write cargo test -p klamm-scenarios --lib glossary`.\n",
    );
    for (kind, about) in [
        (CheckKind::Oracle, "## Oracles: by what clients did and saw"),
        (CheckKind::Invariant, "## Invariants: by messages, disk operations and what nodes say of themselves"),
        (CheckKind::World, "## The world: how a seed ends"),
    ] {
        page +=
            &format!("\n{about}\n\n| check | a violation | counts | source | permitted by |\n|---|---|---|---|---|\n");
        for check in Check::of_kind(kind) {
            let causes: BTreeSet<Cause> =
                TABLE.iter().filter(|row| row.checks.contains(&check)).flat_map(|row| row.causes).copied().collect();
            let causes: Vec<&str> = causes.into_iter().map(Cause::meaning).collect();
            let (violation, counts, source) = (check.violation(), check.counts(), check.source());
            page += &format!("| `{check}` | {violation} | {counts} | {source} | {} |\n", causes.join("; "));
        }
    }
    page
}

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

    #[test]
    fn the_page_of_checks_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/checks.md");
        if std::env::var("KLAMM_DOCS").is_ok_and(|mode| mode == "write") {
            std::fs::write(path, checks_page()).unwrap();
        }
        assert!(std::fs::read_to_string(path).unwrap_or_default() == checks_page(), "{path} is of another table");
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
