//! What Kafka says of a set of settings: types and bounds as `ConfigDef.parse` checks them, then the rules between them.

use super::table::{self, Row, Rule, Scope, Type, Value};
use super::{ConfigError, Properties, rules, special};
use std::collections::BTreeMap;

/// What Kafka says of settings.
#[derive(Clone, PartialEq, Debug)]
pub struct Examined {
    /// Why it refuses them, everything at once; none: it takes them.
    pub refused: Vec<ConfigError>,
    /// Names that it does not know and ignores.
    pub unknown: Vec<String>,
}

/// Settings with their types, defaults where nothing is given.
pub(super) struct Values<'a> {
    scope: Scope,
    given: &'a Properties,
    parsed: BTreeMap<&'static str, Value>,
    /// All settings are here: what is missing is missing.
    pub(super) whole: bool,
}

impl Values<'_> {
    fn get(&self, name: &str) -> &Value {
        let row = table::find(self.scope, name).unwrap_or_else(|| panic!("`{name}` is no setting of Kafka's"));
        self.parsed.get(name).or(row.default.as_ref()).unwrap_or(&Value::Null)
    }
    /// A number; none if it is not set.
    pub(super) fn number(&self, name: &str) -> Option<i64> {
        if let Value::Int(n) = self.get(name) { Some(*n) } else { None }
    }
    /// A number that has a default.
    pub(super) fn int(&self, name: &str) -> i64 {
        self.number(name).unwrap_or_default()
    }
    /// A text; empty if it is not set.
    pub(super) fn text(&self, name: &str) -> &str {
        if let Value::Text(t) = self.get(name) { t } else { "" }
    }
    /// A list; none if it is not set.
    pub(super) fn list(&self, name: &str) -> Option<&[String]> {
        if let Value::List(l) = self.get(name) { Some(l) } else { None }
    }
    /// A boolean.
    pub(super) fn is(&self, name: &str) -> bool {
        *self.get(name) == Value::Bool(true)
    }
    /// Whether it is given, whatever its value.
    pub(super) fn given(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }
    /// As it is given.
    pub(super) fn raw(&self, name: &str) -> Option<&str> {
        self.given.get(name).map(String::as_str)
    }
}

/// Examines settings that are a part of all there are: what must be set may be missing, the harness sets it.
pub fn examine(scope: Scope, given: &Properties) -> Examined {
    check(scope, given, false)
}

/// Examines settings that are all there are.
pub fn examine_whole(scope: Scope, given: &Properties) -> Examined {
    check(scope, given, true)
}

fn check(scope: Scope, given: &Properties, whole: bool) -> Examined {
    let (mut refused, mut unknown) = (Vec::new(), Vec::new());
    let mut parsed = BTreeMap::new();
    for (key, text) in given {
        let Some(row) = table::find(scope, key) else {
            if matches!(scope, Scope::Topic | Scope::Group) {
                let nearest = table::nearest_name(scope, key);
                refused.push(ConfigError::UnknownKey { kind: scope.name(), key: key.clone(), nearest });
            } else {
                unknown.push(key.clone());
            }
            continue;
        };
        match parse(row, text).and_then(|value| hold(row, &value).map(|()| value)) {
            Ok(value) => drop(parsed.insert(row.name, value)),
            Err(error) => refused.push(error),
        }
    }
    if scope == Scope::Broker {
        // Kafka's `populateSynonyms`.
        for (from, to) in [("broker.id", "node.id"), ("node.id", "broker.id")] {
            if let Some(id) = parsed.get(from).cloned()
                && !given.contains_key(to)
            {
                parsed.insert(to, id);
            }
        }
    }
    if whole {
        let missing =
            |row: &&Row| row.default.is_none() && !given.contains_key(row.name) && !parsed.contains_key(row.name);
        refused.extend(table::rows(scope).iter().filter(missing).map(|row| ConfigError::Conflict {
            key: row.name.to_owned(),
            why: format!("Missing required configuration \"{}\" which has no default value.", row.name),
        }));
    }
    let values = Values { scope, given, parsed, whole };
    // A rule about a value that is refused says nothing, unless it is about the text itself.
    let bad: Vec<String> = refused.iter().map(|e| e.key().to_owned()).collect();
    refused.extend(rules::of_text(scope, &values));
    refused.extend(rules::broken(scope, &values).into_iter().filter(|broken| {
        let why = broken.to_string();
        !bad.iter().any(|key| broken.key() == key || why.contains(key.as_str()))
    }));
    Examined { refused, unknown }
}

