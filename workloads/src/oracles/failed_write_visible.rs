//! failed-write-visible: a definitely failed send is read, before or after it failed.

use super::report::{Findings, Report};
use super::sends::REPORTED;
use super::store::{Read, Store};

/// A failed send is read.
#[cold]
pub(super) fn read(store: &mut Store, out: &mut Findings, read: &Read) {
    if store.send(read.value()).is_none_or(|s| s.is(REPORTED)) {
        return;
    }
    let witness = || store.story(read.value()).chain([store.read(read)]).collect();
    let words = || "the send definitely failed, and its value is read".to_owned();
    out.add(store, Report::of_read("failed-write-visible", read).values(&[read.value()]), words, witness);
    store.mark(read.value(), REPORTED);
}

/// A send fails that was read.
#[cold]
pub(super) fn failed(store: &mut Store, out: &mut Findings, value: u64, at: u64) {
    let Some(send) = store.send(value).filter(|s| !s.is(REPORTED)) else { return };
    let (part, offset) = (send.part, send.offset);
    let client = klamm_model::history::ValueId(value).client();
    let witness = || store.story(value).chain(store.read_at(part, offset)).collect();
    let words = || "the value was read, and the send definitely failed".to_owned();
    let report = Report::new("failed-write-visible", at, client, part).offset(offset);
    out.add(store, report.values(&[value]), words, witness);
    store.mark(value, REPORTED);
}

#[cfg(test)]
mod tests {
    use crate::oracles::testing::*;
    use klamm_model::history::Outcome;

    #[test]
    fn a_failed_send_that_is_read_fires_once_either_way_round() {
        let mut h = History::new();
        h.send(0).resolve(0, Outcome::Fail, None, 1).assigned(10, 0).reads(10, 0..1).assigned(11, 0).reads(11, 0..1);
        assert_eq!(h.fires("failed-write-visible").witness.len(), 3);
        assert_eq!(h.judge().findings.len(), 1);
        let mut h = History::new();
        h.send(0).assigned(10, 0).reads(10, 0..1).resolve(0, Outcome::Fail, None, 1);
        h.fires("failed-write-visible");
    }

    #[test]
    fn what_may_have_happened_may_be_read() {
        let mut h = History::new();
        h.send(0).resolve(0, Outcome::Info, None, 1).assigned(10, 0).reads(10, 0..1).silent();
        assert_eq!(h.judge().summary.info_read, 1);
    }
}
