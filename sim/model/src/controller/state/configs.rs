//! IncrementalAlterConfigs (KIP-339) and AlterConfigs: topics' settings. Those of brokers do not change while they run.
//! Follows Kafka's `ConfigurationControlManager`.

use super::super::image::TOPIC_RESOURCE;
use super::topics::Refusal;
use super::{Batch, Decided, State, counted, twice};
use crate::config::{ConfigError, Properties, TopicConfig};
use crate::ids::OFFSETS_TOPIC;
use crate::record::schema::MetadataRecord;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse as IncrementalResponse;
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;

/// Kafka's `AlterConfigOp.OpType`.
const SET: i8 = 0;
const DELETE: i8 = 1;

/// What has settings: its kind and name.
type Resource<'a> = (i8, &'a StrBytes);

impl State {
    /// IncrementalAlterConfigs: single settings come and go.
    pub fn alter_configs(&self, request: &IncrementalAlterConfigsRequest) -> Decided<IncrementalAlterConfigsResponse> {
        let mut batch = Batch::default();
        let named = counted(request.resources.iter().map(|r| (r.resource_type, &r.resource_name)));
        let mut answers = Vec::with_capacity(request.resources.len());
        for r in &request.resources {
            let changed = self.settings((r.resource_type, &r.resource_name), &named).and_then(|mut settings| {
                for c in &r.configs {
                    match (c.config_operation, &c.value) {
                        (SET, Some(value)) => drop(settings.insert(c.name.to_string(), value.to_string())),
                        (DELETE, _) => drop(settings.remove(c.name.as_str())),
                        (SET, None) => return invalid(format!("`{}` has no value", c.name.as_str())),
                        _ => return invalid(format!("`{}` can be set or deleted, and nothing else", c.name.as_str())),
                    }
                }
                Ok(settings)
            });
            let (code, why) = self.change(&r.resource_name, changed, request.validate_only, &mut batch);
            answers.push(
                IncrementalResponse::default()
                    .with_error_code(code)
                    .with_error_message(why)
                    .with_resource_type(r.resource_type)
                    .with_resource_name(r.resource_name.clone()),
            );
        }
        batch.reply(IncrementalAlterConfigsResponse::default().with_responses(answers))
    }

    /// AlterConfigs: what is not named goes.
    pub fn replace_configs(&self, request: &AlterConfigsRequest) -> Decided<AlterConfigsResponse> {
        let mut batch = Batch::default();
        let named = counted(request.resources.iter().map(|r| (r.resource_type, &r.resource_name)));
        let mut answers = Vec::with_capacity(request.resources.len());
        for r in &request.resources {
            let changed = self.settings((r.resource_type, &r.resource_name), &named).and_then(|_| {
                let one = |c: &kafka_protocol::messages::alter_configs_request::AlterableConfig| match &c.value {
                    Some(value) => Ok((c.name.to_string(), value.to_string())),
                    None => invalid(format!("`{}` has no value", c.name.as_str())),
                };
                r.configs.iter().map(one).collect::<Result<Properties, Refusal>>()
            });
            let (code, why) = self.change(&r.resource_name, changed, request.validate_only, &mut batch);
            answers.push(
                AlterConfigsResourceResponse::default()
                    .with_error_code(code)
                    .with_error_message(why)
                    .with_resource_type(r.resource_type)
                    .with_resource_name(r.resource_name.clone()),
            );
        }
        batch.reply(AlterConfigsResponse::default().with_responses(answers))
    }

    /// Whether Kafka takes these settings for a topic. The size of the offsets topic's segments is the brokers' to say
    /// (`offsets.topic.segment.bytes`), and that has a bound of its own.
    pub(super) fn examine_settings(&self, topic: &str, settings: &Properties) -> Result<(), Refusal> {
        let small = self.spec.config.small_segments || topic == OFFSETS_TOPIC;
        let read = if small { TopicConfig::read_scaled(settings) } else { TopicConfig::read(settings) };
        let say = |all: Vec<ConfigError>| all.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        read.map(drop).map_err(|all| (ResponseError::InvalidConfig, say(all)))
    }

    /// What is set for a topic.
    fn settings(&self, asked: Resource<'_>, named: &BTreeMap<Resource<'_>, usize>) -> Result<Properties, Refusal> {
        if named[&asked] > 1 {
            return twice();
        }
        let (kind, name) = asked;
        if kind != TOPIC_RESOURCE {
            let why = "only settings of topics change while the cluster runs".to_owned();
            return Err((ResponseError::InvalidRequest, why));
        }
        if self.working.topic_by_name(name).is_none() {
            return Err((ResponseError::UnknownTopicOrPartition, "there is no such topic".to_owned()));
        }
        Ok(self.working.topic_config(name).cloned().unwrap_or_default())
    }

    /// Records that make a topic's settings these, or why not.
    fn change(
        &self,
        name: &StrBytes,
        to: Result<Properties, Refusal>,
        validate_only: bool,
        batch: &mut Batch,
    ) -> (i16, Option<StrBytes>) {
        let checked = to.and_then(|to| self.examine_settings(name.as_str(), &to).map(|()| to));
        let to = match checked {
            Ok(to) => to,
            Err((error, why)) => return (error.code(), Some(StrBytes::from_string(why))),
        };
        if validate_only {
            return (0, None);
        }
        let now = self.working.topic_config(name).cloned().unwrap_or_default();
        let record = |key: &String, value: Option<String>| MetadataRecord::Config {
            resource_type: TOPIC_RESOURCE,
            resource_name: name.to_string(),
            name: key.clone(),
            value,
        };
        let before = batch.records.len();
        batch.records.extend(now.keys().filter(|k| !to.contains_key(*k)).map(|k| record(k, None)));
        batch
            .records
            .extend(to.iter().filter(|(k, v)| now.get(*k) != Some(*v)).map(|(k, v)| record(k, Some(v.clone()))));
        if batch.records.len() > before {
            batch.mark("topic-settings-changed");
        }
        (0, None)
    }
}

fn invalid<T>(why: String) -> Result<T, Refusal> {
    Err((ResponseError::InvalidConfig, why))
}
