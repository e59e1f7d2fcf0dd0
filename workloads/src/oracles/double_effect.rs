//! double-effect: an external effect is applied twice for one record.
//!
//! An at-least-once application may, but not across a clean handover that had committed the record, nor within one
//! assignment whose position nothing moved.

use super::groups::{Applied, Groups};
use super::report::{Findings, Report};
use super::store::Store;
use crate::permission::{AppFacts, Clause};
use klamm_model::checks::Check;
use klamm_model::history::{Entry, Op, Processing, ValueId};
use klamm_model::ids::{Incarnation, Offset};

/// A member applies an effect. Returns whether it is a member's.
pub(super) fn applied(
    store: &Store,
    groups: &mut Groups,
    out: &mut Findings,
    entry: &Entry,
    part: u32,
    offset: i64,
    value: ValueId,
) -> bool {
    let me = super::groups::who(entry);
    let Some(member) = groups.member(me) else { return false };
    let (group, processing) = (member.group, member.facts.processing);
    let holding = member.holdings.get(&part);
    let (assigned_at, moved_at) = holding.map_or((0, u64::MAX), |h| (h.assigned_at, h.moved_at));
    let clean = holding.and_then(|h| h.clean.as_ref()).is_some_and(|h| offset < h.commit.offset);
    let now = Applied { at: entry.at, who: me, value, assigned_at };
    let before = match groups.list[group].part(part).effects.entry(offset) {
        std::collections::btree_map::Entry::Vacant(place) => {
            place.insert(now);
            return true;
        }
        std::collections::btree_map::Entry::Occupied(mut place) => std::mem::replace(place.get_mut(), now),
    };
    // Another record at this offset: what was there is gone.
    if before.value != value {
        return true;
    }
    let same = before.who == me && before.assigned_at == assigned_at && moved_at < before.at;
    let mut report = Report::new(Check::DoubleEffect, entry.at, entry.client, part).offset(offset);
    let values = [value.0];
    report = report.values(&values);
    report.group = Some(&groups.list[group].name);
    report.app = AppFacts { at_least_once: processing != Processing::CommitThenFinish, ..AppFacts::default() };
    if !same && !clean {
        report = report.clause(Clause::UncleanHandover);
    }
    let source = &store.parts[part as usize].source;
    let op = Op::Effect { source: source.clone(), offset: Offset(offset), value };
    let first = Entry { at: before.at, client: before.who.0, incarnation: Incarnation(before.who.1), op };
    let words = || match (same, clean) {
        (true, _) => format!("the effect of offset {offset} is applied twice within one assignment"),
        (_, true) => format!("the effect of offset {offset} is applied again after a clean handover"),
        _ => format!("the effect of offset {offset} is applied again"),
    };
    out.add(store, report, words, || vec![first, entry.clone()]);
    true
}

#[cfg(test)]
mod tests {
    use crate::oracles::testing::*;
    use crate::permission::Cause;
    use klamm_model::history::{CommitTrigger::*, PositionReason, Processing};

    fn begun(processing: Processing) -> History {
        let mut h = History::new();
        h.processing(processing).sends(0..4).member(10).member(11);
        h.comes(10, 1).position(10, 0, PositionReason::Reset).reads(10, 0..2).effect(10, 0).effect(10, 1).silent();
        h
    }

    #[test]
    fn at_least_once_may_repeat_what_was_not_committed() {
        let mut h = begun(Processing::FinishThenCommit);
        h.revoked(10, 1, true).comes(11, 2).position(11, 0, PositionReason::Reset).reads(11, 0..2).effect(11, 0);
        let found = h.fires(Check::DoubleEffect);
        assert_eq!((found.permitted, found.witness.len()), (Some(Cause::AtLeastOnce), 2));
        // A member that does not know yet that it was expelled.
        let mut h = begun(Processing::HandOff);
        h.comes(11, 2).position(11, 0, PositionReason::Reset).reads(11, 0..2).effect(11, 0).revoked(10, 1, true);
        h.effect(10, 0);
        assert_eq!(h.fires(Check::DoubleEffect).permitted, Some(Cause::AtLeastOnce));
    }

    #[test]
    fn not_across_a_clean_handover() {
        let mut h = begun(Processing::FinishThenCommit);
        h.commits(10, 1, Revocation, 1, 1).revoked(10, 1, false).comes(11, 2).assigned(11, 0).reads(11, 0..2);
        h.effect(11, 0);
        assert_eq!(h.fires_among(Check::DoubleEffect).permitted, None);
        // Beyond what it committed it may.
        let mut h = begun(Processing::FinishThenCommit);
        h.commits(10, 1, Revocation, 1, 1).revoked(10, 1, false).comes(11, 2).assigned(11, 1).reads(11, 1..2);
        h.effect(11, 1);
        assert_eq!(h.fires(Check::DoubleEffect).permitted, Some(Cause::AtLeastOnce));
    }

    #[test]
    fn never_at_most_once_nor_within_one_assignment() {
        let mut h = begun(Processing::CommitThenFinish);
        h.revoked(10, 1, true).comes(11, 2).position(11, 0, PositionReason::Reset).reads(11, 0..2).effect(11, 0);
        assert_eq!(h.fires(Check::DoubleEffect).permitted, None);
        let mut h = begun(Processing::FinishThenCommit);
        h.effect(10, 1);
        assert_eq!(h.fires(Check::DoubleEffect).permitted, None);
        let mut h = begun(Processing::FinishThenCommit);
        h.position(10, 0, PositionReason::Seek).reads(10, 0..2).effect(10, 1);
        assert_eq!(h.fires(Check::DoubleEffect).permitted, Some(Cause::AtLeastOnce));
    }
}
