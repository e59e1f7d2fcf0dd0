//! What a scenario file says.
//!
//! TOML; unknown keys are refused with a suggestion. Kafka's settings stand in their own tables, under Kafka's own
//! names. A value may be fixed, a list to choose from, or a range to draw from; [`resolve`] settles all of them
//! for one seed, and what comes out is a scenario again: a failure folder's `scenario.toml` is just that.

mod bounds;
mod check;
mod draw;
mod drawn;
mod expect;
mod fault;
mod grammar;
mod load;
mod machines;
mod matrix;
mod names;
mod notice;
mod published;
mod resolve;
mod settings;
mod source;

pub use check::{check, hosts};
pub use draw::{Atom, Bandwidth, Draw, Setting, Share, Size, Span};
pub use fault::{FaultSpec, KINDS, MAX_TIMES, OneOrMany};
pub use load::{MAX_FILE_BYTES, checked, load, parse, parse_drawn, to_toml};
pub use machines::{Disk, DiskTable, Latency, Network, NetworkTable};
pub use matrix::{Variant, VariantSpec, variants};
pub use notice::Notice;
pub use published::json_schema;
pub use resolve::{Settled, keyed, resolve, resolve_faults, settled_faults};
pub use source::Path;

use klamm_model::checks::Check;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Kafka settings: Kafka's key to a value to be settled.
pub type Settings = BTreeMap<String, Draw<Setting>>;

/// One scenario.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scenario {
    /// Its name, in kebab-case; part of every seed.
    pub name: String,
    /// What happens, in a sentence.
    pub summary: String,
    /// What it promises, in a sentence.
    #[serde(default)]
    pub promise: String,
    /// Suites it belongs to, and other marks to filter by.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Length of hardship, in virtual time.
    pub duration: Draw<Span>,
    /// How much of it is not measured: connections are made and first metadata is fetched. Judged all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_up: Option<Draw<Span>>,
    /// By when the last effect of a record should have come, counted from its origin's intended send time. Nothing fails
    /// for it: the share beyond it is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Draw<Span>>,
    /// By when, after the faults have ended, everything must have settled, in virtual time.
    pub converge_within: Draw<Span>,
    /// How many seeds `klamm compare` gives each variant, if it is not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seeds: Option<u32>,
    /// Which world it needs, if not any: only for scenarios about the harness itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub canary: bool,
    /// The machines.
    #[serde(default)]
    pub cluster: Cluster,
    /// Settings of every broker and controller.
    #[serde(default)]
    pub broker: Settings,
    /// Topics.
    #[serde(rename = "topic")]
    pub topics: Vec<TopicSpec>,
    /// Who puts load on them.
    #[serde(default)]
    pub clients: Vec<ClientSpec>,
    /// What goes wrong.
    #[serde(default, rename = "fault")]
    pub faults: Vec<FaultSpec>,
    /// What must and may be found.
    #[serde(default)]
    pub expect: Expect,
    /// What `klamm compare` varies: each setting with the values to compare, in every combination.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub matrix: Settings,
    /// Named sets of settings that `klamm compare` compares.
    #[serde(default, rename = "variant", skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<VariantSpec>,
}

/// The machines and what connects them.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Cluster {
    /// How many brokers, on hosts `b1`, `b2`, ...
    pub brokers: Draw<u32>,
    /// How many controllers, on hosts `c1`, ... One, for now.
    pub controllers: Draw<u32>,
    /// Whether controllers live on the brokers' hosts.
    pub colocate: Draw<bool>,
    /// All clients on one host `clients` instead of one host each.
    pub clients_on_one_host: bool,
    /// The network.
    pub network: Network,
    /// The disks: a named profile, or a table.
    pub disk: Disk,
    /// How followers find where to truncate: `fetch` (Kafka 2.7 and later) or `offset-for-leader-epoch`.
    pub truncation: Draw<String>,
    /// Eligible leader replicas (KIP-966).
    pub elr: Draw<bool>,
    /// A host's clock may be off by this much at the start, either way.
    pub clock_offset: Draw<Span>,
    /// A host's clock may run fast or slow by this many parts per million, either way.
    pub clock_drift_ppm: Draw<u32>,
}

