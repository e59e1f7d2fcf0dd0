//! None to three alterations of a legal execution: one that makes a named check fire, one that brings a cause about, and
//! something at random.

use super::causes::Cause::{self, *};
use super::dice::Dice;
use super::log::{FINAL, History, source};
use klamm_model::history::*;
use klamm_model::ids::*;
use klamm_workloads::permission::{Compacted, Expired, LeaderChange, LogStart, Loss, PartitionChange, Unclean};

/// Each check with each cause that may permit it; none: with nothing to permit it.
pub const THEMES: &[(&str, &[Cause])] = &[
    ("lost-write", &[A1, U, L, C, D]),
    ("unseen", &[A1, U, L, C, D]),
    ("failed-write-visible", &[U, L]),
    ("duplicate", &[ND, NI, U, L]),
    ("inconsistent-offsets", &[U, L, A1]),
    ("unknown-read", &[ND, NI, U, L]),
    ("nonmonotonic-send", &[ND5, NI, A1, U, L]),
    ("poll-skip", &[C, D, U, L]),
    ("int-poll-skip", &[C]),
    ("nonmonotonic-poll", &[U, L]),
    ("int-nonmonotonic-poll", &[]),
    ("realtime-order", &[A1, U, L]),
    ("next-offset-divergence", &[C, U, L]),
    ("read-epoch-regression", &[U, L]),
    ("list-offsets-regression", &[U, L]),
    ("key-affinity", &[]),
    ("send-resolves", &[]),
];

/// What an alteration was about: the send, its partition, the lowest offset.
struct Target {
    value: Option<ValueId>,
    source: TopicPartition,
    low: i64,
}

/// Each check alone, and with each of its causes.
pub fn themes() -> Vec<(&'static str, Option<Cause>)> {
    let with_causes = |(check, causes): &(&'static str, &[Cause])| {
        let check = *check;
        std::iter::once((check, None)).chain(causes.iter().map(move |c| (check, Some(*c)))).collect::<Vec<_>>()
    };
    THEMES.iter().flat_map(with_causes).collect()
}

