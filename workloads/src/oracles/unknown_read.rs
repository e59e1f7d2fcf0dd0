//! unknown-read: a value nobody sent, on the wrong partition, or not at its acknowledged offset.

use super::report::{Findings, Report};
use super::sends::Send;
use super::slots::STRAY;
use super::store::{Read, Store};
use crate::permission::Clause;

/// Nobody sent it.
#[cold]
pub(super) fn nobody(store: &mut Store, out: &mut Findings, read: &Read) {
    let slot = store.parts[read.part as usize].slots.entry(read.offset());
    if slot.flags & STRAY != 0 && slot.value == read.value() {
        return;
    }
    slot.flags |= STRAY;
    let words = || format!("value {:#x} was never sent", read.value());
    out.add(store, Report::of_read("unknown-read", read).values(&[read.value()]), words, || vec![store.read(read)]);
}

/// It was sent to another partition.
#[cold]
pub(super) fn wrong_partition(store: &mut Store, out: &mut Findings, read: &Read, send: &Send) {
    let slot = store.parts[read.part as usize].slots.entry(read.offset());
    if slot.flags & STRAY != 0 && slot.value == read.value() {
        return;
    }
    slot.flags |= STRAY;
    let to = store.parts.get(send.part as usize).map(|p| format!("{}-{}", p.source.topic, p.source.partition));
    let words = || format!("the value was sent to {}", to.as_deref().unwrap_or("another topic"));
    let witness = || store.story(read.value()).chain([store.read(read)]).collect();
    out.add(store, Report::of_read("unknown-read", read).values(&[read.value()]), words, witness);
}

/// It was sent, to this partition, and acknowledged at another offset.
#[cold]
pub(super) fn other_offset(store: &mut Store, out: &mut Findings, read: &Read, acked: i64) {
    let slot = store.parts[read.part as usize].slots.entry(read.offset());
    if slot.flags & STRAY != 0 {
        return;
    }
    slot.flags |= STRAY;
    let words = || format!("read at offset {}, acknowledged at {acked}", read.offset());
    let witness = || store.story(read.value()).chain([store.read(read)]).collect();
    let report = Report::of_read("unknown-read", read).clause(Clause::OtherOffset);
    out.add(store, report.values(&[read.value()]), words, witness);
}

/// The acknowledgement names another offset than the one at which it was read before.
#[cold]
pub(super) fn acknowledged_elsewhere(store: &Store, out: &mut Findings, value: u64, read_at: i64, acked: i64, at: u64) {
    let Some(send) = store.send(value) else { return };
    let client = klamm_model::history::ValueId(value).client();
    let report = Report::new("unknown-read", at, client, send.part).offset(read_at).clause(Clause::OtherOffset);
    let words = || format!("read at offset {read_at}, acknowledged at {acked}");
    let witness = || {
        let acknowledged = store.resolved(value, Some(acked));
        store.sent(value).into_iter().chain(store.read_at(send.part, read_at)).chain(acknowledged).collect()
    };
    out.add(store, report.values(&[value]), words, witness);
}

/// The partition it was resolved to is not the one on which it was read before.
#[cold]
pub(super) fn resolved_elsewhere(store: &Store, out: &mut Findings, value: u64, part: u32, at: u64) {
    let Some(send) = store.send(value) else { return };
    let client = klamm_model::history::ValueId(value).client();
    let to = &store.parts[part as usize].source;
    let report = Report::new("unknown-read", at, client, send.part).offset(send.offset);
    let words = || format!("the value was sent to {}-{}", to.topic, to.partition);
    let witness = || store.story(value).chain(store.read_at(send.part, send.offset)).collect();
    out.add(store, report.values(&[value]), words, witness);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracles::testing::*;
    use crate::permission::Cause;
    use klamm_model::history::{Acks, Outcome};

    #[test]
    fn a_value_nobody_sent() {
        let mut h = History::new();
        h.acked(0..1).assigned(10, 0).poll(10, &[(0, 0), (1, 77)]).assigned(11, 0).poll(11, &[(0, 0), (1, 77)]);
        assert_eq!(h.fires("unknown-read").permitted, None);
        assert_eq!(h.judge().findings.len(), 1);
    }

    #[test]
    fn a_value_on_the_wrong_partition() {
        let mut h = History::new();
        h.acked(0..1).on(1).assigned(10, 0).poll(10, &[(0, 0)]);
        h.fires("unknown-read");
        let mut h = History::new();
        let send = h.send_op(0, None, None);
        h.push(1, send).on(1).assigned(10, 0).poll(10, &[(0, 0)]).on(0).ack(0, 0);
        h.fires("unknown-read");
    }

    #[test]
    fn a_value_elsewhere_than_acknowledged() {
        let mut h = History::with(Acks::All, false, 5);
        h.send(0).resolve(0, Outcome::Ok, Some(0), 2).assigned(10, 1).poll(10, &[(1, 0)]);
        let found = h.fires("unknown-read");
        assert_eq!((found.facts.clause, found.permitted), (Some(Clause::OtherOffset), Some(Cause::ND)));
        let mut h = History::new();
        h.send(0).assigned(10, 1).poll(10, &[(1, 0)]).ack(0, 0);
        assert_eq!(h.fires("unknown-read").permitted, None);
    }

    #[test]
    fn what_was_sent_is_known_before_its_acknowledgement() {
        let mut h = History::new();
        let send = h.send_op(0, None, None);
        h.push(1, send).assigned(10, 3).poll(10, &[(3, 0)]).ack(0, 3).silent();
    }
}
