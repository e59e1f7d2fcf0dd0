//! compaction-legal: what compaction leaves of a log.
//!
//! Read off the disk: the copy as it is written, the segments it replaces as they were appended. A record may go only if
//! a later record of its key stays that is below the end of what is committed (KAFKA-13194), or if it is a tombstone
//! whose delete horizon has passed (KIP-534) and nothing of its key stays before it. Everything else stays where it was.
//! The active segment is not touched.

use super::batch::{Head, heads};
use super::cluster::PartIx;
use super::contents::{Compaction, Content, Contents, Copy, Variant};
use super::finding::Ctx;
use super::records::{Rec, delete_horizon, records};
use super::replica::{Batch, Replica, ReplicaIx, Segment};
use super::{Check, Invariants};
use crate::des::EPOCH_MS;
use crate::event::HostId;
use klamm_model::disk::{DiskOp, Path};
use klamm_model::ids::*;
use std::collections::BTreeMap;

/// Clocks that agree do so up to this, milliseconds.
const CLOCK_MS: i64 = 2;

/// `dir/00000000000000000042.log` + suffix -> (`dir`, 42).
pub(super) fn copy_file<'a>(path: &'a Path, suffix: &str) -> Option<(&'a str, i64)> {
    let (dir, name) = path.as_str().rsplit_once('/')?;
    let digits = name.strip_suffix(suffix)?.strip_suffix(".log")?;
    (digits.len() == 20).then(|| digits.parse().ok().map(|base| (dir, base)))?
}

/// The records of a batch that a replica holds.
fn held<'a>(replica: &'a Replica, content: &'a Content, batch: &Batch) -> Vec<&'a Rec> {
    match replica.stored.get(&batch.base) {
        Some(0) => Vec::new(),
        Some(crc) => match content.variants.get(crc) {
            Some(variant) => content.records.iter().filter(|r| variant.kept.binary_search(&r.delta).is_ok()).collect(),
            None => content.records.iter().collect(),
        },
        None => content.records.iter().collect(),
    }
}

impl Invariants {
    /// Whether a partition's topic is compacted.
    pub(super) fn is_compacted(&self, ix: PartIx) -> bool {
        self.compacting && self.cluster.topic(&self.cluster.parts[ix.0].topic).compaction.is_some()
    }

    /// An append to a compacted partition was asked for: what it holds is remembered, and what the log holds by it, gaps
    /// and all, is what was there before compaction.
    pub(super) fn contents_appended(&mut self, rx: ReplicaIx, ix: PartIx, base: i64, data: &[u8]) {
        let part = &mut self.cluster.parts[ix.0];
        let contents = part.contents.get_or_insert_default();
        let replica = self.replicas.get_mut(rx);
        replica.compacted = true;
        for (head, bytes) in heads(data) {
            contents.note(&head, || records(bytes));
            let variant = contents.get(head.base.0, head.epoch.0).is_some_and(|c| c.variants.contains_key(&head.crc));
            if variant {
                replica.stored.insert(head.base.0, head.crc);
            } else {
                replica.stored.remove(&head.base.0);
            }
        }
        let ghost = &part.ghost;
        let committed = |b: &Batch| ghost.find(b.base).is_some_and(|g| g.same(b));
        replica.asked_instead(base, |expected, batches| contents.restore(expected, batches, committed));
        for batch in replica.in_flight(base).filter(|b| b.size == 0).map(|b| b.base).collect::<Vec<_>>() {
            replica.stored.insert(batch, 0);
        }
    }

    /// A disk operation on a copy was asked for.
    pub(super) fn copy_asked(&mut self, ctx: Ctx, host: HostId, op: &DiskOp) {
        match op {
            DiskOp::Write { file, data } | DiskOp::Append { file, data } => {
                let Some((dir, base)) = copy_file(file, ".cleaned") else { return };
                let Some(rx) = self.replicas.find(host, dir) else { return };
                let copies = &mut self.replicas.get_mut(rx).copies;
                if matches!(op, DiskOp::Write { .. }) {
                    copies.insert(base, Copy::default());
                }
                let Some(copy) = copies.get_mut(&base) else { return };
                copy.batches.extend(heads(data).map(|(head, bytes)| (head, records(bytes), delete_horizon(bytes))));
            }
            DiskOp::Rename { from, to } => {
                let (Some((dir, base)), Some(_)) = (copy_file(from, ".cleaned"), copy_file(to, ".swap")) else {
                    return;
                };
                let Some(rx) = self.replicas.find(host, dir) else { return };
                self.copy_counts(ctx, rx, base);
            }
            _ => {}
        }
    }

