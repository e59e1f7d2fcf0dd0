//! The bytes of records, written here as the schemas say.

use super::{G, ORDERS};

pub(super) fn old(text: &str) -> Vec<u8> {
    let mut b = (text.len() as i16).to_be_bytes().to_vec();
    b.extend_from_slice(text.as_bytes());
    b
}
pub(super) fn compact(text: &str) -> Vec<u8> {
    let mut b = vec![text.len() as u8 + 1];
    b.extend_from_slice(text.as_bytes());
    b
}
pub(super) fn key(kind: i16, parts: &[Vec<u8>]) -> Vec<u8> {
    [kind.to_be_bytes().to_vec(), old(G)].concat().into_iter().chain(parts.concat()).collect()
}

pub(super) type Record = (Vec<u8>, Option<Vec<u8>>);

pub(super) fn commit_record(partition: i32, offset: Option<i64>) -> Record {
    let key = key(1, &[old("orders"), partition.to_be_bytes().to_vec()]);
    let value = offset.map(|offset| {
        let mut v = 4i16.to_be_bytes().to_vec();
        v.extend(offset.to_be_bytes());
        v.extend(1i32.to_be_bytes());
        v.extend(compact(""));
        v.extend(5i64.to_be_bytes());
        v.push(0);
        v
    });
    (key, value)
}

pub(super) fn embedded(partitions: &[i32]) -> Vec<u8> {
    let mut b = 1i16.to_be_bytes().to_vec();
    b.extend(1i32.to_be_bytes());
    b.extend(old("orders"));
    b.extend((partitions.len() as i32).to_be_bytes());
    partitions.iter().for_each(|p| b.extend(p.to_be_bytes()));
    b.extend((-1i32).to_be_bytes());
    b
}
pub(super) fn subscription(topics: &[&str]) -> Vec<u8> {
    subscription_of(topics, &[], None)
}
/// With what its member has; or with what its sticky assignor remembers of a generation.
fn subscription_of(topics: &[&str], owned: &[i32], remembers: Option<i32>) -> Vec<u8> {
    let mut b = 1i16.to_be_bytes().to_vec();
    b.extend((topics.len() as i32).to_be_bytes());
    topics.iter().for_each(|t| b.extend(old(t)));
    let mut list = i32::from(!owned.is_empty()).to_be_bytes().to_vec();
    if !owned.is_empty() {
        list.extend(old("orders"));
        list.extend((owned.len() as i32).to_be_bytes());
        owned.iter().for_each(|p| list.extend(p.to_be_bytes()));
    }
    match remembers.filter(|_| !owned.is_empty()) {
        Some(generation) => {
            b.extend(sized(&[list, generation.to_be_bytes().to_vec()].concat()));
            b.extend(0i32.to_be_bytes());
        }
        None => {
            b.extend((-1i32).to_be_bytes());
            b.extend(list);
        }
    }
    b
}

pub(super) fn sized(bytes: &[u8]) -> Vec<u8> {
    [(bytes.len() as i32).to_be_bytes().to_vec(), bytes.to_vec()].concat()
}

/// A generation: members with what they are given of `orders`.
pub(super) fn generation(n: i32, protocol: &str, members: &[(&str, &[i32])]) -> Record {
    let members: Vec<_> = members.iter().map(|(id, parts)| (*id, *parts, &[][..])).collect();
    generation_of(n, protocol, &members)
}
/// The same, with what each member said it had when it joined, or its sticky assignor remembered of the generation before.
pub(super) fn generation_of(n: i32, protocol: &str, members: &[(&str, &[i32], &[i32])]) -> Record {
    let members: Vec<_> = members.iter().map(|(id, parts, owned)| (*id, None, *parts, *owned)).collect();
    generation_with(n, protocol, &members)
}
/// A member: its id, its instance, what it is given, and what it said it had when it joined.
pub(super) type Joined<'a> = (&'a str, Option<&'a str>, &'a [i32], &'a [i32]);
/// The same, with static members.
pub(super) fn generation_with(n: i32, protocol: &str, members: &[Joined<'_>]) -> Record {
    let mut v = 3i16.to_be_bytes().to_vec();
    v.extend(old("consumer"));
    v.extend(n.to_be_bytes());
    v.extend(old(protocol));
    v.extend(old(members.first().map_or("", |m| m.0)));
    v.extend(5i64.to_be_bytes());
    v.extend((members.len() as i32).to_be_bytes());
    for (id, instance, parts, owned) in members {
        v.extend(old(id));
        v.extend(instance.map_or_else(|| (-1i16).to_be_bytes().to_vec(), old));
        v.extend([old("c"), old("/h")].concat());
        v.extend(300_000i32.to_be_bytes());
        v.extend(45_000i32.to_be_bytes());
        let remembers = (protocol == "sticky").then_some(n - 1);
        v.extend(sized(&subscription_of(&["orders"], owned, remembers)));
        v.extend(sized(&embedded(parts)));
    }
    (key(2, &[]), Some(v))
}

pub(super) fn topic_list(parts: &[i32]) -> Vec<u8> {
    if parts.is_empty() {
        return vec![1];
    }
    let mut v = vec![2];
    v.extend(ORDERS.0.as_bytes());
    v.push(parts.len() as u8 + 1);
    parts.iter().for_each(|p| v.extend(p.to_be_bytes()));
    v.push(0);
    v
}
pub(super) fn epoch_record(kind: i16, epoch: i32) -> Record {
    let mut v = vec![0, 0];
    v.extend(epoch.to_be_bytes());
    v.push(0);
    (key(kind, &[]), Some(v))
}
pub(super) fn member_record(member: &str) -> Record {
    let mut v = vec![0, 0, 0, 0];
    v.extend([compact("c"), compact("/h")].concat());
    v.push(2);
    v.extend(compact("orders"));
    v.push(0);
    v.extend(300_000i32.to_be_bytes());
    v.extend([0, 0]);
    (key(5, &[old(member)]), Some(v))
}
pub(super) fn target_record(member: &str, parts: &[i32]) -> Record {
    let v = [vec![0, 0], topic_list(parts), vec![0]].concat();
    (key(7, &[old(member)]), Some(v))
}
pub(super) fn current_record(member: &str, epoch: i32, assigned: &[i32], pending: &[i32]) -> Record {
    let mut v = vec![0, 0];
    v.extend(epoch.to_be_bytes());
    v.extend((epoch - 1).to_be_bytes());
    v.push(1);
    v.extend([topic_list(assigned), topic_list(pending), vec![0]].concat());
    (key(8, &[old(member)]), Some(v))
}

pub(super) fn zigzag(n: i64) -> Vec<u8> {
    let (mut n, mut b) = (((n << 1) ^ (n >> 63)) as u64, Vec::new());
    while n >= 0x80 {
        b.push(n as u8 | 0x80);
        n >>= 7;
    }
    b.push(n as u8);
    b
}
pub(super) fn body(records: &[Record]) -> Vec<u8> {
    let mut b = Vec::new();
    for (i, (key, value)) in records.iter().enumerate() {
        let mut r = vec![0];
        r.extend([zigzag(0), zigzag(i as i64), zigzag(key.len() as i64), key.clone()].concat());
        match value {
            Some(v) => r.extend([zigzag(v.len() as i64), v.clone()].concat()),
            None => r.extend(zigzag(-1)),
        }
        r.extend(zigzag(0));
        b.extend([zigzag(r.len() as i64), r].concat());
    }
    b
}
