//! The fast judge against a reference judge.
//!
//! The **reference judge** ([`checks`], [`causes`] on [`laid`]) states each client-visible check over all pairs, as the
//! design words it, for histories of a handful of sends and reads. It shares no function with the oracles: it knows the
//! plain types of the history and of what was declared, and nothing else of them. Histories are legal executions of a small
//! log ([`log`]) with none to three operations altered ([`alter`]), a function of seed and number.
//!
//! Covered: sends, reads, positions, list-offsets, final reads. Not covered: the checks of groups (illegal-resume,
//! skipped-record, commit-too-far, commit-regression, clean-handover, double-effect), of services (half-done, out-of-step)
//! and of compacted topics (compacted-value, read-model), recorded histories' configured causes, and what a run tells the
//! judge beside the history (log starts and compactions as they happen).
//!
//! Where the specification leaves a choice:
//! - acks=0 is never acknowledged: what it loses is no finding.
//! - Which of lost-write and unseen names a loss is not compared; nor are nonmonotonic-send and its `int-` variant.
//! - A read that can be of no send (unknown-read) is evidence for nothing else about its value, and what was acknowledged
//!   there was not read. Its offset clause holds only if the value was never read where it was acknowledged.
//! - A value's partition is the one that the application chose, else the one that its resolution names, else the first by
//!   name in which it was read. What was acknowledged on another partition than was chosen is unknown-read wherever it is read;
//!   it is owed where it was acknowledged, and has no place in an order.
//! - What several places claim has no order: duplicates are not nonmonotonic. Nor is a send without idempotence that was
//!   given up. Of the earlier sends that one lies below, the highest that nothing excuses
//!   is told, once, or else the highest.
//! - A loss shows in each reader that came past the record or got another in its place, after the send had begun, and in the
//!   final read; each of these observations must be excused, as of its own moment. Where a record was while its send was
//!   open is not known: of the reads of that time that got another in its place the last counts. What the final reader did
//!   last at an offset counts. What some reader got, and deletion took later, is no loss.
//! - What only read_uncommitted readers got may be aborted data: others do not skip it.
//! - A final reader that tells no position begins where its final read does. Before the first record and without a position
//!   nothing is skipped.
//! - Deletion excuses nothing in a stretch of reading that holds an older record: a reader whose position fell below the log
//!   start says so, by a new position. Nor does it where an older record is read later. Neither deletion nor compaction puts
//!   another record in the place of one.
//! - A cut (unclean election, loss) excuses only offsets at or above it, and only sends that had begun; until it is deposed,
//!   an older leader may lose sends that begin after the election.
//! - A send that was given up (unknown or failed) renews its producer's epoch in its partition; a new producer id counts
//!   everywhere, and none comes back: what is answered under an older one was not sent again. At one nanosecond, a send that
//!   resolved is not open any more. A send's partition there is the one that its resolution names, else the chosen one.
//! - What a client had open when it came up anew is not held to any time. Without idempotence and with several requests in
//!   flight, what was under way may wait behind a later send of its partition that resolves in time at the same moment.
//! - Keys are not held to their partitions from a declared change of the topic's partition count on.

mod alter;
mod causes;
mod checks;
mod compare;
mod dice;
mod laid;
mod laws;
mod log;
#[cfg(feature = "planted")]
mod planted;
mod verdict;

use causes::Cause;
use compare::{differences, lines, shrink};
use dice::Dice;
use log::History;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// The seed of all histories here.
pub const SEED: u64 = 0x5eed;

/// How often a history is drawn anew until it shows what it is aimed at.
const DRAWS: u64 = 512;

/// The `number`-th history of a seed. Four of five are aimed at a check and what permits it, in turn, so that each is met
/// often enough: they are drawn until the reference judge finds it, and the permission decides.
pub fn history(seed: u64, number: u64) -> History {
    let themes = alter::themes();
    let turn = number as usize % (themes.len() + themes.len() / 4);
    let aim = themes.get(turn).copied();
    let draw = |i| {
        let mut dice = Dice::new(seed, number * DRAWS + i);
        let mut history = log::run(&mut dice);
        alter::alter(&mut history, &mut dice, aim);
        history
    };
    let shows = |history: &History| {
        let said = compare::reference(history);
        match aim {
            Some((check, Some(cause))) => said.deciding().contains(&(check, cause)),
            Some((check, None)) => said.verdicts().iter().any(|(s, permitted)| s.check == check && !permitted),
            None => true,
        }
    };
    (0..DRAWS).map(draw).find(shows).unwrap_or_else(|| draw(0))
}

/// Which histories: `KLAMM_HISTORIES`, a count or a range such as `660872..660873`; or enough for a moment.
#[expect(clippy::disallowed_methods, reason = "how much is tried is no part of what is tried")]
pub fn numbers() -> Range<u64> {
    let Ok(text) = std::env::var("KLAMM_HISTORIES") else { return 0..20_000 };
    let number = |text: &str| text.parse().expect("KLAMM_HISTORIES is a count or a range a..b");
    text.split_once("..").map_or_else(|| 0..number(&text), |(from, to)| number(from)..number(to))
}

#[test]
fn both_judges_agree() {
    let mut kinds: BTreeMap<compare::Kind, (u64, u64)> = BTreeMap::new();
    for number in numbers() {
        for d in differences(&history(SEED, number)) {
            kinds.entry(d.kind()).or_insert((0, number)).0 += 1;
        }
    }
    for (kind, (found, first)) in &kinds {
        println!("{found:6}  {kind:?}, first in history {first}");
    }
    for (kind, (_, first)) in &kinds {
        let least = shrink(&history(SEED, *first), *kind);
        println!("\n{kind:?} (reference, fast; true: permitted), least of history {first}:\n{}", lines(&least));
        println!("reference {:#?}\nfast {:#?}", compare::reference(&least).verdicts(), compare::fast_said(&least));
    }
    assert!(kinds.is_empty(), "the judges part in {} kinds", kinds.len());
}

#[test]
fn each_check_fires_and_each_permission_decides() {
    let count = numbers().count() as u64;
    let mut fired: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut decided: BTreeMap<(&'static str, Cause), u64> = BTreeMap::new();
    for number in numbers() {
        let said = compare::reference(&history(SEED, number));
        for check in said.found.keys().map(|s| s.check).collect::<BTreeSet<_>>() {
            *fired.entry(check).or_default() += 1;
        }
        for pair in said.deciding() {
            *decided.entry(pair).or_default() += 1;
        }
    }
    let mut rare = Vec::new();
    for (check, causes) in alter::THEMES {
        let times = fired.get(check).copied().unwrap_or(0);
        let mut row = format!("{check:24} fires {times:6}");
        if times * 100 < count {
            rare.push(format!("{check}: {times}"));
        }
        for cause in *causes {
            let times = decided.get(&(*check, *cause)).copied().unwrap_or(0);
            row += &format!("  {cause:?} {times}");
            if times * 100 < count {
                rare.push(format!("{check} by {cause:?}: {times}"));
            }
        }
        println!("{row}");
    }
    assert!(rare.is_empty(), "fewer than one in a hundred: {rare:?}");
}
