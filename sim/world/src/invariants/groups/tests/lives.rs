//! Liveness-verdicts.

use super::*;

#[test]
fn living_members_are_not_expelled() {
    let mut w = World::settled(EAGER, "range");
    w.passes(30);
    w.heartbeat(4, "m1", 1, 0);
    w.passes(46);
    w.removed("m1", RemovalReason::SessionExpired);
    w.silent();
    let mut w = World::settled(EAGER, "range");
    w.passes(30);
    w.heartbeat(4, "m1", 1, 0);
    w.passes(30);
    w.removed("m2", RemovalReason::SessionExpired);
    w.silent();
    w.removed("m1", RemovalReason::SessionExpired);
    w.only(Check::LivenessVerdicts);
    // A new coordinator gives a whole session.
    let mut w = World::settled(EAGER, "range");
    w.passes(44);
    w.moves();
    w.passes(2);
    w.removed("m1", RemovalReason::SessionExpired);
    w.only(Check::LivenessVerdicts);
}

#[test]
fn dead_members_are_expelled_in_time() {
    let members: &[(&str, &[i32])] = &[("m1", &[0]), ("m2", &[1])];
    let mut w = World::settled(EAGER, "range");
    w.passes(40);
    w.heartbeat(4, "m1", 1, 0);
    let accounts = w.accounts(group_of("Stable", 1, members, None), [&[0], &[1]]);
    w.audit(&accounts);
    w.silent();
    w.passes(20);
    w.audit(&accounts);
    let found = w.only(Check::LivenessVerdicts);
    assert!(found.detail.contains("m2"), "{found}");
}

/// A connection's requests are taken up one after the other.
#[test]
fn a_heartbeat_behind_a_commit_that_waits_is_not_heard() {
    let stuck = |answered: bool| {
        let mut w = World::settled(EAGER, "range");
        let commit = w.asks_commit(4, "m1", 1, 5);
        w.appends(&[commit_record(0, Some(5))], true);
        w.passes(30);
        let beat = HeartbeatRequest::default().with_group_id(GroupId(s(G))).with_member_id(s("m1"));
        let beat = w.asks(4, RequestKind::Heartbeat(beat.with_generation_id(1)));
        if answered {
            w.commit_answered(4, commit, 0);
            w.answers(4, beat, ResponseKind::Heartbeat(HeartbeatResponse::default()));
        }
        w.passes(20);
        w.removed("m1", RemovalReason::SessionExpired);
        w
    };
    stuck(false).silent();
    stuck(true).only(Check::LivenessVerdicts);
}

/// Whoever asks a broker that does not coordinate, or is refused, has not been heard of.
#[test]
fn only_what_the_coordinator_accepts_is_a_sign_of_life() {
    let mut w = World::settled(EAGER, "range");
    w.passes(46);
    w.heartbeat(4, "m1", 1, 22);
    w.removed("m1", RemovalReason::SessionExpired);
    w.silent();
    // A heartbeat is, also while the group rebalances.
    let mut w = World::settled(EAGER, "range");
    w.passes(46);
    w.heartbeat(4, "m1", 1, 27);
    w.removed("m1", RemovalReason::SessionExpired);
    w.only(Check::LivenessVerdicts);
    let beat = |w: &mut World, error: i16| {
        let r = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(GroupId(s(G)))
            .with_member_id(s("m1"))
            .with_member_epoch(2);
        let ask = w.asks(4, RequestKind::ConsumerGroupHeartbeat(r));
        let r = ConsumerGroupHeartbeatResponse::default().with_error_code(error).with_member_epoch(2);
        w.answers(4, ask, ResponseKind::ConsumerGroupHeartbeat(r));
    };
    // NOT_COORDINATOR: broker 2 leads the group's partition by now.
    let expelled = |error: i16| {
        let mut w = consumer_group();
        beat(&mut w, 0);
        w.passes(46);
        beat(&mut w, error);
        w.removed("m1", RemovalReason::SessionExpired);
        w
    };
    expelled(16).silent();
    expelled(0).only(Check::LivenessVerdicts);
    let mut w = consumer_group();
    beat(&mut w, 0);
    w.moves();
    w.passes(46);
    w.leader = 1;
    beat(&mut w, 0);
    w.leader = 2;
    w.removed("m1", RemovalReason::SessionExpired);
    w.silent();
}

