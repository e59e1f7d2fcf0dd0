//! compacted-value: in the final read of a compacted topic a key has neither its last acknowledged value nor one that
//! may have come later.
//!
//! What compaction may take away is what a later value of its key has superseded. So for each key the last value that
//! was acknowledged, by offset, must be there, or something later; after a tombstone, nothing or something later.

use super::report::{Findings, Report};
use super::sends::{KEYED, MOVED, OFFSET_ACKED, State, TOMBSTONE};
use super::store::Store;
use super::views::{Final, Held};
use klamm_model::checks::Check;
use std::collections::BTreeMap;

/// The last acknowledged value of a key, and whether a tombstone may have come later.
#[derive(Default)]
struct Last {
    acked: Option<Held>,
    deleted_perhaps: bool,
}

/// The final read of one partition. Returns how many keys it was held against.
pub(super) fn end(store: &Store, out: &mut Findings, end: &Final) -> u64 {
    let mut judged = 0;
    let p = &store.parts[end.part as usize];
    let mut keys: BTreeMap<u64, Last> = BTreeMap::new();
    for client in store.clients() {
        for (index, send) in client.all().filter(|(_, s)| s.part == end.part && s.is(KEYED) && !s.is(MOVED)) {
            let last = keys.entry(send.key).or_default();
            let value = klamm_model::history::ValueId::new(client.id, index).0;
            match send.state {
                State::Acknowledged if send.is(OFFSET_ACKED) => {
                    let held = Held { offset: send.offset, value };
                    if last.acked.is_none_or(|l| l.offset < held.offset) {
                        last.acked = Some(held);
                    }
                }
                State::Info | State::Pending | State::Acknowledged => last.deleted_perhaps |= send.is(TOMBSTONE),
                State::Failed | State::Absent => {}
            }
        }
    }
    for (key, last) in keys {
        let Some(acked) = last.acked.filter(|a| a.offset >= p.log_start && a.offset < end.to) else { continue };
        judged += 1;
        let found = end.view.get(&key).copied();
        let deleted = store.send(acked.value).is_some_and(|s| s.is(TOMBSTONE));
        let right = match found {
            Some(found) => found.offset >= acked.offset,
            None => deleted || last.deleted_perhaps,
        };
        if right {
            continue;
        }
        let values: Vec<u64> = [acked.value].into_iter().chain(found.map(|f| f.value)).collect();
        let (at, client) = (end.entry.at, end.entry.client);
        let report = Report::new(Check::CompactedValue, at, client, end.part).offset(acked.offset).values(&values);
        let words = || {
            let is = match found {
                Some(found) => format!("has the value at offset {}", found.offset),
                None => "is not there".to_owned(),
            };
            let what = if deleted { "deleted" } else { "acknowledged last" };
            format!("the key was {what} at offset {}, and in the final read it {is}", acked.offset)
        };
        out.add(store, report, words, || {
            let read = found.and_then(|f| store.read_at(end.part, f.offset));
            store.story(acked.value).chain(read).chain([end.entry.clone()]).collect()
        });
    }
    judged
}

#[cfg(test)]
mod tests {
    use crate::oracles::testing::*;
    use crate::permission::{Cause, LogStart, Unclean};
    use klamm_model::history::{Acks, Outcome};
    use klamm_model::ids::Offset;

    /// Keys 1 and 2, each written twice; the topic is compacted.
    fn begun() -> History {
        let mut h = History::new();
        for (n, key) in [1, 2, 1, 2].into_iter().enumerate() {
            h.put(n as u64, key, false).ack(n as u64, n as i64);
        }
        h
    }

    #[test]
    fn a_tombstone_that_is_due_while_the_final_read_is_on_its_way_has_deleted_its_key() {
        let last = [(2, 2, 1), (3, 3, 2)];
        let with_tombstone = || {
            let mut h = begun();
            h.put(4, 1, true).ack(4, 4).compacted(&[0, 1]).assigned(99, 0);
            h
        };
        // The value of key 1 was read while its tombstone was still ahead.
        let mut h = with_tombstone();
        h.poll_keys(99, &last).compacted(&[4]).final_read(99, 0, 5);
        h.judges_compacted();
        // It was read when the tombstone was gone: compaction has left a value that it deletes.
        let mut h = with_tombstone();
        h.poll_keys(99, &[]).compacted(&[4]).poll_keys(99, &last).final_read(99, 0, 5);
        assert_eq!(h.fires_compacted(Check::CompactedValue).offset, Some(Offset(4)));
    }

