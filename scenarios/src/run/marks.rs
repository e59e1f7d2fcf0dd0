//! Marks: situations that a run says it has met. Scenarios demand them by name (`expect.sometimes`).

/// An instance of a read model rebuilt its state while a fault lasted.
pub const REBUILT_DURING_A_FAULT: &str = "rebuilt-during-a-fault";
/// A group's coordinator died, or lost its partition, while it worked on a commit, and another one took over.
pub const COORDINATOR_MOVED: &str = "coordinator-moved-with-pending-commit";

/// Every mark there is, sorted: those that nodes set in their traces, and those that the harness sees from outside.
pub const MARKS: &[&str] = &[
    "alter-partition-rejected",
    "became-leader",
    "broker-fenced",
    "clean-start",
    "cleaning-aborted",
    "commit-fenced",
    "compaction-completed",
    "controlled-shutdown-done",
    "coordinator-load-failed",
    "coordinator-loaded",
    "coordinator-loaded-many-chunks",
    COORDINATOR_MOVED,
    "coordinator-unloaded",
    "corrupt-log-read",
    "directory-id-refused",
    "diverging-epoch",
    "duplicate-batch-acknowledged",
    "duplicate-registration-refused",
    "elr-election",
    "empty-log-withheld",
    "fetch-fenced",
    "follower-truncated",
    "group-deleted",
    "group-max-size-reached",
    "group-metadata-changed",
    "group-write-refused",
    "group-write-timed-out",
    "halted-on-disk-error",
    "instance-id-unreleased",
    "isr-expanded",
    "isr-shrunk",
    "isr-shrunk-to-min",
    "leader-elected",
    "load-in-progress-answered",
    "log-cleaned",
    "log-missing-after-clean-end",
    "log-recovered",
    "member-epoch-fenced",
    "member-expired",
    "member-missed-rebalance",
    "member-missed-sync",
    "not-enough-replicas-after-append",
    "offset-fetch-waits-for-commit",
    "offset-out-of-range",
    "offsets-expired",
    "out-of-order-sequence",
    "partitions-created",
    "produce-rejected-min-isr",
    "rebalance-started",
    REBUILT_DURING_A_FAULT,
    "segment-cleaned",
    "segment-rolled",
    "segments-deleted",
    "static-member-replaced",
    "stray-kept",
    "tombstone-removed",
    "topic-deleted",
    "topic-id-restored",
    "topic-settings-changed",
    "torn-tail-cut",
    "unclean-election",
    "unclean-registration",
    "unclean-start",
];

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
