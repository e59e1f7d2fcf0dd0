//! The table, as data: every check that something can excuse, and every cause that something raises. A check that is in
//! no row is never permitted.

use super::Cause::{self, *};

/// Where the table permits part of a check only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clause {
    /// inconsistent-offsets: one side is an acknowledgement.
    Acknowledgement,
    /// unknown-read: a value that was sent, on its partition, but not at its acknowledged offset.
    OtherOffset,
    /// double-effect: the handover between the two was not clean.
    UncleanHandover,
    /// committed-offset: what happened, happened to the offsets topic.
    OffsetsTopic,
}

/// Checks, and what permits them.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The checks.
    pub checks: &'static [&'static str],
    /// Only this clause of them.
    pub clause: Option<Clause>,
    /// What permits them. The first that holds is named.
    pub causes: &'static [Cause],
}

const fn row(checks: &'static [&'static str], causes: &'static [Cause]) -> Row {
    Row { checks, clause: None, causes }
}

const fn only(clause: Clause, checks: &'static [&'static str], causes: &'static [Cause]) -> Row {
    Row { checks, clause: Some(clause), causes }
}

/// Every row.
pub const TABLE: &[Row] = &[
    row(&["lost-write", "unseen"], &[Acks1LeaderChange, UncleanElection, DataLoss, Compaction, Deletion]),
    row(&["failed-write-visible"], &[UncleanElection, DataLoss]),
    row(&["duplicate"], &[AmbiguousRetry, NewProducerIdentity, UncleanElection, DataLoss]),
    row(&["inconsistent-offsets"], &[UncleanElection, DataLoss]),
    only(Clause::Acknowledgement, &["inconsistent-offsets"], &[Acks1LeaderChange]),
    only(Clause::OtherOffset, &["unknown-read"], &[AmbiguousRetry, NewProducerIdentity, UncleanElection, DataLoss]),
    row(
        &["nonmonotonic-send", "int-nonmonotonic-send"],
        &[AmbiguousRetryInFlight, NewProducerIdentity, Acks1LeaderChange, UncleanElection, DataLoss],
    ),
    row(&["poll-skip"], &[Compaction, Deletion, UncleanElection, DataLoss]),
    row(&["nonmonotonic-poll"], &[UncleanElection, DataLoss]),
    row(&["int-poll-skip"], &[Compaction]),
    row(&["realtime-order"], &[Acks1LeaderChange, UncleanElection, DataLoss]),
    row(&["next-offset-divergence"], &[Compaction, Deletion, UncleanElection, DataLoss]),
    row(&["read-epoch-regression", "list-offsets-regression"], &[UncleanElection, DataLoss]),
    row(&["illegal-resume"], &[OffsetsAltered, UncleanElection, DataLoss]),
    row(
        &["skipped-record"],
        &[CommitsBeforeFinishing, PositionMoved, OffsetsAltered, Compaction, Deletion, UncleanElection, DataLoss],
    ),
    row(
        &["half-done"],
        &[
            CommitsBeforeFinishing,
            Acks0,
            Acks1LeaderChange,
            PositionMoved,
            OffsetsAltered,
            Compaction,
            Deletion,
            UncleanElection,
            DataLoss,
        ],
    ),
    row(
        &["out-of-step"],
        &[
            CommitsBeforeFinishing,
            AmbiguousRetryInFlight,
            NewProducerIdentity,
            Acks1LeaderChange,
            UncleanElection,
            DataLoss,
        ],
    ),
    row(&["commit-too-far"], &[PositionMoved, UncleanElection, DataLoss]),
    only(Clause::UncleanHandover, &["double-effect"], &[AtLeastOnce]),
    row(&["compacted-value"], &[Acks1LeaderChange, UncleanElection, DataLoss, Deletion]),
    row(&["read-model"], &[Compaction, Deletion, UncleanElection, DataLoss]),
    row(
        &[
            "log-matching",
            "leader-completeness",
            "committed-prefix",
            "truncation-justified",
            "disk-audit",
            "sequence-contiguous",
        ],
        &[UncleanElection, DataLoss],
    ),
    only(Clause::OffsetsTopic, &["committed-offset"], &[UncleanElection, DataLoss]),
];
