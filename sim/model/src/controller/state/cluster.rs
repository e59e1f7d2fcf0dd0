//! Brokers: registration, heartbeats, fencing. Follows Kafka's `ClusterControlManager` and the heartbeat half of
//! `ReplicationControlManager` (KIP-631, KIP-841, KIP-966).

use super::super::sessions::{BrokerState, Heartbeat};
use super::replication::Why;
use super::{Batch, Decided, State};
use crate::defects::Defect;
use crate::ids::*;
use crate::log::checkpoint::uuid_text;
use crate::log::meta::is_reserved;
use crate::record::schema::{BrokerEndpoint, BrokerRegistrationChangeRecord, MetadataRecord, RegisterBrokerRecord};
use crate::units::Instant;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationRequest, BrokerRegistrationResponse,
};

impl State {
    /// BrokerRegistration. The broker's epoch is the offset that its record gets.
    pub fn register(
        &mut self,
        now: Instant,
        next_offset: Offset,
        request: &BrokerRegistrationRequest,
    ) -> Decided<BrokerRegistrationResponse> {
        let mut batch = Batch::default();
        let mut response = BrokerRegistrationResponse::default();
        match self.decide_registration(now, next_offset, request, &mut batch) {
            Ok(epoch) => response.broker_epoch = epoch.0,
            Err(error) => {
                batch.records.clear();
                response.error_code = error.code();
                response.broker_epoch = -1;
            }
        }
        batch.reply(response)
    }

    fn decide_registration(
        &mut self,
        now: Instant,
        next_offset: Offset,
        request: &BrokerRegistrationRequest,
        batch: &mut Batch,
    ) -> Result<BrokerEpoch, ResponseError> {
        if request.cluster_id.as_str() != uuid_text(self.spec.cluster_id) {
            return Err(ResponseError::InconsistentClusterId);
        }
        let id = NodeId(request.broker_id.0);
        let existing = self.working.broker(id);
        let same_incarnation = existing.is_some_and(|b| b.incarnation == request.incarnation_id);
        // While the old session lasts, nobody has yet noticed that the old incarnation is gone: it may lead and
        // count as in sync. Once it is over, the broker is fenced and out of every ISR.
        let in_old_session = !same_incarnation && self.sessions.is_valid(id, now);
        if !self.spec.defects.on(Defect::FastRestartStaysInIsr) && in_old_session {
            batch.mark("duplicate-registration-refused");
            return Err(ResponseError::DuplicateBrokerRegistration);
        }
        // A directory's id names one directory: not one of another broker, nor two of this one.
        let dirs = &request.log_dirs;
        let twice = |n: usize| dirs[..n].contains(&dirs[n]);
        let anothers = |dir| self.working.brokers().any(|(other, b)| other != id && b.log_dirs.contains(dir));
        if dirs.iter().any(|dir| is_reserved(*dir) || anothers(dir)) || (0..dirs.len()).any(twice) {
            batch.mark("directory-id-refused");
            return Err(ResponseError::InvalidRegistration);
        }
        let mut record = RegisterBrokerRecord {
            broker_id: id,
            incarnation_id: request.incarnation_id,
            broker_epoch: BrokerEpoch(-1),
            endpoints: request.listeners.iter().map(endpoint).collect(),
            rack: request.rack.as_ref().map(|r| r.to_string()),
            fenced: true,
            in_controlled_shutdown: false,
            log_dirs: request.log_dirs.clone(),
        };
        match existing {
            Some(existing) if same_incarnation => {
                record.broker_epoch = existing.epoch;
                record.fenced = existing.fenced;
                record.in_controlled_shutdown = existing.in_controlled_shutdown;
            }
            _ => {
                let clean = existing.is_none_or(|b| b.epoch.0 == request.previous_broker_epoch);
                if !clean {
                    batch.mark("unclean-registration");
                }
                // With eligible leader replicas a disk that may have lost its tail costs the eligibility; without,
                // a new incarnation is treated as a fenced one.
                let why = if !clean && self.working.elr_enabled() { Why::UncleanShutdown(id) } else { Why::Gone(id) };
                if !in_old_session {
                    self.change_partitions(why, batch);
                }
                record.broker_epoch = BrokerEpoch(next_offset.0 + batch.records.len() as i64);
            }
        }
        if same_incarnation {
            self.sessions.renew(id, now);
        } else {
            self.sessions.start(id, record.fenced, now);
        }
        let epoch = record.broker_epoch;
        batch.records.push(MetadataRecord::RegisterBroker(record));
        Ok(epoch)
    }

