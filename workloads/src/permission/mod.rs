//! What is permitted, and when: one table, and the declarations it is judged by.
//!
//! A finding is permitted by **what happened, to that partition, before the finding**, per send or per reader; never
//! by what merely could have happened. Configuration alone counts only for recorded histories
//! ([`Declared::recorded`]), and there it is the configured value. Permitted findings stay findings: they are counted
//! and charted, because they are how configurations are compared.
//!
//! The parts: [`declared`] is what happened, as `klamm-scenarios` translates it from the faults that fired, or as a
//! recorded history tells it in its header; [`table`] is the rule, as data; [`permitted`] puts both together.

pub mod declared;
pub mod table;

pub use declared::{
    Compacted, Configured, Damage, Declared, Expired, LeaderChange, LogStart, Loss, OffsetsAltered, Unclean,
};
pub use table::{Clause, Row, TABLE};

use klamm_model::history::{Acks, IsolationLevel, PositionReason, TopicPartition, ValueId};
use klamm_model::ids::Offset;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Why a finding may be legal. The names are those of the table in the documentation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Cause {
    /// acks=0.
    #[serde(rename = "a0")]
    A0,
    /// acks=1 and a later leader change or loss.
    #[serde(rename = "a1")]
    A1,
    /// Unclean or last-known-leader election.
    U,
    /// Declared loss, beyond what replication survives.
    L,
    /// Ambiguous retry without idempotence.
    ND,
    /// The same, with more than one request in flight.
    ND5,
    /// New producer identity, or producer state expired.
    NI,
    /// Compaction.
    C,
    /// Deletion by retention or request.
    D,
    /// The reader reads uncommitted.
    RU,
    /// transaction.version below 2.
    V1,
    /// Assignment change.
    R,
    /// Seek, reset or application-chosen commit.
    S,
    /// Offsets expired or altered.
    X,
    /// At-least-once application.
    AL,
    /// The application commits before finishing.
    CB,
    /// No transactions.
    NT,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Cause; 17] = {
        use Cause::*;
        [A0, A1, U, L, ND, ND5, NI, C, D, RU, V1, R, S, X, AL, CB, NT]
    };

    /// Its short name, as in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Cause::A0 => "a0",
            Cause::A1 => "a1",
            Cause::U => "U",
            Cause::L => "L",
            Cause::ND => "ND",
            Cause::ND5 => "ND5",
            Cause::NI => "NI",
            Cause::C => "C",
            Cause::D => "D",
            Cause::RU => "RU",
            Cause::V1 => "V1",
            Cause::R => "R",
            Cause::S => "S",
            Cause::X => "X",
            Cause::AL => "AL",
            Cause::CB => "CB",
            Cause::NT => "NT",
        }
    }

    /// What it means, for people.
    pub const fn meaning(self) -> &'static str {
        match self {
            Cause::A0 => "acks=0",
            Cause::A1 => "acks=1 and a later leader change or loss",
            Cause::U => "unclean leader election",
            Cause::L => "declared loss of data beyond what replication survives",
            Cause::ND => "ambiguous retry without idempotence",
            Cause::ND5 => "ambiguous retry without idempotence, several requests in flight",
            Cause::NI => "new producer identity",
            Cause::C => "compaction",
            Cause::D => "deletion by retention or request",
            Cause::RU => "read_uncommitted",
            Cause::V1 => "transaction.version below 2",
            Cause::R => "assignment change",
            Cause::S => "seek or reset",
            Cause::X => "offsets expired or altered",
            Cause::AL => "at-least-once application",
            Cause::CB => "commits before finishing",
            Cause::NT => "no transactions",
        }
    }
}

/// What is known of one send that a finding is about.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SendFacts {
    /// Which send.
    pub value: ValueId,
    /// When it was handed to the producer, nanoseconds.
    pub invoked: u64,
    /// `acks` of its producer.
    pub acks: Acks,
    /// `enable.idempotence` of its producer.
    pub idempotent: bool,
    /// `max.in.flight.requests.per.connection` of its producer.
    pub max_in_flight: u32,
    /// How often it was put into a request, as far as known.
    pub attempts: u32,
    /// Whether it was acknowledged.
    pub acknowledged: bool,
    /// The producer took a new identity (producer id, or epoch after a delivery timeout) after this send was invoked.
    pub renewed: bool,
}

/// What is known of the application that a finding is about, for the checks of groups and transactions.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct AppFacts {
    /// Its committed offsets expired or were altered.
    pub offsets_altered: bool,
    /// It is at-least-once by construction.
    pub at_least_once: bool,
    /// It commits before it has finished.
    pub commits_before_finishing: bool,
    /// It uses no transactions.
    pub no_transactions: bool,
}

