//! poll-skip and int-poll-skip: one consumer's polls jump over a record that another reader got, between polls or
//! within one, although nothing moved its position.
//!
//! Offsets have gaps (markers, aborted data, compaction), so a jump alone proves nothing: what was jumped over must
//! have been read, earlier or later, under an isolation that sees no more than the reader's.

use super::groups::visible_flag;
use super::passes::{self, Pass};
use super::report::{Findings, Report};
use super::store::Store;
use crate::planted::planted;
use klamm_model::checks::Check;

/// What readers passed below `below`, which nothing more will be known of.
pub(super) fn settle(store: &Store, out: &mut Findings, part: u32, below: i64, floors: &[i64]) {
    let p = &store.parts[part as usize];
    for pass in p.passes.list.iter().filter(|pass| pass.from < below) {
        let flag = visible_flag(pass.isolation);
        let last = pass.to().min(below).saturating_sub(1 + i64::from(planted(26)));
        // Each record by itself: what excuses one, such as compaction, need not excuse its neighbour.
        let passed = p.slots.within(pass.from, last).filter(|(o, s)| s.flags & flag != 0 && !p.was_gone(*o, pass.tick));
        for (offset, slot) in passed {
            let older_survives = passes::older_survives(pass, floors, offset);
            // Of several values at one offset, each by itself, too.
            let case = out.case();
            for value in p.read_values(offset, slot, flag) {
                skipped(store, out, part, pass, (offset, value), older_survives, case);
            }
        }
    }
}

#[cold]
fn skipped(
    store: &Store,
    out: &mut Findings,
    part: u32,
    pass: &Pass,
    record: (i64, u64),
    older_survives: bool,
    case: u32,
) {
    let (offset, value) = record;
    let check = if pass.within_poll { Check::IntPollSkip } else { Check::PollSkip };
    let values = [value];
    let report = Report { older_survives, ..Report::new(check, pass.at, pass.client, part).offset(offset) };
    let words = || format!("went from {} to {} past offset {offset}, which was read", pass.last, pass.to());
    out.add(store, report.values(&values).case(case), words, || {
        store.read_of(value, (part, offset)).into_iter().chain(pass.story(store, part)).collect()
    });
}

#[cfg(test)]
mod tests {
    use crate::oracles::testing::*;
    use klamm_model::history::{IsolationLevel, PositionReason};
    use klamm_model::ids::Offset;

    #[test]
    fn a_jump_over_what_another_reader_saw() {
        let mut h = History::new();
        h.sends(0..4);
        h.assigned(10, 0).reads(10, 0..4).assigned(11, 0).reads(11, 0..2).reads(11, 3..4);
        assert_eq!(h.fires_among(Check::PollSkip).offset, Some(Offset(2)));
        let mut h = History::new();
        h.sends(0..4);
        h.assigned(10, 0).reads(10, 0..4).assigned(11, 0).poll(11, &[(0, 0), (3, 3)]);
        h.fires_among(Check::IntPollSkip);
    }

    #[test]
    fn the_first_record_must_be_the_first_at_the_position() {
        let mut h = History::new();
        h.sends(0..4);
        h.assigned(10, 0).reads(10, 0..4).position(11, 1, PositionReason::Seek).reads(11, 2..4);
        h.fires(Check::PollSkip);
    }

    #[test]
    fn gaps_seeks_and_aborted_data_are_legal() {
        let mut h = History::new();
        h.sends(0..5);
        let all = h.poll_op(&[(0, 0, 1), (2, 2, 1), (4, 4, 1)], IsolationLevel::ReadUncommitted);
        h.assigned(10, 0).push(10, all);
        // A reader of committed data does not see what was aborted.
        h.assigned(11, 0).poll(11, &[(0, 0), (4, 4)]);
        h.position(12, 0, PositionReason::Assigned).reads(12, 0..1).position(12, 4, PositionReason::Reset);
        h.reads(12, 4..5).silent();
    }
}
