//! Values and keys as their recorder chose them, and the numbers the judge knows them by.
//!
//! The judge wants values dense per sender, in the order of sending. A value is numbered when its send is met; one that
//! is read although no send of it was met gets a number that no send has. A value that a read cannot name (null) is
//! [`UNDECODABLE`].

use crate::oracles::UNDECODABLE;
use klamm_model::history::{Entry, Op, Outcome, ValueId};
use klamm_model::ids::{ClientId, Incarnation};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A string or a number.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Name {
    /// A whole number from 0 on.
    Number(u64),
    /// Anything else, as JSON: a string, or a number exactly as it was written.
    Json(Box<str>),
}

impl Name {
    /// The name that is this string.
    pub fn text(text: &str) -> Name {
        Name::Json(serde_json::Value::from(text).to_string().into())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Number(n) => write!(f, "{n}"),
            Name::Json(text) => f.write_str(&super::plain(text)),
        }
    }
}

/// How a value stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// No send of it was met: it was read only.
    Unsent,
    /// Sent, not resolved.
    Open,
    /// Resolved.
    Done(Outcome),
}

/// What is known of a value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) id: ValueId,
    pub(super) client: ClientId,
    pub(super) incarnation: Incarnation,
    /// The line of its send; if there is none, of the first read.
    pub(super) line: u64,
    pub(super) state: State,
    pub(super) read: bool,
}

/// The largest index of a client: above it are the numbers of values that no send has.
const STRANGERS: u64 = 1 << 43;

/// Every value and key of a history.
#[derive(Default, Debug)]
pub struct Names {
    values: BTreeMap<Name, Told>,
    keys: BTreeMap<Name, u64>,
    /// The next index of each client.
    next: BTreeMap<ClientId, u64>,
    strangers: u64,
    /// Values that were read before their sends: the numbers they had until then, the lines of read and send.
    early: Vec<(ValueId, Name, u64, u64)>,
}

/// A send that the contract does not allow: the line of the first one.
pub(super) struct SentBefore(pub(super) u64);

impl Names {
    /// A value is sent: it gets its number.
    pub(super) fn send(
        &mut self,
        name: Name,
        (client, incarnation): (ClientId, Incarnation),
        line: u64,
    ) -> Result<ValueId, SentBefore> {
        let known = self.values.get(&name).copied();
        match known {
            Some(told) if told.state != State::Unsent => return Err(SentBefore(told.line)),
            Some(told) => self.early.push((told.id, name.clone(), told.line, line)),
            None => {}
        }
        let next = self.next.entry(client).or_default();
        let id = ValueId::new(client, *next);
        *next += 1;
        let read = known.is_some_and(|told| told.read);
        self.values.insert(name, Told { id, client, incarnation, line, state: State::Open, read });
        Ok(id)
    }

    /// What is known of a value, to change it.
    pub(super) fn told_mut(&mut self, name: &Name) -> Option<&mut Told> {
        self.values.get_mut(name).filter(|told| told.state != State::Unsent)
    }

    /// A value that is spoken of: read, acted upon, or followed from.
    pub(super) fn spoken_of(&mut self, name: Option<Name>, read: bool, line: u64) -> ValueId {
        let Some(name) = name else { return UNDECODABLE };
        if let Some(told) = self.values.get_mut(&name) {
            told.read |= read;
            return told.id;
        }
        // So our own recorders write what could not be decoded.
        if name == Name::Number(UNDECODABLE.0) {
            return UNDECODABLE;
        }
        let client = ClientId(super::MAX_CLIENT);
        let id = ValueId::new(client, STRANGERS + self.strangers);
        self.strangers += 1;
        self.values.insert(name, Told { id, client, incarnation: Incarnation(1), line, state: State::Unsent, read });
        id
    }

    /// A key's number.
    pub(super) fn key(&mut self, name: Name) -> u64 {
        let next = self.keys.len() as u64;
        *self.keys.entry(name).or_insert(next)
    }

    /// How many acknowledged values were never read.
    pub fn unread(&self) -> u64 {
        let unread = |told: &&Told| told.state == State::Done(Outcome::Ok) && !told.read;
        self.values.values().filter(unread).count() as u64
    }

