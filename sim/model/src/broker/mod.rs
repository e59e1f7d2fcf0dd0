//! A broker.

mod spec;

pub use spec::{BrokerSpec, Truncation};

use crate::inspect::{BrokerInspection, Inspection};
use crate::node::{Input, Node, Outbox};
use crate::units::Now;

/// A broker node.
#[derive(Debug)]
pub struct Broker {
    spec: BrokerSpec,
}

impl Broker {
    /// A process that has not started yet.
    pub fn new(spec: BrokerSpec) -> Broker {
        Broker { spec }
    }
}

impl Node for Broker {
    fn handle(&mut self, _now: Now, _input: Input, _out: &mut Outbox) {}

    fn inspect(&self) -> Inspection {
        Inspection::Broker(BrokerInspection { id: self.spec.id, ..BrokerInspection::default() })
    }
}
