//! Everybody who watches one seed, as one: faults, invariants, oracles, measures, the recorder.

use super::build::{Options, is_load};
use super::flows::Flows;
use super::marks::{MARKS, REBUILT_DURING_A_FAULT};
use super::measure::Measure;
use super::moves::Moves;
use super::rebalances::Rebalances;
use super::story;
use crate::interrupt::Interrupt;
use crate::schema::Scenario;
use klamm_model::history::{Acks, Entry, Op, Outcome, ReadRecord, TopicPartition};
use klamm_model::ids::{ClientId, Incarnation, TopicIdPartition};
use klamm_model::trace::TraceEvent;
use klamm_reports::record::Judged;
use klamm_workloads::oracles::{Judge, UNDECODABLE};
use klamm_world::event::{ConnEnd, Event, NodeRef, Observer, Ordinal, What};
use klamm_world::faults::Injector;
use klamm_world::invariants::Invariants;
use klamm_world::world::{Driver, World};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One line of `trace.jsonl`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct TraceLine {
    /// Its place in the run.
    pub ordinal: u64,
    /// What led to it.
    pub cause: u64,
    /// Virtual nanoseconds.
    pub at: u64,
    /// The node's or host's name.
    pub place: String,
    /// What kind of event.
    pub kind: &'static str,
    /// In words.
    pub text: String,
}

/// What a recorded seed leaves.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// Every operation.
    pub history: Vec<Entry>,
    /// Every event.
    pub trace: Vec<TraceLine>,
}

/// Turns events into lines.
struct Recorder {
    recording: Recording,
    nodes: Vec<String>,
    hosts: Vec<String>,
    names: Box<dyn Fn(ConnEnd) -> String>,
}

/// Everybody who watches.
pub struct Watch {
    /// Faults; acts on the world.
    pub injector: Injector,
    /// White-box checks.
    pub invariants: Invariants,
    /// Black-box checks.
    pub judge: Judge,
    /// Figures.
    pub measure: Measure,
    /// What rebalances cost.
    pub rebalances: Rebalances,
    /// What becomes of records on their way through services.
    pub flows: Flows,
    /// Marks seen, and how often.
    pub marks: BTreeMap<&'static str, u64>,
    moves: Moves,
    /// How many compactions were told to the judge.
    compactions: usize,
    /// The last event.
    pub last: Ordinal,
    /// The run is over: what happens now is no part of it.
    pub over: bool,
    /// What the load's clients gave the judge.
    pub judged: Judged,
    /// Whether the run is given up, and how often that was asked.
    interrupt: Option<Arc<Interrupt>>,
    asked: u32,
    incarnations: Vec<Incarnation>,
    clients: Vec<Option<ClientId>>,
    recorder: Option<Recorder>,
}

/// How many steps pass between two looks at whether the run is given up.
const STEPS: u32 = 1 << 10;

impl Watch {
    /// Watches a world about to start.
    pub fn new(
        sim: &dyn World,
        scenario: &Scenario,
        injector: Injector,
        invariants: Invariants,
        judge: Judge,
        options: &Options,
    ) -> Watch {
        let clients = sim
            .nodes()
            .map(|n| match sim.node_kind(n) {
                klamm_world::des::NodeKind::Client(id) => Some(id),
                _ => None,
            })
            .collect::<Vec<_>>();
        let recorder = options.record.then(|| Recorder {
            recording: Recording::default(),
            nodes: sim.nodes().map(|n| sim.node_name(n).to_owned()).collect(),
            hosts: sim.hosts().map(|h| sim.host_name(h).to_owned()).collect(),
            names: Box::new(story::namer(sim)),
        });
        Watch {
            injector,
            invariants,
            judge,
            measure: Measure::new(options.record || options.timeline),
            rebalances: Rebalances::new(options.record || options.timeline),
            flows: Flows::new(scenario, options.record || options.timeline),
            marks: BTreeMap::new(),
            moves: Moves::default(),
            compactions: 0,
            last: Ordinal(0),
            over: false,
            judged: Judged::default(),
            interrupt: options.interrupt.clone(),
            asked: 0,
            incarnations: vec![Incarnation(0); clients.len()],
            clients,
            recorder,
        }
    }

    /// The names of client applications.
    pub fn client_names(&self, sim: &dyn World) -> BTreeMap<ClientId, String> {
        let named = sim.nodes().zip(&self.clients);
        named.filter_map(|(node, client)| Some(((*client)?, sim.node_name(node).to_owned()))).collect()
    }

    /// What was recorded, if anything was.
    pub fn take_recording(&mut self) -> Option<Recording> {
        self.recorder.take().map(|r| r.recording)
    }

    fn mark(&mut self, mark: &'static str) {
        *self.marks.entry(mark).or_insert_with(|| {
            debug_assert!(MARKS.contains(&mark), "the mark `{mark}` is not in MARKS");
            0
        }) += 1;
    }

