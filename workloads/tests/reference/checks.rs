//! Each check, stated over all pairs. Small histories only: nothing here minds its cost.

use super::causes::{Case, Cause};
use super::laid::{Final, Jump, Laid, Last, Read, Send};
use super::verdict::{Said, Subject};
use klamm_model::history::{IsolationLevel, Outcome, TopicPartition};

/// How much longer than promised a send may take.
pub const SLACK: u64 = 1_000_000_000;

pub fn all(laid: &Laid<'_>) -> Said {
    let mut said = Said::default();
    for check in [
        missing,
        failed_write_visible,
        duplicate,
        inconsistent_offsets,
        unknown_read,
        nonmonotonic_send,
        poll_skip,
        nonmonotonic_poll,
        realtime_order,
        next_offset_divergence,
        read_epoch_regression,
        list_offsets_regression,
        key_affinity,
        send_resolves,
    ] {
        check(laid, &mut said);
    }
    said
}

fn case<'a>(laid: &'a Laid<'a>, source: &'a TopicPartition, at: u64, low: i64) -> Case<'a> {
    Case { laid, source, at, low: Some(low) }
}

/// How a record is absent where it was looked for.
#[derive(Clone, Copy, Default)]
struct Absence {
    /// Another value is in its place.
    displaced: bool,
    /// Nothing is in its place, between two records of one leadership.
    within: bool,
    /// A record below it was read on the way there, or later.
    older: bool,
}

/// What it says of an offset that a reader came past it.
fn passed(laid: &Laid<'_>, jump: &Jump, offset: i64) -> Absence {
    let came = &laid.reads[jump.came];
    let before = jump.before.map(|b| &laid.reads[b]);
    let later = laid.reads[jump.came..].iter().any(|r| r.source == came.source && r.offset < offset);
    Absence {
        displaced: false,
        within: before.is_some_and(|b| b.epoch >= 0 && b.epoch == came.epoch),
        older: before.is_some() || later,
    }
}

/// lost-write: acknowledged at an offset and read by no reader anywhere, although a reader came past the offset, or got
/// another value there and something above was read.
/// unseen: acknowledged, and a final read that had to meet it did not, nor did another final read: what its reader did
/// last at the offset counts.
/// What was read at another place than it was acknowledged is unknown-read, and neither of the two. What some reader got
/// and deletion took later is no loss.
fn missing(laid: &Laid<'_>, said: &mut Said) {
    let jumps = laid.steps();
    for send in laid.sends.iter().filter(|s| s.outcome() == Some(Outcome::Ok)) {
        // What was acknowledged on another partition than the application chose is owed there.
        let Some((topic, partition)) = lies_in(send) else { continue };
        let source = TopicPartition { topic, partition };
        let acknowledged = send.acknowledged_at().map(|a| a.1);
        let elsewhere = send.partition().is_some_and(|chosen| chosen != source);
        let read: Vec<_> = match elsewhere {
            true => laid
                .reads
                .iter()
                .filter(|r| r.value == send.value && r.source == source && send.invoked < r.when)
                .collect(),
            false => laid.reads_of(send.value).collect(),
        };
        let astray = read.is_empty() && laid.seen(send);
        if astray || (acknowledged.is_some() && laid.standing_ack(send).is_none()) {
            continue;
        }
        // What was seen before the send began says nothing of it: it may lie where a log was that has been cut since.
        let began = send.invoked.at;
        if let (Some(offset), true) = (acknowledged, read.is_empty()) {
            let subject = || Subject::new("lost-write", &source).value(send.value);
            for jump in jumps.iter().filter(|j| laid.reads[j.came].when.at >= began) {
                let came = &laid.reads[jump.came];
                if came.source == source && jump.due <= offset && offset < came.offset {
                    let case = case(laid, &source, came.when.at, offset);
                    said.add(subject(), gone(laid, send, &case, passed(laid, jump, offset)));
                }
            }
            let on = laid.reads.iter().filter(|r| r.source == source);
            if on.clone().any(|r| r.offset > offset) {
                let other = |r: &&Read| r.offset == offset && r.value != send.value && r.when.at >= began;
                let others: Vec<_> = on.filter(other).collect();
                // Where the record was while its send was open is not known: of the reads of that time the last counts.
                let ended = send.resolved.as_ref().map_or(u64::MAX, |r| r.when.at);
                let open = others.iter().map(|r| r.when.at).filter(|at| *at <= ended).max();
                for other in others.iter().filter(|r| r.when.at > ended || Some(r.when.at) == open) {
                    let case = case(laid, &source, other.when.at, offset);
                    said.add(subject(), gone(laid, send, &case, Absence { displaced: true, ..Absence::default() }));
                }
            }
        }
        let finals: Vec<_> = laid.finals.iter().filter(|f| f.source == source).collect();
        let met = |life| {
            let mut own = read.iter().filter(|r| r.life == life);
            own.any(|r| laid.last_at(life, &source, r.offset) == Last::Got(send.value))
        };
        if finals.iter().any(|f| met(f.life)) {
            continue;
        }
        // Where it must lie.
        let mut places: Vec<Option<i64>> =
            acknowledged.into_iter().chain(read.iter().map(|r| r.offset)).map(Some).collect();
        if places.is_empty() {
            places.push(None);
        }
        for end in finals.into_iter().filter(|end| end.when.at >= began) {
            let acknowledged_before = send.resolved.as_ref().is_some_and(|r| r.when.at < end.begun.at);
            for place in &places {
                if place.is_none_or(|o| o >= end.to) && !acknowledged_before {
                    continue;
                }
                let case = Case { laid, source: &source, at: end.when.at, low: *place };
                let causes =
                    gone(laid, send, &case, place.map_or(Absence::default(), |o| left_out(laid, end, send, o)));
                if read.is_empty() || !causes.contains(&Cause::D) {
                    said.add(Subject::new("unseen", &source).value(send.value), causes);
                }
            }
        }
    }
}

