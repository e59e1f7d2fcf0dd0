use super::*;

#[test]
fn fencing_without_elr_keeps_the_last_member() {
    let mut story = Story::with_topic(false, Defects::NONE);
    assert_eq!(story.show(), "1/0 1,2,3 []");
    story.silence_all_but(&[1, 2]);
    assert_eq!(story.show(), "1/0 1,2 []", "a follower's going is no election");
    story.silence_all_but(&[2]);
    assert_eq!(story.show(), "2/1 2 []");
    story.silence_all_but(&[]);
    assert_eq!(story.show(), "-1/2 2 []");
    story.restart(1, true);
    story.beat(1);
    assert_eq!(story.show(), "-1/2 2 []", "who was not in sync may not lead");
    story.restart(2, false);
    story.beat(2);
    assert_eq!(story.show(), "2/3 2 []");
    assert!(!story.saw("unclean-election"));
}

#[test]
fn the_last_replica_standing() {
    // B and C fall silent with their logs intact; A alone loses power, and returns first.
    let story = |defects| {
        let mut story = Story::with_topic(true, defects);
        story.silence_all_but(&[1]);
        story.silence_all_but(&[]);
        story.restart(1, false);
        story.beat(1);
        story
    };
    let mut correct = story(Defects::NONE);
    // B left while the ISR was at its minimum still: what came later was acknowledged without it.
    assert_eq!(correct.show(), "-1/1  [3]", "A lost its tail and waits for C");
    correct.beat(2);
    assert_eq!(correct.show(), "-1/1  [3]");
    correct.beat(3);
    assert_eq!(correct.show(), "3/2 3 []");
    assert!(correct.saw("elr-election") && !correct.saw("unclean-election"));
    let request = correct.isr_request(&[3, 2]);
    assert_eq!(correct.alter(&request), 0);
    assert_eq!(correct.show(), "3/2 3,2 []");
    let defective = story(Defects::NONE.with(Defect::LastReplicaStanding));
    assert_eq!(defective.show(), "1/2 1 []", "A leads again without its tail");
}

#[test]
fn a_clean_shutdown_keeps_eligibility() {
    let mut story = Story::with_topic(true, Defects::NONE);
    story.silence_all_but(&[1]);
    story.silence_all_but(&[]);
    assert_eq!(story.restart(1, true), 0);
    assert_eq!(story.show(), "-1/1  [1,3]");
    story.beat(1);
    assert_eq!(story.show(), "1/2 1 [3]");
    assert!(!story.saw("unclean-registration"));
}

#[test]
fn when_all_lost_their_tails_the_last_leader_is_elected_uncleanly() {
    let mut story = Story::with_topic(true, Defects::NONE);
    story.silence_all_but(&[1]);
    story.silence_all_but(&[]);
    for id in [3, 2, 1] {
        story.restart(id, false);
    }
    story.beat(2);
    assert_eq!(story.show(), "-1/1  []");
    story.beat(1);
    assert_eq!(story.show(), "1/2 1 []");
    assert!(story.saw("unclean-election"));
}

#[test]
fn unclean_election_is_a_setting_of_topic_or_cluster() {
    let unclean = [("unclean.leader.election.enable", "true")];
    let cluster: &[(&str, &str)] = &unclean;
    for (cluster, topic) in [(cluster, &[][..]), (&[][..], cluster)] {
        let mut story = Story::new(false, Defects::NONE, cluster);
        for id in 1..=2 {
            story.restart(id, true);
            story.beat(id);
        }
        story.create("orders", &[1, 2], topic);
        story.silence_all_but(&[1]);
        story.silence_all_but(&[]);
        story.beat(2);
        assert_eq!(story.show(), "2/2 2 []");
        assert!(story.saw("unclean-election"));
        let p = story.state.working.partition(story.orders()).unwrap();
        assert_eq!(p.leader_recovery_state, 1);
        let request = story.isr_request(&[2]);
        assert_eq!(story.alter(&request), 0, "the leader says that it has recovered");
        let p = story.state.working.partition(story.orders()).unwrap();
        assert_eq!(p.leader_recovery_state, 0);
    }
}

