//! CreateTopics: names, settings, placement. Follows Kafka's `ReplicationControlManager.createTopics`.

use super::super::image::TOPIC_RESOURCE;
use super::super::placement::{Usable, place};
use super::{Batch, Decided, State, counted, random_uuid, twice};
use crate::config::Properties;
use crate::ids::*;
use crate::record::schema::{MetadataRecord, PartitionRecord};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
use kafka_protocol::protocol::StrBytes;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;

/// Kafka's `Topic.MAX_NAME_LENGTH`.
const MAX_NAME_LENGTH: usize = 249;
/// The most partitions one request may create (Kafka: `QuorumController.MAX_RECORDS_PER_USER_OP`).
pub(super) const MAX_PARTITIONS_PER_REQUEST: usize = 10_000;
/// Kafka's `ConfigSource.DYNAMIC_TOPIC_CONFIG`.
const DYNAMIC_TOPIC_CONFIG: i8 = 1;

/// Why a topic was not created: Kafka's code, and words for people.
pub(super) type Refusal = (ResponseError, String);

/// A topic that may be created.
struct Plan {
    replicas: Vec<Vec<NodeId>>,
    config: Properties,
}

impl State {
    /// CreateTopics, at the version the asking client used.
    pub fn create_topics(
        &self,
        version: i16,
        request: &CreateTopicsRequest,
        rng: &mut ChaCha8Rng,
    ) -> Decided<CreateTopicsResponse> {
        let mut batch = Batch::default();
        let mut named = counted(request.topics.iter().map(|t| &t.name));
        let mut results = Vec::with_capacity(named.len());
        for topic in &request.topics {
            // A name that comes twice is refused, once.
            let plan = match named.remove(&topic.name) {
                None => continue,
                Some(1) => self.plan(topic, batch.records.len(), rng),
                Some(_) => twice(),
            };
            let result = CreatableTopicResult::default().with_name(topic.name.clone());
            results.push(match plan {
                Ok(plan) => {
                    let id = TopicId(random_uuid(rng));
                    let result = describe(result, version, id, &plan);
                    if !request.validate_only {
                        self.create(topic.name.as_str(), id, plan, &mut batch);
                    }
                    result
                }
                Err((error, message)) => {
                    let result = result.with_error_code(error.code());
                    result.with_error_message(Some(StrBytes::from_string(message)))
                }
            });
        }
        batch.reply(CreateTopicsResponse::default().with_topics(results))
    }

    fn plan(&self, topic: &CreatableTopic, decided: usize, rng: &mut ChaCha8Rng) -> Result<Plan, Refusal> {
        self.check_name(topic.name.as_str())?;
        let mut config = Properties::new();
        for c in &topic.configs {
            let Some(value) = &c.value else {
                return Err((ResponseError::InvalidConfig, format!("`{}` has no value", c.name.as_str())));
            };
            config.insert(c.name.to_string(), value.to_string());
        }
        self.examine_settings(topic.name.as_str(), &config)?;
        let replicas = if topic.assignments.is_empty() { self.place_topic(topic, rng)? } else { self.assigned(topic)? };
        if decided + replicas.len() > MAX_PARTITIONS_PER_REQUEST {
            return Err((ResponseError::InvalidPartitions, "too many partitions in one request".to_owned()));
        }
        // Without a living replica the first leader could not be named.
        for replicas in &replicas {
            if !replicas.iter().any(|&r| self.working.is_active(r)) {
                let why = "all brokers are fenced or shutting down".to_owned();
                return Err((ResponseError::InvalidReplicationFactor, why));
            }
        }
        Ok(Plan { replicas, config })
    }

