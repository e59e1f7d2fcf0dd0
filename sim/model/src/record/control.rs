//! Control records: transaction markers (KIP-98) and the message with which a quorum leader opens its epoch (KIP-595).

use super::builder::{BatchBuilder, BuilderConfig};
use super::header::BatchError;
use super::iter::Record;
use crate::ids::*;
use crate::units::Timestamp;
use bytes::{BufMut, Bytes, BytesMut};

/// One control record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ControlRecord {
    /// The transaction's records are void.
    Abort(EndTxnMarker),
    /// The transaction's records count.
    Commit(EndTxnMarker),
    /// A leader of the metadata quorum opens its epoch.
    LeaderChange(LeaderChange),
    /// A kind this model does not look into; its type number.
    Other(i16),
}

/// What a transaction marker tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndTxnMarker {
    /// The epoch of the coordinator that wrote it.
    pub coordinator_epoch: i32,
}

/// Who leads the quorum (`LeaderChangeMessage`, version 0).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaderChange {
    /// The leader.
    pub leader: NodeId,
    /// The voters it knows.
    pub voters: Vec<NodeId>,
    /// Those that voted for it.
    pub granting: Vec<NodeId>,
}

impl ControlRecord {
    /// The type number in the record's key.
    pub const fn type_id(&self) -> i16 {
        match self {
            ControlRecord::Abort(_) => 0,
            ControlRecord::Commit(_) => 1,
            ControlRecord::LeaderChange(_) => 2,
            ControlRecord::Other(id) => *id,
        }
    }

    /// Reads a record of a control batch.
    ///
    /// # Errors
    /// A key or value that is not of its kind.
    pub fn decode(record: &Record<'_>) -> Result<ControlRecord, BatchError> {
        let bad = BatchError::Control;
        let mut key = Reader(record.key.ok_or(bad("it has no key"))?);
        let (_version, kind) = (key.i16()?, key.i16()?);
        let mut value = Reader(record.value.ok_or(bad("it has no value"))?);
        match kind {
            0 | 1 => {
                let _version = value.i16()?;
                let marker = EndTxnMarker { coordinator_epoch: value.i32()? };
                Ok(if kind == 0 { ControlRecord::Abort(marker) } else { ControlRecord::Commit(marker) })
            }
            2 => {
                let version = value.i16()?;
                let leader = NodeId(value.i32()?);
                let voters = value.voters(version)?;
                let granting = value.voters(version)?;
                value.tagged()?;
                Ok(ControlRecord::LeaderChange(LeaderChange { leader, voters, granting }))
            }
            other => Ok(ControlRecord::Other(other)),
        }
    }

    fn value(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_i16(0);
        match self {
            ControlRecord::Abort(marker) | ControlRecord::Commit(marker) => out.put_i32(marker.coordinator_epoch),
            ControlRecord::LeaderChange(change) => {
                out.put_i32(change.leader.0);
                for voters in [&change.voters, &change.granting] {
                    put_unsigned(&mut out, voters.len() as u32 + 1);
                    for voter in voters {
                        out.put_i32(voter.0);
                        put_unsigned(&mut out, 0);
                    }
                }
                put_unsigned(&mut out, 0);
            }
            ControlRecord::Other(_) => {}
        }
        out.freeze()
    }
}

/// A batch of one control record. `config.control` is set for the caller.
pub fn control_batch(config: BuilderConfig, timestamp: Timestamp, record: &ControlRecord) -> Bytes {
    let mut builder = BatchBuilder::new(BuilderConfig { control: true, ..config });
    let [a, b] = record.type_id().to_be_bytes();
    builder.append(timestamp, Some(&[0, 0, a, b]), Some(&record.value()), &[]);
    builder.build()
}

fn put_unsigned(out: &mut BytesMut, mut value: u32) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], BatchError> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(BatchError::Control("it is cut"))?;
        self.0 = rest;
        Ok(*bytes)
    }
    fn i16(&mut self) -> Result<i16, BatchError> {
        self.take().map(i16::from_be_bytes)
    }
    fn i32(&mut self) -> Result<i32, BatchError> {
        self.take().map(i32::from_be_bytes)
    }
    fn unsigned(&mut self) -> Result<u32, BatchError> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.take()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(BatchError::Control("a number is too long"))
    }
    fn tagged(&mut self) -> Result<(), BatchError> {
        for _ in 0..self.unsigned()? {
            let _tag = self.unsigned()?;
            let len = self.unsigned()? as usize;
            self.0 = self.0.get(len..).ok_or(BatchError::Control("it is cut"))?;
        }
        Ok(())
    }
    fn voters(&mut self, version: i16) -> Result<Vec<NodeId>, BatchError> {
        let count = self.unsigned()?.saturating_sub(1) as usize;
        if count > self.0.len() / 5 {
            return Err(BatchError::Control("it cannot hold that many voters"));
        }
        let mut voters = Vec::with_capacity(count);
        for _ in 0..count {
            voters.push(NodeId(self.i32()?));
            if version >= 1 {
                let _directory: [u8; 16] = self.take()?;
            }
            self.tagged()?;
        }
        Ok(voters)
    }
}
