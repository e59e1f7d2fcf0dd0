//! The table, as data: every check that something can excuse, and every cause that something raises. A check that is in
//! no row is never permitted.

use super::Cause::{self, *};
use klamm_model::checks::Check;

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
    pub checks: &'static [Check],
    /// Only this clause of them.
    pub clause: Option<Clause>,
    /// What permits them. The first that holds is named.
    pub causes: &'static [Cause],
}

const fn row(checks: &'static [Check], causes: &'static [Cause]) -> Row {
    Row { checks, clause: None, causes }
}

const fn only(clause: Clause, checks: &'static [Check], causes: &'static [Cause]) -> Row {
    Row { checks, clause: Some(clause), causes }
}

/// Every row.
pub const TABLE: &[Row] = &[
    row(&[Check::LostWrite, Check::Unseen], &[Acks1LeaderChange, UncleanElection, DataLoss, Compaction, Deletion]),
    row(&[Check::FailedWriteVisible], &[UncleanElection, DataLoss]),
    row(&[Check::Duplicate], &[AmbiguousRetry, NewProducerIdentity, UncleanElection, DataLoss]),
    row(&[Check::InconsistentOffsets], &[UncleanElection, DataLoss]),
    only(Clause::Acknowledgement, &[Check::InconsistentOffsets], &[Acks1LeaderChange]),
    only(Clause::OtherOffset, &[Check::UnknownRead], &[AmbiguousRetry, NewProducerIdentity, UncleanElection, DataLoss]),
    row(
        &[Check::NonmonotonicSend, Check::IntNonmonotonicSend],
        &[AmbiguousRetryInFlight, NewProducerIdentity, Acks1LeaderChange, UncleanElection, DataLoss],
    ),
    row(&[Check::PollSkip], &[Compaction, Deletion, UncleanElection, DataLoss]),
    row(&[Check::NonmonotonicPoll], &[UncleanElection, DataLoss]),
    row(&[Check::IntPollSkip], &[Compaction]),
    row(&[Check::RealtimeOrder], &[Acks1LeaderChange, UncleanElection, DataLoss]),
    row(&[Check::NextOffsetDivergence], &[Compaction, Deletion, UncleanElection, DataLoss]),
    row(&[Check::ReadEpochRegression, Check::ListOffsetsRegression], &[UncleanElection, DataLoss]),
    row(&[Check::IllegalResume], &[OffsetsAltered, UncleanElection, DataLoss]),
    row(
        &[Check::SkippedRecord],
        &[CommitsBeforeFinishing, PositionMoved, OffsetsAltered, Compaction, Deletion, UncleanElection, DataLoss],
    ),
    row(
        &[Check::HalfDone],
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
        &[Check::OutOfStep],
        &[
            CommitsBeforeFinishing,
            AmbiguousRetryInFlight,
            NewProducerIdentity,
            Acks1LeaderChange,
            UncleanElection,
            DataLoss,
        ],
    ),
    row(&[Check::CommitTooFar], &[PositionMoved, UncleanElection, DataLoss]),
    only(Clause::UncleanHandover, &[Check::DoubleEffect], &[AtLeastOnce]),
    row(&[Check::CompactedValue], &[Acks1LeaderChange, UncleanElection, DataLoss, Deletion]),
    row(&[Check::ReadModel], &[Compaction, Deletion, UncleanElection, DataLoss]),
    row(
        &[
            Check::LogMatching,
            Check::LeaderCompleteness,
            Check::CommittedPrefix,
            Check::TruncationJustified,
            Check::DiskAudit,
            Check::SequenceContiguous,
        ],
        &[UncleanElection, DataLoss],
    ),
    only(Clause::OffsetsTopic, &[Check::CommittedOffset], &[UncleanElection, DataLoss]),
];
