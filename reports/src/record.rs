//! The run record, `run.json`: what was run, what was found, what was measured. Versioned plain data.

pub use crate::verdict::Verdict;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of this schema. A reader refuses a higher one. Version 1 named causes by codes, and knew neither what
/// was planned nor what was judged.
pub const SCHEMA: u32 = 2;

/// One run of a suite.
#[derive(Clone, PartialEq, Debug, Default, JsonSchema, Serialize, Deserialize)]
pub struct RunRecord {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Klamm's version.
    pub klamm: String,
    /// What was asked for, such as `smoke`.
    pub suite: String,
    /// The master seed, in hexadecimal.
    pub master: String,
    /// The command line that runs all of it again, shards and all.
    #[serde(default)]
    pub again: String,
    /// Seeds of each scenario that were asked for, over all shards; 0 if the run went by time.
    #[serde(default)]
    pub seeds: u64,
    /// One derived seed instead of a sweep: a replay, of which nothing is demanded that only many seeds can show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<String>,
    /// Every permitted finding that a scenario does not name was a violation.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
    /// The k-th of n shards (from 1), if it is not the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<(u64, u64)>,
    /// A hash of the program that ran it, in hexadecimal.
    #[serde(default)]
    pub build: String,
    /// `des`.
    pub world: String,
    /// Worker threads.
    pub jobs: usize,
    /// Defects switched on.
    pub defects: Vec<String>,
    /// Time on the wall, seconds. Of no effect on any result.
    pub wall_seconds: f64,
    /// Seeds repeated in a fresh process, and how many of them gave the same digest.
    pub rechecked: Option<(u64, u64)>,
    /// Whether not every seed was run (a signal, `--fail-fast`).
    pub cut_short: bool,
    /// What a shell gets if a signal ended the run: 130 (SIGINT) or 143 (SIGTERM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupted: Option<u8>,
    /// Where the scenarios are variants of one, run under the same seeds: what each is called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<String>,
    /// Each scenario.
    pub scenarios: Vec<ScenarioRecord>,
}

/// One scenario over its seeds.
#[derive(Clone, PartialEq, Debug, Default, JsonSchema, Serialize, Deserialize)]
pub struct ScenarioRecord {
    /// Its name.
    pub name: String,
    /// What happens.
    pub summary: String,
    /// What it promises.
    pub promise: String,
    /// A digest of its file.
    pub digest: String,
    /// What the figures depend on: acks, replication, min.insync.replicas, flush, load, network and disk.
    pub setting: String,
    /// The load put on it, and what the cost model says it bears; where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offered: Option<Offered>,
    /// How it ended.
    pub verdict: Verdict,
    /// Seeds that were to be run; 0 if the run went by time.
    #[serde(default)]
    pub planned: u64,
    /// Each seed, in order.
    pub seeds: Vec<SeedRecord>,
    /// Virtual time of all seeds, nanoseconds.
    pub virtual_ns: u64,
    /// Time on the wall of all seeds, nanoseconds of one core.
    pub wall_ns: u64,
    /// Events of all seeds.
    pub events: u64,
    /// Marks seen, in how many seeds.
    pub marks: BTreeMap<String, u64>,
    /// Marks that must be seen.
    pub required_marks: Vec<String>,
    /// Violations that must be seen (a hazard).
    pub expected: Vec<String>,
    /// Violations that are tolerated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permits: Vec<String>,
    /// Checks of which a permitted finding is a violation here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forbid: Vec<String>,
    /// Every permitted finding that is not named is a violation here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
    /// How often what must be seen was seen before, by mark or check; where it is known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub seen_before: BTreeMap<String, Seen>,
    /// What there was to judge, if the record knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged: Option<Judged>,
    /// Findings by check.
    pub findings: BTreeMap<String, FindingCount>,
    /// Violations by check and cause, the partition left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<CauseRecord>,
    /// How many operations or events each check could have judged; a check that is missing has judged nothing.
    #[serde(default)]
    pub armed: BTreeMap<String, u64>,
    /// What became of each `[[fault]]`, in the order of the scenario file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FaultRecord>,
    /// Operations over all seeds.
    pub operations: Operations,
    /// Response times from the intended send time, nanoseconds.
    pub response: Option<Latency>,
    /// Service times from the actual send time, nanoseconds.
    pub service: Option<Latency>,
    /// When the cluster answered, and when it did not.
    #[serde(default)]
    pub availability: Availability,
    /// What rebalances cost, if there were consumer groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<GroupFigures>,
    /// What became of records on their way through services, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<ServiceFigures>,
    /// Failures, each with its folder.
    pub failures: Vec<FailureRecord>,
}

