//! Every shape that Kafka's own cleaner, crashes and preallocation leave a log in: what is there is read, from everywhere.

use super::*;
use crate::record::{EndTxnMarker, control_batch};
use proptest::prelude::*;

/// What became of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Whole,
    /// Some of its records are gone.
    Thinned,
    /// No record is left, only what the header says of its producer.
    Emptied,
    Gone,
}

/// What became of an index's file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum IndexFile {
    Right,
    Missing,
    /// Made longer beforehand, as for an active segment.
    Preallocated,
    /// Cut in the middle of an entry.
    Cut,
    /// Not an index.
    Nonsense,
    Empty,
}

const INDEX_FILES: [IndexFile; 6] = [
    IndexFile::Right,
    IndexFile::Missing,
    IndexFile::Preallocated,
    IndexFile::Cut,
    IndexFile::Nonsense,
    IndexFile::Empty,
];

#[derive(Clone, Copy, Debug)]
struct BatchShape {
    records: i32,
    value: usize,
    fate: Fate,
    control: bool,
    /// A segment begins before it.
    new_segment: bool,
    /// Empty segments before that one.
    empty_segments: i64,
    /// The segment's name lies this far below its first batch, as far as there is room.
    early_name: i64,
}

fn batch_shape() -> impl Strategy<Value = BatchShape> {
    let fate = prop_oneof![Just(Fate::Whole), Just(Fate::Thinned), Just(Fate::Emptied), Just(Fate::Gone)];
    (1..5, 1..120usize, fate, prop::bool::weighted(0.1), prop::bool::weighted(0.3), 0..3i64, 0..4i64).prop_map(
        |(records, value, fate, control, new_segment, empty_segments, early_name)| BatchShape {
            records: if control { 1 } else { records },
            value,
            fate,
            control,
            new_segment,
            empty_segments,
            early_name,
        },
    )
}

/// A log as it lies on disk, and what is to be read from it.
struct Shaped {
    /// Name of each segment, and its batches.
    segments: Vec<(i64, Vec<Bytes>)>,
    /// Offset and value of every record that is left; control records have no value.
    records: Vec<(Offset, Option<Vec<u8>>)>,
    end: Offset,
}

fn shape(batches: &[BatchShape]) -> Shaped {
    let mut next = 0;
    let mut filled = 0;
    let mut segments = vec![(0, Vec::new())];
    let mut left = Vec::new();
    for (nth, b) in batches.iter().enumerate() {
        if b.new_segment && next > segments.last().map_or(0, |s: &(i64, Vec<Bytes>)| s.0) {
            // Names rise; each lies between what came before and what follows.
            let lowest = segments.last().map_or(0, |s| s.0 + 1).max(filled);
            let name = (next - b.early_name).max(lowest);
            for empty in (lowest..name).rev().take(b.empty_segments as usize).collect::<Vec<_>>().into_iter().rev() {
                segments.push((empty, Vec::new()));
            }
            segments.push((name, Vec::new()));
        }
        let config = BuilderConfig {
            producer_id: ProducerId(7),
            producer_epoch: ProducerEpoch(0),
            base_sequence: Sequence(if b.control { -1 } else { next as i32 }),
            transactional: b.control,
            ..BuilderConfig::PLAIN
        };
        let time = |offset: i64| Timestamp(1_000 + offset);
        let bytes = if b.control {
            let marker = EndTxnMarker { coordinator_epoch: 1 };
            control_batch(config, time(next), &record::ControlRecord::Commit(marker))
        } else {
            let mut builder = BatchBuilder::new(config);
            for n in 0..b.records {
                let offset = next + i64::from(n);
                builder.append(time(offset), Some(b"k"), Some(&vec![offset as u8; b.value]), &[]);
            }
            builder.build()
        };
        let bytes = record::stamp(bytes, Offset(next), LeaderEpoch(i32::from(nth > batches.len() / 2)));
        let keep = |r: &record::Record<'_>| match b.fate {
            Fate::Whole => true,
            Fate::Thinned => r.offset.0 % 2 == 0,
            Fate::Emptied | Fate::Gone => false,
        };
        let bytes = record::retain(&bytes, Timestamp(0), keep).unwrap().changed.unwrap_or(bytes);
        if b.fate != Fate::Gone {
            let value = |r: record::Record<'_>| (r.offset, r.value.filter(|_| !b.control).map(<[u8]>::to_vec));
            left.extend(record::records(&bytes).map(|r| value(r.unwrap())));
            segments.last_mut().unwrap().1.push(bytes);
            filled = next + i64::from(b.records);
        }
        next += i64::from(b.records);
    }
    let end = segments.last().map_or(0, |(name, batches)| if batches.is_empty() { *name } else { filled });
    Shaped { segments, records: left, end: Offset(end) }
}

