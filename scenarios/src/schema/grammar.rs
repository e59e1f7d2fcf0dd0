//! The grammar of scenario files, walked along the published schema: every slip of a file at once, each with its place and
//! in the file's words.
//!
//! What cannot be read is mended, so that the rest can be judged: a key that is nearly right becomes the one that was
//! probably meant, a value that is none gets a stand-in. What follows from a stand-in is not said.

use super::draw::{Atom, Bandwidth, Draw, MAX_CHOICES, Setting, Share, Size, Span, found, whole};
use super::source::{Entry, Item, Node, Path, Step};
use super::{Scenario, published};
use crate::suggest;
use serde::Deserialize;
use serde_json::Value as Json;
use std::ops::Range;
use std::sync::LazyLock;

/// A slip of the grammar.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Slip {
    /// What is wrong.
    pub message: String,
    /// Where.
    pub span: Range<usize>,
    /// What to do.
    pub help: Option<String>,
}

/// A scenario as far as it can be read.
pub struct Read {
    /// The scenario, mended; none where even that is not one.
    pub scenario: Option<Scenario>,
    /// What is wrong with the file's grammar.
    pub slips: Vec<Slip>,
    /// Places that have a stand-in.
    pub mended: Vec<Path>,
}

/// Reads a file's tree, and mends it in place.
pub fn read(root: &mut Node) -> Read {
    static SCHEMA: LazyLock<Json> = LazyLock::new(|| published::schema().to_value());
    let mut walk = Walk { definitions: &SCHEMA["$defs"], slips: Vec::new(), mended: Vec::new() };
    walk.table(root, &SCHEMA, &Path::root());
    let Walk { mut slips, mended, .. } = walk;
    let scenario = Scenario::deserialize(root.to_toml());
    if let (Err(e), true) = (&scenario, slips.is_empty()) {
        slips.push(Slip { message: e.message().to_owned(), span: 0..0, help: None });
    }
    Read { scenario: scenario.ok(), slips, mended }
}

struct Walk<'a> {
    definitions: &'a Json,
    slips: Vec<Slip>,
    mended: Vec<Path>,
}

