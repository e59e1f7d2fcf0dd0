//! As balanced as can be, and then as little moved as can be; with `cooperative`, nothing is given to anybody
//! before its present owner has let go.
//!
//! Members claim what they own, with the generation of the claim. Of two claims to one partition the one of the
//! higher generation is believed; two of the same generation cancel each other (KAFKA-12984). With equal
//! subscriptions a linear algorithm fills every member up to its quota; otherwise partitions are moved one by one
//! from who has more to who has less.

use super::{GroupMember, Partitions};
use crate::defects::{Defect, Defects};
use crate::history::TopicPartition;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// A partition's place among all; nobody.
type Slot = usize;
const NOBODY: usize = usize::MAX;

/// Members in the order of their ids, partitions in the order of topic and number.
struct Problem<'a> {
    topics: Vec<(&'a Arc<str>, usize)>,
    /// The first slot of each topic, and at the end how many there are.
    base: Vec<Slot>,
    /// The topic of each slot.
    topic_of: Vec<u32>,
    /// Of each member, by topic.
    subscriptions: Vec<Vec<u32>>,
    /// What each claims.
    claims: Vec<Vec<Slot>>,
    generations: Vec<i32>,
}

impl<'a> Problem<'a> {
    fn new(partitions: &'a Partitions, members: &[&GroupMember]) -> Problem<'a> {
        let wanted: BTreeSet<&str> = members.iter().flat_map(|m| m.topics.iter().map(|t| &**t)).collect();
        let topics: Vec<(&Arc<str>, usize)> = partitions
            .iter()
            .filter(|(name, count)| wanted.contains(&***name) && **count > 0)
            .map(|(name, &count)| (name, count as usize))
            .collect();
        let mut base = vec![0];
        let mut topic_of = Vec::new();
        for (index, (_, count)) in topics.iter().enumerate() {
            topic_of.resize(topic_of.len() + count, index as u32);
            base.push(topic_of.len());
        }
        let index = |name: &str| topics.binary_search_by(|(topic, _)| (***topic).cmp(name)).ok();
        let subscriptions = members
            .iter()
            .map(|m| {
                let mut list: Vec<u32> = m.topics.iter().filter_map(|t| index(t)).map(|t| t as u32).collect();
                list.sort_unstable();
                list.dedup();
                list
            })
            .collect();
        let slot = |p: &TopicPartition| {
            let topic = index(&p.topic)?;
            let partition = usize::try_from(p.partition).ok()?;
            (partition < topics[topic].1).then(|| base[topic] + partition)
        };
        let claims = members.iter().map(|m| m.owned.iter().filter_map(slot).collect()).collect();
        let generations = members.iter().map(|m| m.generation).collect();
        Problem { topics, base, topic_of, subscriptions, claims, generations }
    }

    fn slots(&self) -> usize {
        self.topic_of.len()
    }

    fn partition(&self, slot: Slot) -> TopicPartition {
        let topic = self.topic_of[slot] as usize;
        TopicPartition { topic: self.topics[topic].0.clone(), partition: (slot - self.base[topic]) as i32 }
    }
}

/// Which claims hold.
struct Owners {
    /// What each member is believed to own, ascending.
    owned: Vec<Vec<Slot>>,
    /// The believed owner of each slot.
    of: Vec<usize>,
    /// Claimed twice in one generation.
    doubled: Vec<bool>,
    /// The best claim that was not believed because a newer generation has others: (generation, member).
    before: BTreeMap<Slot, (i32, usize)>,
}

impl Owners {
    fn judge(problem: &Problem<'_>, defects: Defects) -> Owners {
        let members = problem.claims.len();
        let mut of = vec![NOBODY; problem.slots()];
        let mut doubled = vec![false; problem.slots()];
        let mut owned = vec![Vec::new(); members];
        let newest = problem.generations.iter().copied().max().unwrap_or(-1);
        let mut before = BTreeMap::new();
        for (member, claims) in problem.claims.iter().enumerate() {
            let generation = problem.generations[member];
            for &slot in claims {
                match of[slot] {
                    NOBODY => of[slot] = member,
                    other if other == member => {}
                    other if problem.generations[other] == generation => doubled[slot] = true,
                    other if problem.generations[other] < generation => {
                        of[slot] = member;
                        doubled[slot] = false;
                    }
                    _ => {}
                }
                if generation < newest {
                    let best = before.entry(slot).or_insert((generation, member));
                    if best.0 < generation {
                        *best = (generation, member);
                    }
                }
            }
        }
        for (slot, doubled) in doubled.iter().enumerate() {
            if *doubled {
                of[slot] = NOBODY;
            }
        }
        for (member, claims) in problem.claims.iter().enumerate() {
            let stale = |slot: Slot| of[slot] != member && !defects.on(Defect::StickyStaleOwnership);
            let mut list: Vec<Slot> = claims.iter().copied().filter(|&slot| !stale(slot)).collect();
            list.sort_unstable();
            list.dedup();
            owned[member] = list;
        }
        Owners { owned, of, doubled, before }
    }
}

/// Assigns; see [`super::assign`].
pub fn assign(
    partitions: &Partitions,
    members: &[GroupMember],
    cooperative: bool,
    defects: Defects,
) -> Vec<Vec<TopicPartition>> {
    if members.is_empty() {
        return Vec::new();
    }
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by(|&a, &b| members[a].id.cmp(&members[b].id));
    let sorted: Vec<&GroupMember> = order.iter().map(|&at| &members[at]).collect();
    let problem = Problem::new(partitions, &sorted);
    let owners = Owners::judge(&problem, defects);
    let uniform = problem.subscriptions.windows(2).all(|pair| pair[0] == pair[1]);
    let mut result = if uniform { fill_quotas(&problem, &owners) } else { general::balance(&problem, &owners) };
    if cooperative {
        withhold(&problem, &owners, uniform, &mut result);
    }
    let mut assignment = vec![Vec::new(); members.len()];
    for (member, slots) in result.into_iter().enumerate() {
        assignment[order[member]] = slots.into_iter().map(|slot| problem.partition(slot)).collect();
    }
    assignment
}

/// Takes out of the assignment what somebody else must give up first (KIP-429).
fn withhold(problem: &Problem<'_>, owners: &Owners, uniform: bool, result: &mut [Vec<Slot>]) {
    let mut claimed = vec![false; problem.slots()];
    problem.claims.iter().flatten().for_each(|&slot| claimed[slot] = true);
    for (member, slots) in result.iter_mut().enumerate() {
        let own: BTreeSet<Slot> =
            if uniform { BTreeSet::new() } else { problem.claims[member].iter().copied().collect() };
        slots.retain(|&slot| {
            if uniform {
                let unclaimed = owners.of[slot] == NOBODY && !owners.doubled[slot];
                unclaimed || owners.owned[member].binary_search(&slot).is_ok()
            } else {
                own.contains(&slot) || !claimed[slot]
            }
        });
    }
}

/// Everybody subscribes to the same topics: each member gets the quota or one more, and keeps what it has of it.
/// `AbstractStickyAssignor.ConstrainedAssignmentBuilder`.
fn fill_quotas(problem: &Problem<'_>, owners: &Owners) -> Vec<Vec<Slot>> {
    let members = owners.owned.len();
    let least = problem.slots() / members;
    let most = problem.slots().div_ceil(members);
    let may_have_most = problem.slots() % members;
    let mut have_most = 0;
    let mut result: Vec<Vec<Slot>> = vec![Vec::with_capacity(most); members];
    let mut assigned = vec![false; problem.slots()];
    let mut below: Vec<usize> = Vec::new();
    let mut at_least: VecDeque<usize> = VecDeque::new();
    for (member, owned) in owners.owned.iter().enumerate() {
        // Which to keep: the lowest partition numbers of all topics first.
        let mut owned = owned.clone();
        owned.sort_unstable_by_key(|&slot| {
            let topic = problem.topic_of[slot] as usize;
            (slot - problem.base[topic], topic)
        });
        if owned.len() < least {
            below.push(member);
        } else if owned.len() >= most && have_most < may_have_most {
            have_most += 1;
            if have_most == may_have_most {
                at_least.clear();
            }
            owned.truncate(most);
        } else {
            owned.truncate(least);
            if have_most < may_have_most {
                at_least.push_back(member);
            }
        }
        owned.iter().for_each(|&slot| assigned[slot] = true);
        result[member] = owned;
    }
    let mut turn = 0;
    for slot in (0..problem.slots()).filter(|&slot| !assigned[slot]) {
        if turn >= below.len() {
            turn = 0;
        }
        let from_below = !below.is_empty();
        let member = if from_below { below[turn] } else { at_least.pop_front().unwrap_or(0) };
        result[member].push(slot);
        if from_below && result[member].len() == least {
            below.remove(turn);
            at_least.push_back(member);
        } else if from_below {
            turn += 1;
        }
    }
    result
}

mod general {
    //! Subscriptions differ: partitions are moved one by one until nobody could take one from who has two more.
    //! `AbstractStickyAssignor.GeneralAssignmentBuilder`.
    //!
    //! Java walks over all members and partitions for every partition it looks at. Here members with the same
    //! subscription stand in one row by what they have, so that who has least among a topic's subscribers is known
    //! at once.

