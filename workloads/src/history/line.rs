//! Reads one line along the table of [`super::shape`], and says where it is wrong.
//!
//! serde names no place inside of tagged enums, and skips or swallows what it does not know; here each field is met with
//! its place, at every depth, and what is unknown is an error with the nearest known name. That a line is JSON at all
//! is checked by `serde_json` first, so the walk need not.

use super::names::Name;
use super::shape::{self, Field, Kind, Need, is_topic, words};
use super::text::shortened;
use super::{HistoryError, HistoryErrorKind as Wrong};
use klamm_model::ids::Uuid;
use std::borrow::Cow;

/// A value with its place (0-based).
#[derive(Debug)]
pub(super) struct Node<'a> {
    pub(super) at: usize,
    pub(super) what: What<'a>,
}

/// What a field holds.
#[derive(Debug)]
pub(super) enum What<'a> {
    /// Absent or null.
    Nothing,
    Bool(bool),
    Number(i128),
    Text(Cow<'a, str>),
    Name(Name),
    List(Vec<Node<'a>>),
    /// The fields, in the order of the table.
    Object(Vec<Node<'a>>),
    /// Checked, and read in another way.
    Checked,
}

/// Whether it is JSON at all.
pub(super) fn syntax(line: &[u8], number: u64) -> Result<(), HistoryError> {
    serde_json::from_slice::<serde::de::IgnoredAny>(line)
        .map(|_| ())
        .map_err(|e| HistoryError::new(number, e.column().max(1), Wrong::Syntax(bare(&e))))
}

/// The operation that a line is, and its fields: those of every operation, then its own.
pub(super) fn operation<'a>(line: &'a [u8], number: u64) -> Result<(&'static str, Vec<Node<'a>>), HistoryError> {
    syntax(line, number)?;
    let mut walk = Walk { line, number, at: 0 };
    let Some(place) = walk.find("op") else {
        return Err(HistoryError::new(number, 1, Wrong::NoOp));
    };
    walk.at = place;
    let name =
        if line[place] == b'"' { walk.string()? } else { String::from_utf8_lossy(walk.raw()).into_owned().into() };
    let Some(op) = shape::of(&name) else {
        let suggestion = nearest(&name, shape::OPS.iter().map(|op| op.name));
        return Err(HistoryError { suggestion, ..walk.error(place, Wrong::Op(shortened(&name))) });
    };
    walk.at = skip_space(line, 0);
    let whose = format!("operation `{}`", op.name);
    let fields: Vec<&Field> = shape::COMMON.iter().chain(op.fields).collect();
    Ok((op.name, walk.object(&fields, &whose)?))
}

/// Checks the first line. What it says is read by serde.
pub(super) fn header(line: &[u8]) -> Result<(), HistoryError> {
    syntax(line, 1)?;
    let mut walk = Walk { line, number: 1, at: 0 };
    let Some(place) = walk.find("klamm-history") else {
        return Err(HistoryError::new(1, 1, Wrong::Header("`klamm-history` is missing".to_owned())));
    };
    walk.at = place;
    match std::str::from_utf8(walk.raw()).ok().and_then(|raw| raw.parse::<u64>().ok()) {
        Some(version) if version == u64::from(super::SCHEMA) => {}
        Some(version) => return Err(walk.error(place, Wrong::Schema(version))),
        None => return Err(walk.error(place, Wrong::Header("`klamm-history` is not a version".to_owned()))),
    }
    walk.at = skip_space(line, 0);
    walk.object(&shape::HEADER.iter().collect::<Vec<_>>(), "the header").map(|_| ())
}

struct Walk<'a> {
    line: &'a [u8],
    number: u64,
    at: usize,
}

impl<'a> Walk<'a> {
    fn error(&self, at: usize, kind: Wrong) -> HistoryError {
        HistoryError::new(self.number, at + 1, kind)
    }

    fn peek(&self) -> u8 {
        self.line.get(self.at).copied().unwrap_or(0)
    }

    /// The place of a field's value at the top of the line.
    fn find(&self, name: &str) -> Option<usize> {
        let mut walk = Walk { line: self.line, number: self.number, at: skip_space(self.line, 0) };
        if walk.peek() != b'{' {
            return None;
        }
        walk.at = skip_space(self.line, walk.at + 1);
        while walk.peek() == b'"' {
            let key = walk.string().ok()?;
            walk.past_colon();
            if key == name {
                return Some(walk.at);
            }
            walk.raw();
            walk.past_comma();
        }
        None
    }

