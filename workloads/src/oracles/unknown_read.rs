//! unknown-read: a value nobody sent, on the wrong partition, or not at its acknowledged offset.
//!
//! That it was read at its acknowledged offset, too, may become known later: see [`super::places`].

use super::places::{self, Place};
use super::report::{Findings, Report};
use super::sends::Send;
use super::store::{Read, Store};
use crate::permission::Clause;
use klamm_model::checks::Check;
use klamm_model::history::ValueId;
use klamm_model::ids::ClientId;

/// Nobody sent it.
#[cold]
pub(super) fn nobody(store: &mut Store, out: &mut Findings, read: &Read) {
    let strays = &mut store.parts[read.part as usize].strays;
    if strays.insert((read.offset(), read.value()), None).is_some() {
        return;
    }
    let words = || format!("value {:#x} was never sent", read.value());
    out.add(store, Report::of_read(Check::UnknownRead, read).values(&[read.value()]), words, || vec![store.read(read)]);
}

/// It was sent to another partition.
#[cold]
pub(super) fn wrong_partition(
    store: &Store,
    out: &mut Findings,
    value: u64,
    send: &Send,
    home: Option<u32>,
    place: Place,
) {
    let read = store.read_of(value, place);
    let (at, client) = when(store, value, send, place);
    let to = home.and_then(|home| store.parts.get(home as usize)).map(|p| &p.source);
    let words = || match to {
        Some(to) => format!("the value was sent to {}-{}", to.topic, to.partition),
        None => format!("the value was sent to topic {}", store.topic_name(send.topic)),
    };
    let report = Report::new(Check::UnknownRead, at, client, place.0).offset(place.1);
    out.add(store, report.values(&[value]), words, || store.story(value).chain(read.clone()).collect());
}

/// It was sent, to this partition, and acknowledged at another offset (or on another partition altogether). Of several
/// places at which it was read, the lowest stands for all: which was read first is no matter.
#[cold]
#[expect(clippy::too_many_arguments, reason = "one place of several, and what they are held against")]
pub(super) fn other_offset(
    store: &Store,
    out: &mut Findings,
    value: u64,
    place: Place,
    lowest: i64,
    acked: i64,
    on_another_partition: bool,
    case: u32,
) {
    let Some(send) = store.send(value) else { return };
    let (at, client) = when(store, value, send, place);
    let report = Report::new(Check::UnknownRead, at, client, place.0).offset(lowest).low(place.1.min(acked)).case(case);
    let report = if on_another_partition { report } else { report.clause(Clause::OtherOffset) };
    let words = || format!("read at offset {}, acknowledged at {acked}", place.1);
    let witness = || store.story(value).chain(store.read_of(value, place)).collect();
    out.add(store, report.values(&[value]), words, witness);
}

/// When both were known, a value's place and what became of its send, and whose operation that was.
pub(super) fn when(store: &Store, value: u64, send: &Send, place: Place) -> (u64, ClientId) {
    let reader = store.seen(value, place).and_then(|seen| store.reader_of(seen));
    let read = places::when(store, value, send, place);
    match reader {
        Some(reader) if read >= send.completed => (read, reader),
        _ => (read.max(send.completed), ValueId(value).client()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracles::testing::*;
    use crate::permission::Cause;
    use klamm_model::history::{Acks, Outcome};

    #[test]
    fn a_value_nobody_sent() {
        let mut h = History::new();
        h.acked(0..1).assigned(10, 0).poll(10, &[(0, 0), (1, 77)]).assigned(11, 0).poll(11, &[(0, 0), (1, 77)]);
        assert_eq!(h.fires(Check::UnknownRead).permitted, None);
        assert_eq!(h.judge().findings.len(), 1);
    }

    #[test]
    fn a_value_on_the_wrong_partition() {
        let mut h = History::new();
        h.acked(0..1).on(1).assigned(10, 0).poll(10, &[(0, 0)]);
        h.fires(Check::UnknownRead);
        let mut h = History::new();
        let send = h.send_op(0, None, None);
        h.push(1, send).on(1).assigned(10, 0).poll(10, &[(0, 0)]).on(0).ack(0, 0);
        h.fires(Check::UnknownRead);
    }

    #[test]
    fn a_value_elsewhere_than_acknowledged() {
        let mut h = History::with(Acks::All, false, 5);
        h.send(0).resolve(0, Outcome::Ok, Some(0), 2).assigned(10, 1).poll(10, &[(1, 0)]);
        let found = h.fires(Check::UnknownRead);
        assert_eq!((found.facts.clause, found.permitted), (Some(Clause::OtherOffset), Some(Cause::AmbiguousRetry)));
        let mut h = History::new();
        h.send(0).assigned(10, 1).poll(10, &[(1, 0)]).ack(0, 0);
        assert_eq!(h.fires(Check::UnknownRead).permitted, None);
    }

    #[test]
    fn what_was_sent_is_known_before_its_acknowledgement() {
        let mut h = History::new();
        let send = h.send_op(0, None, None);
        h.push(1, send).assigned(10, 3).poll(10, &[(3, 0)]).ack(0, 3).silent();
    }
}
