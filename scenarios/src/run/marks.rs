//! Marks: situations that a run says it has met. Scenarios demand them by name (`expect.sometimes`).

/// An instance of a read model rebuilt its state while a fault lasted.
pub const REBUILT_DURING_A_FAULT: &str = "rebuilt-during-a-fault";
/// A group's coordinator died, or lost its partition, while it worked on a commit, and another one took over.
pub const COORDINATOR_MOVED: &str = "coordinator-moved-with-pending-commit";

macro_rules! marks {
    ($($name:literal: $about:literal,)*) => {
        /// Every mark there is, sorted: those that nodes set in their traces, and those that the harness sees from outside.
        pub const MARKS: &[&str] = &[$($name,)*];
        /// What each of [`MARKS`] says was met.
        pub const MARKS_IN_WORDS: &[(&str, &str)] = &[$(($name, $about),)*];
    };
}

marks! {
    "alter-partition-rejected": "the controller refused a change of the in-sync replicas",
    "became-leader": "a broker took up the leadership of a partition",
    "broker-fenced": "the controller fenced a broker that was silent for its session",
    "clean-start": "a broker found its logs closed in order, and recovered nothing",
    "cleaning-aborted": "the log cleaner gave up a copy, since the log had changed under it",
    "commit-fenced": "a commit of offsets was refused: its member or generation was over",
    "compaction-completed": "a start completed an exchange of compacted segments that a crash had cut short",
    "controlled-shutdown-done": "a broker handed its leaderships over and went",
    "coordinator-load-failed": "a coordinator could not read its partition, and answers for no group of it",
    "coordinator-loaded": "a group coordinator had replayed its partition, and answered from then on",
    "coordinator-loaded-many-chunks": "the same, of a partition that took several reads",
    "coordinator-moved-with-pending-commit": "a coordinator died, or lost its partition, while it worked on a commit",
    "coordinator-unloaded": "a broker gave up the groups of a partition",
    "corrupt-log-read": "a Fetch met damage in a log, and was answered with CORRUPT_MESSAGE",
    "directory-id-refused": "a broker could not register: another one has the id of its log directory",
    "diverging-epoch": "a follower learned from a Fetch answer that its log had parted from the leader's",
    "duplicate-batch-acknowledged": "a batch that was sent again was acknowledged and not appended again",
    "duplicate-registration-refused": "a broker could not register while an earlier life of it was still in force",
    "elr-election": "a leader was elected among the eligible leader replicas (KIP-966)",
    "empty-log-withheld": "a replica that lost its log waits for another leader",
    "fetch-fenced": "a Fetch with an old leader epoch was refused",
    "follower-truncated": "a follower cut the end of its log",
    "group-deleted": "a group was deleted",
    "group-max-size-reached": "a member was refused: its group was full",
    "group-metadata-changed": "a KIP-848 group noticed that its topics had changed",
    "group-write-refused": "a coordinator could not write: its partition was led elsewhere, or not in sync",
    "group-write-timed-out": "a coordinator's write was not committed in time",
    "halted-on-disk-error": "a broker stopped since its disk failed",
    "instance-id-unreleased": "a static member was refused while its predecessor still held the name",
    "isr-expanded": "a replica caught up and counted as in sync again",
    "isr-shrunk": "a replica fell behind and no longer counted as in sync",
    "isr-shrunk-to-min": "the in-sync replicas fell to min.insync.replicas or below",
    "leader-elected": "the controller elected another leader of a partition",
    "load-in-progress-answered": "a request came while the coordinator was loading, and was put off",
    "log-cleaned": "the log cleaner finished a log",
    "log-missing-after-clean-end": "a log that was closed in order is gone, or ends below what was on disk",
    "log-recovered": "a broker recovered a log that was not closed in order",
    "member-epoch-fenced": "a KIP-848 member was refused: its epoch was over",
    "member-expired": "a member was silent for its session, and was removed",
    "member-missed-rebalance": "a member did not come to a rebalance in time, and was removed",
    "member-missed-sync": "a member did not ask for its part in time, and was removed",
    "not-enough-replicas-after-append": "a record was appended, and then there were too few in-sync replicas to acknowledge it",
    "offset-fetch-waits-for-commit": "offsets were asked for while a commit of them was open, and the answer waited",
    "offset-out-of-range": "a Fetch asked for an offset that the log does not have",
    "offsets-expired": "committed offsets of a group were deleted after their time",
    "out-of-order-sequence": "an idempotent producer's batch came with a gap in its sequence",
    "partitions-created": "a topic gained partitions",
    "produce-rejected-min-isr": "a batch was refused: fewer in sync than min.insync.replicas",
    "rebalance-started": "a group began to share its partitions out anew",
    "rebuilt-during-a-fault": "an instance of a read model rebuilt its state while a fault lasted",
    "segment-cleaned": "the log cleaner replaced a segment",
    "segment-rolled": "a log began a new segment",
    "segments-deleted": "retention deleted segments",
    "static-member-replaced": "a static member came back under its name",
    "stray-kept": "a directory of no replica of this broker was set aside and kept",
    "tombstone-removed": "compaction removed a tombstone",
    "topic-deleted": "a topic was deleted",
    "topic-id-restored": "a replica's partition.metadata was written anew",
    "topic-settings-changed": "a topic's settings were changed",
    "torn-tail-cut": "recovery cut a torn end off a log",
    "unclean-election": "a leader was elected that may lack acknowledged records",
    "unclean-registration": "a broker registered after a stop that was not in order",
    "unclean-start": "a broker found that its last stop was not in order",
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    /// The marks that a source file sets: `mark: "..."` in a trace, or `mark("...")`, or a choice between two.
    fn set_in(text: &str) -> BTreeSet<String> {
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let mut marks = BTreeSet::new();
        for start in ["mark: ", "mark("] {
            for rest in code.split(start).skip(1) {
                let line = rest.lines().next().unwrap_or_default();
                marks.extend(line.split('"').skip(1).step_by(2).map(str::to_owned));
            }
        }
        marks
    }

    fn sources(dir: &Path, each: &mut dyn FnMut(&str)) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "tests" {
                sources(&path, each);
            } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
                each(&std::fs::read_to_string(&path).unwrap());
            }
        }
    }

    #[test]
    fn the_list_is_what_nodes_and_harness_set() {
        let mut set: BTreeSet<String> = [COORDINATOR_MOVED, REBUILT_DURING_A_FAULT].map(str::to_owned).into();
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sim/model/src");
        sources(&model, &mut |text| set.extend(set_in(text)));
        assert_eq!(set, MARKS.iter().map(|m| (*m).to_owned()).collect());
        assert!(MARKS.is_sorted());
    }
}