    /// BrokerHeartbeat.
    pub fn heartbeat(
        &mut self,
        now: Instant,
        next_offset: Offset,
        request: &BrokerHeartbeatRequest,
    ) -> Decided<BrokerHeartbeatResponse> {
        let (id, epoch) = (NodeId(request.broker_id.0), BrokerEpoch(request.broker_epoch));
        let mut batch = Batch::default();
        let mut response = BrokerHeartbeatResponse::default();
        if let Err(error) = self.check_broker_epoch(id, epoch) {
            response.error_code = error.code();
            response.is_fenced = true;
            return batch.reply(response);
        }
        let beat = Heartbeat {
            metadata_offset: Offset(request.current_metadata_offset),
            want_fence: request.want_fence,
            want_shut_down: request.want_shut_down,
        };
        let registered = self.registered_at[&id];
        let leads = || self.working.partitions().any(|(_, p)| p.leader == id);
        let (current, next) = self.sessions.next_state(id, beat, registered, leads);
        if current != next {
            match next {
                BrokerState::Fenced | BrokerState::ShutdownNow => self.fence(id, &mut batch),
                BrokerState::Unfenced => self.unfence(id, &mut batch),
                BrokerState::ControlledShutdown => self.begin_shutdown(id, &mut batch),
            }
        }
        if next == BrokerState::ShutdownNow && current == BrokerState::ControlledShutdown {
            batch.mark("controlled-shutdown-done");
        }
        self.sessions.touch(id, next.fenced(), beat.metadata_offset, now);
        if next == BrokerState::ControlledShutdown {
            self.sessions.shutting_down(id, next_offset.plus(batch.records.len() as i64 - 1));
        }
        response.is_caught_up = beat.metadata_offset >= registered;
        response.is_fenced = next.fenced();
        response.should_shut_down = next == BrokerState::ShutdownNow;
        batch.reply(response)
    }

    /// Fences one broker whose session is over. Call again until nothing comes.
    pub fn fence_silent(&mut self, now: Instant) -> Option<Decided<NodeId>> {
        let id = self.sessions.expired(now)?;
        let mut batch = Batch::default();
        self.fence(id, &mut batch);
        self.sessions.fence(id);
        Some(batch.reply(id))
    }
    /// When [`State::fence_silent`] is next needed.
    pub fn next_session_end(&self) -> Option<Instant> {
        self.sessions.next_deadline()
    }

    fn fence(&self, id: NodeId, batch: &mut Batch) {
        let Some(broker) = self.working.broker(id).filter(|b| !b.fenced) else { return };
        self.change_partitions(Why::Gone(id), batch);
        batch.records.push(registration_change(id, broker.epoch, Some(true), None));
        batch.mark("broker-fenced");
    }

    fn unfence(&self, id: NodeId, batch: &mut Batch) {
        let Some(broker) = self.working.broker(id) else { return };
        batch.records.push(registration_change(id, broker.epoch, Some(false), None));
        if !self.spec.defects.on(Defect::NoElectionOnReturn) {
            self.change_partitions(Why::Back(id), batch);
        }
    }

    fn begin_shutdown(&self, id: NodeId, batch: &mut Batch) {
        let Some(broker) = self.working.broker(id) else { return };
        if !broker.in_controlled_shutdown {
            batch.records.push(registration_change(id, broker.epoch, None, Some(true)));
        }
        self.change_partitions(Why::Gone(id), batch);
    }
}

fn endpoint(listener: &kafka_protocol::messages::broker_registration_request::Listener) -> BrokerEndpoint {
    BrokerEndpoint { name: listener.name.to_string(), host: listener.host.to_string(), port: listener.port }
}

fn registration_change(
    broker_id: NodeId,
    broker_epoch: BrokerEpoch,
    fenced: Option<bool>,
    in_controlled_shutdown: Option<bool>,
) -> MetadataRecord {
    let change = BrokerRegistrationChangeRecord { broker_id, broker_epoch, fenced, in_controlled_shutdown };
    MetadataRecord::BrokerRegistrationChange(change)
}
