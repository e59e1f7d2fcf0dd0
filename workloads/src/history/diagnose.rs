//! Reads one line, and if it is wrong finds out where and why.
//!
//! serde names no place inside of tagged enums, so the fields of a line are found by a small scanner. It runs on good
//! lines too, because it also finds fields that nobody knows.

use super::fields::{self, Field};
use super::{Header, HistoryError, HistoryErrorKind as Kind, SCHEMA};
use klamm_model::history::Entry;

/// A field of a JSON object, by the places of its key and its value (0-based, end exclusive).
struct Found<'a> {
    key: &'a str,
    key_at: usize,
    value_at: usize,
    value: &'a [u8],
}

pub(super) fn header(line: &[u8]) -> Result<Header, HistoryError> {
    syntax(line, 1)?;
    let fields = scan(line);
    let Some(schema) = fields.iter().find(|f| f.key == "klamm-history") else {
        let message = "`klamm-history` is missing".to_owned();
        return Err(HistoryError::new(1, 1, Kind::Header(message)));
    };
    match serde_json::from_slice::<u64>(schema.value) {
        Ok(version) if version == u64::from(SCHEMA) => {}
        Ok(version) => return Err(HistoryError::new(1, schema.value_at + 1, Kind::Schema(version))),
        Err(_) => {
            let message = "`klamm-history` is not a version".to_owned();
            return Err(HistoryError::new(1, schema.value_at + 1, Kind::Header(message)));
        }
    }
    serde_json::from_slice(line).map_err(|e| HistoryError::new(1, e.column().max(1), Kind::Header(bare(&e))))
}

pub(super) fn entry(line: &[u8], number: u64) -> Result<Entry, HistoryError> {
    let parsed = serde_json::from_slice::<Entry>(line);
    if parsed.is_err() {
        syntax(line, number)?;
    }
    let found = scan(line);
    let (op, own) = operation(&found, number)?;
    names(&found, op, own, number)?;
    parsed.map_err(|e| {
        values(&found, op, own, number).unwrap_or_else(|| at(number, e.column().max(1) - 1, Kind::Other(bare(&e))))
    })
}

/// An error at a column that counts from 0.
fn at(line: u64, column: usize, kind: Kind) -> HistoryError {
    HistoryError::new(line, column + 1, kind)
}

/// Which operation it is.
fn operation(found: &[Found<'_>], line: u64) -> Result<(&'static str, &'static [Field]), HistoryError> {
    let Some(op) = found.iter().find(|f| f.key == "op") else {
        return Err(at(line, 0, Kind::NoOp));
    };
    let name = serde_json::from_slice(op.value).unwrap_or_else(|_| String::from_utf8_lossy(op.value).into_owned());
    fields::of(&name).ok_or_else(|| HistoryError {
        suggestion: nearest(&name, fields::OPS.iter().map(|(name, _)| *name)),
        ..at(line, op.value_at, Kind::Op(shortened(&name)))
    })
}

/// No field may be unknown, or there twice.
fn names(found: &[Found<'_>], op: &'static str, own: &'static [Field], line: u64) -> Result<(), HistoryError> {
    let known = || fields::COMMON.iter().chain(own).map(|k| k.name);
    for (i, f) in found.iter().enumerate() {
        if !known().any(|name| name == f.key) {
            let kind = Kind::Field { op, field: shortened(f.key) };
            return Err(HistoryError { suggestion: nearest(f.key, known()), ..at(line, f.key_at, kind) });
        }
        if found[..i].iter().any(|earlier| earlier.key == f.key) {
            return Err(at(line, f.key_at, Kind::Twice(shortened(f.key))));
        }
    }
    Ok(())
}

/// The first missing field or wrong value of a line that could not be read.
fn values(found: &[Found<'_>], op: &'static str, own: &'static [Field], line: u64) -> Option<HistoryError> {
    fields::COMMON.iter().chain(own).find_map(|field| match found.iter().find(|f| f.key == field.name) {
        None if field.required => Some(at(line, 0, Kind::Missing { op, field: field.name, expected: field.expected })),
        None => None,
        Some(f) => (field.check)(f.value).err().map(|e| {
            let kind = Kind::Value { field: field.name, message: bare(&e), expected: field.expected };
            at(line, f.value_at + e.column().max(1) - 1, kind)
        }),
    })
}

/// Whether it is JSON at all.
fn syntax(line: &[u8], number: u64) -> Result<(), HistoryError> {
    serde_json::from_slice::<serde::de::IgnoredAny>(line)
        .map(|_| ())
        .map_err(|e| at(number, e.column().max(1) - 1, Kind::Syntax(bare(&e))))
}

/// serde_json's message without its place: it knows only this line.
fn bare(e: &serde_json::Error) -> String {
    let message = e.to_string();
    message.rfind(" at line ").map_or(message.clone(), |end| shortened(&message[..end]))
}

/// Text from the file, cut to what fits into a message.
fn shortened(text: &str) -> String {
    if text.chars().count() <= 120 { text.to_owned() } else { text.chars().take(119).chain(['…']).collect() }
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

/// The fields of an object, at its top level. The line is known to be JSON.
fn scan(line: &[u8]) -> Vec<Found<'_>> {
    let mut found = Vec::with_capacity(12);
    let mut i = skip_space(line, 0);
    if line.get(i) != Some(&b'{') {
        return found;
    }
    i = skip_space(line, i + 1);
    while line.get(i) == Some(&b'"') {
        let key_end = string_end(line, i);
        let colon = skip_space(line, key_end);
        let value_at = skip_space(line, colon + 1);
        let value_end = value_end(line, value_at);
        let key = std::str::from_utf8(line.get(i + 1..key_end - 1).unwrap_or_default()).unwrap_or_default();
        let value = line.get(value_at..value_end).unwrap_or_default().trim_ascii_end();
        found.push(Found { key, key_at: i, value_at, value });
        i = skip_space(line, value_end);
        if line.get(i) == Some(&b',') {
            i = skip_space(line, i + 1);
        }
    }
    found
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