/// How a final read is without a record that must lie at an offset.
fn left_out(laid: &Laid<'_>, end: &Final, send: &Send, offset: i64) -> Absence {
    let last = laid.last_at(end.life, &end.source, offset);
    let older = laid.reads.iter().any(|r| {
        let later = r.when > end.when || (r.life == end.life && r.when >= end.stretch);
        r.source == end.source && later && r.offset < offset
    });
    let within = matches!(&last, Last::Passed(jump) if passed(laid, jump, offset).within);
    Absence { displaced: matches!(last, Last::Got(value) if value != send.value), within, older }
}

/// What permits that an acknowledged record is missing.
fn gone(laid: &Laid<'_>, send: &Send, case: &Case<'_>, absence: Absence) -> Vec<Cause> {
    let begun = send.invoked.at;
    let above = |r: &&Read| r.source == *case.source && case.low.is_some_and(|low| r.offset > low);
    let survivors: Vec<i32> = laid.reads.iter().filter(above).map(|r| r.epoch).filter(|e| *e >= 0).collect();
    // What takes a suffix of a leadership leaves no hole in it; what takes a prefix, or one record, leaves its place empty.
    let within = absence.within;
    case.among(&[
        (Cause::A1, !within && case.one_ack(send, &survivors)),
        (Cause::U, !within && case.unclean(begun)),
        (Cause::L, if within { case.damage(begun) } else { case.loss(begun) }),
        (Cause::C, !absence.displaced && case.compaction()),
        (Cause::D, !absence.displaced && case.deletion(absence.older)),
    ])
}

/// Some reader read a value whose send failed.
fn failed_write_visible(laid: &Laid<'_>, said: &mut Said) {
    for send in laid.sends.iter().filter(|s| s.outcome() == Some(Outcome::Fail)) {
        for read in laid.reads.iter().filter(|r| r.value == send.value && r.when > send.invoked) {
            let resolved = send.resolved.as_ref().map_or(0, |r| r.when.at);
            let case = case(laid, &read.source, read.when.at.max(resolved), read.offset);
            let causes =
                case.among(&[(Cause::U, case.unclean(send.invoked.at)), (Cause::L, case.loss(send.invoked.at))]);
            said.add(Subject::new("failed-write-visible", &read.source).value(send.value), causes);
        }
    }
}

