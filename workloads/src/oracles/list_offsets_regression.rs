//! list-offsets-regression: of two successful *latest* answers for one topic id and isolation, the second invoked after
//! the first completed, at a leader epoch not lower, the second is lower. (Kafka has no read barrier: an isolated old
//! leader may answer stale, at its old epoch.)

use super::report::{Findings, Report};
use super::store::Store;
use crate::planted::planted;
use klamm_model::checks::Check;
use klamm_model::history::{Entry, IsolationLevel, Op};
use klamm_model::ids::{ClientId, Incarnation, TopicId};
use std::collections::BTreeMap;

/// The timestamp that asks for the latest offset.
const LATEST: i64 = -1;

#[derive(Clone)]
struct Answer {
    asked: u64,
    entry: Entry,
    epoch: i32,
    offset: i64,
}

/// Questions under way, and the answers that later ones must not fall below.
#[derive(Default)]
pub(super) struct Asked {
    asked: BTreeMap<(ClientId, Incarnation, u64), u64>,
    /// Of the answers so far, those that no other one covers: completed no later, at an epoch no higher, with an
    /// offset no lower.
    answers: BTreeMap<(u32, Option<TopicId>, IsolationLevel), Vec<Answer>>,
}

impl Asked {
    /// A question was asked.
    pub(super) fn ask(&mut self, entry: &Entry, ask: u64) {
        self.asked.insert((entry.client, entry.incarnation, ask), entry.at);
    }
}

/// A question was answered. Returns whether an earlier answer bounds it.
pub(super) fn answered(store: &Store, asked: &mut Asked, out: &mut Findings, entry: &Entry, part: u32) -> bool {
    let Op::ListOffsets { ask, topic_id, isolation, query, offset, leader_epoch, .. } = &entry.op else { return false };
    let Some(invoked) = asked.asked.remove(&(entry.client, entry.incarnation, *ask)) else { return false };
    if *query != LATEST {
        return false;
    }
    let (epoch, offset) = (leader_epoch.0, offset.0);
    let answers = asked.answers.entry((part, *topic_id, *isolation)).or_default();
    let judged = answers.iter().any(|a| a.entry.at < invoked && a.epoch <= epoch);
    let higher = answers
        .iter()
        .find(|a| a.entry.at < invoked && a.epoch <= epoch && a.offset > offset.saturating_add(i64::from(planted(24))));
    if let Some(first) = higher {
        let report = Report::new(Check::ListOffsetsRegression, entry.at, entry.client, part).offset(offset);
        let words = || {
            format!("the latest offset was {} at epoch {}, then {offset} at epoch {epoch}", first.offset, first.epoch)
        };
        let question = |by: &Entry, at, ask| Entry { at, op: Op::AskOffset { ask }, ..by.clone() };
        let witness = || {
            let Op::ListOffsets { ask: first_ask, .. } = first.entry.op else { return Vec::new() };
            vec![
                question(&first.entry, first.asked, first_ask),
                first.entry.clone(),
                question(entry, invoked, *ask),
                entry.clone(),
            ]
        };
        out.add(store, report, words, witness);
    }
    if !answers.iter().any(|a| a.epoch <= epoch && a.offset >= offset) {
        answers.push(Answer { asked: invoked, entry: entry.clone(), epoch, offset });
        // Kept short: what is long past and covered by something that is past as well decides nothing any more.
        if answers.len() > 64 {
            let oldest = asked.asked.values().min().copied().unwrap_or(entry.at).min(entry.at);
            let past: Vec<Answer> = answers.iter().filter(|a| a.entry.at < oldest).cloned().collect();
            answers.retain(|a| {
                a.entry.at >= oldest
                    || !past.iter().any(|b| b.epoch <= a.epoch && b.offset >= a.offset && b.entry.at > a.entry.at)
            });
        }
    }
    judged
}

#[cfg(test)]
mod tests {
    use crate::oracles::testing::*;

    #[test]
    fn a_later_answer_may_not_be_lower() {
        let mut h = History::new();
        h.latest(1, 10, 20, 3, 100).latest(2, 30, 40, 3, 99);
        h.fires(Check::ListOffsetsRegression);
    }

    #[test]
    fn a_higher_epoch_does_not_excuse() {
        let mut h = History::new();
        h.latest(1, 10, 20, 3, 100).latest(2, 30, 40, 4, 99);
        h.fires(Check::ListOffsetsRegression);
    }

    #[test]
    fn an_older_leader_may_be_stale() {
        let mut h = History::new();
        h.latest(1, 10, 20, 3, 100).latest(2, 30, 40, 2, 50);
        h.silent();
    }

    #[test]
    fn overlapping_questions_have_no_order() {
        let mut h = History::new();
        h.ask(1, 10, 7).ask(2, 15, 8).answer(1, 20, 7, 3, 100).answer(2, 25, 8, 3, 90);
        h.silent();
    }

    #[test]
    fn growing_answers_are_fine_however_many() {
        let mut h = History::new();
        for i in 0..500 {
            h.latest(1, 10 * i + 10, 10 * i + 15, (i / 50) as i32, i as i64);
        }
        h.silent();
        h.latest(1, 6_000, 6_010, 10, 498);
        h.fires(Check::ListOffsetsRegression);
    }
}