    use super::{NOBODY, Owners, Problem, Slot};
    use std::collections::{BTreeMap, BTreeSet};

    struct Builder<'a> {
        problem: &'a Problem<'a>,
        /// Members' rows: those with one subscription, by number of partitions and id.
        rows: Vec<BTreeSet<(usize, usize)>>,
        row_of: Vec<usize>,
        /// The rows that subscribe to a topic.
        rows_of: Vec<Vec<usize>>,
        subscribers: Vec<usize>,
        owner: Vec<usize>,
        count: Vec<usize>,
        moved: BTreeMap<Slot, (usize, usize)>,
        moves: BTreeMap<(u32, usize, usize), BTreeSet<Slot>>,
    }

    pub(super) fn balance(problem: &Problem<'_>, owners: &Owners) -> Vec<Vec<Slot>> {
        let members = owners.owned.len();
        let mut kinds: BTreeMap<&[u32], usize> = BTreeMap::new();
        let row_of: Vec<usize> = problem
            .subscriptions
            .iter()
            .map(|s| {
                let next = kinds.len();
                *kinds.entry(s).or_insert(next)
            })
            .collect();
        let mut rows_of = vec![Vec::new(); problem.topics.len()];
        for (subscription, row) in &kinds {
            subscription.iter().for_each(|&topic| rows_of[topic as usize].push(*row));
        }
        let mut subscribers = vec![0; problem.topics.len()];
        problem.subscriptions.iter().flatten().for_each(|&topic| subscribers[topic as usize] += 1);

        let mut owner = vec![NOBODY; problem.slots()];
        let mut count = vec![0; members];
        let mut must_revoke = false;
        // With doubtful claims believed (a defect), the last one to claim a partition has it.
        let mut extra: Vec<(usize, Slot)> = Vec::new();
        for (member, owned) in owners.owned.iter().enumerate() {
            for &slot in owned {
                if problem.subscriptions[member].binary_search(&problem.topic_of[slot]).is_err() {
                    must_revoke = true;
                } else if owner[slot] == NOBODY {
                    owner[slot] = member;
                    count[member] += 1;
                } else {
                    extra.push((member, slot));
                }
            }
        }
        let mut rows = vec![BTreeSet::new(); kinds.len()];
        (0..members).for_each(|m| {
            rows[row_of[m]].insert((count[m], m));
        });
        let mut b = Builder {
            problem,
            rows,
            row_of,
            rows_of,
            subscribers,
            owner,
            count,
            moved: BTreeMap::new(),
            moves: BTreeMap::new(),
        };
        b.run(must_revoke, owners);
        let mut result = vec![Vec::new(); members];
        for (slot, &member) in b.owner.iter().enumerate() {
            if member != NOBODY {
                result[member].push(slot);
            }
        }
        extra.into_iter().filter(|&(member, slot)| b.owner[slot] != member).for_each(|(m, slot)| result[m].push(slot));
        result
    }

