//! What happens between steps, by a fault's hand: numbered at once, told to those who watch before the next event.

use super::Sim;
use crate::event::*;
use crate::faults::Action;
use klamm_model::ids::Incarnation;

/// As [`What`], but owned.
#[derive(Debug)]
pub(super) enum Notice {
    Phase(Phase),
    Fault { action: Action, over: bool },
    Started { incarnation: Incarnation },
    Ended { incarnation: Incarnation, how: Ending },
    PowerLost { lost: Vec<LostData> },
    Damaged { ranges: Vec<LostData> },
}

/// A notice in its place.
#[derive(Debug)]
pub(super) struct Pending {
    ordinal: Ordinal,
    cause: Ordinal,
    host: Option<HostId>,
    node: Option<NodeRef>,
    what: Notice,
}

impl Sim {
    /// Numbers a notice and keeps it for those who watch.
    pub(super) fn notice(&mut self, host: Option<HostId>, node: Option<NodeRef>, what: Notice) -> Ordinal {
        self.ordinal += 1;
        let ordinal = Ordinal(self.ordinal);
        self.notices.push(Pending { ordinal, cause: self.cause, host, node, what });
        ordinal
    }

    /// Tells those who watch.
    pub(super) fn tell_notices(&mut self, observer: &mut dyn Observer) {
        for Pending { ordinal, cause, host, node, what } in std::mem::take(&mut self.notices) {
            let what = match &what {
                Notice::Phase(phase) => What::Phase(*phase),
                Notice::Fault { action, over } => What::Fault { action, over: *over },
                Notice::Started { incarnation } => What::Started { incarnation: *incarnation },
                Notice::Ended { incarnation, how } => What::Ended { incarnation: *incarnation, how },
                Notice::PowerLost { lost } => What::PowerLost { lost },
                Notice::Damaged { ranges } => What::Damaged { ranges },
            };
            self.tell(observer, ordinal, cause, host, node, what, 0);
        }
    }

    /// A phase begins.
    pub fn begin_phase(&mut self, phase: Phase) -> Ordinal {
        self.notice(None, None, Notice::Phase(phase))
    }

    /// Announces a fault, or its end. Call it before the fault's own call: what follows has it as its cause.
    pub fn announce_fault(&mut self, action: Action, over: bool) -> Ordinal {
        self.cause = Ordinal(0);
        self.cause = self.notice(None, None, Notice::Fault { action, over });
        self.cause
    }

    /// Announces what a disk fault damaged.
    pub fn announce_damage(&mut self, host: HostId, ranges: Vec<LostData>) -> Ordinal {
        self.notice(Some(host), None, Notice::Damaged { ranges })
    }
}
