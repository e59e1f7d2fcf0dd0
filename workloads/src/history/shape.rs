//! What a history's lines hold: one table of operations, fields, kinds and bounds. Lines are read along it
//! ([`super::line`]), the published JSON Schema is written from it ([`super::schema`]), and a test holds it against what
//! is written.

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// A whole number within bounds, both included.
    Number(i128, i128),
    /// True or false.
    Bool,
    /// Any string.
    Text,
    /// A topic's name as Kafka takes it.
    Topic,
    /// A UUID with its dashes.
    Uuid,
    /// One of some words.
    Word(&'static [&'static str]),
    /// A string or a number, of the recorder's choice.
    Name,
    /// An object with these fields.
    Object(&'static [Field]),
    /// A list.
    List(&'static Kind),
    /// A list of two.
    Pair(&'static Kind, &'static Kind),
    /// An object of strings under free keys.
    Settings,
}

/// Whether a field must be there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Need {
    /// It must, and must not be null.
    Must,
    /// It must, and may be null.
    OrNull,
    /// It may be absent or null.
    May,
}

/// A field of an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    /// Its name.
    pub(super) name: &'static str,
    /// What it holds.
    pub(super) kind: Kind,
    /// Whether it must be there.
    pub(super) need: Need,
    /// What it means, with its unit.
    pub(super) about: &'static str,
}

/// An operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation {
    /// Its name.
    pub(super) name: &'static str,
    /// When it is written.
    pub(super) about: &'static str,
    /// The fields of its own.
    pub(super) fields: &'static [Field],
}

const fn must(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, kind, need: Need::Must, about }
}

const fn may(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, kind, need: Need::May, about }
}

const NANOS: Kind = Kind::Number(0, u64::MAX as i128);
const COUNT: Kind = Kind::Number(0, u32::MAX as i128);
const UNSIGNED: Kind = Kind::Number(0, u64::MAX as i128);
const INT64: Kind = Kind::Number(i64::MIN as i128, i64::MAX as i128);
const OFFSET: Kind = Kind::Number(0, i64::MAX as i128);
const PARTITION: Kind = Kind::Number(0, i32::MAX as i128);
/// -1 stands for "unknown", as in Kafka.
const EPOCH: Kind = Kind::Number(-1, i32::MAX as i128);

const TOPIC_PARTITION: Kind = Kind::Object(&[
    must("topic", Kind::Topic, "the topic's name"),
    must("partition", PARTITION, "the partition, from 0"),
]);
const SOURCE: Field = must("source", TOPIC_PARTITION, "topic and partition");
const ISOLATION: Field =
    must("isolation", Kind::Word(&["read_uncommitted", "read_committed"]), "`isolation.level` of the reader");
const VALUE: Field = must("value", Kind::Name, "what is sent: any string or number, and no other send has it");
const OUTCOME: Field = must(
    "outcome",
    Kind::Word(&["ok", "fail", "info"]),
    "ok: it happened; fail: it certainly did not happen and never will; info: it may or may not have happened, and may yet",
);
const ERROR: Field = may("error", Kind::Text, "the error's name, where there was one");
const GENERATION: Field =
    must("generation", Kind::Number(-1, i32::MAX as i128), "the generation (classic) or the member epoch (KIP-848)");
const PARTITIONS: Field = must("partitions", Kind::List(&TOPIC_PARTITION), "which partitions");
const COMMIT: Field =
    must("commit", UNSIGNED, "the commit's number within the client's incarnation; each is greater than the last");
const FROM: Field = must("from", OFFSET, "the first offset");
const TO: Field = must("to", OFFSET, "the end, exclusive; not below `from`");

/// The fields of every operation.
pub(super) const COMMON: &[Field] = &[
    must("at", NANOS, "when, in nanoseconds since the history began; no line is earlier than the one before it"),
    must("client", Kind::Number(0, super::MAX_CLIENT as i128), "the client's number, below 1048576"),
    must("incarnation", Kind::Number(1, u32::MAX as i128), "how often the client was started, from 1; it only grows"),
    must("op", Kind::Text, "the operation's name"),
];

