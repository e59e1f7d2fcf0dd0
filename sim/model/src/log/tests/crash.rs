//! Laws of recovery: whatever the moment and manner of the crash, and whatever the bytes.

use super::*;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};

/// A life of random appends, flushes, truncations and completions. Returns the bytes by base offset as last appended.
fn live(host: &mut Host, rng: &mut ChaCha8Rng, truncations: bool) -> BTreeMap<Offset, Bytes> {
    let mut written: BTreeMap<Offset, Bytes> = BTreeMap::new();
    let mut sequences = [0i32; 3];
    let mut epoch = host.log.latest_epoch().map_or(0, |e| e.0);
    for _ in 0..rng.random_range(5..60) {
        match rng.random_range(0..12) {
            0..=4 if host.log.is_ready() => {
                let producer = rng.random_range(0..3usize);
                let records = rng.random_range(1..5);
                // After a truncation a client would be told; here sequences just go on from what is remembered.
                let known = host.log.producers().find(|(id, _)| id.0 == producer as i64);
                sequences[producer] = known.map_or(0, |(_, p)| p.last_sequence.0 + 1);
                let data = batch(producer as i64, sequences[producer], records, rng.random_range(0..90));
                let base = host.log.next_offset();
                host.append(data.clone(), epoch);
                written.insert(base, record::stamp(data.clone(), base, LeaderEpoch(epoch)));
            }
            5 => epoch += 1,
            6 => _ = host.log.flush(host.now, &mut host.out),
            7 if truncations && rng.random_range(0..3) == 0 => {
                let to = Offset(rng.random_range(0..=host.log.next_offset().0));
                host.log.truncate_to(host.now, to, &mut host.out);
                written.retain(|&base, _| base < host.log.next_offset());
            }
            _ => {
                for _ in 0..rng.random_range(1..6) {
                    host.step(rng);
                }
            }
        }
        host.submit();
        assert!(host.log.recovery_point() <= host.log.log_end() && host.log.log_end() <= host.log.next_offset());
    }
    // A truncation may have found out only now that it fell into a batch.
    written.retain(|&base, _| base < host.log.next_offset());
    written
}

fn assert_prefix(host: &mut Host, written: &BTreeMap<Offset, Bytes>, at_least: Offset) {
    let end = host.log.log_end();
    assert!(end >= at_least, "flushed up to {at_least}, recovered up to {end}");
    let mut expected = Offset(0);
    for (header, bytes) in host.read_all(300) {
        assert_eq!(header.base_offset, expected);
        if let Some(original) = written.get(&header.base_offset) {
            assert_eq!(&bytes, original);
        } else {
            panic!("never written: {header:?}");
        }
        expected = header.next_offset();
    }
    assert_eq!(expected, end);
}

/// Cuts, flushes, and then the power goes.
fn cut_and_lose_power(seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut host = Host::created(small());
    let mut written = BTreeMap::new();
    for _ in 0..3 {
        let more = live(&mut host, &mut rng, true);
        let kept = host.log.next_offset();
        written.retain(|&base, _| base < kept);
        written.extend(more);
        if rng.random() {
            host.settle();
            host.log.flush(host.now, &mut host.out);
            host.settle();
        }
    }
    let (durable, checkpoint) = (host.log.recovery_point(), host.checkpoint);
    let ever = std::mem::take(&mut host.ever);
    host.disk.power_loss(&mut rng);
    // The checkpoint is of the last cut, or was written since.
    let checkpoint = Offset(rng.random_range(checkpoint.0.min(durable.0)..=durable.0));
    let mut host = host.restart(false, checkpoint);
    assert!(host.loaded().0);
    let end = host.log.log_end();
    assert!(end >= durable, "flushed up to {durable}, recovered up to {end}");
    let mut expected = Offset(0);
    for (header, bytes) in host.read_all(300) {
        assert_eq!(header.base_offset, expected);
        if header.base_offset < durable {
            assert_eq!(&bytes, &written[&header.base_offset]);
        } else {
            assert!(ever.contains(&bytes), "never written: {header:?}");
        }
        expected = header.next_offset();
    }
    assert_eq!(expected, end);
}

/// Index entries that a truncation had cut came back, in a segment that was flushed since.
#[test]
fn what_an_index_lost_does_not_come_back() {
    cut_and_lose_power(6917946868000171509);
}

