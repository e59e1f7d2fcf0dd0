//! Histories as files: JSON, one line each. The first line is the [`Header`]: schema version, what was declared to
//! have happened ([`Declared`]), and the settings of the run, for people. Each further line is one operation
//! ([`Entry`]), in the order in which the world saw them. `docs/history.md` tells the format to those who write
//! recorders.
//!
//! Reading is streaming: one line is held at a time, and never more than [`MAX_LINE`] bytes of it. What is wrong is
//! told with line and column, what was expected, and the nearest known name ([`HistoryError`]); a wrong line is never
//! skipped. An unknown field is an error at every depth: a misspelt `leader_epoch` must not silently switch off
//! an oracle.
//!
//! The rooms: [`shape`] is the table of what lines hold, [`line`] reads along it, [`build`] makes the operation,
//! [`names`] numbers values and keys, [`contract`] holds each line against those before it, [`schema`] publishes the
//! table, [`text`] makes text from a file safe to print, [`errors`] knows which errors mean that nothing happened, and
//! [`jepsen`] reads the histories of Jepsen's Kafka workload.

mod build;
mod contract;
pub mod errors;
pub mod jepsen;
mod line;
mod names;
mod schema;
mod shape;
mod text;

pub use names::{Name, Names, Shown, named};
pub use schema::json_schema;
pub use shape::is_topic;
pub use text::plain;

use crate::permission::Declared;
use klamm_model::history::Entry;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, Read, Write};

/// The version of the format that is written. Readers accept exactly this.
pub const SCHEMA: u32 = 1;

/// The largest number of a client.
pub const MAX_CLIENT: u32 = (1 << 20) - 1;

/// The longest line, in bytes: room for a poll of a hundred thousand records.
pub const MAX_LINE: usize = 16 << 20;

/// The first line of a history.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The schema version.
    #[serde(rename = "klamm-history")]
    pub schema: u32,
    /// What happened, as far as it can excuse anything.
    #[serde(default)]
    pub declared: Declared,
    /// Kafka's settings and whatever else tells people what this is.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
}

impl Header {
    /// A header of the version that is written.
    pub fn new(declared: Declared, settings: BTreeMap<String, String>) -> Header {
        Header { schema: SCHEMA, declared, settings }
    }
}

/// A history file that cannot be used, and where.
#[derive(Debug, thiserror::Error)]
pub struct HistoryError {
    /// The line, from 1.
    pub line: u64,
    /// The column in bytes, from 1.
    pub column: usize,
    /// What is wrong.
    pub kind: HistoryErrorKind,
    /// The nearest known name, if a name is wrong.
    pub suggestion: Option<&'static str>,
}

/// What is wrong with a history file.
#[derive(Debug, thiserror::Error)]
pub enum HistoryErrorKind {
    /// The file could not be read.
    #[error("cannot read the history: {0}")]
    Io(#[from] std::io::Error),
    /// Nothing in it.
    #[error("the history is empty; expected a header line {{\"klamm-history\": {SCHEMA}, ...}}")]
    Empty,
    /// No forms in it.
    #[error("the history is empty; expected operations of Jepsen's, {{:process 0, :type :invoke, :f :send, ...}}")]
    EmptyEdn,
    /// Not text.
    #[error("this is not a history: expected lines of JSON in UTF-8, found binary data")]
    Binary,
    /// A line beyond bounds.
    #[error("the line is longer than {MAX_LINE} bytes; expected one operation")]
    LongLine,
    /// Not JSON.
    #[error("not JSON: {0}")]
    Syntax(String),
    /// Not EDN.
    #[error("not EDN: {0}")]
    Edn(String),
    /// The first line is something else.
    #[error("expected a header line {{\"klamm-history\": {SCHEMA}, ...}}: {0}")]
    Header(String),
    /// A schema of another time.
    #[error("the history has schema version {0}, expected {SCHEMA}")]
    Schema(u64),
    /// No `op`.
    #[error("the field `op` is missing; expected one of {known}", known = shape::op_names())]
    NoOp,
    /// The `op` is not one of ours.
    #[error("unknown operation `{0}`; expected one of {known}", known = shape::op_names())]
    Op(String),
    /// An unknown field.
    #[error("unknown field `{field}` of {whose}; expected {known}")]
    Field {
        /// What it stands in.
        whose: String,
        /// The field.
        field: String,
        /// Those that are known there.
        known: String,
    },
    /// A field that must be there.
    #[error("{whose} lacks the field `{field}`; expected {expected}")]
    Missing {
        /// What it should stand in.
        whose: String,
        /// The field.
        field: &'static str,
        /// What it holds.
        expected: String,
    },
    /// A field with a wrong value.
    #[error("field `{field}`: {message}; expected {expected}")]
    Value {
        /// The field.
        field: String,
        /// What is wrong.
        message: String,
        /// What it holds.
        expected: String,
    },
    /// The same field twice.
    #[error("field `{0}` appears twice")]
    Twice(String),
    /// The line does not go with those before it.
    #[error("{0}")]
    Contract(String),
    /// Time runs backwards.
    #[error("the operation is at {at} ns, before the one in front of it at {before} ns; expected the order of time")]
    Order {
        /// Its time.
        at: u64,
        /// The time before.
        before: u64,
    },
}

impl fmt::Display for HistoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.kind)?;
        self.suggestion.map_or(Ok(()), |name| write!(f, "; did you mean `{name}`?"))
    }
}

