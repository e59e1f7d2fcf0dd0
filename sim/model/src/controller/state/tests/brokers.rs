use super::*;

#[test]
fn a_new_cluster_gets_its_features() {
    let story = Story::new(true, Defects::NONE, &[]);
    assert!(story.state.working.elr_enabled());
    assert_eq!(story.state.working.feature(METADATA_VERSION_FEATURE), METADATA_VERSION);
    assert!(!Story::new(false, Defects::NONE, &[]).state.working.elr_enabled());
    // A second activation, as after a restart, changes nothing.
    let mut story = story;
    assert!(story.state.activate(story.now).records.is_empty());
}

#[test]
fn a_broker_takes_part_once_it_has_seen_its_registration() {
    let mut story = Story::new(false, Defects::NONE, &[]);
    assert_eq!(story.restart(1, true), 0);
    let epoch = story.epochs[&1];
    assert!(matches!(&story.log[epoch as usize], MetadataRecord::RegisterBroker(r) if r.broker_epoch.0 == epoch));
    let response = story.beat_with(1, epoch - 1, false);
    assert!(response.is_fenced && !response.is_caught_up);
    let response = story.beat_with(1, epoch, false);
    assert!(!response.is_fenced && response.is_caught_up);
    // Its old epoch counts no more once it is registered anew.
    story.silence_all_but(&[]);
    assert!(story.saw("broker-fenced") && !story.state.working.is_active(NodeId(1)));
    story.restart(1, true);
    story.epochs.insert(1, epoch);
    assert_eq!(story.beat(1).error_code, ResponseError::StaleBrokerEpoch.code());
}

#[test]
fn registration_is_refused_while_the_old_session_lasts() {
    let mut story = Story::with_topic(false, Defects::NONE);
    assert_eq!(story.restart(1, false), ResponseError::DuplicateBrokerRegistration.code());
    assert!(story.saw("duplicate-registration-refused"));
    story.silence_all_but(&[2, 3]);
    assert_eq!(story.restart(1, false), 0);
    assert!(story.saw("unclean-registration"));
    assert_eq!(story.show(), "2/1 2,3 []");
    // The same incarnation may register again, and keeps its epoch.
    let (incarnation, epoch) = (story.incarnations, story.epochs[&1]);
    story.beat(1);
    assert_eq!(story.register(1, incarnation, -1), 0);
    assert_eq!(story.epochs[&1], epoch);
    assert!(story.state.working.is_active(NodeId(1)));
}

#[test]
fn the_fast_restart_defect_keeps_the_isr() {
    let mut story = Story::with_topic(false, Defects::NONE.with(Defect::FastRestartStaysInIsr));
    assert_eq!(story.restart(2, false), 0);
    assert_eq!(story.show(), "1/0 1,2,3 []");
    story.beat(2);
    // Outside the session it does not show.
    story.silence_all_but(&[1, 3]);
    assert_eq!(story.restart(2, false), 0);
    assert_eq!(story.show(), "1/0 1,3 []");
}

#[test]
fn a_strange_cluster_or_directory_is_refused() {
    let mut story = Story::new(false, Defects::NONE, &[]);
    let strange = BrokerRegistrationRequest::default().with_cluster_id(StrBytes::from_static_str("x"));
    let decided = story.state.register(story.now, story.next(), &strange);
    assert_eq!(decided.reply.error_code, ResponseError::InconsistentClusterId.code());
    let reserved = strange.with_cluster_id(StrBytes::from_string(uuid_text(CLUSTER))).with_log_dirs(vec![Uuid::nil()]);
    let decided = story.state.register(story.now, story.next(), &reserved);
    assert_eq!(decided.reply.error_code, ResponseError::InvalidRegistration.code());
    assert!(decided.records.is_empty());
}

#[test]
fn a_directory_is_one_brokers_and_counted_once() {
    let mut story = Story::with_topic(false, Defects::NONE);
    let known = story.state.working().broker(NodeId(1)).unwrap().log_dirs[0];
    let new = Uuid::from_u128(5000);
    for (broker, dirs, refused) in [
        (4, vec![known], true),
        (4, vec![new, new], true),
        (4, vec![new, known], true),
        (4, vec![new], false),
        (5, vec![new], true),
    ] {
        let request = BrokerRegistrationRequest::default()
            .with_broker_id(BrokerId(broker))
            .with_cluster_id(StrBytes::from_string(uuid_text(CLUSTER)))
            .with_incarnation_id(Uuid::from_u128(9000 + broker as u128))
            .with_log_dirs(dirs.clone());
        let decided = story.state.register(story.now, story.next(), &request);
        let response = story.append(decided);
        let expected = if refused { ResponseError::InvalidRegistration.code() } else { 0 };
        assert_eq!(response.error_code, expected, "{broker} {dirs:?}");
    }
}

#[test]
fn controlled_shutdown_moves_leaders_before_the_broker_may_stop() {
    let mut story = Story::with_topic(false, Defects::NONE);
    let applied = story.next().0 - 1;
    let response = story.beat_with(1, applied, true);
    assert!(!response.should_shut_down && !response.is_fenced);
    assert_eq!(story.show(), "2/1 2,3 []");
    // The others have not yet heard of the new leader.
    assert!(!story.beat_with(1, applied, true).should_shut_down);
    story.beat(2);
    assert!(!story.beat_with(1, applied, true).should_shut_down);
    story.beat(3);
    let response = story.beat_with(1, applied, true);
    assert!(response.should_shut_down && response.is_fenced);
    assert!(story.saw("controlled-shutdown-done"));
    // A broker that leads nothing may go at once.
    let applied = story.next().0 - 1;
    assert!(story.beat_with(3, applied, true).should_shut_down);
    assert_eq!(story.show(), "2/1 2 []");
}

#[test]
fn producer_ids_are_given_once() {
    let mut story = Story::with_topic(false, Defects::NONE);
    let mut next = 0;
    for broker in [1, 2, 1] {
        let request = AllocateProducerIdsRequest::default()
            .with_broker_id(BrokerId(broker))
            .with_broker_epoch(story.epochs[&broker]);
        let decided = story.state.allocate_producer_ids(&request);
        let response = story.append(decided);
        assert_eq!((response.producer_id_start.0, response.producer_id_len), (next, PRODUCER_ID_BLOCK));
        next += i64::from(PRODUCER_ID_BLOCK);
    }
    let stale = AllocateProducerIdsRequest::default().with_broker_id(BrokerId(1)).with_broker_epoch(0);
    assert_eq!(story.state.allocate_producer_ids(&stale).reply.error_code, ResponseError::StaleBrokerEpoch.code());
}