#[test]
fn a_leader_may_shrink_and_expand_its_isr() {
    let mut story = Story::with_topic(false, Defects::NONE);
    let before = story.state.working.partition(story.orders()).unwrap().partition_epoch;
    let request = story.isr_request(&[1, 2]);
    assert_eq!(story.alter(&request), 0);
    assert_eq!(story.show(), "1/0 1,2 []");
    let p = story.state.working.partition(story.orders()).unwrap();
    assert_eq!(p.partition_epoch.0, before.0 + 1);
    let request = story.isr_request(&[1, 2, 3]);
    assert_eq!(story.alter(&request), 0);
    assert_eq!(story.show(), "1/0 1,2,3 []");
    // Asking for what is there changes nothing, and is answered with what is there.
    let request = story.isr_request(&[1, 2, 3]);
    let decided = story.state.alter_partition(3, &request);
    assert!(decided.records.is_empty());
    assert_eq!(decided.reply.topics[0].partitions[0].isr.len(), 3);
}

#[test]
fn alterations_that_are_refused() {
    use ResponseError as E;
    fn partition(r: &mut AlterPartitionRequest) -> &mut PartitionData {
        &mut r.topics[0].partitions[0]
    }
    let mut story = Story::with_topic(false, Defects::NONE);
    let shrink = story.isr_request(&[1, 2]);
    story.alter(&shrink); // so that there is an older partition epoch
    type Change = fn(&mut AlterPartitionRequest);
    let cases: &[(&str, E, Change)] = &[
        ("another broker epoch", E::StaleBrokerEpoch, |r| r.broker_epoch += 1),
        ("another topic", E::UnknownTopicId, |r| r.topics[0].topic_id = Uuid::from_u128(5)),
        ("another partition", E::UnknownTopicOrPartition, |r| partition(r).partition_index = 9),
        ("a leader epoch to come", E::NotController, |r| partition(r).leader_epoch += 1),
        ("a partition epoch to come", E::NotController, |r| partition(r).partition_epoch += 1),
        ("an old leader epoch", E::FencedLeaderEpoch, |r| partition(r).leader_epoch -= 1),
        ("an old partition epoch", E::InvalidUpdateVersion, |r| partition(r).partition_epoch -= 1),
        ("without itself", E::InvalidRequest, |r| drop(partition(r).new_isr_with_epochs.remove(0))),
        ("a stranger", E::InvalidRequest, |r| partition(r).new_isr_with_epochs[1].broker_id = BrokerId(9)),
        ("one twice", E::InvalidRequest, |r| partition(r).new_isr_with_epochs[1].broker_id = BrokerId(1)),
        ("recovering again", E::InvalidRequest, |r| partition(r).leader_recovery_state = 1),
        // KIP-903: the replica was restarted since it fetched.
        ("a stale replica", E::IneligibleReplica, |r| partition(r).new_isr_with_epochs[2].broker_epoch -= 1),
    ];
    for (what, error, change) in cases {
        let mut request = story.isr_request(&[1, 2, 3]);
        change(&mut request);
        story.marks.clear();
        assert_eq!(story.alter(&request), error.code(), "{what}");
        assert_eq!(story.show(), "1/0 1,2 []", "{what}");
        assert!(story.saw("alter-partition-rejected"));
    }
    let mut from_follower = story.isr_request(&[1, 2]);
    from_follower.broker_id = BrokerId(2);
    from_follower.broker_epoch = story.epochs[&2];
    assert_eq!(story.alter(&from_follower), E::InvalidRequest.code());
    // Fenced, or shutting down: KIP-841.
    let joining = |story: &mut Story| {
        let request = story.isr_request(&[1, 2, 3]);
        story.alter(&request)
    };
    story.silence_all_but(&[1, 2]);
    assert_eq!(joining(&mut story), E::IneligibleReplica.code());
    story.beat(3);
    assert_eq!(joining(&mut story), 0);
    let mut unchecked = story.isr_request(&[1, 2, 3]);
    partition(&mut unchecked).new_isr_with_epochs[2].broker_epoch = -1;
    assert_eq!(story.alter(&unchecked), 0, "an epoch of -1 is not checked");
}
