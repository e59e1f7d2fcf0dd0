//! The fast judge's verdicts in the reference's form, and where the two part.

use super::checks::{self, SLACK};
use super::laid::Laid;
use super::log::History;
use super::verdict::{Said, Subject};
use klamm_model::history::{Entry, Op};
use klamm_workloads::history::{Header, write};
use klamm_workloads::oracles::{Finding, Judge, JudgeConfig};
use std::collections::BTreeMap;

/// The checks that both judge.
pub const CHECKS: &[&str] = &[
    "lost-write",
    "unseen",
    "failed-write-visible",
    "duplicate",
    "inconsistent-offsets",
    "unknown-read",
    "nonmonotonic-send",
    "poll-skip",
    "int-poll-skip",
    "nonmonotonic-poll",
    "int-nonmonotonic-poll",
    "realtime-order",
    "next-offset-divergence",
    "read-epoch-regression",
    "list-offsets-regression",
    "key-affinity",
    "send-resolves",
];

pub fn fast(history: &History) -> Vec<Finding> {
    let mut judge = Judge::new(JudgeConfig { resolve_slack: SLACK, max_findings: 1000 });
    for entry in &history.entries {
        judge.entry(entry);
    }
    let end = history.entries.last().map_or(0, |e| e.at);
    judge.finish(end, &history.declared).findings
}

pub fn reference(history: &History) -> Said {
    checks::all(&Laid::new(&history.entries, &history.declared))
}

/// A fast finding, as the reference would name it.
fn subject(finding: &Finding) -> Option<Subject> {
    let name = match finding.check.name() {
        "int-nonmonotonic-send" => "nonmonotonic-send",
        "unseen" => "lost-write",
        other => other,
    };
    let check = CHECKS.iter().find(|c| **c == name)?;
    let bare = Subject::new(check, &finding.source);
    let value = finding.values.first().copied();
    Some(match *check {
        "send-resolves" => Subject { value, source: super::log::source(0), ..bare },
        "lost-write" | "unseen" | "failed-write-visible" | "duplicate" | "unknown-read" => Subject { value, ..bare },
        // It is about the send that later ones lie below.
        "nonmonotonic-send" => Subject { value, ..bare },
        "realtime-order" => Subject { value: finding.values.last().copied(), ..bare },
        "poll-skip" | "int-poll-skip" | "nonmonotonic-poll" | "int-nonmonotonic-poll" | "list-offsets-regression" => {
            Subject { reader: Some(finding.client.0), offset: finding.offset.map(|o| o.0), ..bare }
        }
        "inconsistent-offsets" | "next-offset-divergence" => Subject { offset: finding.offset.map(|o| o.0), ..bare },
        "key-affinity" => Subject { source: super::log::source(0), ..bare },

        _ => bare,
    })
}

pub fn fast_said(history: &History) -> BTreeMap<Subject, bool> {
    let mut all: BTreeMap<Subject, bool> = BTreeMap::new();
    for finding in fast(history) {
        if let Some(subject) = subject(&finding) {
            *all.entry(subject).or_insert(true) &= finding.permitted.is_some();
        }
    }
    all
}

/// One thing that the two say differently: none means nothing found, else whether it is permitted.
#[derive(Clone, PartialEq, Debug)]
pub struct Difference {
    pub subject: Subject,
    pub reference: Option<bool>,
    pub fast: Option<bool>,
}

/// A check, and what the reference and the fast judge say of it.
pub type Kind = (&'static str, Option<bool>, Option<bool>);

impl Difference {
    /// Its kind, without the subject's numbers.
    pub fn kind(&self) -> Kind {
        (self.subject.check, self.reference, self.fast)
    }
}

pub fn differences(history: &History) -> Vec<Difference> {
    let said = reference(history);
    // Which of the two names a loss bears is a matter of words: they share a row of the table.
    let mut reference: BTreeMap<Subject, bool> = BTreeMap::new();
    for (subject, permitted) in said.verdicts() {
        let check = if subject.check == "unseen" { "lost-write" } else { subject.check };
        *reference.entry(Subject { check, ..subject.clone() }).or_insert(true) &= permitted;
    }
    let fast = fast_said(history);
    let mut all: Vec<Subject> = reference.keys().cloned().chain(fast.keys().cloned()).collect();
    all.sort();
    all.dedup();
    all.into_iter()
        .map(|subject| Difference {
            reference: reference.get(&subject).copied(),
            fast: fast.get(&subject).copied(),
            subject,
        })
        .filter(|d| d.reference != d.fast)
        .collect()
}

/// The smallest history that still shows a difference of this kind: operations and declared lines are dropped one by one.
pub fn shrink(history: &History, kind: Kind) -> History {
    let shows = |h: &History| differences(h).iter().any(|d| d.kind() == kind);
    let mut least = history.clone();
    loop {
        let candidates = smaller(&least);
        match candidates.into_iter().find(shows) {
            Some(next) => least = next,
            None => return least,
        }
    }
}

/// Each history with one thing less.
fn smaller(history: &History) -> Vec<History> {
    let mut all = Vec::new();
    for i in 0..history.entries.len() {
        let mut less = history.clone();
        let gone = less.entries.remove(i);
        // A final reader begins with a position; a send goes with its resolution.
        if matches!(gone.op, Op::Position { .. }) && gone.client.0 == super::log::FINAL {
            continue;
        }
        // So does an answer with its question.
        match gone.op {
            Op::Send { value, .. } => {
                less.entries.retain(|e| !matches!(e.op, Op::Sent { value: v, .. } if v == value));
            }
            Op::AskOffset { ask } => {
                let answers =
                    |e: &Entry| e.client == gone.client && matches!(e.op, Op::ListOffsets { ask: a, .. } if a == ask);
                less.entries.retain(|e| !answers(e));
            }
            _ => {}
        }
        all.push(less);
        if let Op::Poll { records, .. } = &history.entries[i].op {
            for r in (0..records.len()).filter(|_| records.len() > 1) {
                let mut less = history.clone();
                if let Op::Poll { records, .. } = &mut less.entries[i].op {
                    records.remove(r);
                }
                all.push(less);
            }
        }
    }
    macro_rules! without {
        ($($list:ident),*) => {$(
            for i in 0..history.declared.$list.len() {
                let mut less = history.clone();
                less.declared.$list.remove(i);
                all.push(less);
            }
        )*};
    }
    without!(leader_changes, uncleans, losses, damages, log_starts, compactions, expiries, partition_changes);
    all
}

/// The history as a file would hold it.
pub fn lines(history: &History) -> String {
    let header = Header::new(history.declared.clone(), BTreeMap::new());
    let bytes = write(Vec::new(), &header, &history.entries).expect("writing into memory succeeds");
    String::from_utf8_lossy(&bytes).into_owned()
}
