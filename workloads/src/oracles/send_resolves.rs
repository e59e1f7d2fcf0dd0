//! send-resolves: a send is unresolved beyond delivery.timeout.ms + max.block.ms. Sends of a client that died are not
//! waited for.
//!
//! Without idempotence and with several requests in flight Kafka itself keeps its word less exactly
//! (`RecordAccumulator`): what is to be sent again goes to the front of its queue (`reenqueue`), so that batches that failed
//! one after the other stand there in reverse, and only the front is looked at for its time (`expiredBatches`). An older
//! batch is given up together with the later one that stands before it, and not earlier.

use super::report::{Findings, Report};
use super::sends::{NOWHERE, State};
use super::store::Store;
use crate::planted::planted;
use klamm_model::checks::Check;
use klamm_model::history::ValueId;
use klamm_model::ids::ClientId;
use klamm_model::units::Duration;
use std::collections::BTreeMap;

/// Sends of one client that resolved at one moment.
#[derive(Default)]
pub(super) struct Late {
    at: u64,
    /// Too late, but perhaps because of where they stood.
    late: Vec<u64>,
    /// By partition: the last one that was in time, and was sent at all.
    in_time: BTreeMap<u32, u64>,
}

/// A send resolved.
pub(super) fn resolved(store: &mut Store, out: &mut Findings, value: u64, slack: u64) {
    let id = ValueId(value);
    let Some(client) = store.client(id.client()) else { return };
    let Some(send) = client.get(id.index()) else { return };
    let (part, at) = (send.part, send.completed);
    let facts = client.facts(send.incarnation);
    let took = at - send.invoked.min(at);
    let late = took > facts.resolves_within.saturating_mul(1 + u64::from(planted(32))).saturating_add(slack);
    // Without idempotence, a batch of several in flight is put back behind later ones of its partition.
    let reversed = !facts.idempotent && facts.max_in_flight > 1 && part != NOWHERE && send.attempts > 0;
    if late && !reversed {
        return tell(store, out, value);
    }
    if client.late.at != at {
        settle(store, out, id.client());
    }
    let Some(client) = store.client_mut(id.client()) else { return };
    client.late.at = at;
    match late {
        true => client.late.late.push(id.index()),
        false if reversed => {
            let last = client.late.in_time.entry(part).or_insert(id.index());
            *last = id.index().max(*last);
        }
        false => {}
    }
}

/// All that resolved at the moment has: whoever was given up together with a later one of its partition that was in
/// time stood behind it.
fn settle(store: &mut Store, out: &mut Findings, client: ClientId) {
    let Some(known) = store.client_mut(client) else { return };
    if known.late.late.is_empty() {
        known.late.in_time.clear();
        return;
    }
    let Late { late, in_time, .. } = std::mem::take(&mut known.late);
    for index in late {
        let behind = |part: u32| in_time.get(&part).is_some_and(|last| *last > index);
        let part = store.client(client).and_then(|c| c.get(index)).map_or(NOWHERE, |s| s.part);
        if !behind(part) {
            tell(store, out, ValueId::new(client, index).0);
        }
    }
}

/// A send resolved too late.
#[cold]
fn tell(store: &Store, out: &mut Findings, value: u64) {
    let Some(send) = store.send(value) else { return };
    let within = store.client(ValueId(value).client()).map_or(0, |c| c.facts(send.incarnation).resolves_within);
    late(store, out, value, send.completed - send.invoked.min(send.completed), within, send.completed);
}

/// The history ends.
pub(super) fn end(store: &mut Store, out: &mut Findings, at: u64, slack: u64) {
    let clients: Vec<ClientId> = store.clients().map(|c| c.id).collect();
    for client in clients {
        settle(store, out, client);
    }
    for client in store.clients() {
        let within = client.facts(client.incarnation).resolves_within;
        for (index, send) in client.all() {
            let pending = send.state == State::Pending && send.incarnation == client.incarnation;
            let waited = at.saturating_sub(send.invoked);
            if pending && waited > within.saturating_add(slack) {
                late(store, out, ValueId::new(client.id, index).0, waited, within, at);
            }
        }
    }
}

#[cold]
fn late(store: &Store, out: &mut Findings, value: u64, took: u64, within: u64, at: u64) {
    let Some(send) = store.send(value).filter(|s| s.part != NOWHERE) else {
        // Without a partition there is none to name; the first of the history stands for it.
        return out.add(
            store,
            Report::new(Check::SendResolves, at, ValueId(value).client(), 0).values(&[value]),
            || words(took, within),
            || store.story(value).collect(),
        );
    };
    let report = Report::new(Check::SendResolves, at, ValueId(value).client(), send.part);
    out.add(store, report.values(&[value]), || words(took, within), || store.story(value).collect());
}

fn words(took: u64, within: u64) -> String {
    format!("unresolved for {}, promised within {}", Duration::from_nanos(took), Duration::from_nanos(within))
}

#[cfg(test)]
mod tests {
    use crate::oracles::testing::*;
    use klamm_model::history::{Acks, Op, Outcome, ProducerFacts};

    #[test]
    fn too_late_or_never() {
        let mut h = History::new();
        h.send(0);
        h.clock += WITHIN + 1_001;
        h.resolve(0, Outcome::Info, None, 1);
        h.fires(Check::SendResolves);
        let mut h = History::new();
        let send = h.send_op(0, None, None);
        h.push(1, send);
        h.clock += WITHIN + 1_001;
        assert_eq!(h.judge().findings, [], "no partition was ever named, so there is none to report it on");
        h.acked(1..2);
        h.fires(Check::SendResolves);
        assert_eq!(h.judge().summary.unresolved, 1);
    }

    #[test]
    fn behind_a_later_one_it_waits_for_that_unless_sequences_keep_the_order() {
        let given_up = |idempotent, max_in_flight, together: bool| {
            let mut h = History::with(Acks::All, idempotent, max_in_flight);
            h.send(0);
            h.clock += WITHIN / 2;
            h.on(i32::from(!together)).send(1);
            h.clock += WITHIN;
            h.resolve(1, Outcome::Info, None, 1).on(0);
            // At the same moment.
            h.clock -= 10;
            h.resolve(0, Outcome::Info, None, 1);
            h.judge().findings.iter().filter(|f| f.check == Check::SendResolves).count()
        };
        assert_eq!(given_up(false, 5, true), 0);
        assert_eq!(given_up(false, 5, false), 1, "of another partition: it stood in another queue");
        assert_eq!((given_up(true, 5, true), given_up(false, 1, true)), (1, 1));
    }

    #[test]
    fn in_time_or_of_the_dead() {
        let mut h = History::new();
        h.send(0);
        h.clock += WITHIN;
        h.ack(0, 0).send(1);
        h.clock += WITHIN / 2;
        h.silent();
        let facts = ProducerFacts { acks: Acks::All, idempotent: true, max_in_flight: 5, resolves_within: WITHIN };
        h.push_as(1, 2, Op::Producer { facts });
        h.clock += 2 * WITHIN;
        h.silent();
    }
}
