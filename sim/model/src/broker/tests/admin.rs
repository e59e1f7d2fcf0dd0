//! What administrators ask: topics deleted, settings changed and told, the cluster described.

use super::*;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    AlterConfigsRequest, DeleteTopicsRequest, DescribeClusterRequest, DescribeConfigsRequest,
    IncrementalAlterConfigsRequest, MetadataRequest, alter_configs_request,
};
use std::collections::BTreeMap;

const TOPIC_RESOURCE: i8 = 2;
const BROKER_RESOURCE: i8 = 4;

fn text(s: &str) -> StrBytes {
    StrBytes::from_string(s.to_owned())
}

fn delete(c: &mut Cluster, version: i16, request: DeleteTopicsRequest) -> Vec<DeletableTopicResult> {
    match c.ask(1, version, request.with_timeout_ms(1000)) {
        ResponseKind::DeleteTopics(r) => r.responses,
        other => panic!("{other:?}"),
    }
}

fn by_name(names: &[&str]) -> DeleteTopicsRequest {
    DeleteTopicsRequest::default().with_topic_names(names.iter().map(|n| TopicName(text(n))).collect())
}

fn by_id(ids: &[Uuid]) -> DeleteTopicsRequest {
    let topic = |id: &Uuid| DeleteTopicState::default().with_name(None).with_topic_id(*id);
    DeleteTopicsRequest::default().with_topics(ids.iter().map(topic).collect())
}

/// The topic's error and id, by Metadata.
fn known(c: &mut Cluster, host: usize) -> (i16, Uuid) {
    let asked = MetadataRequestTopic::default().with_name(Some(name()));
    let request = MetadataRequest::default().with_topics(Some(vec![asked])).with_allow_auto_topic_creation(false);
    match c.ask(host, 12, request) {
        ResponseKind::Metadata(r) => (r.topics[0].error_code, r.topics[0].topic_id),
        other => panic!("{other:?}"),
    }
}

fn create(c: &mut Cluster) {
    let topic = CreatableTopic::default().with_name(name()).with_num_partitions(1).with_replication_factor(3);
    match c.ask(3, 7, CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(1000)) {
        ResponseKind::CreateTopics(r) => assert_eq!(r.topics[0].error_code, 0, "{r:?}"),
        other => panic!("{other:?}"),
    }
    c.run(300);
}

/// Settings by name: value and source.
fn settings(c: &mut Cluster, host: usize, kind: i8, resource: &str) -> Result<BTreeMap<String, (String, i8)>, i16> {
    let asked = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(resource))
        .with_configuration_keys(None);
    match c.ask(host, 4, DescribeConfigsRequest::default().with_resources(vec![asked])) {
        ResponseKind::DescribeConfigs(r) if r.results[0].error_code != 0 => Err(r.results[0].error_code),
        ResponseKind::DescribeConfigs(r) => {
            let one = |c: &kafka_protocol::messages::describe_configs_response::DescribeConfigsResourceResult| {
                (c.name.to_string(), (c.value.as_ref().unwrap().to_string(), c.config_source))
            };
            Ok(r.results[0].configs.iter().map(one).collect())
        }
        other => panic!("{other:?}"),
    }
}