    fn past_colon(&mut self) {
        let colon = skip_space(self.line, self.at);
        self.at = skip_space(self.line, colon + 1);
    }

    fn past_comma(&mut self) {
        self.at = skip_space(self.line, self.at);
        if self.peek() == b',' {
            self.at = skip_space(self.line, self.at + 1);
        }
    }

    /// The bytes of a value, passed over.
    fn raw(&mut self) -> &'a [u8] {
        let from = self.at;
        self.at = value_end(self.line, from);
        self.line.get(from..self.at).unwrap_or_default().trim_ascii_end()
    }

    /// A string, decoded.
    fn string(&mut self) -> Result<Cow<'a, str>, HistoryError> {
        let from = self.at;
        self.at = string_end(self.line, from);
        let quoted = self.line.get(from..self.at).unwrap_or_default();
        let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
        if !inner.contains(&b'\\') {
            return Ok(Cow::Borrowed(std::str::from_utf8(inner).unwrap_or_default()));
        }
        let wrong = |e: serde_json::Error| self.error(from + e.column().max(1) - 1, Wrong::Syntax(bare(&e)));
        serde_json::from_slice::<String>(quoted).map(Cow::Owned).map_err(wrong)
    }

    /// An object's fields, in the order of the table.
    fn object(&mut self, known: &[&Field], whose: &str) -> Result<Vec<Node<'a>>, HistoryError> {
        let start = self.at;
        let mut found: Vec<Option<Node<'a>>> = known.iter().map(|_| None).collect();
        self.at = skip_space(self.line, self.at + 1);
        while self.peek() == b'"' {
            let key_at = self.at;
            let key = self.string()?;
            self.past_colon();
            let Some(i) = known.iter().position(|f| f.name == key) else {
                let all: Vec<&str> = known.iter().map(|f| f.name).collect();
                let kind = Wrong::Field { whose: whose.to_owned(), field: shortened(&key), known: all.join(", ") };
                let suggestion = nearest(&key, known.iter().map(|f| f.name));
                return Err(HistoryError { suggestion, ..self.error(key_at, kind) });
            };
            if found[i].is_some() {
                return Err(self.error(key_at, Wrong::Twice(shortened(&key))));
            }
            found[i] = Some(self.field(known[i], whose)?);
            self.past_comma();
        }
        self.at += 1;
        let whole = |(field, node): (&&Field, Option<Node<'a>>)| match node {
            Some(node) => Ok(node),
            None if field.need == Need::May => Ok(Node { at: start, what: What::Nothing }),
            None => {
                let (whose, expected) = (whose.to_owned(), words(&field.kind));
                Err(self.error(start, Wrong::Missing { whose, field: field.name, expected }))
            }
        };
        known.iter().zip(found).map(whole).collect()
    }

    fn field(&mut self, field: &Field, whose: &str) -> Result<Node<'a>, HistoryError> {
        if self.line[self.at..].starts_with(b"null") && field.need != Need::Must {
            let at = self.at;
            self.at += 4;
            return Ok(Node { at, what: What::Nothing });
        }
        self.value(&field.kind, field.name, whose)
    }

    /// A value of a kind.
    fn value(&mut self, kind: &Kind, name: &str, whose: &str) -> Result<Node<'a>, HistoryError> {
        let at = self.at;
        let first = self.peek();
        let digit = first == b'-' || first.is_ascii_digit();
        let what = match *kind {
            Kind::Number(least, most) if digit => {
                let raw = std::str::from_utf8(self.raw()).unwrap_or_default();
                match raw.parse::<i128>() {
                    Ok(n) if (least..=most).contains(&n) => What::Number(n),
                    _ => return Err(self.wrong(at, name, &format!("`{}` is out of place", shortened(raw)), kind)),
                }
            }
            Kind::Bool if first == b't' || first == b'f' => {
                self.raw();
                What::Bool(first == b't')
            }
            Kind::Text if first == b'"' => What::Text(self.string()?),
            Kind::Topic | Kind::Word(_) | Kind::Uuid if first == b'"' => {
                let text = self.string()?;
                let known = match *kind {
                    Kind::Topic => is_topic(&text),
                    Kind::Uuid => Uuid::parse_str(&text).is_ok(),
                    Kind::Word(known) => known.contains(&&*text),
                    _ => false,
                };
                if !known {
                    let suggestion = match *kind {
                        Kind::Word(known) => nearest(&text, known.iter().copied()),
                        _ => None,
                    };
                    let said = match *kind {
                        Kind::Topic => format!("Kafka can have no topic `{}`", shortened(&text)),
                        _ => format!("`{}` is unknown", shortened(&text)),
                    };
                    return Err(HistoryError { suggestion, ..self.wrong(at, name, &said, kind) });
                }
                What::Text(text)
            }
            Kind::Name if first == b'"' => What::Name(Name::text(&self.string()?)),
            Kind::Name if digit => {
                let raw = std::str::from_utf8(self.raw()).unwrap_or_default();
                What::Name(raw.parse().map_or_else(|_| Name::Json(raw.into()), Name::Number))
            }
            Kind::Object(fields) if first == b'{' => {
                let whose = if name == "records" { "a record".to_owned() } else { format!("`{name}` of {whose}") };
                What::Object(self.object(&fields.iter().collect::<Vec<_>>(), &whose)?)
            }
            Kind::List(of) if first == b'[' => {
                self.at = skip_space(self.line, self.at + 1);
                let mut list = Vec::new();
                while self.peek() != b']' {
                    list.push(self.value(of, name, whose)?);
                    self.past_comma();
                }
                self.at += 1;
                What::List(list)
            }
            Kind::Pair(a, b) if first == b'[' => {
                let mut pair = Vec::new();
                self.at = skip_space(self.line, self.at + 1);
                for of in [a, b] {
                    if self.peek() == b']' {
                        return Err(self.wrong(at, name, "a list that is too short", kind));
                    }
                    pair.push(self.value(of, name, whose)?);
                    self.past_comma();
                }
                if self.peek() != b']' {
                    return Err(self.wrong(at, name, "a list that is too long", kind));
                }
                self.at += 1;
                What::List(pair)
            }
            Kind::Settings if first == b'{' => {
                let raw = self.raw();
                let settings = serde_json::from_slice::<std::collections::BTreeMap<String, String>>(raw);
                if let Err(e) = settings {
                    return Err(self.wrong(at + e.column().max(1) - 1, name, &bare(&e), kind));
                }
                What::Checked
            }
            _ => {
                let found = match first {
                    b'"' => "a string",
                    b'{' => "an object",
                    b'[' => "a list",
                    b't' | b'f' => "true or false",
                    b'n' => "null",
                    _ => "a number",
                };
                return Err(self.wrong(at, name, &format!("found {found}"), kind));
            }
        };
        Ok(Node { at, what })
    }

    fn wrong(&self, at: usize, name: &str, message: &str, kind: &Kind) -> HistoryError {
        self.error(at, Wrong::Value { field: name.to_owned(), message: message.to_owned(), expected: words(kind) })
    }
}

