//! Assignors: the examples of Kafka's documentation, and laws.

use super::*;
use crate::config::Assignor::{CooperativeSticky, Range, RoundRobin, Sticky};
use crate::defects::Defect;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn topics(list: &[(&str, i32)]) -> Partitions {
    list.iter().map(|&(name, count)| (Arc::from(name), count)).collect()
}

/// `t0-1` and so on.
fn list(text: &str) -> Vec<TopicPartition> {
    let one = |word: &str| {
        let (topic, partition) = word.rsplit_once('-').unwrap();
        TopicPartition { topic: topic.into(), partition: partition.parse().unwrap() }
    };
    text.split_whitespace().map(one).collect()
}

fn member(id: &str, topics: &str, owned: &str, generation: i32) -> GroupMember {
    let topics = topics.split_whitespace().map(Arc::from).collect();
    GroupMember { id: id.to_owned(), instance: None, topics, owned: list(owned), generation }
}

fn fresh(id: &str, topics: &str) -> GroupMember {
    member(id, topics, "", -1)
}

fn told(assignor: Assignor, partitions: &Partitions, members: &[GroupMember]) -> Vec<String> {
    told_with(assignor, partitions, members, Defects::NONE)
}

fn told_with(assignor: Assignor, partitions: &Partitions, members: &[GroupMember], defects: Defects) -> Vec<String> {
    let text = |p: &TopicPartition| format!("{}-{}", p.topic, p.partition);
    let join = |list: &Vec<TopicPartition>| list.iter().map(text).collect::<Vec<_>>().join(" ");
    assign(assignor, partitions, members, defects).iter().map(join).collect()
}

#[test]
fn range_as_documented() {
    let partitions = topics(&[("t0", 3), ("t1", 3)]);
    let members = [fresh("C0", "t0 t1"), fresh("C1", "t0 t1")];
    assert_eq!(told(Range, &partitions, &members), ["t0-0 t0-1 t1-0 t1-1", "t0-2 t1-2"]);
}

#[test]
fn static_members_keep_their_ranges_under_new_ids() {
    let partitions = topics(&[("t0", 3), ("t1", 3)]);
    let named =
        |id: &str, instance: Option<&str>| GroupMember { instance: instance.map(str::to_owned), ..fresh(id, "t0 t1") };
    let members = [named("z", Some("I1")), named("a", Some("I2")), named("0", None)];
    for assignor in [Range, RoundRobin] {
        let first = told(assignor, &partitions, &members);
        assert!(first[0].starts_with("t0-0") && first[2].contains("t0-2"), "static ones come first, by instance id");
        let again = [named("b", Some("I1")), named("c", Some("I2")), named("0", None)];
        assert_eq!(told(assignor, &partitions, &again), first);
    }
}

#[test]
fn round_robin_as_documented() {
    let partitions = topics(&[("t0", 3), ("t1", 3)]);
    let members = [fresh("C0", "t0 t1"), fresh("C1", "t0 t1")];
    assert_eq!(told(RoundRobin, &partitions, &members), ["t0-0 t0-2 t1-1", "t0-1 t1-0 t1-2"]);
    let partitions = topics(&[("t0", 1), ("t1", 2), ("t2", 3)]);
    let members = [fresh("C0", "t0"), fresh("C1", "t0 t1"), fresh("C2", "t0 t1 t2")];
    assert_eq!(told(RoundRobin, &partitions, &members), ["t0-0", "t1-0", "t1-1 t2-0 t2-1 t2-2"]);
}

#[test]
fn sticky_as_documented_with_equal_subscriptions() {
    let partitions = topics(&[("t0", 2), ("t1", 2), ("t2", 2), ("t3", 2)]);
    let all = "t0 t1 t2 t3";
    let members = [fresh("C0", all), fresh("C1", all), fresh("C2", all)];
    let first = ["t0-0 t1-1 t3-0", "t0-1 t2-0 t3-1", "t1-0 t2-1"];
    assert_eq!(told(Sticky, &partitions, &members), first);
    // C1 leaves: five partitions stay where they were.
    let members = [member("C0", all, first[0], 1), member("C2", all, first[2], 1)];
    let second = told(Sticky, &partitions, &members);
    assert_eq!(second, ["t0-0 t0-1 t1-1 t3-0", "t1-0 t2-0 t2-1 t3-1"]);
}

