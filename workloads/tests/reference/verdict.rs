//! What either judge says, in one form.

use super::causes::Cause;
use klamm_model::history::{TopicPartition, ValueId};
use std::collections::{BTreeMap, BTreeSet};

/// What a finding is about, as far as both judges name the same thing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Subject {
    /// The check. `int-` variants count as the check they are a variant of where [`super::compare`] says so.
    pub check: &'static str,
    pub source: TopicPartition,
    pub reader: Option<u32>,
    pub offset: Option<i64>,
    pub value: Option<ValueId>,
}

impl Subject {
    pub fn new(check: &'static str, source: &TopicPartition) -> Subject {
        Subject { check, source: source.clone(), reader: None, offset: None, value: None }
    }
    pub fn reader(self, client: u32) -> Subject {
        Subject { reader: Some(client), ..self }
    }
    pub fn offset(self, offset: i64) -> Subject {
        Subject { offset: Some(offset), ..self }
    }
    pub fn value(self, value: ValueId) -> Subject {
        Subject { value: Some(value), ..self }
    }
}

/// All that a judge says of a history: what it found, and for each instance of it the causes that permit that instance.
#[derive(Default, Debug)]
pub struct Said {
    pub found: BTreeMap<Subject, Vec<BTreeSet<Cause>>>,
}

impl Said {
    pub fn add(&mut self, subject: Subject, causes: Vec<Cause>) {
        self.found.entry(subject).or_default().push(causes.into_iter().collect());
    }

    /// The verdicts: permitted only if every instance is.
    pub fn verdicts(&self) -> BTreeMap<&Subject, bool> {
        self.found.iter().map(|(s, instances)| (s, instances.iter().all(|causes| !causes.is_empty()))).collect()
    }

    /// The causes that decide a verdict: without this one alone it would be another.
    pub fn deciding(&self) -> BTreeSet<(&'static str, Cause)> {
        let permitted = self.found.iter().filter(|(_, i)| i.iter().all(|causes| !causes.is_empty()));
        permitted
            .flat_map(|(s, instances)| {
                let alone = instances.iter().filter(|c| c.len() == 1).flatten();
                alone.map(|cause| (s.check, *cause))
            })
            .collect()
    }
}
