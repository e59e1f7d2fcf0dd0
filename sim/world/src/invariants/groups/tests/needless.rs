//! Rebalances, revocations and moves without need.

use super::*;

#[test]
fn a_settled_group_does_not_rebalance_for_nothing() {
    let begins = |w: &mut World| {
        w.state("Stable", "PreparingRebalance", 1);
        w.passes(1);
        w.state("PreparingRebalance", "CompletingRebalance", 2);
    };
    let mut w = World::settled(EAGER, "range");
    begins(&mut w);
    w.only(Check::NeedlessRebalance);
    // A bouncing coordinator is no reason, if it is away for less than the session.
    let mut w = World::settled(EAGER, "range");
    w.moves();
    begins(&mut w);
    w.only(Check::NeedlessRebalance);
    let mut w = World::settled(EAGER, "range");
    w.event(1, What::Ended { incarnation: Incarnation(1), how: &Ending::Killed });
    w.passes(60);
    w.moves();
    begins(&mut w);
    w.silent();
    // Reasons: somebody joins, leaves, is removed (which may be told a moment later), subscribes to something else.
    let mut w = World::settled(EAGER, "range");
    w.join(5, "", "m3", 2);
    begins(&mut w);
    w.silent();
    let mut w = World::settled(EAGER, "range");
    w.join_as(5, "m2", "m2", 2, None, "payments");
    begins(&mut w);
    w.silent();
    let mut w = World::settled(EAGER, "range");
    w.passes(60);
    w.removed("m1", RemovalReason::SessionExpired);
    begins(&mut w);
    w.silent();
    // A rebalance that was running when the coordinator moved.
    let mut w = World::settled(EAGER, "range");
    w.join(5, "", "m3", 2);
    w.state("Stable", "PreparingRebalance", 1);
    w.moves();
    begins(&mut w);
    w.silent();
    // A join that was sent before the last rebalance (seed 0xa4fc2ef6b18ab1ac of slow-offset-lookups); not one sent since.
    let joins = |sent_before: bool| {
        let mut w = World::settled(EAGER, "range");
        w.cause = sent_before.then_some(Ordinal(1));
        w.asks_join(4, "m1", None, "orders");
        begins(&mut w);
        w
    };
    joins(true).silent();
    joins(false).only(Check::NeedlessRebalance);
    // A member that has not heard of its part.
    let mut w = World::new();
    w.state("Empty", "PreparingRebalance", 0);
    w.join(4, "", "m1", 1);
    w.appends(&[generation(1, "range", &[("m1", &[0, 1])])], true);
    w.state("CompletingRebalance", "Stable", 1);
    begins(&mut w);
    w.silent();
}

#[test]
fn a_static_member_comes_back_unnoticed() {
    let begun = |topic: &str| {
        let mut w = World::new();
        w.comes_up(4, EAGER);
        w.state("Empty", "PreparingRebalance", 0);
        w.join_as(4, "", "s-1", 1, Some("s"), "orders");
        w.rebalanced("range", 1, &[("s-1", &[0, 1])]);
        w.event(4, What::Ended { incarnation: Incarnation(1), how: &Ending::Killed });
        w.comes_up(4, EAGER);
        w.join_as(4, "", "s-2", 1, Some("s"), topic);
        w.state("Stable", "PreparingRebalance", 1);
        w.passes(1);
        w.state("PreparingRebalance", "CompletingRebalance", 2);
        w
    };
    begun("orders").only(Check::NeedlessRebalance);
    begun("payments").silent();
    // But not after its session.
    let mut w = World::new();
    w.comes_up(4, EAGER);
    w.state("Empty", "PreparingRebalance", 0);
    w.join_as(4, "", "s-1", 1, Some("s"), "orders");
    w.rebalanced("range", 1, &[("s-1", &[0, 1])]);
    w.passes(60);
    w.removed("s-1", RemovalReason::SessionExpired);
    w.state("Stable", "PreparingRebalance", 1);
    w.state("PreparingRebalance", "Stable", 2);
    w.join_as(4, "", "s-2", 3, Some("s"), "orders");
    w.state("Stable", "PreparingRebalance", 2);
    w.passes(1);
    w.state("PreparingRebalance", "CompletingRebalance", 3);
    w.silent();
}

#[test]
fn cooperative_members_give_up_nothing_that_stays() {
    let mut w = World::settled(COOPERATIVE, "cooperative-sticky");
    w.goes(4, 1, &[0], false);
    w.silent();
    w.comes(4, 2, &[0]);
    w.only(Check::NeedlessRevocation);
    // Leaving gives everything up; so does what the next generation takes away.
    let mut w = World::settled(COOPERATIVE, "cooperative-sticky");
    w.goes(4, 1, &[0], false);
    let r = LeaveGroupRequest::default().with_group_id(GroupId(s(G))).with_member_id(s("m1"));
    w.asks(4, RequestKind::LeaveGroup(r));
    w.comes(4, 2, &[0]);
    w.silent();
    let mut w = World::settled(EAGER, "range");
    w.goes(4, 1, &[0], false);
    w.comes(4, 2, &[0]);
    w.silent();
}

