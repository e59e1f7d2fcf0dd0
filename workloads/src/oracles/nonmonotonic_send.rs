//! nonmonotonic-send and int-nonmonotonic-send: one producer's later send lies at a lower offset of the same
//! partition. `int-` if both were under way together, plain if the earlier had resolved before the later began.
//!
//! A producer is one incarnation of one client. A value's place is the first offset known of it, acknowledged or read;
//! repetitions are another check's matter. Without idempotence only acknowledged sends are held to their order: what
//! its producer has given up may land whenever the network delivers it.

use super::report::{Findings, Report};
use super::sends::{Client, Latest, MOVED, PLACED, Send, State};
use super::store::Store;
use klamm_model::history::{Acks, ValueId};

/// How far neighbours are looked for among sends to other partitions.
const REACH: u64 = 1024;

fn counts(client: &Client, send: &Send) -> bool {
    let facts = client.facts(send.incarnation);
    facts.acks != Acks::None && (facts.idempotent || send.state == State::Acknowledged)
}

/// An offset of this send has become known.
pub(super) fn placed(store: &mut Store, out: &mut Findings, value: u64, at: u64) {
    let id = ValueId(value);
    let index = id.index();
    let Some(client) = store.client_mut(id.client()) else { return };
    let Some(&send) = client.get(index) else { return };
    if send.is(PLACED) || send.is(MOVED) || !counts(client, &send) {
        return;
    }
    let part = send.part as usize;
    if client.latest.len() <= part {
        client.latest.resize(part + 1, None);
    }
    let own = Latest { incarnation: send.incarnation, index, offset: send.offset };
    let clash = match client.latest[part] {
        Some(latest) if latest.incarnation > send.incarnation => None,
        Some(latest) if latest.incarnation == send.incarnation && latest.index > index => around(client, index, &send),
        Some(latest) if latest.incarnation == send.incarnation => {
            client.latest[part] = Some(own);
            (latest.offset > send.offset).then_some(latest.index)
        }
        _ => {
            client.latest[part] = Some(own);
            None
        }
    };
    store.mark(value, PLACED);
    if let Some(other) = clash {
        report(
            store,
            out,
            ValueId::new(id.client(), other.min(index)).0,
            ValueId::new(id.client(), other.max(index)).0,
            at,
        );
    }
}

/// The nearest send in front of or behind this one, in its partition, that lies on its wrong side.
fn around(client: &Client, index: u64, send: &Send) -> Option<u64> {
    let peer = |i: &u64| {
        client
            .get(*i)
            .is_some_and(|s| s.is(PLACED) && !s.is(MOVED) && s.part == send.part && s.incarnation == send.incarnation)
    };
    let offset = |i: u64| client.get(i).map_or(-1, |s| s.offset);
    let later = (index + 1..=index + REACH).find(peer).filter(|&i| offset(i) < send.offset);
    later.or_else(|| (index.saturating_sub(REACH)..index).rev().find(peer).filter(|&i| offset(i) > send.offset))
}

#[cold]
fn report(store: &Store, out: &mut Findings, earlier: u64, later: u64, at: u64) {
    let (Some(a), Some(b)) = (store.send(earlier), store.send(later)) else { return };
    let resolved_before = !matches!(a.state, State::Pending) && a.completed <= b.invoked;
    let check = if resolved_before { "nonmonotonic-send" } else { "int-nonmonotonic-send" };
    let client = ValueId(later).client();
    let words = || format!("the earlier send lies at offset {}, the later one at {}", a.offset, b.offset);
    let witness = || {
        let reads = store.read_at(b.part, b.offset).into_iter().chain(store.read_at(a.part, a.offset));
        store.story(earlier).chain(store.story(later)).chain(reads).collect()
    };
    out.add(store, Report::new(check, at, client, a.part).offset(b.offset).values(&[earlier, later]), words, witness);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracles::testing::*;
    use crate::permission::Cause;
    use klamm_model::history::{Op, Outcome, ProducerFacts};

    #[test]
    fn acknowledgements_out_of_order() {
        let mut h = History::with(Acks::All, false, 5);
        h.send(0).send(1).ack(1, 0).resolve(0, Outcome::Ok, Some(1), 2);
        let found = h.fires("int-nonmonotonic-send");
        assert_eq!((found.values, found.permitted), (vec![value(0), value(1)], Some(Cause::ND5)));
    }

    #[test]
    fn one_in_flight_is_no_excuse() {
        let mut h = History::with(Acks::All, false, 1);
        h.send(0).send(1).ack(1, 0).resolve(0, Outcome::Ok, Some(1), 2);
        assert_eq!(h.fires("int-nonmonotonic-send").permitted, None);
    }

    #[test]
    fn one_after_the_other() {
        let mut h = History::new();
        h.send(0).ack(0, 5).send(1).ack(1, 4);
        h.fires_among("nonmonotonic-send");
        h.fires_among("realtime-order");
    }

    #[test]
    fn found_by_neighbours_when_answers_come_late() {
        let mut h = History::new();
        h.send(0).send(1).send(2).send(3).ack(3, 9).ack(0, 5).ack(2, 7).ack(1, 8);
        assert_eq!(h.fires("int-nonmonotonic-send").values, [value(1), value(2)]);
    }

    #[test]
    fn a_read_places_a_send_of_an_idempotent_producer() {
        let mut h = History::new();
        h.send(0).send(1).assigned(10, 0).poll(10, &[(0, 1), (1, 0)]);
        h.fires("int-nonmonotonic-send");
    }

    #[test]
    fn legal_orders() {
        // Answers out of order, offsets in order; other partitions.
        let mut h = History::new();
        h.send(0).send(1).send(2).ack(2, 2).ack(0, 0).ack(1, 1).on(1).send(3).ack(3, 0).silent();
        // What a producer without idempotence gave up lands when it lands.
        let mut h = History::with(Acks::All, false, 1);
        h.send(0).resolve(0, Outcome::Info, None, 1).send(1).ack(1, 0).assigned(10, 0).poll(10, &[(0, 1), (1, 0)]);
        h.silent();
        // A new incarnation is a new producer.
        let mut h = History::new();
        h.send(0);
        let facts = ProducerFacts { acks: Acks::All, idempotent: true, max_in_flight: 5, resolves_within: WITHIN };
        let (send, ack) = (h.send_op(1, Some(0), None), h.sent_op(1, Outcome::Ok, Some(0), 1));
        h.push_as(1, 2, Op::Producer { facts }).push_as(1, 2, send).push_as(1, 2, ack);
        h.assigned(10, 0).poll(10, &[(0, 1), (1, 0)]).silent();
    }
}
