//! half-done and out-of-step: what services make of what they read, end to end.
//!
//! A service is a group whose members forward: from each record they read follows one in each of some topics, or one
//! in another where they decline. **half-done**: after convergence, a record below the group's committed offset has not
//! all of its consequences in the cluster. So no order is paid and never shipped, no stock leaves one place and arrives
//! nowhere, no step is skipped, however many services stand in a row. **out-of-step**: of two records of one key, in
//! one partition, the later one's consequence stands before that of the earlier one (each by its first: services repeat
//! themselves, and whoever reads them sorts out repetitions by what they follow from).
//!
//! Both are judged at the end of the history, when everything that is visible has been read.

use super::groups::{Group, GroupPart, Groups, who};
use super::report::{Findings, Report};
use super::sends::{KEYED, LOST, MOVED, NOWHERE, READ, State};
use super::store::Store;
use klamm_model::checks::Check;
use klamm_model::history::{Entry, MemberFacts, ValueId};
use std::collections::{BTreeMap, BTreeSet};

/// What one group makes of records.
#[derive(Debug, Default)]
struct Service {
    forwards_to: Vec<u32>,
    declines_to: Option<u32>,
    /// By what they follow from: topic and value.
    made: BTreeMap<u64, Vec<(u32, u64)>>,
}

/// All services, by the number of their group.
#[derive(Debug, Default)]
pub(super) struct Services {
    list: BTreeMap<usize, Service>,
}

impl Services {
    /// A member came up.
    pub(super) fn came_up(&mut self, store: &mut Store, group: usize, facts: &MemberFacts) {
        if facts.forwards_to.is_empty() && facts.declines_to.is_none() {
            return;
        }
        let service = self.list.entry(group).or_default();
        service.forwards_to = facts.forwards_to.iter().map(|t| store.topic(t)).collect();
        service.declines_to = facts.declines_to.as_ref().map(|t| store.topic(t));
    }

    /// A member sends what follows from a record.
    pub(super) fn made(&mut self, groups: &Groups, entry: &Entry, from: ValueId, topic: u32, value: ValueId) {
        let Some(member) = groups.member(who(entry)) else { return };
        if let Some(service) = self.list.get_mut(&member.group) {
            service.made.entry(from.0).or_default().push((topic, value.0));
        }
    }

    /// Nothing more will be read. Returns how many records, and how many pairs of them, were judged.
    pub(super) fn end(&self, store: &Store, groups: &Groups, out: &mut Findings) -> [u64; 2] {
        let mut judged = [0; 2];
        for (&number, service) in &self.list {
            let group = &groups.list[number];
            for (&part, state) in &group.parts {
                judged[0] += service.half_done(store, out, group, part, state);
                judged[1] += service.out_of_step(store, out, group, part, state);
            }
        }
        judged
    }
}

/// Whether a consequence is in the cluster, as far as anybody can tell.
fn stands(store: &Store, value: u64) -> bool {
    store.is_read(value) || store.send(value).is_some_and(|s| s.state == State::Acknowledged && !s.is(LOST))
}

impl Service {
    /// What follows from a value in a topic.
    fn of(&self, from: u64, topic: u32) -> impl Iterator<Item = u64> {
        let made = self.made.get(&from).into_iter().flatten();
        made.filter(move |(t, _)| *t == topic).map(|(_, v)| *v)
    }

    fn half_done(&self, store: &Store, out: &mut Findings, group: &Group, part: u32, state: &GroupPart) -> u64 {
        let Some((found, committed)) = state.committed() else { return 0 };
        let visible = state.visible(store, part, committed);
        let judged = visible.len() as u64;
        let there = |from: u64, topic: u32| self.of(from, topic).any(|v| stands(store, v));
        for (offset, slot) in visible {
            if self.declines_to.is_some_and(|topic| there(slot.value, topic)) {
                continue;
            }
            let Some(&missing) = self.forwards_to.iter().find(|&&topic| !there(slot.value, topic)) else { continue };
            // What was acknowledged and lost is found where it was lost.
            let lost: Vec<u64> = self.of(slot.value, missing).collect();
            let place = lost.iter().filter_map(|v| store.send(*v)).find(|s| s.is(LOST) && s.part != NOWHERE);
            let values: Vec<u64> = [slot.value].into_iter().chain(lost).collect();
            let report = Report::new(Check::HalfDone, found.at, found.client, place.map_or(part, |s| s.part));
            let report = Report {
                group: Some(&group.name),
                boundary: state.passed_over(offset),
                app: state.app(offset),
                ..report.offset(place.map_or(offset, |s| s.offset)).values(&values)
            };
            let words = || {
                let source = &store.parts[part as usize].source;
                format!(
                    "group `{}` has committed {committed} of {}-{}, but nothing that follows from offset {offset} is \
                     in {}",
                    group.name,
                    source.topic,
                    source.partition,
                    store.topic_name(missing)
                )
            };
            out.add(store, report, words, || {
                let sends = values[1..].iter().filter_map(|v| store.sent(*v));
                store.read_at(part, offset).into_iter().chain(sends).chain([found.clone()]).collect()
            });
        }
        judged
    }

