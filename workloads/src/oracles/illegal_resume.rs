//! illegal-resume: the first record that a member gets after an assignment is not the first visible one at or above a
//! place where it may resume: a commit that may be in force, the reset position if there may be none, or a truncation
//! point. (After a seek the poll oracles judge.)
//!
//! Offsets have gaps: what a member jumped over must have been read by somebody, before or later. To begin below every
//! candidate is a violation at once.

use super::groups::{self, Groups, OpenGap, Who};
use super::report::{Findings, Report};
use super::store::{Read, Store};
use klamm_model::checks::Check;
use klamm_model::history::{Entry, Op, TopicPartition};
use klamm_model::ids::Incarnation;

/// The assignment, of this partition alone.
pub(super) fn assigned(who: Who, at: u64, generation: i32, source: &TopicPartition) -> Entry {
    let op = Op::Assigned { generation, partitions: vec![source.clone()] };
    Entry { at, client: who.0, incarnation: Incarnation(who.1), op }
}

/// The first record of a poll. Looks at the first poll of an assignment only, and returns whether there was something
/// to judge it by.
pub(super) fn polled(store: &Store, groups: &mut Groups, out: &mut Findings, read: &Read) -> bool {
    let me = (read.client, read.incarnation.0);
    let Some(window) = groups.resumed(me, read.part) else { return false };
    let Some(member) = groups.member(me) else { return false };
    let Some(holding) = member.holdings.get(&read.part) else { return false };
    let group = member.group;
    let first = read.offset();
    if window.none && window.also.is_empty() {
        // It begins where its own reset said, and it has not said where: nothing to judge by.
        return false;
    }
    let places = window.candidates.iter().map(|c| c.offset).chain(window.also.iter().map(|(o, _)| *o));
    let Some(lowest) = places.clone().min() else { return false };
    let nearest = places.filter(|o| *o <= first).max();
    let source = &store.parts[read.part as usize].source;
    let begun = assigned(me, holding.assigned_at, holding.generation, source);
    let story = |offset: i64| {
        let shown: Vec<Entry> =
            window.candidates.iter().filter(|c| c.offset == offset).flat_map(|c| c.story(source)).collect();
        shown
    };
    let Some(nearest) = nearest else {
        let report = Report { group: Some(&groups.list[group].name), ..Report::of_read(Check::IllegalResume, read) };
        let words = || format!("resumes at {first}; every offset that may be committed is at or above {lowest}");
        out.add(store, report, words, || story(lowest).into_iter().chain([begun.clone(), store.read(read)]).collect());
        return true;
    };
    if nearest == first {
        return true;
    }
    let witness: Vec<Entry> = story(nearest).into_iter().chain([begun, store.read(read)]).collect();
    let gap = OpenGap {
        check: Check::IllegalResume,
        from: nearest,
        to: first,
        group,
        at: read.at,
        client: read.client,
        isolation: read.isolation,
        boundary: None,
        detail: format!("resumes at {first}; it may begin at {nearest} at the latest, and"),
        witness,
    };
    found_or_watched(store, groups, out, read.part, gap);
    true
}

/// Reports what is visible in a gap already, or waits for it.
pub(super) fn found_or_watched(store: &Store, groups: &mut Groups, out: &mut Findings, part: u32, gap: OpenGap) {
    match groups::visible_between(store, part, gap.from, gap.to, gap.isolation) {
        Some((offset, value)) => fire(store, groups, out, part, gap, offset, value),
        None => groups.watch(part, gap),
    }
}

/// A record lies in a gap.
pub(super) fn fire(
    store: &Store,
    groups: &Groups,
    out: &mut Findings,
    part: u32,
    gap: OpenGap,
    offset: i64,
    value: u64,
) {
    let values = [value];
    let report = Report {
        group: Some(&groups.list[gap.group].name),
        boundary: gap.boundary,
        ..Report::new(gap.check, gap.at, gap.client, part).offset(offset).values(&values)
    };
    let words = || format!("{} offset {offset} holds a record", gap.detail);
    out.add(store, report, words, || gap.witness.iter().cloned().chain(store.read_at(part, offset)).collect());
}

#[cfg(test)]
mod tests {
    use crate::oracles::testing::*;
    use crate::permission::{Cause, OffsetsAltered};
    use klamm_model::history::{CommitTrigger, Outcome, PositionReason};
    use klamm_model::ids::Offset;