/// Writes the log's files as Kafka would, each index in one of its conditions.
fn write(host: &mut Host, shaped: &Shaped, conditions: &[IndexFile], epochs: bool) {
    let mut condition = conditions.iter().copied().cycle();
    let active = shaped.segments.len() - 1;
    for (at, (name, batches)) in shaped.segments.iter().enumerate() {
        let stem = format!("{DIR}/{name:020}");
        let mut segment = Segment::new(&Path::new(DIR), Offset(*name), Timestamp(0));
        for bytes in batches {
            let header = BatchHeader::parse(bytes).unwrap();
            segment.note(&header, segment.size, 200);
            segment.size += bytes.len() as u64;
        }
        segment.note_time();
        host.disk.put(&format!("{stem}.log"), batches.concat());
        let content = |op: Option<DiskOp>| match op {
            Some(DiskOp::Append { data, .. } | DiskOp::Write { data, .. }) => data.to_vec(),
            _ => Vec::new(),
        };
        for (suffix, mut data) in
            [("index", content(segment.offsets.write())), ("timeindex", content(segment.times.write()))]
        {
            match condition.next().unwrap() {
                // An order to stop leaves the active segment's indexes as they should be.
                _ if at == active => {}
                IndexFile::Right => {}
                IndexFile::Missing => continue,
                IndexFile::Preallocated => data.resize(data.len() + 240, 0),
                IndexFile::Cut => data.truncate(data.len().saturating_sub(5)),
                IndexFile::Nonsense => data = vec![0xfe; 24],
                IndexFile::Empty => data.clear(),
            }
            host.disk.put(&format!("{stem}.{suffix}"), data);
        }
    }
    if epochs {
        let second = shaped.segments.iter().flat_map(|(_, b)| b).map(|b| BatchHeader::parse(b).unwrap());
        let mut known = Vec::new();
        for header in second {
            if known.last().is_none_or(|&(e, _)| e < header.leader_epoch) {
                known.push((header.leader_epoch, header.base_offset));
            }
        }
        host.disk.put(&format!("{DIR}/leader-epoch-checkpoint"), checkpoint::format_epochs(&known).to_vec());
    }
    host.disk.put(&format!("{DIR}/partition.metadata"), checkpoint::format_partition_metadata(TOPIC).to_vec());
}

/// What a reader gets that begins at an offset and goes on until there is nothing.
fn read_from(host: &mut Host, from: Offset, max_bytes: u64) -> Vec<(Offset, Option<Vec<u8>>)> {
    let (mut at, end) = (from, host.log.log_end());
    let mut all = Vec::new();
    while let Some(data) = host.read(at, max_bytes, end, true).filter(|d| !d.is_empty()) {
        for batch in record::batches(&data) {
            let (header, bytes) = batch.unwrap();
            assert!(header.last_offset() >= at, "{header:?} at {at}");
            for r in record::records(&bytes).map(Result::unwrap).filter(|r| r.offset >= from) {
                all.push((r.offset, r.value.filter(|_| !header.is_control()).map(<[u8]>::to_vec)));
            }
            at = header.next_offset();
        }
    }
    // What is left to be read is nothing: a fetch from there waits instead of being answered at once, for ever.
    assert_eq!(host.log.available_bytes(at, end), 0, "at {at} of {end}");
    all
}

fn load(shaped: &Shaped, conditions: &[IndexFile], epochs: bool, clean: bool) -> Host {
    let mut host = Host::new(small(), Defects::NONE);
    write(&mut host, shaped, conditions, epochs);
    let host = host.restart(clean, if clean { Offset(0) } else { shaped.end });
    let (_, truncated, topic) = host.loaded();
    assert_eq!((truncated, topic), (0, Some(TOPIC)));
    host
}

