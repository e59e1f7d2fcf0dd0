//! The audit of a set of settings: what each class of fault did to them, and what one change would do.

use crate::record::{FaultRecord, Judged, Latency, Verdict};
use crate::text::{self, count, number, time};
use maud::{Markup, html};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The version of [`AuditRecord`].
pub const SCHEMA: u32 = 1;

/// An audit.
#[derive(Clone, PartialEq, Debug, JsonSchema, Serialize, Deserialize)]
pub struct AuditRecord {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Klamm's version.
    pub klamm: String,
    /// The master seed, in hexadecimal.
    pub master: String,
    /// Settings given, by place.
    pub settings: BTreeMap<String, BTreeMap<String, String>>,
    /// What a shell gets if a signal ended the audit: 130 (SIGINT) or 143 (SIGTERM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupted: Option<u8>,
    /// The settings as they are, by class of fault.
    pub classes: Vec<ClassRecord>,
    /// Changes of one setting.
    pub changes: Vec<ChangeRecord>,
    /// What was given and not acted on.
    pub not_modelled: Vec<String>,
    /// Hazards of services that the settings have, and what the classes showed of them.
    #[serde(default)]
    pub hazards: Vec<HazardRecord>,
    /// What can be read off the settings alone, in words.
    #[serde(default)]
    pub combinations: Vec<String>,
}

/// A hazard that the settings have.
#[derive(Clone, PartialEq, Debug, Default, JsonSchema, Serialize, Deserialize)]
pub struct HazardRecord {
    /// Its name.
    pub name: String,
    /// What the settings have of it, in words.
    pub says: String,
    /// The services of the catalogue that it hurts.
    pub hurts: Vec<String>,
    /// The class of fault that shows it, if one was run that does.
    pub class: Option<String>,
    /// In which column.
    pub column: Option<String>,
    /// Seeds run of that class.
    pub seeds: u64,
    /// What it showed.
    pub cell: Cell,
    /// Scenarios in which a service breaks under it.
    pub scenarios: Vec<String>,
}

impl HazardRecord {
    /// What was seen of it, in words.
    fn shown(&self) -> String {
        let own = match &self.scenarios[..] {
            [] => String::new(),
            names => format!("klamm run {}", names.join(" ")),
        };
        let here = match (&self.class, &self.column, &self.cell.seed) {
            (Some(class), Some(column), Some(seed)) => format!(
                "{class}: {} {column}, in {} of {} seeds ({seed})",
                number(self.cell.count),
                self.cell.seeds,
                self.seeds
            ),
            (Some(class), ..) => format!("{class}: not in {} seeds", self.seeds),
            _ => "no class of fault tries it here".to_owned(),
        };
        if own.is_empty() { here } else { format!("{here}; shown by {own}") }
    }
}

/// How often something happened.
#[derive(Clone, PartialEq, Eq, Debug, Default, JsonSchema, Serialize, Deserialize)]
pub struct Cell {
    /// How often, over all seeds.
    pub count: u64,
    /// In how many seeds.
    pub seeds: u64,
    /// The first seed that shows it, in hexadecimal.
    pub seed: Option<String>,
}

