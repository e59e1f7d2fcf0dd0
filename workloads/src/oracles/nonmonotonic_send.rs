//! nonmonotonic-send and int-nonmonotonic-send: one producer's later send lies at a lower offset of the same
//! partition. `int-` if both were under way together, plain if the earlier had resolved before the later began.
//!
//! A producer is one incarnation of one client. A value's place is where it was acknowledged or read; one with several
//! places has none here, and is another check's matter. Without idempotence only acknowledged sends are held to their
//! order: what its producer has given up may land whenever the network delivers it. Each send is held against those in
//! front of it once all places are known.

use super::report::{Findings, Report};
use super::sends::{Client, MOVED, NOWHERE, OFFSET_ACKED, READ, Send, State};
use super::store::Store;
use crate::planted::planted;
use klamm_model::history::{Acks, ValueId};
use std::collections::BTreeMap;

fn counts(client: &Client, send: &Send) -> bool {
    let placed = send.offset >= 0 && send.part != NOWHERE && (send.is(READ) || send.is(OFFSET_ACKED));
    if !placed || send.is(MOVED) || send.state == State::Failed {
        return false;
    }
    let facts = client.facts(send.incarnation);
    facts.acks != Acks::None && (facts.idempotent || send.state == State::Acknowledged)
}

fn resolved_before(earlier: &Send, later: &Send) -> bool {
    !matches!(earlier.state, State::Pending) && earlier.completed <= later.invoked
}

/// One send, by its index.
type Placed<'a> = (u64, &'a Send);

/// A producer's sends to a partition so far.
struct Order<'a> {
    incarnation: u32,
    /// The last one, and the last one that was read.
    last: Option<Placed<'a>>,
    last_read: Option<Placed<'a>>,
    /// The highest of which there is nothing to say but its place.
    plain: Option<Placed<'a>>,
}

impl<'a> Order<'a> {
    fn new(incarnation: u32) -> Order<'a> {
        Order { incarnation, last: None, last_read: None, plain: None }
    }

    /// The earlier send that the next one is to be held against: where the order breaks, the one that is hardest to
    /// excuse. A break that some cause excuses must not hide another one.
    fn broken_by(&self, send: &Send) -> Option<Placed<'a>> {
        let above = |p: &Placed<'_>| p.1.offset > send.offset;
        let read = self.last_read.filter(|p| send.is(READ) && above(p));
        let before = read.or(self.last.filter(above))?;
        Some(self.plain.filter(above).unwrap_or(before))
    }

    fn add(&mut self, index: u64, send: &'a Send, plain: bool) {
        self.last = Some((index, send));
        if send.is(READ) {
            self.last_read = self.last;
        }
        if plain && self.plain.is_none_or(|p| p.1.offset < send.offset) {
            self.plain = self.last;
        }
    }
}

/// Whether nothing but a cut or a loss excuses a later send below this one: it is there, and was not sent again.
fn is_plain(client: &Client, index: u64, send: &Send) -> bool {
    let fenced = || client.send_facts(index, true).is_some_and(|f| !f.unfenced && (f.idempotent || f.attempts < 2));
    send.is(READ) && fenced()
}

/// The history ends. Returns how many pairs were held against each other: one after the other, and together.
pub(super) fn end(store: &Store, out: &mut Findings) -> [u64; 2] {
    let mut pairs = [0; 2];
    for client in store.clients() {
        let mut orders: BTreeMap<u32, Order<'_>> = BTreeMap::new();
        for (index, send) in client.all().filter(|(_, s)| counts(client, s)) {
            let order = orders.entry(send.part).or_insert_with(|| Order::new(send.incarnation));
            if order.incarnation != send.incarnation {
                *order = Order::new(send.incarnation);
            }
            if let Some((_, before)) = order.last {
                pairs[usize::from(!resolved_before(before, send))] += 1;
            }
            if let Some((earlier, before)) = order.broken_by(send) {
                let after = resolved_before(before, send);
                let check = if after { "nonmonotonic-send" } else { "int-nonmonotonic-send" };
                let value = |index| ValueId::new(client.id, index).0;
                if !(planted(25) && after) {
                    report(store, out, check, (value(earlier), before), (value(index), send));
                }
            }
            order.add(index, send, is_plain(client, index, send));
        }
    }
    pairs
}

#[cold]
fn report(store: &Store, out: &mut Findings, check: &'static str, earlier: (u64, &Send), later: (u64, &Send)) {
    let ((earlier, a), (later, b)) = (earlier, later);
    let reads = [store.read_at(b.part, b.offset), store.read_at(a.part, a.offset)];
    let read_at = reads.iter().flatten().map(|read| read.at).max().unwrap_or(0);
    let words = || format!("the earlier send lies at offset {}, the later one at {}", a.offset, b.offset);
    let values = [earlier, later];
    let at = a.completed.max(b.completed).max(read_at);
    let report = Report::new(check, at, ValueId(later).client(), a.part).offset(b.offset).values(&values);
    out.add(store, report, words, || {
        store.story(earlier).chain(store.story(later)).chain(reads.iter().flatten().cloned()).collect()
    });
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
        assert_eq!((found.values, found.permitted), (vec![value(0), value(1)], Some(Cause::AmbiguousRetryInFlight)));
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
