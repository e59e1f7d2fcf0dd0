//! Accounts against the log, and convergence.

use super::*;

#[test]
fn accounts_agree_with_the_log() {
    let members: &[(&str, &[i32])] = &[("m1", &[0]), ("m2", &[1])];
    let audited = |live: GroupInspection| {
        let mut w = World::settled(EAGER, "range");
        w.commit(4, "m1", 1, 7);
        let accounts = w.accounts(live, [&[0], &[1]]);
        w.audit(&accounts);
        w
    };
    audited(group_of("Stable", 1, members, Some(7))).silent();
    audited(group_of("Stable", 1, members, Some(6))).only(Check::ReplayEqualsLive);
    audited(group_of("Stable", 1, members, None)).only(Check::ReplayEqualsLive);
    audited(group_of("Stable", 2, members, Some(7))).only(Check::ReplayEqualsLive);
    audited(group_of("Stable", 1, &[("m1", &[0])], Some(7))).only(Check::ReplayEqualsLive);
    audited(group_of("Stable", 1, &[("m1", &[1]), ("m2", &[1])], Some(7))).only(Check::ReplayEqualsLive);
    audited(group_of("Stable", 1, &[("m1", &[0]), ("m3", &[1])], Some(7))).only(Check::ReplayEqualsLive);
    // Between two generations memory may be ahead, but not with offsets.
    audited(group_of("PreparingRebalance", 2, &[("m1", &[])], Some(7))).silent();
    audited(group_of("PreparingRebalance", 2, &[("m1", &[])], Some(6))).only(Check::ReplayEqualsLive);
}

#[test]
fn a_kip_848_account_agrees_with_the_log() {
    let member = |epoch: i32, parts: &[i32]| MemberInspection {
        instance: None,
        epoch,
        assigned: parts.iter().map(|p| ("orders".to_owned(), *p)).collect(),
    };
    let audited = |epoch: i32, first: MemberInspection| {
        let mut w = consumer_group();
        let members = [("m1".to_owned(), first), ("m2".to_owned(), member(2, &[1]))].into();
        let group =
            GroupInspection { state: "Stable", kind: "consumer", generation: epoch, members, offsets: BTreeMap::new() };
        let accounts = w.accounts(group, [&[0], &[1]]);
        w.audit(&accounts);
        w
    };
    audited(2, member(2, &[0])).silent();
    audited(3, member(2, &[0])).only(Check::ReplayEqualsLive);
    audited(2, member(1, &[0])).only(Check::ReplayEqualsLive);
    audited(2, member(2, &[])).only(Check::ReplayEqualsLive);
}

#[test]
fn convergence_wants_every_partition_owned_and_known() {
    let members: &[(&str, &[i32])] = &[("m1", &[0]), ("m2", &[1])];
    let unmet = |live: GroupInspection, clients: [&[i32]; 2]| {
        let w = World::settled(EAGER, "range");
        let accounts = w.accounts(live, clients);
        w.groups_unmet(&accounts).into_iter().map(|u| u.condition).collect::<Vec<_>>()
    };
    assert_eq!(unmet(group_of("Stable", 1, members, None), [&[0], &[1]]), [""; 0]);
    assert_eq!(unmet(group_of("PreparingRebalance", 1, members, None), [&[0], &[1]]), ["group-stable"]);
    assert_eq!(unmet(group_of("Stable", 1, members, None), [&[], &[1]]), ["group-agreed"]);
    assert_eq!(unmet(group_of("Stable", 1, &members[..1], None), [&[0], &[]]), ["group-agreed", "group-owned"]);
    let three: &[(&str, &[i32])] = &[("m1", &[0]), ("m2", &[1]), ("ghost", &[])];
    assert_eq!(unmet(group_of("Stable", 1, three, None), [&[0], &[1]]), ["group-stable"]);
}

#[test]
fn convergence_wants_all_there_is_read_and_every_commit_resolved() {
    let members: &[(&str, &[i32])] = &[("m1", &[0]), ("m2", &[1])];
    let unmet = |next: Option<i64>, pending: usize| {
        let w = World::settled(EAGER, "range");
        let mut accounts = w.accounts(group_of("Stable", 1, members, None), [&[0], &[1]]);
        let orders = TopicIdPartition { topic: ORDERS, partition: 0 };
        for account in &mut accounts {
            match &mut account.inspection {
                Some(Inspection::Broker(broker)) => {
                    let of_orders = PartitionInspection {
                        partition: orders,
                        topic: "orders".to_owned(),
                        high_watermark: Offset(7),
                        log_end: Offset(9),
                        ..broker.partitions[0].clone()
                    };
                    broker.partitions.push(of_orders);
                }
                Some(Inspection::Client(client)) => {
                    client.positions.extend(next.map(|o| (("orders".to_owned(), 0), Offset(o))));
                    client.member.as_mut().expect("is a member").pending_commits = pending;
                }
                _ => {}
            }
        }
        w.groups_unmet(&accounts).into_iter().map(|u| u.condition).collect::<Vec<_>>()
    };
    assert_eq!(unmet(Some(7), 0), [""; 0]);
    assert_eq!(unmet(Some(6), 0), ["group-caught-up"]);
    assert_eq!(unmet(None, 0), ["group-caught-up"]);
    assert_eq!(unmet(Some(7), 1), ["commits-resolved", "commits-resolved"]);
}

#[test]
fn what_a_replaced_static_member_was_to_give_up_waits_for_the_next_rebalance() {
    let cooperative = |n, members: &[Joined<'_>]| generation_with(n, "cooperative-sticky", members);
    // In generation 2, m1 is to give partition 0 up.
    let asked = cooperative(2, &[("m1", Some("i1"), &[], &[0]), ("m2", None, &[1], &[1])]);
    let unmet = |records: &[Record], first: &str, n: i32| {
        let mut w = World::settled(COOPERATIVE, "cooperative-sticky");
        w.appends(records, true);
        let accounts = w.accounts(group_of("Stable", n, &[(first, &[]), ("m2", &[1])], None), [&[], &[1]]);
        let unmet = w.groups_unmet(&accounts).into_iter();
        unmet.filter(|u| u.condition == "group-owned").map(|u| u.condition).collect::<Vec<_>>()
    };
    assert_eq!(unmet(std::slice::from_ref(&asked), "m1", 2), ["group-owned"]);
    let replaced = cooperative(2, &[("m3", Some("i1"), &[], &[]), ("m2", None, &[1], &[1])]);
    assert_eq!(unmet(&[asked.clone(), replaced.clone()], "m3", 2), [""; 0]);
    // Another instance than the one that was to come.
    let other = cooperative(2, &[("m3", Some("i2"), &[], &[]), ("m2", None, &[1], &[1])]);
    assert_eq!(unmet(&[asked.clone(), other], "m3", 2), ["group-owned"]);
    // The next rebalance is what it waited for.
    let next = cooperative(3, &[("m3", Some("i1"), &[], &[]), ("m2", None, &[1], &[1])]);
    assert_eq!(unmet(&[asked, replaced, next], "m3", 3), ["group-owned"]);
}