/// One class of fault. Times are virtual nanoseconds.
#[derive(Clone, PartialEq, Debug, Default, JsonSchema, Serialize, Deserialize)]
pub struct ClassRecord {
    /// Its name.
    pub name: String,
    /// What happens.
    pub summary: String,
    /// Whether consumers are what it is about: a group, or instances of a read model.
    #[serde(default)]
    pub consumers: bool,
    /// Whether it is about what an application does, which no setting changes.
    #[serde(default)]
    pub habit: bool,
    /// Seeds run.
    pub seeds: u64,
    /// Seeds that were to be run.
    #[serde(default)]
    pub planned: u64,
    /// What there was to judge, if the record knows.
    #[serde(default)]
    pub judged: Option<Judged>,
    /// What became of each of its faults, in the order of its file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FaultRecord>,
    /// Records sent.
    pub sends: u64,
    /// Records acknowledged.
    pub acknowledged: u64,
    /// Acknowledged records lost; with acks=0, records never seen again.
    pub lost: Cell,
    /// Records twice in the log.
    pub repeated: Cell,
    /// Records out of order.
    pub reordered: Cell,
    /// Records that a group committed, or began after, and never processed.
    #[serde(default)]
    pub skipped: Cell,
    /// Records whose effect outside Kafka happened twice.
    #[serde(default)]
    pub done_twice: Cell,
    /// Keys of which an instance of a read model holds what its topic does not.
    #[serde(default)]
    pub stale: Cell,
    /// The longest that a member with partitions had none in a rebalance.
    #[serde(default)]
    pub longest_stop_ns: u64,
    /// Sends that failed for certain.
    pub refused: Cell,
    /// Sends without an end, and conditions that never became true again.
    pub stalled: Cell,
    /// Half a second or more in which something waited and nothing was acknowledged.
    pub outages: Cell,
    /// The longest of them.
    pub longest_outage_ns: u64,
    /// The seed that shows it.
    pub longest_outage_seed: Option<String>,
    /// All of them together.
    pub unavailable_ns: u64,
    /// Hardship observed.
    pub observed_ns: u64,
    /// Response times from the intended send time.
    pub response: Option<Latency>,
}

/// One changed setting, under the same seeds.
#[derive(Clone, PartialEq, Debug, JsonSchema, Serialize, Deserialize)]
pub struct ChangeRecord {
    /// `producer acks = all`.
    pub setting: String,
    /// What it is now.
    pub now: String,
    /// Why it helps.
    pub why: String,
    /// Every class, with the change.
    pub classes: Vec<ClassRecord>,
}

/// What matters of all classes together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Sum {
    lost: u64,
    repeated: u64,
    reordered: u64,
    skipped: u64,
    done_twice: u64,
    stale: u64,
    refused: u64,
    stalled: u64,
    unavailable_ns: u64,
    quiet: Option<Latency>,
}

/// Of the classes that settings have a say in.
fn sum(classes: &[ClassRecord]) -> Sum {
    let total = |pick: fn(&ClassRecord) -> u64| classes.iter().filter(|c| !c.habit).map(pick).sum();
    Sum {
        lost: total(|c| c.lost.count),
        repeated: total(|c| c.repeated.count),
        reordered: total(|c| c.reordered.count),
        skipped: total(|c| c.skipped.count),
        done_twice: total(|c| c.done_twice.count),
        stale: total(|c| c.stale.count),
        refused: total(|c| c.refused.count),
        stalled: total(|c| c.stalled.count),
        unavailable_ns: total(|c| c.unavailable_ns),
        quiet: classes.iter().find(|c| c.name == "quiet").and_then(|c| c.response),
    }
}

impl AuditRecord {
    /// Whether nothing acknowledged was lost, repeated, reordered or skipped under any class, no read model kept what is no
    /// more, and nothing stalled for good. Effects that happen twice are what "at least once" means, and are told, not judged.
    pub fn is_safe(&self) -> bool {
        let s = sum(&self.classes);
        s.lost + s.repeated + s.reordered + s.skipped + s.stale + s.stalled == 0
    }

    /// The verdict. Where nothing was acknowledged, or nothing read, nothing was judged.
    pub fn verdict(&self) -> Verdict {
        if !self.is_safe() {
            Verdict::Violated
        } else if !self.not_judged().is_empty() {
            Verdict::NotShown
        } else if self.classes.iter().any(|c| c.seeds < c.planned) {
            Verdict::NotRun
        } else {
            Verdict::Held
        }
    }

    /// What a shell gets.
    pub fn exit_code(&self) -> u8 {
        self.interrupted.unwrap_or(self.verdict().code())
    }

