//! Where oracles put what they find.

use super::finding::Finding;
use super::store::Store;
use crate::permission::{AppFacts, Clause, Facts, SendFacts};
use klamm_model::checks::Check;
use klamm_model::history::{Entry, PositionReason, ValueId};
use klamm_model::ids::{ClientId, Offset};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A finding, before it is dressed.
pub(super) struct Report<'a> {
    pub(super) check: Check,
    pub(super) at: u64,
    pub(super) client: ClientId,
    pub(super) part: u32,
    pub(super) offset: Option<i64>,
    /// The lowest offset that is concerned, if that is another one: what cuts a log must have reached it.
    pub(super) low: Option<i64>,
    /// Pieces of evidence of one thing have one number: see [`Findings::case`].
    pub(super) case: Option<u32>,
    pub(super) values: &'a [u64],
    pub(super) clause: Option<Clause>,
    /// The group it is about, what its application is, and how a position was moved.
    pub(super) group: Option<&'a Arc<str>>,
    pub(super) app: AppFacts,
    pub(super) boundary: Option<PositionReason>,
    /// What stands beside what is missing.
    pub(super) older_survives: bool,
    pub(super) within_a_leadership: bool,
    pub(super) displaced: bool,
    pub(super) epoch_above: Option<i32>,
    /// Which of the values is there, whatever else is known of it.
    pub(super) there: Option<u64>,
    /// Since when it was so, if that is before `at`: what happened later has not brought it about.
    pub(super) since: Option<u64>,
}

impl<'a> Report<'a> {
    pub(super) fn new(check: Check, at: u64, client: ClientId, part: u32) -> Report<'a> {
        Report {
            check,
            at,
            client,
            part,
            offset: None,
            low: None,
            case: None,
            values: &[],
            clause: None,
            group: None,
            app: AppFacts::default(),
            boundary: None,
            older_survives: false,
            within_a_leadership: false,
            displaced: false,
            epoch_above: None,
            there: None,
            since: None,
        }
    }
    /// On this read.
    pub(super) fn of_read(check: Check, read: &super::store::Read) -> Report<'a> {
        let offset = Some(read.offset());
        Report { offset, ..Report::new(check, read.at, read.client, read.part) }
    }
    pub(super) fn offset(self, offset: i64) -> Report<'a> {
        Report { offset: Some(offset), ..self }
    }
    pub(super) fn low(self, offset: i64) -> Report<'a> {
        Report { low: Some(offset), ..self }
    }
    pub(super) fn case(self, case: u32) -> Report<'a> {
        Report { case: Some(case), ..self }
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

/// One piece of evidence.
pub(super) struct Piece {
    case: Option<u32>,
    pub(super) finding: Finding,
}

/// All findings so far.
pub(super) struct Findings {
    pub(super) list: Vec<Piece>,
    pub(super) dropped: u64,
    max: usize,
    by_check: BTreeMap<Check, usize>,
    cases: u32,
    /// The last case that was counted.
    counted: Option<u32>,
}

impl Findings {
    pub(super) fn new(max: usize) -> Findings {
        Findings { list: Vec::new(), dropped: 0, max, by_check: BTreeMap::new(), cases: 0, counted: None }
    }

    /// A number for what several pieces of evidence show, which are added one after the other. What nothing excuses is
    /// what counts: so each is judged, and one is told.
    pub(super) fn case(&mut self) -> u32 {
        self.cases += 1;
        self.cases
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
        let facts = self.facts(store, &report);
        let count = self.by_check.entry(report.check).or_default();
        if report.case.is_none() || report.case != self.counted {
            *count += 1;
            self.counted = report.case;
        }
        let (detail, witness) = if *count <= self.max {
            let mut witness = witness();
            witness.sort_by_key(|e| e.at);
            witness.dedup();
            (detail(), witness)
        } else {
            (String::new(), Vec::new())
        };
        let finding = Finding {
            check: report.check,
            at: report.at,
            client: report.client,
            source: facts.source.clone(),
            offset: report.offset.map(Offset),
            values: report.values.iter().map(|v| ValueId(*v)).collect(),
            detail,
            witness,
            facts,
            permitted: None,
        };
        self.list.push(Piece { case: report.case, finding });
    }

    /// What permission of a finding depends on, as far as it is known.
    pub(super) fn facts(&self, store: &Store, report: &Report<'_>) -> Facts {
        let source = store.parts[report.part as usize].source.clone();
        let mut facts = Facts::new(report.since.unwrap_or(report.at), source);
        facts.offset = report.low.or(report.offset).map(Offset);
        facts.clause = report.clause;
        facts.group = report.group.cloned();
        facts.app = report.app;
        facts.boundary = report.boundary;
        facts.older_survives = report.older_survives;
        facts.within_a_leadership = report.within_a_leadership;
        facts.displaced = report.displaced;
        facts.epoch_above = report.epoch_above;
        facts.sends = report.values.iter().filter_map(|v| send_facts(store, *v)).collect();
        for send in facts.sends.iter_mut().filter(|s| report.there == Some(s.value.0)) {
            send.read = true;
        }
        facts
    }

    /// The history ends: what permits a finding is judged by all that is known of its sends. Those that were forgotten
    /// had resolved.
    pub(super) fn close(&mut self, store: &Store) {
        for send in self.list.iter_mut().flat_map(|piece| &mut piece.finding.facts.sends) {
            if let Some(now) = send_facts(store, send.value.0) {
                *send = SendFacts { read: now.read || send.read, ..now };
            }
        }
    }
}

/// What is told of the evidence, in order: of each case the first piece that nothing excuses, or else the first.
pub(super) fn told(mut pieces: Vec<Piece>) -> Vec<Finding> {
    pieces.sort_by_key(|piece| piece.finding.at);
    let mut told: Vec<Finding> = Vec::new();
    let mut cases: BTreeMap<u32, usize> = BTreeMap::new();
    for Piece { case, finding } in pieces {
        match case.and_then(|case| cases.get(&case)) {
            Some(&first) if told[first].permitted.is_some() && finding.permitted.is_none() => told[first] = finding,
            Some(_) => {}
            None => {
                cases.extend(case.map(|case| (case, told.len())));
                told.push(finding);
            }
        }
    }
    told.sort_by_key(|finding| finding.at);
    told
}

/// What permission depends on.
fn send_facts(store: &Store, value: u64) -> Option<SendFacts> {
    let id = ValueId(value);
    store.client(id.client())?.send_facts(id.index(), store.is_read(value))
}