/// A load, and where the cost model says that capacity ends. Records per second.
#[derive(Clone, PartialEq, Eq, Debug, JsonSchema, Serialize, Deserialize)]
pub struct Offered {
    /// Offered by all producers together.
    pub per_second: u64,
    /// Borne, by the cost model.
    pub capacity: u64,
    /// What ends first.
    pub limited_by: String,
}

/// Consumer groups over all seeds. Times are nanoseconds of virtual time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, JsonSchema, Serialize, Deserialize)]
pub struct GroupFigures {
    /// Rebalances that came to an end.
    pub rebalances: u64,
    /// From their beginning to a stable group.
    pub duration: Spread,
    /// Members at their ends, all together.
    pub members: u64,
    /// Partitions that changed hands.
    pub moved: u64,
    /// Stop-the-world time: how long a member that had partitions had none, for each member and rebalance.
    pub stopped: Spread,
    /// Records delivered to members, repetitions included.
    pub delivered: u64,
    /// Of those, delivered before.
    pub redelivered: u64,
}

/// Records on their way through services, over all seeds. Nanoseconds of virtual time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, JsonSchema, Serialize, Deserialize)]
pub struct ServiceFigures {
    /// Records that origins sent and that are in the cluster.
    pub records: u64,
    /// Of these, those whose last effect never came.
    pub unfinished: u64,
    /// By when it should have come, from the origin's intended send time on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ns: Option<u64>,
    /// Records whose last effect came later, or never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<u64>,
    /// Effects beyond the first.
    pub twice: u64,
    /// From the origin's intended send time to the last effect.
    pub end_to_end: Option<Latency>,
    /// From a record's acknowledgement to that of what one service made of it.
    pub steps: Option<Latency>,
    /// Response times of origins alone.
    pub origins: Option<Latency>,
    /// The same, of what was to be sent while some service had no process at all.
    pub origins_down: Option<Latency>,
    /// For how long some service had none, all seeds together.
    pub down_ns: u64,
    /// The most records that waited for one service at a time, over seeds.
    pub lag_peak: Spread,
    /// The longest that one service was behind (some record had waited for a second), over seeds.
    pub behind: Spread,
}

/// A few figures of many exact values.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, JsonSchema, Serialize, Deserialize)]
pub struct Spread {
    /// How many.
    pub count: u64,
    /// The median: half are at or below.
    pub p50: u64,
    /// 99 in 100 are at or below.
    pub p99: u64,
    /// The greatest.
    pub max: u64,
    /// All together.
    pub sum: u64,
}

impl Spread {
    /// Of these values, in any order.
    pub fn of(values: &mut [u64]) -> Spread {
        values.sort_unstable();
        // The least value that so many parts of a hundred do not exceed.
        let at = |percent: usize| {
            let place = (values.len() * percent).div_ceil(100).saturating_sub(1);
            values.get(place).copied().unwrap_or(0)
        };
        let (count, sum) = (values.len() as u64, values.iter().sum());
        Spread { count, p50: at(50), p99: at(99), max: at(100), sum }
    }
}

/// When producers were answered, over all seeds. An outage is half a second or more in which something waited and
/// nothing was acknowledged; nanoseconds of virtual time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, JsonSchema, Serialize, Deserialize)]
pub struct Availability {
    /// How many outages.
    pub outages: u64,
    /// All of them together.
    pub unavailable_ns: u64,
    /// The longest.
    pub longest_ns: u64,
    /// Hardship observed, without what a scenario calls its warm-up.
    pub observed_ns: u64,
    /// All of hardship.
    #[serde(default)]
    pub hardship_ns: u64,
}

