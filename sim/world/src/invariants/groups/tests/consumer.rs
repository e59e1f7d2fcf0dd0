//! KIP-848 groups.

use super::*;

#[test]
fn kip_848_partitions_have_one_owner_across_epochs() {
    let mut w = consumer_group();
    w.appends(&[current_record("m1", 2, &[], &[0]), current_record("m2", 3, &[1], &[])], true);
    w.silent();
    w.appends(&[current_record("m2", 3, &[0, 1], &[])], true);
    w.only(Check::SingleOwner);
    // Released in the same batch is early enough.
    let mut w = consumer_group();
    w.appends(&[current_record("m2", 3, &[0, 1], &[]), current_record("m1", 3, &[], &[])], true);
    w.silent();
    // Targets: everything, once.
    let mut w = consumer_group();
    w.appends(&[target_record("m1", &[1]), target_record("m2", &[]), epoch_record(6, 3)], true);
    w.only(Check::AssignmentLegal);
    let mut w = consumer_group();
    w.appends(&[target_record("m1", &[0, 1]), epoch_record(6, 3)], true);
    w.only(Check::AssignmentLegal);
}

#[test]
fn kip_848_epochs_fence_within_their_bounds() {
    let beat = |w: &mut World, member: &str, epoch: i32, error: i16| {
        let r = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(GroupId(s(G)))
            .with_member_id(s(member))
            .with_member_epoch(epoch);
        let ask = w.asks(4, RequestKind::ConsumerGroupHeartbeat(r));
        let r = ConsumerGroupHeartbeatResponse::default().with_error_code(error).with_member_epoch(epoch);
        w.answers(4, ask, ResponseKind::ConsumerGroupHeartbeat(r));
    };
    let mut w = consumer_group();
    w.appends(&[current_record("m1", 5, &[0, 1], &[]), current_record("m2", 5, &[], &[])], true);
    beat(&mut w, "m1", 5, 0);
    beat(&mut w, "m1", 4, 0);
    beat(&mut w, "m1", 2, 110);
    beat(&mut w, "gone", 5, 25);
    // KIP-1251: assigned in epoch 2, so a commit with epoch 3 is good.
    w.commit(4, "m1", 3, 7);
    w.silent();
    beat(&mut w, "m1", 2, 0);
    w.only(Check::Fencing);
    let mut w = consumer_group();
    w.appends(&[current_record("m1", 5, &[], &[])], true);
    w.commit(4, "m1", 3, 7);
    w.only(Check::Fencing);
    let mut w = consumer_group();
    beat(&mut w, "gone", 2, 0);
    w.only(Check::Fencing);
}

/// A heartbeat of `m1` is answered with these partitions.
fn tell(w: &mut World, parts: &[i32]) {
    let r = ConsumerGroupHeartbeatRequest::default()
        .with_group_id(GroupId(s(G)))
        .with_member_id(s("m1"))
        .with_member_epoch(2);
    let ask = w.asks(4, RequestKind::ConsumerGroupHeartbeat(r));
    let t = TopicPartitions::default().with_topic_id(ORDERS.0).with_partitions(parts.to_vec());
    let assignment = Assignment::default().with_topic_partitions(vec![t]);
    let r = ConsumerGroupHeartbeatResponse::default().with_member_epoch(2).with_assignment(Some(assignment));
    w.answers(4, ask, ResponseKind::ConsumerGroupHeartbeat(r));
}

#[test]
fn kip_848_answers_agree_with_the_trace() {
    let mut w = consumer_group();
    w.traced("m1", 2, &[0]);
    tell(&mut w, &[0]);
    w.silent();
    tell(&mut w, &[1]);
    w.only(Check::TraceContradicted);
}

/// A new coordinator has read the log: what another one said, and had not committed, binds it no more.
#[test]
fn what_another_coordinator_said_is_no_measure() {
    let told = |parts: &[i32]| {
        let mut w = consumer_group();
        w.traced("m1", 2, &[0]);
        w.appends(&[current_record("m1", 2, &[], &[0])], true);
        w.moves();
        tell(&mut w, parts);
        w
    };
    told(&[]).silent();
    told(&[0]).only(Check::ReplayEqualsLive);
}

/// A member that was expelled and does not know it yet beats on, is refused, and joins again.
#[test]
fn an_expelled_member_that_beats_on_comes_anew() {
    let begun = |expelled: bool| {
        let mut w = consumer_group();
        let beat = |w: &mut World, epoch: i32, error: i16| {
            let r = ConsumerGroupHeartbeatRequest::default()
                .with_group_id(GroupId(s(G)))
                .with_member_id(s("m1"))
                .with_member_epoch(epoch)
                .with_subscribed_topic_names(Some(vec![TopicName(s("orders"))]));
            let ask = w.asks(4, RequestKind::ConsumerGroupHeartbeat(r));
            let r = ConsumerGroupHeartbeatResponse::default().with_error_code(error).with_member_epoch(epoch);
            w.answers(4, ask, ResponseKind::ConsumerGroupHeartbeat(r));
        };
        beat(&mut w, 2, 0);
        if expelled {
            w.passes(60);
            w.removed("m1", RemovalReason::SessionExpired);
        }
        w.state("Stable", "Reconciling", 3);
        w.state("Reconciling", "Stable", 3);
        beat(&mut w, 2, if expelled { 25 } else { 0 });
        beat(&mut w, 0, 0);
        w.state("Stable", "Reconciling", 4);
        w.passes(1);
        w.state("Reconciling", "Stable", 4);
        w.judge.findings().iter().filter(|f| f.check == Check::NeedlessRebalance).count()
    };
    assert_eq!(begun(true), 0);
    assert_eq!(begun(false), 2);
}
