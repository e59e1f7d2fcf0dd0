//! What must not change a verdict of the fast judge: other names of clients and values, the same reads in another order,
//! polls split or joined. Splitting and joining leave the `int-` variants aside: within a poll or between two is what they
//! tell apart.

use super::compare::fast;
use super::log::{FINAL, History};
use super::{SEED, history, numbers};
use klamm_model::history::{Op, ValueId};
use klamm_model::ids::ClientId;
use std::collections::BTreeSet;

/// Check, offset, values, whether permitted; clients by the name they had.
type Said = BTreeSet<(String, i32, Option<i64>, Vec<u64>, bool)>;

fn said(history: &History, value: impl Fn(ValueId) -> ValueId) -> Said {
    let line = |f: &klamm_workloads::oracles::Finding| {
        // Of several that are alike one is named; it may be another. What is found is about the offset, or about the later send.
        let about = match f.check.name() {
            "poll-skip" | "int-poll-skip" | "next-offset-divergence" => &[][..],
            "realtime-order" => f.values.last().map_or(&[][..], std::slice::from_ref),
            _ => &f.values[..],
        };
        let mut values: Vec<u64> = about.iter().map(|v| value(*v).0).collect();
        values.sort_unstable();
        (f.check.to_string(), f.source.partition, f.offset.map(|o| o.0), values, f.permitted.is_some())
    };
    fast(history).iter().map(line).collect()
}

fn plain(history: &History) -> Said {
    said(history, |v| v)
}

fn without_poll_checks(said: Said) -> Said {
    let poll = ["poll-skip", "int-poll-skip", "nonmonotonic-poll", "int-nonmonotonic-poll"];
    said.into_iter().filter(|s| !poll.contains(&&*s.0)).collect()
}

/// A fifth of the histories: each is judged several times.
fn histories() -> impl Iterator<Item = (u64, History)> {
    let all = numbers();
    let end = all.start + (all.end - all.start).div_ceil(5);
    (all.start..end).map(|n| (n, history(SEED, n)))
}

/// Clients 0 to 9 in reverse order: a bijection that is its own inverse.
fn renamed(client: ClientId) -> ClientId {
    ClientId(if client.0 <= FINAL { FINAL - client.0 } else { client.0 })
}

fn renamed_value(value: ValueId) -> ValueId {
    ValueId::new(renamed(value.client()), value.index())
}

#[test]
fn names_of_clients_and_values_decide_nothing() {
    for (number, history) in histories() {
        let mut other = history.clone();
        for entry in &mut other.entries {
            entry.client = renamed(entry.client);
            match &mut entry.op {
                Op::Send { value, .. } | Op::Sent { value, .. } => *value = renamed_value(*value),
                Op::Poll { records, .. } => records.iter_mut().for_each(|r| r.value = renamed_value(r.value)),
                _ => {}
            }
        }
        assert_eq!(plain(&history), said(&other, renamed_value), "history {number}");
    }
}

#[test]
fn the_order_of_independent_reads_decides_nothing() {
    for (number, history) in histories() {
        let mut other = history.clone();
        // At one instant the order of two readers is nobody's: every such pair that stands side by side changes places.
        let mut i = 0;
        while i + 1 < other.entries.len() {
            let (a, b) = (&other.entries[i], &other.entries[i + 1]);
            let polls = matches!((&a.op, &b.op), (Op::Poll { .. }, Op::Poll { .. }));
            if polls && a.client != b.client && a.at == b.at {
                other.entries.swap(i, i + 1);
                i += 1;
            }
            i += 1;
        }
        assert_eq!(plain(&history), plain(&other), "history {number}");
    }
}

#[test]
fn a_poll_split_in_two_or_joined_decides_nothing() {
    for (number, history) in histories() {
        let mut split = history.clone();
        let mut i = 0;
        while i < split.entries.len() {
            let mut rest = split.entries[i].clone();
            if let (Op::Poll { records, .. }, Op::Poll { records: second, .. }) =
                (&mut split.entries[i].op, &mut rest.op)
                && records.len() > 1
            {
                *second = records.split_off(records.len() / 2);
                split.entries.insert(i + 1, rest);
            }
            i += 1;
        }
        assert_eq!(without_poll_checks(plain(&history)), without_poll_checks(plain(&split)), "history {number}");
        let mut joined = split;
        let mut i = 0;
        while i + 1 < joined.entries.len() {
            let next = joined.entries[i + 1].clone();
            let here = &mut joined.entries[i];
            let same = here.client == next.client && here.at == next.at;
            if let (Op::Poll { records, source, .. }, Op::Poll { records: more, source: on, .. }) =
                (&mut here.op, next.op)
                && same
                && *source == on
            {
                records.extend(more);
                joined.entries.remove(i + 1);
            } else {
                i += 1;
            }
        }
        assert_eq!(without_poll_checks(plain(&history)), without_poll_checks(plain(&joined)), "history {number}");
    }
}
