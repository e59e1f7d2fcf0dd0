//! The rules of the disk, as laws over drawn histories and as plain examples.

use super::*;
use klamm_model::disk::{DiskError, DiskReply, ReadRange};
use proptest::prelude::*;
use smallvec::smallvec;
use std::collections::BTreeMap;

const NODE: NodeRef = NodeRef(1);

struct Rig {
    disk: Disk,
    now: Instant,
    token: u64,
}

impl Rig {
    fn new(key: u64) -> Rig {
        Rig { disk: Disk::new(DiskProfile::nvme(), key), now: Instant::ZERO, token: 0 }
    }
    fn submit(&mut self, op: DiskOp) -> u64 {
        self.token += 1;
        let token = DiskToken { owner: 0, seq: self.token };
        self.disk.submit(self.now, Ordinal(self.token), NODE, Incarnation(1), token, op);
        self.token
    }
    fn run(&mut self) -> Vec<Completion> {
        let mut all = Vec::new();
        while let Some(at) = self.disk.next_at() {
            self.now = self.now.max(at);
            self.disk.advance(self.now, &mut all);
        }
        all
    }
    fn wait(&mut self, by: Duration) {
        self.now += by;
        let mut all = Vec::new();
        self.disk.advance(self.now, &mut all);
    }
    fn done(&mut self, op: DiskOp) -> DiskResult {
        let token = self.submit(op);
        self.run().into_iter().find(|c| c.token.seq == token).expect("every operation completes").result
    }
    fn ok(&mut self, op: DiskOp) {
        assert_eq!(self.done(op), Ok(DiskReply::Done));
    }
    fn text(&self, path: &str) -> Option<String> {
        self.disk.file_contents(&Path::new(path)).map(|b| String::from_utf8_lossy(&b).into_owned())
    }
}

fn append(file: &str, data: &'static str) -> DiskOp {
    DiskOp::Append { file: Path::new(file), data: Bytes::from_static(data.as_bytes()) }
}
fn fsync(file: &str) -> DiskOp {
    DiskOp::Fsync { file: Path::new(file) }
}
fn fsync_dir(dir: &str) -> DiskOp {
    DiskOp::FsyncDir { dir: Path::new(dir) }
}
fn read(file: &str, pos: u64, len: u64) -> DiskOp {
    DiskOp::Read { ranges: smallvec![ReadRange { file: Path::new(file), pos, len }] }
}
fn rename(from: &str, to: &str) -> DiskOp {
    DiskOp::Rename { from: Path::new(from), to: Path::new(to) }
}

#[test]
fn a_read_sees_an_append_in_flight_and_is_done_in_the_same_instant() {
    let mut rig = Rig::new(1);
    rig.submit(append("d/f", "hello"));
    rig.submit(read("d/f", 1, 3));
    assert_eq!(rig.disk.next_at(), Some(rig.now));
    let mut first = Vec::new();
    rig.disk.advance(rig.now, &mut first);
    assert_eq!(first[0].result, Ok(DiskReply::Data(smallvec![Bytes::from_static(b"ell")])));
    assert!(rig.disk.next_at() > Some(rig.now));
}

#[test]
fn operations_on_one_file_complete_in_order() {
    let mut rig = Rig::new(1);
    let mut order = Vec::new();
    for _ in 0..50 {
        order.push(rig.submit(append("f", "x")));
        order.push(rig.submit(fsync("f")));
    }
    order.push(rig.submit(rename("f", "g")));
    order.push(rig.submit(append("g", "x")));
    let done: Vec<u64> = rig.run().into_iter().map(|c| c.token.seq).collect();
    assert_eq!(done, order);
}

#[test]
fn an_fsync_does_not_cover_an_append_in_flight() {
    let mut rig = Rig::new(1);
    rig.ok(append("f", "a"));
    rig.ok(fsync_dir(""));
    rig.submit(append("f", "b"));
    rig.submit(fsync("f"));
    rig.run();
    assert_eq!(rig.disk.durable_contents().next().unwrap().1.as_ref(), b"a");
}

