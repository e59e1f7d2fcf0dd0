//! What became of each `[[fault]]`, from what became of the lines of its schedule.

use crate::artefacts::fault_in_words;
use crate::schema::{Scenario, settled_faults};
use klamm_reports::record::FaultRecord;
use klamm_world::faults::{Became, Planned};

/// One record for each `[[fault]]` of a settled scenario, which has one line at most; after them one for each line that
/// comes from none of them.
pub fn records(resolved: &Scenario, schedule: &[Planned], became: &[Became]) -> Vec<FaultRecord> {
    let named = |fault: String| FaultRecord { fault, ..FaultRecord::default() };
    let mut records: Vec<FaultRecord> = resolved.faults.iter().map(|fault| named(fault.words())).collect();
    let specs = records.len();
    for (planned, became) in schedule.iter().zip(became) {
        let record = match planned.of.filter(|of| *of < specs) {
            Some(of) => &mut records[of],
            None => {
                records.push(named(fault_in_words(&Planned { lasts: None, ..planned.clone() })));
                records.last_mut().expect("just pushed")
            }
        };
        record.due += u64::from(became.due);
        record.fired += became.fired;
        record.in_effect += became.in_effect;
        record.seeds = u64::from(record.in_effect > 0);
        for (host, n) in &became.on {
            *record.on.entry(host.clone()).or_default() += n;
        }
        for (why, n) in &became.idle {
            *record.idle.entry(why.words().to_owned()).or_default() += n;
        }
    }
    records
}

/// The records of a settled scenario put together for the `[[fault]]`s that it was settled from.
pub fn of_specs(scenario: &Scenario, seed: u64, settled: &[FaultRecord]) -> Vec<FaultRecord> {
    let mut rest = settled;
    let each = scenario.faults.iter().zip(settled_faults(scenario, seed)).map(|(spec, share)| {
        let (own, later) = rest.split_at(share.faults.min(rest.len()));
        rest = later;
        let mut record = FaultRecord { fault: spec.words(), not_drawn: share.not_drawn, ..FaultRecord::default() };
        own.iter().for_each(|one| record.add(one));
        record.seeds = u64::from(record.in_effect > 0);
        record
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog;
    use crate::run::{Options, run_resolved, run_seed};
    use crate::schema::{parse, resolve, to_toml};

    fn scenario(faults: &str) -> Scenario {
        let text = format!(
            "name = \"t\"\nsummary = \"t\"\nduration = \"4s\"\nconverge-within = \"30s\"\n[[topic]]\nname = \"orders\"\n\
             [[clients]]\nkind = \"producer\"\nload = {{ rate = 20 }}\n\
             config = {{ \"delivery.timeout.ms\" = 8000, \"request.timeout.ms\" = 1500 }}\n{faults}"
        );
        parse("t.toml", &text).unwrap()
    }

    #[test]
    fn a_fault_of_several_times_has_one_record_and_what_was_not_drawn_is_told_apart() {
        let s = scenario(
            "[[fault]]\nkind = \"pause\"\nwho = \"b1\"\nat = \"3500ms\"\nchance = \"0%\"\n\
             [[fault]]\nkind = \"reset\"\nbetween = [\"p1\", \"brokers\"]\nat = \"1s..3s\"\ntimes = 3\n\
             [[fault]]\nkind = \"kill\"\nwho = \"b2\"\nat = \"500ms\"\nfor = \"200ms\"\n",
        );
        let outcome = run_seed(&s, 3, &Options::default());
        let words: Vec<&str> = outcome.faults.iter().map(|f| f.fault.as_str()).collect();
        assert_eq!(words, ["pause b1", "reset p1 and brokers", "kill b2"]);
        let [pause, reset, kill] = &outcome.faults[..] else { panic!("three records") };
        assert_eq!((pause.due, pause.fired, pause.seeds, pause.not_drawn, pause.idle.len()), (0, 0, 0, 1, 0));
        assert_eq!((reset.due, reset.fired, reset.not_drawn), (3, 3, 0));
        assert_eq!((kill.due, kill.fired, kill.in_effect, kill.seeds), (1, 1, 1, 1));
        assert_eq!(kill.on.iter().map(|(h, n)| (h.as_str(), *n)).collect::<Vec<_>>(), [("b2", 1)]);
        // A replay of what was settled has a record for each of its own faults, and the same counts.
        let (resolved, schedule) = resolve(&s, 3);
        let text = to_toml(&resolved);
        let again = run_resolved(parse("again.toml", &text).unwrap(), schedule, 3, &Options::default());
        assert_eq!(again.digest, outcome.digest);
        assert_eq!(again.faults.len(), 4);
        assert_eq!(again.faults.iter().map(|f| f.in_effect).sum::<u64>(), reset.in_effect + 1);
        // What fired keeps its place, too; a line without one has a record of its own.
        let mut fired = outcome.fired.clone();
        fired.last_mut().unwrap().of = None;
        let replayed = run_resolved(resolved, fired, 3, &Options::default());
        assert_eq!((replayed.digest, replayed.faults.len()), (outcome.digest, 5));
        assert_eq!(replayed.faults.iter().map(|f| f.fired).sum::<u64>(), 4);
    }

    #[test]
    fn a_fault_that_meets_nothing_says_why() {
        let s = scenario(
            "[[fault]]\nkind = \"kill\"\nwho = \"b1\"\nat = \"1s\"\nwhen = \"isr-size(orders-0) > 3\"\n\
             [[fault]]\nkind = \"kill\"\nwho = \"last-killed\"\nat = \"1s\"\n\
             [[fault]]\nkind = \"bit-rot\"\nwho = \"b1\"\nlog = \"orders-0\"\nat = \"1s\"\n\
             [[fault]]\nkind = \"restart\"\nwho = \"b1\"\nat = \"1s\"\n",
        );
        let outcome = run_seed(&s, 1, &Options::default());
        let why = |i: usize| {
            let f = &outcome.faults[i];
            assert_eq!((f.seeds, f.in_effect, f.on.len(), f.idle.len()), (0, 0, 0, 1), "{f:?}");
            f.idle.keys().next().unwrap().as_str()
        };
        assert_eq!(why(0), "its condition was never true");
        assert_eq!(why(1), "its target never existed");
        assert_eq!(why(2), "there was nothing to damage");
        assert_eq!(why(3), "its target was up already");
    }

    #[test]
    fn counts_are_the_same_on_every_run() {
        let s = &catalog::find("isolated-leader").unwrap()[0];
        let run = || run_seed(s, 5, &Options::default());
        let (a, b) = (run(), run());
        assert!(a.faults[0].in_effect > 0, "{:?}", a.faults);
        assert_eq!((a.faults, a.armed), (b.faults, b.armed));
    }
}
