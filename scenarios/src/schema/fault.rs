//! Faults as scenario files write them: durations with units, values to be drawn.

use super::notice::{Demand, Notice};
use super::source::Path;
use super::{Draw, Share, Span};
use klamm_model::units::Duration;
use klamm_world::faults::{Action, DiskErrorOn, Planned, Who};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// `"b1"` or `["b1", "b2"]`.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl OneOrMany {
    fn list(&self) -> Vec<Who> {
        match self {
            OneOrMany::One(w) => vec![Who(w.clone())],
            OneOrMany::Many(list) => list.iter().cloned().map(Who).collect(),
        }
    }
}

/// One `[[fault]]`. Which fields a kind needs and knows is checked when the scenario is loaded.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FaultSpec {
    #[schemars(schema_with = "kinds")]
    /// `kill`, `power-loss`, `restart`, `shutdown`, `pause`, `partition`, `isolate`, `latency`, `loss`, `reset`,
    /// `hold`, `unresolvable`, `disk-stall`, `disk-slow`, `disk-error`, `lying-fsync`, `bit-rot`, `disk-full`,
    /// `wipe`, `clock-step` or `clock-drift`.
    pub kind: String,
    /// To whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<OneOrMany>,
    /// Between whom: two sides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub between: Option<(OneOrMany, OneOrMany)>,
    /// From the first side to the second only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub one_way: bool,
    /// The earliest moment, from the beginning of hardship.
    pub at: Draw<Span>,
    /// How long; for kill, power-loss, shutdown and wipe: after which the host starts again.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Draw<Span>>,
    /// A condition to wait for, from `at` on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// How likely it is to happen at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chance: Option<Draw<Share>>,
    /// How often it happens, each time with its own draws.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<Draw<u32>>,
    /// latency: how much is added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Draw<Span>>,
    /// loss: which share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Draw<Share>>,
    /// hold: which API's messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// hold: responses instead of requests.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub responses: bool,
    /// disk-slow: by which factor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<Draw<u32>>,
    /// disk-error: which operations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "disk_operations")]
    pub on: Option<DiskErrorOn>,
    /// bit-rot: which partition's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// clock-step: by how many milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_ms: Option<Draw<i64>>,
    /// clock-drift: by how many parts per million.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ppm: Option<Draw<i64>>,
}

/// How often one `[[fault]]` may happen at most: each time is a line of the schedule.
pub const MAX_TIMES: u32 = 1000;

/// Every kind, with the fields it needs beyond `kind` and `at`, and what it does.
pub const KINDS: &[(&str, &[&str], &str)] = &[
    ("kill", &["who"], "the host's processes vanish; after `for` they start again"),
    ("power-loss", &["who"], "hosts lose power at one instant, and with it what was not fsynced"),
    ("restart", &["who"], "a dead host's processes start again"),
    ("shutdown", &["who"], "SIGTERM: a controlled shutdown; after `for` a start"),
    ("pause", &["who"], "nothing is processed; peers see silence"),
    ("partition", &["between"], "messages between two sides vanish; `one-way`: from the first to the second alone"),
    ("isolate", &["who"], "a partition from all others"),
    ("latency", &["between", "extra"], "messages between two sides take longer: `extra` to twice as much is added"),
    ("loss", &["between", "share"], "a share of the segments between two sides is lost, and sent again"),
    ("reset", &["between"], "every connection between two sides is reset"),
    (
        "hold",
        &["between", "api"],
        "one API's requests (`responses = true`: responses) are held back from the first side to the second",
    ),
    ("unresolvable", &["who"], "the host's name does not resolve"),
    ("disk-stall", &["who"], "the disk answers nothing"),
    ("disk-slow", &["who", "factor"], "the disk is slower by a factor"),
    ("disk-error", &["who", "on"], "the disk fails: `on` is \"write\", \"read\" or \"fsync\""),
    ("lying-fsync", &["who"], "the disk says that an fsync is done, and it is not"),
    ("bit-rot", &["who", "log"], "bits of a closed part of a partition's log flip"),
    ("disk-full", &["who"], "the disk has no space"),
    ("wipe", &["who"], "the host is killed, and its data directory is gone when it starts again"),
    ("clock-step", &["who", "by-ms"], "the wall clock jumps by so many milliseconds"),
    ("clock-drift", &["who", "ppm"], "the monotonic clock runs fast or slow"),
];

fn kinds(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": KINDS.iter().map(|(kind, ..)| *kind).collect::<Vec<_>>() })
}

fn disk_operations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": [DiskErrorOn::Write, DiskErrorOn::Read, DiskErrorOn::Fsync] })
}