    fn check_name(&self, name: &str) -> Result<(), Refusal> {
        let invalid = |why: &str| Err((ResponseError::InvalidTopicException, why.to_owned()));
        if name.is_empty() || name == "." || name == ".." {
            return invalid("a topic's name cannot be empty, `.` or `..`");
        }
        if name.len() > MAX_NAME_LENGTH {
            return invalid("a topic's name has at most 249 characters");
        }
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
            return invalid("a topic's name has letters, digits, `.`, `_` and `-` only");
        }
        if self.working.topic_by_name(name).is_some() || name == METADATA_TOPIC {
            return Err((ResponseError::TopicAlreadyExists, format!("topic `{name}` exists")));
        }
        // Metrics cannot tell them apart.
        let folded = name.replace('.', "_");
        if self.working.topics_by_name().any(|t| t.name.replace('.', "_") == folded) {
            return invalid("another topic's name differs only in `.` and `_`");
        }
        Ok(())
    }

    /// Brokers that may be given replicas.
    pub(super) fn usable(&self) -> Vec<Usable> {
        let brokers = self.working.brokers().filter(|(_, b)| !b.in_controlled_shutdown);
        brokers.map(|(id, b)| Usable { id, rack: b.rack.clone(), fenced: b.fenced }).collect()
    }

    fn place_topic(&self, topic: &CreatableTopic, rng: &mut ChaCha8Rng) -> Result<Vec<Vec<NodeId>>, Refusal> {
        let partitions = match topic.num_partitions {
            -1 => self.spec.config.num_partitions,
            n if n > 0 && n as usize <= MAX_PARTITIONS_PER_REQUEST => n,
            _ => return Err((ResponseError::InvalidPartitions, "1 to 10000 partitions".to_owned())),
        };
        let replication = match topic.replication_factor {
            -1 => self.spec.config.default_replication_factor,
            n if n > 0 => i32::from(n),
            _ => return Err((ResponseError::InvalidReplicationFactor, "at least one replica".to_owned())),
        };
        place(&self.usable(), partitions, replication as usize, rng).map_err(|why| {
            (ResponseError::InvalidReplicationFactor, format!("{replication} replica(s) cannot be placed: {why}"))
        })
    }

    fn assigned(&self, topic: &CreatableTopic) -> Result<Vec<Vec<NodeId>>, Refusal> {
        if topic.replication_factor != -1 || topic.num_partitions != -1 {
            let why = "an assignment takes the place of numbers of partitions and replicas".to_owned();
            return Err((ResponseError::InvalidRequest, why));
        }
        let invalid = |why: &str| Err((ResponseError::InvalidReplicaAssignment, why.to_owned()));
        let mut partitions = vec![Vec::new(); topic.assignments.len()];
        for assignment in &topic.assignments {
            let slot = usize::try_from(assignment.partition_index).ok().and_then(|i| partitions.get_mut(i));
            let Some(slot) = slot.filter(|s| s.is_empty()) else {
                return invalid("partitions are numbered from 0, each once");
            };
            let distinct: BTreeSet<i32> = assignment.broker_ids.iter().map(|b| b.0).collect();
            if distinct.is_empty() || distinct.len() != assignment.broker_ids.len() {
                return invalid("a partition needs replicas, all of them different");
            }
            if distinct.iter().any(|&id| self.working.broker(NodeId(id)).is_none()) {
                return invalid("a broker is not registered");
            }
            slot.extend(assignment.broker_ids.iter().map(|b| NodeId(b.0)));
        }
        if partitions.iter().any(|p| p.len() != partitions[0].len()) {
            return invalid("partitions have different numbers of replicas");
        }
        Ok(partitions)
    }

    fn create(&self, name: &str, topic_id: TopicId, plan: Plan, batch: &mut Batch) {
        batch.records.push(MetadataRecord::Topic { name: name.to_owned(), topic_id });
        for (key, value) in plan.config {
            batch.records.push(MetadataRecord::Config {
                resource_type: TOPIC_RESOURCE,
                resource_name: name.to_owned(),
                name: key,
                value: Some(value),
            });
        }
        for (partition, replicas) in (0..).zip(plan.replicas) {
            batch.records.push(self.new_partition(TopicIdPartition { topic: topic_id, partition }, replicas));
        }
    }

    /// A partition's first record; one of its replicas at least must be alive.
    pub(super) fn new_partition(&self, partition: TopicIdPartition, replicas: Vec<NodeId>) -> MetadataRecord {
        let isr: Vec<NodeId> = replicas.iter().copied().filter(|&r| self.working.is_active(r)).collect();
        MetadataRecord::Partition(PartitionRecord {
            partition,
            leader: isr[0],
            replicas,
            isr,
            leader_epoch: LeaderEpoch(0),
            partition_epoch: PartitionEpoch(0),
            elr: Vec::new(),
            last_known_elr: Vec::new(),
        })
    }
}

fn describe(result: CreatableTopicResult, version: i16, id: TopicId, plan: &Plan) -> CreatableTopicResult {
    let mut result = result;
    if version >= 5 {
        let config = |(name, value): (&String, &String)| {
            CreatableTopicConfigs::default()
                .with_name(StrBytes::from_string(name.clone()))
                .with_value(Some(StrBytes::from_string(value.clone())))
                .with_config_source(DYNAMIC_TOPIC_CONFIG)
        };
        result.num_partitions = plan.replicas.len() as i32;
        result.replication_factor = plan.replicas[0].len() as i16;
        result.configs = Some(plan.config.iter().map(config).collect());
    }
    if version >= 7 {
        result.topic_id = id.0;
    }
    result
}
