//! DeleteTopics: a topic goes with its partitions and settings, by one record. Follows Kafka's
//! `ControllerApis.deleteTopics` and `ReplicationControlManager.deleteTopics`.

use super::topics::Refusal;
use super::{Batch, Decided, State, counted, twice};
use crate::ids::*;
use crate::record::schema::MetadataRecord;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeSet;

/// From this version on topics may be named by id.
pub(crate) const TOPICS_BY_ID: i16 = 6;
/// From this version on an answer explains itself.
const EXPLAINS: i16 = 5;

/// The topics a request names, whatever its version calls them.
pub(crate) fn named(version: i16, request: &DeleteTopicsRequest) -> Vec<DeleteTopicState> {
    if version >= TOPICS_BY_ID {
        return request.topics.clone();
    }
    request.topic_names.iter().map(|name| DeleteTopicState::default().with_name(Some(name.clone()))).collect()
}

impl State {
    /// DeleteTopics, at the version the asking client used.
    pub fn delete_topics(&self, version: i16, request: &DeleteTopicsRequest) -> Decided<DeleteTopicsResponse> {
        let mut batch = Batch::default();
        let mut gone = BTreeSet::new();
        let mut results = Vec::new();
        let asked = named(version, request);
        fn key(topic: &DeleteTopicState) -> (Option<&TopicName>, Uuid) {
            (topic.name.as_ref(), topic.topic_id)
        }
        let mut counts = counted(asked.iter().map(key));
        for topic in &asked {
            let found = match counts.remove(&key(topic)) {
                None => continue,
                Some(1) => self.to_delete(topic),
                Some(_) => twice(),
            };
            let mut result = DeletableTopicResult::default().with_name(topic.name.clone());
            match found {
                // By its name and by its id.
                Ok(id) if !gone.insert(id) => continue,
                Ok(id) => {
                    if version >= TOPICS_BY_ID {
                        let name = self.working.topic_name(id).unwrap_or_default().to_owned();
                        result = result.with_topic_id(id.0).with_name(Some(TopicName(StrBytes::from_string(name))));
                    }
                    batch.records.push(MetadataRecord::RemoveTopic { topic_id: id });
                    batch.mark("topic-deleted");
                }
                Err((error, why)) => {
                    result.error_code = error.code();
                    if version >= TOPICS_BY_ID {
                        result.topic_id = topic.topic_id;
                    }
                    if version >= EXPLAINS {
                        result.error_message = Some(StrBytes::from_string(why));
                    }
                }
            }
            results.push(result);
        }
        batch.reply(DeleteTopicsResponse::default().with_responses(results))
    }

    fn to_delete(&self, topic: &DeleteTopicState) -> Result<TopicId, Refusal> {
        match &topic.name {
            Some(_) if !topic.topic_id.is_nil() => {
                Err((ResponseError::InvalidRequest, "a name or an id, not both".to_owned()))
            }
            Some(name) => self
                .working
                .topic_id(name.as_str())
                .ok_or_else(|| (ResponseError::UnknownTopicOrPartition, "there is no such topic".to_owned())),
            None if topic.topic_id.is_nil() => {
                Err((ResponseError::InvalidRequest, "neither a name nor an id".to_owned()))
            }
            None => {
                let id = self.working.topic(TopicId(topic.topic_id)).map(|t| t.id);
                id.ok_or_else(|| (ResponseError::UnknownTopicId, "there is no topic of that id".to_owned()))
            }
        }
    }
}
