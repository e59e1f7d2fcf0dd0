//! The classic protocol: joining, syncing, staying, leaving.

use super::*;

#[test]
fn members_join_sync_stay_and_leave() {
    let (mut c, host) = cluster();
    let (mut a, mut b) = (Member::new(&mut c, host), Member::new(&mut c, host));
    rebalance(&mut c, &mut [&mut a, &mut b]);
    assert_eq!((a.generation, b.generation), (1, 1));
    assert_eq!((a.heartbeat(&mut c), b.heartbeat(&mut c)), (0, 0));
    let g = account(&c, host);
    assert_eq!((g.state, g.kind, g.generation, g.members.len()), ("Stable", "classic", 1, 2));
    assert_eq!(g.members[&a.id].assigned, [(TOPIC.to_owned(), 0)]);
    // One leaves: the other learns of it by its heartbeat, and joins again.
    assert_eq!(b.leave(&mut c), 0);
    assert_eq!(a.heartbeat(&mut c), code(ResponseError::RebalanceInProgress));
    assert_eq!(b.heartbeat(&mut c), code(ResponseError::UnknownMemberId));
    rebalance(&mut c, &mut [&mut a]);
    assert_eq!(a.generation, 2);
    assert_eq!(a.leave(&mut c), 0);
    c.run(50);
    assert_eq!((account(&c, host).state, account(&c, host).generation), ("Empty", 3));
    let assigned = c.traces.iter().filter(|(_, t)| matches!(t, TraceEvent::MemberAssignment { .. })).count();
    assert_eq!(assigned, 3, "once per member and generation");
}

#[test]
fn a_silent_member_is_put_out_and_a_waiting_one_is_not() {
    let (mut c, host) = cluster();
    let (mut a, mut b) = (Member::new(&mut c, host), Member::new(&mut c, host));
    rebalance(&mut c, &mut [&mut a, &mut b]);
    // A session of half a second: `b` says nothing.
    for _ in 0..7 {
        c.run(100);
        a.heartbeat(&mut c);
    }
    assert!(c.marked(host, "member-expired"));
    assert_eq!(account(&c, host).members.len(), 1);
    // A third one comes; `a` waits for nobody but it, longer than its session.
    let mut d = Member::new(&mut c, host);
    let join = a.begin_join(&mut c);
    c.run(10);
    let other = d.begin_join(&mut c);
    assert_eq!(a.end_join(&mut c, join).error_code, 0);
    let _ = other;
}

#[test]
fn whoever_misses_the_rebalance_is_left_behind() {
    let (mut c, host) = cluster();
    let (mut a, mut b, mut d) = (Member::new(&mut c, host), Member::new(&mut c, host), Member::new(&mut c, host));
    rebalance(&mut c, &mut [&mut a, &mut b]);
    let first = d.begin_join(&mut c);
    let second = a.begin_join(&mut c);
    // `b` is alive and does not come.
    for _ in 0..11 {
        c.run(100);
        b.heartbeat(&mut c);
    }
    assert_eq!(a.end_join(&mut c, second).generation_id, 2);
    assert_eq!(d.end_join(&mut c, first).generation_id, 2);
    assert_eq!(b.heartbeat(&mut c), code(ResponseError::UnknownMemberId));
    assert!(c.marked(host, "member-missed-rebalance"));
    let gone = |t: &TraceEvent| matches!(t, TraceEvent::MemberRemoved { member, reason: crate::trace::RemovalReason::RebalanceExpired, .. } if **member == *b.id);
    assert!(c.traces.iter().any(|(_, t)| gone(t)));
}

#[test]
fn whoever_does_not_sync_is_put_out() {
    let (mut c, host) = cluster();
    let (mut a, mut b) = (Member::new(&mut c, host), Member::new(&mut c, host));
    let joins = [a.begin_join(&mut c), b.begin_join(&mut c)];
    a.end_join(&mut c, joins[0]);
    b.end_join(&mut c, joins[1]);
    let sync = a.send(&mut c, 5, a.sync_request(&[]));
    // Both are alive.
    let alive = Member { conn: c.connect(host), host, id: a.id.clone(), instance: None, generation: a.generation };
    for _ in 0..12 {
        c.run(100);
        b.heartbeat(&mut c);
        alive.heartbeat(&mut c);
    }
    assert!(c.marked(host, "member-missed-sync"));
    let ResponseKind::SyncGroup(r) = wait(&mut c, sync) else { panic!() };
    // Whether it leads or not, it goes into the next generation.
    assert!(r.error_code == 0 || r.error_code == code(ResponseError::RebalanceInProgress));
    assert_eq!(account(&c, host).state, "PreparingRebalance");
}

