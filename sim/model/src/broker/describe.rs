//! What a broker tells of the cluster and of settings: DescribeCluster (KIP-700) and DescribeConfigs (KIP-133). Follows
//! Kafka's `AuthHelper.computeDescribeClusterResponse` and `ConfigHelper`. Told are the settings that the model has.

use super::Process;
use super::admin::listener_name;
use super::connections::Caller;
use super::replicas::settings;
use super::text;
use crate::config::{BrokerConfig, Properties, TopicConfig};
use crate::controller::image::{BROKER_RESOURCE, TOPIC_RESOURCE};
use crate::log::checkpoint::uuid_text;
use crate::node::Outbox;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult};
use kafka_protocol::messages::{
    BrokerId, DescribeClusterRequest, DescribeClusterResponse, DescribeConfigsRequest, DescribeConfigsResponse,
};
use kafka_protocol::protocol::StrBytes;

/// Kafka's `DescribeClusterRequest` endpoint types.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;
/// Kafka's `DescribeConfigsResponse.ConfigSource`.
const DYNAMIC_TOPIC_CONFIG: i8 = 1;
const STATIC_BROKER_CONFIG: i8 = 4;
const DEFAULT_CONFIG: i8 = 5;

impl Process {
    pub(super) fn on_describe_cluster(&mut self, caller: Caller, request: &DescribeClusterRequest, out: &mut Outbox) {
        let mut answer = DescribeClusterResponse::default()
            .with_cluster_id(text(&uuid_text(self.spec.cluster_id)))
            .with_controller_id(BrokerId(self.spec.id.0));
        let wanted = if caller.version >= 1 { request.endpoint_type } else { BROKERS };
        let error = match wanted {
            BROKERS => None,
            CONTROLLERS => Some(ResponseError::MismatchedEndpointType),
            _ => Some(ResponseError::UnsupportedEndpointType),
        };
        if let Some(error) = error {
            answer.error_code = error.code();
            return self.answer(caller, answer, out);
        }
        let fenced_too = caller.version >= 2 && request.include_fenced_brokers;
        for (id, broker) in self.metadata.image.brokers().filter(|(_, b)| fenced_too || !b.fenced) {
            let Some(e) = broker.endpoint(listener_name(caller.listener)) else { continue };
            let mut described = DescribeClusterBroker::default()
                .with_broker_id(BrokerId(id.0))
                .with_host(text(&e.host))
                .with_port(i32::from(e.port))
                .with_rack(broker.rack.as_deref().map(text));
            if caller.version >= 2 {
                described.is_fenced = broker.fenced;
            }
            answer.brokers.push(described);
        }
        self.answer(caller, answer, out);
    }

    pub(super) fn on_describe_configs(&mut self, caller: Caller, request: &DescribeConfigsRequest, out: &mut Outbox) {
        let results = request.resources.iter().map(|asked| {
            let result = DescribeConfigsResult::default()
                .with_resource_type(asked.resource_type)
                .with_resource_name(asked.resource_name.clone());
            match self.configs_of(asked) {
                Ok(configs) => result.with_configs(configs),
                Err((error, why)) => result.with_error_code(error.code()).with_error_message(Some(text(&why))),
            }
        });
        let answer = DescribeConfigsResponse::default().with_results(results.collect());
        self.answer(caller, answer, out);
    }

    fn configs_of(
        &self,
        asked: &DescribeConfigsResource,
    ) -> Result<Vec<DescribeConfigsResourceResult>, (ResponseError, String)> {
        let name = asked.resource_name.as_str();
        let keys = asked.configuration_keys.as_ref().filter(|keys| !keys.is_empty());
        let wanted = |key: &str| keys.is_none_or(|keys| keys.iter().any(|k| k.as_str() == key));
        let image = &self.metadata.image;
        match asked.resource_type {
            TOPIC_RESOURCE if image.topic_by_name(name).is_none() => {
                Err((ResponseError::UnknownTopicOrPartition, "there is no such topic".to_owned()))
            }
            TOPIC_RESOURCE => {
                let set = image.topic_config(name).cloned().unwrap_or_default();
                let effective = settings(image, name, &self.spec.config);
                let one = |&(key, default): &(&'static str, &str)| told(key, default, &set, &effective);
                Ok(TopicConfig::KEYS.iter().filter(|(key, _)| wanted(key)).map(one).collect())
            }
            BROKER_RESOURCE if !name.is_empty() && name != self.spec.id.to_string() => {
                let why = format!("this is broker {}: ask broker {name} itself", self.spec.id);
                Err((ResponseError::InvalidRequest, why))
            }
            BROKER_RESOURCE => {
                let config = self.spec.config.entries();
                let one = |((key, value), (_, default)): ((&'static str, String), &(&str, &str))| {
                    let source = if value == *default { DEFAULT_CONFIG } else { STATIC_BROKER_CONFIG };
                    entry(key, value, source).with_read_only(true)
                };
                let all = config.into_iter().zip(BrokerConfig::KEYS).filter(|((key, _), _)| wanted(key));
                Ok(all.map(one).collect())
            }
            other => Err((ResponseError::InvalidRequest, format!("resources of type {other} have no settings here"))),
        }
    }
}

/// A topic's setting: its own, or what its broker has in its place.
fn told(key: &'static str, default: &str, set: &Properties, effective: &BrokerConfig) -> DescribeConfigsResourceResult {
    if let Some(value) = set.get(key) {
        return entry(key, value.clone(), DYNAMIC_TOPIC_CONFIG);
    }
    let brokers = match key {
        "segment.ms" => "log.roll.ms",
        "segment.bytes" => "log.segment.bytes",
        "index.interval.bytes" => "log.index.interval.bytes",
        "retention.bytes" => "log.retention.bytes",
        "retention.ms" => "log.retention.ms",
        "file.delete.delay.ms" => "log.segment.delete.delay.ms",
        "max.message.bytes" => "message.max.bytes",
        "flush.messages" => "log.flush.interval.messages",
        "flush.ms" => "log.flush.interval.ms",
        same => same,
    };
    let value = effective.entries().into_iter().find(|(k, _)| *k == brokers).map(|(_, value)| value);
    let value = value.unwrap_or_else(|| default.to_owned());
    entry(key, value, DEFAULT_CONFIG)
}

fn entry(key: &'static str, value: String, source: i8) -> DescribeConfigsResourceResult {
    DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_static_str(key))
        .with_value(Some(text(&value)))
        .with_config_source(source)
}