#[test]
fn missing_files_are_told() {
    let mut rig = Rig::new(1);
    assert_eq!(rig.done(read("f", 0, 1)), Err(DiskError::NotFound));
    assert_eq!(rig.done(fsync("f")), Err(DiskError::NotFound));
    assert_eq!(rig.done(rename("f", "g")), Err(DiskError::NotFound));
    assert_eq!(rig.done(DiskOp::Delete { path: Path::new("f") }), Ok(DiskReply::Done));
    assert_eq!(rig.done(DiskOp::List { dir: Path::new("") }), Ok(DiskReply::Listing(Vec::new())));
}

#[test]
fn a_failed_fsync_drops_pages_and_the_next_one_succeeds() {
    let mut rig = Rig::new(1);
    rig.ok(append("f", "ab"));
    rig.ok(fsync("f"));
    rig.ok(append("f", "cd"));
    rig.disk.set_fault(rig.now, DiskFault::Error(DiskErrorOn::Fsync), true);
    assert_eq!(rig.done(fsync("f")), Err(DiskError::Io));
    rig.disk.heal(rig.now);
    assert_eq!(rig.text("f").unwrap(), "ab\0\0");
    assert_eq!(rig.disk.take_damage(), [LostData { file: Path::new("f"), from: 2, to: 4 }]);
    assert_eq!(rig.done(fsync("f")), Ok(DiskReply::Done));
}

#[test]
fn a_lying_fsync_makes_nothing_durable() {
    let mut rig = Rig::new(1);
    rig.ok(append("f", "ab"));
    rig.ok(fsync_dir(""));
    rig.disk.set_fault(rig.now, DiskFault::LyingFsync, true);
    assert_eq!(rig.done(fsync("f")), Ok(DiskReply::Done));
    assert_eq!(rig.disk.durable_contents().next().unwrap().1.as_ref(), b"");
}

#[test]
fn a_full_disk_refuses_and_a_failing_write_may_get_some_way() {
    let mut lengths = BTreeSet::new();
    for key in 0..20 {
        let mut rig = Rig::new(key);
        rig.disk.set_fault(rig.now, DiskFault::Full, true);
        assert_eq!(rig.done(append("f", "0123456789")), Err(DiskError::NoSpace));
        lengths.insert(rig.text("f").unwrap().len());
    }
    assert!(lengths.contains(&0) && lengths.len() > 3, "{lengths:?}");
}

#[test]
fn a_stalled_device_answers_only_from_the_cache_and_goes_on_afterwards() {
    let mut rig = Rig::new(1);
    rig.ok(append("f", "ab"));
    let first = rig.submit(fsync("f"));
    rig.disk.set_fault(rig.now, DiskFault::Stall, true);
    let second = rig.submit(append("f", "cd"));
    let cached = rig.submit(read("f", 0, 9));
    assert_eq!(rig.run().iter().map(|c| c.token.seq).collect::<Vec<_>>(), [cached]);
    rig.now += Duration::from_secs(3);
    rig.disk.set_fault(rig.now, DiskFault::Stall, false);
    let late = rig.run();
    assert_eq!(late.iter().map(|c| c.token.seq).collect::<Vec<_>>(), [first, second]);
    assert!(rig.now > Instant::from_nanos(3_000_000_000));
}

#[test]
fn deleted_files_are_let_go_when_the_journal_commits() {
    let mut rig = Rig::new(1);
    for i in 0..100u64 {
        let file = Path::new(format!("d/{i:03}.log"));
        rig.ok(DiskOp::Append { file: file.clone(), data: Bytes::from(vec![1; 10_000]) });
        if i >= 3 {
            rig.ok(DiskOp::Delete { path: Path::new(format!("d/{:03}.log", i - 3)) });
        }
        rig.wait(Duration::from_secs(2));
    }
    assert!(rig.disk.held_bytes() <= 80_000, "{}", rig.disk.held_bytes());
}

