//! A newcomer's way: `klamm init`, `klamm list`, and what README says of scenario files.

mod common;

use common::Place;
use klamm_scenarios::schema;
use klamm_world::faults::{when::Condition, who::Expr};

#[test]
fn the_starter_runs_and_nothing_is_overwritten() {
    let place = Place::new();
    let said = place.klamm(&["init"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("klamm run ./scenario.toml --seeds 20"), "{}", said.out);
    let said = place.run("scenario.toml", 5, "out", &[]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("  held ") && said.err.is_empty(), "{said:?}");

    // Its own advice: what it says of acks=1 is so.
    let starter = std::fs::read_to_string(place.path().join("scenario.toml")).unwrap();
    let worse = starter.replace(
        "{ \"acks\" = \"all\", \"enable.idempotence\" = true",
        "{ \"acks\" = \"1\", \"enable.idempotence\" = false",
    );
    assert_ne!(worse, starter);
    place.put("worse.toml", worse);
    let said = place.run("worse.toml", 5, "red", &[]);
    assert!(said.code == 1 && said.out.contains("forbidden here, though it comes of acks=1"), "{said:?}");

    place.put("scenario.toml", "mine");
    place.klamm(&["init", "."]).refused(&["scenario.toml is there already"]);
    assert_eq!(std::fs::read_to_string(place.path().join("scenario.toml")).unwrap(), "mine");
    place.klamm(&["init", "scenario.toml"]).refused(&["scenario.toml is there already"]);
    assert_eq!(place.klamm(&["init", "new/folder"]).code, 0);
    assert!(place.path().join("new/folder/scenario.toml").is_file());
    assert_eq!(place.klamm(&["init", "other/name.toml"]).code, 0);
    assert!(place.path().join("other/name.toml").is_file());
}

#[test]
fn words_are_listed_a_line_each() {
    let place = Place::new();
    let list = |what: &str, more: &[&str]| {
        let said = place.klamm(&[&["list", what], more].concat());
        assert_eq!(said.code, 0, "{said:?}");
        said.out
    };
    for (what, word) in
        [("faults", "bit-rot"), ("marks", "leader-elected"), ("checks", "lost-write"), ("settings", "linger.ms")]
    {
        let (plain, json) = (list(what, &[]), list(what, &["--format", "json"]));
        assert!(plain.lines().any(|l| l.starts_with(word)), "{plain}");
        assert_eq!(plain.lines().count(), json.lines().count());
        for line in json.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(line["name"].is_string() && line["about"].is_string(), "{line}");
        }
    }
    let smoke = list("smoke", &["--format", "json"]);
    assert!(smoke.lines().all(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()["name"].is_string()));
    place.klamm(&["list", "mark"]).refused(&["did you mean `marks`"]);
    place.klamm(&["list", "faults", "--format", "xml"]).refused(&["`human` or `json`"]);
    for schema in ["run", "audit", "compare"] {
        assert!(place.klamm(&["list", "--schema", schema]).out.contains("json-schema.org"), "{schema}");
    }
    place.klamm(&["list", "--schema", "runs"]).refused(&["did you mean `run`"]);
}

const README: &str = include_str!("../../README.md");

/// Every block of TOML in README is a scenario, or a part of one.
#[test]
fn every_example_in_readme_is_read() {
    let blocks: Vec<&str> =
        README.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect();
    let whole = blocks.iter().find(|b| b.starts_with("name = ")).expect("a whole scenario");
    assert!(blocks.len() >= 3, "{blocks:?}");
    for block in &blocks {
        let text = if block.starts_with("name = ") {
            (*block).to_owned()
        } else {
            // A part stands beside what it needs.
            let topics = ["orders", "paid", "cancelled"].iter().filter(|t| block.contains(&format!("\"{t}\"")));
            let more = topics.filter(|t| !whole.contains(&format!("name = \"{t}\"")));
            let more: String = more.map(|t| format!("[[topic]]\nname = \"{t}\"\n")).collect();
            format!("{whole}\n{more}\n{block}")
        };
        schema::parse("README.md", &text).unwrap_or_else(|e| panic!("{block}\n{e:?}"));
    }
}

/// The rows of the tables of `who` and `when`: each begins with an example.
#[test]
fn every_expression_in_readme_is_read() {
    let rows = |head: &str| -> Vec<String> {
        let table = README.split(head).nth(1).unwrap_or_else(|| panic!("no table {head}"));
        let rows = table.lines().skip(2).take_while(|l| l.starts_with('|'));
        rows.flat_map(|l| {
            let cell = l.split(" | ").next().unwrap_or_default();
            cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
    };
    let hosts = ["b1", "b2", "c1", "p1", "r1", "m1"];
    let who = rows("| `who` | means |");
    for text in &who {
        Expr::parse(text, hosts).unwrap_or_else(|e| panic!("{e}"));
    }
    let when = rows("| `when` | holds if |");
    for text in &when {
        Condition::parse(text, hosts).unwrap_or_else(|e| panic!("{e}"));
    }
    // And none is missing: what the parser offers instead of a wrong word is in the table.
    let suggested = |text: &str| who.iter().chain(&when).any(|e| e.starts_with(text));
    for word in [
        "leader(",
        "follower(",
        "replicas(",
        "isr(",
        "coordinator(",
        "coordinator-followers(",
        "member(",
        "members(",
        "leader-member(",
        "controller",
        "broker",
        "brokers",
        "clients",
        "others",
        "last-killed",
        "unreplicated(",
        "hw-lag(",
        "follower-behind(",
        "isr-size(",
        "leader-changed(",
        "leads(",
        "in-isr(",
        "up(",
        "down(",
        "loading(",
        "commit-in-flight(",
        "rebalancing(",
        "coordinator-loading(",
        "coordinator-unreplicated(",
        "not ",
    ] {
        assert!(suggested(word), "{word}");
    }
}

/// Durations, sizes, shares and other values in the table of values.
#[test]
fn every_value_in_readme_is_read() {
    let table = README.split("| value | written |").nth(1).expect("the table of values");
    let place = |kind: &str, value: &str| {
        let base = "name = \"t\"\nsummary = \"t\"\nconverge-within = \"130s\"\n[[topic]]\nname = \"orders\"\n[[clients]]\nkind = \"producer\"\n";
        match kind {
            "duration" => format!("duration = {value}\n{base}load = {{ rate = 1 }}\n"),
            "size" => format!("duration = \"9s\"\n{base}load = {{ rate = 1, value = {value} }}\n"),
            "number" => format!("duration = \"9s\"\n{base}load = {{ rate = {value} }}\n"),
            "share" => format!(
                "duration = \"9s\"\n{base}load = {{ rate = 1 }}\n[[fault]]\nkind = \"kill\"\nwho = \"b1\"\nat = \"1s\"\nchance = {value}\n"
            ),
            "bandwidth" => format!(
                "duration = \"9s\"\n{base}load = {{ rate = 1 }}\n[cluster]\nnetwork = {{ bandwidth = {value} }}\n"
            ),
            other => panic!("no place for a {other}"),
        }
    };
    let mut read = 0;
    for row in table.lines().skip(2).take_while(|l| l.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        for value in cells[1].split('`').skip(1).step_by(2) {
            schema::parse("README.md", &place(cells[0], value)).unwrap_or_else(|e| panic!("{row}: {e:?}"));
            read += 1;
        }
    }
    assert!(read > 15, "{read}");
}