impl Default for Cluster {
    fn default() -> Self {
        Cluster {
            brokers: Draw::Fixed(3),
            controllers: Draw::Fixed(1),
            colocate: Draw::Fixed(false),
            clients_on_one_host: false,
            network: Network::default(),
            disk: Disk::default(),
            truncation: Draw::Fixed("fetch".to_owned()),
            elr: Draw::Fixed(true),
            clock_offset: Draw::Fixed(Span::parse("0s").expect("a time")),
            clock_drift_ppm: Draw::Fixed(0),
        }
    }
}

/// A topic.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// How many partitions.
    #[serde(default = "one")]
    pub partitions: Draw<u32>,
    /// How many replicas of each.
    #[serde(default = "three")]
    pub replication: Draw<u32>,
    /// Whether it gains partitions on the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grow: Option<GrowSpec>,
    /// Its settings.
    #[serde(default)]
    pub config: Settings,
}

/// A topic that gains partitions.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GrowSpec {
    /// How many it has then.
    pub to: Draw<u32>,
    /// When, after the beginning of hardship.
    pub at: Draw<Span>,
}

fn one() -> Draw<u32> {
    Draw::Fixed(1)
}

fn three() -> Draw<u32> {
    Draw::Fixed(3)
}

/// A kind of client application.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClientKind {
    /// Sends records to a topic.
    Producer,
    /// Reads every partition of a topic, and asks for its offsets now and then.
    Consumer,
    /// Members of the group that `group.id` names, on hosts `m1`, `m2`, ...
    Group,
}

/// Some client applications of one kind.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ClientSpec {
    /// What they do.
    pub kind: ClientKind,
    /// How many.
    #[serde(default = "one")]
    pub count: Draw<u32>,
    /// Which topic; the first, if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// What a producer sends, and when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadSpec>,
    /// A producer's partition, instead of its partitioner's choice: `spread` sends round robin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<Draw<u32>>,
    /// A consumer is an instance of a read model: it keeps the latest value of each key, and begins anew at each start.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_model: bool,
    /// How often a consumer asks for the earliest and latest offsets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list_offsets_every: Option<Draw<Span>>,
    /// What a group member does with its records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<MemberSpec>,
    /// Their settings.
    #[serde(default)]
    pub config: Settings,
}

/// What a group member does with its records.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct MemberSpec {
    /// `finish-then-commit` (at least once), `commit-then-finish` (at most once) or `hand-off` (to workers, while
    /// polling goes on).
    pub processing: Draw<String>,
    /// `sync` or `async`, unless `enable.auto.commit` leaves it to the consumer.
    pub commit: Draw<String>,
    /// The mean time a record takes.
    pub service_time: Draw<Span>,
    /// Its distribution: `constant`, `exponential` or `heavy-tailed`.
    pub service_shape: Draw<String>,
    /// Workers of each member, with `hand-off`.
    pub workers: Draw<u32>,
    /// Whether each record has an effect outside Kafka.
    pub effects: bool,
    /// Whether members are static (KIP-345), each under its host's name.
    #[serde(rename = "static")]
    pub fixed: bool,
    /// What follows from each record: the member is a service between topics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward: Option<ForwardSpec>,
    /// Members that stay away from `poll` now and then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stall: Option<StallSpec>,
    /// How long after the beginning of hardship members join; of a range, drawn for each.
    pub join_after: Draw<Span>,
    /// How long after their start members leave for good; of a range, drawn for each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leave_after: Option<Draw<Span>>,
}

impl Default for MemberSpec {
    fn default() -> Self {
        let fixed = |text: &str| Draw::Fixed(text.to_owned());
        let none = Draw::Fixed(Span::parse("0s").expect("a time"));
        MemberSpec {
            processing: fixed("finish-then-commit"),
            commit: fixed("sync"),
            service_time: none.clone(),
            service_shape: fixed("exponential"),
            workers: Draw::Fixed(4),
            effects: false,
            fixed: false,
            forward: None,
            stall: None,
            join_after: none,
            leave_after: None,
        }
    }
}

