//! Where to cut a follower's log, given what the leader says of an epoch (KIP-101, KIP-279). Follows
//! `AbstractFetcherThread.getOffsetTruncationState`.

use crate::defects::{Defect, Defects};
use crate::ids::*;
use crate::log::Log;

/// Where to cut, and whether the answer settles the matter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cut {
    /// The new log end.
    pub to: Offset,
    /// False: another question must follow.
    pub complete: bool,
}

/// What a follower knows of its own log.
pub(super) struct Own<'a> {
    /// Its log.
    pub log: &'a Log,
    /// Its high watermark when it began to follow.
    pub initial: Offset,
}

impl Own<'_> {
    fn end_of(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        Some(self.log.end_offset_for(epoch)).filter(|(epoch, end)| *epoch != LeaderEpoch::NONE && *end != Offset::NONE)
    }
}

/// The leader says that the largest epoch it knows, not above the one asked for, is `epoch`, and ends at `end`.
pub(super) fn cut(own: &Own<'_>, epoch: LeaderEpoch, end: Offset, defects: Defects) -> Cut {
    let log_end = own.log.next_offset();
    let done = |to: Offset| Cut { to: to.min(log_end), complete: true };
    if end == Offset::NONE {
        // The leader knows no such epoch at all.
        return done(own.initial);
    }
    if epoch == LeaderEpoch::NONE || defects.on(Defect::EpochLookupSingleHop) {
        return done(end);
    }
    match own.end_of(epoch) {
        // The follower never had the leader's epoch: cut what is above it, and ask about the next lower one.
        Some((mine, my_end)) if mine != epoch => Cut { to: my_end.min(log_end), complete: false },
        Some((_, my_end)) => done(my_end.min(end)),
        // It keeps no epochs that low.
        None => done(end),
    }
}
