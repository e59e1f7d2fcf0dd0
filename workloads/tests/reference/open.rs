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

const VIOLATION: Option<bool> = Some(false);
const PERMITTED: Option<bool> = Some(true);

pub const OPEN: &[Open] = &[
    open(
        "duplicate",
        VIOLATION,
        PERMITTED,
        310,
        "the instant is the last operation concerned, not the one that completed the evidence",
    ),
    open(
        "duplicate",
        PERMITTED,
        None,
        5,
        "chosen for one partition, acknowledged on another, read where it was chosen",
    ),
    open("duplicate", PERMITTED, VIOLATION, 5, "one place of several is taken for the instant and the offset"),
    open("failed-write-visible", VIOLATION, PERMITTED, 5, "a later reader of the same takes the place of the first"),
    open(
        "inconsistent-offsets",
        None,
        VIOLATION,
        2510,
        "an acknowledgement that a read refutes still claims its offset",
    ),
    open(
        "inconsistent-offsets",
        None,
        PERMITTED,
        1425,
        "an acknowledgement that a read refutes still claims its offset",
    ),
    open(
        "inconsistent-offsets",
        VIOLATION,
        PERMITTED,
        30,
        "the instant is the last operation concerned, not the one that completed the evidence",
    ),
    open("inconsistent-offsets", PERMITTED, VIOLATION, 5, "one pair of several is kept"),
    open("int-poll-skip", VIOLATION, None, 5, "a jump over several records is judged by the lowest alone"),
    open("int-poll-skip", VIOLATION, PERMITTED, 5, "a jump over several records is judged by the lowest alone"),
    open("int-poll-skip", PERMITTED, None, 5, "a jump over several records is judged by the lowest alone"),
    open("key-affinity", VIOLATION, None, 100, "an unresolved send that was read counts for no partition"),
    open("next-offset-divergence", VIOLATION, None, 5, "only the nearest successor is compared"),
    open("next-offset-divergence", VIOLATION, PERMITTED, 5, "one pair of several is kept"),
    open("next-offset-divergence", PERMITTED, None, 5, "only the nearest successor is compared"),
    open("next-offset-divergence", PERMITTED, VIOLATION, 5, "one pair of several is kept"),
    open("nonmonotonic-poll", VIOLATION, None, 5, "not explained yet"),
    open("nonmonotonic-poll", VIOLATION, PERMITTED, 5, "one pair of several is kept"),
    open("poll-skip", VIOLATION, None, 45, "what clashes at an offset is judged as one record"),
    open("poll-skip", VIOLATION, PERMITTED, 5, "a jump over several records is judged by the lowest alone"),
    open("poll-skip", PERMITTED, None, 30, "what clashes at an offset is judged as one record"),
    open("poll-skip", PERMITTED, VIOLATION, 10, "a jump over several records is judged by the lowest alone"),
    open(
        "read-epoch-regression",
        VIOLATION,
        PERMITTED,
        20,
        "neighbours alone are compared, at the instant of the last read",
    ),
    open(
        "read-epoch-regression",
        PERMITTED,
        VIOLATION,
        5,
        "neighbours alone are compared, at the instant of the last read",
    ),
    open("realtime-order", None, VIOLATION, 45, "an acknowledgement that a read refutes still has its offset"),
    open("realtime-order", None, PERMITTED, 85, "an acknowledgement that a read refutes still has its offset"),
    open("realtime-order", VIOLATION, PERMITTED, 30, "only the highest before is compared"),
    open("realtime-order", PERMITTED, VIOLATION, 5, "only the highest before is compared"),
    open(
        "send-resolves",
        VIOLATION,
        None,
        10,
        "without idempotence, what resolved with later ones in time is forgiven",
    ),
    open(
        "unknown-read",
        None,
        VIOLATION,
        5,
        "chosen for one partition, acknowledged on another, read where it was chosen",
    ),
    open(
        "unknown-read",
        None,
        PERMITTED,
        5,
        "chosen for one partition, acknowledged on another, read where it was chosen",
    ),
    open("unknown-read", VIOLATION, PERMITTED, 5, "one place of several is taken for the instant and the offset"),
    open("unknown-read", PERMITTED, VIOLATION, 5, "one place of several is taken for the instant and the offset"),
];