/// A member that waits for a rebalance is excused. Its coordinator does not see that it is gone: it has a whole session
/// from when the rebalance gets on.
#[test]
fn whoever_died_while_it_waited_has_a_session_from_the_end_of_the_wait() {
    let members: &[(&str, &[i32])] = &[("m1", &[0]), ("m2", &[1])];
    let waiting = || {
        let mut w = World::settled(EAGER, "range");
        w.rebalances();
        w.asks_join(4, "m1", None, "orders");
        w.event(1, What::Disconnected { conn: ConnId::incoming(4), reason: DisconnectReason::Reset });
        for _ in 0..5 {
            w.passes(9);
            w.heartbeat(5, "m2", 1, 27);
        }
        w
    };
    let audited = |w: &mut World, state: &'static str| {
        let accounts = w.accounts(group_of(state, 1, members, None), [&[0], &[1]]);
        w.audit(&accounts);
    };
    let mut w = waiting();
    audited(&mut w, "PreparingRebalance");
    w.silent();
    w.removed("m1", RemovalReason::SessionExpired);
    w.only(Check::LivenessVerdicts);
    // Joining takes a rebalance's time at most.
    let mut w = waiting();
    w.passes(30);
    w.heartbeat(5, "m2", 1, 27);
    audited(&mut w, "PreparingRebalance");
    assert!(w.only(Check::LivenessVerdicts).detail.contains("m1"));
    // Everybody has joined: a session from now on.
    let joined = |secs: u64| {
        let mut w = waiting();
        w.state("PreparingRebalance", "CompletingRebalance", 2);
        w.passes(secs);
        w
    };
    let mut w = joined(46);
    w.removed("m1", RemovalReason::SessionExpired);
    w.silent();
    let mut w = joined(30);
    w.removed("m1", RemovalReason::SessionExpired);
    w.only(Check::LivenessVerdicts);
    let mut w = joined(56);
    audited(&mut w, "CompletingRebalance");
    w.only(Check::LivenessVerdicts);
    // The same for who waits for the leader's assignment.
    let synced = |secs: u64| {
        let mut w = joined(1);
        let r = SyncGroupRequest::default().with_group_id(GroupId(s(G))).with_member_id(s("m1")).with_generation_id(2);
        w.asks(4, RequestKind::SyncGroup(r));
        w.passes(44);
        w.state("CompletingRebalance", "PreparingRebalance", 2);
        w.passes(secs);
        w.removed("m1", RemovalReason::SessionExpired);
        w
    };
    synced(46).silent();
    synced(30).only(Check::LivenessVerdicts);
}

#[test]
fn members_have_the_time_of_a_rebalance() {
    // To join.
    let joining = |secs: u64| {
        let mut w = World::settled(EAGER, "range");
        w.passes(100);
        w.rebalances();
        w.passes(secs);
        w.removed("m1", RemovalReason::RebalanceExpired);
        w
    };
    joining(60).silent();
    joining(40).only(Check::LivenessVerdicts);
    // To sync, from when all had joined, whenever the leader assigned.
    let syncing = |before: u64, after: u64| {
        let mut w = World::settled(EAGER, "range");
        w.rebalances();
        w.state("PreparingRebalance", "CompletingRebalance", 2);
        w.passes(before);
        w.state("CompletingRebalance", "Stable", 2);
        w.passes(after);
        w.removed("m1", RemovalReason::RebalanceExpired);
        w
    };
    syncing(40, 20).silent();
    syncing(20, 20).only(Check::LivenessVerdicts);
    // A KIP-848 member to give up partitions, from when that was written down.
    let revoking = |before: u64, after: u64| {
        let mut w = consumer_group();
        let r = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(GroupId(s(G)))
            .with_member_id(s("m1"))
            .with_member_epoch(2)
            .with_rebalance_timeout_ms(60_000);
        w.asks(4, RequestKind::ConsumerGroupHeartbeat(r));
        w.state("Stable", "Reconciling", 3);
        w.passes(before);
        w.appends(&[current_record("m1", 2, &[], &[0])], true);
        w.passes(after);
        w.removed("m1", RemovalReason::RebalanceExpired);
        w
    };
    revoking(40, 61).silent();
    revoking(40, 40).only(Check::LivenessVerdicts);
}

/// That a KIP-848 member is out is told when it is committed: a sign of life after it was written is one of its return.
#[test]
fn a_member_may_be_back_before_its_end_is_committed() {
    let asks = |w: &mut World, epoch: i32| {
        let r = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(GroupId(s(G)))
            .with_member_id(s("m1"))
            .with_member_epoch(epoch);
        w.asks(4, RequestKind::ConsumerGroupHeartbeat(r))
    };
    let out_after = |secs: u64| {
        let mut w = consumer_group();
        let ask = asks(&mut w, 2);
        let r = ConsumerGroupHeartbeatResponse::default().with_member_epoch(2);
        w.answers(4, ask, ResponseKind::ConsumerGroupHeartbeat(r));
        w.passes(secs);
        let (key, _) = current_record("m1", 2, &[], &[]);
        w.appends(&[(key, None)], false);
        w.passes(1);
        asks(&mut w, 0);
        w.passes(1);
        w.advances();
        w.removed("m1", RemovalReason::SessionExpired);
        w
    };
    out_after(46).silent();
    let found = out_after(20).only(Check::LivenessVerdicts).detail.clone();
    assert!(found.contains("20000 ms after"), "{found}");
}