#[test]
fn after_power_loss_reads_pay_the_device_once() {
    let mut rig = Rig::new(1);
    rig.ok(append("f", "ab"));
    rig.ok(fsync("f"));
    rig.ok(fsync_dir(""));
    rig.disk.power_loss(rig.now);
    for hit in [false, true] {
        rig.submit(read("f", 0, 2));
        assert_eq!(rig.disk.next_at() == Some(rig.now), hit);
        rig.run();
    }
}

#[test]
fn a_checkpoint_written_aside_is_whole_after_power_loss() {
    let mut old = 0;
    for key in 0..100 {
        let mut rig = Rig::new(key);
        for content in ["one", "two"] {
            rig.ok(DiskOp::Write { file: Path::new("c.tmp"), data: Bytes::from_static(content.as_bytes()) });
            rig.ok(fsync("c.tmp"));
            rig.ok(rename("c.tmp", "c"));
            if content == "one" {
                rig.ok(fsync_dir(""));
            }
        }
        rig.disk.power_loss(rig.now);
        let left = rig.text("c").unwrap();
        assert!(left == "one" || left == "two", "{left:?}");
        old += usize::from(left == "one");
    }
    assert!((5..95).contains(&old), "{old}");
}

#[test]
fn rot_flips_bits_of_a_closed_durable_segment_only() {
    let mut rig = Rig::new(1);
    for file in ["t-0/0.log", "t-0/1.log", "t-0/0.index", "t-00/0.log"] {
        rig.ok(append(file, "0123456789"));
    }
    assert!(rig.disk.bit_rot(rig.now, "t-0").is_empty());
    rig.ok(fsync("t-0/0.log"));
    let rotten = rig.disk.bit_rot(rig.now, "t-0");
    assert_eq!(rotten.len(), 1);
    assert_eq!(rotten[0].file.as_str(), "t-0/0.log");
    let left = rig.disk.file_contents(&rotten[0].file).unwrap();
    for (at, byte) in b"0123456789".iter().enumerate() {
        assert_eq!(left[at] != *byte, (rotten[0].from..rotten[0].to).contains(&(at as u64)));
    }
    assert!(rig.disk.bit_rot(rig.now, "t-1").is_empty());
}

#[test]
fn a_wiped_disk_is_empty_and_usable() {
    let mut rig = Rig::new(1);
    rig.ok(append("f", "ab"));
    rig.submit(append("f", "c"));
    assert_eq!(rig.disk.wipe(rig.now), [LostData { file: Path::new("f"), from: 0, to: 3 }]);
    assert!(rig.disk.contents().next().is_none() && rig.disk.next_at().is_none());
    rig.ok(append("f", "x"));
    assert_eq!(rig.text("f").unwrap(), "x");
}

#[test]
fn an_erased_directory_does_not_come_back() {
    for key in 0..10 {
        let mut rig = Rig::new(key);
        for file in ["t-0/0.log", "t-0/1.log", "t-00/0.log"] {
            rig.ok(append(file, "ab"));
        }
        rig.ok(fsync_dir("t-00"));
        rig.disk.erase(rig.now, &Path::new("t-0"));
        rig.disk.power_loss(rig.now);
        assert_eq!(rig.disk.contents().map(|(p, _)| p.to_string()).collect::<Vec<_>>(), ["t-00/0.log"]);
    }
}

