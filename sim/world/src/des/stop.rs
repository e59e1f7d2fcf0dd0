//! Why the main loop came back, and who may act between events.

use super::Sim;
use crate::event::{NodeRef, Observer};
use klamm_model::units::Instant;

/// Why [`Sim::run_until`] came back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The moment asked for has come.
    Reached,
    /// A node panicked: the verdict `crash`. The run must not go on.
    Crashed {
        /// Whose code.
        node: NodeRef,
        /// The panic's message.
        message: Box<str>,
    },
    /// A budget was exceeded: the verdict `runaway`. The run must not go on.
    Runaway(Runaway),
}

/// A budget that was exceeded, with what happened most of late.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Runaway {
    /// Which budget, in words.
    pub budget: &'static str,
    /// Its bound.
    pub bound: u64,
    /// When.
    pub at: Instant,
    /// The hottest kinds of event among the latest: (where, what, how many).
    pub hottest: Vec<(Option<NodeRef>, &'static str, u32)>,
}

/// Somebody who watches and acts between events: the injector of faults.
pub trait Driver: Observer {
    /// When it next wants to act for the time alone. It then acts before any event of that instant that has not
    /// happened yet. Acting must move this on.
    fn next_action_at(&self) -> Option<Instant>;
    /// Whether what it has just seen makes it act at once, before the next event. Acting must clear this.
    fn wants_to_act(&self) -> bool;
    /// Acts on the world. What follows is observed before the next event.
    fn act(&mut self, sim: &mut Sim);
}
