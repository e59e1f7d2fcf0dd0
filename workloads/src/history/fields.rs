//! Which fields each operation has, so that a wrong one can be named. A test holds this table against what is
//! actually written.

use klamm_model::history::{
    CommitTrigger, IsolationLevel, MemberFacts, Outcome, PositionReason, ProducerFacts, ReadRecord, TopicPartition,
};
use serde::de::DeserializeOwned;

/// A field of an operation.
pub(super) struct Field {
    /// Its name.
    pub(super) name: &'static str,
    /// Whether it must be there.
    pub(super) required: bool,
    /// What it holds, in words.
    pub(super) expected: &'static str,
    /// Tries to read a value of it.
    pub(super) check: fn(&[u8]) -> Result<(), serde_json::Error>,
}

fn check<T: DeserializeOwned>(bytes: &[u8]) -> Result<(), serde_json::Error> {
    serde_json::from_slice::<T>(bytes).map(|_| ())
}

macro_rules! field {
    ($name:literal, $type:ty, $expected:literal) => {
        Field { name: $name, required: true, expected: $expected, check: check::<$type> }
    };
    ($name:literal?, $type:ty, $expected:literal) => {
        Field { name: $name, required: false, expected: $expected, check: check::<Option<$type>> }
    };
}

const SOURCE: Field = field!("source", TopicPartition, "{\"topic\": name, \"partition\": number}");
const ISOLATION: Field = field!("isolation", IsolationLevel, "\"read_uncommitted\" or \"read_committed\"");
const VALUE: Field = field!("value", u64, "a number: client in the top 20 bits, index below");

const GENERATION: Field = field!("generation", i32, "a number");
const PARTITIONS: Field =
    field!("partitions", Vec<TopicPartition>, "a list of {\"topic\": name, \"partition\": number}");
const COMMIT: Field = field!("commit", u64, "a number that names the commit within the client's incarnation");

/// The fields of every operation.
pub(super) const COMMON: &[Field] = &[
    field!("at", u64, "nanoseconds"),
    field!("client", u32, "a number"),
    field!("incarnation", u32, "a number, from 1"),
    field!("op", String, "an operation's name"),
];

/// Every operation, and the fields of its own.
pub(super) const OPS: &[(&str, &[Field])] = &[
    (
        "producer",
        &[field!(
            "facts",
            ProducerFacts,
            "{\"acks\": \"0\" | \"1\" | \"all\", \"idempotent\": bool, \"max_in_flight\": number, \"resolves_within\": \
             nanoseconds}"
        )],
    ),
    (
        "send",
        &[
            VALUE,
            field!("topic", String, "a topic's name"),
            field!("partition"?, i32, "a number, or null where the partitioner chooses"),
            field!("key"?, u64, "a hash, or null"),
            field!("tombstone"?, bool, "whether it has no value"),
            field!("late_by"?, u64, "nanoseconds"),
            field!("from"?, u64, "the value it follows from, or null"),
        ],
    ),
    (
        "sent",
        &[
            VALUE,
            field!("outcome", Outcome, "\"ok\", \"fail\" or \"info\""),
            field!("partition"?, i32, "a number or null"),
            field!("offset"?, i64, "a number, or null if there was none"),
            field!("attempts", u32, "a number"),
            field!("producer_id"?, i64, "a number or null"),
            field!("error"?, String, "an error's name or null"),
        ],
    ),
    (
        "poll",
        &[
            SOURCE,
            ISOLATION,
            field!(
                "records",
                Vec<ReadRecord>,
                "a list of {\"offset\", \"leader_epoch\", \"value\", \"key\", \"timestamp\"}"
            ),
        ],
    ),
    (
        "position",
        &[
            SOURCE,
            field!("offset", i64, "a number"),
            field!("reason", PositionReason, "\"assigned\", \"seek\", \"reset\" or \"truncation\""),
        ],
    ),
    ("read_model", &[field!("topics", Vec<String>, "a list of topics' names")]),
    ("ask_offset", &[field!("ask", u64, "a number that names the question within the client")]),
    (
        "list_offsets",
        &[
            field!("ask", u64, "the number of the question"),
            SOURCE,
            field!("topic_id"?, String, "a UUID or null"),
            ISOLATION,
            field!("query", i64, "-1 for latest, -2 for earliest, else milliseconds"),
            field!("offset", i64, "a number"),
            field!("leader_epoch", i32, "a number"),
        ],
    ),
    ("final_read", &[SOURCE, field!("from", i64, "a number"), field!("to", i64, "a number, exclusive")]),
    (
        "member",
        &[field!(
            "facts",
            MemberFacts,
            "{\"group\": name, \"protocol\": \"eager\" | \"cooperative\" | \"consumer\", \"instance\": name or null, \
             \"auto_commit\": bool, \"processing\": \"finish-then-commit\" | \"commit-then-finish\" | \"hand-off\", \
             \"effects\": bool, \"resets_to_latest\": bool, \"forwards_to\": [topic, ...], \"declines_to\": topic or \
             null}"
        )],
    ),
    ("assigned", &[GENERATION, PARTITIONS]),
    ("revoked", &[GENERATION, PARTITIONS, field!("lost", bool, "true or false")]),
    (
        "commit",
        &[
            COMMIT,
            field!("trigger", CommitTrigger, "\"auto\", \"sync\", \"async\", \"revocation\" or \"close\""),
            GENERATION,
            field!("offsets", Vec<(TopicPartition, i64)>, "a list of [{\"topic\", \"partition\"}, offset]"),
        ],
    ),
    (
        "committed",
        &[
            COMMIT,
            field!("outcome", Outcome, "\"ok\", \"fail\" or \"info\""),
            field!("error"?, String, "an error's name or null"),
        ],
    ),
    ("finished", &[SOURCE, field!("from", i64, "a number"), field!("to", i64, "a number, exclusive")]),
    ("effect", &[SOURCE, field!("offset", i64, "a number"), VALUE]),
    (
        "group_offset",
        &[
            field!("group", String, "a group's id"),
            SOURCE,
            field!("offset"?, i64, "a number, or null if there is none"),
        ],
    ),
];

/// An operation's fields, by its name.
pub(super) fn of(op: &str) -> Option<(&'static str, &'static [Field])> {
    OPS.iter().find(|(name, _)| *name == op).copied()
}

/// The names of all operations, for an error.
pub(super) fn op_names() -> String {
    OPS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// The names of an operation's fields, for an error.
pub(super) fn names_of(op: &str) -> String {
    let own = of(op).map_or(&[][..], |(_, fields)| fields);
    COMMON.iter().chain(own).map(|f| f.name).collect::<Vec<_>>().join(", ")
}
