//! realtime-order: an acknowledged send lies below an offset that was already acknowledged when it began.
//!
//! Each partition remembers its highest acknowledged offset over time, as far back as the oldest send that is open: so
//! each break is noticed. At the end it is known which acknowledgements reading refutes, and which of all that lie above
//! is the hardest to excuse.

use super::report::{Findings, Report};
use super::sends::{CLAIMED, OFFSET_ACKED, Send};
use super::staircase::Staircase;
use super::store::{Acked, Store};
use crate::planted::planted;
use klamm_model::checks::Check;
use klamm_model::history::{Acks, ValueId};
use std::collections::{BTreeMap, BTreeSet};

/// So many moments are remembered before it is asked which of them still matter.
const MOMENTS: usize = 8192;

/// Forgets what lies before the last moment in front of the oldest open send.
#[cold]
fn shorten(store: &mut Store, part: u32, now: u64) {
    let oldest = store.oldest_open().map_or(now, |oldest| oldest.min(now));
    let acked = &mut store.parts[part as usize].acked;
    let needless = acked.partition_point(|a| a.at < oldest).saturating_sub(1);
    acked.drain(..needless);
}

/// A send that began at `invoked` was acknowledged at an offset. Returns whether anything was acknowledged when it
/// began.
pub(super) fn acknowledged(store: &mut Store, value: u64, part: u32, offset: i64, invoked: u64, at: u64) -> bool {
    if store.parts[part as usize].acked.len() >= MOMENTS && store.parts[part as usize].acked.len().is_power_of_two() {
        shorten(store, part, invoked);
    }
    let acked = &mut store.parts[part as usize].acked;
    let judged = acked.front().is_some_and(|a| a.at < invoked);
    let own = Acked { at, offset, value };
    match acked.back_mut() {
        None => acked.push_back(own),
        Some(last) if offset > last.offset => {
            if last.at == at {
                *last = own;
            } else {
                acked.push_back(own);
            }
        }
        Some(_) => {
            let before = acked.partition_point(|a| a.at < invoked || planted(28));
            let Some(&above) = before.checked_sub(1).and_then(|i| acked.get(i)).filter(|a| a.offset > offset) else {
                return judged;
            };
            store.parts[part as usize].overtaken.push(value);
            store.mark(value, CLAIMED);
            store.mark(above.value, CLAIMED);
        }
    }
    judged
}

/// An acknowledged send.
#[derive(Clone, Copy)]
struct Placed {
    value: u64,
    offset: i64,
    invoked: u64,
    completed: u64,
    /// With acks=1, and never read: it may be gone with its leader.
    may_be_gone: bool,
}

/// Acknowledged sends of a partition that reading does not refute.
fn placed(store: &Store, parts: &BTreeMap<u32, Vec<u64>>) -> BTreeMap<u32, Vec<Placed>> {
    let mut placed: BTreeMap<u32, Vec<Placed>> = BTreeMap::new();
    for client in store.clients() {
        for (index, send) in client.all().filter(|(_, s)| s.is(OFFSET_ACKED) && parts.contains_key(&s.part)) {
            let value = ValueId::new(client.id, index).0;
            if store.is_refuted(value, send) {
                continue;
            }
            let may_be_gone = client.facts(send.incarnation).acks == Acks::Leader && !store.is_read(value);
            let Send { offset, invoked, completed, .. } = *send;
            placed.entry(send.part).or_default().push(Placed { value, offset, invoked, completed, may_be_gone });
        }
    }
    placed
}

/// The history ends.
pub(super) fn end(store: &mut Store, out: &mut Findings) {
    let parts = store.parts.iter_mut().enumerate().filter(|(_, p)| !p.overtaken.is_empty());
    let parts: BTreeMap<u32, Vec<u64>> = parts.map(|(n, p)| (n as u32, std::mem::take(&mut p.overtaken))).collect();
    if parts.is_empty() {
        return;
    }
    for (part, mut all) in placed(store, &parts) {
        let overtaken: BTreeSet<u64> = parts[&part].iter().copied().collect();
        let mut late: Vec<Placed> = all.iter().filter(|p| overtaken.contains(&p.value)).copied().collect();
        late.sort_by_key(|p| (p.invoked, p.value));
        all.sort_by_key(|p| (p.completed, p.offset, p.value));
        let mut earlier = all.iter().peekable();
        // What began later is harder to excuse, and so is what cannot be gone.
        let mut above: [Staircase<Placed>; 2] = Default::default();
        for second in late {
            while let Some(first) = earlier.next_if(|p| p.completed < second.invoked || planted(28)) {
                above[usize::from(first.may_be_gone)].add(first.offset, first.invoked, *first);
            }
            let case = out.case();
            for first in above.iter().filter_map(|stairs| stairs.best_above(second.offset)) {
                below(store, out, part, [first, second], case);
            }
        }
    }
}

