//! Requests taken up and not answered yet, with what must be remembered of them to judge the answers.

use super::cluster::PartIx;
use crate::event::{NodeRef, Ordinal};
use klamm_model::ids::*;
use klamm_model::node::ConnId;
use klamm_model::small_map::Few;
use std::collections::{BTreeMap, VecDeque};

/// Batches of requests whose connection ended, kept in case they are appended all the same.
const ORPHANS: usize = 256;

/// One partition of a Fetch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FetchAsked {
    pub(crate) part: PartIx,
    pub(crate) position: Offset,
    /// The epoch in which the node led when it took the request up.
    pub(crate) led_in: Option<LeaderEpoch>,
    /// Where its log ended then.
    pub(crate) end: Offset,
    /// The request bore an epoch below that one.
    pub(crate) stale: Option<LeaderEpoch>,
}

/// One batch of a Produce.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProduceAsked {
    pub(crate) part: PartIx,
    pub(crate) crc: u32,
    pub(crate) appended: bool,
}

/// A decision to acknowledge.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decided {
    pub(crate) part: PartIx,
    pub(crate) base: Offset,
}

/// One partition of an AlterPartition that must be refused.
#[derive(Clone, Debug)]
pub(crate) struct MustRefuse {
    /// `None`: the whole request.
    pub(crate) partition: Option<TopicIdPartition>,
    pub(crate) why: String,
    /// The event that made it stale.
    pub(crate) because: Ordinal,
}

/// What was asked.
#[derive(Debug)]
pub(crate) enum Asked {
    Fetch { replica: bool, parts: Few<FetchAsked> },
    Produce { acks: i16, batches: Few<ProduceAsked>, decided: Few<Decided> },
    AlterPartition { refuse: Vec<MustRefuse> },
}

/// A request in process.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) correlation: i32,
    pub(crate) taken: Ordinal,
    pub(crate) asked: Asked,
}

/// All of them: a node works on one request of a connection at a time.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    /// A connection's place stays while it lasts, as it will have another request soon.
    open: BTreeMap<(NodeRef, ConnId), Option<Request>>,
    orphans: VecDeque<(NodeRef, ProduceAsked)>,
}

impl Requests {
    pub(crate) fn taken(&mut self, node: NodeRef, conn: ConnId, request: Request) {
        if let Some(old) = self.open.entry((node, conn)).or_default().replace(request) {
            self.orphan(node, old);
        }
    }
    pub(crate) fn open(&mut self, node: NodeRef, conn: ConnId, correlation: i32) -> Option<&mut Request> {
        self.open.get_mut(&(node, conn))?.as_mut().filter(|r| r.correlation == correlation)
    }
    pub(crate) fn answered(&mut self, node: NodeRef, conn: ConnId, correlation: i32) -> Option<Request> {
        self.open.get_mut(&(node, conn))?.take_if(|r| r.correlation == correlation)
    }
    pub(crate) fn disconnected(&mut self, node: NodeRef, conn: ConnId) {
        if let Some(old) = self.open.remove(&(node, conn)).flatten() {
            self.orphan(node, old);
        }
    }
    pub(crate) fn stopped(&mut self, node: NodeRef) {
        self.open.retain(|(n, _), _| *n != node);
        self.orphans.retain(|(n, _)| *n != node);
    }
    /// Finds the request that brought a batch which is being appended.
    pub(crate) fn appended(&mut self, node: NodeRef, part: PartIx, crc: u32) -> bool {
        let ours = self.open.range_mut((node, ConnId(0))..=(node, ConnId(u64::MAX)));
        for request in ours.filter_map(|(_, request)| request.as_mut()) {
            if let Asked::Produce { batches, .. } = &mut request.asked
                && let Some(batch) = batches.iter_mut().find(|b| !b.appended && b.part == part && b.crc == crc)
            {
                batch.appended = true;
                return true;
            }
        }
        let at = self.orphans.iter().position(|(n, b)| *n == node && b.part == part && b.crc == crc);
        at.is_some_and(|at| self.orphans.remove(at).is_some())
    }
    fn orphan(&mut self, node: NodeRef, old: Request) {
        if let Asked::Produce { batches, .. } = old.asked {
            self.orphans.extend(batches.into_iter().filter(|b| !b.appended).map(|b| (node, b)));
            while self.orphans.len() > ORPHANS {
                self.orphans.pop_front();
            }
        }
    }
}