    /// Why nothing was judged, if nothing was, and which faults were no test: a sentence each.
    fn not_judged(&self) -> Vec<String> {
        let mut all = Judged::default();
        let known: Vec<&Judged> = self.classes.iter().filter_map(|c| c.judged.as_ref()).collect();
        known.iter().for_each(|j| all.add(j));
        let mut why = Vec::new();
        if known.is_empty() {
            return why;
        }
        if all.asks && all.acknowledged == 0 {
            why.push("Nothing was acknowledged under any class of fault: nothing was judged.".to_owned());
        }
        if all.read == 0 {
            why.push("Nothing that was sent was read under any class of fault: nothing was judged.".to_owned());
        }
        for c in self.classes.iter().filter(|c| c.seeds > 0) {
            for f in c.faults.iter().filter(|f| f.seeds == 0) {
                let reasons = crate::verdict::reasons(f).unwrap_or_else(|| "its time never came".to_owned());
                why.push(format!(
                    "{}: a fault ({}) took effect in 0 of {}: {reasons}.",
                    c.name,
                    f.fault,
                    count(c.seeds, "seed")
                ));
            }
        }
        why
    }

    /// Sends that are refused though no fault is there to refuse them.
    fn refused_in_peace(&self) -> Option<String> {
        let quiet = self.classes.iter().find(|c| c.name == "quiet")?.judged?;
        match quiet.refused {
            0 => None,
            n if n == quiet.sends => {
                Some(format!("Every send is refused while nothing is wrong: {} of {}.", number(n), number(n)))
            }
            n => Some(format!("{} of {} sends are refused while nothing is wrong.", number(n), number(quiet.sends))),
        }
    }

    /// The verdict in plain words, one sentence each.
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        for c in &self.classes {
            let mut say = |cell: &Cell, what: &str| {
                if let Some(seed) = &cell.seed {
                    words.push(format!(
                        "{}: {} {what}, in {} of {} seeds (seed {seed}).",
                        c.name,
                        number(cell.count),
                        cell.seeds,
                        c.seeds
                    ));
                }
            };
            say(&c.lost, "records that the producer took for sent are gone");
            say(&c.repeated, "records are in the log twice");
            say(&c.reordered, "records of one producer stand in another order than they were sent");
            let whose = if c.habit {
                "records were committed and never processed; no setting prevents that"
            } else {
                "records were committed, or passed by, and never processed"
            };
            say(&c.skipped, whose);
            say(&c.done_twice, "records had their effect outside Kafka twice; \"at least once\" means that");
            say(&c.stale, "keys are held by an instance of a read model, and deleted in its topic");
            let silent =
                format!("times nobody was answered for half a second or more, {} at most", time(c.longest_outage_ns));
            say(&c.outages, &silent);
            say(&c.refused, "sends were refused or given up: the application was told, and must send again");
            say(
                &c.stalled,
                "times something stood still for good: sends without an end, or partitions and groups that did not recover within minutes after the fault was over",
            );
        }
        if self.verdict() == Verdict::Held {
            let judged = self.classes.iter().filter(|c| !c.habit);
            let first = format!(
                "Nothing that was acknowledged was lost, repeated or reordered, nothing was skipped and nothing stood still for good in {} seeds of {} classes of fault.",
                number(judged.clone().map(|c| c.seeds).sum()),
                judged.count()
            );
            words.insert(0, first);
        }
        let not_run = self.classes.iter().filter(|c| c.seeds < c.planned);
        let not_run = not_run.map(|c| format!("{}: not run, {} of {}.", c.name, c.seeds, count(c.planned, "seed")));
        // What makes everything else worthless comes first.
        let first = self.refused_in_peace().into_iter().chain(self.not_judged()).chain(not_run).collect::<Vec<_>>();
        words.splice(0..0, first);
        words
    }

    /// What a verdict of this kind does not cover.
    pub fn caveats(&self) -> Vec<String> {
        let mut caveats = vec![
            "Seeds are samples: what did not show is unlikely under these faults, not impossible.".to_owned(),
            "Latencies are virtual, of a modelled cluster of three brokers: they compare settings, they do not predict \
             hardware."
                .to_owned(),
            format!("Hazards that were not tried: {}.", NOT_TRIED.join("; ")),
            "What an application does with a record is its own: the classes about habits show two of them.".to_owned(),
        ];
        if !self.not_modelled.is_empty() {
            caveats.push(format!("Given, but not acted on: {}.", self.not_modelled.join(", ")));
        }
        caveats
    }

    /// As JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a record is JSON")
    }
}

