//! What a scenario came to, and what a run comes to: one word, one sentence, one order, one exit code. The terminal,
//! pages, Markdown, JUnit, JSON, shards put together and comparisons all take them from here.

use crate::record::{FaultRecord, FindingCount, RunRecord, ScenarioRecord};
use crate::severity::severity;
use crate::text::{count, number};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How a scenario ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It held, its faults took effect, and everything that must be seen was seen.
    #[default]
    Held,
    /// Not every seed of it was run.
    NotRun,
    /// Something that must happen did not: a mark, a hazard's violation, a fault's effect, or anything to judge.
    #[serde(alias = "unseen")]
    NotShown,
    /// A guarantee was violated.
    Violated,
    /// Two runs of one seed differed.
    Nondeterministic,
}

/// A figure got worse than a gate allows: the last of the exit codes that say something of what was run.
pub const GATE: u8 = 5;
/// Wrong usage or bad input: nothing was run.
pub const BAD_INPUT: u8 = 2;

impl Verdict {
    /// Every verdict, from the best to the worst.
    pub const ALL: [Verdict; 5] =
        [Verdict::Held, Verdict::NotRun, Verdict::NotShown, Verdict::Violated, Verdict::Nondeterministic];

    /// The word for it, the same everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            Verdict::Held => "held",
            Verdict::NotRun => "not run",
            Verdict::NotShown => "not shown",
            Verdict::Violated => "violated",
            Verdict::Nondeterministic => "nondeterministic",
        }
    }

    /// What a shell gets. What was not run has shown nothing.
    pub const fn code(self) -> u8 {
        match self {
            Verdict::Held => 0,
            Verdict::Violated => 1,
            Verdict::Nondeterministic => 3,
            Verdict::NotRun | Verdict::NotShown => 4,
        }
    }

    /// The worst of several; of none, that nothing was run.
    pub fn worst(all: impl IntoIterator<Item = Verdict>) -> Verdict {
        all.into_iter().max().unwrap_or(Verdict::NotRun)
    }

    /// What the seeds of a scenario come to. Only of a `whole` run is it demanded that everything was seen: a shard, or
    /// one seed again, has not had the chance.
    pub fn of(s: &ScenarioRecord, nondeterministic: bool, violated: bool, whole: bool) -> Verdict {
        let ran = s.seeds.len() as u64;
        if nondeterministic {
            Verdict::Nondeterministic
        } else if violated {
            Verdict::Violated
        } else if ran == 0 || ran < s.planned {
            Verdict::NotRun
        } else if whole && !unmet(s).is_empty() {
            Verdict::NotShown
        } else {
            Verdict::Held
        }
    }
}

/// What a run means to a shell: that it was interrupted, or else what its worst scenario means.
pub fn exit_code(run: &RunRecord) -> u8 {
    match (run.interrupted, run.verdict()) {
        (Some(code), _) => code,
        // More shards than seeds: this one had nothing to do.
        (None, Verdict::NotRun) if run.shard.is_some() && !run.cut_short => 0,
        (None, worst) => worst.code(),
    }
}

/// The exit codes of what was run, the first to be told first.
const ORDER: [u8; 4] = [Verdict::Nondeterministic.code(), Verdict::Violated.code(), Verdict::NotShown.code(), GATE];

/// The exit code of several things that were done one after the other.
pub fn worst_code(codes: &[u8]) -> u8 {
    let interrupted = codes.iter().copied().find(|c| *c > 128);
    interrupted.or_else(|| ORDER.into_iter().find(|c| codes.contains(c))).unwrap_or(Verdict::Held.code())
}

/// Findings that are no violation here, in words: how many of what, and what permits them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Permitted {
    /// How many of what, such as `605 acknowledged records lost`.
    pub what: String,
    /// What permits them.
    pub causes: Vec<String>,
    /// Whether acknowledged data is gone.
    pub loss: bool,
}

