//! The table, as data. It holds every check of the design, those of groups and transactions included; a check that is
//! in no row is never permitted.

use super::Cause::{self, *};

/// Where the table permits part of a check only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clause {
    /// inconsistent-offsets: one side is an acknowledgement.
    Acknowledgement,
    /// unknown-read: a value somebody sent, on its partition, but not at its acknowledged offset.
    OtherOffset,
    /// double-effect: the handover between the two was not clean.
    UncleanHandover,
    /// committed-offset: what happened, happened to the offsets topic.
    OffsetsTopic,
    /// Of the quorum: a majority of voters is concerned.
    VoterMajority,
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
    row(&["lost-write", "unseen"], &[A0, A1, U, L, C, D, S, V1]),
    row(&["failed-write-visible"], &[U, L]),
    row(&["duplicate"], &[ND, NI, U, L]),
    row(&["inconsistent-offsets"], &[U, L]),
    only(Clause::Acknowledgement, &["inconsistent-offsets"], &[A1]),
    only(Clause::OtherOffset, &["unknown-read"], &[ND, NI, U, L]),
    row(&["nonmonotonic-send", "int-nonmonotonic-send"], &[ND5, NI, A1, U, L]),
    row(&["poll-skip"], &[R, S, C, D, U, L]),
    row(&["nonmonotonic-poll"], &[R, S, U, L]),
    row(&["int-poll-skip"], &[C]),
    row(&["realtime-order"], &[A0, A1, U, L]),
    row(&["next-offset-divergence"], &[C, D, U, L]),
    row(&["read-epoch-regression", "list-offsets-regression"], &[U, L]),
    row(&["g1a"], &[RU, V1, U, L]),
    row(&["precommitted-read"], &[RU]),
    row(&["torn-transaction"], &[RU, V1, U, L, C, D]),
    row(&["g1c"], &[RU, U, L]),
    row(&["illegal-resume"], &[S, X, U, L]),
    row(&["skipped-record"], &[CB, S, X, C, D, U, L]),
    row(&["half-done"], &[CB, A0, A1, S, X, C, D, U, L]),
    row(&["out-of-step"], &[CB, ND5, NI, A1, U, L]),
    row(&["commit-too-far"], &[S, U, L]),
    row(&["commit-regression"], &[S]),
    only(Clause::UncleanHandover, &["double-effect"], &[AL]),
    row(&["exactly-once-output"], &[NT, RU, V1, U, L, D, S]),
    row(&["conserved-sum"], &[NT, RU, V1, U, L]),
    row(&["compacted-value"], &[A0, A1, U, L, D]),
    row(&["read-model"], &[C, D, U, L]),
    row(
        &[
            "log-matching",
            "leader-completeness",
            "committed-prefix",
            "truncation-justified",
            "disk-audit",
            "stable-offset",
            "sequence-contiguous",
        ],
        &[U, L],
    ),
    row(&["one-outcome"], &[U, L, D]),
    row(&["committed-offset"], &[X]),
    only(Clause::OffsetsTopic, &["committed-offset"], &[U, L]),
    only(Clause::VoterMajority, &["single-leader-per-epoch", "metadata-prefix", "quorum-safety"], &[L]),
];
