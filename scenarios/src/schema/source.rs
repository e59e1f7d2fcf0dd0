//! A scenario file as a tree in which every key and every value knows its place, and paths to find them by.

use std::fmt;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One step of a [`Path`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Step {
    /// Into a table, by key.
    Key(String),
    /// Into a list, counted from 0.
    Item(usize),
    /// Any item of a list: only in what a notice depends on.
    Any,
}

impl From<&str> for Step {
    fn from(key: &str) -> Step {
        Step::Key(key.to_owned())
    }
}

impl From<&String> for Step {
    fn from(key: &String) -> Step {
        Step::Key(key.clone())
    }
}

impl From<usize> for Step {
    fn from(item: usize) -> Step {
        Step::Item(item)
    }
}

/// The way to a value of a scenario, such as `clients`, 0, `load`, `rate`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Path(Vec<Step>);

impl Path {
    /// The whole scenario.
    pub fn root() -> Path {
        Path::default()
    }
    /// One step further.
    pub fn to(&self, step: impl Into<Step>) -> Path {
        let mut longer = self.clone();
        longer.0.push(step.into());
        longer
    }
    /// The way to the last key: an item of a list stands under its list's.
    pub fn key(&self) -> Path {
        let end = self.0.iter().rposition(|step| matches!(step, Step::Key(_))).map_or(0, |n| n + 1);
        Path(self.0[..end].to_vec())
    }
    /// Its steps.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }
    /// Whether this place is the other, or lies in it.
    pub fn is_in(&self, other: &Path) -> bool {
        let alike = |(a, b): (&Step, &Step)| {
            a == b || matches!((a, b), (Step::Any, Step::Item(_)) | (Step::Item(_), Step::Any))
        };
        other.0.len() <= self.0.len() && self.0.iter().zip(&other.0).all(alike)
    }
}

/// As messages name it: `[[clients]]`, `[broker]`, `load`.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            [] => f.write_str("the scenario"),
            [Step::Key(key)] => write!(f, "[{key}]"),
            [.., Step::Key(key), Step::Item(_) | Step::Any] => write!(f, "[[{key}]]"),
            [.., Step::Key(key)] => write!(f, "`{key}`"),
            [.., Step::Item(n)] => write!(f, "item {}", n + 1),
            [.., Step::Any] => f.write_str("an item"),
        }
    }
}

/// A path: `at!["clients", i, "load"]`.
macro_rules! at {
    ($($step:expr),+ $(,)?) => { $crate::schema::source::Path::root()$(.to($step))+ };
}
pub(super) use at;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// In bytes from the beginning of the file.
    pub span: Range<usize>,
    /// The value.
    pub item: Item,
}

/// A value.
#[derive(Clone, Debug)]
pub enum Item {
    /// Keys with values, in the order of the file.
    Table(Vec<Entry>),
    /// A list.
    List(Vec<Node>),
    /// Anything else, as TOML has it. A whole number beyond 64 bits is one with a fraction.
    Plain(toml::Value),
}

/// A key with its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub span: Range<usize>,
    /// The value.
    pub node: Node,
}

impl Node {
    /// Reads TOML. What cannot be read is left out, and told with its place.
    pub fn read(text: &str) -> (Node, Vec<(String, Option<Range<usize>>)>) {
        let (table, errors) = DeTable::parse_recoverable(text);
        let span = table.span();
        let node = Node { span, item: Item::Table(entries(table.get_ref())) };
        (node, errors.into_iter().map(|e| (e.message().to_owned(), e.span())).collect())
    }

    fn of(value: &Spanned<DeValue<'_>>) -> Node {
        let plain = |value| Item::Plain(value);
        let item = match value.get_ref() {
            DeValue::String(text) => plain(toml::Value::String(text.to_string())),
            DeValue::Integer(n) => plain(match i64::from_str_radix(n.as_str(), n.radix()) {
                Ok(n) => toml::Value::Integer(n),
                Err(_) => toml::Value::Float(n.as_str().parse().unwrap_or(f64::INFINITY)),
            }),
            DeValue::Float(n) => plain(toml::Value::Float(n.as_str().parse().unwrap_or(f64::NAN))),
            DeValue::Boolean(b) => plain(toml::Value::Boolean(*b)),
            DeValue::Datetime(time) => plain(toml::Value::Datetime(*time)),
            DeValue::Array(list) => Item::List(list.iter().map(Node::of).collect()),
            DeValue::Table(table) => Item::Table(entries(table)),
        };
        Node { span: value.span(), item }
    }

    /// Without places.
    pub fn to_toml(&self) -> toml::Value {
        match &self.item {
            Item::Plain(value) => value.clone(),
            Item::List(list) => toml::Value::Array(list.iter().map(Node::to_toml).collect()),
            Item::Table(table) => toml::Value::Table(table.iter().map(|e| (e.key.clone(), e.node.to_toml())).collect()),
        }
    }