/// Permitted findings as one phrase: `605 acknowledged records lost (acks=1 and a change of leader), 3 records out of
/// order, 1 offset with two values (...)`. What is lost has its cause beside it; of the rest, what one cause permits is
/// told together.
pub fn in_words(all: &[Permitted]) -> String {
    let mut groups: Vec<(Vec<&str>, &Permitted)> = Vec::new();
    for p in all {
        match groups.last_mut() {
            Some((whats, last)) if !last.loss && last.causes == p.causes => whats.push(&p.what),
            _ => groups.push((vec![&p.what], p)),
        }
    }
    let phrase = |(whats, p): &(Vec<&str>, &Permitted)| format!("{} ({})", whats.join(", "), p.causes.join("; "));
    groups.iter().map(phrase).collect::<Vec<_>>().join(", ")
}

/// What checks find, in the words of a row: one of it, and several.
const PHRASES: &[(&[&str], &str, &str)] = &[
    (&["lost-write", "unseen"], "acknowledged record lost", "acknowledged records lost"),
    (&["half-done"], "record committed half done", "records committed half done"),
    (&["skipped-record"], "record committed and never processed", "records committed and never processed"),
    (&["compacted-value"], "key without its last acknowledged value", "keys without their last acknowledged value"),
    (&["read-model"], "key stale in a read model", "keys stale in read models"),
    (&["duplicate"], "record repeated", "records repeated"),
    (&["double-effect"], "effect applied twice", "effects applied twice"),
    (&["nonmonotonic-send", "int-nonmonotonic-send"], "record out of order", "records out of order"),
    (&["out-of-step"], "consequence out of step", "consequences out of step"),
    (&["failed-write-visible"], "refused record read", "refused records read"),
    (&["unknown-read"], "record at another offset than acknowledged", "records at another offset than acknowledged"),
    (&["inconsistent-offsets"], "offset with two values", "offsets with two values"),
    (
        &["realtime-order"],
        "record below one acknowledged before it was sent",
        "records below one acknowledged before they were sent",
    ),
    (&["poll-skip", "int-poll-skip"], "jump of a reader", "jumps of readers"),
    (&["nonmonotonic-poll", "int-nonmonotonic-poll"], "step back of a reader", "steps back of readers"),
    (&["convergence"], "failure to settle", "failures to settle"),
    (&["client-recovers"], "client that never worked again", "clients that never worked again"),
];

/// What a scenario found without being violated, the worst first.
pub fn permitted(s: &ScenarioRecord) -> Vec<Permitted> {
    let excused = |check: &str, found: &FindingCount| {
        let forbidden = s.strict || s.forbid.iter().any(|c| c == check);
        let named = s.expected.iter().chain(&s.permits).any(|c| c == check);
        let mut tolerated = BTreeMap::new();
        // What is forbidden here is told as the violation that it is.
        if !forbidden || named {
            tolerated.clone_from(&found.permitted);
        }
        if found.violations > 0 && named {
            let hazard = s.expected.iter().any(|c| c == check);
            let cause = if hazard { "the hazard of this scenario" } else { "tolerated by the scenario" };
            tolerated.insert(cause.to_owned(), found.violations);
        }
        tolerated
    };
    let found = s.findings.iter().map(|(check, found)| (check.clone(), excused(check, found))).collect();
    phrases(&found, s.operations.silently_lost)
}

