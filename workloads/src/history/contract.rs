//! What must hold between lines: a history that breaks it would be judged as something that did not happen.
//!
//! Time does not go back; an incarnation is never followed by an older one; a value is sent once; what resolves was
//! asked for, once, by the same client in the same incarnation; ranges do not end before they begin.

use super::HistoryErrorKind as Wrong;
use super::build::Also;
use super::names::{Names, SentBefore, State};
use klamm_model::history::{Entry, Op, Outcome};
use klamm_model::ids::{ClientId, Incarnation};
use std::collections::{BTreeMap, BTreeSet};

/// What is remembered of the lines so far.
#[derive(Default)]
pub(super) struct Contract {
    last: u64,
    clients: BTreeMap<ClientId, Client>,
}

struct Client {
    incarnation: Incarnation,
    idempotent: bool,
    asks: BTreeSet<u64>,
    commits: BTreeSet<u64>,
    last_commit: Option<u64>,
}

/// The places of the fields of every operation, and of the first of its own.
const AT: usize = 0;
const INCARNATION: usize = 2;
const OWN: usize = 4;

fn broken<T>(field: usize, message: String) -> Result<T, (usize, Wrong)> {
    Err((field, Wrong::Contract(message)))
}

impl Contract {
    /// Checks a line against those before it, and numbers the value it sends or resolves. An error comes with the number
    /// of the field it points at.
    pub(super) fn check(
        &mut self,
        entry: &mut Entry,
        also: Also,
        names: &mut Names,
        line: u64,
    ) -> Result<(), (usize, Wrong)> {
        let (at, id, incarnation) = (entry.at, entry.client, entry.incarnation);
        if at < self.last {
            return Err((AT, Wrong::Order { at, before: self.last }));
        }
        self.last = at;
        let fresh = || Client {
            incarnation,
            idempotent: true,
            asks: BTreeSet::new(),
            commits: BTreeSet::new(),
            last_commit: None,
        };
        let client = self.clients.entry(id).or_insert_with(fresh);
        if incarnation < client.incarnation {
            let now = client.incarnation;
            return broken(
                INCARNATION,
                format!("incarnation {incarnation} of client {id} after its incarnation {now}"),
            );
        }
        if incarnation > client.incarnation {
            *client = fresh();
        }
        match &mut entry.op {
            Op::Producer { facts } => client.idempotent = facts.idempotent,
            Op::Send { value, .. } => {
                let Some(name) = also.value else { return Ok(()) };
                let shown = name.to_string();
                match names.send(name, (id, incarnation), line) {
                    Ok(number) => *value = number,
                    Err(SentBefore(line)) => {
                        return broken(OWN, format!("value {shown} is sent a second time; line {line} sent it"));
                    }
                }
            }
            Op::Sent { value, outcome, offset, attempts, error, .. } => {
                let Some(name) = also.value else { return Ok(()) };
                let Some(told) = names.told_mut(&name) else {
                    return broken(OWN, format!("value {name} resolves, but no line before sends it"));
                };
                let (sent, by, of) = (told.line, told.client, told.incarnation);
                if let State::Done(_) = told.state {
                    return broken(OWN, format!("value {name}, sent at line {sent}, has resolved already"));
                }
                if by != id {
                    return broken(
                        OWN,
                        format!("value {name} was sent by client {by} (line {sent}), not by client {id}"),
                    );
                }
                if of != incarnation {
                    return broken(
                        INCARNATION,
                        format!(
                            "value {name} was sent by incarnation {of} (line {sent}), not by incarnation {incarnation}"
                        ),
                    );
                }
                if *outcome == Outcome::Ok && error.is_some() {
                    return broken(OWN + 6, "an outcome `ok` has no error".to_owned());
                }
                if *outcome == Outcome::Fail && offset.is_some() {
                    return broken(OWN + 3, "what failed has no offset".to_owned());
                }
                told.state = State::Done(*outcome);
                *value = told.id;
                if also.attempts_unknown && !client.idempotent {
                    // It may have been tried again, and nothing at the broker would know.
                    *attempts = 2;
                }
            }
            Op::AskOffset { ask } if !client.asks.insert(*ask) => {
                return broken(OWN, format!("question {ask} is open already"));
            }
            Op::ListOffsets { ask, query, offset, .. } => {
                if !client.asks.remove(ask) {
                    return broken(OWN, format!("the answer to question {ask}, which client {id} has not asked"));
                }
                if offset.0 < 0 && *query < 0 {
                    return broken(OWN + 5, "no negative offset answers this query".to_owned());
                }
            }
            Op::FinalRead { from, to, .. } | Op::Finished { from, to, .. } if *from > *to => {
                return broken(OWN + 2, format!("the range ends at {to}, before it begins at {from}"));
            }
            Op::Commit { commit, .. } => {
                if let Some(last) = client.last_commit.filter(|last| *commit <= *last) {
                    return broken(OWN, format!("commit {commit} after commit {last}; expected a greater number"));
                }
                client.last_commit = Some(*commit);
                client.commits.insert(*commit);
            }
            Op::Committed { commit, .. } if !client.commits.remove(commit) => {
                return broken(OWN, format!("commit {commit} resolves, but client {id} has none of this number open"));
            }
            _ => {}
        }
        Ok(())
    }
}