impl HistoryError {
    fn new(line: u64, column: usize, kind: HistoryErrorKind) -> HistoryError {
        HistoryError { line, column, kind, suggestion: None }
    }
}

/// Writes a history, line by line.
pub struct Writer<W: Write> {
    to: W,
}

impl<W: Write> Writer<W> {
    /// Writes the header.
    pub fn new(mut to: W, header: &Header) -> std::io::Result<Writer<W>> {
        serde_json::to_writer(&mut to, header)?;
        to.write_all(b"\n")?;
        Ok(Writer { to })
    }
    /// Writes one operation.
    pub fn entry(&mut self, entry: &Entry) -> std::io::Result<()> {
        serde_json::to_writer(&mut self.to, entry)?;
        self.to.write_all(b"\n")
    }
    /// Ends the history.
    pub fn finish(mut self) -> std::io::Result<W> {
        self.to.flush()?;
        Ok(self.to)
    }
}

/// Writes a whole history.
pub fn write<'a, W: Write>(to: W, header: &Header, entries: impl IntoIterator<Item = &'a Entry>) -> std::io::Result<W> {
    let mut writer = Writer::new(to, header)?;
    entries.into_iter().try_for_each(|entry| writer.entry(entry))?;
    writer.finish()
}

/// Reads a history, one operation at a time. After an error it is at its end.
pub struct Reader<R: BufRead> {
    from: R,
    line: Vec<u8>,
    number: u64,
    header: Header,
    names: Names,
    topics: build::Topics,
    contract: contract::Contract,
    failed: bool,
}

/// What some editors and exporters put before a text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl<R: BufRead> Reader<R> {
    /// Reads the header.
    pub fn new(from: R) -> Result<Reader<R>, HistoryError> {
        let mut reader = Reader {
            from,
            line: Vec::new(),
            number: 0,
            header: Header::default(),
            names: Names::default(),
            topics: build::Topics::default(),
            contract: contract::Contract::default(),
            failed: false,
        };
        if !reader.next_line()? {
            return Err(HistoryError::new(1, 1, HistoryErrorKind::Empty));
        }
        line::header(&reader.line)?;
        let wrong =
            |e: serde_json::Error| HistoryError::new(1, e.column().max(1), HistoryErrorKind::Header(line::bare(&e)));
        reader.header = serde_json::from_slice(&reader.line).map_err(wrong)?;
        Ok(reader)
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The line that was read last, from 1.
    pub fn line(&self) -> u64 {
        self.number
    }

    /// The values and keys met so far.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Reads the next line that is not blank; false at the end.
    fn next_line(&mut self) -> Result<bool, HistoryError> {
        loop {
            self.line.clear();
            self.number += 1;
            let error = |column, kind| Err(HistoryError::new(self.number, column, kind));
            // The first bytes decide whether this is text at all, before a line end is looked for.
            match self.from.fill_buf() {
                Err(e) => return error(1, e.into()),
                Ok(start) => {
                    if let Some(place) = start
                        .iter()
                        .take(64)
                        .take_while(|&&b| b != b'\n')
                        .position(|&b| b < b' ' && !b"\t\r\n".contains(&b))
                    {
                        return error(place + 1, HistoryErrorKind::Binary);
                    }
                }
            }
            match (&mut self.from).take(MAX_LINE as u64 + 1).read_until(b'\n', &mut self.line) {
                Err(e) => return error(1, e.into()),
                Ok(0) => return Ok(false),
                Ok(n) if n > MAX_LINE => return error(MAX_LINE, HistoryErrorKind::LongLine),
                Ok(_) => {}
            }
            if self.number == 1 && self.line.starts_with(BYTE_ORDER_MARK) {
                self.line.drain(..BYTE_ORDER_MARK.len());
            }
            while self.line.last().is_some_and(|b| b.is_ascii_whitespace()) {
                self.line.pop();
            }
            if let Err(e) = std::str::from_utf8(&self.line) {
                return error(e.valid_up_to() + 1, HistoryErrorKind::Binary);
            }
            if !self.line.is_empty() {
                return Ok(true);
            }
        }
    }

    fn read(&mut self) -> Result<Option<Entry>, HistoryError> {
        if !self.next_line()? {
            return Ok(None);
        }
        let (op, nodes) = line::operation(&self.line, self.number)?;
        let places: Vec<usize> = nodes.iter().map(|node| node.at).collect();
        let mut fields = build::Fields::new(nodes);
        let (at, client, incarnation) = build::common(&mut fields);
        let (op, also) = build::operation(op, &mut fields, &mut self.topics, &mut self.names, self.number);
        let mut entry = Entry { at, client, incarnation, op };
        let checked = self.contract.check(&mut entry, also, &mut self.names, self.number);
        let place = |field: usize| places.get(field).map_or(1, |at| at + 1);
        checked.map_err(|(field, kind)| HistoryError::new(self.number, place(field), kind))?;
        Ok(Some(entry))
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Entry, HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.read().transpose();
        self.failed = !matches!(next, Some(Ok(_)));
        next
    }
}

#[cfg(test)]
mod tests;