#[cold]
fn below(store: &Store, out: &mut Findings, part: u32, pair: [Placed; 2], case: u32) {
    let [first, second] = pair;
    let client = ValueId(second.value).client();
    let report = Report::new(Check::RealtimeOrder, second.completed, client, part).offset(second.offset);
    let words =
        || format!("acknowledged at offset {}; when it began, {} was acknowledged", second.offset, first.offset);
    let witness = || store.story(first.value).chain(store.story(second.value)).collect();
    out.add(store, report.values(&[first.value, second.value]).case(case), words, witness);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracles::testing::*;
    use crate::permission::{Cause, LeaderChange};
    use klamm_model::history::{Acks, Op, Outcome, ProducerFacts};
    use klamm_model::ids::{ClientId, LeaderEpoch, Offset};

    #[test]
    fn an_acknowledged_send_below_what_was_acknowledged_when_it_began() {
        let mut h = History::new();
        let other = ValueId::new(ClientId(2), 0);
        let facts = ProducerFacts { acks: Acks::All, idempotent: true, max_in_flight: 5, resolves_within: WITHIN };
        h.push(2, Op::Producer { facts }).acked(3..6);
        h.push(
            2,
            Op::Send {
                value: other,
                topic: "t".into(),
                partition: Some(0),
                key: None,
                tombstone: false,
                late_by: 0,
                from: None,
            },
        );
        let mut ack = h.sent_op(0, Outcome::Ok, Some(4), 1);
        if let Op::Sent { value, .. } = &mut ack {
            *value = other;
        }
        // At an offset of its own, below.
        if let Op::Sent { offset, .. } = &mut ack {
            *offset = Some(Offset(2));
        }
        h.push(2, ack);
        let found = h.fires(Check::RealtimeOrder);
        assert_eq!(found.values, [value(5), other]);
        assert_eq!(found.witness.len(), 4);
    }

    #[test]
    fn either_send_with_acks_1_and_a_leader_change_permits_it() {
        let mut h = History::with(Acks::Leader, true, 5);
        h.send(0).ack(0, 5).send(1).ack(1, 4);
        assert_eq!(h.fires_among(Check::RealtimeOrder).permitted, None);
        let change = LeaderChange { at: 25, source: source(0), epoch: LeaderEpoch(2), deposed_by: Some(30) };
        h.declared.leader_changes.push(change);
        assert_eq!(h.fires_among(Check::RealtimeOrder).permitted, Some(Cause::Acks1LeaderChange));
    }

    #[test]
    fn an_acknowledgement_that_reading_refutes_orders_nothing() {
        let mut h = History::new();
        h.send(0).ack(0, 5).send(1).ack(1, 4);
        h.fires_among(Check::RealtimeOrder);
        h.assigned(10, 0).poll(10, &[(3, 0)]);
        assert!(h.judge().findings.iter().all(|f| f.check != Check::RealtimeOrder));
    }

    #[test]
    fn what_may_be_gone_hides_nothing_that_is_there() {
        // The highest may have gone with its leader; another one above the last send was read.
        let mut h = History::with(Acks::Leader, true, 5);
        h.send(0).ack(0, 5).send(1).ack(1, 9).send(2).ack(2, 4).assigned(10, 4).poll(10, &[(4, 2), (5, 0)]);
        let change = LeaderChange { at: 45, source: source(0), epoch: LeaderEpoch(2), deposed_by: Some(45) };
        h.declared.leader_changes.push(change);
        let found = h.fires_among(Check::RealtimeOrder);
        assert_eq!(
            (found.values, found.permitted),
            (vec![ValueId::new(ClientId(1), 0), ValueId::new(ClientId(1), 2)], None)
        );
    }

    #[test]
    fn sends_that_overlap_have_no_order() {
        let mut h = History::new();
        h.send(0).send(1).ack(1, 5).ack(0, 4).send(2).ack(2, 6).silent();
        // The answer to a repeated attempt names the old offset.
        let mut h = History::new();
        h.send(0).send(1).send(2).ack(1, 1).ack(2, 2).resolve(0, Outcome::Ok, Some(0), 3).silent();
    }
}