/// Alters a history, towards an aim or at random.
pub fn alter(history: &mut History, dice: &mut Dice, aim: Option<(&'static str, Option<Cause>)>) {
    if let Some((check, cause)) = aim {
        let target = fire(check, history, dice);
        if let (Some(target), Some(cause)) = (target, cause) {
            bring_about(cause, check, &target, history, dice);
        }
    }
    let more = if aim.is_some() { usize::from(dice.chance(12)) } else { dice.below(4) };
    for _ in 0..more {
        at_random(history, dice);
    }
}

/// Every record of every poll: entry, place in the poll.
fn records(history: &History) -> Vec<(usize, usize)> {
    let polls = history.entries.iter().enumerate();
    polls
        .flat_map(|(i, e)| match &e.op {
            Op::Poll { records, .. } => (0..records.len()).map(|r| (i, r)).collect(),
            _ => Vec::new(),
        })
        .collect()
}

fn record(history: &mut History, at: (usize, usize)) -> (&mut ReadRecord, TopicPartition, u32) {
    let entry = &mut history.entries[at.0];
    let client = entry.client.0;
    match &mut entry.op {
        Op::Poll { records, source, .. } => (&mut records[at.1], source.clone(), client),
        other => unreachable!("{other:?} is no poll"),
    }
}

fn drop_record(history: &mut History, at: (usize, usize)) {
    if let Op::Poll { records, .. } = &mut history.entries[at.0].op {
        records.remove(at.1);
    }
}

/// Numbers of the entries that resolve sends, with value, outcome, partition, offset.
fn resolutions(history: &History) -> Vec<(usize, ValueId, Outcome, i32, Option<i64>)> {
    let all = history.entries.iter().enumerate();
    all.filter_map(|(i, e)| match &e.op {
        Op::Sent { value, outcome, partition, offset, .. } => {
            Some((i, *value, *outcome, partition.unwrap_or(0), offset.map(|o| o.0)))
        }
        _ => None,
    })
    .collect()
}

fn offset_acknowledged(history: &mut History, entry: usize) -> &mut Option<Offset> {
    match &mut history.entries[entry].op {
        Op::Sent { offset, .. } => offset,
        other => unreachable!("{other:?} resolves nothing"),
    }
}

/// A value leaves every poll.
fn vanish(history: &mut History, value: ValueId) {
    for entry in &mut history.entries {
        if let Op::Poll { records, .. } = &mut entry.op {
            records.retain(|r| r.value != value);
        }
    }
    history.entries.retain(|e| !matches!(&e.op, Op::Poll { records, .. } if records.is_empty()));
}

fn fire(check: &str, history: &mut History, dice: &mut Dice) -> Option<Target> {
    match check {
        "lost-write" | "unseen" => {
            let read = records(history);
            let mut acked: Vec<(ValueId, i32, i64)> = resolutions(history)
                .into_iter()
                .filter(|r| r.2 == Outcome::Ok)
                .filter_map(|(_, value, _, partition, offset)| Some((value, partition, offset?)))
                .collect();
            let last = |partition: i32, history: &mut History| {
                let on = |r: &(usize, usize)| record(&mut history.clone(), *r).1.partition == partition;
                let offsets = read.iter().filter(|r| on(r)).map(|r| record(&mut history.clone(), *r).0.offset.0);
                offsets.max().unwrap_or(-1)
            };
            let mut kept = Vec::new();
            for a in acked.drain(..) {
                let last = last(a.1, history);
                if (check == "unseen") == (a.2 >= last) {
                    kept.push(a);
                }
            }
            let (value, partition, low) = dice.pick(&kept)?;
            vanish(history, value);
            Some(Target { value: Some(value), source: source(partition as usize), low })
        }
        "failed-write-visible" => {
            let at = dice.pick(&records(history))?;
            let (r, source, _) = record(history, at);
            let (value, low) = (r.value, r.offset.0);
            for entry in &mut history.entries {
                if let Op::Sent { value: v, outcome, offset, .. } = &mut entry.op
                    && *v == value
                {
                    (*outcome, *offset) = (Outcome::Fail, None);
                }
            }
            Some(Target { value: Some(value), source, low })
        }
        "duplicate" => {
            let at = dice.pick(&records(history))?;
            let (r, source, _) = record(history, at);
            let copy = *r;
            // Another copy above everything, as the final reader or any other sees it.
            let polls: Vec<usize> =
                records(history).into_iter().filter(|r| record(history, *r).1 == source).map(|r| r.0).collect();
            let poll = dice.pick(&polls)?;
            if let Op::Poll { records, .. } = &mut history.entries[poll].op {
                let last = *records.last()?;
                records.push(ReadRecord { offset: last.offset.plus(1), leader_epoch: last.leader_epoch, ..copy });
            }
            Some(Target { value: Some(copy.value), source, low: copy.offset.0 })
        }
        "inconsistent-offsets" => {
            if dice.chance(50) {
                let at = dice.pick(&records(history))?;
                let (r, source, _) = record(history, at);
                let (low, old) = (r.offset.0, r.value);
                let acked = resolutions(history);
                let others: Vec<_> = acked.iter().filter(|a| a.1 != old && a.3 == source.partition).collect();
                let other = dice.pick(&others)?;
                let (entry, value) = (other.0, other.1);
                vanish(history, value);
                let entry = entry.min(history.entries.len() - 1);
                if matches!(history.entries[entry].op, Op::Sent { value: v, .. } if v == value) {
                    *offset_acknowledged(history, entry) = Some(Offset(low));
                }
                return Some(Target { value: Some(value), source, low });
            }
            let all = records(history);
            let (a, b) = (dice.pick(&all)?, dice.pick(&all)?);
            let (other, _, _) = record(history, b);
            let value = other.value;
            let (r, source, _) = record(history, a);
            r.value = value;
            let low = r.offset.0;
            Some(Target { value: Some(value), source, low })
        }
        "unknown-read" => {
            let acked: Vec<_> = resolutions(history).into_iter().filter(|r| r.4.is_some()).collect();
            match dice.below(10) {
                0 => {
                    let at = dice.pick(&records(history))?;
                    let (r, source, _) = record(history, at);
                    r.value = ValueId(r.value.0 + 77);
                    let low = r.offset.0;
                    Some(Target { value: None, source, low })
                }
                1 => {
                    let resolved = dice.pick(&resolutions(history))?;
                    if let Op::Sent { partition, .. } = &mut history.entries[resolved.0].op {
                        *partition = Some(1 - resolved.3.min(1));
                    }
                    None
                }
                _ => {
                    let (entry, value, _, partition, offset) = dice.pick(&acked)?;
                    let shift = 1 + dice.below(2) as i64;
                    let offset = offset?;
                    let moved = if dice.chance(70) { offset + shift } else { (offset - shift).max(0) };
                    *offset_acknowledged(history, entry) = Some(Offset(moved));
                    Some(Target { value: Some(value), source: source(partition as usize), low: offset.min(moved) })
                }
            }
        }
        "nonmonotonic-send" | "realtime-order" => {
            let all = resolutions(history);
            let mut candidates = Vec::new();
            for a in &all {
                for b in all.iter().filter(|b| b.1 > a.1 && b.1.client() == a.1.client() && b.3 == a.3) {
                    let begun = history
                        .entries
                        .iter()
                        .position(|e| matches!(&e.op, Op::Send { value, .. } if *value == b.1))?;
                    if check == "nonmonotonic-send" || (begun > a.0 && a.4.is_some() && b.4.is_some()) {
                        candidates.push((*a, *b));
                    }
                }
            }
            let (a, b) = dice.pick(&candidates)?;
            exchange(history, a.1, b.1);
            let places = records(history).into_iter().filter_map(|r| {
                let (r, _, _) = record(history, r);
                (r.value == a.1 || r.value == b.1).then_some(r.offset.0)
            });
            let low = places.chain(a.4).chain(b.4).min().unwrap_or(0);
            let value = if dice.chance(80) { a.1 } else { b.1 };
            Some(Target { value: Some(value), source: source(a.3 as usize), low })
        }
        "poll-skip" | "int-poll-skip" | "next-offset-divergence" => {
            let all = records(history);
            let inner: Vec<_> = all
                .iter()
                .copied()
                .filter(|r| {
                    let follows = all.contains(&(r.0, r.1 + 1));
                    (check == "int-poll-skip") == (r.1 > 0 && follows)
                })
                .collect();
            let at = dice.pick(if inner.is_empty() { &all } else { &inner })?;
            let (r, source, _) = record(history, at);
            let (value, low) = (r.value, r.offset.0);
            drop_record(history, at);
            Some(Target { value: Some(value), source, low })
        }
        "nonmonotonic-poll" | "int-nonmonotonic-poll" => {
            let all = records(history);
            let at = dice.pick(&all)?;
            let (r, source, client) = record(history, at);
            let copy = *r;
            if check == "int-nonmonotonic-poll" {
                if let Op::Poll { records, .. } = &mut history.entries[at.0].op {
                    records.push(copy);
                }
            } else {
                let mut entry = history.entries[at.0].clone();
                let later = (at.0 + 1..history.entries.len()).find(|i| history.entries[*i].client.0 == client);
                let place = later.unwrap_or(history.entries.len());
                entry.at = history.entries[place - 1].at;
                if let Op::Poll { records, .. } = &mut entry.op {
                    records.retain(|r| r.offset == copy.offset);
                }
                history.entries.insert(place, entry);
            }
            Some(Target { value: Some(copy.value), source, low: copy.offset.0 })
        }
        "read-epoch-regression" => {
            let at = dice.pick(&records(history))?;
            let (r, source, _) = record(history, at);
            r.leader_epoch.0 += 1 + dice.below(2) as i32;
            let low = r.offset.0;
            Some(Target { value: Some(r.value), source, low })
        }
        "list-offsets-regression" => {
            let client = 5 + dice.below(2) as u32;
            let isolation = IsolationLevel::ReadCommitted;
            let end = history.entries.last().map_or(0, |e| e.at);
            let place = source(0);
            let mut at = end;
            for (ask, offset) in [(900, 4 + dice.below(3) as i64), (901, 2 + dice.below(3) as i64)] {
                at += 1_000_000;
                let (client, incarnation) = (ClientId(client), Incarnation(1));
                history.entries.push(Entry { at, client, incarnation, op: Op::AskOffset { ask } });
                let op = Op::ListOffsets {
                    ask,
                    source: place.clone(),
                    topic_id: None,
                    isolation,
                    query: -1,
                    offset: Offset(offset),
                    leader_epoch: LeaderEpoch(8 + dice.below(2) as i32),
                };
                at += 1_000_000;
                history.entries.push(Entry { at, client, incarnation, op });
            }
            Some(Target { value: None, source: place, low: 2 })
        }
        "key-affinity" => {
            let mut chosen = 0;
            for entry in &mut history.entries {
                match &mut entry.op {
                    Op::Send { key, partition, .. } => (*key, *partition) = (Some(7), None),
                    Op::Sent { partition, .. } if chosen == 0 => {
                        chosen = 1;
                        *partition = Some(1 - partition.unwrap_or(0).min(1));
                    }
                    _ => {}
                }
            }
            if dice.chance(30)
                && let Some(entry) = dice.pick(&history.entries)
            {
                let change = PartitionChange { at: entry.at, topic: super::log::topic(), count: 2 };
                history.declared.partition_changes.push(change);
            }
            None
        }
        "send-resolves" => {
            let resolved = dice.pick(&resolutions(history))?;
            let late = 100_000_000_000 + dice.below(40) as u64 * 1_000_000_000;
            for entry in &mut history.entries[resolved.0..] {
                entry.at += late;
            }
            None
        }
        other => unreachable!("no alteration fires {other}"),
    }
}

/// Two values change places wherever they are read or acknowledged.
fn exchange(history: &mut History, a: ValueId, b: ValueId) {
    for entry in &mut history.entries {
        if let Op::Poll { records, .. } = &mut entry.op {
            for r in records {
                r.value = if r.value == a {
                    b
                } else if r.value == b {
                    a
                } else {
                    r.value
                };
            }
        }
    }
    let of = |v: ValueId, h: &History| resolutions(h).into_iter().find(|r| r.1 == v);
    if let (Some(x), Some(y)) = (of(a, history), of(b, history)) {
        let (ox, oy) = (x.4.map(Offset), y.4.map(Offset));
        *offset_acknowledged(history, x.0) = oy;
        *offset_acknowledged(history, y.0) = ox;
    }
}

fn life_of(history: &History, value: ValueId) -> Option<(ClientId, u64, u64)> {
    let sent = history.entries.iter().find(|e| matches!(&e.op, Op::Send { value: v, .. } if *v == value))?;
    let resolved = history.entries.iter().find(|e| matches!(&e.op, Op::Sent { value: v, .. } if *v == value));
    let end = history.entries.last().map_or(0, |e| e.at);
    Some((sent.client, sent.at, resolved.map_or(end, |e| e.at)))
}

fn settings(history: &mut History, client: ClientId, set: impl Fn(&mut ProducerFacts)) {
    for entry in history.entries.iter_mut().filter(|e| e.client == client) {
        match &mut entry.op {
            Op::Producer { facts } => set(facts),
            // An idempotent producer has an id.
            Op::Sent { producer_id, .. } if producer_id.is_none() => *producer_id = Some(ProducerId(60)),
            _ => {}
        }
    }
}

/// A moment that is mostly one at which the cause can have acted.
fn moment(history: &History, begun: u64, resolved: u64, dice: &mut Dice) -> u64 {
    match dice.below(10) {
        0 => begun.saturating_sub(1_000_000),
        1 => history.entries.last().map_or(0, |e| e.at),
        2 => dice.pick(&history.entries).map_or(0, |e| e.at),
        3..=5 => resolved,
        _ => begun,
    }
}

fn bring_about(cause: Cause, check: &str, target: &Target, history: &mut History, dice: &mut Dice) {
    let (client, begun, resolved) =
        target.value.and_then(|v| life_of(history, v)).unwrap_or((ClientId(1), 0, 1_000_000));
    let at = moment(history, begun, resolved, dice);
    let source = target.source.clone();
    let from = match dice.below(6) {
        0..=2 => None,
        3 => Some(Offset(target.low)),
        4 => Some(Offset((target.low - 1).max(0))),
        _ => Some(Offset(target.low + 1)),
    };
    let missing = matches!(check, "lost-write" | "unseen");
    match cause {
        A1 => {
            settings(history, client, |f| (f.acks, f.idempotent) = (Acks::Leader, false));
            let epoch = 1 + dice.below(2) as i32;
            if missing && dice.chance(85) {
                // What is read above what is missing is of the new leader.
                for at in records(history) {
                    let (r, on, reader) = record(history, at);
                    if on == source && r.offset.0 > target.low && reader <= FINAL {
                        r.leader_epoch.0 = r.leader_epoch.0.max(epoch);
                    }
                }
            }
            if dice.chance(30) && missing {
                let beyond_budget = dice.chance(20);
                history.declared.losses.push(Loss { at, source, from, beyond_budget });
                return;
            }
            let deposed_by = match dice.below(4) {
                0 => Some(begun.saturating_sub(1_000_000)),
                1 => Some(at),
                _ => None,
            };
            let change = LeaderChange { at, source, epoch: LeaderEpoch(epoch), deposed_by };
            history.declared.leader_changes.push(change);
        }
        U => history.declared.uncleans.push(Unclean { at, source, from }),
        L => {
            let beyond_budget = dice.chance(85);
            history.declared.losses.push(Loss { at, source, from, beyond_budget });
        }
        ND | ND5 => {
            let max_in_flight = if dice.chance(85) { 5 } else { 1 };
            settings(history, client, |f| {
                (f.idempotent, f.max_in_flight) = (false, max_in_flight);
            });
            for entry in &mut history.entries {
                if let Op::Sent { value, attempts, .. } = &mut entry.op
                    && Some(*value) == target.value
                {
                    *attempts = if dice.chance(85) { 2 } else { 1 };
                }
            }
        }
        NI => match dice.below(5) {
            0..=2 => {
                let producer_id = [None, Some(ProducerId(71)), Some(ProducerId(500))][dice.below(3)];
                history.declared.expiries.push(Expired { at, source, producer_id });
            }
            3 => {
                settings(history, client, |f| (f.idempotent, f.acks) = (true, Acks::All));
                for entry in history.entries.iter_mut().filter(|e| e.client == client && e.at >= resolved) {
                    if let Op::Sent { producer_id, .. } = &mut entry.op {
                        *producer_id = Some(ProducerId(500));
                    }
                }
            }
            _ => {
                settings(history, client, |f| (f.idempotent, f.acks) = (true, Acks::All));
                for entry in history.entries.iter_mut().filter(|e| e.client == client && e.at <= resolved) {
                    if let Op::Sent { value, outcome, offset, .. } = &mut entry.op
                        && Some(*value) != target.value
                    {
                        (*outcome, *offset) = (Outcome::Info, None);
                    }
                }
            }
        },
        C => {
            let at = if dice.chance(80) { begun } else { at };
            let removed = vec![Offset(target.low + i64::from(dice.chance(12)))];
            history.declared.compactions.push(Compacted { at, source, removed });
        }
        D => {
            let at = if dice.chance(80) { begun } else { at };
            let offset = Offset(target.low + i64::from(dice.chance(88)));
            history.declared.log_starts.push(LogStart { at, source: source.clone(), offset });
            if dice.chance(85) {
                // What is older went, too.
                for entry in &mut history.entries {
                    if let Op::Poll { source: on, records, .. } = &mut entry.op
                        && *on == source
                    {
                        records.retain(|r| r.offset.0 > target.low);
                    }
                }
                history.entries.retain(|e| !matches!(&e.op, Op::Poll { records, .. } if records.is_empty()));
            }
        }
    }
}

fn at_random(history: &mut History, dice: &mut Dice) {
    let all = records(history);
    match dice.below(9) {
        0 => {
            if let Some(at) = dice.pick(&all) {
                let (r, _, _) = record(history, at);
                r.offset.0 = (r.offset.0 + dice.below(3) as i64 - 1).max(0);
            }
        }
        1 => {
            if let (Some(a), Some(b)) = (dice.pick(&all), dice.pick(&all)) {
                let first = record(history, a).0.value;
                let second = std::mem::replace(&mut record(history, b).0.value, first);
                record(history, a).0.value = second;
            }
        }
        2 => {
            if let Some(resolved) = dice.pick(&resolutions(history))
                && let Op::Sent { outcome, offset, .. } = &mut history.entries[resolved.0].op
            {
                *outcome = [Outcome::Ok, Outcome::Info, Outcome::Fail][dice.below(3)];
                if *outcome != Outcome::Ok {
                    *offset = None;
                }
            }
        }
        3 => {
            if let Some(at) = dice.pick(&all) {
                drop_record(history, at);
            }
        }
        4 => {
            // The same operation a second time, unless it is one that happens once.
            let polls: Vec<usize> = all.iter().map(|r| r.0).collect();
            if let Some(i) = dice.pick(&polls) {
                let again = history.entries[i].clone();
                history.entries.insert(i + 1, again);
            }
        }
        5 => later(history, dice),
        6 => {
            let declared = &mut history.declared;
            declared.leader_changes.pop();
            declared.uncleans.pop();
            declared.log_starts.pop();
        }
        7 => {
            // A record is handed out by the poll before.
            let polls: Vec<usize> = all.iter().map(|r| r.0).collect();
            if let Some(i) = dice.pick(&polls)
                && let Op::Poll { records, .. } = &mut history.entries[i].op
            {
                records.rotate_left(1);
            }
        }
        _ => {
            let positions: Vec<usize> = history
                .entries
                .iter()
                .enumerate()
                .filter(|(_, e)| matches!(e.op, Op::Position { .. }))
                .map(|(i, _)| i)
                .collect();
            if let Some(i) = dice.pick(&positions) {
                history.entries.remove(i);
            }
        }
    }
}

/// An operation happens later than it did: a resolution, or a whole poll together with what its reader did next.
fn later(history: &mut History, dice: &mut Dice) {
    let movable: Vec<usize> = resolutions(history).into_iter().map(|r| r.0).collect();
    let Some(i) = dice.pick(&movable) else { return };
    let to = i + dice.below(history.entries.len() - i);
    let mut moved = history.entries.remove(i);
    moved.at = if to == 0 { moved.at } else { history.entries[to - 1].at.max(moved.at) };
    let next = history.entries.get(to).map_or(moved.at, |e| e.at);
    moved.at = moved.at.min(next);
    history.entries.insert(to, moved);
}
