//! `--world turmoil`: the same scenarios on real frames, refused where that world cannot, repeatable, and watchful.

mod common;

use common::{DEFECT, Place, TINY, digests, failures};
use klamm_scenarios::run::{Options, WorldKind, run_seed};
use klamm_scenarios::{catalog, schema};
use klamm_world::shell::planted::Planted;
use std::fs;

const SCENARIOS: [&str; 4] = ["tiny.toml", "power-loss-of-one", "one-sided-partition", "coordinator-isolated"];

#[test]
fn seeds_run_again_in_fresh_processes_give_the_same_digests() {
    let place = Place::new();
    place.put("tiny.toml", TINY);
    let run = |out: &str, jobs: &str| {
        let options = ["--world", "turmoil", "--seeds", "5", "--recheck", "1000000", "-j", jobs, "--out", out];
        let said = place.klamm(&[&["run"][..], &SCENARIOS, &options].concat());
        // With so few seeds not everything that must be seen sometimes is.
        assert!(said.code == 0 || said.code == 4, "{said:?}");
        assert!(said.out.contains("determinism 20/20 rechecked"), "{said:?}");
        digests(&place.run_folder(out))
    };
    let (once, again) = (run("once", "1"), run("again", "2"));
    assert_eq!(once.len(), 20);
    assert_eq!(once, again);
}

#[test]
fn what_turmoil_cannot_do_is_refused_by_name_before_anything_runs() {
    let place = Place::new();
    let put = |what: &str, by: &str| place.put("wrong.toml", TINY.replacen(what, by, 1));
    let run =
        |more: &[&str]| place.klamm(&[&["run", "wrong.toml", "--world", "turmoil", "--out", "out"], more].concat());
    put("kind = \"reset\"", "kind = \"hold\"\napi = \"Fetch\"\nfor = \"1s\"");
    run(&[]).refused(&["tiny: fault `hold`: ", "--world des"]);
    run(&["--skip-refused"]).refused(&["tiny: fault `hold`: "]);
    put("kind = \"reset\"", "kind = \"loss\"\nshare = \"10%\"\nfor = \"1s\"");
    run(&[]).refused(&["fault `loss`: "]);
    put("[[topic]]", "[cluster]\nclock-drift-ppm = 50\nnetwork = { bandwidth = \"1Mbit\" }\n\n[[topic]]");
    run(&[]).refused(&["cluster setting `clock-drift-ppm`: ", "cluster setting `network.bandwidth`: "]);
    put("kind", "kind");
    run(&["--encode"]).refused(&["--encode is for the des world"]);
    place.klamm(&["run", "tiny.toml", "--world", "turmol"]).refused(&["there is no world `turmol`", "`turmoil`"]);
    place.klamm(&["replay", "clock-step", "--seed", "1", "--world", "turmoil"]).refused(&["fault `clock-drift`: "]);
    assert!(!place.path().join("out").exists());
}

#[test]
fn a_failure_is_replayed_in_the_world_it_happened_in() {
    let place = Place::new();
    place.put("tiny.toml", TINY);
    let run = ["run", "tiny.toml", "--world", "turmoil", "--seeds", "20", "--defect", DEFECT, "--out", "out"];
    let said = place.klamm(&run);
    assert_eq!(said.code, 1, "{said:?}");
    let folder = failures(&place.run_folder("out"))[0].clone();
    let folder = folder.to_str().unwrap();
    for schedule in ["schedule", "fired"] {
        let said = place.klamm(&["replay", folder, "--schedule", schedule]);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.out.contains("reproduced: "), "{said:?}");
    }
    // A schedule that somebody gave something this world cannot do.
    let (path, verdict) = (format!("{folder}/schedule.toml"), format!("{folder}/verdict.json"));
    let line = "\n[[fault]]\nkind = \"clock-drift\"\nwho = \"b1\"\nppm = 5\nat = 7\n";
    let schedule = fs::read_to_string(&path).unwrap() + line;
    fs::write(&path, &schedule).unwrap();
    let mut noted: serde_json::Value = serde_json::from_slice(&fs::read(&verdict).unwrap()).unwrap();
    noted["files"].as_object_mut().unwrap().remove("schedule.toml");
    fs::write(&verdict, noted.to_string()).unwrap();
    place
        .klamm(&["replay", folder])
        .refused(&["schedule.toml: fault ", "(clock-drift): every clock of the turmoil world"]);
}

/// In a whole cluster, which retries whatever fails: a bug of the shell must be noticed all the same.
#[test]
fn bugs_planted_in_the_shell_are_noticed_in_a_cluster() {
    let mut scenarios = vec![schema::parse("tiny", TINY).unwrap()];
    scenarios.extend(catalog::find("rebalance-storm").unwrap());
    let noticed = |planted: Option<Planted>| {
        let options = Options { world: WorldKind::Turmoil, planted, ..Options::default() };
        scenarios
            .iter()
            .flat_map(|scenario| (1..=2).map(move |seed| (scenario, seed)))
            .flat_map(|(scenario, seed)| {
                let outcome = run_seed(scenario, seed, &options);
                outcome.violations(scenario).take(1).map(|f| f.check).collect::<Vec<_>>()
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(noticed(None), []);
    for bug in Planted::ALL {
        let checks = noticed(Some(bug));
        assert!(checks.contains(&klamm_model::checks::Check::ShellContract), "{bug:?}: {checks:?}");
    }
}

#[test]
fn parity_compares_promises_and_says_what_it_left_out() {
    let place = Place::new();
    place.put("tiny.toml", TINY);
    let said = place.klamm(&["parity", "tiny.toml", "clock-step", "--seeds", "3", "--out", "out"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.contains("not in every world: clock-step: cluster setting `clock-drift-ppm`"), "{said:?}");
    assert!(said.out.contains("1/1 scenarios promise the same in both worlds"), "{said:?}");
    place.klamm(&["parity", "clock-step", "--out", "out"]).refused(&["no scenario of these"]);
}
