//! nonmonotonic-send and int-nonmonotonic-send: one producer's later send lies at a lower offset of the same
//! partition. `int-` if both were under way together, plain if the earlier had resolved before the later began.
//!
//! A producer is one incarnation of one client. A value's place is where it was acknowledged or read; one with several
//! places has none here, and is another check's matter. Without idempotence only acknowledged sends are held to their
//! order: what its producer has given up may land whenever the network delivers it. Each send is held against those in
//! front of it once all places are known.
//!
//! A send that lies below several earlier ones is a violation if one of those pairs is: they are looked at from the
//! highest down, until there is one that nothing excuses. The pair that is told is that one, or else the highest; and it
//! is told once for the earlier send and what excuses it: all that follows a record that is gone lies below it, and is no
//! news.

use super::places::{self, Place};
use super::report::{Findings, Report};
use super::sends::{Client, MOVED, NOWHERE, OFFSET_ACKED, READ, Send, State};
use super::store::Store;
use crate::permission::{Cause, Declared, permitted};
use crate::planted::planted;
use klamm_model::checks::Check;
use klamm_model::history::{Acks, ValueId};
use std::collections::{BTreeMap, BTreeSet};

/// How many earlier sends of either kind are looked at for one that lies below them.
const LOOKED_AT: usize = 16;

/// The place of a send in the order of its producer, if it has one.
fn place(store: &Store, client: &Client, index: u64, send: &Send) -> Option<Place> {
    let place = if send.is(MOVED) {
        only_place(store, ValueId::new(client.id, index).0, send)
    } else {
        let placed = send.offset >= 0 && send.part != NOWHERE && (send.is(READ) || send.is(OFFSET_ACKED));
        placed.then_some((send.part, send.offset))
    };
    let facts = client.facts(send.incarnation);
    let held = facts.acks != Acks::None && (facts.idempotent || send.state == State::Acknowledged);
    place.filter(|_| held && send.state != State::Failed)
}

/// The place of a send that was seen elsewhere, too: the only one in its own partition.
#[cold]
fn only_place(store: &Store, value: u64, send: &Send) -> Option<Place> {
    let read = places::all(store, value, send);
    let home = places::home(store, value, send, &read);
    let mut local = read.iter().filter(|place| Some(place.0) == home);
    let place = *local.next()?;
    let stands = !send.is(OFFSET_ACKED) || place == (send.part, send.offset);
    (local.next().is_none() && stands && store.places.chosen(value).is_none()).then_some(place)
}

fn resolved_before(earlier: &Send, later: &Send) -> bool {
    !matches!(earlier.state, State::Pending) && earlier.completed <= later.invoked
}

/// One send that has its place.
#[derive(Clone, Copy)]
struct Placed<'a> {
    index: u64,
    send: &'a Send,
    place: Place,
}

/// The sends of a client that have one, in order.
fn all_placed<'a>(store: &'a Store, client: &'a Client) -> impl Iterator<Item = Placed<'a>> {
    client.all().filter_map(|(index, send)| Some(Placed { index, send, place: place(store, client, index, send)? }))
}

/// A producer's order in a partition: its incarnation, and the partition.
type Order = (u32, u32);

/// The sends of one order so far, by offset and index.
#[derive(Default)]
struct Earlier<'a> {
    all: BTreeMap<(i64, u64), Placed<'a>>,
    /// Those that were read, and not sent again: only a cut or a loss excuses a later send below them.
    plain: BTreeMap<(i64, u64), Placed<'a>>,
}

impl<'a> Earlier<'a> {
    /// Those that lie above an offset, the highest first; then the highest of those that are hard to excuse.
    fn above(&self, offset: i64) -> impl Iterator<Item = Placed<'a>> {
        let from = (offset, u64::MAX);
        let highest = |sends: &BTreeMap<(i64, u64), Placed<'a>>| -> Vec<Placed<'a>> {
            sends.range(from..).rev().take(LOOKED_AT).map(|(_, placed)| *placed).collect()
        };
        highest(&self.all).into_iter().chain(highest(&self.plain))
    }
}

