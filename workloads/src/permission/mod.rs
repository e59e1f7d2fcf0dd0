//! What is permitted, and when: one table, and the declarations it is judged by.
//!
//! A finding is permitted by **what happened, to that partition, before the finding**, per send or per reader; never
//! by what merely could have happened. A cause excuses only what it can have done: in time (while the send was open),
//! in place (that partition), to whom (that client and incarnation), in shape (deletion takes a prefix, acks=1, an
//! unclean election and a loss take a suffix). Configuration alone counts only for recorded histories
//! ([`Declared::recorded`]), and there it is the configured value. Permitted findings stay findings: they are counted
//! and charted, because they are how configurations are compared.
//!
//! The parts: [`declared`] is what happened, as `klamm-scenarios` translates it from the faults that fired, or as a
//! recorded history tells it in its header; [`table`] is the rule, as data; [`permitted`] puts both together.

pub mod declared;
pub mod table;

pub use declared::{
    Compacted, Configured, Damage, Declared, Expired, LeaderChange, LogStart, Loss, OffsetsAltered, PartitionChange,
    Unclean,
};
pub use table::{Clause, Row, TABLE};

use klamm_model::checks::Check;
use klamm_model::history::{Acks, PositionReason, TopicPartition, ValueId};
use klamm_model::ids::{Offset, ProducerId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Why a finding may be legal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// acks=0: no broker answers for the record.
    #[serde(rename = "acks-0")]
    Acks0,
    /// acks=1, and the leadership that acknowledged ended, or its replica lost data.
    #[serde(rename = "acks-1-leader-change")]
    Acks1LeaderChange,
    /// Unclean or last-known-leader election.
    UncleanElection,
    /// Declared loss of data, beyond what replication survives.
    DataLoss,
    /// A send was tried again without idempotence, its earlier attempt unresolved.
    AmbiguousRetry,
    /// The same, with more than one request in flight.
    AmbiguousRetryInFlight,
    /// A producer took a new identity while the send was open, or a partition forgot the old one.
    NewProducerIdentity,
    /// Compaction.
    Compaction,
    /// Deletion by retention or request.
    Deletion,
    /// The application sought, or its position was reset.
    PositionMoved,
    /// A group's committed offsets expired or were altered.
    OffsetsAltered,
    /// The application is at-least-once.
    AtLeastOnce,
    /// The application commits before it has finished.
    CommitsBeforeFinishing,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Cause; 13] = {
        use Cause::*;
        [
            Acks0,
            Acks1LeaderChange,
            UncleanElection,
            DataLoss,
            AmbiguousRetry,
            AmbiguousRetryInFlight,
            NewProducerIdentity,
            Compaction,
            Deletion,
            PositionMoved,
            OffsetsAltered,
            AtLeastOnce,
            CommitsBeforeFinishing,
        ]
    };

    /// Its stable name, for machines.
    pub const fn name(self) -> &'static str {
        match self {
            Cause::Acks0 => "acks-0",
            Cause::Acks1LeaderChange => "acks-1-leader-change",
            Cause::UncleanElection => "unclean-election",
            Cause::DataLoss => "data-loss",
            Cause::AmbiguousRetry => "ambiguous-retry",
            Cause::AmbiguousRetryInFlight => "ambiguous-retry-in-flight",
            Cause::NewProducerIdentity => "new-producer-identity",
            Cause::Compaction => "compaction",
            Cause::Deletion => "deletion",
            Cause::PositionMoved => "position-moved",
            Cause::OffsetsAltered => "offsets-altered",
            Cause::AtLeastOnce => "at-least-once",
            Cause::CommitsBeforeFinishing => "commits-before-finishing",
        }
    }

    /// What it means, for people.
    pub const fn meaning(self) -> &'static str {
        match self {
            Cause::Acks0 => "acks=0",
            Cause::Acks1LeaderChange => "acks=1 and a change of leader",
            Cause::UncleanElection => "an unclean leader election",
            Cause::DataLoss => "a loss of data beyond what replication survives",
            Cause::AmbiguousRetry => "a retry without idempotence",
            Cause::AmbiguousRetryInFlight => "a retry without idempotence, with several requests in flight",
            Cause::NewProducerIdentity => {
                "a producer identity that is new, or unknown to the leader, while the send was open"
            }
            Cause::Compaction => "compaction",
            Cause::Deletion => "deletion by retention or request",
            Cause::PositionMoved => "a seek or a reset of the position",
            Cause::OffsetsAltered => "committed offsets that expired or were altered",
            Cause::AtLeastOnce => "an at-least-once application",
            Cause::CommitsBeforeFinishing => "an application that commits before it has finished",
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
    /// When it resolved; none if it never did.
    pub completed: Option<u64>,
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
    /// Whether any reader got it, wherever.
    pub read: bool,
    /// When its producer took a new epoch or id while it was open in its partition: it may have been sent again under
    /// that.
    #[serde(default)]
    pub renewed_at: Option<u64>,
    /// When its producer took another producer id while it was open: what is under way under the old id is not fenced, and
    /// may land later.
    #[serde(default)]
    pub unfenced_at: Option<u64>,
    /// The producer id that it went out under last, where that is known.
    #[serde(default)]
    pub producer_id: Option<ProducerId>,
}

