//! Judges a recorded history: what `klamm check` does, but for its arguments.
//!
//! [`input`] opens and unpacks, [`check`] reads and judges, [`coverage`] finds what the history does not tell,
//! [`report`] is what comes out, and [`words`] how people read it.

mod coverage;
pub mod input;
pub mod report;
#[cfg(test)]
mod tests;
mod words;

use crate::run::{MAX_FINDINGS, RESOLVE_SLACK_NS};
use coverage::Coverage;
use klamm_model::checks::{Check, CheckKind};
use klamm_model::history::{Entry, Op, Outcome, ValueId};
use klamm_reports::text::count;
use klamm_reports::verdict::{in_words, phrases};
use klamm_workloads::history::jepsen::Jepsen;
use klamm_workloads::history::{HistoryError, HistoryErrorKind, Names, Reader, Shown, named, plain};
use klamm_workloads::oracles::{Finding, Judge, JudgeConfig, Verdicts};
use klamm_workloads::permission::Declared;
use report::{Counts, Group, Judged, NotJudged, Report, SCHEMA, Told, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Read};

/// The form of a history.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, clap::ValueEnum)]
pub enum Form {
    /// Klamm's: docs/history.md.
    #[default]
    Klamm,
    /// That of Jepsen's Kafka workload, in EDN.
    Jepsen,
}

/// How to judge and what to tell.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Options {
    /// The form.
    pub form: Form,
    /// What is permitted counts as violated.
    pub strict: bool,
    /// Every finding is told, not the first few of each kind.
    pub all: bool,
}

/// So many findings of one kind are told.
const FIRST: usize = 3;

/// So many findings of a check have words and a witness if all are asked for.
const ALL: usize = 1 << 20;

/// Judges a history.
///
/// # Errors
/// If it is none.
pub fn check(mut from: impl BufRead, options: Options) -> Result<Report, HistoryError> {
    let mut session = Session::new(options);
    match options.form {
        Form::Klamm => {
            let mut reader = Reader::new(from)?;
            let declared = reader.header().declared.clone();
            session.begin(&declared);
            for entry in reader.by_ref() {
                session.see(&entry?);
            }
            Ok(session.finish(&declared, reader.names()))
        }
        Form::Jepsen => {
            let mut bytes = Vec::new();
            let io = |e| HistoryError { line: 1, column: 1, kind: HistoryErrorKind::Io(e), suggestion: None };
            from.by_ref().take(input::MAX_TEXT + 1).read_to_end(&mut bytes).map_err(io)?;
            if bytes.len() as u64 > input::MAX_TEXT {
                return Err(io(std::io::Error::other(format!("more than {} bytes of EDN", input::MAX_TEXT))));
            }
            let text = std::str::from_utf8(&bytes).map_err(|e| {
                let before = &bytes[..e.valid_up_to()];
                let line = before.iter().filter(|b| **b == b'\n').count() as u64 + 1;
                HistoryError { line, column: 1, kind: HistoryErrorKind::Binary, suggestion: None }
            })?;
            let mut jepsen = Jepsen::new(text);
            for entry in jepsen.by_ref() {
                session.see(&entry?);
            }
            for entry in jepsen.together() {
                session.judge.entry(&entry);
            }
            session.aside(jepsen.aside());
            Ok(session.finish(&Declared::default(), jepsen.names()))
        }
    }
}

/// A history under judgement.
struct Session {
    options: Options,
    judge: Judge,
    coverage: Coverage,
    last: u64,
    topics: BTreeMap<ValueId, std::sync::Arc<str>>,
    not_judged: Vec<NotJudged>,
    jepsen: bool,
}

impl Session {
    fn new(options: Options) -> Session {
        let max_findings = if options.all { ALL } else { MAX_FINDINGS };
        Session {
            options,
            judge: Judge::new(JudgeConfig { resolve_slack: RESOLVE_SLACK_NS, max_findings }),
            coverage: Coverage::default(),
            last: 0,
            topics: BTreeMap::new(),
            not_judged: Vec::new(),
            jepsen: options.form == Form::Jepsen,
        }
    }

    fn begin(&mut self, declared: &Declared) {
        for compacted in &declared.compactions {
            self.judge.compacts(&compacted.source.topic);
            self.judge.compacted(&compacted.source, &compacted.removed);
        }
    }

