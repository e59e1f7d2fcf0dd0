//! Who has what: single-owner, assignment-legal.

use super::*;

#[test]
fn generations_give_each_partition_to_one_member_that_wants_it() {
    let mut w = World::settled(EAGER, "range");
    w.appends(&[generation(2, "range", &[("m1", &[0, 1]), ("m2", &[1])])], true);
    w.only(Check::SingleOwner);
    let mut w = World::settled(EAGER, "range");
    w.appends(&[generation(2, "range", &[("m1", &[1]), ("m2", &[])])], true);
    w.only(Check::AssignmentLegal);
    // A cooperative one may leave out what its owner has to give up first.
    let mut w = World::settled(COOPERATIVE, "cooperative-sticky");
    w.appends(&[generation(2, "cooperative-sticky", &[("m2", &[1]), ("m1", &[])])], true);
    assert!(w.judge.findings().iter().all(|f| f.check == Check::NeedlessMove));
    let mut w = World::new();
    w.appends(&[generation(1, "cooperative-sticky", &[("m1", &[1])])], true);
    w.only(Check::AssignmentLegal);
}

#[test]
fn clients_do_not_overlap() {
    // Still a member, and it still has the partition.
    let mut w = World::settled(COOPERATIVE, "cooperative-sticky");
    w.comes(5, 2, &[0]);
    w.only(Check::SingleOwner);
    // Given up, or removed without knowing it.
    let mut w = World::settled(COOPERATIVE, "cooperative-sticky");
    w.appends(&[generation(2, "range", &[("m2", &[0, 1])])], true);
    w.comes(5, 2, &[0]);
    w.silent();
    let mut w = World::settled(COOPERATIVE, "cooperative-sticky");
    w.goes(4, 1, &[0], true);
    w.comes(5, 2, &[0]);
    w.silent();
    // It is the one to which it comes that was removed, and an answer on its way had given it.
    let mut w = World::settled(COOPERATIVE, "cooperative-sticky");
    w.appends(&[generation(2, "range", &[("m1", &[0, 1])])], true);
    w.comes(5, 1, &[0]);
    w.silent();
}

#[test]
fn a_static_member_that_misses_a_rebalance_is_not_removed() {
    let overlap = |came: bool| {
        let mut w = World::settled(EAGER, "range");
        let facts = MemberFacts {
            group: G.into(),
            protocol: EAGER,
            instance: Some("i".into()),
            auto_commit: true,
            processing: Processing::FinishThenCommit,
            effects: false,
            resets_to_latest: false,
            forwards_to: Vec::new(),
            declines_to: None,
        };
        w.judge.groups.clients.get_mut(&NodeRef(4)).expect("is a member").facts = facts;
        w.join(5, "", "m3", 2);
        w.state("Stable", "PreparingRebalance", 1);
        if came {
            w.join(4, "m1", "m1", 2);
        }
        w.appends(&[generation(2, "range", &[("m1", &[]), ("m3", &[0, 1])])], true);
        w.comes(5, 2, &[0]);
        w
    };
    overlap(false).silent();
    overlap(true).only(Check::SingleOwner);
}
