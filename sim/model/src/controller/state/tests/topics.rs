use super::*;

#[test]
fn topics_are_created_or_refused() {
    use ResponseError as E;
    let mut story = Story::with_topic(false, Defects::NONE);
    type Case = (&'static str, &'static [i32], &'static [(&'static str, &'static str)], E);
    let cases: &[Case] = &[
        ("orders", &[], &[], E::TopicAlreadyExists),
        ("", &[], &[], E::InvalidTopicException),
        ("..", &[], &[], E::InvalidTopicException),
        ("a b", &[], &[], E::InvalidTopicException),
        ("x", &[1, 1], &[], E::InvalidReplicaAssignment),
        ("x", &[1, 9], &[], E::InvalidReplicaAssignment),
        ("x", &[], &[("min.insync.replicas", "0")], E::InvalidConfig),
        ("x", &[], &[("no.such.key", "1")], E::InvalidConfig),
    ];
    for (name, replicas, config, error) in cases {
        let before = story.next();
        let response = story.create(name, replicas, config);
        assert_eq!(response.topics[0].error_code, error.code(), "{name} {replicas:?} {config:?}");
        assert_eq!(story.next(), before);
    }
    assert_eq!(story.create("a.b", &[], &[]).topics[0].error_code, 0);
    assert_eq!(story.create("a_b", &[], &[]).topics[0].error_code, E::InvalidTopicException.code());
    let topic = |name: &'static str, partitions, replication| {
        CreatableTopic::default()
            .with_name(TopicName(StrBytes::from_static_str(name)))
            .with_num_partitions(partitions)
            .with_replication_factor(replication)
    };
    let wanted = vec![topic("p", 6, 3), topic("q", 1, 4), topic("r", 0, 1), topic("s", 1, 0), topic("p", 1, 1)];
    let only_one = vec![topic("p", 6, 3)];
    assert_eq!(story.create_all(only_one.clone(), true).topics[0].error_code, 0);
    assert!(story.state.working.topic_by_name("p").is_none(), "validated only");
    let codes: Vec<i16> = story.create_all(wanted, false).topics.iter().map(|t| t.error_code).collect();
    let expected = [E::InvalidRequest, E::InvalidReplicationFactor, E::InvalidPartitions, E::InvalidReplicationFactor];
    assert_eq!(codes, expected.map(|e| e.code()));
    let response = story.create_all(only_one, false);
    let result = &response.topics[0];
    assert_eq!((result.num_partitions, result.replication_factor), (6, 3));
    let created = story.state.working.topic_by_name("p").unwrap();
    assert_eq!(created.id.0, result.topic_id);
    assert!(created.partitions.values().all(|p| p.leader == p.replicas[0] && p.isr == p.replicas));
    // With a broker fenced it is a replica, but not in sync.
    story.silence_all_but(&[1, 2]);
    story.create("t", &[3, 2, 1], &[("min.insync.replicas", "1")]);
    let p = story.state.working.topic_by_name("t").unwrap().partitions[&0].clone();
    assert_eq!((p.leader, p.isr), (NodeId(2), vec![NodeId(2), NodeId(1)]));
    assert_eq!(story.create("u", &[3], &[]).topics[0].error_code, E::InvalidReplicationFactor.code());
}

#[test]
fn older_versions_get_only_their_fields() {
    let mut story = Story::with_topic(false, Defects::NONE);
    let topic = CreatableTopic::default()
        .with_name(TopicName(StrBytes::from_static_str("v")))
        .with_num_partitions(1)
        .with_replication_factor(1);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]);
    let response = story.state.create_topics(4, &request, &mut story.rng).reply;
    let expected = CreateTopicsResponse::default().topics;
    assert!(expected.is_empty());
    let result = &response.topics[0];
    let untouched = kafka_protocol::messages::create_topics_response::CreatableTopicResult::default();
    assert_eq!((result.topic_id, result.num_partitions), (untouched.topic_id, untouched.num_partitions));
    assert_eq!(result.configs, untouched.configs);
}