const PRODUCER_FACTS: Kind = Kind::Object(&[
    must("acks", Kind::Word(&["0", "1", "all", "-1"]), "`acks`"),
    must("idempotent", Kind::Bool, "`enable.idempotence`, as in force"),
    must("max_in_flight", COUNT, "`max.in.flight.requests.per.connection`"),
    must(
        "resolves_within",
        NANOS,
        "`delivery.timeout.ms` + `max.block.ms`, in nanoseconds: the longest a send may take",
    ),
]);

const MEMBER_FACTS: Kind = Kind::Object(&[
    must("group", Kind::Text, "`group.id`"),
    must(
        "protocol",
        Kind::Word(&["eager", "cooperative", "consumer"]),
        "how partitions are shared out: classic groups that give up everything at a rebalance, classic groups that keep \
         what stays theirs (KIP-429), or KIP-848",
    ),
    may("instance", Kind::Text, "`group.instance.id`, of a static member"),
    must("auto_commit", Kind::Bool, "`enable.auto.commit`"),
    must(
        "processing",
        Kind::Word(&["finish-then-commit", "commit-then-finish", "hand-off"]),
        "whether records are finished before they are committed, committed before they are handled, or handed to workers",
    ),
    must("effects", Kind::Bool, "whether an `effect` is written for each record"),
    must("resets_to_latest", Kind::Bool, "`auto.offset.reset` is `latest`"),
    may("forwards_to", Kind::List(&Kind::Topic), "topics that each get a record that follows from one that was read"),
    may("declines_to", Kind::Topic, "the topic that gets the only record that follows, where the member declines"),
]);

const READ_RECORD: Kind = Kind::Object(&[
    must("offset", OFFSET, "the record's offset"),
    may("leader_epoch", EPOCH, "the leader epoch of the record's batch; absent or -1 if unknown"),
    Field {
        name: "value",
        kind: Kind::Name,
        need: Need::OrNull,
        about: "what was sent, exactly as the send named it; null if the bytes were nothing that a send names",
    },
    may("key", Kind::Name, "the record's key, as the send named it"),
    may("timestamp", INT64, "the record's timestamp, in milliseconds; -1 if unknown"),
]);