/// Hazards that are known and outside of what an audit tries.
pub const NOT_TRIED: [&str; 12] = [
    "transactions (transaction.version 1, duplicate or unstable transactional.id, read_uncommitted downstream)",
    "retention below a group's lag",
    "time retention with a stepped clock, or with skewed create times",
    "sending again after a delivery timeout",
    "producer.id.expiration.ms below delivery.timeout.ms",
    "a late asynchronous commit over a newer one",
    "keyed order while partitions are added, and clients with different partitioners",
    "close() after a handler's exception with auto-commit",
    "expired offsets",
    "a long static session with its owner gone for good",
    "bit rot, full and lying disks",
    "eligible leader replicas off, and several controllers",
];

const CLASSES: [&str; 9] = ["lost", "repeated", "reordered", "refused", "stalled", "outages", "longest", "p50", "p99"];

fn class_row(c: &ClassRecord) -> [String; 9] {
    let latency = |pick: fn(&Latency) -> u64| c.response.map_or("-".to_owned(), |l| time(pick(&l)));
    let longest = if c.longest_outage_ns == 0 { "-".to_owned() } else { time(c.longest_outage_ns) };
    let n = |cell: &Cell| number(cell.count);
    [
        n(&c.lost),
        n(&c.repeated),
        n(&c.reordered),
        n(&c.refused),
        n(&c.stalled),
        n(&c.outages),
        longest,
        latency(|l| l.p50),
        latency(|l| l.p99),
    ]
}

/// Columns of the classes about consumers.
const GROUPS: [&str; 7] = ["skipped", "done twice", "stale keys", "lost", "stalled", "longest stop", "outages"];

fn group_row(c: &ClassRecord) -> [String; 7] {
    let stop = if c.longest_stop_ns == 0 { "-".to_owned() } else { time(c.longest_stop_ns) };
    let n = |cell: &Cell| number(cell.count);
    [n(&c.skipped), n(&c.done_twice), n(&c.stale), n(&c.lost), n(&c.stalled), stop, n(&c.outages)]
}

fn group_rows(a: &AuditRecord) -> Vec<(String, [String; 7])> {
    let name = |c: &ClassRecord| if c.habit { format!("{} (habit)", c.name) } else { c.name.clone() };
    a.classes.iter().filter(|c| c.consumers).map(|c| (name(c), group_row(c))).collect()
}

/// Columns of the hazards.
const HAZARDS: [&str; 4] = ["hazard", "hurts", "why", "seen"];

const CHANGES: [&str; 11] = [
    "lost",
    "repeated",
    "reordered",
    "skipped",
    "done twice",
    "stale keys",
    "refused",
    "stalled",
    "unavailable",
    "quiet p50",
    "quiet p99",
];

fn change_row(classes: &[ClassRecord]) -> [String; 11] {
    let s = sum(classes);
    let latency = |pick: fn(&Latency) -> u64| s.quiet.map_or("-".to_owned(), |l| time(pick(&l)));
    [
        number(s.lost),
        number(s.repeated),
        number(s.reordered),
        number(s.skipped),
        number(s.done_twice),
        number(s.stale),
        number(s.refused),
        number(s.stalled),
        time(s.unavailable_ns),
        latency(|l| l.p50),
        latency(|l| l.p99),
    ]
}

/// Rows of the second table: the settings as they are, then each change.
fn change_rows(a: &AuditRecord) -> Vec<(String, [String; 11])> {
    let mut rows = vec![("as it is".to_owned(), change_row(&a.classes))];
    rows.extend(a.changes.iter().map(|c| (format!("{} (now {})", c.setting, c.now), change_row(&c.classes))));
    rows
}