/// Error code of one change.
fn change(c: &mut Cluster, resource: &str, key: &str, operation: i8, value: Option<&str>) -> i16 {
    let config =
        AlterableConfig::default().with_name(text(key)).with_config_operation(operation).with_value(value.map(text));
    let resource = AlterConfigsResource::default()
        .with_resource_type(TOPIC_RESOURCE)
        .with_resource_name(text(resource))
        .with_configs(vec![config]);
    match c.ask(2, 1, IncrementalAlterConfigsRequest::default().with_resources(vec![resource])) {
        ResponseKind::IncrementalAlterConfigs(r) => r.responses[0].error_code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_deleted_topic_is_gone_everywhere_and_may_come_again() {
    let mut c = plain(1);
    let l = leader(&c);
    assert_eq!(produced(c.ask(l, 9, produce(-1, value("old")))).error_code, 0);
    let (_, first) = known(&mut c, l);
    // Somebody waits for data, somebody for replicas that do not come.
    let conn = c.connect(l);
    let waiting = c.send(l, conn, 11, fetch(1, -1, 5000, 1));
    c.run(5);
    let results = delete(&mut c, 5, by_name(&[TOPIC, "nothing"]));
    let codes: Vec<i16> = results.iter().map(|r| r.error_code).collect();
    assert_eq!(codes, [0, ResponseError::UnknownTopicOrPartition.code()]);
    c.run(300);
    assert_ne!(fetched(c.answer(waiting).expect("not left waiting")).error_code, 0);
    for host in 1..=3 {
        assert_eq!(known(&mut c, host).0, ResponseError::UnknownTopicOrPartition.code(), "broker {host}");
        assert!(c.broker(host).partitions.is_empty());
        assert!(c.disk(host).files.keys().all(|p| !p.as_str().contains("orders-0")), "broker {host} keeps files");
    }
    assert_eq!(produced(c.ask(l, 9, produce(1, value("x")))).error_code, ResponseError::UnknownTopicOrPartition.code());
    assert!(c.marked(0, "topic-deleted"));
    // Under the same name it is another topic, and empty.
    create(&mut c);
    let l = leader(&c);
    let (error, second) = known(&mut c, l);
    assert!(error == 0 && second != first);
    assert_eq!(produced(c.ask(l, 9, produce(-1, value("new")))).base_offset, 0);
    c.run(700);
    converged(&c);
    // By id, once.
    let results = delete(&mut c, 6, by_id(&[first, second, second]));
    let told: Vec<_> = results.iter().map(|r| (r.error_code, r.topic_id)).collect();
    let twice = ResponseError::InvalidRequest.code();
    assert_eq!(told, [(ResponseError::UnknownTopicId.code(), first), (twice, second)]);
    let results = delete(&mut c, 6, by_id(&[second]));
    assert_eq!((results[0].error_code, results[0].name.clone()), (0, Some(name())));
    c.run(300);
    assert_eq!(known(&mut c, l).0, ResponseError::UnknownTopicOrPartition.code());
}

#[test]
fn a_broker_that_was_away_sets_aside_what_was_deleted() {
    let mut c = plain(1);
    let l = leader(&c);
    let away = followers(&c)[0];
    assert_eq!(produced(c.ask(l, 9, produce(-1, value("old")))).error_code, 0);
    c.kill(away);
    let asked = if away == 1 { 2 } else { 1 };
    match c.ask(asked, 5, by_name(&[TOPIC]).with_timeout_ms(1000)) {
        ResponseKind::DeleteTopics(r) => assert_eq!(r.responses[0].error_code, 0),
        other => panic!("{other:?}"),
    }
    c.start(away);
    c.run(4000);
    assert!(c.broker(away).unfenced);
    assert!(c.broker(away).partitions.is_empty());
    let dirs: Vec<_> = c.disk(away).files.keys().filter(|p| p.as_str().starts_with("orders-0")).cloned().collect();
    assert!(!dirs.is_empty() && dirs.iter().all(|p| p.parent().as_str().ends_with("-stray")), "{dirs:?}");
}

#[test]
fn settings_of_topics_change_and_are_told() {
    let mut c = plain(2);
    let told = settings(&mut c, 1, TOPIC_RESOURCE, TOPIC).unwrap();
    assert_eq!(told["min.insync.replicas"], ("2".to_owned(), 1));
    assert_eq!(told["retention.ms"], ("604800000".to_owned(), 5), "the broker's");
    assert_eq!(change(&mut c, TOPIC, "min.insync.replicas", 0, Some("3")), 0);
    assert_eq!(change(&mut c, TOPIC, "retention.ms", 0, Some("1234")), 0);
    c.run(100);
    let told = settings(&mut c, 3, TOPIC_RESOURCE, TOPIC).unwrap();
    assert_eq!(told["min.insync.replicas"], ("3".to_owned(), 1));
    assert_eq!(told["retention.ms"], ("1234".to_owned(), 1));
    // The new minimum holds.
    let l = leader(&c);
    c.kill(followers(&c)[0]);
    c.run(2500);
    let refused = produced(c.ask(l, 9, produce(-1, value("x")))).error_code;
    assert_eq!(refused, ResponseError::NotEnoughReplicas.code());
    assert_eq!(change(&mut c, TOPIC, "min.insync.replicas", 1, None), 0);
    c.run(100);
    assert_eq!(settings(&mut c, l, TOPIC_RESOURCE, TOPIC).unwrap()["min.insync.replicas"].1, 5);
    assert_eq!(produced(c.ask(l, 9, produce(-1, value("x")))).error_code, 0);
}

#[test]
fn what_cannot_be_set_is_refused_by_name() {
    let mut c = plain(2);
    let code = |e: ResponseError| e.code();
    assert_eq!(change(&mut c, TOPIC, "min.insync.replicas", 0, Some("none")), code(ResponseError::InvalidConfig));
    assert_eq!(change(&mut c, TOPIC, "min.insync.replicas", 0, None), code(ResponseError::InvalidConfig));
    assert_eq!(change(&mut c, TOPIC, "min.insync", 0, Some("2")), code(ResponseError::InvalidConfig));
    assert_eq!(change(&mut c, TOPIC, "cleanup.policy", 2, Some("compact")), code(ResponseError::InvalidConfig));
    assert_eq!(change(&mut c, "nothing", "retention.ms", 0, Some("1")), code(ResponseError::UnknownTopicOrPartition));
    // AlterConfigs sets what it names and takes the rest away.
    let config =
        alter_configs_request::AlterableConfig::default().with_name(text("flush.messages")).with_value(Some(text("1")));
    let resource = |kind| {
        alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(if kind == TOPIC_RESOURCE { TOPIC } else { "1" }))
            .with_configs(vec![config.clone()])
    };
    let request =
        AlterConfigsRequest::default().with_resources(vec![resource(TOPIC_RESOURCE), resource(BROKER_RESOURCE)]);
    match c.ask(1, 2, request) {
        ResponseKind::AlterConfigs(r) => {
            let codes: Vec<i16> = r.responses.iter().map(|r| r.error_code).collect();
            assert_eq!(codes, [0, code(ResponseError::InvalidRequest)]);
        }
        other => panic!("{other:?}"),
    }
    c.run(100);
    let told = settings(&mut c, 1, TOPIC_RESOURCE, TOPIC).unwrap();
    assert_eq!((&*told["flush.messages"].0, told["min.insync.replicas"].1), ("1", 5));
}

#[test]
fn brokers_tell_of_themselves_and_of_the_cluster() {
    let mut c = plain(1);
    let told = settings(&mut c, 2, BROKER_RESOURCE, "2").unwrap();
    assert_eq!(told["replica.lag.time.max.ms"], ("600".to_owned(), 4), "set by the test");
    assert_eq!(told["message.max.bytes"].1, 5);
    assert_eq!(settings(&mut c, 2, BROKER_RESOURCE, "3"), Err(ResponseError::InvalidRequest.code()));
    assert_eq!(settings(&mut c, 2, TOPIC_RESOURCE, "nothing"), Err(ResponseError::UnknownTopicOrPartition.code()));
    assert_eq!(settings(&mut c, 2, 8, ""), Err(ResponseError::InvalidRequest.code()));
    c.kill(3);
    c.run(2500);
    let mut described = |version, fenced, kind| {
        let mut request = DescribeClusterRequest::default().with_include_fenced_brokers(fenced);
        request.endpoint_type = kind;
        match c.ask(1, version, request) {
            ResponseKind::DescribeCluster(r) => {
                (r.error_code, r.brokers.iter().map(|b| (b.broker_id.0, b.is_fenced)).collect::<Vec<_>>())
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(described(0, false, 1), (0, vec![(1, false), (2, false)]));
    assert_eq!(described(2, true, 1), (0, vec![(1, false), (2, false), (3, true)]));
    assert_eq!(described(1, false, 2), (ResponseError::MismatchedEndpointType.code(), vec![]));
    assert_eq!(described(1, false, 7), (ResponseError::UnsupportedEndpointType.code(), vec![]));
}
