//! The file of findings: a sample of what it says is found still, and a judge that finds less, more or otherwise is noticed.

mod common;

use common::{Place, Said};
use std::path::Path;

const FINDINGS: &str = "net/findings.tsv";
/// Of replication, of a producer, of a group, of elections, and the correct code.
const SAMPLE: &[&str] = &[
    "hw-truncate-on-follow",
    "isr-expand-below-high-watermark",
    "no-dedup-window",
    "elr-leader-not-in-isr",
    "static-member-not-persisted",
];

fn recorded() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(FINDINGS)).unwrap()
}

fn compare(place: &Place, text: &str, seeds: &str, ids: &[&str]) -> Said {
    place.put("findings.tsv", text);
    place.klamm(&[&["defects", "compare", "findings.tsv", "--seeds", seeds], ids].concat())
}

#[test]
fn a_sample_of_what_is_recorded_is_found() {
    let said = compare(&Place::new(), &recorded(), "5", SAMPLE);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("As recorded: 5 switches"), "{said:?}");
}

#[test]
fn what_differs_is_told_by_switch_and_check() {
    let (place, text) = (Place::new(), recorded());
    let ids = ["hw-truncate-on-follow"];
    // The first finding of the first seed of its first scenario.
    let of =
        |text: &str| -> Vec<String> { text.lines().filter(|l| l.starts_with(ids[0])).map(str::to_owned).collect() };
    let lines = of(&text);
    let finding = lines.iter().find(|l| l.ends_with("\tviolation\t1")).unwrap();
    let check = finding.split('\t').nth(3).unwrap();
    let told = |text: &str, change: &str, check: &str| {
        let said = compare(&place, text, "30", &ids);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.out.contains(&format!("{}: {check}\n", ids[0])), "{said:?}");
        assert!(said.out.contains(&format!("  {change:<8} ")), "{said:?}");
    };
    told(&text.replace(&format!("{finding}\n"), ""), "new", check);
    told(&text.replace(finding, &finding.replace("\tviolation\t", "\tL\t")), "changed", check);
    told(&text.replace(finding, &format!("{finding}\n{}", finding.replace(check, "unseen"))), "lost", "unseen");
    // A scenario that is not in the file.
    let scenario = finding.split('\t').nth(1).unwrap();
    let kept = |l: &&str| !l.starts_with(&format!("{}\t{scenario}\t", ids[0]));
    let less: String = text.lines().filter(kept).map(|l| format!("{l}\n")).collect();
    let said = compare(&place, &less, "1", &ids);
    assert!(said.code == 1 && said.out.contains("run now, but not recorded"), "{said:?}");
}

#[test]
fn slips_are_refused() {
    let place = Place::new();
    compare(&place, "a\tb\n", "1", &[]).refused(&["findings.tsv", "line 1"]);
    compare(&place, &recorded(), "1", &["no-dedup-windw"]).refused(&["did you mean `no-dedup-window`"]);
    place.klamm(&["defects", "compare", "nowhere.tsv"]).refused(&["nowhere.tsv"]);
}