/// Permitted findings, how many by check and cause, in the words of a row, the worst first. What was sent with acks=0 and
/// never seen again is a count beside them.
pub fn phrases(found: &BTreeMap<String, BTreeMap<String, u64>>, silently_lost: u64) -> Vec<Permitted> {
    let mut all: Vec<(u8, Permitted)> = Vec::new();
    let mut take = |checks: &[&str], one: &str, many: &str| {
        let of_them = || checks.iter().filter_map(|c| found.get(*c)).flatten();
        let causes: BTreeSet<&String> = of_them().map(|(cause, _)| cause).collect();
        let n = of_them().map(|(_, n)| n).sum();
        if n > 0 {
            let severity = checks.iter().map(|c| severity(c).0).min().unwrap_or(u8::MAX);
            let loss = checks.contains(&"lost-write");
            let causes = causes.into_iter().cloned().collect();
            all.push((severity, Permitted { what: of_number(n, one, many), causes, loss }));
        }
    };
    for (checks, one, many) in PHRASES {
        take(checks, one, many);
    }
    for check in found.keys().filter(|c| !PHRASES.iter().any(|p| p.0.contains(&c.as_str()))) {
        take(&[check], &format!("finding of {check}"), &format!("findings of {check}"));
    }
    if silently_lost > 0 {
        let what = of_number(silently_lost, "record sent and never seen again", "records sent and never seen again");
        all.push((0, Permitted { what, causes: vec!["acks=0".to_owned()], loss: true }));
    }
    // Stable: what is equally bad stays in the order of the table.
    all.sort_by_key(|(severity, _)| *severity);
    all.into_iter().map(|(_, p)| p).collect()
}

fn of_number(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(n), if n == 1 { one } else { many })
}

/// What a scenario had to show and did not, each as a sentence with what would help.
pub fn unmet(s: &ScenarioRecord) -> Vec<String> {
    let seeds = s.seeds.len() as u64;
    let mut all = Vec::new();
    if let Some(judged) = &s.judged {
        if judged.acknowledged == 0 && judged.asks {
            all.push(if judged.sends == 0 {
                format!("nothing was sent in {}: nothing was judged", count(seeds, "seed"))
            } else {
                format!(
                    "nothing was acknowledged in {} ({} of {} sends were refused or given up): nothing was judged",
                    count(seeds, "seed"),
                    number(judged.refused),
                    number(judged.sends)
                )
            });
        }
        if judged.read == 0 {
            all.push(format!("nothing that was sent was read in {}: nothing was judged", count(seeds, "seed")));
        }
    }
    let never = |kind: &str, name: &str| {
        format!("{kind} `{name}` was seen in 0 of {}; {}", count(seeds, "seed"), help(s, name, seeds))
    };
    all.extend(s.required_marks.iter().filter(|m| !s.marks.contains_key(*m)).map(|m| never("mark", m)));
    all.extend(s.expected.iter().filter(|c| !s.findings.contains_key(*c)).map(|c| never("violation", c)));
    let idle = s.faults.iter().enumerate().filter(|(_, f)| f.seeds == 0);
    all.extend(idle.map(|(i, f)| {
        format!(
            "fault {} ({}) took effect in 0 of {}: {}",
            i + 1,
            f.fault,
            count(seeds, "seed"),
            reasons(f).unwrap_or_else(|| "its time never came".to_owned())
        )
    }));
    all
}

/// What would help to see something: more seeds, and how many, where it is known how often it is seen.
fn help(s: &ScenarioRecord, name: &str, seeds: u64) -> String {
    let Some(before) = s.seen_before.get(name).filter(|b| b.seeds > 0) else { return "raise --seeds".to_owned() };
    let was = format!("it was seen in {} of {} before", number(before.seeds), number(before.of));
    // So many seeds miss it once in a hundred times.
    let share = before.seeds as f64 / before.of.max(1) as f64;
    let enough = if share < 1.0 { (0.01_f64.ln() / (1.0 - share).ln()).ceil() as u64 } else { 1 };
    if enough > seeds { format!("{was}: raise --seeds to {}", enough) } else { format!("{was}: something has changed") }
}