/// Every operation.
pub(super) const OPS: &[Operation] = &[
    Operation {
        name: "producer",
        about: "A producer came up. Stands before its first send.",
        fields: &[must("facts", PRODUCER_FACTS, "the producer's settings")],
    },
    Operation {
        name: "send",
        about: "A record is handed to the producer. Written before the call.",
        fields: &[
            VALUE,
            must("topic", Kind::Topic, "the topic's name"),
            may("partition", PARTITION, "the partition, if the application chose it"),
            may("key", Kind::Name, "the record's key: any string or number"),
            may("tombstone", Kind::Bool, "the record has no value: it deletes its key"),
            may("late_by", NANOS, "how long after its intended time it was handed over, in nanoseconds"),
            may("from", Kind::Name, "the value it follows from, if a service made it of one it had read"),
        ],
    },
    Operation {
        name: "sent",
        about: "A send resolved: its callback ran, or its future completed. A send that never resolves has no such line.",
        fields: &[
            VALUE,
            OUTCOME,
            may("partition", PARTITION, "the partition it went to, if known"),
            may("offset", OFFSET, "the acknowledged offset; absent or null if the answer had none (never -1)"),
            may("attempts", COUNT, "how often it was put into a request; absent if the client does not tell"),
            may("producer_id", INT64, "the producer id it went out under, if known"),
            ERROR,
        ],
    },
    Operation {
        name: "poll",
        about: "Records of one partition were handed to the application, in this order.",
        fields: &[SOURCE, ISOLATION, must("records", Kind::List(&READ_RECORD), "the records")],
    },
    Operation {
        name: "position",
        about: "A reader goes on at another offset, for another reason than reading. Stands before the first poll, too.",
        fields: &[
            SOURCE,
            Field {
                name: "offset",
                kind: OFFSET,
                need: Need::OrNull,
                about: "the next offset to read; null if it is not known",
            },
            must(
                "reason",
                Kind::Word(&["assigned", "seek", "reset", "truncation"]),
                "assigned: a new assignment; seek: the application's wish; reset: `auto.offset.reset`; truncation: KIP-320",
            ),
        ],
    },
    Operation {
        name: "read_model",
        about: "A read model came up: it keeps the latest value of each key it reads. First line of its incarnation.",
        fields: &[must("topics", Kind::List(&Kind::Topic), "the topics it reads")],
    },
    Operation {
        name: "ask_offset",
        about: "A client asks for an offset (ListOffsets). Written before the call.",
        fields: &[must("ask", UNSIGNED, "the question's number within the client's incarnation")],
    },
    Operation {
        name: "list_offsets",
        about: "The answer to such a question, if there was one.",
        fields: &[
            must("ask", UNSIGNED, "the question's number"),
            SOURCE,
            may("topic_id", Kind::Uuid, "the topic's id, if known"),
            ISOLATION,
            must("query", Kind::Number(-6, i64::MAX as i128), "-1 for latest, -2 for earliest, else milliseconds"),
            must("offset", Kind::Number(-1, i64::MAX as i128), "the answer; -1 only if no record has such a timestamp"),
            must("leader_epoch", EPOCH, "the leader epoch of the answer, or -1"),
        ],
    },
    Operation {
        name: "final_read",
        about: "The final full read of a partition is complete: this client polled everything from `from` to `to`.",
        fields: &[SOURCE, FROM, TO],
    },
    Operation {
        name: "member",
        about: "A group member came up. First line of its incarnation.",
        fields: &[must("facts", MEMBER_FACTS, "what the member is")],
    },
    Operation {
        name: "assigned",
        about: "Partitions came to a member (onPartitionsAssigned): only those it did not have.",
        fields: &[GENERATION, PARTITIONS],
    },
    Operation {
        name: "revoked",
        about: "Partitions were taken from a member. Stands after what its callback committed.",
        fields: &[
            GENERATION,
            PARTITIONS,
            must("lost", Kind::Bool, "it had lost them already and could commit nothing (onPartitionsLost)"),
        ],
    },
    Operation {
        name: "commit",
        about: "A member asks the coordinator to commit. Written before the call.",
        fields: &[
            COMMIT,
            must("trigger", Kind::Word(&["auto", "sync", "async", "revocation", "close"]), "what made it"),
            GENERATION,
            must(
                "offsets",
                Kind::List(&Kind::Pair(&TOPIC_PARTITION, &OFFSET)),
                "each partition with its next offset to be read",
            ),
        ],
    },
    Operation { name: "committed", about: "A commit resolved.", fields: &[COMMIT, OUTCOME, ERROR] },
    Operation {
        name: "finished",
        about: "The application is through with what was delivered to it from `from` to `to`.",
        fields: &[SOURCE, FROM, TO],
    },
    Operation {
        name: "effect",
        about: "The application did something outside Kafka because of a record.",
        fields: &[
            SOURCE,
            must("offset", OFFSET, "the record's offset"),
            Field { name: "value", kind: Kind::Name, need: Need::OrNull, about: "what the record carried" },
        ],
    },
    Operation {
        name: "group_offset",
        about: "What was found committed for a group at the end.",
        fields: &[
            must("group", Kind::Text, "`group.id`"),
            SOURCE,
            Field {
                name: "offset",
                kind: OFFSET,
                need: Need::OrNull,
                about: "the committed offset; null if there is none",
            },
        ],
    },
];

/// An operation, by its name.
pub(super) fn of(op: &str) -> Option<&'static Operation> {
    OPS.iter().find(|known| known.name == op)
}

/// The names of all operations, for an error.
pub(super) fn op_names() -> String {
    OPS.iter().map(|op| op.name).collect::<Vec<_>>().join(", ")
}

const AT: Field = must("at", NANOS, "when, in nanoseconds of the history");
const LOST_FROM: Field = may("from", INT64, "the first offset concerned, if known");
const BEYOND: Field =
    must("beyond_budget", Kind::Bool, "whether it was more than replication survives: no in-sync copy was left");

