//! nonmonotonic-poll and int-nonmonotonic-poll: one consumer's polls go back, between polls or within one, although
//! nothing moved its position.

use super::report::{Findings, Report};
use super::store::{NONE, Read, Reader, Store};

pub(super) fn check(store: &Store, out: &mut Findings, read: &Read, reader: &Reader) {
    if reader.last == NONE || read.offset() > reader.last {
        return;
    }
    let check = if read.within_poll { "int-nonmonotonic-poll" } else { "nonmonotonic-poll" };
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