#[test]
fn a_kill_leaves_a_prefix_of_what_was_in_flight() {
    let mut lengths = BTreeSet::new();
    for key in 0..60 {
        let mut rig = Rig::new(key);
        rig.ok(append("f", "ab"));
        for data in ["cdefgh", "ijklmn", "opq"] {
            rig.submit(append("f", data));
        }
        rig.disk.kill(rig.now, NodeRef(9));
        assert_eq!(rig.text("f").unwrap(), "abcdefghijklmnopq");
        rig.disk.kill(rig.now, NODE);
        let left = rig.text("f").unwrap();
        assert!(left.len() >= 2 && "abcdefghijklmnopq".starts_with(&left), "{left}");
        lengths.insert(left.len());
        assert!(rig.disk.next_at().is_none());
    }
    assert!(lengths.len() > 5, "{lengths:?}");
}

// ---- laws over drawn histories ----

#[derive(Clone, Debug)]
enum Step {
    Append(u8, u16),
    Write(u8, u16),
    Truncate(u8, u16),
    Fsync(u8),
    FsyncDir,
    Rename(u8, u8),
    Delete(u8),
    Settle,
    Wait(u8),
    Kill,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0u8..3, 0u16..9000).prop_map(|(f, n)| Step::Append(f, n)),
        1 => (0u8..3, 0u16..9000).prop_map(|(f, n)| Step::Write(f, n)),
        1 => (0u8..3, 0u16..9000).prop_map(|(f, n)| Step::Truncate(f, n)),
        3 => (0u8..3).prop_map(Step::Fsync),
        2 => Just(Step::FsyncDir),
        1 => (0u8..3, 0u8..3).prop_map(|(a, b)| Step::Rename(a, b)),
        1 => (0u8..3).prop_map(Step::Delete),
        5 => Just(Step::Settle),
        1 => (0u8..20).prop_map(Step::Wait),
        1 => Just(Step::Kill),
    ];
    proptest::collection::vec(step, 1..40)
}

fn path(f: u8) -> Path {
    Path::new(format!("d/{f}"))
}

fn play(rig: &mut Rig, steps: &[Step]) {
    for (i, step) in steps.iter().enumerate() {
        // Each operation writes a byte of its own, never zero.
        let fill = |n: u16| Bytes::from(vec![i as u8 + 1; n as usize]);
        match step {
            Step::Append(f, n) => drop(rig.submit(DiskOp::Append { file: path(*f), data: fill(*n) })),
            Step::Write(f, n) => drop(rig.submit(DiskOp::Write { file: path(*f), data: fill(*n) })),
            Step::Truncate(f, n) => drop(rig.submit(DiskOp::Truncate { file: path(*f), len: u64::from(*n) })),
            Step::Fsync(f) => drop(rig.submit(DiskOp::Fsync { file: path(*f) })),
            Step::FsyncDir => drop(rig.submit(fsync_dir("d"))),
            Step::Rename(a, b) if a != b => drop(rig.submit(DiskOp::Rename { from: path(*a), to: path(*b) })),
            Step::Rename(..) => {}
            Step::Delete(f) => drop(rig.submit(DiskOp::Delete { path: path(*f) })),
            Step::Settle => drop(rig.run()),
            Step::Wait(s) => {
                rig.run();
                rig.wait(Duration::from_secs(u64::from(*s)));
            }
            Step::Kill => rig.disk.kill(rig.now, NODE),
        }
    }
}

