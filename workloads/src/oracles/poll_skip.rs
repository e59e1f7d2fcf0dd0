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