fn class_rows(a: &AuditRecord) -> Vec<(String, [String; 9])> {
    a.classes.iter().filter(|c| !c.consumers).map(|c| (c.name.clone(), class_row(c))).collect()
}

/// For a terminal.
pub fn console(a: &AuditRecord) -> String {
    let mut out = format!("  {}\n\n", a.verdict().word());
    out.push_str(&text::table("fault", &CLASSES, &class_rows(a)));
    let groups = group_rows(a);
    if !groups.is_empty() {
        out.push('\n');
        out.push_str(&text::table("consumers' fault", &GROUPS, &groups));
    }
    out.push('\n');
    for line in a.combinations.iter().chain(&a.words()) {
        let _ = writeln!(out, "  {line}");
    }
    if !a.hazards.is_empty() {
        out.push_str("\n  Hazards of services that these settings have:\n");
    }
    for h in &a.hazards {
        let _ = writeln!(out, "  {}  hurts {}\n      {}\n      {}", h.name, h.hurts.join(", "), h.says, h.shown());
    }
    if !a.changes.is_empty() {
        out.push_str("\n  One change at a time, under the same seeds, all faults together:\n");
        out.push_str(&text::table("change", &CHANGES, &change_rows(a)));
    }
    out.push('\n');
    for line in a.caveats() {
        let _ = writeln!(out, "  {line}");
    }
    out
}

/// `summary.md`.
pub fn markdown(a: &AuditRecord) -> String {
    let mut md = format!(
        "## klamm audit · {}\n\n",
        if a.verdict() == Verdict::Held { "held".to_owned() } else { format!("**{}**", a.verdict().word()) }
    );
    for line in a.combinations.iter().chain(&a.words()) {
        let _ = writeln!(md, "- {line}");
    }
    md.push('\n');
    md.push_str(&text::markdown_named("fault", CLASSES, &class_rows(a)));
    let groups = group_rows(a);
    if !groups.is_empty() {
        md.push('\n');
        md.push_str(&text::markdown_named("consumers' fault", GROUPS, &groups));
    }
    if !a.hazards.is_empty() {
        md.push_str("\nHazards of services that these settings have:\n\n");
        let row = |h: &HazardRecord| vec![h.name.clone(), h.hurts.join(", "), h.says.clone(), h.shown()];
        md.push_str(&text::markdown(&HAZARDS, 4, a.hazards.iter().map(row)));
    }
    if !a.changes.is_empty() {
        md.push_str("\nOne change at a time, under the same seeds, all faults together:\n\n");
        md.push_str(&text::markdown_named("change", CHANGES, &change_rows(a)));
    }
    md.push('\n');
    for line in a.caveats() {
        let _ = writeln!(md, "- {line}");
    }
    md
}

fn html_table<const N: usize>(head: &str, columns: [&str; N], rows: &[(String, [String; N])]) -> Markup {
    html! { div.scroll.named { table {
        thead { tr { th { (head) } @for c in columns { th { (c) } } } }
        tbody { @for (label, row) in rows { tr { td { (label) } @for value in row { td { (value) } } } } }
    } } }
}

