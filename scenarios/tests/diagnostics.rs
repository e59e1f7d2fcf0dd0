//! What is said of wrong input, whole: `klamm` names the place and a way out, ends with exit code 2, and begins nothing.
//!
//! A change of a text shows here as a difference; `INSTA_UPDATE=always cargo test -p klamm-scenarios --test diagnostics` takes
//! it over.

mod common;

use common::{DEFECT, Place, TINY};
use std::fmt::Write as _;

/// Writes down what one command says, and holds it to be a refusal.
fn refused(place: &Place, args: &[&str], title: &str, text: &mut String) {
    let said = place.klamm(args);
    assert_eq!(said.code, 2, "{title}: {said:?}");
    assert!(!said.err.contains("panicked"), "{title}: {said:?}");
    for word in ["struct", "enum ", "unknown variant", "sequence", "i64", "u32", " map", "serde"] {
        assert!(!said.err.contains(word), "{title}: `{word}` is Rust's word: {}", said.err);
    }
    let lines = said.err.trim_end().lines().map(str::trim_end);
    let _ = writeln!(text, "=== {title}\n{}\n", lines.collect::<Vec<_>>().join("\n"));
}

/// A file that is right but for one replacement, for each of these.
fn slips(right: &str, cases: &[(&str, &str)]) -> String {
    let (place, mut text) = (Place::new(), String::new());
    for (what, by) in cases {
        assert!(right.contains(what), "{what}");
        place.put("wrong.toml", right.replacen(what, by, 1));
        refused(&place, &["run", "wrong.toml", "--out", "out"], &format!("{what}  ->  {by}"), &mut text);
    }
    assert!(!place.path().join("out").exists());
    text
}

#[test]
fn scenario_files() {
    let cases = [
        ("duration =", "duraton ="),
        ("rate = 60", "rat = 60"),
        ("\"6s\"", "\"6 parsecs\""),
        ("\"6s\"", "\"0s\""),
        ("rate = 60", "rate = \"9..3\""),
        ("rate = 60", "rate = 0"),
        ("rate = 60", "rate = []"),
        ("\"orders\"", "\"orders\"\nreplication = 4"),
        ("\"orders\"", "\"orders\"\npartitions = \"0..3\""),
        ("delivery.timeout", "delivery.timeuot"),
        ("= 8000", "= \"soon\""),
        ("\"30s\"", "\"7s\""),
        ("\"reset\"", "\"rest\""),
        ("\"reset\"", "\"kill\""),
        ("kind = \"reset\"\nbetween = [\"p1\", \"leader(orders-0)\"]", "kind = \"kill\"\nwho = [\"b1\", \"b2\"]"),
        ("\"p1\"", "\"p7\""),
        ("leader(", "leadr("),
        ("leader(orders-0)", "leader(orders)"),
        ("times = 4", "when = \"unreplicatd(orders-0)\""),
        ("times = 4", "times = 4000000000"),
        ("\"1s..5s\"", "\"1s..9s\""),
        ("name = \"tiny\"", "name = \"Tiny One\""),
        ("summary", "# summary"),
        ("[[topic]]", "[[topic]"),
        // Inside lists, and under another's name.
        ("rate = 60", "rate = [60, 0, 70]"),
        ("rate = 60", "rate = [60, \"many\"]"),
        ("rate = 60", "rate = 60, key = 5"),
        ("\"6s\"", "6"),
        ("= 8000", "= [8000, 9000, -1]"),
        ("\"p1\", ", "[\"p1\", \"p9\"], "),
        ("times = 4", "when = \"up(b1) and isr-size(order-0) > 1\""),
        ("[[topic]]", "[topic]"),
        ("duration = \"6s\"", "duration: 6s"),
        // Numbers are numbers: 9 is less than 10.
        ("= 8000", "= [10000, 9000, 300000]"),
    ];
    insta::assert_snapshot!(slips(TINY, &cases));
}

#[test]
fn services() {
    let service = format!(
        "{TINY}\n[[topic]]\nname = \"shipped\"\n\n[[clients]]\nkind = \"group\"\nmember.processing = \"finish-then-commit\"\n\
         config.\"group.id\" = \"shipping\"\nconfig.\"session.timeout.ms\" = 6000\n[clients.member.forward]\nto = [\"shipped\"]\n\
         declines = {{ per-mille = 5, to = \"shipped\" }}\nconfig.acks = \"all\"\n"
    );
    let cases = [
        ("to = [\"shipped\"]", "to = [\"shiped\"]"),
        ("to = [\"shipped\"]", "to = [\"orders\"]"),
        ("to = [\"shipped\"]", "to = []"),
        ("per-mille = 5", "per-mille = 1001"),
        ("acks = \"all\"", "acks = \"some\""),
        ("finish-then-commit", "hand-off"),
    ];
    insta::assert_snapshot!(slips(&service, &cases));
    let place = Place::new();
    place.put("right.toml", service);
    let said = place.run("right.toml", 1, "out", &[]);
    assert_eq!(said.code, 0, "{said:?}");
}

/// All errors of a file at once, in its order.
#[test]
fn every_table_wrong() {
    let (place, mut text) = (Place::new(), String::new());
    place.put("wrong.toml", WRONG);
    refused(&place, &["run", "wrong.toml", "--out", "out"], "a wrong word in each table", &mut text);
    insta::assert_snapshot!(text);
}

