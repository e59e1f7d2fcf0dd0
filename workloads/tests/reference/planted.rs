//! Mistakes planted in the fast judge: each must make it part from the reference where it did not before.

use super::compare::differences;
use super::{SEED, history, numbers};
use klamm_workloads::planted::plant;

/// Number, and what is wrong.
const MISTAKES: &[(u32, &str)] = &[
    (1, "a cut excuses what lies below it"),
    (2, "a cut excuses sends that began after it"),
    (3, "any loss counts as beyond budget"),
    (4, "a cut leaves records of one leadership around what it took"),
    (5, "acks=1 loses what was read"),
    (6, "acks=1 is never excused"),
    (7, "a leader that was deposed long before still takes sends"),
    (8, "an unclean election excuses nothing"),
    (9, "a declared loss excuses nothing"),
    (10, "an ambiguous retry excuses nothing"),
    (11, "with one request in flight sends overtake each other"),
    (12, "an idempotent retry counts as ambiguous"),
    (13, "a single attempt counts as a retry"),
    (14, "a new epoch excuses a reordering"),
    (15, "a producer state that expired at any time excuses"),
    (16, "a producer state that expired excuses nothing"),
    (17, "a compaction excuses every offset"),
    (18, "a compaction excuses nothing"),
    (19, "a deletion reaches one offset too far"),
    (20, "a deletion leaves older records excused"),
    (21, "a deletion excuses nothing"),
    (22, "what happens after a finding excuses it"),
    (23, "what happens to another partition excuses"),
    (24, "a latest answer may fall by one"),
    (25, "sends one after the other have no order"),
    (26, "the last offset that was passed is not looked at"),
    (27, "reading one offset again is no step back"),
    (28, "acknowledgements count before they are given"),
    (29, "the successor within a poll is not compared"),
    (30, "epochs may fall by one"),
    (31, "a key may change its partition"),
    (32, "a send may take twice as long"),
    (33, "a failed send that was retried may be read"),
];

#[test]
fn each_planted_mistake_is_noticed() {
    let mut first = vec![None; MISTAKES.len()];
    for number in numbers() {
        if first.iter().all(Option::is_some) {
            break;
        }
        let history = history(SEED, number);
        plant(0);
        let before = differences(&history);
        for (i, (mistake, _)) in MISTAKES.iter().enumerate().filter(|(i, _)| first[*i].is_none()).collect::<Vec<_>>() {
            plant(*mistake);
            let new = differences(&history).into_iter().find(|d| !before.contains(d));
            first[i] = new.map(|d| (number, d.subject.check));
        }
    }
    plant(0);
    for ((mistake, what), found) in MISTAKES.iter().zip(&first) {
        match found {
            Some((number, check)) => println!("{mistake:3}  {what}: {check}, first in history {number}"),
            None => println!("{mistake:3}  {what}: not noticed"),
        }
    }
    let missed: Vec<u32> = MISTAKES.iter().zip(&first).filter(|(_, f)| f.is_none()).map(|(m, _)| m.0).collect();
    assert!(missed.is_empty(), "not noticed: {missed:?}");
}