/// Why a fault changed nothing, the most frequent reason first; `None` if no reason is known.
pub fn reasons(f: &FaultRecord) -> Option<String> {
    let mut why: Vec<(&String, &u64)> = f.idle.iter().collect();
    why.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
    let words: Vec<String> =
        why.into_iter().map(|(why, n)| format!("{why} ({})", of_number(*n, "time", "times"))).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// What became of each fault, in a line; `None` if nothing is known of any.
pub fn faults(s: &ScenarioRecord) -> Option<String> {
    let seeds = s.seeds.len() as u64;
    let each = s.faults.iter().map(|f| format!("{} in {} of {seeds}", f.fault, f.seeds));
    let each: Vec<String> = each.collect();
    (!each.is_empty()).then(|| format!("faults that took effect, by seeds: {}", each.join(" · ")))
}

/// The violations of a scenario by check, the worst first: each with the seeds that showed it.
pub fn violations(s: &ScenarioRecord) -> Vec<(String, u64)> {
    let mut by_check: std::collections::BTreeMap<&str, u64> = std::collections::BTreeMap::new();
    for check in s.seeds.iter().flat_map(|seed| &seed.violated) {
        *by_check.entry(check).or_default() += 1;
    }
    let mut all: Vec<(String, u64)> = by_check.into_iter().map(|(check, n)| (check.to_owned(), n)).collect();
    all.sort_by_key(|(check, n)| (severity(check), std::cmp::Reverse(*n)));
    all
}

/// What follows the word of a scenario's verdict, if anything does.
pub fn remark(s: &ScenarioRecord) -> Option<String> {
    let seeds = s.seeds.len() as u64;
    let permitted = in_words(&permitted(s));
    let said = match s.verdict {
        Verdict::Held => permitted,
        Verdict::Violated => {
            let checks: Vec<String> = violations(s)
                .into_iter()
                .map(|(check, n)| format!("{check} in {n} of {}", count(seeds, "seed")))
                .collect();
            // An old record does not say which seed violated what.
            let checks = if checks.is_empty() { s.failures.iter().map(|f| f.check.clone()).collect() } else { checks };
            checks.join(", ")
        }
        Verdict::NotShown => unmet(s).join("; "),
        Verdict::NotRun => match s.planned {
            0 => "no seed of it was run".to_owned(),
            planned => format!("{} of {} were run", number(seeds), count(planned, "seed")),
        },
        Verdict::Nondeterministic => "two runs of one seed differed".to_owned(),
    };
    (!said.is_empty()).then_some(said)
}

/// The verdict as a sentence: `held, 605 acknowledged records lost (...)`, `not shown: mark ...`.
pub fn sentence(s: &ScenarioRecord) -> String {
    let word = s.verdict.word();
    match (s.verdict, remark(s)) {
        (_, None) => word.to_owned(),
        (Verdict::Held, Some(remark)) => format!("{word}, {remark}"),
        (_, Some(remark)) => format!("{word}: {remark}"),
    }
}

/// Checks of a scenario, each with how often it could have judged: those that it names, then all that did.
pub fn armed(s: &ScenarioRecord) -> Vec<(String, u64)> {
    let mut named: Vec<&String> = s.expected.iter().chain(&s.permits).chain(&s.forbid).collect();
    named.sort();
    named.dedup();
    let of = |check: &String| (check.clone(), s.armed.get(check).copied().unwrap_or(0));
    let others = s.armed.keys().filter(|c| !named.contains(c)).map(of);
    named.iter().map(|c| of(c)).chain(others).collect()
}

/// Whether a scenario says something of a check.
pub fn names(s: &ScenarioRecord, check: &str) -> bool {
    s.expected.iter().chain(&s.permits).chain(&s.forbid).any(|c| c == check)
}

/// Checks of all scenarios together: how often each could have judged, and in how many scenarios.
pub fn armed_in_all(run: &RunRecord) -> Vec<(String, u64, usize)> {
    let mut all: std::collections::BTreeMap<String, (u64, usize)> = std::collections::BTreeMap::new();
    for (check, n) in run.scenarios.iter().flat_map(armed) {
        let (times, scenarios) = all.entry(check).or_default();
        *times += n;
        *scenarios += usize::from(n > 0);
    }
    all.into_iter().map(|(check, (times, scenarios))| (check, times, scenarios)).collect()
}

/// How often a check could have judged, in words.
pub fn judged(n: u64) -> String {
    if n == 0 { "armed in none".to_owned() } else { of_number(n, "time", "times") }
}

#[cfg(test)]
mod tests;