/// As Kafka's `ConfigDef.parseType`.
fn parse(row: &Row, text: &str) -> Result<Value, ConfigError> {
    let trimmed = text.trim();
    let wrong = |reason: String| ConfigError::BadValue { key: row.name.to_owned(), value: text.to_owned(), reason };
    let number = |kind: &str, range: std::ops::RangeInclusive<i64>| {
        let parsed = trimmed.parse::<i64>().ok().filter(|n| range.contains(n));
        parsed.map(Value::Int).ok_or_else(|| wrong(format!("Not a number of type {kind}")))
    };
    match row.kind {
        Type::Boolean if trimmed.eq_ignore_ascii_case("true") => Ok(Value::Bool(true)),
        Type::Boolean if trimmed.eq_ignore_ascii_case("false") => Ok(Value::Bool(false)),
        Type::Boolean => Err(wrong("Expected value to be either true or false".to_owned())),
        Type::Short => number("SHORT", i64::from(i16::MIN)..=i64::from(i16::MAX)),
        Type::Int => number("INT", i64::from(i32::MIN)..=i64::from(i32::MAX)),
        Type::Long => number("LONG", i64::MIN..=i64::MAX),
        Type::Double => {
            let parsed = trimmed.trim_end_matches(['d', 'D', 'f', 'F']).parse::<f64>();
            parsed.map(Value::Double).map_err(|_| wrong("Not a number of type DOUBLE".to_owned()))
        }
        Type::List if trimmed.is_empty() => Ok(Value::List(Vec::new())),
        Type::List => {
            let mut words: Vec<String> = trimmed.split(',').map(|word| word.trim().to_owned()).collect();
            if let Rule::List { .. } = row.rule {
                // Kafka leaves out what is named twice.
                let mut seen = std::collections::BTreeSet::new();
                words.retain(|word| seen.insert(word.clone()));
            }
            Ok(Value::List(words))
        }
        Type::Class if trimmed.is_empty() => Err(wrong(format!("Class {text} could not be found."))),
        Type::String | Type::Class | Type::Password => Ok(Value::Text(trimmed.to_owned())),
    }
}

/// As the validator of the setting.
fn hold(row: &Row, value: &Value) -> Result<(), ConfigError> {
    let shown = show(value);
    let wrong = |reason: String| Err(ConfigError::BadValue { key: row.name.to_owned(), value: shown.clone(), reason });
    let plain = |why: String| Err(ConfigError::Conflict { key: row.name.to_owned(), why });
    let as_number = |value: &Value| match value {
        Value::Int(n) => *n as f64,
        Value::Double(d) => *d,
        _ => 0.0,
    };
    let bound = |text: &str| text.parse::<f64>().expect("a bound is a number");
    match (&row.rule, value) {
        (Rule::Range(Some(least), _), v) if as_number(v) < bound(least) => {
            wrong(format!("Value must be at least {least}"))
        }
        (Rule::Range(_, Some(most)), v) if as_number(v) > bound(most) => {
            wrong(format!("Value must be no more than {most}"))
        }
        (Rule::In(words), Value::Text(text)) if !words.contains(&text.as_str()) => {
            wrong(format!("String must be one of: {}", words.join(", ")))
        }
        (Rule::InAnyCase(words), Value::Text(text)) if !words.iter().any(|w| w.eq_ignore_ascii_case(text)) => {
            wrong(format!("String must be one of (case insensitive): {}", words.join(", ")))
        }
        (Rule::NonEmpty, Value::Text(text)) if text.is_empty() => wrong("String must be non-empty".to_owned()),
        (Rule::List { empty: false, words }, Value::List(list)) if list.is_empty() => {
            let valid =
                if words.is_empty() { "any non-empty value".to_owned() } else { format!("[{}]", words.join(", ")) };
            plain(format!("Configuration '{}' must not be empty. Valid values include: {valid}", row.name))
        }
        (Rule::List { words, .. }, Value::List(list)) => {
            let bad = |word: &&String| word.is_empty() || !(words.is_empty() || words.contains(&word.as_str()));
            match list.iter().find(bad) {
                Some(word) if word.is_empty() => {
                    plain(format!("Configuration '{}' values must not be empty.", row.name))
                }
                Some(word) => Err(ConfigError::BadValue {
                    key: row.name.to_owned(),
                    value: word.clone(),
                    reason: format!("String must be one of: {}", words.join(", ")),
                }),
                None => Ok(()),
            }
        }
        (Rule::Special, value) => special::hold(row.name, value, &shown),
        _ => Ok(()),
    }
}

/// As Java prints it.
fn show(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Int(n) => n.to_string(),
        Value::Double(d) => format!("{d:?}"),
        Value::Text(text) => text.clone(),
        Value::List(list) => format!("[{}]", list.join(", ")),
    }
}
