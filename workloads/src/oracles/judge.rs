//! Leads each operation past the oracles it concerns.

use super::finding::Verdicts;
use super::groups::{Candidate, Groups, OPEN, who};
use super::key_affinity::Keys;
use super::list_offsets_regression::{self as list_offsets, Asked};
use super::report::Findings;
use super::sends::{self, CHOSEN, KEYED, Known, LOST, MOVED, NOWHERE, OFFSET_ACKED, READ, Send, State, TOMBSTONE};
use super::services::Services;
use super::store::{NONE, Read, Reader, Store};
use super::summary::Summary;
use super::views::Views;
use super::{
    clean_handover, commit_regression, commit_too_far, compacted_value, double_effect, illegal_resume, read_model,
    skipped_record,
};
use super::{
    duplicate, failed_write_visible, inconsistent_offsets, key_affinity, lost_write, next_offset_divergence,
    nonmonotonic_poll, nonmonotonic_send, poll_skip, read_epoch_regression, realtime_order, send_resolves, slots,
    unknown_read,
};
use crate::permission::{Declared, permitted};
use klamm_model::history::{
    Acks, Entry, IsolationLevel, Op, Outcome, PositionReason, ReadRecord, TopicPartition, ValueId,
};
use klamm_model::ids::{Offset, ProducerId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a judge cannot learn from the history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JudgeConfig {
    /// How much longer than promised a send may take, in nanoseconds: timers round up, clocks drift, clients pause.
    pub resolve_slack: u64,
    /// How many findings of each check are told in words and with a witness. Those beyond are judged and counted.
    pub max_findings: usize,
}

/// All oracles over one history.
pub struct Judge {
    config: JudgeConfig,
    store: Store,
    keys: Keys,
    asked: Asked,
    groups: Groups,
    services: Services,
    views: Views,
    out: Findings,
    summary: Summary,
    final_reads: u64,
}

impl Judge {
    /// A judge who has seen nothing yet.
    pub fn new(config: JudgeConfig) -> Judge {
        Judge {
            config,
            store: Store::default(),
            keys: Keys::new(),
            asked: Asked::default(),
            groups: Groups::default(),
            services: Services::default(),
            views: Views::default(),
            out: Findings::new(config.max_findings),
            summary: Summary::default(),
            final_reads: 0,
        }
    }

    /// Takes the next operation.
    pub fn entry(&mut self, entry: &Entry) {
        match &entry.op {
            Op::Producer { facts } => {
                if let Some(client) = self.store.client_made(entry.client) {
                    client.came_up(entry.incarnation, facts);
                }
            }
            Op::ReadModel { topics } => {
                self.views.came_up(entry, topics);
                for topic in topics {
                    let topic = self.store.topic(topic);
                    self.views.compacts(topic);
                }
            }
            Op::Send { value, topic, partition, key, from, tombstone, .. } => {
                let topic = self.store.topic(topic);
                if let Some(from) = from {
                    self.services.made(&self.groups, entry, *from, topic, *value);
                }
                self.send(entry, *value, topic, *partition, *key, *tombstone);
            }
            Op::Sent { .. } => self.sent(entry),
            Op::Poll { source, records, .. } => self.poll(entry, source, records),
            Op::Position { source, offset, reason } => self.position(entry, source, offset.0, *reason),
            Op::AskOffset { ask } => self.asked.ask(entry, *ask),
            Op::ListOffsets { source, .. } => {
                let part = self.store.source(source);
                list_offsets::answered(&self.store, &mut self.asked, &mut self.out, entry, part);
            }
            Op::FinalRead { source, from, to } => {
                self.final_reads += 1;
                let part = self.store.source(source);
                lost_write::final_read(&mut self.store, &mut self.out, entry, part, from.0, to.0);
                if self.views.follows(self.store.parts[part as usize].topic) {
                    self.views.finished(entry, part, to.0);
                }
            }
            Op::Member { facts } => {
                self.groups.came_up(entry, facts);
                let group = self.groups.group(&facts.group);
                self.services.came_up(&mut self.store, group, facts);
            }
            Op::Assigned { generation, partitions } => self.assigned(entry, *generation, partitions),
            Op::Revoked { partitions, lost, .. } => {
                let parts = self.sources(partitions);
                self.groups.revoked(entry, &parts, *lost);
            }
            Op::Commit { .. } => self.commit(entry),
            Op::Committed { commit, outcome, .. } => self.groups.committed(entry, *commit, *outcome),
            Op::Finished { source, from, to } => {
                let part = self.store.source(source);
                if let Some(group) = self.groups.member(who(entry)).map(|m| m.group) {
                    self.groups.list[group].part(part).finished.insert(from.0, to.0);
                }
            }
            Op::Effect { source, offset, value } => {
                let part = self.store.source(source);
                double_effect::applied(&self.store, &mut self.groups, &mut self.out, entry, part, offset.0, *value);
            }
            Op::GroupOffset { group, source, .. } => {
                let part = self.store.source(source);
                skipped_record::found(&mut self.groups, entry, group, part);
            }
        }
    }

    fn send(
        &mut self,
        entry: &Entry,
        value: ValueId,
        topic: u32,
        partition: Option<i32>,
        key: Option<u64>,
        tombstone: bool,
    ) {
        self.summary.sends += 1;
        let part = partition.map_or(NOWHERE, |p| self.store.part(topic, p));
        let Some(client) = self.store.client_made(value.client()) else { return };
        client.incarnation = client.incarnation.max(entry.incarnation.0);
        let keyed = if key.is_some() { KEYED } else { 0 };
        let chosen = if partition.is_some() { CHOSEN } else { 0 } | if tombstone { TOMBSTONE } else { 0 };
        client.send(
            value.index(),
            Send {
                invoked: entry.at,
                completed: 0,
                offset: -1,
                key: key.unwrap_or(0),
                topic,
                part,
                incarnation: entry.incarnation.0,
                producer: 0,
                attempts: 0,
                state: State::Pending,
                flags: keyed | chosen,
            },
        );
    }

    fn sent(&mut self, entry: &Entry) {
        let Op::Sent { value: id, outcome, partition, offset, attempts, producer_id, error } = &entry.op else {
            return;
        };
        let (at, value, store, out) = (entry.at, id.0, &mut self.store, &mut self.out);
        // What was never handed over, or has resolved already, is not heard twice.
        let Some(before) = store.send(value).copied().filter(|s| s.state == State::Pending) else { return };
        let part = partition.map(|p| store.part(before.topic, p));
        let Some(client) = store.client_mut(id.client()) else { return };
        let facts = client.facts(before.incarnation);
        let (acks, idempotent) = (facts.acks, facts.idempotent);
        let state = match outcome {
            Outcome::Ok if acks == Acks::None => State::Info,
            Outcome::Ok => State::Acknowledged,
            Outcome::Fail => State::Failed,
            Outcome::Info => State::Info,
        };
        match state {
            State::Acknowledged => self.summary.acknowledged += 1,
            State::Failed => self.summary.failed += 1,
            _ => self.summary.info += 1,
        }
        let mut producer = 0;
        if let Some(own) = producer_id.filter(|p| *p != ProducerId::NONE) {
            producer = client.producer(own);
            let identity = (before.incarnation, own);
            let last = client.identity.replace(identity);
            if last.is_some_and(|last| last.0 == identity.0 && last != identity) {
                client.renewed(at);
            }
        }
        // An idempotent producer that gives up on a send bumps its epoch, and what is in flight starts anew.
        if state == State::Info && idempotent {
            client.renewed(at);
        }
        if let Some(error) = error {
            client.errors.insert(id.index(), error.clone());
        }
        let Known::Sent(send) = client.get_mut(id.index()) else { return };
        send.state = state;
        send.completed = at;
        send.producer = producer;
        send.attempts = u16::try_from(*attempts).unwrap_or(u16::MAX);
        let read = send.is(READ);
        if let Some(part) = part.filter(|_| !read) {
            send.part = part;
        }
        let here = send.part;
        let offset = offset.map(|o| o.0).filter(|o| *o >= 0 && state == State::Acknowledged);
        let elsewhere = offset.filter(|o| read && *o != before.offset);
        match offset {
            Some(o) if elsewhere.is_none() => {
                send.offset = o;
                send.flags |= OFFSET_ACKED;
            }
            _ => {}
        }
        if let Some(part) = part.filter(|p| read && *p != here) {
            unknown_read::resolved_elsewhere(store, out, value, part, at);
        }
        if let Some(acked) = elsewhere {
            unknown_read::acknowledged_elsewhere(store, out, value, before.offset, acked, at);
        }
        if state == State::Failed && read {
            failed_write_visible::failed(store, out, value, at);
        }
        if here != NOWHERE {
            if before.part == NOWHERE {
                key_affinity::placed(store, &mut self.keys, out, value, at);
            }
            match offset {
                Some(o) => {
                    let p = &store.parts[here as usize];
                    if elsewhere.is_none() && o >= p.log_start {
                        let passed = !read && o < p.max_read;
                        inconsistent_offsets::acknowledged(store, out, value, here, o, at);
                        if passed {
                            lost_write::acknowledged(store, out, value, here, o, at);
                        }
                    }
                    realtime_order::acknowledged(store, out, value, here, o, before.invoked, at);
                }
                None if state == State::Acknowledged && !read => store.parts[here as usize].unplaced.push(value),
                None => {}
            }
            if offset.is_some() || read {
                nonmonotonic_send::placed(store, out, value, at);
            }
        }
        send_resolves::resolved(store, out, value, self.config.resolve_slack);
        out.resolved(store, value, at);
    }

    fn poll(&mut self, entry: &Entry, source: &TopicPartition, records: &[ReadRecord]) {
        let Op::Poll { isolation, .. } = entry.op else { return };
        if records.is_empty() {
            return;
        }
        self.summary.polls += 1;
        self.summary.reads += records.len() as u64;
        let part = self.store.source(source);
        if !self.groups.is_empty() {
            self.delivered(entry, part, isolation, records);
        }
        if self.views.follows(self.store.parts[part as usize].topic) {
            self.views.read(entry, part, records);
        }
        let kept = self.store.reader(entry.client, entry.incarnation, part);
        let mut reader = Reader { skipped: std::mem::take(&mut kept.skipped), ..kept.clone() };
        for (i, &record) in records.iter().enumerate() {
            let (at, client, incarnation) = (entry.at, entry.client, entry.incarnation);
            let read = Read { at, client, incarnation, part, isolation, record, within_poll: i > 0 };
            if reader.number == 0 {
                reader.number = self.store.reader_number(&read);
            }
            self.read(&read, &mut reader);
        }
        *self.store.reader(entry.client, entry.incarnation, part) = reader;
    }

    fn read(&mut self, read: &Read, reader: &mut Reader) {
        let (store, out) = (&mut self.store, &mut self.out);
        let (offset, value) = (read.offset(), read.value());
        let next = reader.last.wrapping_add(1);
        nonmonotonic_poll::check(store, out, read, reader);
        if reader.last != NONE && offset > next {
            let gap = store.parts[read.part as usize].kept_between(next, offset);
            if !gap.is_empty() {
                poll_skip::gap(store, out, read, reader, &gap);
                lost_write::gap(store, out, read, reader, &gap);
            }
        }
        // What was fetched just before its deletion is legal to read, and no longer remembered.
        if offset >= store.parts[read.part as usize].log_start {
            read_epoch_regression::check(store, out, read, reader);
            self.value(read);
            let (store, out) = (&mut self.store, &mut self.out);
            inconsistent_offsets::read(store, out, read, reader.number);
            next_offset_divergence::check(store, out, read, reader);
            // Its place in the producer's order, now that a witness can show the read.
            nonmonotonic_send::placed(store, out, value, read.at);
            let p = &mut store.parts[read.part as usize];
            p.max_read = p.max_read.max(offset);
            if !self.groups.open.is_empty() {
                self.met(read, reader);
            }
        }
        if reader.covered_from == NONE || offset < reader.covered_from {
            (reader.covered_from, reader.begun) = (offset, read.at);
        }
        (reader.last, reader.by_read, reader.at) = (offset, true, read.at);
        reader.epoch = read.record.leader_epoch.0;
    }

    /// What the value that is read says of its send.
    fn value(&mut self, read: &Read) {
        let (store, out) = (&mut self.store, &mut self.out);
        let (offset, value) = (read.offset(), read.value());
        let topic = store.parts[read.part as usize].topic;
        let send = match store.send_mut(value) {
            Known::Sent(send) => send,
            Known::Forgotten => return duplicate::at(store, out, read, None),
            Known::Unknown => return unknown_read::nobody(store, out, read),
        };
        if send.topic != topic || (send.part != NOWHERE && send.part != read.part) {
            let send = *send;
            return unknown_read::wrong_partition(store, out, read, &send);
        }
        let before = *send;
        let moved = before.offset >= 0 && before.offset != offset;
        send.part = read.part;
        if !moved {
            send.offset = offset;
            send.flags |= READ;
            send.flags &= !LOST;
        }
        if moved {
            self.moved(read, &before);
        }
        let (store, out) = (&mut self.store, &mut self.out);
        if before.is(LOST) {
            store.unmark(value, LOST);
            out.found_again(value);
        }
        if before.state == State::Failed {
            failed_write_visible::read(store, out, read);
        }
        if before.part == NOWHERE {
            key_affinity::placed(store, &mut self.keys, out, value, read.at);
        }
    }

    /// The value is known to be, or to have been, at another offset.
    #[cold]
    fn moved(&mut self, read: &Read, before: &Send) {
        let (store, out) = (&mut self.store, &mut self.out);
        let value = read.value();
        let slot = store.parts[read.part as usize].slots.get(read.offset());
        let again = slot.is_some_and(|s| s.flags & slots::READ != 0 && s.value == value);
        if again {
            // The other of two places that are known.
        } else if before.is(READ) {
            duplicate::at(store, out, read, Some(before.offset));
        } else {
            unknown_read::other_offset(store, out, read, before.offset);
        }
        // Where it was seen last is where it still stands, if anywhere.
        if let Known::Sent(send) = store.send_mut(value) {
            send.offset = read.offset();
            send.flags |= READ | MOVED;
            send.flags &= !OFFSET_ACKED;
        }
    }

    /// The numbers of partitions.
    fn sources(&mut self, list: &[TopicPartition]) -> Vec<u32> {
        list.iter().map(|source| self.store.source(source)).collect()
    }

    fn assigned(&mut self, entry: &Entry, generation: i32, partitions: &[TopicPartition]) {
        let parts = self.sources(partitions);
        self.groups.assigned(entry, generation, &parts);
        for part in parts {
            // Where reading goes on is the group's matter now.
            let reader = self.store.reader(entry.client, entry.incarnation, part);
            (reader.last, reader.by_read, reader.epoch) = (NONE, false, -1);
            (reader.at, reader.reason) = (entry.at, Some(PositionReason::Assigned));
        }
    }

    fn commit(&mut self, entry: &Entry) {
        let Op::Commit { commit, trigger, generation, offsets } = &entry.op else { return };
        let me = who(entry);
        for (source, offset) in offsets {
            let part = self.store.source(source);
            let candidate = Candidate {
                who: me,
                commit: *commit,
                trigger: *trigger,
                generation: *generation,
                offset: offset.0,
                invoked: entry.at,
                accepted: None,
                until: OPEN,
            };
            commit_too_far::commits(&self.store, &mut self.groups, &mut self.out, me, part, &candidate);
            commit_regression::commits(&self.store, &mut self.groups, &mut self.out, me, part, &candidate);
            self.groups.commit(me, part, candidate);
        }
    }

    /// Records of a partition were delivered; to a group's member, perhaps.
    fn delivered(&mut self, entry: &Entry, part: u32, isolation: IsolationLevel, records: &[ReadRecord]) {
        let (at, client, incarnation) = (entry.at, entry.client, entry.incarnation);
        let me = who(entry);
        if self.groups.member(me).is_none() {
            return;
        }
        let (store, groups, out) = (&self.store, &mut self.groups, &mut self.out);
        for (i, &record) in records.iter().enumerate() {
            let read = Read { at, client, incarnation, part, isolation, record, within_poll: i > 0 };
            if i == 0 {
                illegal_resume::polled(store, groups, out, &read);
            }
            clean_handover::polled(store, groups, out, &read);
        }
        let ends = (records.iter().map(|r| r.offset.0).min(), records.iter().map(|r| r.offset.0).max());
        if let (Some(first), Some(last)) = ends {
            groups.delivered(me, part, first, last, isolation);
        }
    }

    /// A record is read while gaps are watched.
    #[cold]
    fn met(&mut self, read: &Read, reader: &Reader) {
        let gone = self.store.parts[read.part as usize].gone.contains(&read.offset());
        for gap in self.groups.met(read.part, read.offset(), read.isolation).into_iter().filter(|_| !gone) {
            illegal_resume::fire(&self.store, &self.groups, &mut self.out, read.part, gap, read.offset(), read.value());
        }
        self.groups.passed(read.part, reader, read.offset(), read.isolation);
    }

    fn position(&mut self, entry: &Entry, source: &TopicPartition, offset: i64, reason: PositionReason) {
        let part = self.store.source(source);
        if !self.groups.is_empty() {
            let log_start = self.store.parts[part as usize].log_start;
            if !self.groups.position(entry, part, offset, reason, log_start) {
                return;
            }
        }
        let reader = self.store.reader(entry.client, entry.incarnation, part);
        reader.by_read = false;
        reader.epoch = -1;
        reader.at = entry.at;
        reader.reason = Some(reason);
        if offset < 0 {
            reader.last = NONE;
            return;
        }
        let covered = reader.covered_from != NONE
            && reader.last != NONE
            && (reader.covered_from..=reader.last.saturating_add(1)).contains(&offset);
        if !covered {
            (reader.covered_from, reader.begun) = (offset, entry.at);
        }
        reader.last = offset - 1;
        if !reader.skipped.is_empty() {
            // What it passed above the new position it will meet again.
            let mut skipped = std::mem::take(&mut reader.skipped);
            skipped.retain(|v| self.store.send(*v).is_some_and(|s| s.offset < offset));
            self.store.reader(entry.client, entry.incarnation, part).skipped = skipped;
        }
    }

    /// Retention or a request deleted everything below `offset`: what lay there leaves the judge's memory.
    pub fn log_start(&mut self, source: &TopicPartition, offset: Offset) {
        let part = self.store.source(source);
        self.store.trim(part, offset.0);
        self.groups.trim(part, offset.0);
    }

    /// A topic is compacted: the last value of each of its keys must stay.
    pub fn compacts(&mut self, topic: &Arc<str>) {
        let topic = self.store.topic(topic);
        self.views.compacts(topic);
    }

    /// Compaction took these offsets away, and was right to: a later value of their key stands, or their tombstone was
    /// due. Nobody need read them from now on.
    pub fn compacted(&mut self, source: &TopicPartition, offsets: &[Offset]) {
        let part = self.store.source(source);
        self.store.parts[part as usize].gone.extend(offsets.iter().map(|o| o.0));
        self.views.removed(part, offsets);
    }

    /// The topic's number of partitions changes: its keys may go elsewhere from now on.
    pub fn partitions_change(&mut self, topic: &Arc<str>) {
        let topic = self.store.topic(topic);
        self.keys.stop(topic);
    }

    /// How many sends and offsets are remembered: the size of the judge's memory.
    pub fn remembered(&self) -> usize {
        self.store.remembered()
    }

    /// How many findings there are so far, permitted or not.
    pub fn found(&self) -> usize {
        self.out.list.len()
    }

    /// The history ends at `at` (nanoseconds). Judges what only the end can tell, and what was permitted.
    pub fn finish(&mut self, at: u64, declared: &Declared) -> Verdicts {
        let (store, out) = (&mut self.store, &mut self.out);
        if !store.parts.is_empty() {
            send_resolves::end(store, out, at, self.config.resolve_slack);
        }
        skipped_record::end(store, &self.groups, out);
        self.services.end(store, &self.groups, out);
        self.views.amend(store);
        for end in self.views.finals.values() {
            compacted_value::end(store, out, end);
            read_model::end(store, out, &self.views, end);
        }
        out.close();
        let mut summary = std::mem::take(&mut self.summary);
        for client in store.clients() {
            for (_, send) in client.all() {
                let read = send.is(sends::READ);
                let acks0 = client.facts(send.incarnation).acks == Acks::None;
                summary.unresolved += u64::from(send.state == State::Pending);
                summary.info_read += u64::from(send.state == State::Info && read);
                summary.acks0_missing += u64::from(acks0 && send.state == State::Info && !read && self.final_reads > 0);
            }
        }
        summary.dropped = out.dropped;
        let mut findings = std::mem::take(&mut out.list);
        for facts in findings.iter_mut().map(|f| &mut f.facts).filter(|f| f.group.is_some()) {
            let altered = declared.offsets_altered(facts).next().is_some();
            facts.app.offsets_altered = altered;
        }
        // Whoever altered the offsets broke the handover: what follows is judged as a resume, which stands beside it.
        findings.retain(|f| f.check != "clean-handover" || !f.facts.app.offsets_altered);
        if declared.recorded && declared.configured.compaction {
            tell_superseded(store, &mut findings);
        }
        for finding in &mut findings {
            finding.permitted = permitted(&finding.check, &finding.facts, declared);
            let count = summary.checks.entry(finding.check.to_string()).or_default();
            match finding.permitted {
                Some(cause) => *count.permitted.entry(cause).or_default() += 1,
                None => count.violations += 1,
            }
        }
        Verdicts { findings, summary, armed: BTreeMap::new() }
    }
}

/// Where nobody knows what was compacted away: whether the value of a finding has a later one of its key in its place, or
/// deleted its key.
fn tell_superseded(store: &Store, findings: &mut [super::Finding]) {
    let mut latest: BTreeMap<(u32, u64), i64> = BTreeMap::new();
    for (_, send) in store.clients().flat_map(|c| c.all()).filter(|(_, s)| s.is(KEYED) && s.offset >= 0) {
        let last = latest.entry((send.part, send.key)).or_insert(send.offset);
        *last = send.offset.max(*last);
    }
    for finding in findings {
        let Some(send) = finding.values.first().and_then(|v| store.send(v.0)) else { continue };
        let at = finding.offset.map_or(send.offset, |o| o.0);
        let later = latest.get(&(send.part, send.key)).is_some_and(|last| *last > at);
        finding.facts.superseded = Some(send.is(KEYED) && (later || send.is(TOMBSTONE)));
    }
}

const _: () = assert!(slots::READ & slots::ACK == 0);
