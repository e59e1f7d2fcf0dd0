//! nonmonotonic-send and int-nonmonotonic-send: one producer's later send lies at a lower offset of the same
//! partition. `int-` if both were under way together, plain if the earlier had resolved before the later began.
//!
//! A producer is one incarnation of one client. A value's place is the first offset known of it, acknowledged or read;
//! repetitions are another check's matter. Without idempotence only acknowledged sends are held to their order: what
//! its producer has given up may land whenever the network delivers it.

use super::report::{Findings, Report};
use super::sends::{Client, Latest, PLACED, Send, State};
use super::store::Store;
use klamm_model::history::{Acks, ValueId};

/// How far neighbours are looked for among sends to other partitions.
const REACH: u64 = 1024;

fn counts(client: &Client, send: &Send) -> bool {
    let facts = client.facts(send.incarnation);
    facts.acks != Acks::None && (facts.idempotent || send.state == State::Acknowledged)
}

/// An offset of this send has become known.
pub(super) fn placed(store: &mut Store, out: &mut Findings, value: u64, at: u64) {
    let id = ValueId(value);
    let index = id.index();
    let Some(client) = store.client_mut(id.client()) else { return };
    let Some(&send) = client.get(index) else { return };
    if send.is(PLACED) || !counts(client, &send) {
        return;
    }
    let part = send.part as usize;
    if client.latest.len() <= part {
        client.latest.resize(part + 1, None);
    }
    let own = Latest { incarnation: send.incarnation, index, offset: send.offset };
    let clash = match client.latest[part] {
        Some(latest) if latest.incarnation > send.incarnation => None,
        Some(latest) if latest.incarnation == send.incarnation && latest.index > index => around(client, index, &send),
        Some(latest) if latest.incarnation == send.incarnation => {
            client.latest[part] = Some(own);
            (latest.offset > send.offset).then_some(latest.index)
        }
        _ => {
            client.latest[part] = Some(own);
            None
        }
    };
    store.mark(value, PLACED);
    if let Some(other) = clash {
        report(
            store,
            out,
            ValueId::new(id.client(), other.min(index)).0,
            ValueId::new(id.client(), other.max(index)).0,
            at,
        );
    }
}

/// The nearest send in front of or behind this one, in its partition, that lies on its wrong side.
fn around(client: &Client, index: u64, send: &Send) -> Option<u64> {
    let peer = |i: &u64| {
        client.get(*i).is_some_and(|s| s.is(PLACED) && s.part == send.part && s.incarnation == send.incarnation)
    };
    let offset = |i: u64| client.get(i).map_or(-1, |s| s.offset);
    let later = (index + 1..=index + REACH).find(peer).filter(|&i| offset(i) < send.offset);
    later.or_else(|| (index.saturating_sub(REACH)..index).rev().find(peer).filter(|&i| offset(i) > send.offset))
}

#[cold]
fn report(store: &Store, out: &mut Findings, earlier: u64, later: u64, at: u64) {
    let (Some(a), Some(b)) = (store.send(earlier), store.send(later)) else { return };
    let resolved_before = !matches!(a.state, State::Pending) && a.completed <= b.invoked;
    let check = if resolved_before { "nonmonotonic-send" } else { "int-nonmonotonic-send" };
    let client = ValueId(later).client();
    let words = || format!("the earlier send lies at offset {}, the later one at {}", a.offset, b.offset);
    let witness = || {
        let reads = store.read_at(b.part, b.offset).into_iter().chain(store.read_at(a.part, a.offset));
        store.story(earlier).chain(store.story(later)).chain(reads).collect()
    };
    out.add(store, Report::new(check, at, client, a.part).offset(b.offset).values(&[earlier, later]), words, witness);
}
