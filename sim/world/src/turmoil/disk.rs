//! The modelled disk of a host, as the shells of its nodes see it.

use super::seen::{Seen, Ticket};
use super::shared::Shared;
use crate::disk::{Completion, Disk as Device};
use crate::event::{HostId, NodeRef, Ordinal};
use crate::shell::disk::{Completion as Done, Disk};
use klamm_model::disk::{DiskOp, DiskToken};
use klamm_model::ids::Incarnation;
use klamm_model::units::{Duration, Instant};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use tokio::sync::Notify;

/// What one node is owed.
#[derive(Debug, Default)]
struct Owed {
    done: Vec<Completion>,
    wake: Rc<Notify>,
}

/// One host's disk, shared by its nodes.
#[derive(Debug)]
pub(super) struct HostDisk {
    device: RefCell<Device>,
    owed: RefCell<BTreeMap<NodeRef, Owed>>,
}

impl HostDisk {
    pub(super) fn new(device: Device) -> HostDisk {
        HostDisk { device: RefCell::new(device), owed: RefCell::default() }
    }

    /// What a fault does to the device, or an audit reads from it.
    pub(super) fn with<R>(&self, f: impl FnOnce(&mut Device) -> R) -> R {
        let result = f(&mut self.device.borrow_mut());
        // When something is over next may have changed.
        self.owed.borrow().values().for_each(|owed| owed.wake.notify_one());
        result
    }

    /// What reads see, for audits: nobody is woken.
    pub(super) fn look<R>(&self, f: impl FnOnce(&Device) -> R) -> R {
        f(&self.device.borrow())
    }

    /// A process is gone.
    pub(super) fn kill(&self, now: Instant, node: NodeRef) {
        self.with(|device| device.kill(now, node));
        if let Some(owed) = self.owed.borrow_mut().get_mut(&node) {
            owed.done.clear();
        }
    }
}

/// The disk of one incarnation of a node.
pub(super) struct NodeDisk {
    shared: Rc<Shared>,
    disk: Rc<HostDisk>,
    host: HostId,
    node: NodeRef,
    incarnation: Incarnation,
    /// What the node's monotonic clock is ahead of the world's time.
    uptime: Duration,
    wake: Rc<Notify>,
}

impl NodeDisk {
    pub(super) fn new(shared: Rc<Shared>, host: HostId, node: NodeRef, incarnation: Incarnation) -> NodeDisk {
        let (disk, uptime) = {
            let hosts = shared.hosts.borrow();
            let state = &hosts[usize::from(host.0)];
            (state.disk.clone(), state.uptime)
        };
        let wake = disk.owed.borrow_mut().entry(node).or_default().wake.clone();
        NodeDisk { shared, disk, host, node, incarnation, uptime, wake }
    }

    fn world(&self, mono: Instant) -> Instant {
        Instant::from_nanos(mono.as_nanos().saturating_sub(self.uptime.as_nanos()))
    }
}

impl Disk for NodeDisk {
    fn submit(&mut self, now: Instant, token: DiskToken, op: DiskOp) {
        let now = self.world(now);
        self.disk.device.borrow_mut().submit(now, Ordinal::default(), self.node, self.incarnation, token, op);
    }

    fn done(&mut self, now: Instant, into: &mut Vec<Done>) {
        let mut all = Vec::new();
        let damage = {
            let mut device = self.disk.device.borrow_mut();
            device.advance(self.world(now), &mut all);
            device.take_damage()
        };
        if !damage.is_empty() {
            let (at, none) = (self.shared.now(), Ticket::default());
            self.shared.see(at, &none, Some(self.host), None, Seen::Damaged { ranges: damage }, 0);
        }
        let mut owed = self.disk.owed.borrow_mut();
        for completion in all {
            let other = completion.node != self.node;
            let owed = owed.entry(completion.node).or_default();
            owed.done.push(completion);
            if other {
                owed.wake.notify_one();
            }
        }
        let mine = owed.entry(self.node).or_default();
        let now = mine.done.drain(..).filter(|c| c.incarnation == self.incarnation);
        into.extend(now.map(|c| (c.token, c.result)));
    }

    fn due(&self) -> Option<Instant> {
        self.disk.device.borrow().next_at().map(|at| at + self.uptime)
    }

    async fn woken(&mut self) {
        self.wake.notified().await;
    }
}