/// What was cut came back at the end of a segment to which nothing was appended since, below what was flushed in the next.
#[test]
fn what_was_cut_does_not_come_back_below_what_was_flushed() {
    cut_and_lose_power(18088858630405373604);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// What was fsynced is kept, and what is there is what was written, in order.
    #[test]
    fn any_crash_leaves_a_valid_prefix(seed: u64, power: bool) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut host = Host::created(small());
        let written = live(&mut host, &mut rng, false);
        let durable = host.log.recovery_point();
        if power { host.disk.power_loss(&mut rng) } else { host.disk.kill(&mut rng) }
        // The checkpoint may be any older one.
        let checkpoint = Offset(if rng.random() { durable.0 } else { rng.random_range(0..=durable.0) });
        let mut host = host.restart(false, checkpoint);
        assert!(host.loaded().0);
        assert_prefix(&mut host, &written, durable);
        host.assert_replay_equals_live();
        // It can be used, and crash again.
        let end = host.log.log_end();
        host.append(batch(-1, 0, 2, 50), 100);
        host.settle();
        assert_eq!(host.log.log_end(), end.plus(2));
        let mut host = host.restart(false, checkpoint);
        assert_eq!(host.log.log_end(), end.plus(2));
        host.assert_replay_equals_live();
    }

    /// Cutting lowers the recovery point durably before anything is appended: a power loss leaves what was fsynced, and
    /// behind it nothing that was never written, though perhaps what had been cut.
    #[test]
    fn a_cut_and_a_power_loss_leave_a_valid_log(seed: u64) {
        cut_and_lose_power(seed);
    }

    /// Truncations, also with appends in flight and one after another, leave what replay says; a kill in the middle too.
    #[test]
    fn truncations_are_exact(seed: u64) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut host = Host::created(small());
        let written = live(&mut host, &mut rng, true);
        host.settle();
        let written: BTreeMap<_, _> = written.into_iter().filter(|(o, _)| *o < host.log.next_offset()).collect();
        assert_eq!(host.log.log_end(), host.log.next_offset());
        let end = host.log.log_end();
        assert_prefix(&mut host, &written, end);
        host.assert_replay_equals_live();
        let written_more = {
            let mut more = live(&mut host, &mut rng, true);
            let kept = host.log.next_offset();
            for (base, bytes) in written.into_iter().filter(|(o, _)| *o < kept) {
                more.entry(base).or_insert(bytes);
            }
            more
        };
        if host.log.is_ready() && rng.random() {
            host.settle();
            assert!(host.log.close(host.now, &mut host.out));
            host.settle();
            let end = host.log.log_end();
            assert_eq!(host.log.recovery_point(), end);
            let mut host = host.restart(true, Offset(0));
            assert_eq!(host.loaded(), (false, 0, Some(TOPIC)));
            assert_eq!(host.log.log_end(), end);
            let kept = written_more.into_iter().filter(|(o, _)| *o < end).collect();
            assert_prefix(&mut host, &kept, end);
            host.assert_replay_equals_live();
        } else {
            let checkpoint = host.log.recovery_point();
            host.disk.kill(&mut rng);
            let mut host = host.restart(false, checkpoint);
            host.assert_replay_equals_live();
        }
    }

    /// Damage is found, and cut; what lies before it is kept.
    #[test]
    fn damage_is_cut(seed: u64) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut host = Host::created(small());
        let written = live(&mut host, &mut rng, false);
        host.settle();
        let logs: Vec<String> = host.disk.paths().into_iter().filter(|p| p.ends_with(".log")).collect();
        let victim = &logs[rng.random_range(0..logs.len())];
        let data = host.disk.content(victim).unwrap();
        if data.is_empty() {
            return Ok(());
        }
        let at = rng.random_range(0..data.len());
        data[at] ^= 1 << rng.random_range(0..8);
        let mut host = host.restart(false, Offset(0));
        let (recovered, _, _) = host.loaded();
        assert!(recovered);
        // The checksum covers neither offset nor leader epoch; a flipped offset breaks continuity, a flipped epoch
        // passes.
        let end = host.log.log_end();
        let mut next = Offset(0);
        for (header, bytes) in host.read_all(400) {
            let original = &written[&header.base_offset];
            assert_eq!(bytes[16..], original[16..]);
            assert_eq!(header.base_offset, next);
            next = header.next_offset();
        }
        assert_eq!(next, end);
        let stem = victim.rsplit('/').next().unwrap().strip_suffix(".log").unwrap();
        assert!(end >= Offset(stem.parse().unwrap()), "segments before the damaged one are kept");
    }

    /// Arbitrary bytes in any file, clean or not: no panic, and a usable log.
    #[test]
    fn any_bytes_load(seed: u64, clean: bool) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut host = Host::created(small());
        live(&mut host, &mut rng, false);
        host.settle();
        host.log.close(host.now, &mut host.out);
        host.settle();
        let paths = host.disk.paths();
        for _ in 0..rng.random_range(1..6) {
            let path = &paths[rng.random_range(0..paths.len())];
            let data = host.disk.content(path).unwrap();
            match rng.random_range(0..4) {
                0 => *data = (0..rng.random_range(0..300)).map(|_| rng.random()).collect(),
                1 => data.truncate(rng.random_range(0..=data.len())),
                2 => data.extend((0..rng.random_range(0..200)).map(|_| rng.random::<u8>())),
                _ => {
                    for byte in data.iter_mut() {
                        *byte ^= if rng.random_range(0..20) == 0 { rng.random() } else { 0 };
                    }
                }
            }
        }
        let stray = ["00000000000000000099.index", "00000000000000000100.log.deleted", "99999999999999999999.log", "x"];
        host.disk.put(&format!("{DIR}/{}", stray[rng.random_range(0..4)]), vec![1, 2, 3]);
        let point = Offset(rng.random_range(0..200));
        let mut host = host.restart(clean, point);
        host.loaded();
        let end = host.log.log_end();
        for from in (host.log.log_start().0..=end.0).take(300) {
            host.read(Offset(from), 100, end, true);
            host.log.available_bytes(Offset(from), end);
        }
        host.append(batch(5, 0, 1, 10), 1_000);
        host.log.truncate_to(host.now, Offset(end.0 / 2), &mut host.out);
        host.settle();
        assert!(host.log.is_ready(), "{:?} {:?}", host.log.failed(), host.log.phase);
    }
}