#[test]
fn old_generations_and_strangers_are_refused() {
    let (mut c, host) = cluster();
    let mut a = Member::new(&mut c, host);
    rebalance(&mut c, &mut [&mut a]);
    rebalance(&mut c, &mut [&mut a]);
    assert_eq!(a.generation, 2);
    assert_eq!(a.commit(&mut c, 0, 5), 0);
    let old = Member { conn: c.connect(host), host, id: a.id.clone(), instance: None, generation: 1 };
    assert_eq!(old.commit(&mut c, 0, 3), code(ResponseError::IllegalGeneration));
    assert_eq!(old.heartbeat(&mut c), code(ResponseError::IllegalGeneration));
    let ResponseKind::SyncGroup(r) = old.ask(&mut c, 5, old.sync_request(&[])) else { panic!() };
    assert_eq!(r.error_code, code(ResponseError::IllegalGeneration));
    let stranger = Member { conn: c.connect(host), host, id: "x".into(), instance: None, generation: 2 };
    assert_eq!(stranger.commit(&mut c, 0, 3), code(ResponseError::UnknownMemberId));
    let ResponseKind::JoinGroup(r) = stranger.ask(&mut c, 9, stranger.join_request()) else { panic!() };
    assert_eq!(r.error_code, code(ResponseError::UnknownMemberId));
    // Whoever is in no group may not commit for one that has members.
    let by_hand = Member { conn: c.connect(host), host, id: String::new(), instance: None, generation: -1 };
    assert_eq!(by_hand.commit(&mut c, 0, 3), code(ResponseError::UnknownMemberId));
    assert_eq!(fetch_offset(&mut c, host, 0, true), Ok(5));
    assert!(c.marked(host, "commit-fenced"));
}

#[test]
fn a_static_member_comes_back_without_a_rebalance_and_its_former_self_is_fenced() {
    let (mut c, host) = cluster();
    let (mut a, mut b) = (Member::fixed(&mut c, host, "one"), Member::fixed(&mut c, host, "two"));
    rebalance(&mut c, &mut [&mut a, &mut b]);
    let mut again = Member::fixed(&mut c, host, "two");
    let join = again.begin_join(&mut c);
    let r = again.end_join(&mut c, join);
    assert_eq!((r.error_code, r.generation_id), (0, 1));
    assert_ne!(again.id, b.id);
    let ResponseKind::SyncGroup(r) = again.ask(&mut c, 5, again.sync_request(&[])) else { panic!() };
    assert_eq!((r.error_code, r.assignment), (0, assignment(&[1])));
    assert_eq!(b.heartbeat(&mut c), code(ResponseError::FencedInstanceId));
    assert_eq!(b.commit(&mut c, 1, 1), code(ResponseError::FencedInstanceId));
    assert_eq!((a.heartbeat(&mut c), again.heartbeat(&mut c)), (0, 0));
    assert!(c.marked(host, "static-member-replaced"));
    // The next coordinator knows the new id, not the old one.
    c.kill(host);
    let host = find(&mut c, if host == 1 { 2 } else { 1 });
    let members = account(&c, host).members;
    assert_eq!(members.keys().collect::<Vec<_>>().len(), 2);
    assert!(members.contains_key(&again.id) && !members.contains_key(&b.id));
}

#[test]
fn the_defect_leaves_the_new_id_of_a_static_member_in_memory() {
    let defects = Defects::NONE.with(crate::defects::Defect::StaticMemberNotPersisted);
    let (mut c, host) = cluster_with(defects, quick);
    let mut a = Member::fixed(&mut c, host, "one");
    rebalance(&mut c, &mut [&mut a]);
    let mut again = Member::fixed(&mut c, host, "one");
    let join = again.begin_join(&mut c);
    assert_eq!(again.end_join(&mut c, join).error_code, 0);
    c.kill(host);
    let host = find(&mut c, if host == 1 { 2 } else { 1 });
    assert!(account(&c, host).members.contains_key(&a.id));
}