#[test]
fn sticky_as_documented_with_different_subscriptions() {
    let partitions = topics(&[("t0", 1), ("t1", 2), ("t2", 3)]);
    let members = [fresh("C0", "t0"), fresh("C1", "t0 t1"), fresh("C2", "t0 t1 t2")];
    let first = told(Sticky, &partitions, &members);
    assert_eq!(first, ["t0-0", "t1-0 t1-1", "t2-0 t2-1 t2-2"]);
    // C0 leaves: only its partition moves.
    let members = [member("C1", "t0 t1", &first[1], 1), member("C2", "t0 t1 t2", &first[2], 1)];
    assert_eq!(told(Sticky, &partitions, &members), ["t0-0 t1-0 t1-1", "t2-0 t2-1 t2-2"]);
}

#[test]
fn cooperative_withholds_what_must_be_given_up_first() {
    let partitions = topics(&[("t", 4)]);
    let members = [member("a", "t", "t-0 t-1 t-2 t-3", 3), fresh("b", "t")];
    assert_eq!(told(Sticky, &partitions, &members), ["t-0 t-1", "t-2 t-3"]);
    assert_eq!(told(CooperativeSticky, &partitions, &members), ["t-0 t-1", ""]);
    let members = [member("a", "t", "t-0 t-1", 4), member("b", "t", "", 4)];
    assert_eq!(told(CooperativeSticky, &partitions, &members), ["t-0 t-1", "t-2 t-3"]);
    // The same where subscriptions differ.
    let partitions = topics(&[("t", 4), ("u", 1)]);
    let members = [member("a", "t u", "t-0 t-1 t-2 t-3", 3), fresh("b", "t"), fresh("c", "u")];
    let both: Vec<_> = [Sticky, CooperativeSticky].map(|a| told(a, &partitions, &members)).into();
    assert_eq!((both[0][1].len(), both[1][1].as_str(), both[1][2].as_str()), ("t-0 t-1".len(), "", "u-0"));
}

#[test]
fn of_two_claims_the_newer_generation_is_believed() {
    let partitions = topics(&[("t", 4)]);
    let members = [member("a", "t", "t-0 t-1", 5), member("b", "t", "t-0 t-1", 6), fresh("c", "t")];
    for assignor in [Sticky, CooperativeSticky] {
        let after = told(assignor, &partitions, &members);
        assert_eq!(after[1], "t-0 t-1", "{assignor:?}");
        assert!(!after[0].contains("t-0") && !after[0].contains("t-1"));
    }
    // An old claim that nobody disputes holds.
    let members = [member("a", "t", "t-0", 5), member("b", "t", "t-1", 6)];
    assert_eq!(told(Sticky, &partitions, &members), ["t-0 t-2", "t-1 t-3"]);
    // Two claims of one generation cancel each other; and neither gets the partition at once (cooperative).
    let members = [member("a", "t", "t-0", 6), member("b", "t", "t-0", 6)];
    let after = told(CooperativeSticky, &partitions, &members);
    assert!(after.iter().all(|list| !list.contains("t-0")), "{after:?}");
}

#[test]
fn believing_old_claims_gives_a_partition_to_two() {
    let partitions = topics(&[("t", 4)]);
    let members = [member("a", "t", "t-0 t-1", 5), member("b", "t", "t-0 t-1", 6)];
    let wrong = Defects::NONE.with(Defect::StickyStaleOwnership);
    for assignor in [Sticky, CooperativeSticky] {
        let after = told_with(assignor, &partitions, &members, wrong);
        assert!(after.iter().all(|list| list.contains("t-0 t-1")), "{assignor:?}: {after:?}");
    }
}

#[test]
fn nothing_to_share_and_nobody_to_share_with() {
    for assignor in Assignor::ALL {
        assert!(assign(assignor, &topics(&[("t", 3)]), &[], Defects::NONE).is_empty());
        assert_eq!(told(assignor, &topics(&[]), &[fresh("a", "t")]), [""]);
        assert_eq!(told(assignor, &topics(&[("t", 1)]), &[fresh("a", ""), fresh("b", "t")]), ["", "t-0"]);
        assert_eq!(told(assignor, &topics(&[("t", 1)]), &[fresh("a", "t"), fresh("b", "t")]), ["t-0", ""]);
    }
}

const TOPICS: [&str; 4] = ["t0", "t1", "t2", "t3"];

/// Partition counts, and members by the topics they subscribe to (a bit each).
fn groups(uniform: bool) -> impl Strategy<Value = (Partitions, Vec<GroupMember>)> {
    let counts = proptest::collection::vec(0..9i32, TOPICS.len());
    let masks = proptest::collection::vec(0..16u8, 1..9);
    (counts, masks).prop_map(move |(counts, masks)| {
        let partitions = TOPICS.iter().zip(counts).map(|(name, n)| (Arc::from(*name), n)).collect();
        let members = masks.iter().enumerate().map(|(i, &mask)| {
            let mask = if uniform { 15 } else { mask };
            let topics: Vec<&str> = (0..4).filter(|t| mask & 1 << t != 0).map(|t| TOPICS[t]).collect();
            fresh(&format!("m{i}"), &topics.join(" "))
        });
        (partitions, members.collect())
    })
}

