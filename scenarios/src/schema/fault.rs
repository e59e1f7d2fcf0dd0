//! Faults as scenario files write them: durations with units, values to be drawn.

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

/// Every kind, with the fields it needs beyond `kind` and `at`.
pub const KINDS: &[(&str, &[&str])] = &[
    ("kill", &["who"]),
    ("power-loss", &["who"]),
    ("restart", &["who"]),
    ("shutdown", &["who"]),
    ("pause", &["who"]),
    ("partition", &["between"]),
    ("isolate", &["who"]),
    ("latency", &["between", "extra"]),
    ("loss", &["between", "share"]),
    ("reset", &["between"]),
    ("hold", &["between", "api"]),
    ("unresolvable", &["who"]),
    ("disk-stall", &["who"]),
    ("disk-slow", &["who", "factor"]),
    ("disk-error", &["who", "on"]),
    ("lying-fsync", &["who"]),
    ("bit-rot", &["who", "log"]),
    ("disk-full", &["who"]),
    ("wipe", &["who"]),
    ("clock-step", &["who", "by-ms"]),
    ("clock-drift", &["who", "ppm"]),
];

fn kinds(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": KINDS.iter().map(|(kind, _)| *kind).collect::<Vec<_>>() })
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

    /// What is wrong with it, if anything is, and with which of its fields (none: with its kind).
    pub fn problem(&self) -> Option<(String, &'static str)> {
        self.shape().map(|wrong| (wrong, "")).or_else(|| self.numbers())
    }

    /// Numbers beyond which a fault is a slip of the finger, and would only hang or overflow.
    fn numbers(&self) -> Option<(String, &'static str)> {
        fn beyond<T: super::Atom + PartialOrd>(draw: Option<&Draw<T>>, least: T, most: T) -> bool {
            draw.is_some_and(|draw| draw.extremes().into_iter().any(|v| *v < least || most < *v))
        }
        let none = Span(Duration::ZERO);
        let day = Span(Duration::from_secs(86_400));
        let checks = [
            (beyond(self.times.as_ref(), 0, MAX_TIMES), "times", format!("`times` must be at most {MAX_TIMES}")),
            (beyond(Some(&self.at), none, day), "at", "`at` is over a day".to_owned()),
            (beyond(self.lasts.as_ref(), none, day), "for", "`for` is over a day".to_owned()),
            (beyond(self.extra.as_ref(), none, day), "extra", "`extra` is over a day".to_owned()),
            (
                beyond(self.factor.as_ref(), 1, 1_000_000),
                "factor",
                "`factor` must lie between 1 and 1000000".to_owned(),
            ),
            (
                beyond(self.ppm.as_ref(), -100_000, 100_000),
                "ppm",
                "`ppm` must lie between -100000 and 100000".to_owned(),
            ),
            (
                beyond(self.by_ms.as_ref(), -86_400_000, 86_400_000),
                "by-ms",
                "`by-ms` must lie within a day, either way".to_owned(),
            ),
        ];
        checks.into_iter().find(|(beyond, ..)| *beyond).map(|(_, key, message)| (message, key))
    }

    fn shape(&self) -> Option<String> {
        let Some((_, needs)) = KINDS.iter().find(|(k, _)| *k == self.kind) else {
            let nearest = crate::suggest::nearest(&self.kind, KINDS.iter().map(|(k, _)| *k));
            return Some(format!("there is no fault `{}`{nearest}", self.kind));
        };
        let given = self.given();
        if let Some(missing) = needs.iter().find(|n| !given.contains(n)) {
            return Some(format!("a fault of kind `{}` needs `{missing}`", self.kind));
        }
        if let Some(extra) = given.iter().find(|g| !needs.contains(g)) {
            return Some(format!("a fault of kind `{}` has no `{extra}`; it takes {needs:?}", self.kind));
        }
        if !matches!(self.kind.as_str(), "power-loss" | "isolate")
            && self.who.as_ref().is_some_and(|who| who.list().len() > 1)
        {
            return Some(format!("a fault of kind `{}` happens to one; give each a [[fault]] of its own", self.kind));
        }
        None
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
