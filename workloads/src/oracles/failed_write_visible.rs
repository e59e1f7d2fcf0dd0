//! failed-write-visible: a definitely failed send is read, before or after it failed.

use super::places;
use super::report::{Findings, Report};
use super::sends::{Send, State};
use super::store::Store;
use super::unknown_read;
use crate::planted::planted;
use klamm_model::checks::Check;
use klamm_model::history::ValueId;

/// The history ends. Returns how many failed sends there are that could have been read.
pub(super) fn end(store: &Store, out: &mut Findings) -> u64 {
    let mut failed = 0;
    for client in store.clients() {
        for (index, send) in client.all().filter(|(_, s)| s.state == State::Failed && !(planted(33) && s.attempts > 1))
        {
            failed += 1;
            let value = ValueId::new(client.id, index).0;
            if store.is_read(value) {
                visible(store, out, value, send);
            }
        }
    }
    failed
}

/// Each place is a piece of evidence; what is found is one thing in each partition.
#[cold]
fn visible(store: &Store, out: &mut Findings, value: u64, send: &Send) {
    let mut case = ((u32::MAX, 0), 0);
    for place in places::all(store, value, send) {
        if case.0.0 != place.0 {
            case = (place, out.case());
        }
        let (at, client) = unknown_read::when(store, value, send, place);
        let report = Report::new(Check::FailedWriteVisible, at, client, place.0).offset(case.0.1);
        let report = report.low(place.1).case(case.1);
        let words = || "the send definitely failed, and its value is read".to_owned();
        let witness = || store.story(value).chain(store.read_of(value, place)).collect();
        out.add(store, report.values(&[value]), words, witness);
    }
}

#[cfg(test)]
mod tests {
    use crate::oracles::testing::*;
    use klamm_model::history::Outcome;

    #[test]
    fn a_failed_send_that_is_read_fires_once_either_way_round() {
        let mut h = History::new();
        h.send(0).resolve(0, Outcome::Fail, None, 1).assigned(10, 0).reads(10, 0..1).assigned(11, 0).reads(11, 0..1);
        assert_eq!(h.fires(Check::FailedWriteVisible).witness.len(), 3);
        assert_eq!(h.judge().findings.len(), 1);
        let mut h = History::new();
        h.send(0).assigned(10, 0).reads(10, 0..1).resolve(0, Outcome::Fail, None, 1);
        h.fires(Check::FailedWriteVisible);
    }

    #[test]
    fn what_may_have_happened_may_be_read() {
        let mut h = History::new();
        h.send(0).resolve(0, Outcome::Info, None, 1).assigned(10, 0).reads(10, 0..1).silent();
        assert_eq!(h.judge().summary.info_read, 1);
    }
}
