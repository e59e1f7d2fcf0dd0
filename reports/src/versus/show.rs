//! A comparison of two runs as a page, as Markdown, and for a terminal.

use super::wall::Verdict;
use super::{Scenario, Unit, Versus};
use crate::html::{Charts, page as whole_page};
use crate::text::{self, number, time};
use maud::{Markup, PreEscaped, html};
use std::fmt::Write;

/// A figure as people read it.
pub(super) fn value(unit: Unit, n: Option<u64>) -> String {
    n.map_or("-".to_owned(), |n| match unit {
        Unit::Time => time(n),
        Unit::Count => number(n),
    })
}

/// A share with its sign: `+4.2%`.
pub(super) fn share(x: f64) -> String {
    if x.is_infinite() { "from none".to_owned() } else { format!("{:+.1}%", x * 100.0) }
}

/// The figures that differ: (figure, base, other, change).
fn rows(s: &Scenario) -> Vec<[String; 4]> {
    let row = |c: &super::Change| {
        let (a, b) = (c.base.unwrap_or(0) as f64, c.other.unwrap_or(0) as f64);
        let grown = if a == 0.0 { f64::INFINITY } else { (b - a) / a };
        let mut words = share(grown);
        if c.worsened() > 0.0 {
            words.push_str(" worse");
        } else if c.worsened() < 0.0 {
            words.push_str(" better");
        }
        [c.figure.to_owned(), value(c.unit, c.base), value(c.unit, c.other), words]
    };
    s.changes.iter().filter(|c| c.differs()).map(row).collect()
}

/// Time on the wall in a sentence.
fn wall(s: &Scenario) -> String {
    let Some(w) = &s.wall else { return "time on the wall: too few seeds to say anything".to_owned() };
    let e = &w.effect;
    let figures = format!(
        "{} (95%: {} to {}; an effect below {} would not have shown)",
        share(e.mean),
        share(e.low),
        share(e.high),
        share(e.detectable).trim_start_matches('+')
    );
    match (w.verdict, &w.base_again) {
        (Verdict::Slower, _) => format!("time on the wall: slower, {figures}"),
        (Verdict::Faster, _) => format!("time on the wall: faster, {figures}"),
        (Verdict::NoDifference, _) => format!("time on the wall: no difference found, {figures}"),
        (Verdict::NoVerdict, None) => {
            format!("time on the wall: no verdict without a second run of the base; {figures}")
        }
        (Verdict::NoVerdict, Some(again)) => {
            format!("time on the wall: no verdict, the base differs from itself by {}; {figures}", share(again.mean))
        }
    }
}

/// What it came to in both, and how many seeds went another way.
fn same(s: &Scenario) -> String {
    let (base, other) = s.verdicts;
    let verdict = if base == other {
        format!("{} in both", base.word())
    } else {
        format!("was {}, is now {}", base.word(), s.sentence)
    };
    let seeds = crate::text::count(s.seeds as u64, "seed");
    if s.same < s.seeds {
        format!("{verdict}; {} of {seeds} went another way", s.seeds - s.same)
    } else {
        format!("{verdict}; all {seeds} went the same way, event for event")
    }
}

const NOTE: &str = "Virtual time, the same seeds in both runs: every figure that differs is a change. Time on the wall: \
                    ratios seed by seed, the quickest of each run's repetitions, bootstrap over seeds.";

/// For a terminal.
pub fn console(v: &Versus) -> String {
    let mut out = format!("  base:  {}\n  other: {}\n", v.base.folders.join(", "), v.other.folders.join(", "));
    for s in &v.scenarios {
        let _ = writeln!(out, "\n  {}: {}", s.title, same(s));
        let rows = rows(s).into_iter().map(|[name, a, b, change]| (format!("  {name}"), [a, b, change]));
        let rows: Vec<(String, [String; 3])> = rows.collect();
        if !rows.is_empty() {
            out.push_str(&text::table("  figure", &["base", "other", "change"], &rows));
        }
        let _ = writeln!(out, "    {}", wall(s));
    }
    for alone in &v.alone {
        let _ = writeln!(out, "  not compared: {alone}");
    }
    out
}

fn verdict(v: &Versus) -> String {
    match v.scenarios.iter().filter(|s| s.differs()).count() {
        0 => "nothing differs".to_owned(),
        n => format!("{n} of {} scenarios differ", v.scenarios.len()),
    }
}

/// `summary.md`.
pub fn markdown(v: &Versus, exceeded: &[String]) -> String {
    let mut md = format!("## klamm compare · {}\n\n", verdict(v));
    let _ = writeln!(md, "`{}`: base {}, other {}.\n", v.again, v.base.folders.join(", "), v.other.folders.join(", "));
    for line in exceeded {
        let _ = writeln!(md, "- **gate** {line}");
    }
    for s in &v.scenarios {
        let _ = writeln!(md, "\n### {}\n\n{}\n", s.title, same(s));
        let rows = rows(s);
        if !rows.is_empty() {
            md.push_str(&text::markdown(&["figure", "base", "other", "change"], 1, rows.into_iter().map(Vec::from)));
        }
        let _ = writeln!(md, "\n{}", wall(s));
    }
    for alone in &v.alone {
        let _ = writeln!(md, "\nnot compared: {alone}");
    }
    let _ = writeln!(md, "\n{NOTE}");
    md
}

/// `index.html`; `charts` belong to the scenarios, in order.
pub fn page(v: &Versus, exceeded: &[String], charts: &[Charts]) -> String {
    let which = |name: &str, w: &super::Which| {
        html! { p { b { (name) ": " } (w.folders.join(", ")) ", klamm " (w.klamm) ", build " code { (w.build) } } }
    };
    let body = html! {
        h1 { "klamm compare · " (verdict(v)) }
        p { code { (v.again) } }
        (which("base", &v.base)) (which("other", &v.other))
        @for line in exceeded { p.bad { "gate: " (line) } }
        @for (s, charts) in v.scenarios.iter().zip(charts) { (scenario(s, charts)) }
        @for alone in &v.alone { p.warn { "not compared: " (alone) } }
        p.small { (NOTE) }
    };
    whole_page("klamm compare", &body)
}

fn scenario(s: &Scenario, charts: &Charts) -> Markup {
    let rows = rows(s);
    html! {
        h2 { (s.title) }
        p { (same(s)) ". " (wall(s)) "." }
        @if !rows.is_empty() {
            div.scroll.named { table {
                thead { tr { th { "figure" } th { "base" } th { "other" } th { "change" } } }
                tbody { @for [name, a, b, change] in &rows { tr {
                    td { (name) } td { (a) } td { (b) } td { (change) }
                } } }
            } }
        }
        @for (caption, svg) in charts { figure { (PreEscaped(svg)) figcaption { (caption) } } }
    }
}
