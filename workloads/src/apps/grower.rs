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
    /// When each topic is asked for, again or for the first time; `None` while a request is under way.
    due: Vec<Option<Instant>>,
    open: usize,
}

/// The operator's patience, after a refusal.
const TRY_AGAIN: Duration = Duration::from_secs(1);

impl GrowerApp {
    /// A new process.
    pub fn new(spec: GrowerSpec) -> GrowerApp {
        let reach = spec.reach.clone();
        let admin = Admin::new(AdminConfig::kafka_defaults(), reach.bootstrap, reach.caps);
        GrowerApp { due: vec![None; spec.topics.len()], open: spec.topics.len(), spec, admin }
    }
}

impl Node for GrowerApp {
    fn handle(&mut self, now: Now, input: Input, out: &mut Outbox) {
        match input {
            Input::Start { mut rng, .. } => {
                self.due = self.spec.topics.iter().map(|(_, _, after)| Some(now.mono + *after)).collect();
                self.admin.start(now, split(&mut rng));
            }
            Input::Shutdown => out.push(Output::Exit),
            other => {
                let _not_ours = self.admin.on_input(now, other, out);
            }
        }
        for (at, (topic, count, _)) in self.spec.topics.iter().enumerate() {
            if self.due[at].is_some_and(|due| now.mono >= due) {
                self.due[at] = None;
                self.admin.create_partitions(now, topic.clone(), *count, at as u64);
            }
        }
        self.admin.poll(now, out);
        while let Some(event) = self.admin.next_event() {
            match event {
                AdminEvent::PartitionsCreated { .. } => self.open -= 1,
                // A cluster in trouble may take longer than the client's patience; the operator does not give up.
                AdminEvent::Failed { id, .. } => self.due[id as usize] = Some(now.mono + TRY_AGAIN),
                _ => {}
            }
        }
        self.due.iter().flatten().for_each(|&due| out.wake_at(due));
    }

    fn inspect(&self) -> Inspection {
        let reach = vec![self.admin.reach()];
        Inspection::Client(ClientInspection { done: self.open == 0, reach, ..ClientInspection::default() })
    }
}