#[test]
fn sticky_assignors_move_no_more_than_they_must() {
    let mut w = World::settled(EAGER, "sticky");
    w.appends(&[generation(2, "sticky", &[("m1", &[0]), ("m2", &[1])])], true);
    w.silent();
    w.sync(4, "m1", 2, &[0]);
    let mut w = World::settled(EAGER, "sticky");
    w.join(4, "m1", "m1", 2);
    w.join(5, "m2", "m2", 2);
    w.appends(&[generation(2, "sticky", &[("m1", &[1]), ("m2", &[0])])], true);
    w.only(Check::NeedlessMove);
    // Whoever did not come cannot say what it has.
    let mut w = World::settled(EAGER, "sticky");
    w.join(4, "m1", "m1", 2);
    w.appends(&[generation(2, "sticky", &[("m1", &[1]), ("m2", &[0])])], true);
    w.silent();
    // Somebody goes: the rest keep what they had.
    let mut w = World::settled(EAGER, "sticky");
    w.appends(&[generation(2, "sticky", &[("m2", &[0, 1])])], true);
    w.silent();
    // Other assignors promise nothing.
    let mut w = World::settled(EAGER, "range");
    w.appends(&[generation(2, "range", &[("m1", &[1]), ("m2", &[0])])], true);
    w.silent();
}

/// The leader of a classic group comes again when it hears of other partitions than those it assigned; that the topic has
/// grown is no reason before somebody who leads has heard of it.
#[test]
fn a_classic_leader_rebalances_when_it_hears_of_partitions() {
    let begins = |w: &mut World| {
        w.state("Stable", "PreparingRebalance", 2);
        w.passes(1);
        w.state("PreparingRebalance", "CompletingRebalance", 3);
    };
    let led = || {
        let mut w = World::settled(EAGER, "range");
        w.hears(4, 2);
        w.hears(5, 2);
        w.rebalances();
        w.leads(4, "m1", 2);
        w.join(5, "m2", "m2", 2);
        w
    };
    let parts: &[(&str, &[i32])] = &[("m1", &[0]), ("m2", &[1])];
    let mut w = led();
    w.rebalanced("range", 2, parts);
    w.hears(4, 3);
    begins(&mut w);
    w.silent();
    // Also if it heard while its assignment was on its way.
    let mut w = led();
    w.hears(4, 3);
    w.rebalanced("range", 2, parts);
    begins(&mut w);
    w.silent();
    for hears in [&[][..], &[(4, 2)], &[(5, 3)]] {
        let mut w = led();
        w.rebalanced("range", 2, parts);
        w.judge.topic_changed(w.judge.last, "orders");
        hears.iter().for_each(|(client, n)| w.hears(*client, *n));
        begins(&mut w);
        w.only(Check::NeedlessRebalance);
    }
}

/// A member that missed a generation comes with what it had before. What it does not get again it gives up, and comes
/// once more.
#[test]
fn what_a_cooperative_member_came_with_is_followed_up() {
    let begun = |owned: &[i32]| {
        let mut w = World::settled(COOPERATIVE, "cooperative-sticky");
        let parts: &[(&str, &[i32])] = &[("m1", &[0]), ("m2", &[1])];
        w.appends(&[generation_of(2, "cooperative-sticky", &[("m1", &[0], owned), ("m2", &[1], &[1])])], true);
        w.state("CompletingRebalance", "Stable", 2);
        for (client, (member, parts)) in (4..).zip(parts) {
            w.traced(member, 2, parts);
            w.sync(client, member, 2, parts);
        }
        w.state("Stable", "PreparingRebalance", 2);
        w.passes(1);
        w.state("PreparingRebalance", "CompletingRebalance", 3);
        w
    };
    begun(&[0, 2]).silent();
    begun(&[0]).only(Check::NeedlessRebalance);
}

/// Whoever was expelled comes as somebody new, and a sticky assignor still gives it what it remembers.
#[test]
fn what_somebody_new_remembers_is_its_own() {
    let assigned = |remembers: &[i32]| {
        let mut w = World::settled(EAGER, "sticky");
        w.rebalances();
        w.join(4, "m1", "m1", 2);
        w.join(5, "m2", "m2", 2);
        w.rebalanced("sticky", 2, &[("m1", &[0, 2]), ("m2", &[1, 3])]);
        w.rebalances();
        w.join(5, "m2", "m2", 3);
        let members: &[(&str, &[i32], &[i32])] = &[("m4", &[0, 2], remembers), ("m2", &[1], &[]), ("m3", &[3], &[])];
        w.appends(&[generation_of(3, "sticky", members)], true);
        w
    };
    assigned(&[0, 2]).silent();
    assigned(&[]).only(Check::NeedlessMove);
}

/// To a cooperative assignor a member has what it comes with: one that was told that its generation is unknown has lost
/// all (seed 0x2c7c535203847418 of coordinator-loads-slowly).
#[test]
fn a_cooperative_member_that_lost_all_has_nothing_to_keep() {
    let swapped = |first: &[i32], second: &[i32]| {
        let mut w = World::settled(COOPERATIVE, "cooperative-sticky");
        w.join(4, "m1", "m1", 2);
        w.join(5, "m2", "m2", 2);
        let members: &[(&str, &[i32], &[i32])] = &[("m1", &[1], first), ("m2", &[0], second)];
        w.appends(&[generation_of(2, "cooperative-sticky", members)], true);
        w
    };
    swapped(&[], &[]).silent();
    swapped(&[0], &[]).only(Check::NeedlessMove);
}