    /// Ten records, of which the first member read six and committed four.
    fn half_read() -> History {
        let mut h = History::new();
        h.sends(0..10).member(10).member(11).comes(10, 1).position(10, 0, PositionReason::Reset).reads(10, 0..6);
        h.commits(10, 1, CommitTrigger::Sync, 1, 4).revoked(10, 1, true);
        h
    }

    #[test]
    fn resuming_at_the_commit_is_legal_and_anywhere_else_is_not() {
        let mut h = half_read();
        h.comes(11, 2).assigned(11, 4).reads(11, 4..10).silent();
        // Below every commit.
        let mut h = half_read();
        h.comes(11, 2).assigned(11, 3).reads(11, 3..10);
        let found = h.fires(Check::IllegalResume);
        assert_eq!((found.offset, found.permitted), (Some(Offset(3)), None));
        assert_eq!(found.witness.len(), 4, "{:#?}", found.witness);
        // Above it, past what was read before.
        let mut h = half_read();
        h.comes(11, 2).assigned(11, 5).reads(11, 5..10);
        assert_eq!(h.fires(Check::IllegalResume).offset, Some(Offset(4)));
        // Past what is read only later.
        let mut h = half_read();
        h.comes(11, 2).assigned(11, 6).reads(11, 8..10);
        h.fires_among(Check::IllegalResume);
        let mut h = History::new();
        h.sends(0..10).member(10).comes(10, 1).position(10, 0, PositionReason::Reset);
        h.reads(10, 0..2).commits(10, 1, CommitTrigger::Sync, 1, 2).revoked(10, 1, false);
        h.comes(10, 2).assigned(10, 6).reads(10, 6..10).silent();
        h.finally(0, 10);
        assert_eq!(h.fires(Check::IllegalResume).offset, Some(Offset(2)));
    }

    #[test]
    fn gaps_in_the_log_are_no_records() {
        let mut h = History::new();
        h.sends(0..10).member(10).member(11).comes(10, 1).position(10, 0, PositionReason::Reset);
        h.poll(10, &[(0, 0), (1, 1), (4, 4)]).commits(10, 1, CommitTrigger::Sync, 1, 2).revoked(10, 1, true);
        h.comes(11, 2).assigned(11, 2).poll(11, &[(4, 4), (5, 5)]);
        h.assigned(99, 0).poll(99, &[(0, 0), (1, 1), (4, 4), (5, 5)]).silent();
    }

    #[test]
    fn a_reset_needs_a_reason() {
        // Nothing was ever committed for certain.
        let mut h = History::new();
        h.sends(0..10).member(10).member(11).comes(10, 1).position(10, 0, PositionReason::Reset).reads(10, 0..6);
        h.asks_commit(10, 1, CommitTrigger::Async, 1, 6).revoked(10, 1, true);
        h.comes(11, 2).position(11, 0, PositionReason::Reset).reads(11, 0..6).silent();
        // Something was.
        let mut h = half_read();
        h.comes(11, 2).position(11, 0, PositionReason::Reset).reads(11, 0..6);
        assert_eq!(h.fires(Check::IllegalResume).permitted, None);
        // But it expired.
        h.declared.offsets_altered.push(OffsetsAltered { at: 0, group: "g".into(), source: None });
        assert_eq!(h.fires(Check::IllegalResume).permitted, Some(Cause::OffsetsAltered));
        h.declared.offsets_altered[0].group = "another".into();
        assert_eq!(h.fires(Check::IllegalResume).permitted, None);
        h.declared.offsets_altered[0] = OffsetsAltered { at: 0, group: "g".into(), source: Some(source(1)) };
        assert_eq!(h.fires(Check::IllegalResume).permitted, None);
    }