/// `index.html`. `folder` is where the classes' scenario files lie.
pub fn page(a: &AuditRecord) -> String {
    let body = html! {
        h1 { "klamm audit · " (crate::html::word(a.verdict())) }
        @for (place, settings) in &a.settings {
            p { b { (place) } ": " @for (key, value) in settings { code { (key) "=" (value) } " " } }
        }
        @if a.settings.is_empty() { p { "Kafka's defaults." } }
        @if !a.combinations.is_empty() { h2 { "What the settings say by themselves" } }
        @for line in &a.combinations { p { (line) } }
        h2 { "What was seen" }
        @for line in a.words() { p { (line) } }
        h2 { "What each fault did" }
        (html_table("fault", CLASSES, &class_rows(a)))
        @let groups = group_rows(a);
        @if !groups.is_empty() {
            h2 { "What each fault did to consumers" }
            (html_table("fault", GROUPS, &groups))
        }
        @for c in &a.classes { p.small { b { (c.name) } ": " (c.summary) } }
        p.small {
            "Replay a seed: " code { "klamm replay scenarios/<fault>.toml --seed <seed>" } ", in this folder."
        }
        @if !a.hazards.is_empty() {
            h2 { "Hazards of services that these settings have" }
            div.scroll.hazards { table {
                thead { tr { @for head in HAZARDS { th { (head) } } } }
                tbody { @for h in &a.hazards { tr {
                    td { (h.name) } td { (h.hurts.join(", ")) } td { (h.says) } td { (h.shown()) }
                } } }
            } }
        }
        @if !a.changes.is_empty() {
            h2 { "One change at a time" }
            p { "Under the same seeds, all faults together; the last two columns are the price when nothing is wrong." }
            (html_table("change", CHANGES, &change_rows(a)))
            @for c in &a.changes { p.small { b { (c.setting) } ": " (c.why) "." } }
        }
        h2 { "What this does not say" }
        @for line in a.caveats() { p { (line) } }
    };
    crate::html::page("klamm audit", &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audit(quiet: ClassRecord) -> AuditRecord {
        let other = ClassRecord { name: "leader-crash".into(), seeds: 2, planned: 2, ..ClassRecord::default() };
        AuditRecord {
            schema: SCHEMA,
            klamm: String::new(),
            master: String::new(),
            interrupted: None,
            settings: BTreeMap::new(),
            classes: vec![ClassRecord { name: "quiet".into(), seeds: 2, planned: 2, ..quiet }, other],
            changes: Vec::new(),
            not_modelled: Vec::new(),
            hazards: Vec::new(),
            combinations: Vec::new(),
        }
    }

    #[test]
    fn what_refuses_everything_in_peace_says_that_first_and_is_not_green() {
        let judged = Judged { asks: true, sends: 30, refused: 30, acknowledged: 0, read: 0 };
        let a = audit(ClassRecord { judged: Some(judged), ..ClassRecord::default() });
        assert_eq!((a.verdict(), a.exit_code()), (Verdict::NotShown, 4));
        assert_eq!(a.words()[0], "Every send is refused while nothing is wrong: 30 of 30.");
        assert!(a.words().iter().all(|w| !w.contains("Nothing that was acknowledged was lost")), "{:?}", a.words());
        let judged = Judged { refused: 3, acknowledged: 27, read: 2, ..judged };
        let a = audit(ClassRecord { judged: Some(judged), ..ClassRecord::default() });
        assert_eq!(
            (a.verdict(), a.words()[0].as_str()),
            (Verdict::Held, "3 of 30 sends are refused while nothing is wrong.")
        );
    }

    #[test]
    fn a_class_whose_fault_never_took_effect_was_not_shown() {
        let judged = Some(Judged { asks: true, sends: 9, acknowledged: 9, read: 1, refused: 0 });
        let mut a = audit(ClassRecord { judged, ..ClassRecord::default() });
        let idle = BTreeMap::from([("no such target".to_owned(), 2)]);
        a.classes[1].faults = vec![FaultRecord { fault: "kill b9".into(), due: 2, idle, ..FaultRecord::default() }];
        assert_eq!(a.verdict(), Verdict::NotShown);
        let said = "leader-crash: a fault (kill b9) took effect in 0 of 2 seeds: no such target (2 times).";
        assert_eq!(a.words()[0], said);
    }

    #[test]
    fn an_audit_that_was_interrupted_says_what_did_not_run() {
        let judged = Some(Judged { asks: true, sends: 9, acknowledged: 9, read: 1, refused: 0 });
        let mut a = audit(ClassRecord { judged, ..ClassRecord::default() });
        assert_eq!(a.verdict(), Verdict::Held);
        (a.classes[1].seeds, a.interrupted) = (1, Some(143));
        assert_eq!((a.verdict(), a.exit_code()), (Verdict::NotRun, 143));
        assert_eq!(a.words()[0], "leader-crash: not run, 1 of 2 seeds.");
    }
}