    impl Builder<'_> {
        fn run(&mut self, must_revoke: bool, owners: &Owners) {
            let initializing = self.count.iter().all(|&n| n == 0);
            // Topics that few can take come first.
            let mut topics: Vec<usize> = (0..self.problem.topics.len()).collect();
            topics.sort_by_key(|&t| (self.subscribers[t], t));
            let slots = |t: &usize| self.problem.base[*t]..self.problem.base[*t + 1];
            let all: Vec<Slot> = topics.iter().flat_map(slots).collect();
            let unassigned: Vec<Slot> = all.iter().copied().filter(|&slot| self.owner[slot] == NOBODY).collect();
            for &slot in &unassigned {
                let to = self.least_loaded(slot);
                self.give(slot, to);
            }
            let movable = |b: &Self, slot: &Slot| b.subscribers[b.problem.topic_of[*slot] as usize] >= 2;
            let (owner, count, rows) = (self.owner.clone(), self.count.clone(), self.rows.clone());
            if !must_revoke {
                let some: Vec<Slot> = unassigned.into_iter().filter(|slot| movable(self, slot)).collect();
                self.reassign(&some, owners);
            }
            let some: Vec<Slot> = all.into_iter().filter(|slot| movable(self, slot)).collect();
            let moved = self.reassign(&some, owners);
            if !initializing && moved && score(&self.count) >= score(&count) {
                // No gain: leave everything where it was.
                (self.owner, self.count, self.rows) = (owner, count, rows);
            }
        }

