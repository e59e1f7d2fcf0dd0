//! The fast judge against the reference judge.
mod alter;
mod causes;
mod checks;
mod compare;
mod dice;
mod laid;
mod log;
mod verdict;

use compare::{differences, lines, shrink};
use dice::Dice;
use log::History;
use std::collections::BTreeMap;

/// The `number`-th history of a seed.
pub fn history(seed: u64, number: u64) -> History {
    let mut dice = Dice::new(seed, number);
    let mut history = log::run(&mut dice);
    alter::alter(&mut history, &mut dice);
    history
}

#[test]
fn both_judges_agree() {
    let count: u64 = std::env::var_os("KLAMM_HISTORIES").and_then(|v| v.to_str()?.parse().ok()).unwrap_or(20_000);
    let mut kinds: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut deciding: BTreeMap<String, u64> = BTreeMap::new();
    let mut fired: BTreeMap<&'static str, u64> = BTreeMap::new();
    for number in 0..count {
        let history = history(0x5eed, number);
        let said = compare::reference(&history);
        for d in said.deciding() {
            *deciding.entry(format!("{d:?}")).or_default() += 1;
        }
        let checks: std::collections::BTreeSet<&'static str> = said.found.keys().map(|s| s.check).collect();
        for c in checks {
            *fired.entry(c).or_default() += 1;
        }
        for d in differences(&history) {
            let kind = kinds.entry(format!("{:?}", d.kind())).or_insert((0, number));
            kind.0 += 1;
        }
    }
    println!("fired {fired:#?}\ndeciding {deciding:#?}");
    for (kind, (n, first)) in &kinds {
        println!("{n:6} {kind} first {first}");
    }
    let show = std::env::var_os("KLAMM_SHOW").and_then(|v| v.to_str().map(String::from));
    for (kind, (_, first)) in &kinds {
        if show.as_ref().is_some_and(|s| kind.contains(s.as_str())) {
            let history = history(0x5eed, *first);
            let d = differences(&history).into_iter().find(|d| format!("{:?}", d.kind()) == *kind).unwrap();
            let least = shrink(&history, d.kind());
            println!("== {kind}\n{}", lines(&least));
            println!("fast {:#?}", compare::fast_said(&least));
            println!("reference {:#?}", compare::reference(&least).verdicts());
        }
    }
    assert!(kinds.is_empty());
}