    /// The first few acknowledged values that were never read, in the order of their sends.
    pub fn first_unread(&self, most: usize) -> Vec<&Name> {
        let unread = |told: &Told| told.state == State::Done(Outcome::Ok) && !told.read;
        let mut first: Vec<_> = self.values.iter().filter(|(_, told)| unread(told)).collect();
        first.sort_by_key(|(_, told)| told.line);
        first.into_iter().take(most).map(|(name, _)| name).collect()
    }

    /// How many sends were acknowledged, those of acks=0 included.
    pub fn acknowledged(&self) -> u64 {
        self.values.values().filter(|told| told.state == State::Done(Outcome::Ok)).count() as u64
    }

    /// The first value that was read before its send was written down: its name, the line of the read, that of the send.
    pub fn read_before_sent(&self) -> Option<(&Name, u64, u64)> {
        self.early.first().map(|(_, name, read, sent)| (name, *read, *sent))
    }

    /// What some numbers are the names of.
    pub fn of(&self, values: &BTreeSet<ValueId>, keys: &BTreeSet<u64>) -> Shown {
        let named = self.values.iter().filter(|(_, told)| values.contains(&told.id));
        let mut shown: BTreeMap<_, _> = named.map(|(name, told)| (told.id, name.clone())).collect();
        shown.extend(self.early.iter().map(|(id, name, ..)| (*id, name.clone())));
        let keys = self.keys.iter().filter(|(_, n)| keys.contains(n)).map(|(name, n)| (*n, name.clone())).collect();
        Shown { values: shown, keys }
    }
}

/// The names of some values and keys, for people.
#[derive(Default, Debug)]
pub struct Shown {
    values: BTreeMap<ValueId, Name>,
    keys: BTreeMap<u64, Name>,
}

impl Shown {
    /// A value's name.
    pub fn value(&self, id: ValueId) -> Option<&Name> {
        self.values.get(&id)
    }

    /// An operation as JSON, with the names of the file.
    pub fn entry(&self, entry: &Entry) -> serde_json::Value {
        let mut json = serde_json::to_value(entry).unwrap_or_default();
        let value = |id: ValueId| match self.values.get(&id) {
            Some(name) => raw(name),
            None if id == UNDECODABLE => serde_json::Value::Null,
            None => id.0.into(),
        };
        let key = |n: u64| self.keys.get(&n).map_or_else(|| n.into(), raw);
        match &entry.op {
            Op::Send { value: id, key: k, from, .. } => {
                json["value"] = value(*id);
                if let Some(k) = k {
                    json["key"] = key(*k);
                }
                if let Some(from) = from {
                    json["from"] = value(*from);
                }
            }
            Op::Sent { value: id, .. } | Op::Effect { value: id, .. } => json["value"] = value(*id),
            Op::Poll { records, .. } => {
                for (i, record) in records.iter().enumerate() {
                    json["records"][i]["value"] = value(record.value);
                    if let Some(k) = record.key {
                        json["records"][i]["key"] = key(k);
                    }
                }
            }
            _ => {}
        }
        json
    }
}

/// A name as JSON; a number that JSON's library cannot hold exactly becomes its text.
fn raw(name: &Name) -> serde_json::Value {
    match name {
        Name::Number(n) => (*n).into(),
        Name::Json(text) => match serde_json::from_str::<serde_json::Value>(text) {
            Ok(value) if value.is_string() || value.to_string().as_str() == &**text => value,
            _ => text.to_string().into(),
        },
    }
}

/// The values and keys that an operation names.
pub fn named(entry: &Entry, values: &mut BTreeSet<ValueId>, keys: &mut BTreeSet<u64>) {
    match &entry.op {
        Op::Send { value, key, from, .. } => {
            values.insert(*value);
            values.extend(from);
            keys.extend(key);
        }
        Op::Sent { value, .. } | Op::Effect { value, .. } => {
            values.insert(*value);
        }
        Op::Poll { records, .. } => {
            values.extend(records.iter().map(|r| r.value));
            keys.extend(records.iter().filter_map(|r| r.key));
        }
        _ => {}
    }
}