impl SendFacts {
    /// It was acknowledged with acks=1 and never read: it may have gone with its leader.
    fn may_go_with_its_leader(&self) -> bool {
        self.acks == Acks::Leader && self.acknowledged && !self.read
    }
    /// It was sent more than once, and no broker tells the copies apart.
    fn is_repeated(&self) -> bool {
        (!self.idempotent || planted(12)) && (self.attempts > 1 || planted(13))
    }
    /// Whether it was open at a moment.
    fn is_open_at(&self, at: u64) -> bool {
        self.invoked <= at && self.completed.is_none_or(|end| at <= end)
    }
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
    /// The sends it is about. Of two out of order, the one that was sent first stands first.
    pub sends: Vec<SendFacts>,
    /// An older record of the partition was read when this one had vanished: what takes a prefix did not take it.
    #[serde(default)]
    pub older_survives: bool,
    /// Records of one leadership stand on both sides of its place: what takes a suffix of a leadership did not take it.
    #[serde(default)]
    pub within_a_leadership: bool,
    /// Another value was read in its place: what takes records away leaves their places empty.
    #[serde(default)]
    pub displaced: bool,
    /// The lowest leader epoch of all records that were read above it: a change of the leader to a later epoch has not
    /// taken it, or it would have taken those as well.
    #[serde(default)]
    pub epoch_above: Option<i32>,
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
            older_survives: false,
            within_a_leadership: false,
            displaced: false,
            epoch_above: None,
            boundary: None,
            app: AppFacts::default(),
            group: None,
            clause: None,
            superseded: None,
        }
    }
}

/// The first cause in the table that permits this finding, if any does.
pub fn permitted(check: Check, facts: &Facts, declared: &Declared) -> Option<Cause> {
    causes(check, facts).find(|&cause| holds(cause, check, facts, declared))
}

/// Whether this cause permits this finding, another one beside it or not.
pub fn permits(cause: Cause, check: Check, facts: &Facts, declared: &Declared) -> bool {
    causes(check, facts).any(|c| c == cause) && holds(cause, check, facts, declared)
}

/// The causes in the table that may permit this finding.
fn causes(check: Check, facts: &Facts) -> impl Iterator<Item = Cause> {
    TABLE
        .iter()
        .filter(move |row| row.checks.contains(&check) && row.clause.is_none_or(|c| facts.clause == Some(c)))
        .flat_map(|row| row.causes)
        .copied()
}

use crate::planted::planted;

/// Checks that say that something is not there. What is cut or lost, is so from an offset up.
const MISSING: &[Check] = &[Check::LostWrite, Check::Unseen, Check::CompactedValue];

/// Checks about records that are there, at an offset where something else should be. What is cut or lost can have
/// brought about this only where it was cut: below, the log is as it was, and so is what it knows of producers.
const DISORDER: &[Check] = &[
    Check::FailedWriteVisible,
    Check::Duplicate,
    Check::InconsistentOffsets,
    Check::UnknownRead,
    Check::NonmonotonicSend,
    Check::IntNonmonotonicSend,
    Check::PollSkip,
    Check::RealtimeOrder,
    Check::NextOffsetDivergence,
    Check::NonmonotonicPoll,
    Check::ReadEpochRegression,
    Check::ListOffsetsRegression,
];

