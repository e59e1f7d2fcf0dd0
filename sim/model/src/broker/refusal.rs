//! What a forwarded request is answered when the controller cannot be asked: an error for each thing it names.

use crate::controller::named_for_deletion;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse as IncrementalResponse;
use kafka_protocol::messages::{
    AlterConfigsResponse, CreatePartitionsResponse, CreateTopicsResponse, DeleteTopicsResponse,
    IncrementalAlterConfigsResponse, RequestKind, ResponseKind,
};

/// The answer to a request at a version, with an error still to be [put in](put).
pub(super) fn of(request: &RequestKind, version: i16) -> Option<ResponseKind> {
    Some(match request {
        RequestKind::CreateTopics(r) => {
            let results = r.topics.iter().map(|t| CreatableTopicResult::default().with_name(t.name.clone()));
            CreateTopicsResponse::default().with_topics(results.collect()).into()
        }
        RequestKind::CreatePartitions(r) => {
            let results = r.topics.iter().map(|t| CreatePartitionsTopicResult::default().with_name(t.name.clone()));
            CreatePartitionsResponse::default().with_results(results.collect()).into()
        }
        RequestKind::DeleteTopics(r) => {
            let topics = named_for_deletion(version, r).into_iter();
            let results = topics.map(|t| DeletableTopicResult::default().with_name(t.name).with_topic_id(t.topic_id));
            DeleteTopicsResponse::default().with_responses(results.collect()).into()
        }
        RequestKind::AlterConfigs(r) => {
            let one = r.resources.iter().map(|r| {
                let answer = AlterConfigsResourceResponse::default().with_resource_type(r.resource_type);
                answer.with_resource_name(r.resource_name.clone())
            });
            AlterConfigsResponse::default().with_responses(one.collect()).into()
        }
        RequestKind::IncrementalAlterConfigs(r) => {
            let one = r.resources.iter().map(|r| {
                let answer = IncrementalResponse::default().with_resource_type(r.resource_type);
                answer.with_resource_name(r.resource_name.clone())
            });
            IncrementalAlterConfigsResponse::default().with_responses(one.collect()).into()
        }
        _ => return None,
    })
}

/// The same with an error everywhere.
pub(super) fn put(mut response: ResponseKind, error: ResponseError) -> ResponseKind {
    let code = error.code();
    match &mut response {
        ResponseKind::CreateTopics(r) => r.topics.iter_mut().for_each(|t| t.error_code = code),
        ResponseKind::CreatePartitions(r) => r.results.iter_mut().for_each(|t| t.error_code = code),
        ResponseKind::DeleteTopics(r) => r.responses.iter_mut().for_each(|t| t.error_code = code),
        ResponseKind::AlterConfigs(r) => r.responses.iter_mut().for_each(|t| t.error_code = code),
        ResponseKind::IncrementalAlterConfigs(r) => r.responses.iter_mut().for_each(|t| t.error_code = code),
        _ => {}
    }
    response
}