/// serde_json's message without its place: it knows only this line.
pub(super) fn bare(e: &serde_json::Error) -> String {
    let message = e.to_string();
    shortened(message.rfind(" at line ").map_or(&message, |end| &message[..end]))
}

/// The nearest of some names, if it is near.
fn nearest(name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    if name.len() > 64 {
        return None;
    }
    known
        .map(|k| (strsim::damerau_levenshtein(name, k), k))
        .filter(|&(distance, k)| distance <= 1 + k.len() / 4)
        .min()
        .map(|(_, k)| k)
}

fn skip_space(line: &[u8], from: usize) -> usize {
    from + line.get(from..).unwrap_or_default().iter().take_while(|b| b.is_ascii_whitespace()).count()
}

/// The place behind the closing quote of the string at `from`.
fn string_end(line: &[u8], from: usize) -> usize {
    let mut i = from + 1;
    while i < line.len() {
        match line[i] {
            b'"' => return i + 1,
            b'\\' => i += 2,
            _ => i += 1,
        }
    }
    line.len()
}

/// The place behind the value at `from`.
fn value_end(line: &[u8], from: usize) -> usize {
    let (mut i, mut depth) = (from, 0u32);
    while i < line.len() {
        match line[i] {
            b'"' => {
                i = string_end(line, i);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' | b',' if depth == 0 => return i,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        i += 1;
    }
    line.len()
}