/// Everything that somebody subscribes to is assigned exactly once, and only to subscribers.
fn check_valid(partitions: &Partitions, members: &[GroupMember], assignment: &[Vec<TopicPartition>]) {
    let mut seen = BTreeSet::new();
    for (member, list) in members.iter().zip(assignment) {
        for p in list {
            assert!(member.topics.contains(&p.topic), "{p:?} went to {}, who does not subscribe", member.id);
            assert!(seen.insert(p.clone()), "{p:?} was assigned twice");
        }
    }
    let wanted: BTreeSet<&Arc<str>> = members.iter().flat_map(|m| &m.topics).collect();
    let all: usize = partitions.iter().filter(|(t, _)| wanted.contains(t)).map(|(_, &n)| n as usize).sum();
    assert_eq!(seen.len(), all, "something was left out");
}

fn sizes(assignment: &[Vec<TopicPartition>]) -> (usize, usize) {
    let sizes = || assignment.iter().map(Vec::len);
    (sizes().min().unwrap(), sizes().max().unwrap())
}

/// The members, each owning what it was assigned in this generation.
fn owning(members: &[GroupMember], assignment: &[Vec<TopicPartition>], generation: i32) -> Vec<GroupMember> {
    let each = |(m, owned): (&GroupMember, &Vec<TopicPartition>)| GroupMember {
        owned: owned.clone(),
        generation,
        ..m.clone()
    };
    members.iter().zip(assignment).map(each).collect()
}

