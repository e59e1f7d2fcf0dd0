//! The file of findings: text, a line a finding, so that a change of it can be read where changes are reviewed.

use super::{Entry, Finding, Switch};
use std::fmt::Write;

const HEAD: &str = "\
# What the judge finds under each defect; written by `klamm defects record`, see README.
# A line with `events` begins a scenario under a switch: seeds run, and a hash over what happened in them.
# The lines below it are what was found: the first finding of a check in a seed, with one permission, and how many.
# switch\tscenario\tseed\tcheck\tinstant\tpartition\tpermission\tfindings
";

const BEGINS: &str = "events";
const ABSENT: &str = "-";
/// The permission of what nothing permits.
const VIOLATION: &str = "violation";

/// The file's text.
pub fn write(entries: &[Entry]) -> String {
    let mut text = String::from(HEAD);
    for e in entries {
        let place = format!("{}\t{}", e.switch.id(), e.scenario);
        let _ = writeln!(text, "{place}\t{BEGINS}\t{}\t{:016x}", e.seeds, e.events);
        for f in &e.findings {
            let at = instant(f.at);
            let partition = f.partition.as_deref().unwrap_or(ABSENT);
            let permission = f.permission.as_deref().unwrap_or(VIOLATION);
            let _ = writeln!(text, "{place}\t{}\t{}\t{at}\t{partition}\t{permission}\t{}", f.seed, f.check, f.count);
        }
    }
    text
}

/// Nanoseconds as seconds, all digits.
pub(super) fn instant(at: u64) -> String {
    format!("{}.{:09}", at / 1_000_000_000, at % 1_000_000_000)
}

/// Reads it.
///
/// # Errors
/// The line that is not understood.
pub fn read(text: &str) -> Result<Vec<Entry>, String> {
    let mut entries: Vec<Entry> = Vec::new();
    for (n, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
        take(&mut entries, &line.split('\t').collect::<Vec<_>>()).ok_or_else(|| format!("line {}: `{line}`", n + 1))?;
    }
    Ok(entries)
}

fn take(entries: &mut Vec<Entry>, fields: &[&str]) -> Option<()> {
    match *fields {
        [switch, scenario, BEGINS, seeds, events] => {
            let (switch, scenario) = (Switch::of(switch)?, scenario.to_owned());
            let events = u64::from_str_radix(events, 16).ok()?;
            entries.push(Entry { switch, scenario, seeds: seeds.parse().ok()?, events, findings: Vec::new() });
        }
        [switch, scenario, seed, check, at, partition, permission, count] => {
            let entry = entries.last_mut().filter(|e| e.switch.id() == switch && e.scenario == scenario)?;
            let (seconds, nanos) = at.split_once('.').filter(|(_, nanos)| nanos.len() == 9)?;
            entry.findings.push(Finding {
                seed: seed.parse().ok()?,
                check: check.parse().ok()?,
                at: seconds.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(nanos.parse().ok()?)?,
                partition: (partition != ABSENT).then(|| partition.to_owned()),
                permission: (permission != VIOLATION).then(|| permission.to_owned()),
                count: count.parse().ok()?,
            });
        }
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds::Seed;
    use klamm_model::defects::Defect;

    #[test]
    fn what_is_written_is_read() {
        let finding = |partition: Option<&str>, permission: Option<&str>| Finding {
            seed: Seed(0xabc),
            check: klamm_model::checks::Check::LostWrite,
            at: 12_000_000_034,
            partition: partition.map(str::to_owned),
            permission: permission.map(str::to_owned),
            count: 3,
        };
        let entry = |switch, findings| Entry { switch, scenario: "tiny".to_owned(), seeds: 30, events: 7, findings };
        let entries = vec![
            entry(Switch::Off, vec![]),
            entry(Switch::On(Defect::NoDedupWindow), vec![finding(None, Some("L")), finding(Some("orders-0"), None)]),
        ];
        let text = write(&entries);
        assert_eq!(read(&text), Ok(entries));
        assert!(
            text.contains("no-dedup-window\ttiny\t0xabc\tlost-write\t12.000000034\torders-0\tviolation\t3\n"),
            "{text}"
        );
    }

    #[test]
    fn a_damaged_line_is_named() {
        let begins = "correct-code\ttiny\tevents\t30\t0000000000000007\n";
        assert!(read(begins).is_ok());
        for line in ["", "dedup\ttiny\tevents\t30\t07", "correct-code\tbig\t0x1\tunseen\t1.000000000\t-\tviolation\t1"]
        {
            assert_eq!(read(&format!("{begins}{line}\n")), Err(format!("line 2: `{line}`")));
        }
    }
}