fn state(disk: &Disk) -> BTreeMap<Path, Bytes> {
    disk.contents().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// What an fsync of a file and of its directory covered is there after power loss, unless a later operation
    /// (a truncation, a write, a rename, a deletion) could have removed it; nothing is there that nobody wrote.
    #[test]
    fn power_loss_spares_what_was_synced_and_invents_nothing(key: u64, before in steps(), after in proptest::collection::vec((0u8..3, 1u16..9000), 0..12)) {
        let mut rig = Rig::new(key);
        play(&mut rig, &before);
        rig.run();
        for f in 0..3 {
            rig.submit(DiskOp::Fsync { file: path(f) });
        }
        rig.submit(fsync_dir("d"));
        rig.run();
        let safe = state(&rig.disk);
        prop_assert_eq!(&safe, &rig.disk.durable_contents().collect::<BTreeMap<_, _>>());
        for (f, n) in after {
            rig.submit(DiskOp::Append { file: path(f), data: Bytes::from(vec![200 + f; n as usize]) });
        }
        let seen = state(&rig.disk);
        let lost = rig.disk.power_loss(rig.now);
        let left = state(&rig.disk);
        for (path, bytes) in &safe {
            prop_assert!(left.get(path).is_some_and(|l| l.starts_with(bytes)), "{path} lost synced data");
        }
        for (path, seen) in &seen {
            let here = left.get(path).map_or(&[][..], |l| &l[..]);
            prop_assert!(here.len() <= seen.len());
            for (at, byte) in seen.iter().enumerate() {
                let reported = lost.iter().any(|l| l.file == *path && (l.from..l.to).contains(&(at as u64)));
                let same = here.get(at) == Some(byte);
                prop_assert!(if reported { !same && here.get(at).is_none_or(|b| *b == 0) } else { same }, "{path} at {at}");
            }
        }
        prop_assert!(left.keys().all(|path| seen.contains_key(path)));
    }

    /// Whatever happened before, a power loss leaves no byte that was never written there, and no name never used.
    #[test]
    fn power_loss_at_any_moment_leaves_written_bytes_or_zeros(key: u64, steps in steps()) {
        let mut rig = Rig::new(key);
        play(&mut rig, &steps);
        let durable: BTreeMap<_, _> = rig.disk.durable_contents().collect();
        let untouched = steps.iter().all(|s| !matches!(s, Step::Write(..) | Step::Truncate(..) | Step::Rename(..) | Step::Delete(_)));
        rig.disk.power_loss(rig.now);
        for (path, bytes) in state(&rig.disk) {
            // An operation writes its number; on a file that only grew, numbers only grow.
            let written: Vec<u8> = bytes.iter().copied().filter(|b| *b != 0).collect();
            prop_assert!(written.iter().all(|b| matches!(steps[usize::from(*b) - 1], Step::Append(..) | Step::Write(..))));
            if untouched {
                prop_assert!(written.is_sorted());
                if let Some(durable) = durable.get(&path) {
                    prop_assert!(bytes.starts_with(durable));
                }
            }
        }
        // What the power loss left is durable; a second one takes nothing.
        let left = state(&rig.disk);
        prop_assert!(rig.disk.power_loss(rig.now).is_empty());
        prop_assert_eq!(state(&rig.disk), left);
    }

    /// A killed process leaves the page cache: what completed is there, and files are prefixes of what they were.
    #[test]
    fn a_kill_spares_what_completed(key: u64, before in steps(), after in proptest::collection::vec((0u8..3, 1u16..900), 0..12)) {
        let mut rig = Rig::new(key);
        play(&mut rig, &before);
        rig.run();
        let done = state(&rig.disk);
        for (f, n) in after {
            rig.submit(DiskOp::Append { file: path(f), data: Bytes::from(vec![9; n as usize]) });
        }
        let all = state(&rig.disk);
        rig.disk.kill(rig.now, NODE);
        let left = state(&rig.disk);
        for (path, bytes) in &left {
            prop_assert!(all[path].starts_with(bytes));
        }
        for (path, bytes) in &done {
            prop_assert!(left[path].starts_with(bytes));
        }
    }

    /// The same calls give the same disk, to the nanosecond.
    #[test]
    fn the_same_calls_give_the_same_disk(key: u64, steps in steps()) {
        let (mut a, mut b) = (Rig::new(key), Rig::new(key));
        play(&mut a, &steps);
        play(&mut b, &steps);
        prop_assert_eq!(a.disk.power_loss(a.now), b.disk.power_loss(b.now));
        prop_assert_eq!(a.now, b.now);
        prop_assert_eq!(state(&a.disk), state(&b.disk));
    }
}