proptest! {
    #[test]
    fn reading_from_every_offset_yields_what_is_at_or_above_it(
        batches in prop::collection::vec(batch_shape(), 1..40),
        conditions in prop::collection::vec(prop::sample::select(&INDEX_FILES[..]), 1..12),
        epochs: bool,
        clean: bool,
        max_bytes in 1u64..2_000,
    ) {
        let shaped = shape(&batches);
        let mut host = load(&shaped, &conditions, epochs, clean);
        prop_assert_eq!(host.log.log_end(), shaped.end);
        for from in host.log.log_start().0..=shaped.end.0 {
            let expected: Vec<_> = shaped.records.iter().filter(|(o, _)| o.0 >= from).cloned().collect();
            prop_assert_eq!(read_from(&mut host, Offset(from), max_bytes), expected, "from {}", from);
        }
        // The log goes on, and what is appended is found behind whatever is missing.
        let info = host.append(batch(-1, 0, 2, 10), 5);
        host.settle();
        prop_assert_eq!(info.base, shaped.end);
        for from in [0, shaped.end.0 / 2, shaped.end.0] {
            let last = read_from(&mut host, Offset(from), max_bytes).last().map(|r| r.0);
            prop_assert_eq!(last, Some(info.last));
        }
    }

    /// A closed segment's age is known again, so that retention neither keeps nor deletes it by mistake.
    #[test]
    fn indexes_are_made_anew(
        batches in prop::collection::vec(batch_shape(), 1..40),
        conditions in prop::collection::vec(prop::sample::select(&INDEX_FILES[..]), 1..12),
    ) {
        let shaped = shape(&batches);
        let host = load(&shaped, &conditions, true, true);
        for (segment, (_, batches)) in host.log.segments.iter().zip(&shaped.segments) {
            let newest = batches.iter().map(|b| BatchHeader::parse(b).unwrap().max_timestamp).max();
            prop_assert_eq!(segment.max_timestamp.map(|m| m.0), newest, "{:?}", segment);
        }
    }

    /// A time's first record is found whichever segment it is in, though a batch without records may bear its time.
    #[test]
    fn times_are_found_between_segments(batches in prop::collection::vec(batch_shape(), 1..40), clean: bool) {
        let shaped = shape(&batches);
        let mut host = load(&shaped, &[IndexFile::Right], true, clean);
        for offset in 0..shaped.end.0 {
            let at = Timestamp(1_000 + offset);
            let expected = shaped.records.iter().map(|r| r.0).find(|o| o.0 >= offset);
            let mut plan = host.log.plan_timestamp(at, shaped.end);
            let mut found = None;
            while let Some(p) = plan.filter(|_| found.is_none()) {
                let whole = host.disk.content(p.range.file.as_str()).unwrap();
                let stop = (p.range.pos + p.range.len).min(whole.len() as u64) as usize;
                let data = Bytes::copy_from_slice(&whole[p.range.pos as usize..stop]);
                found = first_at_or_after(&p.trim(data), at).map(|f| f.1);
                plan = host.log.plan_timestamp_after(&p.range, at, shaped.end);
            }
            prop_assert_eq!(found, expected, "at {}", offset);
        }
    }
}

/// `disk/empty_segments.sh`: the first three segments are empty, their indexes are gone, and so is what they held.
#[test]
fn empty_segments() {
    for clean in [true, false] {
        let mut host = Host::created(small());
        for n in 0..40 {
            host.append(batch(-1, n, 1, 100), 0);
        }
        host.settle();
        let end = host.log.log_end();
        host.log.close(host.now, &mut host.out);
        host.settle();
        let names: Vec<String> = host.disk.paths().into_iter().filter(|p| p.ends_with(".log")).collect();
        assert!(names.len() > 4, "{names:?}");
        for name in &names[..3] {
            host.disk.put(name, Vec::new());
            for suffix in [".index", ".timeindex"] {
                host.disk.put(&name.replace(".log", suffix), Vec::new());
            }
        }
        let first: i64 = names[3].rsplit('/').next().unwrap().trim_end_matches(".log").parse().unwrap();
        let mut host = host.restart(clean, end);
        let offsets: Vec<i64> = read_from(&mut host, Offset(0), 400).iter().map(|r| r.0.0).collect();
        assert_eq!(offsets, (first..end.0).collect::<Vec<_>>());
    }
}

/// A file beside the log that only looks like a part of it is somebody's.
#[test]
fn what_is_not_the_logs_stays() {
    let mut host = Host::created(small());
    host.append(batch(-1, 0, 1, 10), 0);
    host.settle();
    let kept = ["00000000000000000007.log.bak", "00000000000000000007.note", "notes.txt"];
    for name in kept {
        host.disk.put(&format!("{DIR}/{name}"), vec![1]);
    }
    let mut host = host.restart(false, Offset(0));
    for name in kept {
        assert!(host.disk.content(&format!("{DIR}/{name}")).is_some(), "{name}");
    }
}
