//! Leads each operation past the oracles it concerns.

use super::armed::Armed;
use super::finding::Verdicts;
use super::groups::{Candidate, Groups, OPEN, who};
use super::key_affinity::Keys;
use super::list_offsets_regression::{self as list_offsets, Asked};
use super::report::{self, Findings, Piece};
use super::sends::{CHOSEN, KEYED, Known, MOVED, NOWHERE, OFFSET_ACKED, READ, Send, State, TOLD, TOMBSTONE};
use super::services::Services;
use super::slots::Seen;
use super::store::{NONE, Read, Reader, Store};
use super::summary::Summary;
use super::views::Views;
use super::{
    clean_handover, commit_regression, commit_too_far, compacted_value, double_effect, illegal_resume, read_model,
    skipped_record,
};
use super::{
    duplicate, failed_write_visible, inconsistent_offsets, key_affinity, lost_write, next_offset_divergence,
    nonmonotonic_poll, nonmonotonic_send, passes, places, poll_skip, read_epoch_regression, realtime_order,
    send_resolves, unknown_read,
};
use crate::permission::{Declared, permitted};
use klamm_model::checks::Check;
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
    armed: Armed,
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
            armed: Armed::default(),
            final_reads: 0,
        }
    }

    /// Takes the next operation.
    pub fn entry(&mut self, entry: &Entry) {
        self.store.tick += 1;
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
                let judged = list_offsets::answered(&self.store, &mut self.asked, &mut self.out, entry, part);
                self.armed.latest += u64::from(judged);
            }
            Op::FinalRead { source, from, to } => {
                self.final_reads += 1;
                let part = self.store.source(source);
                nonmonotonic_poll::final_read(&mut self.store, &mut self.out, entry, part, from.0);
                lost_write::final_read(&mut self.store, entry, part, from.0, to.0);
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
                let (groups, out) = (&mut self.groups, &mut self.out);
                let judged = double_effect::applied(&self.store, groups, out, entry, part, offset.0, *value);
                self.armed.effects += u64::from(judged);
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
        self.store.begins(entry.at, value.0);
    }

    fn sent(&mut self, entry: &Entry) {
        let Op::Sent { value: id, outcome, partition, offset, attempts, producer_id, error } = &entry.op else {
            return;
        };
        let (at, value, store) = (entry.at, id.0, &mut self.store);
        // What was never handed over, or has resolved already, is not heard twice.
        let Some(before) = store.send(value).copied().filter(|s| s.state == State::Pending) else { return };
        let told = partition.map(|p| store.part(before.topic, p));
        let Some(client) = store.client_mut(id.client()) else { return };
        let facts = client.facts(before.incarnation);
        let (acks, idempotent) = (facts.acks, facts.idempotent);
        self.armed.promised += u64::from(facts.resolves_within < u64::MAX);
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
        let own = producer_id.filter(|p| *p != ProducerId::NONE);
        let producer = own.map_or(0, |own| client.went_out_under(own, before.incarnation, at));
        if let Some(error) = error {
            client.errors.insert(id.index(), error.clone());
        }
        let part = told.unwrap_or(before.part);
        // An idempotent producer that gives up on a send that was under way closes the gap in its numbers with a new
        // epoch, and numbers anew what else is under way in that partition.
        let tried = state == State::Info || (state == State::Failed && *attempts > 0);
        if idempotent && tried && part != NOWHERE {
            client.gave_up(before.incarnation, part, at);
        }
        let offset = offset.map(|o| o.0).filter(|o| *o >= 0 && state == State::Acknowledged);
        let Known::Sent(send) = client.get_mut(id.index()) else { return };
        send.state = state;
        send.completed = at;
        send.producer = producer;
        send.attempts = u16::try_from(*attempts).unwrap_or(u16::MAX);
        send.part = part;
        send.flags |= if told.is_some() { TOLD } else { 0 };
        if let Some(offset) = offset {
            send.offset = offset;
            send.flags |= OFFSET_ACKED;
        } else if part != before.part {
            send.offset = -1;
        }
        let place = (send.part, send.offset);
        let moved = before.is(READ) && place != (before.part, before.offset);
        let misplaced = before.is(CHOSEN) && part != before.part;
        if moved || misplaced || before.is(MOVED) {
            send.flags |= MOVED;
            self.resolved_elsewhere(value, &before, place, moved, misplaced);
        }
        self.acknowledged(value, &before, part, offset, at);
        let (store, out) = (&mut self.store, &mut self.out);
        send_resolves::resolved(store, out, value, self.config.resolve_slack);
    }

    /// A send resolved to a place, and its value was seen, or sent, elsewhere.
    #[cold]
    fn resolved_elsewhere(&mut self, value: u64, before: &Send, place: places::Place, moved: bool, misplaced: bool) {
        let store = &mut self.store;
        if misplaced {
            store.places.misplaced(value, before.part);
        }
        if moved {
            self.is_at(value, before);
            self.store.unmark(value, READ);
        }
        let store = &mut self.store;
        if store.places.seen(value, place).is_some() {
            store.mark(value, READ);
        }
    }

    /// A value that is read at more than one place was read at the one that its send names.
    fn is_at(&mut self, value: u64, send: &Send) {
        let place = (send.part, send.offset);
        let unknown = Seen { at: send.invoked, epoch: -1, reader: 0 };
        let seen = self.store.seen(value, place).unwrap_or(unknown);
        self.store.places.add(value, place, seen);
    }

    /// What the place says at which a send was acknowledged.
    fn acknowledged(&mut self, value: u64, before: &Send, part: u32, offset: Option<i64>, at: u64) {
        let (store, out) = (&mut self.store, &mut self.out);
        if part == NOWHERE {
            return;
        }
        if store.send(value).is_some_and(|s| s.is(TOLD)) {
            self.armed.keys += u64::from(key_affinity::placed(store, &mut self.keys, out, value, part, at));
        }
        match offset {
            Some(offset) => {
                if offset >= store.parts[part as usize].log_start {
                    let known = inconsistent_offsets::acknowledged(store, value, part, offset, at);
                    self.armed.claims += u64::from(known);
                }
                let judged = realtime_order::acknowledged(store, value, part, offset, before.invoked, at);
                self.armed.realtime += u64::from(judged);
            }
            None if store.send(value).is_some_and(|s| s.state == State::Acknowledged) => {
                store.parts[part as usize].unplaced.push(value);
            }
            None => {}
        }
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
        let number = self.store.reader_number(entry.client, entry.incarnation, isolation);
        let kept = self.store.reader(entry.client, entry.incarnation, part);
        let mut reader = std::mem::replace(kept, Reader::new(entry.incarnation));
        reader.number = number;
        for (i, &record) in records.iter().enumerate() {
            let (at, client, incarnation) = (entry.at, entry.client, entry.incarnation);
            let read = Read { at, client, incarnation, part, isolation, record, within_poll: i > 0 };
            self.read(&read, &mut reader);
        }
        *self.store.reader(entry.client, entry.incarnation, part) = reader;
    }

    fn read(&mut self, read: &Read, reader: &mut Reader) {
        let (store, out) = (&mut self.store, &mut self.out);
        let (offset, tick) = (read.offset(), store.tick);
        self.armed.reads += 1;
        if reader.last != NONE {
            *if read.within_poll { &mut self.armed.within } else { &mut self.armed.between } += 1;
        }
        nonmonotonic_poll::check(store, out, read, reader);
        if reader.last != NONE && offset > reader.last && offset - 1 > reader.last {
            let p = &mut store.parts[read.part as usize];
            let from = (reader.last + 1).max(p.log_start);
            if from < offset && !passes::all_gone(p, from, offset) {
                p.passes.add(read, reader, from, tick);
            }
        }
        // What was fetched just before its deletion is legal to read, and no longer remembered.
        if offset >= store.parts[read.part as usize].log_start {
            store.parts[read.part as usize].passes.read(offset);
            self.value(read, reader.number);
            let store = &mut self.store;
            let known = store.parts[read.part as usize].slots.get(offset).is_some();
            self.armed.claims += u64::from(known);
            read_epoch_regression::read(store, read, reader.number);
            inconsistent_offsets::read(store, read, reader.number);
            self.armed.successors += u64::from(next_offset_divergence::next(store, read, reader));
            let p = &mut store.parts[read.part as usize];
            p.max_read = p.max_read.max(offset);
            p.leaderships.read(read.record.leader_epoch.0, offset);
            if !self.groups.open.is_empty() {
                self.met(read, reader);
            }
        }
        if reader.last == NONE && reader.reason.is_none() {
            reader.first = Some(*read);
        }
        reader.has_read(offset, read.at, read.record.leader_epoch.0);
    }

    /// What the value that is read says of its send.
    fn value(&mut self, read: &Read, reader: u16) {
        let (store, out) = (&mut self.store, &mut self.out);
        let (offset, value) = (read.offset(), read.value());
        let topic = store.parts[read.part as usize].topic;
        let send = match store.send_mut(value) {
            Known::Sent(send) => send,
            Known::Forgotten => {
                self.armed.known += 1;
                return duplicate::again(store, out, read);
            }
            Known::Unknown => return unknown_read::nobody(store, out, read),
        };
        self.armed.known += 1;
        let before = *send;
        let seen = Seen { at: read.at, epoch: read.record.leader_epoch.0, reader };
        let here = send.topic == topic && (send.part == NOWHERE || send.part == read.part);
        if here && (send.offset < 0 || send.offset == offset) {
            (send.part, send.offset) = (read.part, offset);
            send.flags |= READ;
        } else {
            send.flags |= MOVED;
            if before.is(READ) {
                self.is_at(value, &before);
            }
            self.store.places.add(value, (read.part, offset), seen);
        }
        // What was read here before it was sent was another value of this name.
        let strays = &mut self.store.parts[read.part as usize].strays;
        if !strays.is_empty() {
            strays.entry((offset, value)).and_modify(|since| *since = since.or(Some(seen)));
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
            reader.lose_position(entry.at, PositionReason::Assigned);
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
            let (store, groups, out, armed) = (&self.store, &mut self.groups, &mut self.out, &mut self.armed);
            armed.commits += u64::from(commit_too_far::commits(store, groups, out, me, part, &candidate));
            armed.auto_commits += u64::from(commit_regression::commits(store, groups, out, me, part, &candidate));
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
                self.armed.resumes += u64::from(illegal_resume::polled(store, groups, out, &read));
            }
            self.armed.handovers += u64::from(clean_handover::polled(store, groups, out, &read));
        }
        let ends = (records.iter().map(|r| r.offset.0).min(), records.iter().map(|r| r.offset.0).max());
        if let (Some(first), Some(last)) = ends {
            groups.delivered(me, part, first, last, isolation);
        }
    }

    /// A record is read while gaps are watched.
    #[cold]
    fn met(&mut self, read: &Read, reader: &Reader) {
        let gone = self.store.parts[read.part as usize].gone.contains_key(&read.offset());
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
        self.store.reader(entry.client, entry.incarnation, part).moved_to(offset, entry.at, reason);
    }

    /// Retention or a request deleted everything below `offset`: what lay there leaves the judge's memory.
    pub fn log_start(&mut self, source: &TopicPartition, offset: Offset) {
        let part = self.store.source(source);
        if offset.0 > self.store.parts[part as usize].log_start {
            self.settle(part, offset.0, false);
            self.store.trim(part, offset.0);
        }
        self.groups.trim(part, offset.0);
    }

    /// Judges what lies below an offset of a partition, of which nothing more will be heard; at the end of the
    /// history, everything.
    fn settle(&mut self, part: u32, below: i64, end: bool) {
        let (store, out) = (&mut self.store, &mut self.out);
        let floors = store.parts[part as usize].passes.floors();
        lost_write::settle(store, out, part, below, &floors, end);
        poll_skip::settle(store, out, part, below, &floors);
        next_offset_divergence::settle(store, out, part, below, &floors);
        read_epoch_regression::settle(store, out, part, below, end);
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
        self.store.tick += 1;
        let tick = self.store.tick;
        let gone = &mut self.store.parts[part as usize].gone;
        offsets.iter().for_each(|o| {
            gone.entry(o.0).or_insert(tick);
        });
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
        for part in 0..self.store.parts.len() as u32 {
            self.settle(part, i64::MAX, true);
        }
        let (store, out, armed) = (&mut self.store, &mut self.out, &mut self.armed);
        if !store.parts.is_empty() {
            send_resolves::end(store, out, at, self.config.resolve_slack);
        }
        places::end(store, out);
        realtime_order::end(store, out);
        armed.keys += key_affinity::end(store, &mut self.keys, out);
        (0..store.parts.len() as u32).for_each(|part| inconsistent_offsets::end(store, out, part));
        armed.end(Check::FailedWriteVisible, failed_write_visible::end(store, out));
        let [after, together] = nonmonotonic_send::end(store, out, declared);
        armed.end(Check::NonmonotonicSend, after);
        armed.end(Check::IntNonmonotonicSend, together);
        let (passed, unseen) = lost_write::armed(store);
        armed.end(Check::LostWrite, passed);
        armed.end(Check::Unseen, unseen);
        armed.end(Check::ReadEpochRegression, store.parts.iter().map(|p| p.epochs_read.saturating_sub(1)).sum());
        armed.end(Check::SkippedRecord, skipped_record::end(store, &self.groups, out));
        let [half_done, out_of_step] = self.services.end(store, &self.groups, out);
        armed.end(Check::HalfDone, half_done);
        armed.end(Check::OutOfStep, out_of_step);
        self.views.amend(store);
        for end in self.views.finals.values() {
            armed.end(Check::CompactedValue, compacted_value::end(store, out, end));
            armed.end(Check::ReadModel, read_model::end(store, out, &self.views, end));
        }
        out.close(store);
        let mut summary = std::mem::take(&mut self.summary);
        for client in store.clients() {
            for (index, send) in client.all() {
                let info = send.state == State::Info;
                let read = info && store.is_read(ValueId::new(client.id, index).0);
                let acks0 = client.facts(send.incarnation).acks == Acks::None;
                armed.promised += u64::from(
                    send.state == State::Pending && client.facts(send.incarnation).resolves_within < u64::MAX,
                );
                summary.unresolved += u64::from(send.state == State::Pending);
                summary.info_read += u64::from(read);
                summary.acks0_missing += u64::from(acks0 && info && !read && self.final_reads > 0);
            }
        }
        summary.dropped = out.dropped;
        let mut pieces = std::mem::take(&mut out.list);
        for facts in pieces.iter_mut().map(|p| &mut p.finding.facts).filter(|f| f.group.is_some()) {
            let altered = declared.offsets_altered(facts).next().is_some();
            facts.app.offsets_altered = altered;
        }
        // Whoever altered the offsets broke the handover: what follows is judged as a resume, which stands beside it.
        pieces.retain(|p| p.finding.check != Check::CleanHandover || !p.finding.facts.app.offsets_altered);
        // A key keeps its partition while the number of partitions is fixed.
        pieces.retain(|p| p.finding.check != Check::KeyAffinity || !declared.has_grown(&p.finding.facts));
        if declared.recorded && declared.configured.compaction {
            tell_superseded(store, &mut pieces);
        }
        for finding in pieces.iter_mut().map(|p| &mut p.finding) {
            finding.permitted = permitted(finding.check, &finding.facts, declared);
        }
        lost_write::leave_out_deleted(&mut pieces, declared);
        let findings = report::told(pieces);
        for finding in &findings {
            let count = summary.checks.entry(finding.check).or_default();
            match finding.permitted {
                Some(cause) => *count.permitted.entry(cause).or_default() += 1,
                None => count.violations += 1,
            }
        }
        Verdicts { findings, summary, armed: armed.by_check() }
    }
}