/// Whether nothing but a cut or a loss excuses a later send below this one: it is there, and was not sent again.
fn is_plain(client: &Client, index: u64, send: &Send) -> bool {
    let fenced =
        || client.send_facts(index, true).is_some_and(|f| f.unfenced_at.is_none() && (f.idempotent || f.attempts < 2));
    send.is(READ) && fenced()
}

/// The history ends. Returns how many pairs were held against each other: one after the other, and together.
pub(super) fn end(store: &Store, out: &mut Findings, declared: &Declared) -> [u64; 2] {
    let mut pairs = [0; 2];
    for client in store.clients() {
        // By order: the last one, and the highest offset.
        let mut orders: BTreeMap<Order, (&Send, i64)> = BTreeMap::new();
        let mut broken: BTreeSet<Order> = BTreeSet::new();
        for Placed { send, place: (part, offset), .. } in all_placed(store, client) {
            let order = (send.incarnation, part);
            let (last, highest) = orders.entry(order).or_insert((send, i64::MIN));
            if *highest != i64::MIN {
                pairs[usize::from(!resolved_before(last, send))] += 1;
            }
            if *highest > offset {
                broken.insert(order);
            }
            (*last, *highest) = (send, offset.max(*highest));
        }
        if !broken.is_empty() {
            judge(store, out, declared, client, &broken);
        }
    }
    pairs
}

/// Holds each send of an order that is broken against those in front of it.
#[cold]
fn judge(store: &Store, out: &mut Findings, declared: &Declared, client: &Client, broken: &BTreeSet<Order>) {
    let mut orders: BTreeMap<Order, Earlier<'_>> = BTreeMap::new();
    // The earlier send of what is told, and what excuses it.
    let mut told: BTreeSet<(u64, Option<Cause>)> = BTreeSet::new();
    for later in all_placed(store, client) {
        let Placed { index, send, place: (part, offset) } = later;
        let order = (send.incarnation, part);
        if !broken.contains(&order) {
            continue;
        }
        let earlier = orders.entry(order).or_default();
        let mut worst = None;
        for before in earlier.above(offset).filter(|b| !(planted(25) && resolved_before(b.send, send))) {
            let pair = Pair::new(store, client, before, later);
            let cause = permitted(pair.check, &out.facts(store, &pair.report()), declared);
            if worst.is_none() || cause.is_none() {
                worst = Some((pair, cause));
            }
            if cause.is_none() {
                break;
            }
        }
        if let Some((pair, cause)) = worst
            && told.insert((pair.values[0], cause))
        {
            pair.tell(store, out);
        }
        earlier.all.insert((offset, index), later);
        if is_plain(client, index, send) {
            earlier.plain.insert((offset, index), later);
        }
    }
}

/// A later send lies below an earlier one.
struct Pair {
    check: Check,
    /// When both places were known.
    at: u64,
    part: u32,
    offsets: [i64; 2],
    values: [u64; 2],
}

impl Pair {
    fn new(store: &Store, client: &Client, earlier: Placed<'_>, later: Placed<'_>) -> Pair {
        let both = [earlier, later];
        let values = both.map(|p| ValueId::new(client.id, p.index).0);
        let check = if resolved_before(earlier.send, later.send) {
            Check::NonmonotonicSend
        } else {
            Check::IntNonmonotonicSend
        };
        let known = |p: Placed<'_>| places::known_at(store, ValueId::new(client.id, p.index).0, p.send, p.place);
        let at = both.map(known).into_iter().max().unwrap_or(0);
        Pair { check, at, part: later.place.0, offsets: both.map(|p| p.place.1), values }
    }

