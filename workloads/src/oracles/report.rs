//! Where oracles put what they find.

use super::finding::Finding;
use super::store::Store;
use crate::permission::{AppFacts, Clause, Facts};
use klamm_model::history::{Entry, IsolationLevel, PositionReason, ValueId};
use klamm_model::ids::{ClientId, Offset};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A finding, before it is dressed.
pub(super) struct Report<'a> {
    pub(super) check: &'static str,
    pub(super) at: u64,
    pub(super) client: ClientId,
    pub(super) part: u32,
    pub(super) offset: Option<i64>,
    pub(super) values: &'a [u64],
    pub(super) isolation: Option<IsolationLevel>,
    pub(super) clause: Option<Clause>,
    /// The group it is about, what its application is, and how a position was moved.
    pub(super) group: Option<&'a Arc<str>>,
    pub(super) app: AppFacts,
    pub(super) boundary: Option<PositionReason>,
}

impl<'a> Report<'a> {
    pub(super) fn new(check: &'static str, at: u64, client: ClientId, part: u32) -> Report<'a> {
        Report {
            check,
            at,
            client,
            part,
            offset: None,
            values: &[],
            isolation: None,
            clause: None,
            group: None,
            app: AppFacts::default(),
            boundary: None,
        }
    }
    /// On this read.
    pub(super) fn of_read(check: &'static str, read: &super::store::Read) -> Report<'a> {
        let offset = Some(read.offset());
        Report { offset, isolation: Some(read.isolation), ..Report::new(check, read.at, read.client, read.part) }
    }
    pub(super) fn offset(self, offset: i64) -> Report<'a> {
        Report { offset: Some(offset), ..self }
    }
    pub(super) fn values(self, values: &'a [u64]) -> Report<'a> {
        Report { values, ..self }
    }
    pub(super) fn clause(self, clause: Clause) -> Report<'a> {
        Report { clause: Some(clause), ..self }
    }
}

/// However many findings there are, this many are kept.
const MOST: usize = 1 << 20;

/// All findings so far.
pub(super) struct Findings {
    pub(super) list: Vec<Finding>,
    pub(super) dropped: u64,
    max: usize,
    by_check: BTreeMap<&'static str, usize>,
    /// Findings about sends that had not resolved: what permits them may yet become known.
    open: BTreeMap<u64, Vec<usize>>,
    /// Where a value was reported as lost.
    lost: BTreeMap<u64, usize>,
}

impl Findings {
    pub(super) fn new(max: usize) -> Findings {
        let by_check = BTreeMap::new();
        Findings { list: Vec::new(), dropped: 0, max, by_check, open: BTreeMap::new(), lost: BTreeMap::new() }
    }

    /// Takes a finding. Words and witness are made only for the first so many of a check.
    #[cold]
    pub(super) fn add(
        &mut self,
        store: &Store,
        report: Report<'_>,
        detail: impl FnOnce() -> String,
        witness: impl FnOnce() -> Vec<Entry>,
    ) {
        if self.list.len() >= MOST {
            self.dropped += 1;
            return;
        }
        let source = store.parts[report.part as usize].source.clone();
        let mut facts = Facts::new(report.at, source.clone());
        facts.offset = report.offset.map(Offset);
        facts.isolation = report.isolation;
        facts.clause = report.clause;
        facts.group = report.group.cloned();
        facts.app = report.app;
        facts.boundary = report.boundary;
        for &value in report.values {
            let id = ValueId(value);
            let Some(client) = store.client(id.client()) else { continue };
            let Some(send) = client.send_facts(id.index(), report.at) else { continue };
            facts.sends.push(send);
            if client.get(id.index()).is_some_and(|s| s.state == super::sends::State::Pending) {
                self.open.entry(value).or_default().push(self.list.len());
            }
        }
        let count = self.by_check.entry(report.check).or_default();
        *count += 1;
        let (detail, witness) = if *count <= self.max {
            let mut witness = witness();
            witness.sort_by_key(|e| e.at);
            witness.dedup();
            (detail(), witness)
        } else {
            (String::new(), Vec::new())
        };
        if matches!(report.check, "lost-write" | "unseen") {
            self.lost.extend(report.values.iter().map(|v| (*v, self.list.len())));
        }
        self.list.push(Finding {
            check: Cow::Borrowed(report.check),
            at: report.at,
            client: report.client,
            source,
            offset: report.offset.map(Offset),
            values: report.values.iter().map(|v| ValueId(*v)).collect(),
            detail,
            witness,
            facts,
            permitted: None,
        });
    }

    /// A send resolved: findings about it learn what permits them.
    pub(super) fn resolved(&mut self, store: &Store, value: u64, at: u64) {
        if self.open.is_empty() {
            return;
        }
        let id = ValueId(value);
        let facts = store.client(id.client()).and_then(|c| c.send_facts(id.index(), at));
        let (Some(findings), Some(facts)) = (self.open.remove(&value), facts) else { return };
        for i in findings {
            self.list[i].facts.sends.iter_mut().filter(|s| s.value == id).for_each(|s| *s = facts.clone());
        }
    }

    /// A value that was reported as lost is read after all: it was one reader who passed it by.
    pub(super) fn found_again(&mut self, value: u64) {
        if let Some(i) = self.lost.remove(&value) {
            let finding = &mut self.list[i];
            finding.check = Cow::Borrowed("poll-skip");
            finding.detail.push_str("; it was read later, so the reader passed it by");
        }
    }

    /// The end: a send that never resolved may have been tried more than once by a client that did not live to tell.
    pub(super) fn close(&mut self) {
        for (value, findings) in std::mem::take(&mut self.open) {
            for i in findings {
                let sends = &mut self.list[i].facts.sends;
                sends.iter_mut().filter(|s| s.value.0 == value).for_each(|s| s.attempts = s.attempts.max(2));
            }
        }
    }
}
