//! nonmonotonic-poll and int-nonmonotonic-poll: one consumer's polls go back, between polls or within one, although
//! nothing moved its position.

use super::report::{Findings, Report};
use super::store::{NONE, Read, Reader, Store};
use crate::planted::planted;
use klamm_model::checks::Check;
use klamm_model::history::Entry;

pub(super) fn check(store: &Store, out: &mut Findings, read: &Read, reader: &Reader) {
    if reader.last == NONE || read.offset() > reader.last || (planted(27) && read.offset() == reader.last) {
        return;
    }
    let check = if read.within_poll { Check::IntNonmonotonicPoll } else { Check::NonmonotonicPoll };
    out.add(
        store,
        Report::of_read(check, read).values(&[read.value()]),
        || match reader.by_read {
            true => format!("read offset {} after {}", read.offset(), reader.last),
            false => format!("read offset {} from position {}", read.offset(), reader.last + 1),
        },
        || store.before(read, reader).into_iter().chain([store.read(read)]).collect(),
    );
}

/// A final read is complete. A reader that said nothing of its position began where this did.
pub(super) fn final_read(store: &mut Store, out: &mut Findings, entry: &Entry, part: u32, from: i64) {
    let first = store.reader(entry.client, entry.incarnation, part).first;
    if let Some(first) = first.filter(|first| first.offset() < from) {
        let start = Reader::at(entry.incarnation, from - 1, false, first.at, None, -1);
        check(store, out, &first, &start);
    }
}

#[cfg(test)]
mod tests {
    use crate::oracles::testing::*;
    use klamm_model::history::{IsolationLevel, PositionReason};

    #[test]
    fn going_back_between_polls_or_within_one() {
        let mut h = History::new();
        h.acked(0..4).assigned(10, 0).reads(10, 0..3).reads(10, 2..4);
        assert_eq!(h.fires(Check::NonmonotonicPoll).witness.len(), 2);
        let mut h = History::new();
        h.acked(0..4).assigned(10, 0).poll(10, &[(0, 0), (1, 1), (1, 1)]);
        assert_eq!(h.fires(Check::IntNonmonotonicPoll).permitted, None);
        let mut h = History::new();
        h.acked(0..4).assigned(10, 2).reads(10, 1..4);
        h.fires(Check::NonmonotonicPoll);
    }

    #[test]
    fn a_final_reader_that_tells_no_position_begins_where_it_says() {
        let mut h = History::new();
        h.acked(0..4).reads(99, 0..4).final_read(99, 0, 4).silent();
        let mut h = History::new();
        h.acked(0..4).reads(99, 0..4).final_read(99, 1, 4);
        h.fires(Check::NonmonotonicPoll);
    }

    #[test]
    fn every_kind_of_new_position_permits_it() {
        for reason in
            [PositionReason::Assigned, PositionReason::Seek, PositionReason::Reset, PositionReason::Truncation]
        {
            let mut h = History::new();
            h.acked(0..4).assigned(10, 0).reads(10, 0..3).position(10, 1, reason).reads(10, 1..4).silent();
        }
        let mut h = History::new();
        h.acked(0..4).assigned(10, 0).reads(10, 0..3);
        let poll = h.poll_op(&[(0, 0, 1)], IsolationLevel::ReadCommitted);
        h.push_as(10, 2, poll).silent();
    }
}
