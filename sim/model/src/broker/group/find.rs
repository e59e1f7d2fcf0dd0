//! FindCoordinator: which broker coordinates a group. The offsets topic is created when somebody first asks (KIP-699 for
//! several keys at once). Follows Kafka's `KafkaApis.handleFindCoordinatorRequest`.

use super::super::Process;
use super::super::admin::listener_name;
use super::partition_of;
use crate::broker::connections::Caller;
use crate::ids::*;
use crate::node::Outbox;
use crate::units::Now;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

/// Kafka's `CoordinatorType`.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
/// From this version on several keys are asked for at once.
const BATCHED: i16 = 4;

impl Process {
    pub(super) fn on_find_coordinator(
        &mut self,
        now: Now,
        caller: Caller,
        request: &FindCoordinatorRequest,
        out: &mut Outbox,
    ) {
        let mut found = |key: &str| self.find_coordinator(now, caller, request.key_type, key);
        let answer = if caller.version < BATCHED {
            let (error, node, host, port) = parts(found(&request.key));
            FindCoordinatorResponse::default().with_error_code(error).with_node_id(node).with_host(host).with_port(port)
        } else {
            let coordinator = |key: &StrBytes| {
                let (error, node, host, port) = parts(found(key));
                Coordinator::default()
                    .with_key(key.clone())
                    .with_error_code(error)
                    .with_node_id(node)
                    .with_host(host)
                    .with_port(port)
            };
            FindCoordinatorResponse::default()
                .with_coordinators(request.coordinator_keys.iter().map(coordinator).collect())
        };
        self.answer(caller, answer, out);
    }

    fn find_coordinator(
        &mut self,
        now: Now,
        caller: Caller,
        key_type: i8,
        key: &str,
    ) -> Result<(NodeId, String, u16), ResponseError> {
        match key_type {
            GROUP => {}
            // No broker here coordinates transactions.
            TRANSACTION => return Err(ResponseError::CoordinatorNotAvailable),
            _ => return Err(ResponseError::InvalidRequest),
        }
        let Some(topic) = self.metadata.image.topic_by_name(OFFSETS_TOPIC) else {
            self.create_automatically(now, vec![TopicName(StrBytes::from_static_str(OFFSETS_TOPIC))]);
            return Err(ResponseError::CoordinatorNotAvailable);
        };
        let partition = topic.partitions.get(&partition_of(key, topic.partitions.len()));
        let leader = partition.map_or(NodeId::NONE, |p| p.leader);
        let broker = self.metadata.image.broker(leader).filter(|b| !b.fenced);
        let endpoint = broker.and_then(|b| b.endpoint(listener_name(caller.listener)));
        let endpoint = endpoint.ok_or(ResponseError::CoordinatorNotAvailable)?;
        Ok((leader, endpoint.host.clone(), endpoint.port))
    }
}

fn parts(found: Result<(NodeId, String, u16), ResponseError>) -> (i16, BrokerId, StrBytes, i32) {
    match found {
        Ok((node, host, port)) => (0, BrokerId(node.0), StrBytes::from_string(host), i32::from(port)),
        Err(error) => (error.code(), BrokerId(-1), StrBytes::default(), -1),
    }
}