    fn report(&self) -> Report<'_> {
        let [_, later] = self.values;
        Report::new(self.check, self.at, ValueId(later).client(), self.part)
            .offset(self.offsets[1])
            .values(&self.values)
    }

    #[cold]
    fn tell(&self, store: &Store, out: &mut Findings) {
        let [high, low] = self.offsets;
        let words = || format!("the earlier send lies at offset {high}, the later one at {low}");
        out.add(store, self.report(), words, || {
            let reads = [low, high].into_iter().filter_map(|offset| store.read_at(self.part, offset));
            self.values.iter().flat_map(|value| store.story(*value)).chain(reads).collect()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracles::testing::*;
    use crate::permission::{Cause, LeaderChange, Unclean};
    use klamm_model::history::{Op, Outcome, ProducerFacts};
    use klamm_model::ids::LeaderEpoch;

    #[test]
    fn acknowledgements_out_of_order() {
        let mut h = History::with(Acks::All, false, 5);
        h.send(0).send(1).ack(1, 0).resolve(0, Outcome::Ok, Some(1), 2);
        let found = h.fires(Check::IntNonmonotonicSend);
        assert_eq!((found.values, found.permitted), (vec![value(0), value(1)], Some(Cause::AmbiguousRetryInFlight)));
    }

    #[test]
    fn one_in_flight_is_no_excuse() {
        let mut h = History::with(Acks::All, false, 1);
        h.send(0).send(1).ack(1, 0).resolve(0, Outcome::Ok, Some(1), 2);
        assert_eq!(h.fires(Check::IntNonmonotonicSend).permitted, None);
    }

    #[test]
    fn one_after_the_other() {
        let mut h = History::new();
        h.send(0).ack(0, 5).send(1).ack(1, 4);
        h.fires_among(Check::NonmonotonicSend);
        h.fires_among(Check::RealtimeOrder);
    }

    #[test]
    fn found_by_neighbours_when_answers_come_late() {
        let mut h = History::new();
        h.send(0).send(1).send(2).send(3).ack(3, 9).ack(0, 5).ack(2, 7).ack(1, 8);
        assert_eq!(h.fires(Check::IntNonmonotonicSend).values, [value(1), value(2)]);
    }

    #[test]
    fn a_pair_that_is_excused_hides_none_that_is_not() {
        // The first one may have been lost with the leader; the second one was read, above the third.
        let mut h = History::with(Acks::Leader, false, 1);
        h.send(0).ack(0, 9).send(1).ack(1, 5).send(2).ack(2, 4).assigned(10, 4).poll(10, &[(4, 2), (5, 1)]);
        let change = LeaderChange { at: 35, source: source(0), epoch: LeaderEpoch(2), deposed_by: Some(25) };
        h.declared.leader_changes.push(change);
        let found = h.judge().findings;
        let found =
            found.iter().filter(|f| f.check == Check::NonmonotonicSend).map(|f| (f.values.clone(), f.permitted));
        let cause = Some(Cause::Acks1LeaderChange);
        assert_eq!(found.collect::<Vec<_>>(), [(vec![value(0), value(1)], cause), (vec![value(1), value(2)], None)]);
    }

    #[test]
    fn what_lies_below_one_that_is_gone_is_told_once() {
        let mut h = History::with(Acks::Leader, false, 1);
        h.send(0).ack(0, 9);
        (1..6).for_each(|n| {
            h.send(n).ack(n, n as i64);
        });
        let change = LeaderChange { at: 35, source: source(0), epoch: LeaderEpoch(2), deposed_by: Some(25) };
        h.declared.leader_changes.push(change);
        let found = h.judge().findings;
        let found: Vec<_> = found.iter().filter(|f| f.check == Check::NonmonotonicSend).map(|f| &f.values).collect();
        assert_eq!(found, [&vec![value(0), value(1)]]);
        // And so it is where nothing excuses it.
        h.declared.leader_changes.clear();
        assert_eq!(h.judge().findings.iter().filter(|f| f.check == Check::NonmonotonicSend).count(), 1);
    }

    #[test]
    fn an_order_is_broken_when_both_places_are_known_first() {
        let mut h = History::new();
        h.send(0).send(1).assigned(10, 0).poll(10, &[(0, 1), (1, 0)]);
        let at = h.clock;
        h.assigned(11, 0).poll(11, &[(0, 1), (1, 0)]);
        let election = |at| Unclean { at, source: source(0), from: None };
        h.declared.uncleans.push(election(at + 5));
        let found = h.fires(Check::IntNonmonotonicSend);
        assert_eq!((found.at, found.permitted), (at, None));
        h.declared.uncleans.push(election(at));
        assert_eq!(h.fires(Check::IntNonmonotonicSend).permitted, Some(Cause::UncleanElection));
    }

    #[test]
    fn a_read_places_a_send_of_an_idempotent_producer() {
        let mut h = History::new();
        h.send(0).send(1).assigned(10, 0).poll(10, &[(0, 1), (1, 0)]);
        h.fires(Check::IntNonmonotonicSend);
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