/// What was declared to have happened.
const DECLARED: &[Field] = &[
    may("recorded", Kind::Bool, "the history comes from a real cluster: its configuration counts, see `configured`"),
    may(
        "configured",
        Kind::Object(&[
            may("unclean_election", Kind::Bool, "`unclean.leader.election.enable`"),
            may("compaction", Kind::Bool, "`cleanup.policy` contains `compact`"),
            may(
                "deletion",
                Kind::Bool,
                "`cleanup.policy` contains `delete` within reach of the run, or records were deleted",
            ),
        ]),
        "how the cluster was configured; read only if `recorded`",
    ),
    may("transaction_version", Kind::Number(0, u16::MAX as i128), "`transaction.version`, if transactions were used"),
    may(
        "leader_changes",
        Kind::List(&Kind::Object(&[
            AT,
            SOURCE,
            must("epoch", Kind::Number(i32::MIN as i128, i32::MAX as i128), "the new leader epoch"),
            may("deposed_by", NANOS, "when the last older leader ceased to accept records, if known"),
        ])),
        "changes of leaders",
    ),
    may("uncleans", Kind::List(&Kind::Object(&[AT, SOURCE, LOST_FROM])), "unclean elections"),
    may("losses", Kind::List(&Kind::Object(&[AT, SOURCE, LOST_FROM, BEYOND])), "replicas that lost data"),
    may(
        "damages",
        Kind::List(&Kind::Object(&[
            AT,
            SOURCE,
            must("from", INT64, "the first damaged offset"),
            must("to", INT64, "the end, exclusive"),
            BEYOND,
        ])),
        "replicas whose data went bad in place",
    ),
    may(
        "log_starts",
        Kind::List(&Kind::Object(&[AT, SOURCE, must("offset", INT64, "the new log start")])),
        "deletions by retention or by request",
    ),
    may(
        "compactions",
        Kind::List(&Kind::Object(&[
            AT,
            SOURCE,
            must("removed", Kind::List(&INT64), "the offsets that went, ascending"),
        ])),
        "what compaction removed",
    ),
    may(
        "expiries",
        Kind::List(&Kind::Object(&[AT, SOURCE, may("producer_id", INT64, "which producer; absent: any")])),
        "partitions that forgot a producer, or never knew one of which they took a later batch first",
    ),
    may(
        "offsets_altered",
        Kind::List(&Kind::Object(&[
            AT,
            must("group", Kind::Text, "`group.id`"),
            may("source", TOPIC_PARTITION, "of which partition; absent: of all"),
        ])),
        "committed offsets that expired, were deleted, or were set from outside the group",
    ),
    may(
        "partition_changes",
        Kind::List(&Kind::Object(&[
            AT,
            must("topic", Kind::Topic, "which topic"),
            must("count", Kind::Number(1, i32::MAX as i128), "how many partitions it has since"),
        ])),
        "topics that got more partitions: keys may go elsewhere from then on",
    ),
];

/// The first line.
pub(super) const HEADER: &[Field] = &[
    must("klamm-history", Kind::Number(super::SCHEMA as i128, super::SCHEMA as i128), "the version of the format"),
    may("declared", Kind::Object(DECLARED), "what happened to the cluster, as far as it may excuse anything"),
    may("settings", Kind::Settings, "whatever tells people what this is"),
];

/// A kind in words, for errors and documents.
pub(super) fn words(kind: &Kind) -> String {
    match *kind {
        Kind::Number(least, most) if least == most => format!("the number {least}"),
        Kind::Number(least, most) => match (least, most) {
            (least, _) if most >= i64::MAX.into() && least <= i64::MIN.into() => "a whole number".to_owned(),
            (least, _) if most >= i64::MAX.into() => format!("a whole number from {least}"),
            _ => format!("a whole number from {least} to {most}"),
        },
        Kind::Bool => "true or false".to_owned(),
        Kind::Text => "a string".to_owned(),
        Kind::Topic => "a topic's name: 1 to 249 letters, digits, `.`, `_` or `-`".to_owned(),
        Kind::Uuid => "a UUID".to_owned(),
        Kind::Word(known) => known.iter().map(|w| format!("\"{w}\"")).collect::<Vec<_>>().join(", "),
        Kind::Name => "a string or a number".to_owned(),
        Kind::Object(fields) => format!("an object of {}", names(fields)),
        Kind::List(of) => format!("a list, each item {}", words(of)),
        Kind::Pair(a, b) => format!("a list of two: {}, and {}", words(a), words(b)),
        Kind::Settings => "an object of strings".to_owned(),
    }
}

/// The names of fields, for an error.
pub(super) fn names(fields: &[Field]) -> String {
    fields.iter().map(|f| f.name).collect::<Vec<_>>().join(", ")
}

/// Whether Kafka can have a topic of this name.
pub fn is_topic(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=249).contains(&name.len()) && name != "." && name != ".." && name.bytes().all(legal)
}