    fn out_of_step(&self, store: &Store, out: &mut Findings, group: &Group, part: u32, state: &GroupPart) -> u64 {
        let Some((found, committed)) = state.committed() else { return 0 };
        let mut judged = 0;
        // By key and topic: where the latest one stands, and what it follows from.
        let mut latest: BTreeMap<(u64, u32), (u32, i64, u64, i64)> = BTreeMap::new();
        // A value that stands in the topic twice is in step by where it stands first.
        let mut met = BTreeSet::new();
        let visible = state.visible(store, part, committed).into_iter();
        for (offset, slot) in visible.filter(|(_, slot)| met.insert(slot.value)) {
            let Some(key) = store.send(slot.value).filter(|s| s.is(KEYED)).map(|s| s.key) else { continue };
            for &topic in self.forwards_to.iter().chain(&self.declines_to) {
                let places = self.of(slot.value, topic).filter_map(|v| {
                    let send = store.send(v).filter(|s| s.is(READ) && !s.is(MOVED))?;
                    Some((send.part, send.offset, v))
                });
                let Some(first) = places.min() else { continue };
                let before = latest.insert((key, topic), (first.0, first.1, first.2, offset));
                judged += u64::from(before.is_some_and(|b| b.0 == first.0));
                let Some(before) = before.filter(|b| b.0 == first.0 && b.1 > first.1) else { continue };
                // The first of the earlier one's consequences may have been there, and gone.
                let earlier = store.send(before.2).map_or(0, |s| s.invoked);
                let from = store.parts[part as usize].slots.get(before.3).map_or(0, |slot| slot.value);
                let gone = self.of(from, topic);
                let gone = gone.filter(|v| !store.is_read(*v) && store.send(*v).is_some_and(|s| s.invoked < earlier));
                let values: Vec<u64> = [before.2, first.2].into_iter().chain(gone).collect();
                let report = Report::new(Check::OutOfStep, found.at, found.client, first.0);
                let report = Report {
                    group: Some(&group.name),
                    app: state.app(offset),
                    ..report.offset(first.1).values(&values)
                };
                let words = || {
                    format!(
                        "what follows from offset {offset} stands at offset {}, before what follows from offset {} of \
                         the same key",
                        first.1, before.3
                    )
                };
                out.add(store, report, words, || values.iter().filter_map(|v| store.sent(*v)).collect());
            }
        }
        judged
    }
}

#[cfg(test)]
mod tests {
    use crate::oracles::testing::*;
    use crate::permission::{Cause, LeaderChange};
    use klamm_model::history::*;
    use klamm_model::ids::*;

    const SHIPPED: &str = "shipped";

    fn target() -> TopicPartition {
        TopicPartition { topic: SHIPPED.into(), partition: 0 }
    }

    /// A service (client 10) has read values 0 to 3, all of one key, and makes something of them.
    fn service(acks: Acks, processing: Processing) -> History {
        let mut h = History::new();
        for i in 0..4 {
            let op = h.send_op(i, Some(0), Some(7));
            h.push(1, op).ack(i, i as i64);
        }
        let facts = MemberFacts {
            group: "g".into(),
            protocol: RebalanceProtocol::Cooperative,
            instance: None,
            auto_commit: false,
            processing,
            effects: false,
            resets_to_latest: false,
            forwards_to: vec![SHIPPED.into()],
            declines_to: Some("cancelled".into()),
        };
        h.push(10, Op::Member { facts });
        let facts = ProducerFacts { acks, idempotent: true, max_in_flight: 5, resolves_within: WITHIN };
        h.push(10, Op::Producer { facts });
        h.comes(10, 1).position(10, 0, PositionReason::Assigned).reads(10, 0..4);
        h
    }

    fn made(n: u64) -> ValueId {
        ValueId::new(ClientId(10), n)
    }

    /// What follows from value n, as the service's m-th send, at that offset.
    fn makes(h: &mut History, n: u64, m: u64, topic: &str, offset: Option<i64>) {
        let (partition, key, from) = (None, Some(7), Some(value(n)));
        h.push(
            10,
            Op::Send { value: made(m), topic: topic.into(), partition, key, tombstone: false, late_by: 0, from },
        );
        let outcome = if offset.is_some() { Outcome::Ok } else { Outcome::Fail };
        let (producer_id, offset) = (Some(ProducerId(5)), offset.map(Offset));
        let (value, partition) = (made(m), Some(0));
        h.push(10, Op::Sent { value, outcome, partition, offset, attempts: 1, producer_id, error: None });
    }

