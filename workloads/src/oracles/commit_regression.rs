//! commit-regression: within one assignment, without seek, a member's auto-commits decrease, or stem from an earlier
//! assignment: they lie below where this one began, or are of a partition that is not assigned.
//!
//! What an application commits by itself is its own affair.

use super::groups::{Candidate, Groups, Who};
use super::illegal_resume::assigned;
use super::report::{Findings, Report};
use super::store::{NONE, Store};
use klamm_model::checks::Check;
use klamm_model::history::{CommitTrigger, Entry};

/// A member commits an offset of one partition. Returns whether it did so by itself, with something to hold it against.
pub(super) fn commits(
    store: &Store,
    groups: &mut Groups,
    out: &mut Findings,
    me: Who,
    part: u32,
    commit: &Candidate,
) -> bool {
    let Some(member) = groups.member(me) else { return false };
    let auto = match commit.trigger {
        CommitTrigger::Auto => true,
        CommitTrigger::Revocation | CommitTrigger::Close => member.facts.auto_commit,
        CommitTrigger::Sync | CommitTrigger::Async => false,
    };
    let group = member.group;
    let source = &store.parts[part as usize].source;
    let mut fire = |words: String, before: Vec<Entry>, groups: &Groups| {
        let report = Report::new(Check::CommitRegression, commit.invoked, me.0, part).offset(commit.offset);
        let report = Report { group: Some(&groups.list[group].name), ..report };
        out.add(store, report, || words, || before.into_iter().chain(commit.story(source)).collect());
    };
    let Some((_, holding, _)) = groups.held(me, part) else {
        if auto {
            fire(format!("commits {} of a partition that is not assigned to it", commit.offset), Vec::new(), groups);
        }
        return auto;
    };
    if auto && holding.floor != NONE && commit.offset < holding.floor {
        let begun = assigned(me, holding.assigned_at, holding.generation, source);
        let (words, before) = match &holding.last_commit {
            Some(last) => (
                format!("commits {} after {}", commit.offset, last.offset),
                [begun].into_iter().chain(last.story(source)).collect(),
            ),
            None => {
                let words = format!("commits {}, but this assignment began at {}", commit.offset, holding.floor);
                (words, vec![begun])
            }
        };
        fire(words, before, groups);
        return true;
    }
    if auto && holding.floor != NONE {
        holding.floor = commit.offset;
        holding.last_commit = Some(commit.clone());
        return true;
    }
    false
}

#[cfg(test)]
mod tests {
    use crate::oracles::testing::*;
    use klamm_model::history::{CommitTrigger::*, PositionReason};
    use klamm_model::ids::Offset;

    fn begun() -> History {
        let mut h = History::new();
        h.sends(0..10).member(10).comes(10, 1).position(10, 2, PositionReason::Reset).reads(10, 2..8);
        h.commits(10, 1, Auto, 1, 5);
        h
    }

    #[test]
    fn auto_commits_do_not_decrease() {
        let mut h = begun();
        h.commits(10, 2, Auto, 1, 5).commits(10, 3, Auto, 1, 8).commits(10, 4, Revocation, 1, 8).silent();
        let mut h = begun();
        h.commits(10, 2, Auto, 1, 4);
        let found = h.fires(Check::CommitRegression);
        assert_eq!((found.offset, found.permitted, found.witness.len()), (Some(Offset(4)), None, 3));
        let mut h = begun();
        h.commits(10, 2, Close, 1, 3);
        h.fires(Check::CommitRegression);
    }

    #[test]
    fn the_application_and_seeks_may_go_back() {
        let mut h = begun();
        h.commits(10, 2, Sync, 1, 3).commits(10, 3, Async, 1, 2).silent();
        let mut h = begun();
        h.position(10, 2, PositionReason::Seek).reads(10, 2..4).commits(10, 2, Auto, 1, 4).silent();
    }

    #[test]
    fn what_an_earlier_assignment_left_is_not_committed() {
        // After the revocation.
        let mut h = begun();
        h.revoked(10, 1, false).commits(10, 2, Auto, 2, 8);
        h.fires(Check::CommitRegression);
        // In the next assignment, below where it began.
        let mut h = begun();
        h.revoked(10, 1, false).member(11).comes(11, 2).assigned(11, 5).reads(11, 5..8);
        h.commits(11, 1, Auto, 2, 8).revoked(11, 2, false).comes(10, 3).assigned(10, 8).commits(10, 2, Auto, 3, 5);
        let found = h.fires(Check::CommitRegression);
        assert!(found.detail.contains("began at 8"), "{}", found.detail);
        // What it really read there is another matter.
        let mut h = begun();
        h.revoked(10, 1, false).comes(10, 2).assigned(10, 5).reads(10, 5..6).commits(10, 2, Auto, 2, 6).silent();
    }
}
