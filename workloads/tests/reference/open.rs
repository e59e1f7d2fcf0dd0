//! Where the two judges are known to part, and why. The list is to become empty; a kind that is not in it, or that became
//! twice as frequent, fails.

use super::compare::Kind;

pub struct Open {
    pub kind: Kind,
    pub of_100_000: u64,
    pub why: &'static str,
}

const fn open(
    check: &'static str,
    reference: Option<bool>,
    fast: Option<bool>,
    of_100_000: u64,
    why: &'static str,
) -> Open {
    Open { kind: (check, reference, fast), of_100_000, why }
}

/// Not counted yet.
const MANY: u64 = 5_000;
const VIOLATION: Option<bool> = Some(false);
const PERMITTED: Option<bool> = Some(true);

pub const OPEN: &[Open] = &[
    open(
        "duplicate",
        VIOLATION,
        PERMITTED,
        MANY,
        "the instant is the last operation concerned, not the one that completed the evidence",
    ),
    open("duplicate", PERMITTED, VIOLATION, MANY, "one place of several is taken for the instant and the offset"),
    open("failed-write-visible", VIOLATION, PERMITTED, MANY, "a later reader of the same takes the place of the first"),
    open(
        "inconsistent-offsets",
        None,
        VIOLATION,
        MANY,
        "an acknowledgement that a read refutes still claims its offset",
    ),
    open(
        "inconsistent-offsets",
        None,
        PERMITTED,
        MANY,
        "an acknowledgement that a read refutes still claims its offset",
    ),
    open(
        "inconsistent-offsets",
        VIOLATION,
        PERMITTED,
        MANY,
        "the instant is the last operation concerned, not the one that completed the evidence",
    ),
    open("inconsistent-offsets", PERMITTED, VIOLATION, MANY, "one pair of several is kept"),
    open("int-poll-skip", PERMITTED, None, MANY, "a jump over several records is judged by the lowest alone"),
    open("int-poll-skip", VIOLATION, None, MANY, "a jump over several records is judged by the lowest alone"),
    open("int-poll-skip", VIOLATION, PERMITTED, MANY, "a jump over several records is judged by the lowest alone"),
    open("key-affinity", VIOLATION, None, MANY, "an unresolved send that was read counts for no partition"),
    open(
        "lost-write",
        None,
        VIOLATION,
        MANY,
        "acknowledged at one offset, read at another, and named as lost, too; or lost though the final reader got it",
    ),
    open("lost-write", None, PERMITTED, MANY, "acknowledged at one offset, read at another, and named as lost, too"),
    open("lost-write", VIOLATION, None, MANY, "acknowledged without an offset, read, and missing in the final read"),
    open("lost-write", PERMITTED, None, MANY, "acknowledged without an offset, read, and missing in the final read"),
    open(
        "lost-write",
        VIOLATION,
        PERMITTED,
        MANY,
        "deletion with an older record in the same stretch, acks=1 with survivors of the old leadership, or an instant too late",
    ),
    open("lost-write", PERMITTED, VIOLATION, MANY, "one pass of several is kept"),
    open("nonmonotonic-send", VIOLATION, PERMITTED, MANY, "only the highest before is compared"),
    open("nonmonotonic-send", PERMITTED, VIOLATION, MANY, "only the highest before is compared"),
    open(
        "nonmonotonic-send",
        PERMITTED,
        None,
        MANY,
        "an acknowledgement on another partition than chosen has no place",
    ),
    open(
        "nonmonotonic-send",
        VIOLATION,
        None,
        MANY,
        "an acknowledgement on another partition than chosen has no place",
    ),
    open("next-offset-divergence", VIOLATION, PERMITTED, MANY, "one pair of several is kept"),
    open("next-offset-divergence", PERMITTED, VIOLATION, MANY, "one pair of several is kept"),
    open("next-offset-divergence", VIOLATION, None, MANY, "only the nearest successor is compared"),
    open("next-offset-divergence", PERMITTED, None, MANY, "only the nearest successor is compared"),
    open("nonmonotonic-poll", VIOLATION, PERMITTED, MANY, "one pair of several is kept"),
    open("poll-skip", VIOLATION, None, MANY, "a jump over several records is judged by the lowest alone"),
    open("poll-skip", PERMITTED, None, MANY, "a jump over several records is judged by the lowest alone"),
    open("poll-skip", VIOLATION, PERMITTED, MANY, "a jump over several records is judged by the lowest alone"),
    open(
        "read-epoch-regression",
        VIOLATION,
        PERMITTED,
        MANY,
        "neighbours alone are compared, at the instant of the last read",
    ),
    open(
        "read-epoch-regression",
        PERMITTED,
        VIOLATION,
        MANY,
        "neighbours alone are compared, at the instant of the last read",
    ),
    open("realtime-order", None, VIOLATION, MANY, "an acknowledgement that a read refutes still has its offset"),
    open("realtime-order", None, PERMITTED, MANY, "an acknowledgement that a read refutes still has its offset"),
    open("realtime-order", VIOLATION, PERMITTED, MANY, "only the highest before is compared"),
    open("realtime-order", PERMITTED, VIOLATION, MANY, "only the highest before is compared"),
    open(
        "send-resolves",
        VIOLATION,
        None,
        MANY,
        "without idempotence, what resolved with later ones in time is forgiven",
    ),
    open(
        "unknown-read",
        None,
        VIOLATION,
        MANY,
        "chosen for one partition, acknowledged on another, read where it was chosen",
    ),
    open(
        "unknown-read",
        None,
        PERMITTED,
        MANY,
        "chosen for one partition, acknowledged on another, read where it was chosen",
    ),
    open("unknown-read", VIOLATION, PERMITTED, MANY, "one place of several is taken for the instant and the offset"),
    open("unknown-read", PERMITTED, VIOLATION, MANY, "one place of several is taken for the instant and the offset"),
];
