//! Each cause of the table, as a question about one finding. A cause holds only if it can have done what was found: in
//! time, in place, to this client in this life, in shape.

use super::laid::{Laid, Moment, Send};
use klamm_model::history::{Acks, Outcome, TopicPartition};

/// The causes by their short names in the design's table, as far as the checks stated here know them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Cause {
    /// acks=1 and a later leader change or loss.
    A1,
    /// Unclean or last-known-leader election.
    U,
    /// Declared loss beyond what replication survives.
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
}

/// What permission needs of a finding.
pub struct Case<'a> {
    pub laid: &'a Laid<'a>,
    pub source: &'a TopicPartition,
    /// When it had happened.
    pub at: u64,
    /// The lowest offset that is concerned.
    pub low: Option<i64>,
}

impl Case<'_> {
    /// What cuts a log touches only sends that had begun, and only offsets at or above the cut.
    fn cut(&self, at: u64, from: Option<i64>, begun: u64) -> bool {
        let reached = match (from, self.low) {
            (Some(from), Some(low)) => from <= low,
            _ => true,
        };
        begun <= at && at <= self.at && reached
    }

    /// An unclean election of this partition, after the send that it may have touched had begun.
    pub fn unclean(&self, begun: u64) -> bool {
        let declared = self.laid.declared;
        // Until it is deposed, the older leader takes, and may lose, sends that begin after the election.
        let deposed = |at: u64| {
            let stray = |c: &&klamm_workloads::permission::LeaderChange| {
                c.source == *self.source && c.at == at && c.deposed_by.is_none_or(|end| end >= begun)
            };
            if declared.leader_changes.iter().any(|c| stray(&c)) { 0 } else { u64::MAX }
        };
        (declared.recorded && declared.configured.unclean_election)
            || declared
                .uncleans
                .iter()
                .any(|u| u.source == *self.source && self.cut(u.at, u.from.map(|o| o.0), begun.min(deposed(u.at))))
    }

    /// A declared loss beyond what replication survives.
    pub fn loss(&self, begun: u64) -> bool {
        let declared = self.laid.declared;
        let lost = declared
            .losses
            .iter()
            .any(|l| l.beyond_budget && l.source == *self.source && self.cut(l.at, l.from.map(|o| o.0), begun));
        lost || self.damage(begun)
    }

    /// Damage in place beyond what replication survives.
    pub fn damage(&self, begun: u64) -> bool {
        self.laid.declared.damages.iter().any(|d| d.beyond_budget && self.damaged(d, begun))
    }

    fn damaged(&self, d: &klamm_workloads::permission::Damage, begun: u64) -> bool {
        let inside = self.low.is_none_or(|low| d.from.0 <= low && low < d.to.0);
        d.source == *self.source && begun <= d.at && d.at <= self.at && inside
    }

    /// acks=1, and the leader that had accepted the send changed, or lost data, later. `survivors`: leader epochs of
    /// records that were read above what is missing; a leadership loses a suffix, so one of the older leadership among them
    /// refutes the change.
    pub fn one_ack(&self, send: &Send, survivors: &[i32]) -> bool {
        // What a reader got was replicated: no clean change of the leader loses it.
        let read = self.laid.reads_of(send.value).next().is_some();
        if send.facts.acks != Acks::Leader || send.outcome() != Some(Outcome::Ok) || read {
            return false;
        }
        let declared = self.laid.declared;
        let changed = declared.leader_changes.iter().any(|c| {
            c.source == *self.source
                && c.at <= self.at
                && c.deposed_by.is_none_or(|end| end >= send.invoked.at)
                && survivors.iter().all(|epoch| *epoch >= c.epoch.0)
        });
        let begun = send.invoked.at;
        let lost =
            declared.losses.iter().any(|l| l.source == *self.source && self.cut(l.at, l.from.map(|o| o.0), begun));
        declared.recorded || changed || lost || declared.damages.iter().any(|d| self.damaged(d, begun))
    }

    /// Compaction had removed the offset.
    pub fn compaction(&self) -> bool {
        let declared = self.laid.declared;
        (declared.recorded && declared.configured.compaction)
            || declared.compactions.iter().any(|c| {
                c.source == *self.source
                    && c.at <= self.at
                    && c.removed.iter().any(|o| self.low.is_none_or(|low| o.0 == low))
            })
    }

    /// The log start had been moved above the offset, and nothing below the offset outlives it.
    pub fn deletion(&self, older_survives: bool) -> bool {
        let declared = self.laid.declared;
        let moved = (declared.recorded && declared.configured.deletion)
            || declared
                .log_starts
                .iter()
                .any(|s| s.source == *self.source && s.at <= self.at && self.low.is_none_or(|low| low < s.offset.0));
        moved && !older_survives
    }

    /// The send was retried without idempotence.
    pub fn ambiguous(&self, send: &Send) -> bool {
        !send.facts.idempotent && (self.laid.declared.recorded || send.retried())
    }

    /// The producer took a new producer id, or the partition forgot the producer, while the send was open.
    pub fn new_identity(&self, send: &Send) -> bool {
        self.new_id(send) || self.expired(send)
    }

    /// The same, or another send of its partition was given up, upon which the producer sends anew, under a new epoch, what is
    /// still open there.
    pub fn sent_anew(&self, send: &Send) -> bool {
        self.given_up(send) || self.new_identity(send)
    }

    /// A send of its life was given up while it was open, in its partition.
    fn given_up(&self, send: &Send) -> bool {
        let partition = |s: &Send| s.resolved.as_ref().and_then(|r| r.partition).or(s.chosen);
        let own = partition(send).unwrap_or(self.source.partition);
        self.laid.sends.iter().any(|x| {
            x.value != send.value
                && x.life == send.life
                && x.facts.idempotent
                && x.topic == send.topic
                && partition(x) == Some(own)
                && x.resolved.as_ref().is_some_and(|r| {
                    r.outcome != Outcome::Ok
                        && r.when.at <= self.at
                        && send.invoked.at <= r.when.at
                        && send.resolved.as_ref().is_none_or(|end| end.when.at > r.when.at)
                })
        })
    }

    fn new_id(&self, send: &Send) -> bool {
        // The resolutions of this life, in order, with their ids.
        let mut ids: Vec<(Moment, Outcome, i64)> = self
            .laid
            .sends
            .iter()
            .filter(|s| s.life == send.life && s.facts.idempotent)
            .filter_map(|s| s.resolved.as_ref())
            .filter_map(|r| Some((r.when, r.outcome, r.producer_id?)))
            .collect();
        ids.sort_by_key(|i| i.0);
        // Each new id was taken between the last resolution before and the first under it. No id comes back.
        let is_new = |i: usize| ids[..i].iter().all(|before| before.2 != ids[i].2);
        let taken: Vec<(u64, u64, i64)> =
            (1..ids.len()).filter(|&i| is_new(i)).map(|i| (ids[i - 1].0.at, ids[i].0.at, ids[i].2)).collect();
        let later: Vec<_> = taken.iter().filter(|t| send.invoked.at < t.1).collect();
        let Some(first) = later.first() else { return false };
        // What was answered under an older id was not sent again; nor was what was given up before.
        let open = send.resolved.as_ref().is_none_or(|own| {
            let under_a_new_one = later.iter().any(|t| own.producer_id == Some(t.2));
            under_a_new_one || (own.outcome == Outcome::Info && first.0 <= own.when.at)
        });
        first.0 <= self.at && open
    }

    fn expired(&self, send: &Send) -> bool {
        self.laid.declared.expiries.iter().any(|e| {
            e.source == *self.source
                && e.at <= self.at
                && send.invoked.at <= e.at
                && send.resolved.as_ref().is_none_or(|own| {
                    own.when.at >= e.at
                        && (e.producer_id.is_none()
                            || own.producer_id.is_none()
                            || e.producer_id.map(|id| id.0) == own.producer_id)
                })
        })
    }

    /// The causes among these pairs that hold.
    pub fn among(&self, asked: &[(Cause, bool)]) -> Vec<Cause> {
        asked.iter().filter(|(_, holds)| *holds).map(|(cause, _)| *cause).collect()
    }
}
