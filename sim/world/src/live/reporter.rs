//! Says in the log what a node's start found on its disk, one line a place.

use crate::shell::observer::Observer;
use klamm_model::trace::TraceEvent;
use klamm_model::units::Now;
use std::sync::Arc;

/// Watches one node.
#[derive(Debug)]
pub struct Reporter {
    /// Its host's name.
    pub host: Arc<str>,
}

impl Observer for Reporter {
    fn trace(&mut self, _now: Now, event: &TraceEvent) {
        if let TraceEvent::Found { path, what } = event {
            tracing::warn!("{} found on its disk: {path}: {what}", self.host);
        }
    }
}
