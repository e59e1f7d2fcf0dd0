use super::*;
use crate::ids::Uuid;
use proptest::prelude::*;

fn topic(n: u8) -> TopicId {
    TopicId(Uuid::from_u128(u128::from(n) + 1))
}

/// Members with their topics, and what each had before.
#[derive(Clone, Debug)]
struct Given {
    ids: Vec<String>,
    instances: Vec<Option<String>>,
    topics: Vec<BTreeSet<TopicId>>,
    current: Vec<Partitions>,
    sizes: BTreeMap<TopicId, i32>,
}

impl Given {
    fn run(&self, assignor: Assignor) -> Vec<Partitions> {
        let candidate = |i: usize| Candidate {
            id: &self.ids[i],
            instance: self.instances[i].as_deref(),
            topics: self.topics[i].clone(),
            current: &self.current[i],
        };
        let members: Vec<Candidate<'_>> = (0..self.ids.len()).map(candidate).collect();
        assignor.assign(&members, &self.sizes)
    }
    fn check_valid(&self, given: &[Partitions]) {
        let mut owners: BTreeMap<(TopicId, i32), usize> = BTreeMap::new();
        for (i, partitions) in given.iter().enumerate() {
            for (t, ps) in partitions {
                assert!(self.topics[i].contains(t), "not subscribed");
                assert!(!ps.is_empty(), "an empty topic");
                for &p in ps {
                    assert!((0..self.sizes[t]).contains(&p), "no such partition");
                    assert_eq!(owners.insert((*t, p), i), None, "given twice");
                }
            }
        }
        let wanted: BTreeSet<TopicId> = self.topics.iter().flatten().copied().collect();
        let all: usize = wanted.iter().map(|t| self.sizes[t] as usize).sum();
        assert_eq!(owners.len(), all, "everything that somebody subscribes to is given");
    }
}

fn sizes_of(given: &[Partitions]) -> Vec<usize> {
    given.iter().map(|p| p.values().map(BTreeSet::len).sum()).collect()
}

fn group(same: bool) -> impl Strategy<Value = Given> {
    (1usize..9, prop::collection::vec(1i32..12, 1..5)).prop_flat_map(move |(n, sizes)| {
        let topics = sizes.len();
        let subscriptions = prop::collection::vec(prop::collection::btree_set(0..topics as u8, 1..=topics), n);
        let owners = prop::collection::vec(prop::option::of(0..n + 2), sizes.iter().sum::<i32>() as usize);
        let instances = prop::collection::vec(prop::option::weighted(0.3, "[a-d]"), n);
        (Just(sizes), subscriptions, owners, instances).prop_map(move |(sizes, subscriptions, owners, instances)| {
            let sizes: BTreeMap<TopicId, i32> = (0..).map(topic).zip(sizes).collect();
            let all: BTreeSet<TopicId> = sizes.keys().copied().collect();
            let mut current = vec![Partitions::new(); n];
            let each = sizes.iter().flat_map(|(t, &size)| (0..size).map(|p| (*t, p)));
            // Owners beyond the members have left.
            for ((t, p), owner) in each.zip(owners) {
                if let Some(mine) = owner.and_then(|o| current.get_mut(o)) {
                    mine.entry(t).or_default().insert(p);
                }
            }
            let of = |s: BTreeSet<u8>| if same { all.clone() } else { s.into_iter().map(topic).collect() };
            Given {
                ids: (0..n).map(|i| format!("m{i}")).collect(),
                instances: instances.into_iter().enumerate().map(|(i, x)| x.map(|x| format!("{x}{i}"))).collect(),
                topics: subscriptions.into_iter().map(of).collect(),
                current,
                sizes,
            }
        })
    })
}

/// The fewest partitions that must change hands for an even assignment: what a member has beyond what it may keep, when
/// as many as possible of those who have more than a share keep one more.
fn fewest_moves(current: &[Partitions], total: usize) -> usize {
    let (share, extra) = (total / current.len(), total % current.len());
    let counts = sizes_of(current);
    let with_more = counts.iter().filter(|&&n| n > share).count();
    let over: usize = counts.iter().map(|&n| n.saturating_sub(share)).sum();
    over - with_more.min(extra)
}