/// A value was read at two offsets of a partition.
fn duplicate(laid: &Laid<'_>, said: &mut Said) {
    for send in &laid.sends {
        for (a, b) in pairs(&laid.reads_of(send.value).collect::<Vec<_>>()) {
            if a.source != b.source || a.offset == b.offset {
                continue;
            }
            let case = case(laid, &a.source, a.when.at.max(b.when.at), a.offset.min(b.offset));
            let causes = twice(&case, send);
            said.add(Subject::new("duplicate", &a.source).value(send.value), causes);
        }
    }
}

/// What permits that a send has two copies, or one elsewhere than it was acknowledged.
fn twice(case: &Case<'_>, send: &Send) -> Vec<Cause> {
    case.among(&[
        (Cause::ND, case.ambiguous(send)),
        (Cause::NI, case.sent_anew(send)),
        (Cause::U, case.unclean(send.invoked.at)),
        (Cause::L, case.loss(send.invoked.at)),
    ])
}

/// Two values at one offset of a partition, by reading or by acknowledgement.
fn inconsistent_offsets(laid: &Laid<'_>, said: &mut Said) {
    // (partition, offset, value, moment, by acknowledgement)
    let mut sightings = Vec::new();
    for read in &laid.reads {
        sightings.push((read.source.clone(), read.offset, read.value, read.when, false));
    }
    for send in &laid.sends {
        if let (Some((source, offset)), Some(resolved)) = (laid.standing_ack(send), &send.resolved) {
            sightings.push((source, offset, send.value, resolved.when, true));
        }
    }
    for (a, b) in pairs(&sightings.iter().collect::<Vec<_>>()) {
        if a.0 != b.0 || a.1 != b.1 || a.2 == b.2 {
            continue;
        }
        let sends: Vec<&Send> = [a.2, b.2].iter().filter_map(|v| laid.send(*v)).collect();
        let begun = sends.iter().map(|s| s.invoked.at).min().unwrap_or(0);
        let case = case(laid, &a.0, a.3.at.max(b.3.at), a.1);
        let one_ack = [a, b].iter().any(|s| s.4 && laid.send(s.2).is_some_and(|send| case.one_ack(send, &[])));
        let causes = case.among(&[(Cause::U, case.unclean(begun)), (Cause::L, case.loss(begun)), (Cause::A1, one_ack)]);
        said.add(Subject::new("inconsistent-offsets", &a.0).offset(a.1), causes);
    }
}

/// A value that nothing had sent when it was read, or in another topic or partition than it was sent to, or elsewhere than
/// it was acknowledged.
fn unknown_read(laid: &Laid<'_>, said: &mut Said) {
    for read in &laid.reads {
        let subject = Subject::new("unknown-read", &read.source).value(read.value);
        let Some(send) = laid.send(read.value).filter(|_| !laid.is_unknown(read)) else {
            said.add(subject, Vec::new());
            continue;
        };
        // Acknowledged on another partition than the application chose, and read where it chose.
        if send.acknowledged_at().is_some_and(|(source, _)| source != read.source) {
            said.add(subject, Vec::new());
            continue;
        }
        // Read at its acknowledged offset and at another, it is a duplicate.
        if let (Some((_, offset)), Some(resolved), None) =
            (send.acknowledged_at(), &send.resolved, laid.standing_ack(send))
        {
            let case = case(laid, &read.source, read.when.at.max(resolved.when.at), offset.min(read.offset));
            said.add(subject, twice(&case, send));
        }
    }
}