/// A service: from each record follows one in each of some topics, under the same key. A record is handled, and its
/// offset committed, once these are acknowledged.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ForwardSpec {
    /// The topics that each get a record.
    pub to: Vec<String>,
    /// Some records have another outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declines: Option<DeclineSpec>,
    /// Size of the new records' values, at least 16 bytes; a range is drawn for each.
    #[serde(default = "hundred_bytes")]
    pub value: Draw<Size>,
    /// The settings of the service's producer.
    #[serde(default)]
    pub config: Settings,
}

/// Records that a service declines: from each follows one record in another topic, and nothing else.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DeclineSpec {
    /// How many in a thousand. Whether one is declined depends on the record alone.
    pub per_mille: Draw<u32>,
    /// The topic.
    pub to: String,
}

/// Members that stay away from `poll` now and then, as if a handler hung. Their heartbeats go on.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StallSpec {
    /// The mean time between two.
    pub every: Draw<Span>,
    /// How long each takes.
    #[serde(rename = "for")]
    pub lasts: Draw<Span>,
}

/// What a producer sends, and when.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LoadSpec {
    /// Records per second, each producer; in a closed loop, no limit if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Draw<u32>>,
    /// `constant`, `poisson`, `bursts` (five times the rate for a fifth of each second) or `closed` (the next
    /// record is sent when one of `in-flight` has resolved).
    #[serde(default = "poisson")]
    pub arrivals: Draw<String>,
    /// Records under way in a closed loop.
    #[serde(default = "one")]
    pub in_flight: Draw<u32>,
    /// Stop after so many records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<Draw<u32>>,
    /// Keys.
    #[serde(default)]
    pub key: KeySpec,
    /// Size of a value, at least 16 bytes; a range is drawn for each record.
    #[serde(default = "hundred_bytes")]
    pub value: Draw<Size>,
    /// How many records in a thousand have no value, but delete their key: tombstones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tombstones: Option<Draw<u32>>,
}

fn poisson() -> Draw<String> {
    Draw::Fixed("poisson".to_owned())
}

fn hundred_bytes() -> Draw<Size> {
    Draw::Fixed(Size(100))
}

/// Which keys records carry.
#[derive(Clone, PartialEq, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct KeySpec {
    /// `{ none = true }`, the default: no keys.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub none: bool,
    /// `{ uniform = 100 }`: this many keys, equally often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uniform: Option<u32>,
    /// `{ zipf = 0.99, of = 1000 }`: the exponent; the first keys most often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zipf: Option<f64>,
    /// How many keys, with `zipf`; 1000 if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u32>,
}

/// What must be found and what may be.
#[derive(Clone, PartialEq, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Expect {
    /// Marks that must be seen at least once over the seeds run.
    pub sometimes: Vec<String>,
    /// A hazard: these violations must be seen at least once over the seeds run. They do not fail a seed.
    pub violations: Vec<String>,
    /// Violations that are tolerated, not demanded.
    pub permits: Vec<String>,
    /// Checks of which no finding is permitted here, whatever its cause: each is a violation.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forbid: Vec<String>,
    /// Every check is forbidden that is neither in `violations` nor in `permits`. `--strict` sets it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
    /// Whether the schedule may go beyond the fault budget.
    pub beyond_budget: bool,
    /// Convergence is not demanded (data was declared lost and a partition may stay without a leader).
    pub unavailable: bool,
}

impl Expect {
    /// Whether findings of a check are violations although something permits them.
    pub fn forbids(&self, check: Check) -> bool {
        self.strict || self.forbid.iter().any(|c| c == check.name())
    }
    /// Whether violations of a check do not fail a seed.
    pub fn tolerates(&self, check: Check) -> bool {
        self.tolerated().any(|c| c == check.name())
    }
    /// The checks that may be violated.
    pub(super) fn tolerated(&self) -> impl Iterator<Item = &String> {
        self.violations.iter().chain(&self.permits)
    }
}