/// In how many seeds something was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, JsonSchema, Serialize, Deserialize)]
pub struct Seen {
    /// Seeds that showed it.
    pub seeds: u64,
    /// Of so many.
    pub of: u64,
}

/// What the load's clients gave the judge, the harness's own clients left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, JsonSchema, Serialize, Deserialize)]
pub struct Judged {
    /// Whether any producer asks for acknowledgements at all: with acks=0 there is nothing to be acknowledged.
    pub asks: bool,
    /// Records sent.
    pub sends: u64,
    /// Sends that failed for certain.
    pub refused: u64,
    /// Records acknowledged.
    pub acknowledged: u64,
    /// Seeds in which a record of the load was read, by any reader.
    pub read: u64,
}

impl Judged {
    /// Adds other seeds'.
    pub fn add(&mut self, other: &Judged) {
        self.asks |= other.asks;
        self.sends += other.sends;
        self.refused += other.refused;
        self.acknowledged += other.acknowledged;
        self.read += other.read;
    }
}

/// Violations of one check for one cause.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, JsonSchema, Serialize, Deserialize)]
pub struct CauseRecord {
    /// The check.
    pub check: String,
    /// What was found, without the partition and without numbers: by this it is grouped.
    pub cause: String,
    /// The same as it was found first.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub example: String,
    /// How often.
    pub times: u64,
    /// In how many seeds.
    pub seeds: u64,
    /// The first of these seeds, by its place in the sweep (from 1).
    pub first: u64,
}

/// One seed.
#[derive(Clone, PartialEq, Debug, Default, JsonSchema, Serialize, Deserialize)]
pub struct SeedRecord {
    /// The derived seed, in hexadecimal.
    pub seed: String,
    /// The run's digest, in hexadecimal.
    pub digest: String,
    /// Events.
    pub events: u64,
    /// Drawn values, by their place in the scenario file.
    pub knobs: BTreeMap<String, String>,
    /// Checks that were violated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub violated: Vec<String>,
}

/// What became of one `[[fault]]` of a scenario: in one seed, or over all of them.
#[derive(Clone, PartialEq, Eq, Debug, Default, JsonSchema, Serialize, Deserialize)]
pub struct FaultRecord {
    /// The fault in words, without the numbers that are drawn.
    pub fault: String,
    /// How often its time came.
    pub due: u64,
    /// How often it was applied to a target.
    pub fired: u64,
    /// How many of these applications changed something: a message dropped or delayed, a disk operation altered, a live
    /// process stopped, a stepped clock read.
    pub in_effect: u64,
    /// In how many seeds it changed something.
    pub seeds: u64,
    /// The hosts that it changed something on, and how often; of a fault between two sides, those of the first.
    pub on: BTreeMap<String, u64>,
    /// Why it changed nothing, and how often: a condition that never held, a target that never existed, and the like.
    pub idle: BTreeMap<String, u64>,
    /// How often its chance did not come: not idle, but not drawn.
    #[serde(default)]
    pub not_drawn: u64,
}

impl FaultRecord {
    /// Adds what became of the same fault in other seeds.
    pub fn add(&mut self, other: &FaultRecord) {
        if self.fault.is_empty() {
            self.fault.clone_from(&other.fault);
        }
        self.due += other.due;
        self.fired += other.fired;
        self.in_effect += other.in_effect;
        self.seeds += other.seeds;
        for (host, n) in &other.on {
            *self.on.entry(host.clone()).or_default() += n;
        }
        for (why, n) in &other.idle {
            *self.idle.entry(why.clone()).or_default() += n;
        }
        self.not_drawn += other.not_drawn;
    }
}

/// Findings of one check over all seeds.
#[derive(Clone, PartialEq, Eq, Debug, Default, JsonSchema, Serialize, Deserialize)]
pub struct FindingCount {
    /// Not permitted.
    pub violations: u64,
    /// Permitted, by cause, in words.
    pub permitted: BTreeMap<String, u64>,
    /// In how many seeds there was any.
    pub seeds: u64,
}