    /// The entry of a key.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        match &self.item {
            Item::Table(table) => table.iter().find(|e| e.key == key),
            _ => None,
        }
    }

    /// Where a path leads: the value, or as far as there is something on the way. A default stands nowhere.
    /// `on_key` asks for the last key instead; `within` for a part of a text.
    pub fn place(&self, text: &str, path: &Path, on_key: bool, within: Option<&Range<usize>>) -> Range<usize> {
        let mut at = self;
        let mut name: Option<&Range<usize>> = None;
        let mut arrived = true;
        for step in path.steps() {
            let next = match (step, &at.item) {
                (Step::Key(key), _) => at.get(key).map(|e| (Some(&e.span), &e.node)),
                (Step::Item(n), Item::List(list)) => list.get(*n).map(|node| (None, node)),
                _ => None,
            };
            let Some((key, node)) = next else {
                arrived = false;
                break;
            };
            // What stands in a list of tables has a header of its own; an element of a plain list is itself.
            name = key.or(if matches!(node.item, Item::Table(_)) { None } else { name });
            at = node;
        }
        let first_line = |span: &Range<usize>| {
            let line = text[span.start..].find('\n').map_or(text.len(), |n| span.start + n);
            span.start..span.end.min(line).max(span.start)
        };
        if let (Some(name), true) = (name, on_key || !arrived || matches!(at.item, Item::Table(_))) {
            return name.clone();
        }
        if at.span.is_empty() || path.steps().is_empty() || std::ptr::eq(at, self) {
            return first_line(&(0..text.len()));
        }
        let inside = inside(text, at);
        match within {
            Some(part) => inside.map_or(first_line(&at.span), |inner| inner.start + part.start..inner.start + part.end),
            None => inside.unwrap_or_else(|| first_line(&at.span)),
        }
    }
}

/// The text between quotes, if it stands there as it is meant: without escapes, on one line.
fn inside(text: &str, node: &Node) -> Option<Range<usize>> {
    let Item::Plain(toml::Value::String(value)) = &node.item else { return None };
    let inner = node.span.start + 1..node.span.end.checked_sub(1)?;
    (!value.is_empty() && text.get(inner.clone()) == Some(value)).then_some(inner)
}

fn entries(table: &DeTable<'_>) -> Vec<Entry> {
    let mut all: Vec<Entry> = table
        .iter()
        .map(|(key, value)| {
            let (word, span) = (key.get_ref().to_string(), key.span());
            // A key in quotes is what stands between them.
            let span = if span.len() == word.len() + 2 { span.start + 1..span.end - 1 } else { span };
            Entry { key: word, span, node: Node::of(value) }
        })
        .collect();
    all.sort_by_key(|e| e.span.start);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "name = \"x\"\n[[fault]]\nkind = \"kill\"\nwho = [\"b1\", \"b7\"]\n[broker]\n\"a.b\" = [1, 22]\n\
                        [[topic]]\nname = \"t\"\n[topic.config]\nq = 0x10\n";

    fn shown(path: &Path, on_key: bool, within: Option<Range<usize>>) -> &'static str {
        &TEXT[Node::read(TEXT).0.place(TEXT, path, on_key, within.as_ref())]
    }

    #[test]
    fn paths_lead_to_words() {
        assert_eq!(shown(&at!["name"], false, None), "x");
        assert_eq!(shown(&at!["name"], true, None), "name");
        assert_eq!(shown(&at!["fault", 0, "who", 1], false, None), "b7");
        assert_eq!(shown(&at!["fault", 0, "who", 1], false, Some(1..2)), "7");
        assert_eq!(shown(&at!["broker", "a.b", 1], false, None), "22");
        assert_eq!(shown(&at!["topic", 0, "config", "q"], false, None), "0x10");
        assert_eq!(shown(&at!["topic", 0, "config", "q"], true, None), "q");
    }

    #[test]
    fn what_is_not_there_is_shown_by_what_it_would_stand_in() {
        assert_eq!(shown(&at!["fault", 0, "at"], false, None), "[[fault]]");
        assert_eq!(shown(&at!["topic", 0], false, None), "[[topic]]");
        assert_eq!(shown(&at!["topic", 0, "config", "z"], false, None), "config");
        assert_eq!(shown(&at!["duration"], false, None), "name = \"x\"");
    }

    #[test]
    fn a_place_lies_in_another() {
        let rate = at!["clients", 3, "load", "rate"];
        assert!(rate.is_in(&at!["clients", Step::Any, "load"]) && rate.is_in(&at!["clients"]));
        assert!(!rate.is_in(&at!["clients", 2]) && !at!["clients"].is_in(&rate));
        assert_eq!(at!["clients", 0].to_string(), "[[clients]]");
    }
}
