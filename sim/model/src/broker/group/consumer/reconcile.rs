//! A member's next step towards the target: give up what it must not keep, then take over the target's epoch, then get
//! what others have given up. A pure function; follows Kafka's `CurrentAssignmentBuilder`.

use super::*;

/// Where the target wants a member, and what the member says.
pub(super) struct Wanted<'a> {
    /// The target's epoch.
    pub epoch: i32,
    /// The member's part.
    pub partitions: &'a Partitions,
    /// What the member says it uses; none if it does not say.
    pub owned: Option<&'a Partitions>,
}

/// The member after this step; the same if it has to wait.
///
/// # Errors
/// `FENCED_MEMBER_EPOCH`: a state that later versions wrote; the member has to begin anew.
pub(super) fn step(
    member: &Member,
    wanted: &Wanted<'_>,
    is_taken: impl Fn(TopicId, i32) -> bool,
) -> Result<Member, ResponseError> {
    match member.state {
        STABLE if member.epoch == wanted.epoch => Ok(member.clone()),
        STABLE | UNRELEASED => Ok(next(member, member.epoch, wanted, is_taken)),
        // What was to be given up is still in use, or nothing is said about it.
        UNREVOKED if still_uses(&member.pending, wanted.owned) => Ok(member.clone()),
        UNREVOKED => Ok(next(member, member.epoch + 1, wanted, is_taken)),
        _ if wanted.owned.is_none_or(|owned| !owned.is_empty()) => Err(ResponseError::FencedMemberEpoch),
        _ => Ok(next(member, wanted.epoch, wanted, is_taken)),
    }
}

fn still_uses(pending: &Partitions, owned: Option<&Partitions>) -> bool {
    let Some(owned) = owned else { return true };
    pending.iter().any(|(topic, partitions)| owned.get(topic).is_some_and(|o| !o.is_disjoint(partitions)))
}

