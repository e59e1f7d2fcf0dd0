//! skipped-record: after convergence, a visible record below a group's committed offset was finished by no member.
//!
//! What lies below where the group began to read counts only if a reset or a seek is known to have begun there.
//!
//! Judged at the end of the history, when everything that is visible has been read.

use super::groups::{Groups, visible_flag};
use super::report::{Findings, Report};
use super::store::Store;
use klamm_model::checks::Check;
use klamm_model::history::{Entry, TopicPartition};
use std::sync::Arc;

/// What the harness found committed.
pub(super) fn found(groups: &mut Groups, entry: &Entry, group: &Arc<str>, part: u32) {
    let group = groups.group(group);
    groups.list[group].part(part).found = Some(entry.clone());
}

/// Nothing more will be read. Returns how many records below committed offsets there are.
pub(super) fn end(store: &Store, groups: &Groups, out: &mut Findings) -> u64 {
    let mut judged = 0;
    for group in &groups.list {
        for (&part, state) in &group.parts {
            let Some((found, committed)) = state.committed() else { continue };
            let Some(start) = state.begins(store, part) else { continue };
            let flag = visible_flag(state.isolation);
            let p = &store.parts[part as usize];
            let visible = p.slots.within(start, committed.saturating_sub(1)).filter(|(_, s)| s.flags & flag != 0);
            judged += visible.count() as u64;
            let unfinished = state.finished.gaps(start, committed);
            let skipped = unfinished.into_iter().flat_map(|(from, to)| p.kept_between(from, to));
            for (offset, slot) in skipped.filter(|(_, slot)| slot.flags & flag != 0) {
                let values = [slot.value];
                let report = Report::new(Check::SkippedRecord, found.at, found.client, part);
                let given = state.delivered.contains(offset);
                let report = Report {
                    group: Some(&group.name),
                    boundary: state.passed_over(offset),
                    app: state.app(offset),
                    ..report.offset(offset).values(&values)
                };
                let words = || {
                    let how = if given { "delivered and never finished" } else { "delivered to no member" };
                    format!("group `{}` has committed {committed}, but offset {offset} was {how}", group.name)
                };
                let own = |source: &TopicPartition| {
                    let commits = state.commits.iter().filter(|c| c.offset == committed).take(1);
                    commits.flat_map(|c| c.story(source)).collect::<Vec<_>>()
                };
                out.add(store, report, words, || {
                    let source = &store.parts[part as usize].source;
                    let read = store.read_at(part, offset);
                    own(source).into_iter().chain(read).chain([found.clone()]).collect()
                });
            }
        }
    }
    judged
}

#[cfg(test)]
mod tests {
    use crate::oracles::testing::*;
    use crate::permission::{Cause, OffsetsAltered};
    use klamm_model::history::{CommitTrigger::*, PositionReason, Processing};
    use klamm_model::ids::Offset;

    fn begun(processing: Processing) -> History {
        let mut h = History::new();
        h.processing(processing).sends(0..6).member(10).comes(10, 1);
        h.position(10, 1, PositionReason::Assigned).reads(10, 1..5);
        h
    }

    #[test]
    fn what_is_committed_must_have_been_finished() {
        let mut h = begun(Processing::FinishThenCommit);
        h.finished(10, 1, 5).commits(10, 1, Sync, 1, 5).group_offset(5).finally(0, 6);
        h.silent();
        let mut h = begun(Processing::FinishThenCommit);
        h.finished(10, 1, 3).finished(10, 4, 5).commits(10, 1, Sync, 1, 5).group_offset(5).finally(0, 6);
        let found = h.fires(Check::SkippedRecord);
        assert_eq!((found.offset, found.permitted, found.witness.len()), (Some(Offset(3)), None, 4));
    }

    #[test]
    fn what_was_never_delivered_is_skipped_too_once_it_is_seen() {
        let mut h = begun(Processing::FinishThenCommit);
        h.finished(10, 1, 5).commits(10, 1, Sync, 1, 6).group_offset(6).silent();
        h.finally(0, 6);
        assert_eq!(h.fires_among(Check::SkippedRecord).offset, Some(Offset(5)));
        h.fires_among(Check::CommitTooFar);
    }

    #[test]
    fn a_group_that_commits_early_may_lose_what_it_was_given() {
        for processing in [Processing::CommitThenFinish, Processing::HandOff] {
            let mut h = begun(processing);
            h.commits(10, 1, Sync, 1, 5).finished(10, 1, 3).group_offset(5).finally(0, 6);
            assert_eq!(h.fires(Check::SkippedRecord).permitted, Some(Cause::CommitsBeforeFinishing));
            // Not what it never was given.
            let mut h = begun(processing);
            h.finished(10, 1, 5).commits(10, 1, Sync, 1, 6).group_offset(6).finally(0, 6);
            assert_eq!(h.fires_among(Check::SkippedRecord).permitted, None);
        }
    }

    /// A group without a commit that resets to the latest offset never sees what was sent before.
    #[test]
    fn what_a_reset_passes_over_is_skipped_with_leave() {
        let skipped = |committed: i64| {
            let mut h = History::new();
            h.sends(0..6).member(10).comes(10, 1).position(10, 2, PositionReason::Reset).reads(10, 2..5);
            h.finished(10, 2, 5);
            if committed > 0 {
                h.commits(10, 1, Sync, 1, committed).group_offset(committed);
            }
            h.finally(0, 6);
            h
        };
        let found = skipped(5).fires(Check::SkippedRecord);
        assert_eq!((found.offset, found.permitted), (Some(Offset(0)), Some(Cause::PositionMoved)));
        skipped(0).silent();
        // Where a group began of which no reset is known, nobody can say.
        let mut h = History::new();
        h.sends(0..6).member(10).comes(10, 1).reads(10, 2..5).finished(10, 2, 5).commits(10, 1, Sync, 1, 5);
        h.group_offset(5).finally(0, 6);
        h.silent();
    }

    #[test]
    fn finished_by_another_or_by_nobody_yet() {
        let mut h = begun(Processing::FinishThenCommit);
        h.finished(10, 1, 2).commits(10, 1, Sync, 1, 2).revoked(10, 1, true);
        h.member(11).comes(11, 2).assigned(11, 2).reads(11, 2..5).finished(11, 2, 5).commits(11, 1, Sync, 2, 5);
        h.group_offset(5).finally(0, 6);
        h.silent();
        let mut h = begun(Processing::FinishThenCommit);
        h.finished(10, 1, 2).commits(10, 1, Sync, 1, 2).group_offset(2).finally(0, 6);
        h.silent();
    }

    #[test]
    fn seeks_and_alterations_excuse() {
        let mut h = begun(Processing::FinishThenCommit);
        h.finished(10, 1, 5).position(10, 6, PositionReason::Seek).commits(10, 1, Sync, 1, 6).group_offset(6);
        h.finally(0, 6);
        assert_eq!(h.fires_among(Check::SkippedRecord).permitted, Some(Cause::PositionMoved));
        let mut h = begun(Processing::FinishThenCommit);
        h.finished(10, 1, 3).commits(10, 1, Sync, 1, 5).group_offset(5).finally(0, 6);
        h.declared.offsets_altered.push(OffsetsAltered { at: 0, group: "g".into(), source: None });
        assert_eq!(h.fires_among(Check::SkippedRecord).permitted, Some(Cause::OffsetsAltered));
    }
}