    /// A disk operation on a copy completed.
    pub(super) fn copy_done(&mut self, host: HostId, op: &DiskOp) {
        match op {
            DiskOp::Delete { path } => {
                let found = copy_file(path, ".swap").or_else(|| copy_file(path, ".cleaned"));
                let Some((dir, base)) = found else { return };
                if let Some(rx) = self.replicas.find(host, dir) {
                    self.replicas.get_mut(rx).drop_copy(base);
                }
            }
            DiskOp::Rename { from, .. } => {
                let Some((dir, base)) = copy_file(from, ".swap") else { return };
                if let Some(rx) = self.replicas.find(host, dir) {
                    self.replicas.get_mut(rx).copies.remove(&base);
                }
            }
            _ => {}
        }
    }

    /// A copy is complete, and counts from now on.
    fn copy_counts(&mut self, ctx: Ctx, rx: ReplicaIx, base: i64) {
        let Some(id) = self.replicas.get(rx).partition else { return };
        let ix = self.cluster.part(id);
        let topic = self.cluster.topic(&self.cluster.parts[ix.0].topic);
        let part = &mut self.cluster.parts[ix.0];
        let contents = part.contents.get_or_insert_default();
        let replica = self.replicas.get_mut(rx);
        let Some(mut copy) = replica.copies.remove(&base) else { return };
        self.armed.judged(Check::CompactionLegal);
        let mut wrong: Vec<(i64, String)> = Vec::new();
        let end = copy.batches.last().map_or(base, |(head, ..)| head.last.0 + 1);
        let range = replica.segments.iter().filter(|s| s.base >= base && (s.base < end || s.base == base));
        let before: Vec<Batch> = range.flat_map(|s| s.batches.iter().copied()).collect();
        let end = before.last().map_or(end, |b| b.next().max(end));
        if replica.segments.last().is_none_or(|s| s.base < end) {
            wrong.push((base, "the active segment is compacted".to_owned()));
        }
        let limit = part.ghost.end();
        if end > limit {
            wrong.push((limit, format!("it reaches up to {end}, but committed is only what lies below {limit}")));
        }
        // What is left: batches that were there, each with some of its records, in order.
        let mut left: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        let mut last = i64::MIN;
        for (head, recs, horizon) in &copy.batches {
            let at = head.base.0;
            let there = before.binary_search_by_key(&at, |b| b.base).ok().map(|n| before[n]).filter(|b| b.size > 0);
            let known = there.and_then(|b| contents.get_mut(b.base, b.epoch));
            let Some(known) = known.filter(|k| at > last && same_batch(&k.head, head)) else {
                wrong.push((at, format!("it holds a batch at offset {at} that was not there, or not so")));
                continue;
            };
            last = head.last.0;
            let had = held(replica, known, &Batch::of(&known.head));
            let recs = recs.as_deref().unwrap_or_default();
            let was = |r: &Rec| had.binary_search_by_key(&r.delta, |h| h.delta).is_ok_and(|n| had[n] == r);
            let stray = recs.iter().find(|r| !was(r));
            if let Some(stray) = stray {
                wrong.push((at + i64::from(stray.delta), "it holds a record that was not there, or not so".to_owned()));
            }
            let kept: Vec<u32> = recs.iter().map(|r| r.delta).collect();
            if head.crc != known.head.crc {
                known.variants.insert(head.crc, Variant { kept: kept.clone(), horizon: *horizon });
            }
            left.insert(at, kept);
        }
        // The first and last record of each key that stay, in all of this log that is committed.
        let mut stays: BTreeMap<u64, (i64, i64)> = BTreeMap::new();
        let mut note = |key: Option<u64>, at: i64| {
            if let Some(key) = key.filter(|_| at < limit) {
                let entry = stays.entry(key).or_insert((at, at));
                *entry = (entry.0.min(at), entry.1.max(at));
            }
        };
        let mut gone: Vec<(i64, Rec, Option<i64>)> = Vec::new();
        for batch in replica.segments.iter().flat_map(|s| s.batches.iter()) {
            let Some(known) = contents.get(batch.base, batch.epoch) else { continue };
            let here = batch.base >= base && batch.base < end;
            let horizon =
                replica.stored.get(&batch.base).and_then(|crc| known.variants.get(crc)).and_then(|v| v.horizon);
            for rec in held(replica, known, batch) {
                let at = batch.base + i64::from(rec.delta);
                if here && left.get(&batch.base).is_none_or(|kept| kept.binary_search(&rec.delta).is_err()) {
                    gone.push((at, *rec, horizon));
                } else {
                    note(rec.key, at);
                }
            }
        }
        // From the last one on: what a tombstone that may go has superseded goes with it.
        gone.sort_by_key(|(at, ..)| std::cmp::Reverse(*at));
        let wall = EPOCH_MS + (ctx.at.as_nanos() / 1_000_000) as i64;
        let rules = topic.compaction.unwrap_or_default();
        let mut expired: BTreeMap<u64, i64> = BTreeMap::new();
        let mut removed = Vec::new();
        for (at, rec, horizon) in gone {
            let Some(key) = rec.key else {
                removed.push(at);
                continue;
            };
            let young = self.clocks_agree && rules.min_lag_ms > 0 && rec.timestamp > wall + CLOCK_MS - rules.min_lag_ms;
            let superseded =
                stays.get(&key).is_some_and(|(_, last)| *last > at) || expired.get(&key).is_some_and(|t| *t > at);
            let due = rec.tombstone && horizon.is_some_and(|h| !self.clocks_agree || h <= wall + CLOCK_MS);
            let due = due && stays.get(&key).is_none_or(|(first, _)| *first > at);
            if young {
                wrong.push((at, format!("the record at offset {at} is younger than min.compaction.lag.ms")));
            } else if superseded {
                removed.push(at);
            } else if due {
                expired.insert(key, at);
                removed.push(at);
            } else if rec.tombstone {
                let why = match horizon {
                    None => "had no delete horizon".to_owned(),
                    Some(h) => format!(
                        "could go at {h} ms at the earliest, it is {wall} ms; or its key has an earlier value left"
                    ),
                };
                wrong.push((at, format!("the tombstone at offset {at} is gone, which {why}")));
            } else {
                wrong.push((
                    at,
                    format!("the record at offset {at} is gone, and no later one of its key that is committed stays"),
                ));
            }
        }
        if self.clocks_agree {
            for (head, recs, horizon) in &copy.batches {
                let newest = recs.iter().flatten().filter(|r| r.tombstone).map(|_| head.base.0).next();
                if let (Some(at), Some(h)) = (newest, *horizon)
                    && h > wall.saturating_add(rules.delete_retention_ms + CLOCK_MS)
                {
                    wrong.push((
                        at,
                        format!("tombstones shall stay until {h} ms, longer than delete.retention.ms from now"),
                    ));
                }
            }
        }
        // The log is what it was; only its bytes are others.
        let stored: BTreeMap<i64, (u32, u32)> =
            copy.batches.iter().map(|(head, ..)| (head.base.0, (head.size, head.crc))).collect();
        let mut segment = Segment::new(base);
        for batch in &before {
            let (size, crc) = stored.get(&batch.base).copied().unwrap_or((0, 0));
            replica.stored.insert(batch.base, crc);
            segment.push(Batch { size, ..*batch });
        }
        segment.all_durable();
        let first = replica.segments.partition_point(|s| s.base < base);
        let upto = replica.segments.partition_point(|s| s.base < end.max(base + 1));
        copy.before = Some(replica.segments.splice(first..upto, [segment]).collect());
        copy.end = end;
        replica.copies.insert(base, copy);
        let told = tell(contents, &before, &left, &removed);
        if !told.is_empty() {
            self.compactions.push(Compaction { partition: id, at: ctx.at, offsets: told });
        }
        let host = ctx.host;
        for (at, text) in wrong {
            let mut finding =
                ctx.finding(Check::CompactionLegal, format!("a compacted copy from offset {base} on: {text}"));
            finding.host = host;
            self.findings.report(finding.about(id).offset(Offset(at)));
        }
    }
}

