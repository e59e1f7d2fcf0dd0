//! poll-skip and int-poll-skip: one consumer's polls jump over a record that was read by somebody, between polls or
//! within one, although nothing moved its position.
//!
//! Offsets have gaps (markers, aborted data, compaction), so a jump alone proves nothing: what was jumped over must
//! have been read, under an isolation that sees no more than the reader's.

use super::report::{Findings, Report};
use super::slots::{READ, READ_COMMITTED, Slot};
use super::store::{Read, Reader, Store};
use klamm_model::history::IsolationLevel;

/// `gap` is what is known between the reader's position and this read.
pub(super) fn gap(store: &Store, out: &mut Findings, read: &Read, reader: &Reader, gap: &[(i64, Slot)]) {
    let visible = match read.isolation {
        IsolationLevel::ReadUncommitted => READ,
        IsolationLevel::ReadCommitted => READ_COMMITTED,
    };
    let mut passed = gap.iter().filter(|(_, slot)| slot.flags & visible != 0);
    let Some((offset, slot)) = passed.next() else { return };
    let more = passed.count();
    let check = if read.within_poll { "int-poll-skip" } else { "poll-skip" };
    out.add(
        store,
        Report::of_read(check, read).offset(*offset).values(&[slot.value]),
        || {
            format!(
                "went from {} to {} past offset {offset}, which was read, and {more} more",
                reader.last,
                read.offset()
            )
        },
        || {
            let earlier = store.read_at(read.part, *offset).into_iter().chain(store.before(read, reader));
            earlier.chain([store.read(read)]).collect()
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracles::testing::*;
    use klamm_model::history::PositionReason;
    use klamm_model::ids::Offset;

    #[test]
    fn a_jump_over_what_another_reader_saw() {
        let mut h = History::new();
        h.sends(0..4);
        h.assigned(10, 0).reads(10, 0..4).assigned(11, 0).reads(11, 0..2).reads(11, 3..4);
        assert_eq!(h.fires_among("poll-skip").offset, Some(Offset(2)));
        let mut h = History::new();
        h.sends(0..4);
        h.assigned(10, 0).reads(10, 0..4).assigned(11, 0).poll(11, &[(0, 0), (3, 3)]);
        h.fires_among("int-poll-skip");
    }

    #[test]
    fn the_first_record_must_be_the_first_at_the_position() {
        let mut h = History::new();
        h.sends(0..4);
        h.assigned(10, 0).reads(10, 0..4).position(11, 1, PositionReason::Seek).reads(11, 2..4);
        h.fires("poll-skip");
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
