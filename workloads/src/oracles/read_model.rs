//! read-model: once things have settled, an instance of a read model holds another value of a key than the topic does.
//!
//! An instance keeps the latest value of each key that it reads, and begins anew at each start. What it holds follows
//! from its polls; what the topic holds, from the final read. An instance that has not read that far is not judged by
//! what it has not met yet.
//!
//! One excuse is an instance's own: it lagged behind while a tombstone was compacted away, and never learns of the
//! deletion (`delete.retention.ms` below the lag).

use super::report::{Findings, Report};
use super::sends::{KEYED, TOMBSTONE};
use super::store::{NONE, Store};
use super::views::{Final, Held, View, Views};
use klamm_model::checks::Check;
use klamm_model::ids::{ClientId, Incarnation};
use std::collections::{BTreeMap, BTreeSet};

/// All instances against the final read of one partition. Returns how many keys were compared.
pub(super) fn end(store: &Store, out: &mut Findings, views: &Views, end: &Final) -> u64 {
    let mut judged = 0;
    let p = &store.parts[end.part as usize];
    let name = store.topic_name(p.topic);
    for (&client, model) in views.instances.iter().filter(|(_, m)| m.topics.contains(name)) {
        let none = View::default();
        let view = views.of(client, model.incarnation, end.part).unwrap_or(&none);
        judged += instance(store, out, end, client, model.incarnation, view);
    }
    judged
}

fn instance(
    store: &Store,
    out: &mut Findings,
    end: &Final,
    client: ClientId,
    incarnation: Incarnation,
    view: &View,
) -> u64 {
    let deleted = |held: &Held| store.send(held.value).is_some_and(|s| s.is(TOMBSTONE));
    let live = |held: Option<&Held>| held.filter(|h| !deleted(h)).copied();
    let keys: BTreeSet<u64> = view.keys.keys().chain(end.view.keys()).copied().collect();
    let judged = if view.last == NONE { 0 } else { keys.len() as u64 };
    for key in keys {
        let (has, should) = (live(view.keys.get(&key)), live(end.view.get(&key)));
        if has == should {
            continue;
        }
        // Not read yet: nothing is known of it.
        let newest = end.view.get(&key).map_or(NONE, |h| h.offset);
        if view.last == NONE || newest > view.last || has.is_some_and(|h| h.offset >= end.to) {
            continue;
        }
        let missed =
            if should.is_none() { has.and_then(|has| tombstone_after(store, end.part, key, has.offset)) } else { None };
        let offset = missed.or(should.map(|s| s.offset)).or(has.map(|h| h.offset)).unwrap_or(0);
        let values: Vec<u64> = should.iter().chain(&has).map(|h| h.value).collect();
        let report = Report::new(Check::ReadModel, end.entry.at, client, end.part).offset(offset).values(&values);
        let words = || {
            let say = |held: Option<Held>| {
                held.map_or("no value".to_owned(), |h| format!("the value at offset {}", h.offset))
            };
            let why = missed.map_or(String::new(), |t| format!("; the tombstone at offset {t} is gone"));
            format!(
                "instance {client} (incarnation {incarnation}) holds {} of a key of which the topic holds {}{why}",
                say(has),
                say(should)
            )
        };
        out.add(store, report, words, || {
            let of = |held: Option<Held>| held.and_then(|h| store.sent(h.value));
            let read = should.and_then(|s| store.read_at(end.part, s.offset));
            of(has).into_iter().chain(of(should)).chain(read).chain([end.entry.clone()]).collect()
        });
    }
    judged
}

/// A tombstone of this key above an offset that compaction took away.
fn tombstone_after(store: &Store, part: u32, key: u64, offset: i64) -> Option<i64> {
    let gone = &store.parts[part as usize].gone;
    let all = store.clients().flat_map(|c| c.all());
    let of_key = all.map(|(_, s)| s).filter(|s| s.part == part && s.key == key && s.is(KEYED | TOMBSTONE));
    of_key.map(|s| s.offset).filter(|o| *o > offset && gone.contains_key(o)).min()
}

/// An instance, as it came up last.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) incarnation: Incarnation,
    pub(super) topics: Vec<std::sync::Arc<str>>,
}

/// Instances by client.
pub(super) type Instances = BTreeMap<ClientId, Instance>;

#[cfg(test)]
mod tests {
    use crate::oracles::testing::*;
    use crate::permission::{Cause, Compacted};
    use klamm_model::history::Op;
    use klamm_model::ids::Offset;

    fn begun() -> History {
        let mut h = History::new();
        h.push(10, Op::ReadModel { topics: vec!["t".into()] });
        for (n, key) in [1, 2, 1].into_iter().enumerate() {
            h.put(n as u64, key, false).ack(n as u64, n as i64);
        }
        h
    }

    #[test]
    fn instances_hold_what_the_topic_holds() {
        let all = [(0, 0, 1), (1, 1, 2), (2, 2, 1)];
        let mut h = begun();
        h.assigned(10, 0)
            .poll_keys(10, &all)
            .compacted(&[0])
            .assigned(99, 0)
            .poll_keys(99, &all[1..])
            .final_read(99, 0, 3);
        h.judges_compacted();
        // It was given something else, or passed something by.
        let mut h = begun();
        h.assigned(10, 0).poll_keys(10, &[(0, 0, 1), (1, 1, 2), (3, 5, 3)]);
        h.assigned(99, 0).poll_keys(99, &all).final_read(99, 0, 3);
        let found = h.fires_compacted(Check::ReadModel);
        assert_eq!((found.offset, found.permitted), (Some(Offset(2)), None));
        // What it has not read yet it need not hold.
        let mut h = begun();
        h.assigned(10, 0).poll_keys(10, &all[..2]).assigned(99, 0).poll_keys(99, &all).final_read(99, 0, 3);
        h.judges_compacted();
    }

    #[test]
    fn an_instance_begins_anew_at_each_start() {
        let mut h = begun();
        h.assigned(10, 0).poll_keys(10, &[(0, 0, 1), (1, 1, 2), (2, 2, 1)]);
        h.put(3, 2, true).ack(3, 3).put(4, 3, false).ack(4, 4).compacted(&[0, 1, 3]);
        let read = [(2, 2, 1), (4, 4, 3)];
        let mut again = History::new();
        again.clock = h.clock;
        // The instance that ran on never learns that key 2 was deleted.
        let mut stale = h.clone();
        stale.poll_keys(10, &read[1..]).assigned(99, 0).poll_keys(99, &read).final_read(99, 0, 5);
        let found = stale.fires_compacted(Check::ReadModel);
        assert_eq!(
            (found.offset, found.permitted),
            (Some(Offset(3)), None),
            "the world did not say that it was compacted"
        );
        let compacted = Compacted { at: 0, source: source(0), removed: vec![Offset(3)] };
        stale.declared.compactions.push(compacted);
        assert_eq!(stale.fires_compacted(Check::ReadModel).permitted, Some(Cause::Compaction));
        // One that started again does.
        h.push_as(10, 2, Op::ReadModel { topics: vec!["t".into()] });
        let poll = h.poll_keys_op(&read);
        h.push_as(10, 2, poll).assigned(99, 0).poll_keys(99, &read).final_read(99, 0, 5);
        h.judges_compacted();
    }
}
