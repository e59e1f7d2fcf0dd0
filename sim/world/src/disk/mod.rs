//! The modelled disk: a device in front of a page cache.

mod profile;

pub use profile::DiskProfile;

use crate::event::{LostData, NodeRef, Ordinal};
use crate::faults::DiskErrorOn;
use bytes::Bytes;
use klamm_model::disk::{DiskOp, DiskResult, DiskToken, Path};
use klamm_model::ids::Incarnation;
use klamm_model::units::Instant;

/// An operation that is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Completion {
    /// The event that submitted it.
    pub cause: Ordinal,
    /// Who asked.
    pub node: NodeRef,
    /// In which incarnation.
    pub incarnation: Incarnation,
    /// Under which token.
    pub token: DiskToken,
    /// What was asked.
    pub op: DiskOp,
    /// How it went.
    pub result: DiskResult,
}

/// What can be wrong with a device for a while.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum DiskFault {
    /// The device answers nothing; reads that the page cache can serve still are.
    Stall,
    /// Everything takes this many times as long.
    Slow(u32),
    /// Operations of this kind fail with EIO.
    Error(DiskErrorOn),
    /// Fsyncs report success and do nothing.
    LyingFsync,
    /// Appends and writes fail with ENOSPC.
    Full,
}

/// One host's disk.
#[derive(Debug)]
pub struct Disk {}

impl Disk {
    /// An empty disk. `key` is the key of its draws: a hash of seed and host.
    pub fn new(profile: DiskProfile, key: u64) -> Disk {
        let _ = (profile, key);
        Disk {}
    }
    /// Takes an operation. What it does is visible to reads at once; its completion comes from [`Disk::advance`].
    pub fn submit(
        &mut self,
        now: Instant,
        cause: Ordinal,
        node: NodeRef,
        incarnation: Incarnation,
        token: DiskToken,
        op: DiskOp,
    ) {
        let _ = (now, cause, node, incarnation, token, op);
    }
    /// When [`Disk::advance`] has something next: maybe the present instant (reads the page cache served).
    pub fn next_at(&self) -> Option<Instant> {
        None
    }
    /// Hands over what is over by `now`, in order.
    pub fn advance(&mut self, now: Instant, into: &mut Vec<Completion>) {
        let _ = (now, into);
    }
    /// A process vanished: of its operations in flight each is applied wholly, in part or not at all, and none
    /// completes. The page cache stays.
    pub fn kill(&mut self, now: Instant, node: NodeRef) {
        let _ = (now, node);
    }
    /// The host lost power. Returns what was lost of what reads would have seen.
    pub fn power_loss(&mut self, now: Instant) -> Vec<LostData> {
        let _ = now;
        Vec::new()
    }
    /// A fault begins or ends. Equal faults nest.
    pub fn set_fault(&mut self, now: Instant, fault: DiskFault, on: bool) {
        let _ = (now, fault, on);
    }
    /// All faults end.
    pub fn heal(&mut self, now: Instant) {
        let _ = now;
    }
    /// Flips bits in a durable, closed segment of a partition's log (`orders-0`). Empty if there is none.
    pub fn bit_rot(&mut self, now: Instant, log: &str) -> Vec<LostData> {
        let _ = (now, log);
        Vec::new()
    }
    /// Everything is gone. Returns what was there.
    pub fn wipe(&mut self, now: Instant) -> Vec<LostData> {
        let _ = now;
        Vec::new()
    }
    /// Data dropped by failed fsyncs since this was last asked.
    pub fn take_damage(&mut self) -> Vec<LostData> {
        Vec::new()
    }
    /// Every file as reads see it, sorted by path. For audits.
    pub fn contents(&self) -> impl Iterator<Item = (Path, Bytes)> + '_ {
        std::iter::empty()
    }
    /// Every file as a power loss now would leave it at the least: what is durable. For audits.
    pub fn durable_contents(&self) -> impl Iterator<Item = (Path, Bytes)> + '_ {
        std::iter::empty()
    }
}