/// Takes note of what may be missing from now on, and says what is new of it.
fn tell(contents: &mut Contents, before: &[Batch], left: &BTreeMap<i64, Vec<u32>>, removed: &[i64]) -> Vec<Offset> {
    let mut told = Vec::new();
    for &at in removed {
        let Some(batch) = before.partition_point(|b| b.base <= at).checked_sub(1).map(|n| before[n]) else { continue };
        let Some(known) = contents.get_mut(batch.base, batch.epoch) else { continue };
        let delta = (at - batch.base) as u32;
        if let Err(place) = known.removed.binary_search(&delta) {
            known.removed.insert(place, delta);
            told.push(Offset(at));
        }
    }
    for batch in before.iter().filter(|b| !left.contains_key(&b.base)) {
        if let Some(known) = contents.get_mut(batch.base, batch.epoch) {
            known.gone |= known.records.iter().all(|r| known.removed.binary_search(&r.delta).is_ok());
        }
    }
    told.sort();
    told
}

/// The same batch, but for its records, its times and what follows from them.
fn same_batch(a: &Head, b: &Head) -> bool {
    (a.base, a.last, a.epoch, a.control) == (b.base, b.last, b.epoch, b.control)
        && (a.producer, a.producer_epoch, a.base_sequence) == (b.producer, b.producer_epoch, b.base_sequence)
}