    fn see(&mut self, entry: &Entry) {
        self.last = entry.at;
        match &entry.op {
            Op::Send { value, topic, .. } => {
                self.topics.insert(*value, topic.clone());
            }
            Op::Sent { value, outcome, partition, .. } => {
                // The topic stands in the send, the partition in its outcome; both are needed only once.
                if let Some(topic) = self.topics.remove(value)
                    && let (Outcome::Ok, Some(partition)) = (outcome, partition)
                {
                    self.coverage.acknowledged(&topic, *partition);
                }
            }
            _ => {}
        }
        self.coverage.see(entry);
        self.judge.entry(entry);
    }

    /// What a history of Jepsen's holds that is not judged.
    fn aside(&mut self, aside: &klamm_workloads::history::jepsen::Aside) {
        let mut add = |what: String, why: &str, remedy: &str| {
            self.not_judged.push(NotJudged { what, why: why.to_owned(), remedy: remedy.to_owned() });
        };
        if aside.transactions > 0 {
            add(
                format!("{} operations as transactions: atomicity, isolation, cycles (G0, G1c)", aside.transactions),
                "transactions are not judged yet; their sends and polls are, one by one",
                "Jepsen's own checker",
            );
        }
        if aside.polls_astray > 0 {
            add(
                format!(
                    "where {} processes went on after an operation that polled and did not complete",
                    aside.polls_astray
                ),
                "the position is not known; what was polled counts as read",
                "nothing that a history of Jepsen's has",
            );
        }
        if aside.without_offset > 0 {
            add(format!("{} records polled without an offset", aside.without_offset), "they have no place", "offsets");
        }
        if aside.blind_subscriptions {
            add(
                "skips and returns between polls of processes that subscribed".to_owned(),
                "the history does not tell of rebalances",
                "`:rebalance-log` in operations",
            );
        }
        if aside.others > 0 {
            add(format!("{} other operations (nemesis, debugging)", aside.others), "they concern no client", "nothing");
        }
    }

    fn finish(mut self, declared: &Declared, names: &Names) -> Report {
        let verdicts = self.judge.finish(self.last, declared);
        let summary = &verdicts.summary;
        let mut counts = Counts {
            sends: summary.sends,
            failed: summary.failed,
            violations: summary.violations(),
            lost_with_acks_0: summary.acks0_missing,
            dropped: summary.dropped,
            ..self.coverage.counts(names)
        };
        counts.unknown = counts.sends.saturating_sub(counts.acknowledged + counts.failed + counts.unresolved);
        counts.permitted = summary.checks.values().map(|count| count.total() - count.violations).sum();
        let groups = groups(&verdicts, names, self.options.all);
        let mut not_judged = self.not_judged;
        not_judged.extend(self.coverage.not_judged(names).into_iter().filter(|item| {
            // What a form cannot tell is nothing that a recorder forgot.
            !self.jepsen || item.remedy.contains("final read") || item.remedy.contains("position")
        }));
        let mut hints = self.coverage.hints();
        if let Some((name, read, sent)) = names.read_before_sent() {
            hints.push(format!(
                "value {name} is read at line {read} and sent at line {sent}: a recorder writes `send` before it calls the \
                 producer, and all clocks must agree"
            ));
        }
        let rests_on_acks_1 = verdicts.violations().any(|f| {
            f.facts.sends.iter().any(|s| s.acks == klamm_model::history::Acks::Leader) && f.check == Check::LostWrite
        });
        if rests_on_acks_1 && !declared.recorded {
            hints.push(
                "records of acks=1 are lost, and the header declares no change of leader; a history of a real cluster says \
                 `\"declared\": {\"recorded\": true}`"
                    .to_owned(),
            );
        }
        let checks = if verdicts.armed.is_empty() {
            Vec::new()
        } else {
            let judged = |check: Check| verdicts.armed.get(&check).copied().unwrap_or(0);
            let row = |check: Check| Judged { check: check.to_string(), judged: judged(check) };
            Check::of_kind(CheckKind::Oracle).map(row).collect()
        };
        let permitted = counts.permitted + counts.lost_with_acks_0;
        // With acks=0 nothing is acknowledged, and what is there is judged all the same.
        let acks_0 = self.coverage.acks_0 && counts.sends > 0;
        let verdict = if counts.violations > 0 || (self.options.strict && permitted > 0) {
            Verdict::Violated
        } else if (counts.acknowledged == 0 && !acks_0) || counts.records_read == 0 {
            Verdict::NothingJudged
        } else {
            Verdict::Held
        };
        let excused = |count: &klamm_workloads::oracles::Count| {
            count.permitted.iter().map(|(cause, n)| (cause.meaning().to_owned(), *n)).collect()
        };
        let excused = summary.checks.iter().map(|(check, count)| (check.to_string(), excused(count))).collect();
        let excused = in_words(&phrases(&excused, counts.lost_with_acks_0));
        let sentence = sentence(verdict, &counts, &excused, self.options.strict);
        let exit = match verdict {
            Verdict::Held => crate::cli::HELD,
            Verdict::Violated => crate::cli::VIOLATED,
            Verdict::NothingJudged => crate::cli::NOT_SHOWN,
        };
        Report { schema: SCHEMA, verdict, exit, sentence, counts, groups, checks, not_judged, hints, notes: Vec::new() }
    }
}

