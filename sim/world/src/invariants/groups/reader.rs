//! A plain reader of what a batch of `__consumer_offsets` says, the judge's own.
//!
//! Bytes as in Kafka's `group-coordinator/src/main/resources/common/message`: a key begins with its record's type, a
//! value with its version. What cannot be read, and types that no check needs, are passed over: the judge then knows
//! nothing, and says nothing. The embedded consumer protocol is read as far as its topics and partitions.

use crate::invariants::batch::HEADER;
use klamm_model::ids::{TopicId, Uuid};

/// A topic's partitions as KIP-848 records and messages have them, flattened.
pub(crate) type Parts = Vec<(TopicId, i32)>;
/// The same by name, as classic members and offsets have them.
pub(crate) type Named = Vec<(String, i32)>;

/// One record. `None`: a tombstone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Said {
    Offset { group: String, topic: String, partition: i32, offset: Option<i64> },
    Classic { group: String, value: Option<Classic> },
    Epoch { group: String, epoch: Option<i32> },
    Member { group: String, member: String, value: Option<Subscribed> },
    TargetEpoch { group: String, epoch: Option<i32> },
    Target { group: String, member: String, parts: Option<Parts> },
    Current { group: String, member: String, value: Option<Current> },
}

impl Said {
    pub(crate) fn group(&self) -> &str {
        match self {
            Said::Offset { group, .. }
            | Said::Classic { group, .. }
            | Said::Epoch { group, .. }
            | Said::Member { group, .. }
            | Said::TargetEpoch { group, .. }
            | Said::Target { group, .. }
            | Said::Current { group, .. } => group,
        }
    }
}

/// A classic group's generation.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Classic {
    pub(crate) generation: i32,
    pub(crate) protocol: Option<String>,
    pub(crate) members: Vec<ClassicMember>,
}

/// A classic member, with what its embedded bytes say.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct ClassicMember {
    pub(crate) id: String,
    pub(crate) instance: Option<String>,
    pub(crate) topics: Vec<String>,
    /// What it said it had when it joined.
    pub(crate) owned: Named,
    /// What its sticky assignor remembered, and of which generation: an eager member gives up everything before it joins,
    /// and one that was expelled comes as somebody new.
    pub(crate) claim: Option<(Named, i32)>,
    pub(crate) assigned: Named,
}

/// What a KIP-848 member said of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Subscribed {
    pub(crate) instance: Option<String>,
    pub(crate) topics: Vec<String>,
}

/// What a KIP-848 member has.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Current {
    pub(crate) epoch: i32,
    pub(crate) previous: i32,
    pub(crate) assigned: Parts,
    pub(crate) pending: Parts,
}

/// The records of a whole batch, with their offsets. `None`: it cannot be read.
pub(crate) fn said(batch: &[u8]) -> Option<Vec<(i64, Said)>> {
    let base = i64::from_be_bytes(batch.get(..8)?.try_into().ok()?);
    let attributes = i16::from_be_bytes(batch.get(21..23)?.try_into().ok()?);
    let count = i32::from_be_bytes(batch.get(57..61)?.try_into().ok()?);
    // Control batches say nothing; nobody compresses this topic here.
    if attributes & 0x20 != 0 {
        return Some(Vec::new());
    }
    if attributes & 0x07 != 0 {
        return None;
    }
    let mut r = Bytes(batch.get(HEADER..)?);
    let mut all = Vec::new();
    for _ in 0..count {
        let length = usize::try_from(r.zigzag()?).ok()?;
        let mut one = Bytes(r.take(length)?);
        one.take(1)?;
        one.zigzag()?;
        let offset = base + one.zigzag()?;
        let key = one.sized()?;
        let value = one.sized()?;
        if let Some(said) = key.and_then(|key| record(key, value)) {
            all.push((offset, said));
        }
    }
    Some(all)
}

fn record(key: &[u8], value: Option<&[u8]>) -> Option<Said> {
    let mut k = Bytes(key);
    let kind = k.i16()?;
    let group = k.string()?;
    let mut v = value.map(Bytes);
    // Every value begins with its version.
    let version = match &mut v {
        Some(v) => v.i16()?,
        None => 0,
    };
    Some(match kind {
        0 | 1 => {
            let (topic, partition) = (k.string()?, k.i32()?);
            let offset = match v {
                Some(mut v) => Some(v.i64()?),
                None => None,
            };
            Said::Offset { group, topic, partition, offset }
        }
        2 => {
            let value = match v {
                Some(mut v) => Some(classic(&mut v, version)?),
                None => None,
            };
            Said::Classic { group, value }
        }
        3 | 6 => {
            let epoch = match v {
                Some(mut v) => Some(v.i32()?),
                None => None,
            };
            if kind == 3 { Said::Epoch { group, epoch } } else { Said::TargetEpoch { group, epoch } }
        }
        5 => {
            let member = k.string()?;
            let value = match v {
                Some(mut v) => {
                    let instance = v.compact()?;
                    // Rack, client and host.
                    for _ in 0..3 {
                        v.compact()?;
                    }
                    let mut topics = Vec::new();
                    for _ in 0..v.compact_len()? {
                        topics.push(v.compact()??);
                    }
                    Some(Subscribed { instance, topics })
                }
                None => None,
            };
            Said::Member { group, member, value }
        }
        7 => {
            let member = k.string()?;
            let parts = match v {
                Some(mut v) => Some(v.parts()?),
                None => None,
            };
            Said::Target { group, member, parts }
        }
        8 => {
            let member = k.string()?;
            let value = match v {
                Some(mut v) => {
                    let (epoch, previous) = (v.i32()?, v.i32()?);
                    v.take(1)?;
                    Some(Current { epoch, previous, assigned: v.parts()?, pending: v.parts()? })
                }
                None => None,
            };
            Said::Current { group, member, value }
        }
        _ => return None,
    })
}