    /// The end: the service has committed everything, and everything is read.
    fn end(h: &mut History, targets: &[(i64, u64)]) {
        h.finished(10, 0, 4).commits(10, 1, CommitTrigger::Sync, 1, 4).group_offset(4).finally(0, 4);
        let record = |&(o, m): &(i64, u64)| ReadRecord {
            offset: Offset(o),
            leader_epoch: LeaderEpoch(1),
            value: made(m),
            key: Some(7),
            timestamp: 5,
        };
        let source = target();
        h.push(99, Op::Position { source: target(), offset: Offset(0), reason: PositionReason::Assigned });
        let isolation = IsolationLevel::ReadCommitted;
        h.push(99, Op::Poll { source, isolation, records: targets.iter().map(record).collect() });
        let to = targets.last().map_or(0, |(o, _)| o + 1);
        h.push(99, Op::FinalRead { source: target(), from: Offset(0), to: Offset(to) });
    }

    #[test]
    fn every_record_has_its_consequence_or_was_declined() {
        let mut h = service(Acks::All, Processing::FinishThenCommit);
        makes(&mut h, 0, 0, SHIPPED, Some(0));
        // A send that failed, made anew; one that is made twice; one that is declined.
        makes(&mut h, 1, 1, SHIPPED, None);
        makes(&mut h, 1, 2, SHIPPED, Some(1));
        makes(&mut h, 2, 3, SHIPPED, Some(2));
        makes(&mut h, 2, 4, SHIPPED, Some(3));
        makes(&mut h, 3, 5, "cancelled", Some(0));
        end(&mut h, &[(0, 0), (1, 2), (2, 3), (3, 4)]);
        h.silent();
    }

    #[test]
    fn what_is_committed_and_never_forwarded_is_half_done() {
        for (processing, permitted) in
            [(Processing::FinishThenCommit, None), (Processing::CommitThenFinish, Some(Cause::CommitsBeforeFinishing))]
        {
            let mut h = service(Acks::All, processing);
            for n in [0, 1, 3] {
                makes(&mut h, n, n, SHIPPED, Some(n.min(2) as i64));
            }
            end(&mut h, &[(0, 0), (1, 1), (2, 3)]);
            let found = h.fires(Check::HalfDone);
            assert_eq!((found.offset, found.permitted, found.witness.len()), (Some(Offset(2)), permitted, 2));
        }
    }

    #[test]
    fn what_was_acknowledged_and_lost_is_half_done_too() {
        for acks in [Acks::All, Acks::Leader] {
            let mut h = service(acks, Processing::FinishThenCommit);
            (0..4).for_each(|n| makes(&mut h, n, n, SHIPPED, Some(n as i64)));
            let at = h.clock;
            h.declared.leader_changes.push(LeaderChange {
                at,
                source: target(),
                epoch: LeaderEpoch(1),
                deposed_by: Some(at),
            });
            end(&mut h, &[(0, 0), (2, 2), (3, 3)]);
            h.fires_among(Check::LostWrite);
            let found = h.fires_among(Check::HalfDone);
            assert_eq!(found.permitted, (acks == Acks::Leader).then_some(Cause::Acks1LeaderChange));
            assert_eq!(found.source, target());
        }
    }

    #[test]
    fn consequences_keep_the_order_of_their_key() {
        let mut h = service(Acks::All, Processing::FinishThenCommit);
        for (n, offset) in [(0, 0), (1, 2), (2, 1), (3, 3)] {
            makes(&mut h, n, n, SHIPPED, Some(offset));
        }
        end(&mut h, &[(0, 0), (1, 2), (2, 1), (3, 3)]);
        let found = h.fires_among(Check::OutOfStep);
        assert_eq!((found.offset, found.permitted), (Some(Offset(1)), None));
        assert_eq!(found.values, [made(1), made(2)]);
        // The first of several counts.
        let mut h = service(Acks::All, Processing::FinishThenCommit);
        for (m, (n, offset)) in [(0, 0), (1, 1), (2, 2), (1, 3), (2, 4), (3, 5)].into_iter().enumerate() {
            makes(&mut h, n, m as u64, SHIPPED, Some(offset));
        }
        end(&mut h, &[(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]);
        h.silent();
    }

    #[test]
    fn a_value_that_was_sent_twice_is_in_step_by_where_it_stands_first() {
        let mut h = service(Acks::All, Processing::FinishThenCommit);
        // Value 0 once more, behind the others, as a retry leaves it; the service handles it again.
        h.poll(10, &[(4, 0)]);
        for (m, n) in [0, 1, 2, 3, 0].into_iter().enumerate() {
            makes(&mut h, n, m as u64, SHIPPED, Some(m as i64));
        }
        end(&mut h, &[(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)]);
        h.finished(10, 4, 5).commits(10, 2, CommitTrigger::Sync, 1, 5).group_offset(5);
        assert!(h.judge().findings.iter().all(|f| f.check != Check::OutOfStep), "{:#?}", h.judge().findings);
    }
}
