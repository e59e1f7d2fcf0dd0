//! clean-handover: a rebalance whose revocation commit succeeded redelivers something below it.
//!
//! "Below it" is what the commit covers, and what was delivered to the old member after it had asked for that commit:
//! a client must not hand out records of a partition it is giving up. Nothing is judged where another commit may have
//! landed over it, or where the new owner's position was moved.

use super::groups::{Groups, Handover};
use super::illegal_resume::assigned;
use super::report::{Findings, Report};
use super::store::{Read, Store};
use klamm_model::checks::Check;

/// A record of a poll, before the poll counts as delivered. Returns whether its partition was handed over in order.
pub(super) fn polled(store: &Store, groups: &mut Groups, out: &mut Findings, read: &Read) -> bool {
    let me = (read.client, read.incarnation.0);
    let Some(group) = groups.member(me).map(|m| m.group) else { return false };
    let Some((_, holding, state)) = groups.held(me, read.part) else { return false };
    if holding.clean.is_none() {
        return false;
    }
    let Some(handover) = holding.clean.as_ref().filter(|h| !holding.reported && read.offset() < h.end()) else {
        return true;
    };
    if !state.delivered.contains(read.offset()) {
        return true;
    }
    let handover: Handover = handover.clone();
    holding.reported = true;
    let source = &store.parts[read.part as usize].source;
    let begun = assigned(me, holding.assigned_at, holding.generation, source);
    let report = Report { group: Some(&groups.list[group].name), ..Report::of_read(Check::CleanHandover, read) };
    let words = || {
        let (offset, commit) = (read.offset(), handover.commit.offset);
        if offset < commit {
            format!("offset {offset} is delivered again, though {commit} was committed when the partition was given up")
        } else {
            format!(
                "offset {offset} is delivered again: the old member got it after it had committed {commit} to give the partition up"
            )
        }
    };
    out.add(store, report.values(&[read.value()]), words, || {
        handover.commit.story(source).chain([begun, store.read(read)]).collect()
    });
    true
}

#[cfg(test)]
mod tests {
    use crate::oracles::testing::*;
    use crate::permission::OffsetsAltered;
    use klamm_model::history::{CommitTrigger::*, PositionReason};
    use klamm_model::ids::Offset;

    fn handed_over() -> History {
        let mut h = History::new();
        h.sends(0..10).member(10).member(11).comes(10, 1).position(10, 0, PositionReason::Reset).reads(10, 0..6);
        h.commits(10, 1, Revocation, 1, 6);
        h
    }

    #[test]
    fn a_clean_handover_goes_on_where_it_stopped() {
        let mut h = handed_over();
        h.revoked(10, 1, false).comes(11, 2).assigned(11, 6).reads(11, 6..10).silent();
        let mut h = handed_over();
        h.revoked(10, 1, false).comes(11, 2).assigned(11, 5).reads(11, 5..10);
        let found = h.fires_among(Check::CleanHandover);
        assert_eq!((found.offset, found.permitted), (Some(Offset(5)), None));
        h.fires_among(Check::IllegalResume);
        // Whoever altered the offsets broke the handover: that is judged as a resume.
        h.declared.offsets_altered.push(OffsetsAltered { at: 0, group: "g".into(), source: Some(source(0)) });
        assert_eq!(h.judge().findings.iter().map(|f| f.check).collect::<Vec<_>>(), [Check::IllegalResume]);
    }

    #[test]
    fn nothing_is_delivered_while_the_partition_is_given_up() {
        let mut h = handed_over();
        h.reads(10, 6..8).revoked(10, 1, false).comes(11, 2).assigned(11, 6).reads(11, 6..10);
        assert_eq!(h.fires(Check::CleanHandover).offset, Some(Offset(6)));
        // What nobody got again does no harm.
        let mut h = handed_over();
        h.reads(10, 6..8).revoked(10, 1, false).comes(11, 2).assigned(11, 6).silent();
    }

    #[test]
    fn other_handovers_may_repeat() {
        // Lost; or committed earlier only; or another commit that may have landed over it.
        let mut h = handed_over();
        h.revoked(10, 1, true).comes(11, 2).position(11, 0, PositionReason::Seek).reads(11, 0..6).silent();
        let mut h = History::new();
        h.sends(0..10).member(10).member(11).comes(10, 1).position(10, 0, PositionReason::Reset).reads(10, 0..6);
        h.commits(10, 1, Auto, 1, 3).revoked(10, 1, false).comes(11, 2).assigned(11, 3).reads(11, 3..10).silent();
        let mut h = History::new();
        h.sends(0..10).member(10).member(11).comes(10, 1).position(10, 0, PositionReason::Reset).reads(10, 0..6);
        h.asks_commit(10, 1, Async, 1, 3).commits(10, 2, Revocation, 1, 6).revoked(10, 1, false);
        h.comes(11, 2).assigned(11, 3).reads(11, 3..10).silent();
        // A revocation commits all positions, also of what it does not take (seed 0x5a20c0a9a90990c7 of
        // rolling-restart-kip-848); what is read of that afterwards is another matter.
        let mut h = handed_over();
        h.on(1).comes(10, 1).on(0).commits(10, 2, Revocation, 1, 6).reads(10, 6..8).on(1).revoked(10, 1, false);
        h.on(0).revoked(10, 2, false).comes(11, 3).assigned(11, 6).reads(11, 6..10).silent();
        // Finished up to here and no further: the rest of the poll is repeated.
        let mut h = History::new();
        h.sends(0..10).member(10).member(11).comes(10, 1).position(10, 0, PositionReason::Reset).reads(10, 0..6);
        h.commits(10, 1, Revocation, 1, 4).revoked(10, 1, false);
        h.comes(11, 2).assigned(11, 4).reads(11, 4..10).silent();
    }
}
