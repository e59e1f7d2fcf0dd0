//! What runs on a turmoil host: a supervisor that starts processes, each the shell around one incarnation of a node.

use super::disk::NodeDisk;
use super::net::{Door, TurmoilNet};
use super::seen::Ticket;
use super::shared::{Machine, Shared};
use super::watcher::Watcher;
use crate::des::random::{identity, node_stream};
use crate::event::{Ending, HostId, NodeRef};
use crate::shell::limits::Limits;
use crate::shell::observer::Unmeddled;
use crate::shell::process::{self, Clock, Control, Parts};
use klamm_model::Input;
use klamm_model::ids::Incarnation;
use klamm_model::inspect::Inspection;
use klamm_model::node::{Listener, Node, Outbox, Output};
use klamm_model::units::Now;
use klamm_model::versions::VersionCaps;
use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_local};

/// A process to be started.
pub(super) struct Boot {
    pub(super) name: Rc<str>,
    pub(super) host: HostId,
    pub(super) node: NodeRef,
    pub(super) incarnation: Incarnation,
    pub(super) machine: Machine,
    pub(super) listeners: Vec<(Listener, u16)>,
    pub(super) control: UnboundedReceiver<Control>,
    /// Resolves when the process is to vanish.
    pub(super) killed: oneshot::Receiver<()>,
    pub(super) started: Ticket,
}

/// Starts processes for as long as its host has power.
pub(super) async fn supervise(shared: Rc<Shared>, mut boots: UnboundedReceiver<Boot>) -> ::turmoil::Result {
    let mut latest: BTreeMap<NodeRef, JoinHandle<()>> = BTreeMap::new();
    while let Some(boot) = boots.recv().await {
        // Its ports are free when the one before is gone.
        if let Some(before) = latest.remove(&boot.node) {
            let _ = before.await;
        }
        latest.insert(boot.node, spawn_local(incarnation(shared.clone(), boot)));
    }
    Ok(())
}

/// One process, from start to end.
async fn incarnation(shared: Rc<Shared>, boot: Boot) {
    let (host, node, number) = (boot.host, boot.node, boot.incarnation);
    let ended = match spawn_local(run(shared.clone(), boot)).await {
        Ok(Ok(ended)) => ended,
        Ok(Err(error)) => {
            shared.crash(node, &format!("the process cannot start: {error}"));
            None
        }
        // The shell's own code failed; a node's panics are caught where they happen.
        Err(error) => {
            if let Ok(panic) = error.try_into_panic() {
                shared.crash(node, &format!("in the shell: {}", crate::panic_text(panic.as_ref())));
            }
            None
        }
    };
    if let Some(how) = ended {
        shared.ended((host, node), number, how, &Ticket::default());
    }
}

async fn run(shared: Rc<Shared>, boot: Boot) -> io::Result<Option<Ending>> {
    let listeners = boot.listeners.iter().map(|(listener, port)| (*listener, Door::new(*port))).collect();
    let uptime = shared.hosts.borrow()[usize::from(boot.host.0)].uptime;
    let parts = Parts {
        rng: node_stream(identity(shared.seed, &boot.name), boot.incarnation.0),
        node: Box::new(Caught { machine: boot.machine, shared: shared.clone(), node: boot.node }),
        incarnation: boot.incarnation,
        net: Rc::new(TurmoilNet { shared: shared.clone(), me: boot.host }),
        listeners,
        caps: VersionCaps::default(),
        limits: Limits::default(),
        disk: NodeDisk::new(shared.clone(), boot.host, boot.node, boot.incarnation),
        clock: Clock::reading(shared.now() + uptime, shared.wall(boot.host)),
        observer: Watcher::new(shared.clone(), boot.host, boot.node, boot.incarnation, boot.started),
        meddler: Unmeddled,
        planted: shared.planted.get(),
        name: boot.name,
    };
    let process = process::run(parts, boot.control);
    Ok(tokio::select! {
        biased;
        _ = boot.killed => None,
        ending = process => Some(match ending {
            process::Ending::Exit => Ending::Exit,
            process::Ending::Halt { reason } => Ending::Halt { reason },
        }),
    })
}

/// A node whose panics end it, as a crash, and nothing else.
struct Caught {
    machine: Machine,
    shared: Rc<Shared>,
    node: NodeRef,
}

impl Node for Caught {
    fn handle(&mut self, now: Now, input: Input, out: &mut Outbox) {
        let mut machine = self.machine.borrow_mut();
        let handled = catch_unwind(AssertUnwindSafe(|| machine.handle(now, input, out)));
        if let Err(panic) = handled {
            let message = crate::panic_text(panic.as_ref());
            self.shared.crash(self.node, message);
            out.push(Output::Halt { reason: message.into() });
        }
    }
    fn inspect(&self) -> Inspection {
        self.machine.borrow().inspect()
    }
    fn is_open(&self) -> bool {
        self.machine.borrow().is_open()
    }
}