/// Of two sends of one life to one partition, the later lies lower. It is about the highest of those before it that nothing
/// excuses, or, if each is excused, about the highest: that is the one that is out of place for all that follow.
fn nonmonotonic_send(laid: &Laid<'_>, said: &mut Said) {
    // What failed, or was given up without idempotence, is held to no order.
    let held = |s: &&Send| match s.outcome() {
        Some(Outcome::Ok) => true,
        Some(Outcome::Fail) => false,
        _ => s.facts.idempotent,
    };
    for later in laid.sends.iter().filter(held) {
        for source in sources(laid).into_iter().filter(|s| s.topic == later.topic) {
            let Some((low, seen_low)) = laid.place(later, &source) else { continue };
            // Place and value of the earlier ones, and what excuses each.
            let mut broken = Vec::new();
            let before = |s: &&Send| s.life == later.life && s.topic == later.topic && s.invoked < later.invoked;
            for earlier in laid.sends.iter().filter(held).filter(before) {
                let Some((high, seen_high)) = laid.place(earlier, &source).filter(|p| p.0 > low) else { continue };
                let begun = earlier.invoked.at;
                let case = case(laid, &source, seen_high.at.max(seen_low.at), low);
                let several = earlier.facts.max_in_flight > 1;
                let causes = case.among(&[
                    (Cause::ND5, several && case.ambiguous(earlier)),
                    (Cause::NI, case.new_identity(earlier)),
                    (Cause::A1, case.one_ack(earlier, &[]) || case.one_ack(later, &[])),
                    (Cause::U, case.unclean(begun)),
                    (Cause::L, case.loss(begun)),
                ]);
                broken.push((high, earlier.value, causes));
            }
            let excused = broken.iter().all(|b| !b.2.is_empty());
            broken.retain(|b| excused || b.2.is_empty());
            let Some(highest) = broken.iter().map(|b| (b.0, b.1)).max() else { continue };
            for (.., causes) in broken {
                said.add(Subject::new("nonmonotonic-send", &source).value(highest.1), causes);
            }
        }
    }
}

/// A reader jumped over an offset that some reader read.
fn poll_skip(laid: &Laid<'_>, said: &mut Said) {
    for jump in &laid.steps() {
        let came = &laid.reads[jump.came];
        let skipped = laid.reads.iter().filter(|r| {
            // What only read_uncommitted readers got may be aborted data, which other readers are to skip.
            let visible = r.isolation == IsolationLevel::ReadCommitted || r.isolation == came.isolation;
            r.source == came.source && jump.due <= r.offset && r.offset < came.offset && visible
        });
        for read in skipped {
            let within = jump.before.is_some_and(|b| laid.reads[b].when == came.when);
            let case = case(laid, &came.source, came.when.at, read.offset);
            let begun = laid.send(read.value).map_or(0, |s| s.invoked.at);
            let (check, causes) = if within {
                ("int-poll-skip", case.among(&[(Cause::C, case.compaction())]))
            } else {
                let older = passed(laid, jump, read.offset).older;
                (
                    "poll-skip",
                    case.among(&[
                        (Cause::C, case.compaction()),
                        (Cause::D, case.deletion(older)),
                        (Cause::U, case.unclean(begun)),
                        (Cause::L, case.loss(begun)),
                    ]),
                )
            };
            said.add(Subject::new(check, &came.source).reader(came.life.0.0).offset(read.offset), causes);
        }
    }
}

/// Within a stretch, a record lies at or below the one before it.
fn nonmonotonic_poll(laid: &Laid<'_>, said: &mut Said) {
    for stretch in &laid.stretches {
        for pair in stretch.reads.windows(2) {
            let (before, came) = (&laid.reads[pair[0]], &laid.reads[pair[1]]);
            if came.offset > before.offset {
                continue;
            }
            let subject = |check| Subject::new(check, &came.source).reader(came.life.0.0).offset(came.offset);
            if before.when == came.when {
                said.add(subject("int-nonmonotonic-poll"), Vec::new());
            } else {
                let case = case(laid, &came.source, came.when.at, came.offset);
                let causes = case.among(&[(Cause::U, case.unclean(0)), (Cause::L, case.loss(0))]);
                said.add(subject("nonmonotonic-poll"), causes);
            }
        }
        if let (Some((offset, _)), Some(first)) = (stretch.start, stretch.reads.first())
            && laid.reads[*first].offset < offset
        {
            let came = &laid.reads[*first];
            let case = case(laid, &came.source, came.when.at, came.offset);
            let causes = case.among(&[(Cause::U, case.unclean(0)), (Cause::L, case.loss(0))]);
            said.add(Subject::new("nonmonotonic-poll", &came.source).reader(came.life.0.0).offset(came.offset), causes);
        }
    }
}