fn next(member: &Member, epoch: i32, wanted: &Wanted<'_>, is_taken: impl Fn(TopicId, i32) -> bool) -> Member {
    let nothing = BTreeSet::new();
    let (mut assigned, mut revoked) = (Partitions::new(), Partitions::new());
    let mut waits = false;
    let mut gets = Partitions::new();
    let topics: BTreeSet<TopicId> = wanted.partitions.keys().chain(member.assigned.keys()).copied().collect();
    for topic in topics {
        let target = wanted.partitions.get(&topic).unwrap_or(&nothing);
        let current = member.assigned.get(&topic).unwrap_or(&nothing);
        let put = |into: &mut Partitions, partitions: BTreeSet<i32>| {
            if !partitions.is_empty() {
                into.insert(topic, partitions);
            }
        };
        put(&mut assigned, current.intersection(target).copied().collect());
        put(&mut revoked, current.difference(target).copied().collect());
        let (taken, free): (BTreeSet<i32>, BTreeSet<i32>) =
            target.difference(current).copied().partition(|&p| is_taken(topic, p));
        waits |= !taken.is_empty();
        put(&mut gets, free);
    }
    let mut after = Member { previous_epoch: member.epoch, ..member.clone() };
    if !revoked.is_empty() && still_uses(&revoked, wanted.owned) {
        (after.epoch, after.state) = (epoch, UNREVOKED);
        (after.assigned, after.pending) = (assigned, revoked);
        return after;
    }
    for (topic, partitions) in gets {
        assigned.entry(topic).or_default().extend(partitions);
    }
    after.epoch = wanted.epoch;
    after.state = if waits { UNRELEASED } else { STABLE };
    (after.assigned, after.pending) = (assigned, Partitions::new());
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: TopicId = TopicId(Uuid::from_u128(7));

    fn parts(list: &[i32]) -> Partitions {
        if list.is_empty() { Partitions::new() } else { Partitions::from([(T, list.iter().copied().collect())]) }
    }
    fn member(epoch: i32, state: i8, assigned: &[i32], pending: &[i32]) -> Member {
        let m = Member::new(Arc::from("m"));
        Member { epoch, previous_epoch: epoch - 1, state, assigned: parts(assigned), pending: parts(pending), ..m }
    }
    fn run(
        m: &Member,
        epoch: i32,
        target: &[i32],
        owned: Option<&[i32]>,
        taken: &[i32],
    ) -> (i32, i32, i8, Vec<i32>, Vec<i32>) {
        let owned = owned.map(parts);
        let wanted = Wanted { epoch, partitions: &parts(target), owned: owned.as_ref() };
        let after = step(m, &wanted, |_, p| taken.contains(&p)).unwrap();
        let list = |p: &Partitions| p.values().flatten().copied().collect();
        (after.epoch, after.previous_epoch, after.state, list(&after.assigned), list(&after.pending))
    }

    #[test]
    fn nothing_to_do_stays_as_it_is() {
        assert_eq!(run(&member(5, STABLE, &[1, 2], &[]), 5, &[1, 2], None, &[]), (5, 4, STABLE, vec![1, 2], vec![]));
        // A new target that leaves this member's part alone: only the epoch is taken over.
        assert_eq!(run(&member(5, STABLE, &[1, 2], &[]), 6, &[1, 2], None, &[]), (6, 5, STABLE, vec![1, 2], vec![]));
    }

    #[test]
    fn what_is_to_be_given_up_keeps_the_member_in_its_epoch_until_it_says_so() {
        let m = member(5, STABLE, &[1, 2], &[]);
        assert_eq!(run(&m, 6, &[2, 3], None, &[]), (5, 5, UNREVOKED, vec![2], vec![1]));
        let m = member(5, UNREVOKED, &[2], &[1]);
        assert_eq!(run(&m, 6, &[2, 3], Some(&[1, 2]), &[]), (5, 4, UNREVOKED, vec![2], vec![1]), "still in use");
        assert_eq!(run(&m, 6, &[2, 3], None, &[]), (5, 4, UNREVOKED, vec![2], vec![1]), "nothing said");
        assert_eq!(run(&m, 6, &[2, 3], Some(&[2]), &[]), (6, 5, STABLE, vec![2, 3], vec![]));
        // Already out of use when it is asked for.
        assert_eq!(run(&member(5, STABLE, &[1, 2], &[]), 6, &[2], Some(&[2]), &[]), (6, 5, STABLE, vec![2], vec![]));
    }

    #[test]
    fn what_others_hold_is_waited_for_in_the_new_epoch() {
        let m = member(5, STABLE, &[1], &[]);
        assert_eq!(run(&m, 6, &[1, 2, 3], None, &[2]), (6, 5, UNRELEASED, vec![1, 3], vec![]));
        let m = member(6, UNRELEASED, &[1, 3], &[]);
        assert_eq!(run(&m, 6, &[1, 2, 3], None, &[2]), (6, 6, UNRELEASED, vec![1, 3], vec![]));
        assert_eq!(run(&m, 6, &[1, 2, 3], None, &[]), (6, 6, STABLE, vec![1, 2, 3], vec![]));
        // The target moves on meanwhile, and something is to be given up again.
        assert_eq!(run(&m, 7, &[3], Some(&[1, 3]), &[]), (6, 6, UNREVOKED, vec![3], vec![1]));
    }

    #[test]
    fn a_target_that_goes_back_and_forth_gives_back_what_was_given_up() {
        let m = member(5, UNREVOKED, &[2], &[1]);
        assert_eq!(run(&m, 7, &[1, 2], Some(&[2]), &[]), (7, 5, STABLE, vec![1, 2], vec![]));
    }

    #[test]
    fn a_state_from_the_future_has_to_begin_anew() {
        let m = member(5, 99, &[1], &[]);
        let owned = parts(&[1]);
        let wanted = |owned| Wanted { epoch: 6, partitions: &owned, owned: None }.epoch;
        let _ = wanted(Partitions::new());
        let uses = Wanted { epoch: 6, partitions: &owned, owned: Some(&owned) };
        assert_eq!(step(&m, &uses, |_, _| false).unwrap_err(), ResponseError::FencedMemberEpoch);
        assert_eq!(run(&m, 6, &[1], Some(&[]), &[]).0, 6);
    }
}
