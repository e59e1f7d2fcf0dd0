//! Runs against each other: exact in virtual time, careful on the wall, and a gate that falls only when it must.

mod common;

use common::{Place, TINY};
use std::fs;

struct Runs {
    place: Place,
    base: String,
    again: String,
}

fn run(place: &Place, file: &str, out: &str, more: &[&str]) -> String {
    let said = place.klamm(&[&["run", file, "--seeds", "8", "--recheck", "0", "--out", out][..], more].concat());
    assert_eq!(said.code, 0, "{said:?}");
    place.run_folder(out).strip_prefix(place.path()).unwrap().display().to_string()
}

fn runs() -> Runs {
    let place = Place::new();
    place.put("tiny.toml", TINY);
    let (base, again) = (run(&place, "tiny.toml", "a", &["-j", "1"]), run(&place, "tiny.toml", "b", &["-j", "2"]));
    Runs { place, base, again }
}

impl Runs {
    /// A copy of the base as another program might have left it.
    fn changed(&self, name: &str, change: impl Fn(String) -> String) -> String {
        let from = self.place.path().join(&self.base);
        for file in ["figures.json", "tiny.response.hlog", "tiny.service.hlog"] {
            self.place.put(&format!("{name}/{file}"), fs::read(from.join(file)).unwrap());
        }
        let record = fs::read_to_string(from.join("run.json")).unwrap();
        let build = record.split("\"build\": \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        self.place.put(&format!("{name}/run.json"), change(record.replace(&build, "another")));
        name.to_owned()
    }
}

#[test]
fn a_program_against_itself_shows_nothing_and_what_changed_shows_up() {
    let r = runs();
    let said = r.place.klamm(&["compare", &r.base, &r.again, "--gate", "exact", "--out", "same"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("all 8 seeds went the same way, event for event"), "{}", said.out);
    assert!(said.out.contains("no verdict without a second run of the base"), "{}", said.out);

    let record = fs::read_to_string(r.place.path().join(&r.base).join("run.json")).unwrap();
    let p99 = record.split("\"p99\": ").nth(1).unwrap().split(',').next().unwrap().to_owned();
    let slower: u64 = p99.parse::<u64>().unwrap() * 13 / 10;
    let changed = r.changed("changed", |text| {
        let text = text.replacen(&format!("\"p99\": {p99}"), &format!("\"p99\": {slower}"), 1);
        let digest = text.split("\"digest\": \"").nth(3).unwrap().split('"').next().unwrap().to_owned();
        text.replace(&digest, "feedfacefeedface")
    });
    let compare = |gate: &[&str]| r.place.klamm(&[&["compare", &r.base, &changed, "--out", "c"][..], gate].concat());
    let said = compare(&[]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("1 of 8 seeds went another way") && said.out.contains("+30.0% worse"), "{}", said.out);
    assert_eq!(compare(&["--gate", "p99=31%,lost=0"]).code, 0);
    let said = compare(&["--gate", "p99=5%"]);
    assert!(said.code == 5 && said.out.contains("gate: tiny: p99 went from"), "{said:?}");
    assert_eq!(compare(&["--gate", "exact"]).code, 5);
    // The way back is no worsening.
    assert_eq!(r.place.klamm(&["compare", &changed, &r.base, "--gate", "p99=0", "--out", "c"]).code, 0);
    for name in ["index.html", "summary.md", "compare.json", "charts/1-percentiles.svg"] {
        assert!(r.place.path().join("c").read_dir().unwrap().any(|d| d.unwrap().path().join(name).is_file()), "{name}");
    }
}

#[test]
fn time_on_the_wall_is_judged_only_where_the_base_agrees_with_itself() {
    let r = runs();
    // Times are put in place of what this machine measured: twice as long is slower, whoever else is at work here.
    let timed = |name: &str, factor: f64| {
        let folder = r.changed(name, |text| text);
        let path = r.place.path().join(&folder).join("figures.json");
        let mut figures: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for (n, wall) in figures["scenarios"][0]["walls"].as_array_mut().unwrap().iter_mut().enumerate() {
            wall[1] = serde_json::json!(((1_000_000 + 1_000 * (n as u64 * 7 % 5)) as f64 * factor) as u64);
        }
        fs::write(&path, figures.to_string()).unwrap();
        folder
    };
    let builds = |folder: &str, build: &str| {
        let path = r.place.path().join(folder).join("run.json");
        fs::write(&path, fs::read_to_string(&path).unwrap().replace("another", build)).unwrap();
        folder.to_owned()
    };
    let base = builds(&timed("one", 1.0), "old");
    let again = builds(&timed("two", 1.0), "old");
    let noisy = builds(&timed("noisy", 1.5), "old");
    let slow = builds(&timed("slow", 2.0), "new");
    let compare = |runs: &[&str]| r.place.klamm(&[&["compare", "--gate", "wall=10%", "--out", "w"][..], runs].concat());
    compare(&[&base, &slow]).refused(&["beside a second run of the base"]);
    compare(&[&base, &noisy, &slow]).refused(&["the base differs from itself by +50.0%"]);
    let said = compare(&[&base, &again, &slow]);
    assert!(said.code == 5 && said.out.contains("time on the wall grew by +100.0%"), "{said:?}");
    assert!(said.out.contains("would not have shown"), "the smallest effect is told: {}", said.out);
}

#[test]
fn runs_that_cannot_be_compared_are_refused() {
    let r = runs();
    let other_master = run(&r.place, "tiny.toml", "m", &["--master", "7"]);
    let compare = |runs: &[&str]| r.place.klamm(&[&["compare", "--out", "x"][..], runs].concat());
    compare(&[&r.base, &other_master]).refused(&["master seed 0x5eed", "0x7", "the same --master"]);
    let shard = run(&r.place, "tiny.toml", "s", &["--shard", "1/2"]);
    compare(&[&r.base, &shard]).refused(&["shard 1/2", "klamm report"]);
    r.place.put("weaker/tiny.toml", TINY.replace("\"enable.idempotence\" = true", "\"acks\" = \"1\""));
    let weaker = run(&r.place, "weaker/tiny.toml", "w", &[]);
    compare(&[&r.base, &weaker]).refused(&["the settings differ", "acks=all", "acks=1", "--force"]);
    assert!(!r.place.path().join("x").exists());
    assert_eq!(compare(&["--force", &r.base, &weaker]).code, 0);
    compare(&[&r.base, "nowhere"]).refused(&["nowhere: no such folder"]);
    compare(&[&r.base]).refused(&["one run alone is no comparison"]);
    compare(&[&r.base, &r.again, "--gate", "p98=1%"]).refused(&["`p98` is no figure"]);
    r.place.klamm(&["compare", "acks", "--gate", "p99=1%"]).refused(&["for runs"]);
}