/// The fewest partitions that must move, whatever the assignor, for equal subscriptions: what members have above
/// their share, where the larger shares go to those who have most. (What nobody had does not move.)
fn least_moves(members: &[GroupMember], total: usize) -> usize {
    let (least, more) = (total / members.len(), total % members.len());
    let mut have: Vec<usize> = members.iter().map(|m| m.owned.len()).collect();
    have.sort_unstable_by(|a, b| b.cmp(a));
    have.iter().enumerate().map(|(i, n)| n.saturating_sub(least + usize::from(i < more))).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn assignments_are_valid((partitions, members) in groups(false)) {
        for assignor in Assignor::ALL {
            let assignment = assign(assignor, &partitions, &members, Defects::NONE);
            check_valid(&partitions, &members, &assignment);
        }
    }

    #[test]
    fn equal_subscriptions_are_shared_evenly((partitions, members) in groups(true)) {
        for assignor in [RoundRobin, Sticky, CooperativeSticky] {
            let (min, max) = sizes(&assign(assignor, &partitions, &members, Defects::NONE));
            prop_assert!(max - min <= 1, "{:?}: {}..{}", assignor, min, max);
        }
        // Ranges are even topic by topic.
        for topic in partitions.keys() {
            let of = |list: &Vec<TopicPartition>| list.iter().filter(|p| p.topic == *topic).cloned().collect();
            let each: Vec<Vec<_>> = assign(Range, &partitions, &members, Defects::NONE).iter().map(of).collect();
            let (min, max) = sizes(&each);
            prop_assert!(max - min <= 1);
        }
    }

    #[test]
    fn sticky_moves_no_more_than_the_optimum(
        (partitions, members) in groups(true),
        gone in 0..8usize,
        come in 0..4usize,
        grown in 0..5i32,
    ) {
        let first = assign(Sticky, &partitions, &members, Defects::NONE);
        let mut members = owning(&members, &first, 1);
        if members.len() > 1 {
            let at = gone % members.len();
            members.remove(at);
        }
        members.extend((0..come).map(|i| fresh(&format!("a{i}"), &TOPICS.join(" "))));
        let mut partitions = partitions;
        *partitions.values_mut().next().unwrap() += grown;
        let second = assign(Sticky, &partitions, &members, Defects::NONE);
        check_valid(&partitions, &members, &second);
        let (min, max) = sizes(&second);
        prop_assert!(max - min <= 1);
        let lost: usize = members.iter().zip(&second).map(|(m, s)| m.owned.iter().filter(|p| !s.contains(p)).count()).sum();
        let total = partitions.values().map(|&n| n as usize).sum();
        prop_assert_eq!(lost, least_moves(&members, total));
    }

    #[test]
    fn nothing_changes_when_nothing_has_changed((partitions, members) in groups(false)) {
        let first = assign(Sticky, &partitions, &members, Defects::NONE);
        let members = owning(&members, &first, 7);
        prop_assert_eq!(&assign(Sticky, &partitions, &members, Defects::NONE), &first);
        prop_assert_eq!(&assign(CooperativeSticky, &partitions, &members, Defects::NONE), &first);
    }

    /// Rounds of the cooperative protocol: nobody gets what another still has, and within a few rounds everything is
    /// assigned and stays so. With equal subscriptions two rounds do.
    #[test]
    fn cooperative_hands_over_in_rounds(
        uniform in any::<bool>(),
        (partitions, members) in prop_oneof![groups(false), groups(true)],
        (_, newcomers) in groups(false),
        gone in 0..8usize,
    ) {
        let first = assign(CooperativeSticky, &partitions, &members, Defects::NONE);
        let mut members = owning(&members, &first, 1);
        if members.len() > 1 {
            let at = gone % members.len();
            members.remove(at);
        }
        members.extend(newcomers.into_iter().map(|m| GroupMember { id: format!("n{}", m.id), ..m }));
        if uniform {
            members.iter_mut().for_each(|m| m.topics = TOPICS.map(Arc::from).into());
        }
        for round in 2.. {
            prop_assert!(round < if uniform { 5 } else { 12 }, "no end to it");
            let next = assign(CooperativeSticky, &partitions, &members, Defects::NONE);
            for (m, given) in members.iter().zip(&next) {
                for p in given.iter().filter(|p| !m.owned.contains(p)) {
                    prop_assert!(members.iter().all(|other| !other.owned.contains(p)), "{:?} is still owned", p);
                }
            }
            let settled = members.iter().zip(&next).all(|(m, given)| m.owned == *given);
            members = owning(&members, &next, round);
            if settled {
                check_valid(&partitions, &members, &next);
                break;
            }
        }
    }

    /// Claims may be anything: partitions that do not exist, claimed twice, of any generation.
    #[test]
    fn wild_claims_do_no_harm(
        (partitions, members) in groups(false),
        claims in proptest::collection::vec((0..9usize, 0..5usize, -2..12i32, -1..4i32), 0..60),
    ) {
        let mut members = members;
        for (m, topic, partition, generation) in claims {
            let at = m % members.len();
            let topic = TOPICS.get(topic).copied().unwrap_or("elsewhere");
            members[at].owned.push(TopicPartition { topic: topic.into(), partition });
            members[at].generation = generation;
        }
        let assignment = assign(Sticky, &partitions, &members, Defects::NONE);
        check_valid(&partitions, &members, &assignment);
        let cautious = assign(CooperativeSticky, &partitions, &members, Defects::NONE);
        for (all, some) in assignment.iter().zip(&cautious) {
            prop_assert!(some.iter().all(|p| all.contains(p)));
        }
        let wrong = Defects::NONE.with(Defect::StickyStaleOwnership);
        assign(CooperativeSticky, &partitions, &members, wrong);
    }
}

/// Large groups, of equal and of different subscriptions, come and go without anybody noticing the size.
#[test]
fn a_thousand_members_share_ten_thousand_partitions() {
    let names: Vec<String> = (0..10).map(|t| format!("t{t}")).collect();
    let partitions: Partitions = names.iter().map(|name| (Arc::from(name.as_str()), 1_000)).collect();
    for uniform in [true, false] {
        let members: Vec<GroupMember> = (0..1_000)
            .map(|m| {
                let wanted: Vec<&str> =
                    (0..10).filter(|t| uniform || *t != m % 10).map(|t| names[t].as_str()).collect();
                fresh(&format!("m{m:04}"), &wanted.join(" "))
            })
            .collect();
        for assignor in Assignor::ALL {
            check_valid(&partitions, &members, &assign(assignor, &partitions, &members, Defects::NONE));
        }
        let first = assign(Sticky, &partitions, &members, Defects::NONE);
        let mut members = owning(&members, &first, 1);
        members.iter_mut().step_by(100).for_each(|m| *m = fresh(&format!("n{}", m.id), &names.join(" ")));
        let second = assign(Sticky, &partitions, &members, Defects::NONE);
        check_valid(&partitions, &members, &second);
        let (min, max) = sizes(&second);
        assert!(max - min <= 1);
        let kept = members.iter().zip(&second).all(|(m, s)| m.owned.iter().all(|p| s.contains(p)));
        assert!(kept, "ten members' partitions move, and no others");
    }
}