/// What clients did, counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, JsonSchema, Serialize, Deserialize)]
pub struct Operations {
    /// Sends handed over.
    pub sends: u64,
    /// Acknowledged.
    pub acknowledged: u64,
    /// Certainly not appended.
    pub failed: u64,
    /// Neither.
    pub unknown: u64,
    /// Records read.
    pub reads: u64,
    /// Acknowledged records lost, permitted or not.
    pub lost: u64,
    /// Sends with acks=0 that nobody ever read: lost, though no acknowledgement was broken.
    #[serde(default)]
    pub silently_lost: u64,
    /// Values at more than one offset, permitted or not.
    pub duplicates: u64,
}

/// A latency distribution's figures, nanoseconds, three significant digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, JsonSchema, Serialize, Deserialize)]
pub struct Latency {
    /// How many.
    pub count: u64,
    /// The median.
    pub p50: u64,
    /// 90 in 100 are at or below.
    pub p90: u64,
    /// 99 in 100.
    pub p99: u64,
    /// 999 in 1,000.
    pub p999: u64,
    /// The greatest.
    pub max: u64,
}

/// One failure.
#[derive(Clone, PartialEq, Debug, JsonSchema, Serialize, Deserialize)]
pub struct FailureRecord {
    /// Its short id, derived from its content.
    pub id: String,
    /// The derived seed, in hexadecimal.
    pub seed: String,
    /// Which of the scenario's seeds, from 1.
    pub index: u64,
    /// The check that fired first.
    pub check: String,
    /// Every check that was violated, the worst first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<String>,
    /// When, virtual nanoseconds.
    pub at_ns: u64,
    /// What was found, in a sentence.
    pub message: String,
    /// The smallest schedule found that still fails, in words, if it is smaller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shrunk: Option<String>,
    /// Faults in its schedule.
    pub faults: usize,
    /// Its folder, relative to the run's.
    pub folder: String,
    /// The command that shows it again.
    pub replay: String,
}

impl RunRecord {
    /// The worst verdict of all scenarios.
    pub fn verdict(&self) -> Verdict {
        Verdict::worst(self.scenarios.iter().map(|s| s.verdict))
    }

    /// Whether it is a whole run: not a shard, and not one seed again.
    pub fn is_whole(&self) -> bool {
        self.shard.is_none() && self.only.is_none()
    }

    /// What tells runs apart: what was run, over which seeds, and which part of it.
    pub fn identity(&self) -> String {
        let digests: Vec<&str> = self.scenarios.iter().map(|s| s.digest.as_str()).collect();
        format!("{} {:?} {}", self.again, self.shard, digests.join(" "))
    }

    /// What the `i`-th scenario is called: its variant's name, or its own.
    pub fn title(&self, i: usize) -> &str {
        self.variants.get(i).or_else(|| self.scenarios.get(i).map(|s| &s.name)).map_or("", String::as_str)
    }

    /// As JSON, the verdicts of all scenarios first.
    pub fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Written<'a> {
            verdict: Verdict,
            exit: u8,
            verdicts: BTreeMap<&'a str, String>,
            #[serde(flatten)]
            run: &'a RunRecord,
        }
        let verdicts = (0..self.scenarios.len()).map(|i| (self.title(i), crate::verdict::sentence(&self.scenarios[i])));
        let written = Written {
            verdict: self.verdict(),
            exit: crate::verdict::exit_code(self),
            verdicts: verdicts.collect(),
            run: self,
        };
        serde_json::to_string_pretty(&written).expect("a record is JSON")
    }

    /// From JSON, of this schema or an older one.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn from_json(text: &str) -> Result<RunRecord, String> {
        let value: serde_json::Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let schema = match value.get("schema").and_then(serde_json::Value::as_u64) {
            Some(n) if n <= u64::from(SCHEMA) => n,
            Some(n) => return Err(format!("schema {n} is newer than this klamm knows ({SCHEMA})")),
            None => return Err("no `schema`: this is not a run record".to_owned()),
        };
        let mut run: RunRecord = serde_json::from_value(value).map_err(|e| e.to_string())?;
        if schema == 1 {
            run.bring_up_to_date();
        }
        Ok(run)
    }

    /// Names causes in words, and counts what was planned as what was run.
    fn bring_up_to_date(&mut self) {
        self.schema = SCHEMA;
        for s in &mut self.scenarios {
            s.planned = s.seeds.len() as u64;
            for count in s.findings.values_mut() {
                let codes = std::mem::take(&mut count.permitted);
                for (code, n) in codes {
                    let words = FIRST_CAUSES.iter().find(|(c, _)| *c == code).map_or(code.as_str(), |(_, words)| words);
                    *count.permitted.entry(words.to_owned()).or_default() += n;
                }
            }
        }
    }
}

