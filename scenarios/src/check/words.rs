//! The report as people read it. Nothing that stands in a history reaches a terminal unescaped.

use super::report::{Group, Report};
use klamm_reports::text::{count, number};
use klamm_workloads::history::plain;
use std::fmt::Write;

/// Operations of one witness that are printed; a poll of thousands is cut.
const LONGEST: usize = 400;

impl Report {
    /// The report in words.
    pub fn words(&self) -> String {
        let c = &self.counts;
        let mut out = String::new();
        line(
            &mut out,
            0,
            &format!(
                "{}: {} acknowledged, {} failed, {} unknown, {} unresolved; {} read",
                count(c.sends, "send"),
                number(c.acknowledged),
                number(c.failed),
                number(c.unknown),
                number(c.unresolved),
                count(c.records_read, "record")
            ),
        );
        for group in &self.groups {
            told(&mut out, group);
        }
        if c.dropped > 0 {
            line(&mut out, 0, &format!("{} findings more than are kept", c.dropped));
        }
        let (armed, idle): (Vec<_>, Vec<_>) = self.checks.iter().partition(|check| check.judged > 0);
        if !armed.is_empty() {
            let list: Vec<String> = armed.iter().map(|check| format!("{} {}", check.check, check.judged)).collect();
            line(&mut out, 0, &format!("judged so many times: {}", list.join(", ")));
        }
        if !idle.is_empty() {
            let list: Vec<&str> = idle.iter().map(|check| check.check.as_str()).collect();
            line(&mut out, 0, &format!("judged in no operation: {}", list.join(", ")));
        }
        if !self.not_judged.is_empty() {
            line(&mut out, 0, "not judged:");
            for item in &self.not_judged {
                line(&mut out, 2, &format!("{}: {}; needed: {}", item.what, item.why, item.remedy));
            }
        }
        for hint in &self.hints {
            line(&mut out, 0, &format!("hint: {hint}"));
        }
        for note in &self.notes {
            line(&mut out, 0, &format!("note: {note}"));
        }
        line(&mut out, 0, &self.sentence);
        out
    }
}

fn told(out: &mut String, group: &Group) {
    let place = format!("{}-{}", group.topic, group.partition);
    let times = if group.count == 1 { String::new() } else { format!("  {} times", group.count) };
    let permitted = group.permitted_by.as_ref().map_or(String::new(), |cause| format!("  permitted: {cause}"));
    line(out, 0, &format!("{}  {place}{times}{permitted}", group.check));
    for finding in &group.findings {
        let offset = finding.offset.map_or(String::new(), |offset| format!("offset {offset}: "));
        let values =
            if finding.values.is_empty() { String::new() } else { format!(" (value {})", finding.values.join(", ")) };
        line(out, 2, &format!("{offset}{}{values}", finding.detail));
        // What is permitted needs no proof; `--format json` has it.
        for entry in finding.witness.iter().filter(|_| group.permitted_by.is_none()) {
            let text = entry.to_string();
            let cut: String = text.chars().take(LONGEST).collect();
            let more = if cut.len() < text.len() { " …" } else { "" };
            line(out, 4, &format!("{cut}{more}"));
        }
    }
    let more = group.count - group.findings.len() as u64;
    if more > 0 {
        line(out, 2, &format!("and {more} more; --all shows them"));
    }
}

fn line(out: &mut String, indent: usize, text: &str) {
    let _ = writeln!(out, "{:indent$}{}", "", plain(text));
}