/// An acknowledged send lies below an offset that was acknowledged before it began.
fn realtime_order(laid: &Laid<'_>, said: &mut Said) {
    for first in &laid.sends {
        for second in &laid.sends {
            let (Some(a), Some(b)) = (laid.standing_ack(first), laid.standing_ack(second)) else { continue };
            let (Some(resolved), Some(end)) = (&first.resolved, &second.resolved) else { continue };
            if a.0 != b.0 || resolved.when.at >= second.invoked.at || b.1 >= a.1 {
                continue;
            }
            let case = case(laid, &a.0, end.when.at, b.1);
            let causes = case.among(&[
                (Cause::A1, case.one_ack(first, &[]) || case.one_ack(second, &[])),
                (Cause::U, case.unclean(first.invoked.at)),
                (Cause::L, case.loss(first.invoked.at)),
            ]);
            said.add(Subject::new("realtime-order", &a.0).value(second.value), causes);
        }
    }
}

/// Two readers of one isolation level see different successors of an offset; one that reads it twice counts as two. It is
/// about the lower successor, which the other has not.
fn next_offset_divergence(laid: &Laid<'_>, said: &mut Said) {
    let mut steps = Vec::new();
    for stretch in &laid.stretches {
        for pair in stretch.reads.windows(2) {
            let (a, b) = (&laid.reads[pair[0]], &laid.reads[pair[1]]);
            if a.offset < b.offset {
                steps.push((a, b));
            }
        }
    }
    for ((a, near), (b, far)) in pairs(&steps) {
        let (near, far) = if near.offset <= far.offset { (near, far) } else { (far, near) };
        let same = a.source == b.source && a.offset == b.offset && a.isolation == b.isolation;
        if !same || near.offset == far.offset {
            continue;
        }
        let case = case(laid, &a.source, far.when.at, near.offset);
        let begun = laid.send(near.value).map_or(0, |s| s.invoked.at);
        let causes =
            case.among(&[(Cause::C, case.compaction()), (Cause::U, case.unclean(begun)), (Cause::L, case.loss(begun))]);
        said.add(Subject::new("next-offset-divergence", &a.source).offset(near.offset), causes);
    }
}

/// A record has a lower leader epoch than a record below it.
fn read_epoch_regression(laid: &Laid<'_>, said: &mut Said) {
    for low in &laid.reads {
        for high in laid.reads.iter().filter(|r| r.source == low.source && r.offset > low.offset) {
            if high.epoch < 0 || low.epoch <= high.epoch {
                continue;
            }
            let case = case(laid, &low.source, low.when.at.max(high.when.at), low.offset);
            let causes = case.among(&[(Cause::U, case.unclean(0)), (Cause::L, case.loss(0))]);
            said.add(Subject::new("read-epoch-regression", &low.source), causes);
        }
    }
}

/// Of two *latest* answers, the one asked for after the other had come is lower, at a leader epoch not lower.
fn list_offsets_regression(laid: &Laid<'_>, said: &mut Said) {
    for first in laid.answers.iter().filter(|a| a.query == -1) {
        for second in laid.answers.iter().filter(|a| a.query == -1 && a.asked.at > first.when.at) {
            let same = first.source == second.source
                && first.topic_id == second.topic_id
                && first.isolation == second.isolation;
            if !same || second.epoch < first.epoch || second.offset >= first.offset {
                continue;
            }
            let case = case(laid, &first.source, second.when.at, second.offset);
            let causes = case.among(&[(Cause::U, case.unclean(0)), (Cause::L, case.loss(0))]);
            let subject = Subject::new("list-offsets-regression", &first.source);
            said.add(subject.reader(second.client.0).offset(second.offset), causes);
        }
    }
}