fn classic(v: &mut Bytes<'_>, version: i16) -> Option<Classic> {
    let flexible = version >= 4;
    let text = |v: &mut Bytes<'_>| if flexible { v.compact() } else { v.nullable() };
    text(v)?;
    let generation = v.i32()?;
    let protocol = text(v)?;
    text(v)?;
    if version >= 2 {
        v.i64()?;
    }
    let count = if flexible { v.compact_len()? } else { usize::try_from(v.i32()?).ok()? };
    let mut members = Vec::new();
    for _ in 0..count {
        let id = text(v)??;
        let instance = if version >= 3 { text(v)? } else { None };
        // Client and host.
        text(v)?;
        text(v)?;
        if version >= 1 {
            v.i32()?;
        }
        v.i32()?;
        let bytes = |v: &mut Bytes<'_>| {
            let len = if flexible { v.compact_len()? } else { usize::try_from(v.i32()?).ok()? };
            v.take(len).map(<[u8]>::to_vec)
        };
        let (subscription, assignment) = (bytes(v)?, bytes(v)?);
        if flexible {
            v.tags()?;
        }
        members.push(ClassicMember {
            id,
            instance,
            topics: subscription_topics(&subscription).unwrap_or_default(),
            owned: subscription_owned(&subscription).map(|(owned, _)| owned).unwrap_or_default(),
            claim: subscription_owned(&subscription).and_then(|(_, said)| remembered(said)),
            assigned: assigned(&assignment).unwrap_or_default(),
        });
    }
    Some(Classic { generation, protocol, members })
}

/// The topics of an embedded subscription (`ConsumerProtocolSubscription`), ascending.
pub(crate) fn subscription_topics(bytes: &[u8]) -> Option<Vec<String>> {
    let mut r = Bytes(bytes);
    r.i16()?;
    let mut topics = Vec::new();
    for _ in 0..r.i32()? {
        topics.push(r.string()?);
    }
    topics.sort();
    Some(topics)
}

/// What an embedded subscription says that its member has, ascending; nothing before its version 1 (KIP-429). And what its
/// assignor has to say.
fn subscription_owned(bytes: &[u8]) -> Option<(Named, &[u8])> {
    let mut r = Bytes(bytes);
    let version = r.i16()?;
    for _ in 0..r.i32()? {
        r.string()?;
    }
    // Null is -1.
    let said = match usize::try_from(r.i32()?) {
        Ok(len) => r.take(len)?,
        Err(_) => &[],
    };
    let owned = if version >= 1 { r.named()? } else { Vec::new() };
    Some((owned, said))
}

/// What a sticky assignor writes for itself (Kafka: `StickyAssignor.StickyAssignorUserData`, version 1).
fn remembered(said: &[u8]) -> Option<(Named, i32)> {
    let mut r = Bytes(said);
    let parts = r.named()?;
    Some((parts, r.i32()?))
}

/// The partitions of an embedded assignment (`ConsumerProtocolAssignment`), ascending. No bytes are no partitions.
pub(crate) fn assigned(bytes: &[u8]) -> Option<Named> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let mut r = Bytes(bytes);
    r.i16()?;
    r.named()
}

/// Bytes yet to be read; `None` where they end too early.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }
    fn i16(&mut self) -> Option<i16> {
        Some(i16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }
    fn i32(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }
    fn i64(&mut self) -> Option<i64> {
        Some(i64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }
    /// Topics with their partitions, by name.
    fn named(&mut self) -> Option<Named> {
        let mut parts = Vec::new();
        for _ in 0..self.i32()? {
            let topic = self.string()?;
            for _ in 0..self.i32()? {
                parts.push((topic.clone(), self.i32()?));
            }
        }
        parts.sort();
        Some(parts)
    }
    fn varint(&mut self) -> Option<u64> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            n |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(n);
            }
        }
        None
    }
    fn zigzag(&mut self) -> Option<i64> {
        let n = self.varint()?;
        Some((n >> 1) as i64 ^ -((n & 1) as i64))
    }
    /// Bytes behind a length that may say "none".
    fn sized(&mut self) -> Option<Option<&'a [u8]>> {
        match usize::try_from(self.zigzag()?) {
            Ok(n) => self.take(n).map(Some),
            Err(_) => Some(None),
        }
    }
    fn text(bytes: &[u8]) -> Option<String> {
        String::from_utf8(bytes.to_vec()).ok()
    }
    fn nullable(&mut self) -> Option<Option<String>> {
        match usize::try_from(self.i16()?) {
            Ok(n) => Bytes::text(self.take(n)?).map(Some),
            Err(_) => Some(None),
        }
    }
    fn string(&mut self) -> Option<String> {
        self.nullable()?
    }
    fn compact_len(&mut self) -> Option<usize> {
        Some(usize::try_from(self.varint()?).ok()?.saturating_sub(1))
    }
    fn compact(&mut self) -> Option<Option<String>> {
        match self.varint()? {
            0 => Some(None),
            n => Bytes::text(self.take(usize::try_from(n - 1).ok()?)?).map(Some),
        }
    }
    fn tags(&mut self) -> Option<()> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let n = usize::try_from(self.varint()?).ok()?;
            self.take(n)?;
        }
        Some(())
    }
    fn parts(&mut self) -> Option<Parts> {
        let mut parts = Vec::new();
        for _ in 0..self.compact_len()? {
            let id = TopicId(Uuid::from_slice(self.take(16)?).ok()?);
            for _ in 0..self.compact_len()? {
                parts.push((id, self.i32()?));
            }
            self.tags()?;
        }
        parts.sort();
        Some(parts)
    }
}