/// What a finding is about, as far as permission depends on it. Times are nanoseconds.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Facts {
    /// When it was found: only what was declared to have happened by then can permit it.
    pub at: u64,
    /// Which partition.
    pub source: TopicPartition,
    /// The offset it is about: the one lost, skipped or contradicted.
    pub offset: Option<Offset>,
    /// The sends it is about.
    pub sends: Vec<SendFacts>,
    /// The reader's isolation.
    pub isolation: Option<IsolationLevel>,
    /// The reader's position jumped in between, for this reason.
    pub boundary: Option<PositionReason>,
    /// The application.
    pub app: AppFacts,
    /// The consumer group it is about.
    #[serde(default)]
    pub group: Option<Arc<str>>,
    /// Which clause of the check was violated, where the table distinguishes.
    pub clause: Option<Clause>,
    /// Whether a later value of its key stands, or it deleted its key; known for recorded histories of compacted topics.
    #[serde(default)]
    pub superseded: Option<bool>,
}

impl Facts {
    /// Facts about a partition, nothing else known.
    pub fn new(at: u64, source: TopicPartition) -> Facts {
        Facts {
            at,
            source,
            offset: None,
            sends: Vec::new(),
            isolation: None,
            boundary: None,
            app: AppFacts::default(),
            group: None,
            clause: None,
            superseded: None,
        }
    }
}

/// The first cause in the table that permits this finding, if any does.
pub fn permitted(check: &str, facts: &Facts, declared: &Declared) -> Option<Cause> {
    TABLE
        .iter()
        .filter(|row| row.checks.contains(&check) && row.clause.is_none_or(|c| facts.clause == Some(c)))
        .flat_map(|row| row.causes)
        .copied()
        .find(|&cause| holds(cause, check, facts, declared))
}

/// Whether `cause` is true of this finding.
fn holds(cause: Cause, check: &str, facts: &Facts, declared: &Declared) -> bool {
    let recorded = declared.recorded;
    let configured = &declared.configured;
    // The extent of what was cut or lost bounds what may be missing. It does not bound disorder: a producer whose
    // state went with the suffix may repeat itself anywhere above.
    let missing = matches!(check, "lost-write" | "unseen" | "compacted-value");
    let lost_from = |from: Option<Offset>| match (missing, facts.offset, from) {
        (true, Some(offset), Some(from)) => offset >= from,
        _ => true,
    };
    let any_send = |f: &dyn Fn(&SendFacts) -> bool| facts.sends.iter().any(f);
    match cause {
        Cause::A0 => any_send(&|s| s.acks == Acks::None),
        Cause::A1 => any_send(&|s| {
            s.acks == Acks::Leader
                && (recorded
                    || declared.leader_changes(facts).any(|c| c.deposed_by.is_none_or(|end| end >= s.invoked))
                    || declared.losses(facts).any(|l| lost_from(l.from))
                    || declared.damages(facts).any(|d| d.covers(facts.offset)))
        }),
        Cause::U => (recorded && configured.unclean_election) || declared.uncleans(facts).any(|u| lost_from(u.from)),
        Cause::L => {
            declared.losses(facts).any(|l| l.beyond_budget && lost_from(l.from))
                || declared.damages(facts).any(|d| d.beyond_budget && d.covers(facts.offset))
        }
        Cause::ND => any_send(&|s| !s.idempotent && (recorded || s.attempts > 1)),
        Cause::ND5 => {
            any_send(&|s| !s.idempotent && s.max_in_flight > 1)
                && (recorded || any_send(&|s| !s.idempotent && s.attempts > 1))
        }
        Cause::NI => any_send(&|s| s.renewed) || declared.expiries(facts).next().is_some(),
        Cause::C => {
            (recorded && configured.compaction && facts.superseded != Some(false))
                || declared.compactions(facts).any(|c| c.covers(facts.offset))
        }
        Cause::D => {
            (recorded && configured.deletion)
                || declared.log_starts(facts).any(|s| facts.offset.is_none_or(|offset| offset < s.offset))
        }
        Cause::RU => facts.isolation == Some(IsolationLevel::ReadUncommitted),
        Cause::V1 => declared.transaction_version.is_some_and(|v| v < 2),
        Cause::R => facts.boundary == Some(PositionReason::Assigned),
        Cause::S => matches!(facts.boundary, Some(PositionReason::Seek | PositionReason::Reset)),
        Cause::X => facts.app.offsets_altered,
        Cause::AL => facts.app.at_least_once,
        Cause::CB => facts.app.commits_before_finishing,
        Cause::NT => facts.app.no_transactions,
    }
}

#[cfg(test)]
mod tests;