/// What a part of the schema asks for.
enum Wants<'a> {
    Draw(&'a str),
    Table(&'a Json),
    /// The name of something, or a table.
    NameOrTable(&'a Json),
    List(&'a Json),
    /// One text, or several.
    Texts,
    /// So many of them.
    Each(&'a [Json]),
    Choice(Vec<&'a str>),
    Text,
    Flag,
    Whole {
        most: u64,
    },
    Number,
}

impl<'a> Walk<'a> {
    fn wants(&self, schema: &'a Json) -> Wants<'a> {
        if let Some(name) = schema["$ref"].as_str().and_then(|r| r.strip_prefix("#/$defs/")) {
            return if name.ends_with("-draw") { Wants::Draw(name) } else { self.wants(&self.definitions[name]) };
        }
        if let Some(ways) = schema["anyOf"].as_array() {
            let ways: Vec<&Json> = ways.iter().filter(|way| way["type"] != "null").collect();
            return match (ways.first().map(|way| self.wants(way)), ways.get(1).map(|way| self.wants(way))) {
                (Some(one), None) => one,
                (_, Some(Wants::Table(table))) => Wants::NameOrTable(table),
                _ => Wants::Texts,
            };
        }
        let words = schema["enum"].as_array().map(|all| all.iter().filter_map(Json::as_str).collect::<Vec<_>>());
        let consts = schema["oneOf"].as_array().map(|all| all.iter().filter_map(|w| w["const"].as_str()).collect());
        if let Some(words) = words.or(consts) {
            return Wants::Choice(words);
        }
        let kind = schema["type"].as_str().or_else(|| schema["type"].as_array()?.first()?.as_str());
        match kind {
            Some("object") => Wants::Table(schema),
            Some("array") => match schema["prefixItems"].as_array() {
                Some(each) => Wants::Each(each),
                None => Wants::List(&schema["items"]),
            },
            Some("boolean") => Wants::Flag,
            Some("integer") => {
                Wants::Whole { most: if schema["format"] == "uint32" { u32::MAX.into() } else { u64::MAX } }
            }
            Some("number") => Wants::Number,
            _ => Wants::Text,
        }
    }

    fn slip(&mut self, span: &Range<usize>, message: impl Into<String>, help: Option<String>) {
        self.slips.push(Slip { message: message.into(), span: span.clone(), help });
    }

    /// A table's keys.
    fn table(&mut self, node: &mut Node, schema: &'a Json, at: &Path) {
        let Item::Table(entries) = &mut node.item else { return };
        let Some(known) = schema["properties"].as_object() else {
            flatten(entries);
            entries.retain_mut(|entry| self.value(entry, &schema["additionalProperties"], &at.to(&entry.key)));
            return;
        };
        // The right keys first: of two that mean one the right one counts.
        let has = |entries: &[Entry], key: &str| entries.iter().any(|e| e.key == key);
        for n in 0..entries.len() {
            if known.contains_key(&entries[n].key) {
                continue;
            }
            let (word, span) = (entries[n].key.clone(), entries[n].span.clone());
            let near = suggest::near(&word, known.keys().map(String::as_str));
            let hint = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            let help = match near {
                Some(_) => None,
                None if known.contains_key("config") && (word.contains('.') || is_setting(&word)) => {
                    Some("Kafka's settings stand in `config`, each name in quotes".to_owned())
                }
                None => Some(format!("{at} takes {}", listed(known.keys().map(String::as_str)))),
            };
            self.slip(&span, format!("{at} has no key `{word}`{hint}"), help);
            match near.filter(|near| !has(entries, near)) {
                Some(near) => entries[n].key = near.to_owned(),
                // Marked by a name that no key has.
                None => entries[n].key = String::new(),
            }
        }
        entries.retain(|e| !e.key.is_empty());
        entries.retain_mut(|entry| self.value(entry, &known[&entry.key], &at.to(&entry.key)));
        let missing = schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str);
        for key in missing.filter(|key| !has(entries, key)).collect::<Vec<_>>() {
            let place = at.to(key);
            if !self.mended.contains(&place) {
                let about = known[key]["description"].as_str().unwrap_or_default();
                let header = header(at, &node.span, entries);
                self.slip(&header, format!("{at} needs `{key}`"), Some(format!("`{key}`: {}", first_sentence(about))));
                self.mended.push(place);
            }
            let item = stand_in(&self.wants(&known[key]));
            let node = Node { span: node.span.clone(), item };
            entries.push(Entry { key: key.to_owned(), span: node.span.clone(), node });
        }
    }

    /// A value under its key; whether it is one now.
    fn value(&mut self, entry: &mut Entry, schema: &'a Json, at: &Path) -> bool {
        let is_one = self.node(&mut entry.node, schema, at);
        if !is_one {
            self.mended.push(at.clone());
        }
        is_one
    }

    /// A value; whether it is one now.
    fn node(&mut self, node: &mut Node, schema: &'a Json, at: &Path) -> bool {
        let wants = self.wants(schema);
        match (&wants, &mut node.item) {
            (Wants::Draw(kind), item) => {
                let problems = wrong_draw(kind, item);
                if problems.is_empty() {
                    return true;
                }
                for (n, message, help) in problems {
                    let span = match (&node.item, n) {
                        (Item::List(list), Some(n)) => list[n].span.clone(),
                        _ => node.span.clone(),
                    };
                    self.slip(&span, message, help);
                }
            }
            (Wants::Table(table) | Wants::NameOrTable(table), Item::Table(_)) => {
                self.table(node, table, at);
                return true;
            }
            (Wants::NameOrTable(table), item) => {
                let is_draw = wrong_draw("word-draw", item).is_empty();
                if is_draw {
                    return true;
                }
                let keys =
                    listed(table["properties"].as_object().into_iter().flat_map(|p| p.keys().map(String::as_str)));
                let message =
                    format!("{at} is a name, a list of names, or a table of {keys}; found {}", in_words(item));
                self.slip(&node.span, message, None);
                return false;
            }
            // `[[broker]]` for `[broker]`.
            (Wants::Table(table), Item::List(list)) if list.len() == 1 && matches!(list[0].item, Item::Table(_)) => {
                let only = list.remove(0);
                let key = last_key(at);
                self.slip(&only.span, format!("there is only one `{key}`: write `[{key}]`"), None);
                *node = only;
                self.table(node, table, at);
                return true;
            }
            (Wants::Table(table), item) => {
                let keys =
                    listed(table["properties"].as_object().into_iter().flat_map(|p| p.keys().map(String::as_str)));
                let of = if keys.is_empty() { "settings".to_owned() } else { keys };
                let message = format!("{at} is a table of {of}; found {}", in_words(item));
                self.slip(&node.span, message, None);
                return false;
            }
            (Wants::List(each), Item::List(list)) => {
                for (n, one) in list.iter_mut().enumerate() {
                    let place = at.to(n);
                    if !self.node(one, each, &place) {
                        self.mended.push(place.clone());
                        // Its place is kept: what follows is counted by it.
                        one.item = stand_in(&self.wants(each));
                        if let Wants::Table(table) = self.wants(each) {
                            let said = self.slips.len();
                            self.table(one, table, &place);
                            self.slips.truncate(said);
                        }
                    }
                }
                return true;
            }
            (Wants::List(each), item) => {
                let tables = matches!(self.wants(each), Wants::Table(_));
                let key = last_key(at);
                let span = node.span.clone();
                let wrapped = match (tables, &*item) {
                    (true, Item::Table(_)) => {
                        self.slip(&span, format!("there may be several `{key}`: write `[[{key}]]`"), None);
                        true
                    }
                    (false, Item::Plain(toml::Value::String(text))) => {
                        self.slip(&span, format!("`{key}` is a list of texts: write `{key} = [{text:?}]`"), None);
                        true
                    }
                    (_, item) => {
                        let of = if tables { "tables" } else { "texts" };
                        self.slip(&span, format!("`{key}` is a list of {of}; found {}", in_words(item)), None);
                        false
                    }
                };
                if !wrapped {
                    return false;
                }
                let inner = Node { span: span.clone(), item: node.item.clone() };
                node.item = Item::List(vec![inner]);
                return self.node(node, schema, at);
            }
            (Wants::Texts, Item::Plain(toml::Value::String(_))) => return true,
            (Wants::Texts, Item::List(list)) if !list.is_empty() => {
                let wrong: Vec<(Range<usize>, String)> = list
                    .iter()
                    .filter(|one| !matches!(one.item, Item::Plain(toml::Value::String(_))))
                    .map(|one| (one.span.clone(), in_words(&one.item)))
                    .collect();
                for (span, what) in &wrong {
                    self.slip(span, format!("expected a text; found {what}"), None);
                }
                if wrong.is_empty() {
                    return true;
                }
            }
            (Wants::Each(each), Item::List(list)) if list.len() == each.len() => {
                let mut sound = true;
                for (n, (one, schema)) in list.iter_mut().zip(*each).enumerate() {
                    sound &= self.node(one, schema, &at.to(n));
                }
                return sound;
            }
            (Wants::Choice(words), Item::Plain(toml::Value::String(word))) => {
                if words.contains(&word.as_str()) {
                    return true;
                }
                let near = suggest::near(word, words.iter().copied());
                let hint = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                let what = match last_key(at) {
                    "kind" if words.len() > 5 => format!("there is no fault `{word}`{hint}"),
                    key => format!("there is no `{key}` = `{word}`{hint}"),
                };
                let near = near.map(str::to_owned);
                let help = near.is_none().then(|| format!("one of {}", listed(words.iter().copied())));
                self.slip(&content(&node.span), what, help);
                if let Some(near) = near {
                    node.item = Item::Plain(toml::Value::String(near));
                    return true;
                }
            }
            (Wants::Text, Item::Plain(toml::Value::String(_)))
            | (Wants::Flag, Item::Plain(toml::Value::Boolean(_))) => {
                return true;
            }
            (Wants::Number, Item::Plain(toml::Value::Float(n))) if n.is_finite() => return true,
            (Wants::Number, Item::Plain(toml::Value::Integer(_))) => return true,
            (Wants::Whole { most }, Item::Plain(value))
                if whole(value).is_some_and(|n| u64::try_from(n).is_ok_and(|n| n <= *most)) =>
            {
                *value = toml::Value::Integer(whole(value).unwrap_or_default());
                return true;
            }
            (wants, item) => {
                let expected = match wants {
                    Wants::Texts => "a text, or a list of texts".to_owned(),
                    Wants::Each(each) => format!("a list of {}, such as [\"b1\", \"others\"]", each.len()),
                    Wants::Choice(words) => format!("one of {}", listed(words.iter().copied())),
                    Wants::Flag => "`true` or `false`".to_owned(),
                    Wants::Whole { .. } => "a whole number, 0 or more: nothing is drawn here".to_owned(),
                    Wants::Number => "a number".to_owned(),
                    _ => "a text in quotes".to_owned(),
                };
                let found = in_words(item);
                self.slip(&node.span, format!("`{}`: expected {expected}; found {found}", last_key(at)), None);
                if !matches!(wants, Wants::Text | Wants::Choice(_)) {
                    return false;
                }
            }
        }
        self.mended.push(at.clone());
        node.item = stand_in(&wants);
        true
    }
}

/// The problems of a value that may be drawn: of which item of a list, what, and what to do.
fn wrong_draw(kind: &str, item: &Item) -> Vec<(Option<usize>, String, Option<String>)> {
    match kind {
        "count-draw" => wrong_of::<u32>(item),
        "number-draw" => wrong_of::<i64>(item),
        "flag-draw" => wrong_of::<bool>(item),
        "time-draw" => wrong_of::<Span>(item),
        "size-draw" => wrong_of::<Size>(item),
        "bandwidth-draw" => wrong_of::<Bandwidth>(item),
        "share-draw" => wrong_of::<Share>(item),
        "setting-draw" => wrong_of::<Setting>(item),
        _ => wrong_of::<String>(item),
    }
}

fn wrong_of<T: Atom>(item: &Item) -> Vec<(Option<usize>, String, Option<String>)> {
    if let Item::List(list) = item
        && (1..=MAX_CHOICES).contains(&list.len())
    {
        let wrong = list.iter().enumerate().filter(|(_, one)| match &one.item {
            Item::Plain(value) => T::read(value).is_none(),
            _ => true,
        });
        let said = |(n, one): (usize, &Node)| {
            let in_list = if is_range(&one.item) { ": a list has no ranges in it" } else { "" };
            let message = format!("expected {}; found {}{in_list}", T::EXPECTED, in_words(&one.item));
            (Some(n), message, with_unit::<T>(&one.item))
        };
        return wrong.map(said).collect();
    }
    let value = Node { span: 0..0, item: item.clone() }.to_toml();
    match Draw::<T>::parse(&value) {
        Ok(_) => Vec::new(),
        Err(message) => vec![(None, message, with_unit::<T>(item))],
    }
}

fn is_range(item: &Item) -> bool {
    matches!(item, Item::Plain(toml::Value::String(text)) if text.contains(".."))
}

/// A number without its unit.
fn with_unit<T: Atom>(item: &Item) -> Option<String> {
    let unit = match T::NAME {
        "time" => "s",
        "share" => "%",
        "bandwidth" => "Mbit",
        _ => return None,
    };
    let number = match item {
        Item::Plain(toml::Value::String(text)) => text.trim().parse().ok()?,
        Item::Plain(value) => whole(value)?,
        _ => return None,
    };
    (number >= 0).then(|| format!("with its unit: \"{number}{unit}\""))
}

/// What stands for a value that is none.
fn stand_in(wants: &Wants<'_>) -> Item {
    let text = |text: &str| Item::Plain(toml::Value::String(text.to_owned()));
    match wants {
        Wants::Draw("count-draw" | "number-draw" | "setting-draw") => Item::Plain(toml::Value::Integer(1)),
        Wants::Draw("size-draw") => Item::Plain(toml::Value::Integer(100)),
        Wants::Draw("flag-draw") | Wants::Flag => Item::Plain(toml::Value::Boolean(false)),
        Wants::Draw("time-draw") => text("1s"),
        Wants::Draw("bandwidth-draw") => text("1Gbit"),
        Wants::Draw("share-draw") => text("50%"),
        Wants::Choice(words) => text(words.first().copied().unwrap_or_default()),
        Wants::Draw(_) | Wants::Text | Wants::Texts | Wants::NameOrTable(_) => text("b1"),
        Wants::Whole { .. } | Wants::Number => Item::Plain(toml::Value::Integer(1)),
        Wants::Table(_) => Item::Table(Vec::new()),
        Wants::List(_) => Item::List(Vec::new()),
        Wants::Each(each) => Item::List(each.iter().map(|_| Node { span: 0..0, item: text("b1") }).collect()),
    }
}

/// Names with dots that were not put into quotes: TOML takes them for tables in tables. A table with nothing in it names
/// nothing, and stays.
fn flatten(entries: &mut Vec<Entry>) {
    let is_name = |e: &Entry| matches!(&e.node.item, Item::Table(inner) if !inner.is_empty());
    while let Some(n) = entries.iter().position(is_name) {
        let Entry { key, span, node } = entries.remove(n);
        let Item::Table(inner) = node.item else { continue };
        for (i, e) in inner.into_iter().enumerate() {
            let key = format!("{key}.{}", e.key);
            let span = span.start..e.span.end.max(span.end);
            entries.insert(n + i, Entry { key, span, node: e.node });
        }
    }
}

/// Where a table begins: its header, or its first key.
fn header(at: &Path, span: &Range<usize>, entries: &[Entry]) -> Range<usize> {
    if at.steps().is_empty() {
        return entries.first().map_or(0..0, |e| e.span.clone());
    }
    span.clone()
}

/// The text between the quotes.
fn content(span: &Range<usize>) -> Range<usize> {
    if span.len() > 2 { span.start + 1..span.end - 1 } else { span.clone() }
}

fn last_key(at: &Path) -> &str {
    let key = |step: &'_ Step| match step {
        Step::Key(_) => true,
        Step::Item(_) | Step::Any => false,
    };
    match at.steps().iter().rev().find(|s| key(s)) {
        Some(Step::Key(word)) => word,
        _ => "scenario",
    }
}

fn in_words(item: &Item) -> String {
    match item {
        Item::Plain(value) => found(value),
        Item::List(list) if list.is_empty() => "an empty list".to_owned(),
        Item::List(_) => "a list".to_owned(),
        Item::Table(_) => "a table".to_owned(),
    }
}

fn listed<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

fn first_sentence(text: &str) -> String {
    let text = text.replace('\n', " ");
    text.split_once(". ").map_or(text.clone(), |(first, _)| format!("{first}."))
}

/// Whether Kafka has a setting of this name.
fn is_setting(word: &str) -> bool {
    use klamm_model::config::table;
    table::Scope::ALL.iter().any(|scope| table::find(*scope, word).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_kind_of_draw_has_its_reader() {
        let schema = published::schema().to_value();
        let kinds: BTreeSet<&str> =
            schema["$defs"].as_object().unwrap().keys().map(String::as_str).filter(|k| k.ends_with("-draw")).collect();
        let named = |name: &str| format!("{name}-draw");
        let read = [
            named(u32::NAME),
            named(i64::NAME),
            named(bool::NAME),
            named(Span::NAME),
            named(Size::NAME),
            named(Bandwidth::NAME),
            named(Share::NAME),
            named(Setting::NAME),
            named(String::NAME),
        ];
        assert_eq!(kinds, read.iter().map(String::as_str).collect());
        for kind in kinds {
            let item = stand_in(&Wants::Draw(kind));
            assert!(wrong_draw(kind, &item).is_empty(), "{kind}: {item:?}");
            // A kind that was read as another would take this.
            assert!(!wrong_draw(kind, &Item::List(Vec::new())).is_empty(), "{kind}");
        }
    }
}
