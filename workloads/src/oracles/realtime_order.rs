//! realtime-order: an acknowledged send lies below an offset that was already acknowledged when it began.
//!
//! Each partition remembers its highest acknowledged offset over time, as far back as the oldest send that is open.

use super::report::{Findings, Report};
use super::store::{Acked, Store};
use crate::planted::planted;
use klamm_model::history::ValueId;

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
pub(super) fn acknowledged(
    store: &mut Store,
    out: &mut Findings,
    value: u64,
    part: u32,
    offset: i64,
    invoked: u64,
    at: u64,
) -> bool {
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
            let report = Report::new("realtime-order", at, ValueId(value).client(), part).offset(offset);
            let words = || format!("acknowledged at offset {offset}; when it began, {} was acknowledged", above.offset);
            let witness = || store.story(above.value).chain(store.story(value)).collect();
            out.add(store, report.values(&[above.value, value]), words, witness);
        }
    }
    judged
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
        let found = h.fires("realtime-order");
        assert_eq!(found.values, [value(5), other]);
        assert_eq!(found.witness.len(), 4);
    }

    #[test]
    fn either_send_with_acks_1_and_a_leader_change_permits_it() {
        let mut h = History::with(Acks::Leader, true, 5);
        h.send(0).ack(0, 5).send(1).ack(1, 4);
        assert_eq!(h.fires_among("realtime-order").permitted, None);
        let change = LeaderChange { at: 25, source: source(0), epoch: LeaderEpoch(2), deposed_by: Some(30) };
        h.declared.leader_changes.push(change);
        assert_eq!(h.fires_among("realtime-order").permitted, Some(Cause::Acks1LeaderChange));
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