/// Where nobody knows what was compacted away: whether the value of a finding had a later one of its key in its place by
/// then, or deleted its key.
fn tell_superseded(store: &Store, pieces: &mut [Piece]) {
    // By partition and key: when the sends behind began, by their offsets.
    let mut all: BTreeMap<(u32, u64), Vec<(i64, u64)>> = BTreeMap::new();
    for (_, send) in store.clients().flat_map(|c| c.all()).filter(|(_, s)| s.is(KEYED) && s.offset >= 0) {
        all.entry((send.part, send.key)).or_default().push((send.offset, send.invoked));
    }
    // From each offset on, the earliest.
    for of_key in all.values_mut() {
        of_key.sort_unstable();
        for i in (1..of_key.len()).rev() {
            of_key[i - 1].1 = of_key[i - 1].1.min(of_key[i].1);
        }
    }
    for finding in pieces.iter_mut().map(|p| &mut p.finding) {
        let Some(send) = finding.values.first().and_then(|v| store.send(v.0)) else { continue };
        let at = finding.offset.map_or(send.offset, |o| o.0);
        let later = all.get(&(send.part, send.key)).is_some_and(|of_key| {
            let above = of_key.partition_point(|(offset, _)| *offset <= at);
            of_key.get(above).is_some_and(|(_, began)| *began <= finding.at)
        });
        finding.facts.superseded = Some(send.is(KEYED) && (later || send.is(TOMBSTONE)));
    }
}
