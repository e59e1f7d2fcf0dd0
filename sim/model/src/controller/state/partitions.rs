//! CreatePartitions: a topic gains partitions, and never loses any. Follows Kafka's
//! `ReplicationControlManager.createPartitions`.

use super::super::placement::place;
use super::topics::{MAX_PARTITIONS_PER_REQUEST, Refusal};
use super::{Batch, Decided, State, counted, twice};
use crate::ids::*;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};
use kafka_protocol::protocol::StrBytes;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;

impl State {
    /// CreatePartitions.
    pub fn create_partitions(
        &self,
        request: &CreatePartitionsRequest,
        rng: &mut ChaCha8Rng,
    ) -> Decided<CreatePartitionsResponse> {
        let mut batch = Batch::default();
        let mut named = counted(request.topics.iter().map(|t| &t.name));
        let mut results = Vec::with_capacity(named.len());
        for topic in &request.topics {
            let planned = match named.remove(&topic.name) {
                None => continue,
                Some(1) => self.more_partitions(topic, batch.records.len(), rng),
                Some(_) => twice(),
            };
            let result = CreatePartitionsTopicResult::default().with_name(topic.name.clone());
            results.push(match planned {
                Ok((id, first, replicas)) => {
                    if !request.validate_only {
                        let new = (first..).zip(replicas);
                        let record = |(partition, r)| self.new_partition(TopicIdPartition { topic: id, partition }, r);
                        batch.records.extend(new.map(record));
                        batch.mark("partitions-created");
                    }
                    result
                }
                Err((error, why)) => {
                    result.with_error_code(error.code()).with_error_message(Some(StrBytes::from_string(why)))
                }
            });
        }
        batch.reply(CreatePartitionsResponse::default().with_results(results))
    }

    /// The topic, its first new partition, and the new ones' replicas.
    fn more_partitions(
        &self,
        topic: &CreatePartitionsTopic,
        decided: usize,
        rng: &mut ChaCha8Rng,
    ) -> Result<(TopicId, i32, Vec<Vec<NodeId>>), Refusal> {
        let Some(image) = self.working.topic_by_name(topic.name.as_str()) else {
            return Err((ResponseError::UnknownTopicOrPartition, "there is no such topic".to_owned()));
        };
        let have = image.partitions.len() as i32;
        if topic.count <= have {
            return Err((ResponseError::InvalidPartitions, format!("the topic has {have} partition(s) already")));
        }
        let more = topic.count - have;
        if decided + more as usize > MAX_PARTITIONS_PER_REQUEST {
            return Err((ResponseError::InvalidPartitions, "too many partitions in one request".to_owned()));
        }
        let replication = image.partitions.values().next().map_or(1, |p| p.replicas.len());
        let replicas = match &topic.assignments {
            None => place(&self.usable(), more, replication, rng).map_err(|why| {
                (ResponseError::InvalidReplicationFactor, format!("{replication} replica(s) cannot be placed: {why}"))
            })?,
            Some(given) => {
                let given: Vec<Vec<NodeId>> =
                    given.iter().map(|a| a.broker_ids.iter().map(|b| NodeId(b.0)).collect()).collect();
                self.check_assignment(&given, more as usize, replication)?;
                given
            }
        };
        // Without a living replica the first leader could not be named.
        if replicas.iter().any(|r| !r.iter().any(|&id| self.working.is_active(id))) {
            let why = "all brokers of a partition are fenced or shutting down".to_owned();
            return Err((ResponseError::InvalidReplicaAssignment, why));
        }
        Ok((image.id, have, replicas))
    }

    fn check_assignment(&self, given: &[Vec<NodeId>], more: usize, replication: usize) -> Result<(), Refusal> {
        let invalid = |why: String| Err((ResponseError::InvalidReplicaAssignment, why));
        if given.len() != more {
            return invalid(format!("{more} new partition(s), and {} assignment(s)", given.len()));
        }
        for replicas in given {
            let distinct: BTreeSet<NodeId> = replicas.iter().copied().collect();
            if distinct.len() != replicas.len() || replicas.len() != replication {
                return invalid(format!(
                    "a partition of this topic has {replication} replica(s), all of them different"
                ));
            }
            if distinct.iter().any(|&id| self.working.broker(id).is_none()) {
                return invalid("a broker is not registered".to_owned());
            }
        }
        Ok(())
    }
}
