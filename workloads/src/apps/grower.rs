//! An operator who gives topics more partitions while others read and write them.

use super::{Reach, split};
use klamm_model::client::admin::{Admin, AdminConfig, AdminEvent};
use klamm_model::inspect::{ClientInspection, Inspection};
use klamm_model::node::{Input, Node, Outbox, Output};
use klamm_model::units::{Duration, Instant, Now};
use std::sync::Arc;

/// What grows, and when.
#[derive(Clone, Debug)]
pub struct GrowerSpec {
    /// How it reaches the cluster.
    pub reach: Reach,
    /// Topic, partitions it shall have in all, and how long after the start.
    pub topics: Vec<(Arc<str>, i32, Duration)>,
}

/// The application.
#[derive(Debug)]
pub struct GrowerApp {
    spec: GrowerSpec,
    admin: Admin,
    started: Instant,
    /// Of each topic: whether it was asked for, and whether it is done.
    state: Vec<(bool, bool)>,
}

impl GrowerApp {
    /// A new process.
    pub fn new(spec: GrowerSpec) -> GrowerApp {
        let reach = spec.reach.clone();
        let admin = Admin::new(AdminConfig::kafka_defaults(), reach.bootstrap, reach.caps);
        GrowerApp { state: vec![(false, false); spec.topics.len()], spec, admin, started: Instant::ZERO }
    }
}

impl Node for GrowerApp {
    fn handle(&mut self, now: Now, input: Input, out: &mut Outbox) {
        match input {
            Input::Start { mut rng, .. } => {
                self.started = now.mono;
                self.admin.start(now, split(&mut rng));
            }
            Input::Shutdown => out.push(Output::Exit),
            other => {
                let _not_ours = self.admin.on_input(now, other, out);
            }
        }
        for (at, (topic, count, after)) in self.spec.topics.iter().enumerate() {
            let due = self.started + *after;
            if !self.state[at].0 && now.mono >= due {
                self.state[at].0 = true;
                self.admin.create_partitions(now, topic.clone(), *count, at as u64);
            } else if !self.state[at].0 {
                out.wake_at(due);
            }
        }
        self.admin.poll(now, out);
        while let Some(event) = self.admin.next_event() {
            match event {
                AdminEvent::PartitionsCreated { id } => self.state[id as usize].1 = true,
                // A cluster in trouble may take longer than the client's patience; the operator does not give up.
                AdminEvent::Failed { id, .. } => self.state[id as usize].0 = false,
                _ => {}
            }
        }
    }

    fn inspect(&self) -> Inspection {
        let done = self.state.iter().all(|(_, done)| *done);
        Inspection::Client(ClientInspection { done, ..ClientInspection::default() })
    }
}
