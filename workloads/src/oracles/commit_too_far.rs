//! commit-too-far: when a commit is invoked, a visible record between the group's start and the committed offset was
//! delivered to no member.
//!
//! What counts as delivered is what members' polls passed over (a record that a poll jumped over is a poll-skip). A gap
//! in which nothing visible is known yet is watched.

use super::groups::{Candidate, Groups, OpenGap, Who};
use super::illegal_resume::found_or_watched;
use super::report::Findings;
use super::store::Store;
use klamm_model::checks::Check;
use klamm_model::history::PositionReason;

/// A member commits an offset of one partition. Returns whether it is known where the group began.
pub(super) fn commits(
    store: &Store,
    groups: &mut Groups,
    out: &mut Findings,
    me: Who,
    part: u32,
    commit: &Candidate,
) -> bool {
    let Some(group) = groups.member(me).map(|m| m.group) else { return false };
    let state = groups.list[group].part(part);
    let Some(start) = state.start else { return false };
    let start = start.max(store.parts[part as usize].log_start);
    let gaps = state.delivered.gaps(start, commit.offset);
    if gaps.is_empty() {
        return true;
    }
    let (isolation, (moved_to, moved)) = (state.isolation, state.moved_to);
    let source = &store.parts[part as usize].source;
    for (from, to) in gaps {
        // A legal reset or a seek passed over it.
        let boundary: Option<PositionReason> = moved.filter(|_| from < moved_to);
        let gap = OpenGap {
            check: Check::CommitTooFar,
            from,
            to,
            group,
            at: commit.invoked,
            client: me.0,
            isolation,
            boundary,
            detail: format!("commits {}, but no member was given what lies from {from} to {}:", commit.offset, to - 1),
            witness: commit.story(source).collect(),
        };
        found_or_watched(store, groups, out, part, gap);
    }
    true
}

#[cfg(test)]
mod tests {
    use crate::oracles::testing::*;
    use crate::permission::Cause;
    use klamm_model::history::{CommitTrigger, PositionReason};
    use klamm_model::ids::Offset;

    fn begun() -> History {
        let mut h = History::new();
        h.sends(0..10).assigned(99, 0).reads(99, 0..8).member(10).comes(10, 1);
        h.position(10, 2, PositionReason::Reset).reads(10, 2..5);
        h
    }

    #[test]
    fn what_nobody_was_given_must_not_be_committed() {
        let mut h = begun();
        h.commits(10, 1, CommitTrigger::Sync, 1, 5).silent();
        let mut h = begun();
        h.commits(10, 1, CommitTrigger::Sync, 1, 7);
        let found = h.fires(Check::CommitTooFar);
        assert_eq!((found.offset, found.permitted), (Some(Offset(5)), None));
        assert_eq!(found.witness.len(), 2);
    }

    #[test]
    fn it_is_found_when_the_record_is_read_later() {
        let mut h = begun();
        h.commits(10, 1, CommitTrigger::Sync, 1, 9);
        assert_eq!(h.fires(Check::CommitTooFar).offset, Some(Offset(5)));
        let mut h = begun();
        h.reads(10, 5..8).commits(10, 1, CommitTrigger::Sync, 1, 9).silent();
        h.reads(99, 8..9);
        assert_eq!(h.fires(Check::CommitTooFar).offset, Some(Offset(8)));
    }

    #[test]
    fn trailing_markers_and_what_lies_below_the_start_are_nobody_s() {
        let mut h = begun();
        h.reads(10, 5..8).commits(10, 1, CommitTrigger::Sync, 1, 9).poll(99, &[(9, 9)]).silent();
    }

    #[test]
    fn a_record_given_to_another_member_counts() {
        let mut h = begun();
        h.member(11).revoked(10, 1, true).comes(11, 2).position(11, 2, PositionReason::Reset);
        h.reads(11, 2..3).commits(11, 1, CommitTrigger::Sync, 2, 5).silent();
    }

    #[test]
    fn seeks_and_resets_are_the_application_s_choice() {
        let mut h = begun();
        h.position(10, 7, PositionReason::Seek).reads(10, 7..8).commits(10, 1, CommitTrigger::Sync, 1, 8);
        assert_eq!(h.fires(Check::CommitTooFar).permitted, Some(Cause::PositionMoved));
        // Nothing was committed, so another member begins at the latest offset.
        let mut h = begun();
        h.member(11).revoked(10, 1, true).comes(11, 2).position(11, 7, PositionReason::Reset);
        h.reads(11, 7..8).commits(11, 1, CommitTrigger::Sync, 2, 8);
        assert_eq!(h.fires(Check::CommitTooFar).permitted, Some(Cause::PositionMoved));
    }
}
