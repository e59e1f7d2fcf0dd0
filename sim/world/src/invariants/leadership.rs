//! Who leads: single-leader-per-epoch, leader-completeness, and the claims a node makes when it takes up a role.

use super::cluster::{Doing, Leading};
use super::finding::Ctx;
use super::{Check, Invariants, UncleanElection};
use crate::event::NodeRef;
use klamm_model::ids::*;

impl Invariants {
    /// A controller leads the quorum.
    pub(super) fn controller_active(&mut self, ctx: Ctx, node: NodeRef, epoch: LeaderEpoch) {
        self.armed.judged(Check::SingleLeader);
        match self.quorum_leaders.get(&epoch) {
            Some(&(other, since)) if other != node => {
                let (a, b) = (self.cluster.name(other), self.cluster.name(node));
                let detail = format!("both {a} and {b} lead the quorum in epoch {epoch}");
                let finding = ctx.finding(Check::SingleLeader, detail).about(TopicIdPartition::METADATA);
                self.findings.report(finding.epoch(epoch).because(&[since]));
            }
            Some(_) => {}
            None => {
                self.quorum_leaders.insert(epoch, (node, ctx.ordinal));
            }
        }
    }

    /// A replica leads.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn became_leader(
        &mut self,
        ctx: Ctx,
        node: NodeRef,
        partition: TopicIdPartition,
        epoch: LeaderEpoch,
        partition_epoch: PartitionEpoch,
        epoch_start: Offset,
        isr: &[NodeId],
        high_watermark: Offset,
    ) {
        let ix = self.cluster.part(partition);
        let me = self.cluster.broker_id(node).unwrap_or(NodeId::NONE);
        self.check_single_leader(ctx, node, me, partition, epoch);
        self.check_installed_isr(ctx, partition, partition_epoch, isr);

        let part = &mut self.cluster.parts[ix.0];
        let before = part.seat(node).and_then(|s| s.high_watermark);
        let led_before = part.leading(node).map(|l| l.since);
        if let (Some(before), Some(since)) = (before, led_before)
            && high_watermark < before
        {
            let detail =
                format!("the high watermark fell from {before} to {high_watermark} though the node kept leading");
            let finding = ctx.finding(Check::HighWatermark, detail).about(partition);
            self.findings.report(finding.offset(high_watermark).epoch(epoch).because(&[since]));
        }
        if high_watermark > epoch_start || high_watermark > part.highest_watermark {
            let highest = part.highest_watermark;
            let detail = format!(
                "a new leader begins with high watermark {high_watermark}; its log ends at {epoch_start}, and no \
                 leader's was ever above {highest}"
            );
            let finding = ctx.finding(Check::HighWatermark, detail).about(partition);
            self.findings.report(finding.offset(high_watermark).epoch(epoch));
        }
        let seat = part.seat_mut(node);
        seat.high_watermark = Some(high_watermark);
        seat.doing = Doing::Leading(Box::new(Leading {
            epoch,
            epoch_start,
            isr: isr.to_vec(),
            maximal: isr.to_vec(),
            positions: Vec::new(),
            since: ctx.ordinal,
            isr_since: ctx.ordinal,
        }));
        let (replica, log_start) = (seat.replica, seat.log_start);
        // Whoever follows it, however it was elected, may learn of its log start.
        part.log_start = part.log_start.max(log_start);
        let Some(rx) = replica else { return };
        let replica = self.replicas.get_mut(rx);
        replica.last_cut.clear();
        self.armed.judged(Check::TraceContradicted);
        if epoch_start.0 > replica.asked_end() && !replica.damaged() {
            let end = replica.end();
            let detail =
                format!("the node takes up leadership at log end {epoch_start}, but its disk holds only up to {end}");
            let finding = ctx.finding(Check::TraceContradicted, detail).about(partition).epoch(epoch);
            self.findings.report(finding.offset(Offset(end)));
        }

        // An unclean election replaces what was committed by what its leader holds.
        let replica = self.replicas.get(rx);
        if let Some(at) = part.unclean
            && self.unclean[at].epoch <= epoch
        {
            part.unclean = None;
            part.floor = epoch;
            self.unclean[at].lost = part.ghost.cut_to(replica).map(|(a, b)| (Offset(a), Offset(b)));
            part.trim(log_start);
            return;
        }
        if epoch < part.floor {
            return;
        }
        self.armed.judged(Check::LeaderCompleteness);
        if let Some(missing) = part.ghost.missing_in(replica, epoch.0) {
            let election = part.elections.get(&epoch).map_or(Default::default(), |e| e.ordinal);
            let found = replica.find(missing.base).copied();
            let detail = match found {
                Some(other) => format!(
                    "the leader of epoch {epoch} holds at offset {} a batch of epoch {} where one of epoch {} was committed",
                    missing.base, other.epoch, missing.epoch
                ),
                None => format!(
                    "the leader of epoch {epoch} lacks the committed batch at offset {} (epoch {}): its log ends at {}, \
                     committed is up to {}",
                    missing.base,
                    missing.epoch,
                    replica.end(),
                    part.ghost.end()
                ),
            };
            let finding = ctx.finding(Check::LeaderCompleteness, detail).about(partition).epoch(epoch);
            let witness = [part.identities.seen(&missing), election];
            self.findings.report(finding.offset(Offset(missing.base)).because(&witness));
        }
        // It may have deleted as a follower what its predecessor still had.
        part.trim(log_start);
    }

    fn check_single_leader(
        &mut self,
        ctx: Ctx,
        node: NodeRef,
        me: NodeId,
        partition: TopicIdPartition,
        epoch: LeaderEpoch,
    ) {
        let ix = self.cluster.part(partition);
        let part = &self.cluster.parts[ix.0];
        self.armed.judged(Check::SingleLeader);
        let rival = part.leaders.get(&epoch).filter(|(other, _)| *other != node).copied();
        if let Some((other, since)) = rival {
            let detail =
                format!("both {} and {} lead in epoch {epoch}", self.cluster.name(other), self.cluster.name(node));
            let finding = ctx.finding(Check::SingleLeader, detail).about(partition).epoch(epoch);
            self.findings.report(finding.because(&[since]));
        }
        match part.elections.get(&epoch) {
            Some(election) if election.leader == me => {}
            Some(election) => {
                let detail =
                    format!("broker {me} leads in epoch {epoch}, for which broker {} was elected", election.leader);
                let finding = ctx.finding(Check::SingleLeader, detail).about(partition).epoch(epoch);
                self.findings.report(finding.because(&[election.ordinal]));
            }
            None => {
                let detail =
                    format!("broker {me} leads in epoch {epoch}, for which no committed record elects anybody");
                let finding = ctx.finding(Check::SingleLeader, detail).about(partition).epoch(epoch);
                self.findings.report(finding);
            }
        }
        self.cluster.parts[ix.0].leaders.entry(epoch).or_insert((node, ctx.ordinal));
    }

    /// A replica follows.
    pub(super) fn became_follower(
        &mut self,
        ctx: Ctx,
        node: NodeRef,
        partition: TopicIdPartition,
        epoch: LeaderEpoch,
        leader: NodeId,
    ) {
        let ix = self.cluster.part(partition);
        let part = &mut self.cluster.parts[ix.0];
        part.seat_mut(node).doing = Doing::Following { epoch };
        self.armed.judged(Check::TraceContradicted);
        if leader != NodeId::NONE
            && let Some(election) = part.elections.get(&epoch)
            && election.leader != leader
        {
            let elected = election.leader;
            let detail =
                format!("the node follows broker {leader} in epoch {epoch}, for which broker {elected} was elected");
            let finding = ctx.finding(Check::TraceContradicted, detail).about(partition).epoch(epoch);
            self.findings.report(finding.because(&[election.ordinal]));
        }
    }

    /// Takes note of elections just committed.
    pub(super) fn note_unclean(&mut self, ctx: Ctx, ix: super::cluster::PartIx) {
        let part = &mut self.cluster.parts[ix.0];
        let known = self.unclean.iter().rev().find(|u| u.partition == part.id).map_or(LeaderEpoch(-1), |u| u.epoch);
        for (&epoch, election) in part.elections.range(LeaderEpoch(known.0 + 1)..) {
            if !election.clean {
                part.unclean = Some(self.unclean.len());
                self.unclean.push(UncleanElection {
                    partition: part.id,
                    epoch,
                    at: ctx.at,
                    ordinal: election.ordinal,
                    lost: None,
                });
            }
        }
    }
}