    fn op(&mut self, event: &Event<'_>, node: NodeRef, op: &Op) {
        let place = usize::from(node.0);
        let Some(client) = self.clients[place] else { return };
        let entry = Entry { at: event.at.as_nanos(), client, incarnation: self.incarnations[place], op: op.clone() };
        self.judge.entry(&entry);
        self.judged(&entry);
        if matches!(op, Op::ReadModel { .. }) && entry.incarnation.0 > 1 && self.injector.is_under_way() {
            self.mark(REBUILT_DURING_A_FAULT);
        }
        self.measure.entry(&entry);
        self.rebalances.entry(&entry);
        self.flows.entry(&entry);
        if let Some(r) = &mut self.recorder {
            r.recording.history.push(entry);
        }
    }

    /// Counts what there is to judge: acknowledgements that the load's clients got, and whether anything of theirs was
    /// read. What the harness's own clients send proves nothing about the load.
    fn judged(&mut self, entry: &Entry) {
        match &entry.op {
            Op::Producer { facts } if is_load(entry.client) => self.judged.asks |= facts.acks != Acks::None,
            Op::Send { .. } if is_load(entry.client) => self.judged.sends += 1,
            Op::Sent { outcome: Outcome::Ok, .. } if is_load(entry.client) => self.judged.acknowledged += 1,
            Op::Sent { outcome: Outcome::Fail, .. } if is_load(entry.client) => self.judged.refused += 1,
            Op::Poll { records, .. } if self.judged.read == 0 => {
                let of_load = |r: &ReadRecord| r.value != UNDECODABLE && is_load(r.value.client());
                self.judged.read = u64::from(records.iter().any(of_load));
            }
            _ => {}
        }
    }

    fn trace(&mut self, at: u64, event: &TraceEvent) {
        match event {
            TraceEvent::GroupState { .. } => self.rebalances.state(at, event),
            TraceEvent::HighWatermark { partition, leading: true, high_watermark, .. }
                if self.rebalances.follows_ends() =>
            {
                if let Some(topic) = self.injector.facts().topics.get(&partition.topic) {
                    let source = TopicPartition { topic: topic.as_str().into(), partition: partition.partition };
                    self.rebalances.end(source, high_watermark.0);
                    self.rebalances.lag(at);
                }
            }
            TraceEvent::Mark { mark } => self.mark(mark),
            TraceEvent::LogStart { partition, log_start, .. } => self.log_start(*partition, *log_start),
            _ => {}
        }
    }

    /// What compaction took away leaves the judge's memory, before anybody can read what is left.
    fn compacted(&mut self) {
        let all = self.invariants.compactions();
        for compaction in &all[self.compactions..] {
            if let Some(topic) = self.injector.facts().topics.get(&compaction.partition.topic) {
                let partition = compaction.partition.partition;
                let source = TopicPartition { topic: topic.as_str().into(), partition };
                self.judge.compacted(&source, &compaction.offsets);
            }
        }
        self.compactions = all.len();
    }

    fn log_start(&mut self, partition: TopicIdPartition, log_start: klamm_model::ids::Offset) {
        if let Some(topic) = self.injector.facts().topics.get(&partition.topic) {
            let source = TopicPartition { topic: topic.as_str().into(), partition: partition.partition };
            self.judge.log_start(&source, log_start);
        }
    }
}

impl Observer for Watch {
    fn event(&mut self, event: &Event<'_>) {
        if self.over {
            return;
        }
        self.last = event.ordinal;
        self.injector.event(event);
        self.invariants.event(event);
        self.compacted();
        let home = |group: &str| self.injector.view().group_home(group).map(|(home, _)| home);
        if let Some(mark) = self.moves.event(event, home) {
            self.mark(mark);
        }
        match (&event.what, event.node) {
            (What::Op(op), Some(node)) => self.op(event, node, op),
            (What::Trace(trace), _) => self.trace(event.at.as_nanos(), trace),
            (What::Started { incarnation }, Some(node)) => self.incarnations[usize::from(node.0)] = *incarnation,
            (What::Ended { .. }, Some(node)) => {
                if let Some(client) = self.clients[usize::from(node.0)] {
                    self.rebalances.ended(client, event.at.as_nanos());
                    self.flows.ended(client, event.at.as_nanos());
                }
            }
            _ => {}
        }
        if let Some(r) = &mut self.recorder {
            let (kind, text) = story::tell(event, &r.names);
            let place = event
                .node
                .and_then(|n| r.nodes.get(usize::from(n.0)))
                .or_else(|| event.host.and_then(|h| r.hosts.get(usize::from(h.0))));
            let place = place.cloned().unwrap_or_default();
            let (ordinal, cause, at) = (event.ordinal.0, event.cause.0, event.at.as_nanos());
            r.recording.trace.push(TraceLine { ordinal, cause, at, place, kind, text });
        }
    }
}

impl Driver for Watch {
    fn next_action_at(&self) -> Option<klamm_model::units::Instant> {
        self.injector.next_action_at()
    }
    fn wants_to_act(&self) -> bool {
        self.injector.wants_to_act()
    }
    fn act(&mut self, sim: &mut dyn World) {
        self.injector.act(sim);
    }
    fn gives_up(&mut self) -> bool {
        self.asked = self.asked.wrapping_add(1);
        self.asked.is_multiple_of(STEPS) && self.interrupt.as_ref().is_some_and(|i| i.gives_up())
    }
}