    #[test]
    fn the_last_value_of_each_key_must_be_there() {
        let mut h = begun();
        h.compacted(&[0, 1]).assigned(99, 0).poll_keys(99, &[(2, 2, 1), (3, 3, 2)]).final_read(99, 0, 4);
        h.judges_compacted();
        let mut h = begun();
        h.compacted(&[0, 1, 2]).assigned(99, 0).poll_keys(99, &[(3, 3, 2)]).final_read(99, 0, 4);
        let found = h.fires_compacted(Check::CompactedValue);
        assert_eq!((found.offset, found.values[0], found.permitted), (Some(Offset(2)), value(2), None));
        // An older one in its place is none.
        let mut h = begun();
        h.compacted(&[1, 2]).assigned(99, 0).poll_keys(99, &[(0, 0, 1), (3, 3, 2)]).final_read(99, 0, 4);
        h.fires_compacted(Check::CompactedValue);
    }

    #[test]
    fn a_later_one_may_have_come() {
        let mut h = begun();
        h.put(4, 1, false).resolve(4, Outcome::Info, None, 1);
        h.compacted(&[0, 1, 2]).assigned(99, 0).poll_keys(99, &[(3, 3, 2), (4, 4, 1)]).final_read(99, 0, 5);
        h.judges_compacted();
        // Also a tombstone that is gone since.
        let mut h = begun();
        h.put(4, 1, true).resolve(4, Outcome::Info, None, 1);
        h.compacted(&[0, 1, 2, 4]).assigned(99, 0).poll_keys(99, &[(3, 3, 2)]).final_read(99, 0, 5);
        h.judges_compacted();
    }

    #[test]
    fn what_was_deleted_stays_deleted() {
        let deleted = || {
            let mut h = begun();
            h.put(4, 1, true).ack(4, 4);
            h
        };
        let mut h = deleted();
        h.compacted(&[0, 1, 2, 4]).assigned(99, 0).poll_keys(99, &[(3, 3, 2)]).final_read(99, 0, 5);
        h.judges_compacted();
        let mut h = deleted();
        h.compacted(&[0, 1]).assigned(99, 0).poll_keys(99, &[(2, 2, 1), (3, 3, 2), (4, 4, 1)]).final_read(99, 0, 5);
        h.judges_compacted();
        let mut h = deleted();
        h.compacted(&[0, 1, 4]).assigned(99, 0).poll_keys(99, &[(2, 2, 1), (3, 3, 2)]).final_read(99, 0, 5);
        assert_eq!(h.fires_compacted(Check::CompactedValue).offset, Some(Offset(4)));
    }

    #[test]
    fn causes() {
        let lost = || {
            let mut h = begun();
            h.compacted(&[0, 1, 2]).assigned(99, 0).poll_keys(99, &[(3, 3, 2)]).final_read(99, 0, 4);
            h
        };
        let mut h = lost();
        h.declared.uncleans.push(Unclean { at: h.clock, source: source(0), from: Some(Offset(2)) });
        assert_eq!(h.fires_compacted(Check::CompactedValue).permitted, Some(Cause::UncleanElection));
        // It cut only what lies above.
        let mut h = lost();
        h.declared.uncleans.push(Unclean { at: h.clock, source: source(0), from: Some(Offset(3)) });
        assert_eq!(h.fires_compacted(Check::CompactedValue).permitted, None);
        let mut h = lost();
        h.declared.log_starts.push(LogStart { at: 0, source: source(0), offset: Offset(3) });
        assert_eq!(h.fires_compacted(Check::CompactedValue).permitted, Some(Cause::Deletion));
        let mut h = History::with(Acks::Leader, false, 5);
        h.put(0, 1, false).ack(0, 0).assigned(99, 0).final_read(99, 0, 1);
        assert_eq!(h.fires_compacted(Check::CompactedValue).permitted, None, "acks=1 alone permits nothing");
    }

    #[test]
    fn a_topic_that_is_not_compacted_is_none_of_its_business() {
        let mut h = History::new();
        h.put(0, 1, false).ack(0, 0).assigned(99, 0).final_read(99, 0, 1);
        h.fires(Check::Unseen);
    }
}