        /// Who has least among those who may have it.
        fn least_loaded(&self, slot: Slot) -> usize {
            let rows = &self.rows_of[self.problem.topic_of[slot] as usize];
            rows.iter().filter_map(|&row| self.rows[row].first()).min().map_or(NOBODY, |&(_, member)| member)
        }

        fn give(&mut self, slot: Slot, to: usize) {
            let from = std::mem::replace(&mut self.owner[slot], to);
            for (member, gains) in [(from, false), (to, true)] {
                if member != NOBODY {
                    let row = &mut self.rows[self.row_of[member]];
                    row.remove(&(self.count[member], member));
                    self.count[member] = if gains { self.count[member] + 1 } else { self.count[member] - 1 };
                    row.insert((self.count[member], member));
                }
            }
        }

        /// Passes over the partitions until nothing moves any more. Returns whether anything did.
        fn reassign(&mut self, slots: &[Slot], owners: &Owners) -> bool {
            let mut any = false;
            loop {
                let mut modified = false;
                for &slot in slots {
                    let owner = self.owner[slot];
                    let topic = self.problem.topic_of[slot];
                    let before = owners.before.get(&slot).map(|&(_, member)| member);
                    let before = before.filter(|&m| self.problem.subscriptions[m].binary_search(&topic).is_ok());
                    let to = match before {
                        Some(before) if self.count[owner] > self.count[before] + 1 => before,
                        _ => self.least_loaded(slot),
                    };
                    if self.count[owner] > self.count[to] + 1 {
                        self.shift(slot, to);
                        modified = true;
                    }
                }
                any |= modified;
                if !modified {
                    return any;
                }
            }
        }

        /// Moves a partition, or, to the same effect, takes back one of its topic that went the other way. Unlike
        /// Java, only if its present owner has two more: so every move makes the whole more balanced, and there is
        /// an end to it.
        fn shift(&mut self, slot: Slot, to: usize) {
            let topic = self.problem.topic_of[slot];
            let source = self.moved.get(&slot).map_or(self.owner[slot], |&(source, _)| source);
            let back = self.moves.get(&(topic, to, source)).and_then(|slots| slots.first().copied());
            let back = back.filter(|&back| self.count[self.owner[back]] > self.count[to] + 1);
            let slot = back.unwrap_or(slot);
            let from = self.owner[slot];
            let source = match self.moved.remove(&slot) {
                Some((source, target)) => {
                    if let Some(slots) = self.moves.get_mut(&(topic, source, target)) {
                        slots.remove(&slot);
                    }
                    source
                }
                None => from,
            };
            if source != to {
                self.moved.insert(slot, (source, to));
                self.moves.entry((topic, source, to)).or_default().insert(slot);
            }
            self.give(slot, to);
        }
    }

    /// How unequal an assignment is: the sum of the differences of all pairs.
    fn score(count: &[usize]) -> u128 {
        let mut sorted = count.to_vec();
        sorted.sort_unstable();
        let (mut sum, mut score) = (0u128, 0u128);
        for (at, &n) in sorted.iter().enumerate() {
            score += n as u128 * at as u128 - sum;
            sum += n as u128;
        }
        score
    }
}