/// The codes of causes in records of schema 1, and what they meant.
const FIRST_CAUSES: &[(&str, &str)] = &[
    ("a0", "acks=0"),
    ("a1", "acks=1 and a later leader change or loss"),
    ("U", "unclean leader election"),
    ("L", "declared loss of data beyond what replication survives"),
    ("ND", "ambiguous retry without idempotence"),
    ("ND5", "ambiguous retry without idempotence, several requests in flight"),
    ("NI", "new producer identity"),
    ("C", "compaction"),
    ("D", "deletion by retention or request"),
    ("RU", "read_uncommitted"),
    ("V1", "transaction.version below 2"),
    ("R", "assignment change"),
    ("S", "seek or reset"),
    ("X", "offsets expired or altered"),
    ("AL", "at-least-once application"),
    ("CB", "commits before finishing"),
    ("NT", "no transactions"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_exact() {
        assert_eq!(Spread::of(&mut []), Spread::default());
        assert_eq!(Spread::of(&mut [7]), Spread { count: 1, p50: 7, p99: 7, max: 7, sum: 7 });
        let mut many: Vec<u64> = (1..=200).rev().collect();
        assert_eq!(Spread::of(&mut many), Spread { count: 200, p50: 100, p99: 198, max: 200, sum: 20_100 });
    }

    #[test]
    fn a_record_of_the_first_schema_is_read_and_its_codes_become_words() {
        let scenario = |verdict: &str| {
            serde_json::json!({
                "name": "a", "summary": "", "promise": "", "digest": "d", "setting": "", "verdict": verdict,
                "seeds": [{ "seed": "0x1", "digest": "0", "events": 1, "knobs": {} }], "virtual_ns": 1, "wall_ns": 1,
                "events": 1, "marks": {}, "required_marks": ["x"], "expected": [],
                "findings": { "lost-write": { "violations": 0, "permitted": { "a1": 3 }, "seeds": 1 } },
                "operations": { "sends": 1, "acknowledged": 1, "failed": 0, "unknown": 0, "reads": 1, "lost": 3,
                                "duplicates": 0 },
                "response": null, "service": null, "failures": []
            })
        };
        let mut old = serde_json::json!({
            "schema": 1, "klamm": "0.1.0", "suite": "s", "master": "0x1", "world": "des", "jobs": 1, "defects": [],
            "wall_seconds": 1.0, "rechecked": null, "cut_short": false, "scenarios": [scenario("unseen")]
        });
        let run = RunRecord::from_json(&old.to_string()).unwrap();
        let s = &run.scenarios[0];
        assert_eq!((run.schema, s.verdict, s.planned), (SCHEMA, Verdict::NotShown, 1));
        assert_eq!(s.findings["lost-write"].permitted["acks=1 and a later leader change or loss"], 3);
        assert!(s.judged.is_none(), "an old record does not know");
        // Written and read again, it is the same.
        assert_eq!(RunRecord::from_json(&run.to_json()).unwrap(), run);
        old["schema"] = (SCHEMA + 1).into();
        assert!(RunRecord::from_json(&old.to_string()).unwrap_err().contains("newer than this klamm knows"));
    }
}