/// Two sends with one key, whose partition was left to the producer, lie in two partitions.
fn key_affinity(laid: &Laid<'_>, said: &mut Said) {
    // The partition of a send, and since when it is known.
    let lies = |send: &Send| {
        let resolved = send.resolved.as_ref().and_then(|r| Some((r.partition?, r.when.at)));
        resolved.or(laid.reads_of(send.value).next().map(|r| (r.source.partition, r.when.at)))
    };
    // While a topic gets more partitions, each producer learns of it at a time of its own.
    let grown = |topic: &str, at: u64| {
        laid.declared.partition_changes.iter().any(|change| *change.topic == *topic && change.at <= at)
    };
    for (a, b) in pairs(&laid.sends.iter().filter(|s| s.chosen.is_none() && s.key.is_some()).collect::<Vec<_>>()) {
        let (Some(one), Some(other)) = (lies(a), lies(b)) else { continue };
        if a.topic == b.topic && a.key == b.key && one.0 != other.0 && !grown(&a.topic, one.1.max(other.1)) {
            let source = TopicPartition { topic: a.topic.clone(), partition: 0 };
            said.add(Subject::new("key-affinity", &source), Vec::new());
        }
    }
}

/// A send took longer than its producer promises. Without idempotence and with several requests in flight, Kafka itself
/// gives up batches of a partition that wait to be sent again only together with the one that came to stand before them:
/// what was under way, and resolves at one moment with a later send of its partition that was in time, is excused. When a client died that came up anew is not
/// known: what it had open is not judged.
fn send_resolves(laid: &Laid<'_>, said: &mut Said) {
    for send in laid.sends.iter().filter(|s| s.facts_known) {
        let replaced = laid.lives.iter().any(|(l, _)| l.0 == send.life.0 && l.1 > send.life.1);
        if send.resolved.is_none() && replaced {
            continue;
        }
        let until = send.resolved.as_ref().map_or(laid.end, |r| r.when.at);
        let due = send.invoked.at.saturating_add(send.facts.resolves_within).saturating_add(SLACK);
        let behind = |other: &Send| {
            let Some((own, its)) = send.resolved.as_ref().zip(other.resolved.as_ref()) else { return false };
            let same = send.value.client() == other.value.client() && lies_in(send) == lies_in(other);
            let in_time = its.when.at <= other.invoked.at.saturating_add(other.facts.resolves_within + SLACK);
            let reorders = |s: &Send, attempts| !s.facts.idempotent && s.facts.max_in_flight > 1 && attempts > 0;
            same && other.value.index() > send.value.index()
                && own.when.at == its.when.at
                && in_time
                && reorders(send, own.attempts)
                && reorders(other, its.attempts)
        };
        if until > due && !laid.sends.iter().any(behind) {
            let source = TopicPartition { topic: send.topic.clone(), partition: 0 };
            said.add(Subject::new("send-resolves", &source).value(send.value), Vec::new());
        }
    }
}

/// The partition that a send resolved to, or was chosen for.
fn lies_in(send: &Send) -> Option<(std::sync::Arc<str>, i32)> {
    let partition = send.resolved.as_ref().and_then(|r| r.partition).or(send.chosen)?;
    Some((send.topic.clone(), partition))
}

fn sources(laid: &Laid<'_>) -> Vec<TopicPartition> {
    let acknowledged = laid.sends.iter().filter_map(|s| s.acknowledged_at()).map(|a| a.0);
    let mut all: Vec<TopicPartition> = laid.reads.iter().map(|r| r.source.clone()).chain(acknowledged).collect();
    all.sort();
    all.dedup();
    all
}

/// All pairs of a list, each once.
fn pairs<T: Copy>(list: &[T]) -> Vec<(T, T)> {
    (0..list.len()).flat_map(|i| (i + 1..list.len()).map(move |j| (list[i], list[j]))).collect()
}