impl FaultSpec {
    /// The fields given beyond `kind`, `at` and those every kind may have.
    fn given(&self) -> Vec<&'static str> {
        let fields = [
            ("who", self.who.is_some()),
            ("between", self.between.is_some()),
            ("extra", self.extra.is_some()),
            ("share", self.share.is_some()),
            ("api", self.api.is_some()),
            ("factor", self.factor.is_some()),
            ("on", self.on.is_some()),
            ("log", self.log.is_some()),
            ("by-ms", self.by_ms.is_some()),
            ("ppm", self.ppm.is_some()),
        ];
        fields.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect()
    }

    /// What is wrong with it, if anything is: the first of all.
    pub fn problem(&self) -> Option<Notice> {
        let mut problems = Vec::new();
        self.check(&Path::root(), &mut problems);
        (!problems.is_empty()).then(|| problems.swap_remove(0))
    }

    /// What is wrong with it by itself. It stands here.
    pub(super) fn check(&self, at: &Path, problems: &mut Vec<Notice>) {
        self.shape(at, problems);
        self.numbers(at, problems);
    }

    /// Numbers beyond which a fault is a slip of the finger, and would only hang or overflow, or change nothing.
    fn numbers(&self, at: &Path, problems: &mut Vec<Notice>) {
        let day = Span(Duration::from_secs(86_400));
        let some = |t: &Span| t.0 > Duration::ZERO && *t <= day;
        if let Some(times) = &self.times {
            let to = at.to("times");
            problems.demand(to.clone(), times, |n| *n <= MAX_TIMES, &format!("`times` must be at most {MAX_TIMES}"));
            if times.extremes().into_iter().all(|n| *n == 0) {
                problems.push(Notice::new("a fault of 0 `times` never happens", to));
            }
        }
        problems.demand(at.to("at"), &self.at, |t| *t <= day, "`at` is over a day");
        problems.demand_some(at.to("for"), &self.lasts, some, "`for` must lie above 0 and within a day");
        problems.demand_some(at.to("extra"), &self.extra, some, "`extra` must lie above 0 and within a day");
        let factor = "`factor` must lie between 1 and 1000000";
        problems.demand_some(at.to("factor"), &self.factor, |n| (1..=1_000_000).contains(n), factor);
        let ppm = "`ppm` must lie between -100000 and 100000";
        problems.demand_some(at.to("ppm"), &self.ppm, |n| (-100_000..=100_000).contains(n), ppm);
        let by = "`by-ms` must lie within a day, either way";
        problems.demand_some(at.to("by-ms"), &self.by_ms, |n| (-86_400_000..=86_400_000).contains(n), by);
    }

    /// The fields that its kind needs, and no others.
    fn shape(&self, at: &Path, problems: &mut Vec<Notice>) {
        let kind = self.kind.as_str();
        let Some((_, needs, _)) = KINDS.iter().find(|(k, ..)| *k == kind) else {
            let nearest = crate::suggest::nearest(kind, KINDS.iter().map(|(k, ..)| *k));
            problems.push(Notice::new(format!("there is no fault `{kind}`{nearest}"), at.to("kind")));
            return;
        };
        let given = self.given();
        for missing in needs.iter().filter(|n| !given.contains(n)) {
            let message = format!("a fault of kind `{kind}` needs `{missing}`");
            problems.push(Notice::new(message, at.to("kind")).needs(at.to(*missing)));
        }
        for extra in given.iter().filter(|g| !needs.contains(g)) {
            let takes = needs.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(" and ");
            let message = format!("a fault of kind `{kind}` has no `{extra}`; it takes {takes}");
            problems.push(Notice::of_key(message, at.to(*extra)).needs(at.to("kind")));
        }
        let sides = self.between.as_ref().map(|(a, b)| [("between", Some(0), a), ("between", Some(1), b)]);
        let who = self.who.as_ref().map(|who| ("who", None, who));
        for (key, side, all) in sides.into_iter().flatten().chain(who) {
            let at = side.map_or(at.to(key), |side: usize| at.to(key).to(side));
            if all.list().is_empty() {
                problems.push(Notice::new(format!("`{key}` names no host"), at));
            }
        }
        if !matches!(kind, "power-loss" | "isolate") && self.who.as_ref().is_some_and(|who| who.list().len() > 1) {
            let message = format!("a fault of kind `{kind}` happens to one; give each a [[fault]] of its own");
            problems.push(Notice::new(message, at.to("who")).needs(at.to("kind")));
        }
    }

    /// The expressions that say to whom it happens, each with its place.
    pub(super) fn expressions(&self, at: &Path) -> Vec<(Path, &str)> {
        let sides = self.between.iter().flat_map(|(a, b)| [(at.to("between").to(0), a), (at.to("between").to(1), b)]);
        let groups = self.who.iter().map(|who| (at.to("who"), who)).chain(sides);
        groups
            .flat_map(|(at, all)| match all {
                OneOrMany::One(one) => vec![(at, one.as_str())],
                OneOrMany::Many(many) => many.iter().enumerate().map(|(n, one)| (at.to(n), one.as_str())).collect(),
            })
            .collect()
    }

    /// In words, without the numbers that are drawn, such as `kill leader(orders-0)`.
    pub fn words(&self) -> String {
        let all = |who: &OneOrMany| who.list().into_iter().map(|w| w.0).collect::<Vec<_>>().join(", ");
        let mut words = vec![self.kind.clone()];
        words.extend(self.api.clone());
        words.extend(self.responses.then(|| "responses".to_owned()));
        words.extend(self.on.map(|on| format!("of {on:?}").to_lowercase()));
        words.extend(self.log.as_ref().map(|log| format!("of {log} on")));
        words.extend(self.who.as_ref().map(all));
        if let Some((a, b)) = &self.between {
            let way = if self.one_way || self.kind == "hold" { "to" } else { "and" };
            words.push(format!("{} {way} {}", all(a), all(b)));
        }
        words.extend(self.when.as_ref().map(|when| format!("when {when}")));
        words.join(" ")
    }

    /// With every value at its first: what it says apart from its numbers.
    pub(crate) fn at_its_first(&self) -> FaultSpec {
        fn first<T: super::Atom>(draw: &Draw<T>) -> Draw<T> {
            Draw::Fixed(draw.settle(0))
        }
        FaultSpec {
            at: first(&self.at),
            lasts: self.lasts.as_ref().map(first),
            extra: self.extra.as_ref().map(first),
            share: self.share.as_ref().map(first),
            factor: self.factor.as_ref().map(first),
            by_ms: self.by_ms.as_ref().map(first),
            ppm: self.ppm.as_ref().map(first),
            ..self.clone()
        }
    }

    /// The planned fault of a settled, checked specification.
    pub fn plan(&self) -> Planned {
        let one = || self.who.as_ref().and_then(|w| w.list().into_iter().next()).expect("checked: has `who`");
        let (a, b) = match (&self.between, &self.who) {
            (Some((a, b)), _) => (a.list(), b.list()),
            (None, Some(w)) => (w.list(), vec![Who("others".to_owned())]),
            (None, None) => (Vec::new(), Vec::new()),
        };
        let one_way = self.one_way;
        let action = match self.kind.as_str() {
            "kill" => Action::Kill { who: one() },
            "power-loss" => Action::PowerLoss { who: self.who.as_ref().map(OneOrMany::list).unwrap_or_default() },
            "restart" => Action::Restart { who: one() },
            "shutdown" => Action::Shutdown { who: one() },
            "pause" => Action::Pause { who: one() },
            "partition" | "isolate" => Action::Partition { a, b, one_way },
            "latency" => Action::Latency { a, b, extra: self.extra.as_ref().map_or(0, |e| e.get().0.as_nanos()) },
            "loss" => Action::Loss { a, b, ppm: self.share.as_ref().map_or(0, |s| s.get().0) },
            "reset" => Action::Reset { a, b },
            "hold" => {
                let api = self.api.clone().unwrap_or_default();
                Action::Hold { api, responses: self.responses, from: a, to: b }
            }
            "unresolvable" => Action::Unresolvable { who: one() },
            "disk-stall" => Action::DiskStall { who: one() },
            "disk-slow" => Action::DiskSlow { who: one(), factor: self.factor.as_ref().map_or(1, |f| *f.get()) },
            "disk-error" => Action::DiskError { who: one(), on: self.on.expect("checked: has `on`") },
            "lying-fsync" => Action::LyingFsync { who: one() },
            "bit-rot" => Action::BitRot { who: one(), log: self.log.clone().unwrap_or_default() },
            "disk-full" => Action::DiskFull { who: one() },
            "wipe" => Action::Wipe { who: one() },
            "clock-step" => Action::ClockStep { who: one(), by_ms: self.by_ms.as_ref().map_or(0, |b| *b.get()) },
            "clock-drift" => Action::ClockDrift { who: one(), ppm: self.ppm.as_ref().map_or(0, |p| *p.get() as i32) },
            other => unreachable!("checked: `{other}` is a kind of fault"),
        };
        Planned {
            at: self.at.get().0.as_nanos(),
            when: self.when.clone(),
            after: None,
            lasts: self.lasts.as_ref().map(|d| d.get().0.as_nanos()),
            of: None,
            action,
        }
    }
}
