//! duplicate: one value at two offsets of its partition. Reading an offset again is none. Each offset but one is a
//! finding: all but the acknowledged one if it was read there, else all but the lowest. Each two offsets are a piece of
//! evidence, and what cuts a log brought them about only if it reached the lower one.

use super::places;
use super::report::{Findings, Report};
use super::sends::Send;
use super::store::{Read, Store};
use klamm_model::checks::Check;

/// A value was read at these offsets of a partition, ascending, of which one is its own.
pub(super) fn found(store: &Store, out: &mut Findings, value: u64, send: &Send, part: u32, own: i64, offsets: &[i64]) {
    if offsets.len() < 2 {
        return;
    }
    // Of what lies above an offset, what was read first: what excuses that excuses the others, too.
    let mut first_above: Option<(u64, i64)> = None;
    for &offset in offsets.iter().rev() {
        let at = places::when(store, value, send, (part, offset));
        if offset != own {
            let case = out.case();
            two(store, out, value, send, (part, offset), own, case);
            if let Some((_, above)) = first_above.filter(|(_, above)| *above != own) {
                two(store, out, value, send, (part, offset), above, case);
            }
        }
        first_above = Some(first_above.map_or((at, offset), |first| first.min((at, offset))));
    }
}

#[cold]
fn two(store: &Store, out: &mut Findings, value: u64, send: &Send, place: places::Place, other: i64, case: u32) {
    let (part, offset) = place;
    let last = [offset, other].into_iter().max_by_key(|o| (places::when(store, value, send, (part, *o)), *o));
    let last = last.unwrap_or(offset);
    let at = places::when(store, value, send, (part, last));
    let reader = store.seen(value, (part, last)).and_then(|seen| store.reader_of(seen));
    let client = reader.unwrap_or(klamm_model::history::ValueId(value).client());
    let words = || format!("the value at offset {other} is at offset {offset} too");
    let witness = || {
        let reads = [other, offset].into_iter().filter_map(|o| store.read_of(value, (part, o)));
        store.story(value).chain(reads).collect()
    };
    let report = Report::new(Check::Duplicate, at, client, part).offset(offset).low(offset.min(other));
    out.add(store, report.values(&[value]).case(case), words, witness);
}

/// A value is read that was read, deleted and forgotten.
#[cold]
pub(super) fn again(store: &mut Store, out: &mut Findings, read: &Read) {
    let before = store.parts[read.part as usize].slots.get(read.offset());
    if before.is_some_and(|s| s.flags & super::slots::READ != 0 && s.value == read.value()) {
        return;
    }
    let words = || format!("the value at offset {} stood at a deleted offset before", read.offset());
    let witness = || store.story(read.value()).chain([store.read(read)]).collect();
    out.add(store, Report::of_read(Check::Duplicate, read).values(&[read.value()]), words, witness);
}

#[cfg(test)]
mod tests {
    use crate::oracles::testing::*;
    use crate::permission::{Cause, Unclean};
    use klamm_model::history::{Acks, Outcome, PositionReason};
    use klamm_model::ids::Offset;

    #[test]
    fn a_value_at_two_offsets_fires_once() {
        let mut h = History::with(Acks::All, false, 1);
        h.send(0).resolve(0, Outcome::Ok, Some(0), 2);
        h.assigned(10, 0).poll(10, &[(0, 0), (1, 0)]).assigned(11, 0).poll(11, &[(0, 0), (1, 0)]);
        assert_eq!(h.fires(Check::Duplicate).permitted, Some(Cause::AmbiguousRetry));
        assert_eq!(h.judge().findings.len(), 1);
    }

    #[test]
    fn an_idempotent_producer_has_no_excuse_but_a_new_identity() {
        let mut h = History::new();
        h.send(0).resolve(0, Outcome::Ok, Some(0), 2).assigned(10, 0).poll(10, &[(0, 0), (1, 0)]);
        assert_eq!(h.fires(Check::Duplicate).permitted, None);
        let mut h = History::new();
        h.send(0).send(1).resolve(0, Outcome::Info, None, 2).resolve(1, Outcome::Ok, Some(1), 2);
        h.assigned(10, 0).poll(10, &[(0, 1), (1, 1)]);
        assert_eq!(h.fires_among(Check::Duplicate).permitted, Some(Cause::NewProducerIdentity));
    }

    #[test]
    fn what_permits_it_may_become_known_later() {
        let mut h = History::with(Acks::All, false, 1);
        h.send(0).assigned(10, 0).poll(10, &[(0, 0), (1, 0)]).resolve(0, Outcome::Ok, Some(1), 2);
        assert_eq!(h.fires_among(Check::Duplicate).permitted, Some(Cause::AmbiguousRetry));
        // And of a client that died on the way it never does.
        let mut h = History::with(Acks::All, false, 1);
        h.send(0).assigned(10, 0).poll(10, &[(0, 0), (1, 0)]);
        assert_eq!(h.fires(Check::Duplicate).permitted, Some(Cause::AmbiguousRetry));
    }

    #[test]
    fn what_happens_after_both_were_read_excuses_nothing() {
        let mut h = History::new();
        h.acked(0..1).assigned(10, 0).poll(10, &[(0, 0), (1, 0)]);
        let shown = h.clock;
        // Another reader gets the same later, and so the first evidence is what counts.
        h.assigned(11, 0).poll(11, &[(0, 0), (1, 0)]);
        let election = |at, from| Unclean { at, source: source(0), from };
        h.declared.uncleans.push(election(shown + 5, None));
        let found = h.fires(Check::Duplicate);
        assert_eq!((found.at, found.permitted), (shown, None));
        // A cut between the two places leaves the lower one as it was.
        h.declared.uncleans.push(election(shown, Some(Offset(1))));
        assert_eq!(h.fires(Check::Duplicate).permitted, None);
        h.declared.uncleans.push(election(shown, Some(Offset(0))));
        assert_eq!(h.fires(Check::Duplicate).permitted, Some(Cause::UncleanElection));
    }

    #[test]
    fn a_new_identity_comes_before_the_second_copy() {
        let mut h = History::new();
        h.send(0).send(1).assigned(10, 0).poll(10, &[(0, 1), (1, 1)]).resolve(0, Outcome::Info, None, 2);
        assert_eq!(h.fires_among(Check::Duplicate).permitted, None);
    }

    #[test]
    fn reading_an_offset_again_is_none() {
        let mut h = History::new();
        h.acked(0..2).assigned(10, 0).reads(10, 0..2).position(10, 0, PositionReason::Seek).reads(10, 0..2);
        h.assigned(11, 0).reads(11, 0..2).silent();
    }
}