proptest! {
    #[test]
    fn uniform_is_valid_even_and_moves_no_more_than_it_must(g in group(true)) {
        let given = g.run(Assignor::Uniform);
        g.check_valid(&given);
        let counts = sizes_of(&given);
        prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
        let kept: usize = given.iter().zip(&g.current)
            .map(|(new, old)| old.iter().map(|(t, ps)| new.get(t).map_or(0, |n| n.intersection(ps).count())).sum::<usize>())
            .sum();
        let had: usize = sizes_of(&g.current).iter().sum();
        let total: usize = g.sizes.values().map(|&n| n as usize).sum();
        prop_assert_eq!(had - kept, fewest_moves(&g.current, total));
    }

    #[test]
    fn uniform_is_stable(g in group(true)) {
        let given = g.run(Assignor::Uniform);
        let again = Given { current: given.clone(), ..g };
        prop_assert_eq!(again.run(Assignor::Uniform), given);
    }

    #[test]
    fn uniform_copes_with_different_subscriptions(g in group(false)) {
        let given = g.run(Assignor::Uniform);
        g.check_valid(&given);
        // No single partition could move and make it more even.
        let counts = sizes_of(&given);
        for (i, partitions) in given.iter().enumerate() {
            for t in partitions.keys() {
                for (j, topics) in g.topics.iter().enumerate() {
                    prop_assert!(!topics.contains(t) || counts[i] <= counts[j] + 1, "{i} could give to {j}: {counts:?}");
                }
            }
        }
        let again = Given { current: given.clone(), ..g };
        prop_assert_eq!(again.run(Assignor::Uniform), given);
    }

    #[test]
    fn range_is_valid_and_each_topic_is_cut_evenly(g in group(false)) {
        let given = g.run(Assignor::Range);
        g.check_valid(&given);
        for (t, &size) in &g.sizes {
            let of_topic: Vec<usize> = (0..g.ids.len()).filter(|&i| g.topics[i].contains(t)).collect();
            for &i in &of_topic {
                let mine: Vec<i32> = given[i].get(t).into_iter().flatten().copied().collect();
                prop_assert!(mine.windows(2).all(|w| w[1] == w[0] + 1), "a range");
                let n = of_topic.len() as i32;
                prop_assert!((size / n..=size / n + i32::from(size % n > 0)).contains(&(mine.len() as i32)));
            }
        }
    }
}

/// The example in the documentation of Kafka's assignor: two topics of three partitions, two members.
#[test]
fn range_meets_kafkas_example() {
    let sizes = BTreeMap::from([(topic(1), 3), (topic(2), 3)]);
    let both: BTreeSet<TopicId> = sizes.keys().copied().collect();
    let mut g = Given {
        ids: vec!["m0".into(), "m1".into()],
        instances: vec![None, None],
        topics: vec![both.clone(), both],
        current: vec![Partitions::new(); 2],
        sizes,
    };
    let part = |ps: &[i32]| {
        Partitions::from([(topic(1), ps.iter().copied().collect()), (topic(2), ps.iter().copied().collect())])
    };
    assert_eq!(g.run(Assignor::Range), [part(&[0, 1]), part(&[2])]);
    // New ids, the same instances, the other way round: the ranges follow the instances.
    g.instances = vec![Some("i1".into()), Some("i0".into())];
    assert_eq!(g.run(Assignor::Range), [part(&[2]), part(&[0, 1])]);
}

/// A thousand members and ten thousand partitions: near linear, so no test should notice.
#[test]
fn big_groups_are_assigned() {
    let sizes: BTreeMap<TopicId, i32> = (0..100).map(|t| (topic(t), 100)).collect();
    let all: BTreeSet<TopicId> = sizes.keys().copied().collect();
    let n = 1000;
    let g = Given {
        ids: (0..n).map(|i| format!("m{i:04}")).collect(),
        instances: vec![None; n],
        topics: vec![all; n],
        current: vec![Partitions::new(); n],
        sizes,
    };
    for assignor in [Assignor::Uniform, Assignor::Range] {
        g.check_valid(&g.run(assignor));
    }
}