/// Whether `cause` is true of this finding.
fn holds(cause: Cause, check: Check, facts: &Facts, declared: &Declared) -> bool {
    let recorded = declared.recorded;
    let configured = &declared.configured;
    let missing = MISSING.contains(&check);
    let bounded = missing || DISORDER.contains(&check);
    let cut_from = |from: Option<Offset>| match (bounded, facts.offset, from) {
        (true, Some(offset), Some(from)) => offset >= from || planted(1),
        _ => true,
    };
    // Nor does it touch a send that began later, but for those that an older leader takes until it is deposed.
    // A reader's way may be touched by what stands there since.
    let of_reader = matches!(check, Check::NonmonotonicPoll | Check::ReadEpochRegression);
    let begun = facts.sends.iter().filter(|_| !of_reader).map(|s| s.invoked).min().unwrap_or(0);
    let touched = |at: u64| begun <= at || planted(2);
    let stray =
        |at: u64| declared.leader_changes(facts).any(|c| c.at == at && c.deposed_by.is_none_or(|end| end >= begun));
    // Whatever takes a suffix leaves nothing of that leadership above what it took.
    let suffix = !(missing && facts.within_a_leadership) || planted(4);
    let first = facts.sends.first();
    match cause {
        Cause::Acks0 => facts.sends.iter().any(|s| s.acks == Acks::None && !s.read),
        Cause::Acks1LeaderChange => {
            let happened = |s: &SendFacts| {
                recorded
                    || declared.leader_changes(facts).any(|c| {
                        c.deposed_by.is_none_or(|end| end >= s.invoked || planted(7))
                            && facts.epoch_above.is_none_or(|above| above >= c.epoch.0)
                    })
                    || declared.losses(facts).any(|l| cut_from(l.from) && s.invoked <= l.at)
                    || declared.damages(facts).any(|d| d.covers(facts.offset) && s.invoked <= d.at)
            };
            suffix
                && facts.sends.iter().any(|s| (s.may_go_with_its_leader() || planted(5)) && happened(s))
                && !planted(6)
        }
        Cause::UncleanElection => {
            let happened = declared.uncleans(facts).any(|u| cut_from(u.from) && (touched(u.at) || stray(u.at)));
            !planted(8) && suffix && (happened || (recorded && configured.unclean_election))
        }
        Cause::DataLoss => {
            let lost =
                declared.losses(facts).any(|l| (l.beyond_budget || planted(3)) && cut_from(l.from) && touched(l.at));
            let damaged = declared.damages(facts).any(|d| d.beyond_budget && d.covers(facts.offset) && touched(d.at));
            !planted(9) && ((suffix && lost) || damaged)
        }
        Cause::AmbiguousRetry => first.is_some_and(SendFacts::is_repeated) && !planted(10),
        // A retry comes late: it is the earlier send that lands behind the later one.
        Cause::AmbiguousRetryInFlight => first.is_some_and(|s| s.is_repeated() && (s.max_in_flight > 1 || planted(11))),
        Cause::NewProducerIdentity => first.is_some_and(|s| {
            // A new epoch fences what is under way under the old one; only another id lets sends overtake each other.
            let renewed = if facts.sends.len() > 1 && !planted(14) { s.unfenced_at } else { s.renewed_at };
            renewed.is_some_and(|at| at <= facts.at)
                || declared.expiries(facts).any(|e| (s.is_open_at(e.at) && e.is_of(s.producer_id)) || planted(15))
                    && !planted(16)
        }),
        Cause::Compaction => {
            let removed = || declared.compactions(facts).any(|c| c.covers(facts.offset) || planted(17));
            let configured = recorded && configured.compaction && facts.superseded != Some(false);
            !facts.displaced && (configured || removed()) && !planted(18)
        }
        Cause::Deletion => {
            let deleted = |s: &LogStart| {
                facts.offset.is_none_or(|offset| offset < s.offset || (planted(19) && offset == s.offset))
            };
            (!facts.older_survives || planted(20))
                && !facts.displaced
                && !planted(21)
                && ((recorded && configured.deletion) || declared.log_starts(facts).any(deleted))
        }
        Cause::PositionMoved => matches!(facts.boundary, Some(PositionReason::Seek | PositionReason::Reset)),
        Cause::OffsetsAltered => facts.app.offsets_altered,
        Cause::AtLeastOnce => facts.app.at_least_once,
        Cause::CommitsBeforeFinishing => facts.app.commits_before_finishing,
    }
}

#[cfg(test)]
mod tests;