/// A wrong word in each table.
const WRONG: &str = r#"name = "wrong"
sumary = "Words are wrong in every table."
duration = "20"
converge-within = "130s"
[cluster]
disk = "nvm"

[broker]
"min.insync.replica" = 2
"replica.lag.time.max.ms" = [1000, -5]

[[topic]]
nmae = "orders"
replicas = 3

[[clients]]
# A comment, so that lines are as the test counts them.
kind = "prodcer"
load = { rate = 20, arrivals = ["poisson", "burst"], key = 5, value = "100B" }
config = { "linger.ms" = [0, -5, 50] }

[[clients]]
kind = "consumer"
topic = "order"

[[fault]]
kind = "kil"
who = "leader(order-0)"
at = ["5s", "x"]
for = "2s"
when = "not up(b1) and not upp(b2)"

[expect]
sometimes = ["leader-electd"]
"#;

/// Properties files, the cases that are refused.
#[test]
fn settings() {
    let (place, mut text) = (Place::new(), String::new());
    let cases = [
        ("--producer", "linger.ms=-5\nacks=2\nlinger.mss=5\nmax.block.ms=soon\n"),
        ("--producer", "enable.idempotence=true\nacks=1\n"),
        ("--producer", "delivery.timeout.ms=1000\nlinger.ms=500\nrequest.timeout.ms=600\n"),
        ("--consumer", "auto.offset.reset=newest\nsession.timeout.ms=0\n"),
        ("--topic", "min.insync.replicas=0\nretention.hours=3\n"),
        ("--broker", "replica.lag.time.max.ms=5\nlog.retention.check.interval.ms=0\n"),
        ("--producer", "acks: all\nlinger.ms: 5\nspring:\n  kafka:\n    producer:\n      acks: 1\n"),
        ("--producer", "a=\\u12\n"),
    ];
    for (option, content) in cases {
        place.put("wrong.properties", content);
        let args = ["audit", option, "wrong.properties", "--seeds", "1", "--no-changes", "--out", "out"];
        refused(&place, &args, &format!("{option}\n{content}"), &mut text);
    }
    assert!(!place.path().join("out").exists());
    insta::assert_snapshot!(text);
}

/// Lines that are no history, or break its contract.
#[test]
fn histories() {
    let (place, mut text) = (Place::new(), String::new());
    let cases = [
        "",
        "hello\n",
        "{\"klamm-history\":1}\n{\"at\":1,\"client\":1,\"op\":\"sned\"}\n",
        "{\"klamm-history\":1}\n{\"at\":1,\"client\":0,\"op\":\"send\",\"topic\":\"orders\",\"valu\":1}\n",
        "{\"klamm-history\":99}\n",
    ];
    for content in cases {
        place.put("wrong.jsonl", content);
        refused(&place, &["check", "wrong.jsonl"], &format!("{content:?}"), &mut text);
    }
    insta::assert_snapshot!(text);
}

#[test]
fn arguments() {
    let (place, mut text) = (Place::new(), String::new());
    place.put("tiny.toml", TINY);
    let run = ["run", "tiny.toml", "--out", "out"];
    let more: [&[&str]; 11] = [
        &["--defect", "no-dedup-windw"],
        &["--seed", "seventeen"],
        &["--master", "0xxyz"],
        &["--shard", "5/3"],
        &["--seeds", "0"],
        &["--for", "ever"],
        &["--filter", "zzz"],
        &["--world", "live"],
        &["--format", "xml"],
        &["--sedes", "3"],
        &["--defect", DEFECT, "--defect", "x"],
    ];
    let mut cases: Vec<Vec<&str>> = more.iter().map(|m| [&run, *m].concat()).collect();
    cases.extend([
        vec!["run", "smoek"],
        vec!["run", "missing.toml"],
        vec!["list", "smoek"],
        vec!["list", "fautls"],
        vec!["replay", "tiny.toml"],
        vec!["replay", "nowhere/at/all"],
        vec!["shrink", "nowhere"],
        vec!["check", "nowhere.jsonl"],
        vec!["report", "nowhere"],
        vec!["compare", "tiny.toml"],
        vec!["parity", "smoek"],
        vec!["defects", "hunt", "no-dedup-windw"],
        vec!["serve", "--port", "70000"],
        vec!["init", "tiny.toml"],
    ]);
    for args in cases {
        refused(&place, &args, &format!("klamm {}", args.join(" ")), &mut text);
    }
    assert!(!place.path().join("out").exists());
    insta::assert_snapshot!(text);
}

/// `--help` of everything.
#[test]
fn help() {
    let (place, mut text) = (Place::new(), String::new());
    let commands = [
        "",
        "run",
        "replay",
        "compare",
        "parity",
        "audit",
        "shrink",
        "report",
        "serve",
        "check",
        "defects",
        "defects list",
        "defects hunt",
        "defects record",
        "defects compare",
        "init",
        "list",
    ];
    for command in commands {
        let args: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let said = place.klamm(&args);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{command}");
        let lines = said.out.trim_end().lines().map(str::trim_end);
        let _ = writeln!(text, "=== klamm {}\n{}\n", args.join(" "), lines.collect::<Vec<_>>().join("\n"));
    }
    insta::assert_snapshot!(text);
}