    #[test]
    fn a_commit_without_an_answer_may_land_until_its_generation_is_over() {
        let resumes = |offset: i64, outcome: Option<Outcome>, newer_first: bool| {
            let mut h = half_read();
            h.entries.pop();
            h.asks_commit(10, 2, CommitTrigger::Async, 1, 6);
            if let Some(outcome) = outcome {
                h.resolves(10, 2, outcome);
            }
            h.revoked(10, 1, true);
            if newer_first {
                // Another member of a later generation commits, and is asked for it no earlier than the fence.
                h.comes(11, 2).assigned(11, 4).reads(11, 4..5).commits(11, 1, CommitTrigger::Sync, 2, 5);
                h.revoked(11, 2, true).member(12).comes(12, 3).assigned(12, offset).reads(12, offset..10);
            } else {
                h.comes(11, 2).assigned(11, offset).reads(11, offset..10);
            }
            h
        };
        for outcome in [None, Some(Outcome::Info)] {
            resumes(6, outcome, false).silent();
            resumes(4, outcome, false).silent();
            resumes(5, outcome, true).silent();
            resumes(6, outcome, true).fires(Check::IllegalResume);
        }
        resumes(6, Some(Outcome::Ok), false).silent();
        resumes(6, Some(Outcome::Fail), false).fires(Check::IllegalResume);
        // Overlapping commits have no order: the older may have landed last.
        let mut h = half_read();
        h.entries.pop();
        h.asks_commit(10, 2, CommitTrigger::Async, 1, 5).asks_commit(10, 3, CommitTrigger::Async, 1, 6);
        h.resolves(10, 3, Outcome::Ok).resolves(10, 2, Outcome::Ok).revoked(10, 1, true);
        h.comes(11, 2).assigned(11, 5).reads(11, 5..10).silent();
        let mut h = half_read();
        h.entries.pop();
        h.commits(10, 2, CommitTrigger::Async, 1, 5).commits(10, 3, CommitTrigger::Async, 1, 6).revoked(10, 1, true);
        h.comes(11, 2).assigned(11, 5).reads(11, 5..10);
        h.fires(Check::IllegalResume);
    }

    #[test]
    fn a_late_commit_over_a_newer_one_is_legal() {
        let mut h = half_read();
        h.entries.pop();
        h.asks_commit(10, 2, CommitTrigger::Async, 1, 5).commits(10, 3, CommitTrigger::Sync, 1, 6);
        h.revoked(10, 1, true).comes(11, 2).assigned(11, 5).reads(11, 5..10).silent();
    }

    #[test]
    fn partitions_kept_are_not_assigned() {
        // A new position without an assignment is no boundary: the jump is a skip.
        let mut h = half_read();
        h.comes(11, 2).assigned(11, 4).reads(11, 4..5).assigned(11, 8).reads(11, 8..10).finally(0, 10);
        h.fires_among(Check::PollSkip);
        let mut h = half_read();
        h.comes(11, 2).assigned(11, 4).reads(11, 4..8).assigned(11, 6).reads(11, 6..10);
        h.fires(Check::NonmonotonicPoll);
        // With one it is a boundary, and the commit counts.
        let mut h = half_read();
        h.comes(11, 2).assigned(11, 4).reads(11, 4..8).revoked(11, 2, true);
        h.comes(11, 3).assigned(11, 4).reads(11, 4..10).silent();
    }

    #[test]
    fn deletion_truncation_and_seeks_move_a_member_legally() {
        let mut h = half_read();
        h.comes(11, 2).assigned(11, 4).position(11, 2, PositionReason::Truncation).reads(11, 2..10).silent();
        let mut h = half_read();
        h.comes(11, 2).assigned(11, 4).position(11, 8, PositionReason::Seek).reads(11, 8..10).silent();
        // A deleted commit, and a reset to the latest offset.
        let mut h = half_read();
        h.comes(11, 2).assigned(11, 4);
        let mut judge = h.judge_so_far();
        judge.log_start(&source(0), Offset(6));
        let before = h.entries.len();
        h.position(11, 9, PositionReason::Reset).reads(11, 9..10).finally(6, 10);
        h.entries[before..].iter().for_each(|e| judge.entry(e));
        let verdicts = judge.finish(h.clock, &h.declared);
        assert!(verdicts.findings.is_empty(), "{:#?}", verdicts.findings);
    }

    #[test]
    fn kip_848_fences_a_commit_by_giving_the_partition_away() {
        let mut h = History::new();
        h.consumer_protocol().sends(0..10).member(10).member(11).comes(10, 1).position(10, 0, PositionReason::Reset);
        h.reads(10, 0..6).commits(10, 1, CommitTrigger::Sync, 1, 4).asks_commit(10, 2, CommitTrigger::Async, 1, 6);
        h.revoked(10, 1, true).comes(11, 2).assigned(11, 4).reads(11, 4..5).commits(11, 1, CommitTrigger::Sync, 2, 5);
        h.revoked(11, 2, true).comes(10, 3).assigned(10, 6).reads(10, 6..10);
        h.fires(Check::IllegalResume);
    }
}