/// The verdict in a sentence; `excused` is what was found and is permitted, in words.
fn sentence(verdict: Verdict, counts: &Counts, excused: &str, strict: bool) -> String {
    match verdict {
        Verdict::Violated if counts.violations == 0 => {
            format!("violated: {excused}; --strict forbids what is permitted")
        }
        Verdict::Violated => {
            let violations = count(counts.violations, "violation");
            if excused.is_empty() {
                format!("violated: {violations}")
            } else {
                let what = if strict { "forbidden by --strict, too" } else { "permitted" };
                format!("violated: {violations}; {what}: {excused}")
            }
        }
        Verdict::NothingJudged => {
            let what = match (counts.sends, counts.acknowledged, counts.records_read) {
                (0, _, 0) => "nothing was sent, and nothing was read",
                (_, 0, 0) => "no send was acknowledged, and nothing was read",
                (_, _, 0) => "nothing was read",
                _ => "no send was acknowledged",
            };
            format!("nothing judged: {what}")
        }
        Verdict::Held if excused.is_empty() => "held".to_owned(),
        Verdict::Held => format!("held, {excused}"),
    }
}

/// Findings by check, partition and cause: violations first.
fn groups(verdicts: &Verdicts, names: &Names, all: bool) -> Vec<Group> {
    let most = if all { usize::MAX } else { FIRST };
    let mut order = Vec::new();
    let mut kinds: BTreeMap<_, (u64, Vec<&Finding>)> = BTreeMap::new();
    for finding in &verdicts.findings {
        let kind = (finding.permitted, &finding.check, &finding.source);
        let (count, first) = kinds.entry(kind).or_insert_with(|| {
            order.push(kind);
            (0, Vec::new())
        });
        *count += 1;
        if first.len() < most {
            first.push(finding);
        }
    }
    order.sort_by_key(|kind| kind.0.is_some());
    let (mut values, mut keys) = (BTreeSet::new(), BTreeSet::new());
    for finding in kinds.values().flat_map(|(_, first)| first) {
        values.extend(finding.values.iter().copied());
        values.extend(in_hexadecimal(&finding.detail).map(|(_, id)| id));
        finding.witness.iter().for_each(|entry| named(entry, &mut values, &mut keys));
    }
    let shown = names.of(&values, &keys);
    let told = |finding: &&Finding| Told {
        at: finding.at,
        offset: finding.offset.map(|o| o.0),
        values: finding.values.iter().filter_map(|id| shown.value(*id)).map(ToString::to_string).collect(),
        detail: by_name(&finding.detail, &shown),
        witness: finding.witness.iter().map(|entry| shown.entry(entry)).collect(),
    };
    let group = |kind: (Option<_>, &Check, &klamm_model::history::TopicPartition)| {
        let (count, first) = &kinds[&kind];
        Group {
            check: kind.1.to_string(),
            topic: kind.2.topic.to_string(),
            partition: kind.2.partition,
            permitted_by: kind.0.map(|cause: klamm_workloads::permission::Cause| cause.meaning().to_owned()),
            count: *count,
            findings: first.iter().map(told).collect(),
        }
    };
    order.into_iter().map(group).collect()
}

/// The numbers of values in an oracle's words, with their places.
fn in_hexadecimal(words: &str) -> impl Iterator<Item = (std::ops::Range<usize>, ValueId)> + '_ {
    words.match_indices("0x").filter_map(|(at, _)| {
        let digits = words[at + 2..].bytes().take_while(u8::is_ascii_hexdigit).count();
        let id = u64::from_str_radix(&words[at + 2..at + 2 + digits], 16).ok()?;
        Some((at..at + 2 + digits, ValueId(id)))
    })
}

/// An oracle's words, with values named as the history names them.
fn by_name(words: &str, shown: &Shown) -> String {
    let mut text = String::new();
    let mut from = 0;
    for (place, id) in in_hexadecimal(words) {
        if let Some(name) = shown.value(id) {
            text += &words[from..place.start];
            text += &name.to_string();
            from = place.end;
        }
    }
    plain(&(text + &words[from..])).into_owned()
}