#[test]
fn a_full_group_takes_nobody_more() {
    let (mut c, host) = cluster_with(Defects::NONE, |config| {
        quick(config);
        config.group_max_size = 1;
    });
    let mut a = Member::new(&mut c, host);
    rebalance(&mut c, &mut [&mut a]);
    let b = Member::new(&mut c, host);
    let ResponseKind::JoinGroup(r) = b.ask(&mut c, 9, b.join_request()) else { panic!() };
    assert_eq!(r.error_code, code(ResponseError::GroupMaxSizeReached));
    let too_long = a.join_request().with_session_timeout_ms(i32::MAX);
    let ResponseKind::JoinGroup(r) = b.ask(&mut c, 9, too_long) else { panic!() };
    assert_eq!(r.error_code, code(ResponseError::InvalidSessionTimeout));
}

#[test]
fn the_assignor_is_the_one_most_members_like_best_among_those_all_know() {
    let (mut c, host) = cluster();
    let with = |names: &[&str], m: &Member| {
        let protocol = |n: &&str| JoinGroupRequestProtocol::default().with_name(text(n)).with_metadata(subscription());
        m.join_request().with_protocols(names.iter().map(protocol).collect())
    };
    let lists: [&[&str]; 3] = [&["sticky", "range"], &["range", "sticky"], &["x", "range", "sticky"]];
    let mut joins = Vec::new();
    for names in lists {
        let m = Member::new(&mut c, host);
        // Version 3 knows no MEMBER_ID_REQUIRED.
        joins.push(m.send(&mut c, 3, with(names, &m)));
    }
    for join in joins {
        let ResponseKind::JoinGroup(r) = wait(&mut c, join) else { panic!() };
        assert_eq!((r.error_code, r.protocol_name.as_deref()), (0, Some("range")));
    }
    let m = Member::new(&mut c, host);
    let ResponseKind::JoinGroup(r) = m.ask(&mut c, 9, with(&["x"], &m)) else { panic!() };
    assert_eq!(r.error_code, code(ResponseError::InconsistentGroupProtocol));
}

#[test]
fn groups_are_described_and_listed() {
    let (mut c, host) = cluster();
    let mut a = Member::new(&mut c, host);
    rebalance(&mut c, &mut [&mut a]);
    for version in 0..=6 {
        let request = DescribeGroupsRequest::default().with_groups(vec![group(), GroupId(text("nobody"))]);
        let ResponseKind::DescribeGroups(r) = c.ask(host, version, request) else { panic!() };
        assert_eq!((r.groups[0].group_state.as_str(), r.groups[0].protocol_data.as_str()), ("Stable", "range"));
        assert_eq!(r.groups[0].members[0].member_assignment, assignment(&[0]));
        assert_eq!(r.groups[1].group_state.as_str(), "Dead");
    }
    for version in 0..=5 {
        let ResponseKind::ListGroups(r) = c.ask(host, version, ListGroupsRequest::default()) else { panic!() };
        assert_eq!((r.groups.len(), r.groups[0].protocol_type.as_str()), (1, "consumer"));
    }
    let none = ListGroupsRequest::default().with_states_filter(vec![text("Empty")]);
    let ResponseKind::ListGroups(r) = c.ask(host, 5, none) else { panic!() };
    assert!(r.groups.is_empty());
}

#[test]
fn old_versions_are_spoken() {
    let (mut c, host) = cluster();
    let m = Member::new(&mut c, host);
    let mut join = m.join_request();
    join.rebalance_timeout_ms = -1;
    let ResponseKind::JoinGroup(r) = m.ask(&mut c, 0, join) else { panic!() };
    assert_eq!((r.error_code, r.leader == r.member_id), (0, true));
    let m = Member { id: r.member_id.to_string(), generation: r.generation_id, ..m };
    let mine = [(m.id.as_str(), assignment(&[2]))];
    let mut sync = m.sync_request(&mine);
    (sync.protocol_name, sync.protocol_type) = (None, None);
    let ResponseKind::SyncGroup(r) = m.ask(&mut c, 0, sync) else { panic!() };
    assert_eq!(r.assignment, assignment(&[2]));
    let leave = LeaveGroupRequest::default().with_group_id(group()).with_member_id(text(&m.id));
    let ResponseKind::LeaveGroup(r) = m.ask(&mut c, 1, leave.clone()) else { panic!() };
    assert_eq!(r.error_code, 0);
    let ResponseKind::LeaveGroup(r) = m.ask(&mut c, 1, leave) else { panic!() };
    assert_eq!(r.error_code, code(ResponseError::UnknownMemberId));
}
