//! The orderly end of a process: leaderships are handed over first, then everything is put on disk, and last of all
//! the word that it was. Follows Kafka's `BrokerServer.shutdown` and `LogManager.shutdown`.

use super::{Phase, Process, Task};
use crate::defects::Defect;
use crate::ids::*;
use crate::node::{Outbox, Output};
use crate::units::{Duration, Now};
use std::collections::BTreeSet;

/// How long the controller may take to let a broker go (Kafka: five minutes, then it just ends).
const CONTROLLED_SHUTDOWN_MAX: Duration = Duration::from_secs(300);

/// How far it has come.
#[derive(Debug)]
pub(crate) enum Stopping {
    /// Logs that have something under way, and logs being flushed.
    Logs {
        /// With an append or a truncation under way.
        unsettled: BTreeSet<u32>,
        /// Being flushed.
        flushing: BTreeSet<u32>,
    },
    /// The checkpoints are being written.
    Checkpoints,
    /// The clean-shutdown file is being written.
    Marker,
}

impl Process {
    /// SIGTERM.
    pub(super) fn on_shutdown(&mut self, now: Now, out: &mut Outbox) {
        match self.phase {
            // Logs are not all loaded: there is nothing that could be called clean.
            Phase::Loading(_) => self.end(out),
            Phase::Serving => {
                if !self.spec.config.controlled_shutdown || self.lifecycle.begin_controlled_shutdown(now.mono) {
                    self.stop(now, out);
                } else {
                    self.timers.set(now.mono + CONTROLLED_SHUTDOWN_MAX, Task::ShutdownTimeout);
                }
            }
            Phase::Stopping(_) | Phase::Ended => {}
        }
    }

    /// Serves nobody any more, and puts everything on disk.
    pub(super) fn stop(&mut self, now: Now, out: &mut Outbox) {
        if !matches!(self.phase, Phase::Serving) {
            return;
        }
        self.lifecycle.stop();
        for conn in self.connections.all().collect::<Vec<_>>() {
            self.connections.disconnected(conn);
            out.close(conn);
        }
        for lane in super::Lane::ALL {
            self.link.lane(lane).close(now.mono, out);
        }
        self.fetchers.close(now.mono, out);
        self.groups.clear();
        let (mut unsettled, mut flushing) = (BTreeSet::new(), BTreeSet::new());
        for owner in self.replicas.owners() {
            let Some(p) = self.replicas.get_mut(owner) else { continue };
            if !p.settled() {
                unsettled.insert(owner);
            } else if p.log.close(now, out) {
                flushing.insert(owner);
            }
        }
        self.phase = Phase::Stopping(Stopping::Logs { unsettled, flushing });
        self.advance_stop(out);
    }

    /// An append or a truncation came to an end.
    pub(super) fn closing_settled(&mut self, now: Now, owner: u32, out: &mut Outbox) {
        let Phase::Stopping(Stopping::Logs { unsettled, flushing }) = &mut self.phase else { return };
        let Some(p) = self.replicas.get_mut(owner).filter(|p| p.settled()) else { return };
        if unsettled.remove(&owner) && p.log.close(now, out) {
            flushing.insert(owner);
        }
        self.advance_stop(out);
    }

    /// A log was flushed.
    pub(super) fn closing_flushed(&mut self, owner: u32, out: &mut Outbox) {
        let Phase::Stopping(Stopping::Logs { flushing, .. }) = &mut self.phase else { return };
        flushing.remove(&owner);
        self.advance_stop(out);
    }

    /// A checkpoint file made progress.
    pub(super) fn checkpoint_written(&mut self, now: Now, out: &mut Outbox) {
        self.loading_file_written(now, out);
        self.advance_stop(out);
    }

    fn advance_stop(&mut self, out: &mut Outbox) {
        let Phase::Stopping(stopping) = &self.phase else { return };
        match stopping {
            Stopping::Logs { unsettled, flushing }
                if unsettled.is_empty()
                    && (flushing.is_empty() || self.spec.defects.on(Defect::CleanMarkerBeforeFlushes)) =>
            {
                self.phase = Phase::Stopping(Stopping::Checkpoints);
                for task in [Task::RecoveryPoints, Task::LogStarts, Task::HighWatermarks] {
                    self.write_checkpoint(task, out);
                }
            }
            Stopping::Checkpoints if !self.checkpoints.busy() => {
                // Only now: whoever finds this file trusts everything else.
                self.phase = Phase::Stopping(Stopping::Marker);
                let epoch = self.lifecycle.epoch().unwrap_or(BrokerEpoch(-1));
                self.checkpoints.write_clean_shutdown(epoch, out);
            }
            Stopping::Marker if !self.checkpoints.busy() => self.end(out),
            Stopping::Logs { .. } | Stopping::Checkpoints | Stopping::Marker => {}
        }
    }

    fn end(&mut self, out: &mut Outbox) {
        self.phase = Phase::Ended;
        out.push(Output::Exit);
    }
}
