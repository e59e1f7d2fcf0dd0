//! Creates a run's topics and waits until each of their partitions is led and fully in sync.

use super::{Reach, split};
use klamm_model::client::admin::{Admin, AdminConfig, AdminEvent, NewTopic};
use klamm_model::inspect::{ClientInspection, Inspection};
use klamm_model::node::{Input, Node, Outbox, Output};
use klamm_model::timers::Timers;
use klamm_model::units::{Duration, Now};

/// The pause between two looks at a topic that is not ready.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What is created.
#[derive(Clone, Debug)]
pub struct SetupSpec {
    /// How it reaches the cluster.
    pub reach: Reach,
    /// The topics.
    pub topics: Vec<NewTopic>,
}

/// The application.
#[derive(Debug)]
pub struct SetupApp {
    spec: SetupSpec,
    admin: Admin,
    ready: Vec<bool>,
    looks: Timers<usize>,
}

impl SetupApp {
    /// A new process.
    pub fn new(spec: SetupSpec) -> SetupApp {
        let admin = Admin::new(AdminConfig::kafka_defaults(), spec.reach.bootstrap.clone(), spec.reach.caps.clone());
        SetupApp { ready: vec![false; spec.topics.len()], spec, admin, looks: Timers::default() }
    }

    fn on_event(&mut self, now: Now, event: AdminEvent) {
        match event {
            AdminEvent::TopicCreated { id, .. } => {
                self.admin.describe_topic(now, self.spec.topics[id as usize].name.clone(), id);
            }
            AdminEvent::Topic { id, topic } => {
                let wanted = &self.spec.topics[id as usize];
                let led = topic.partitions.len() == wanted.partitions as usize
                    && topic
                        .partitions
                        .iter()
                        .all(|p| p.leader.is_some() && p.isr.len() == wanted.replication as usize);
                if led {
                    self.ready[id as usize] = true;
                } else {
                    self.looks.set(now.mono + LOOK_AGAIN, id as usize);
                }
            }
            // An earlier attempt whose answer was lost may have succeeded.
            AdminEvent::Failed { id, error: "TOPIC_ALREADY_EXISTS" } => {
                self.admin.describe_topic(now, self.spec.topics[id as usize].name.clone(), id);
            }
            // Anything else passes, in time: the whole operation begins again.
            AdminEvent::Failed { id, .. } => {
                self.looks.set(now.mono + LOOK_AGAIN, id as usize);
            }
            _ => {}
        }
    }

    /// One input, or none; says the next deadlines either way. Gives the input back if it is not its own.
    pub(super) fn step(&mut self, now: Now, input: Option<Input>, out: &mut Outbox) -> Option<Input> {
        let mut rest = None;
        match input {
            Some(Input::Start { mut rng, .. }) => {
                self.admin.start(now, split(&mut rng));
                for (id, topic) in self.spec.topics.iter().enumerate() {
                    self.admin.create_topic(now, topic.clone(), id as u64);
                }
            }
            Some(Input::Shutdown) => out.push(Output::Exit),
            Some(other) => {
                rest = self.admin.on_input(now, other, out);
            }
            None => {}
        }
        while let Some(id) = self.looks.pop_due(now.mono) {
            self.admin.create_topic(now, self.spec.topics[id].clone(), id as u64);
        }
        self.admin.poll(now, out);
        while let Some(event) = self.admin.next_event() {
            self.on_event(now, event);
        }
        self.admin.poll(now, out);
        self.looks.arm(out);
        rest
    }

    /// Whether every topic is ready.
    pub(super) fn is_done(&self) -> bool {
        self.ready.iter().all(|r| *r)
    }
}

impl Node for SetupApp {
    fn handle(&mut self, now: Now, input: Input, out: &mut Outbox) {
        let _not_ours = self.step(now, Some(input), out);
    }

    fn inspect(&self) -> Inspection {
        Inspection::Client(ClientInspection { done: self.is_done(), ..ClientInspection::default() })
    }
}
