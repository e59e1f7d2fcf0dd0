//! What became of records on their way through services, as tables: for the job summary, the page and the terminal.

use crate::compare::found;
use crate::record::{Latency, RunRecord, ScenarioRecord, ServiceFigures};
use crate::text::{self, number, time};
use maud::{Markup, html};

/// What stands in a column.
type Figure = dyn Fn(&ScenarioRecord, &ServiceFigures) -> String;

/// One column: its heading, and what stands in it.
struct Column {
    head: String,
    of: Box<Figure>,
}

/// A table: its headings, its rows by name, and what it means.
struct Table {
    columns: Vec<String>,
    rows: Vec<(String, Vec<String>)>,
    note: &'static str,
}

fn column(head: &str, of: impl Fn(&ScenarioRecord, &ServiceFigures) -> String + 'static) -> Column {
    Column { head: head.to_owned(), of: Box::new(of) }
}

fn latency(of: Option<Latency>, pick: fn(&Latency) -> u64) -> String {
    of.map_or("-".to_owned(), |l| time(pick(&l)))
}

/// So many of all, as a percentage.
fn share(n: u64, all: u64) -> String {
    match n as f64 * 100.0 / all.max(1) as f64 {
        0.0 => "0%".to_owned(),
        p if p < 0.1 => "<0.1%".to_owned(),
        p => format!("{p:.1}%"),
    }
}

/// Scenarios with services, with their places.
fn rows(run: &RunRecord) -> impl Iterator<Item = (usize, &ScenarioRecord, ServiceFigures)> {
    run.scenarios.iter().enumerate().filter_map(|(i, s)| Some((i, s, s.services?)))
}

/// The columns of the first table: those in which there is something to say.
fn columns(run: &RunRecord) -> Vec<Column> {
    let any = |has: &dyn Fn(&ScenarioRecord, &ServiceFigures) -> bool| rows(run).any(|(_, s, f)| has(s, &f));
    let mut all = vec![
        column("records", |_, f| number(f.records)),
        column("end to end p50", |_, f| latency(f.end_to_end, |l| l.p50)),
        column("p99", |_, f| latency(f.end_to_end, |l| l.p99)),
        column("max", |_, f| latency(f.end_to_end, |l| l.max)),
    ];
    let mut deadlines: Vec<u64> = rows(run).filter_map(|(_, _, f)| f.deadline_ns).collect();
    deadlines.dedup();
    match deadlines[..] {
        [] => {}
        [one] => all.push(column(&format!("beyond {}", round(one)), |_, f| {
            f.late.map_or("-".to_owned(), |late| share(late, f.records))
        })),
        _ => all.push(column("beyond deadline", |_, f| match (f.late, f.deadline_ns) {
            (Some(late), Some(deadline)) => format!("{} ({})", share(late, f.records), round(deadline)),
            _ => "-".to_owned(),
        })),
    }
    if any(&|_, f| f.unfinished > 0) {
        all.push(column("never", |_, f| number(f.unfinished)));
    }
    all.push(column("step p99", |_, f| latency(f.steps, |l| l.p99)));
    all.push(column("handled twice", |_, f| number(f.twice)));
    for (head, check) in [("half done", "half-done"), ("out of step", "out-of-step"), ("stale keys", "read-model")] {
        if any(&|s, _| found(s, &[check]) > 0) {
            all.push(column(head, move |s, _| number(found(s, &[check]))));
        }
    }
    all.extend([
        column("lag peak", |_, f| number(f.lag_peak.p50)),
        column("worst", |_, f| number(f.lag_peak.max)),
        column("behind for", |_, f| behind(f.behind.p50)),
        column("worst", |_, f| behind(f.behind.max)),
    ]);
    all
}

/// A deadline, as it was written.
fn round(ns: u64) -> String {
    if ns.is_multiple_of(1_000_000_000) { format!("{}s", ns / 1_000_000_000) } else { time(ns) }
}

fn behind(ns: u64) -> String {
    if ns == 0 { "-".to_owned() } else { time(ns) }
}

const NOTE: &str = "Services, virtual time. End to end: from the origin's intended send time to the last effect, each effect \
                    when it first happened; what never had its last effect counts as beyond the deadline. Step: from a \
                    record's acknowledgement until what one service made of it was acknowledged, or it was through. \
                    Handled twice: effects beyond the first. Half done: records that a service had committed without all \
                    that follows from them; stale keys: what an instance of a read model holds and its topic does not. Lag \
                    peak: the most records that waited for one service at a time; behind for: the longest in which some \
                    record had waited for a second; of both the median seed, and the worst.";

/// The columns of the second table.
const ORIGINS: [&str; 6] = ["sends", "p50", "p99", "services down for", "p50 meanwhile", "p99 meanwhile"];

fn origins(f: &ServiceFigures) -> [String; 6] {
    [
        number(f.origins.map_or(0, |l| l.count)),
        latency(f.origins, |l| l.p50),
        latency(f.origins, |l| l.p99),
        behind(f.down_ns),
        latency(f.origins_down, |l| l.p50),
        latency(f.origins_down, |l| l.p99),
    ]
}

const ORIGINS_NOTE: &str = "What origins noticed: their response times, all and of what was to be sent while some service had \
                            no process at all.";

fn table_rows(run: &RunRecord, columns: &[Column]) -> Vec<(String, Vec<String>)> {
    rows(run).map(|(i, s, f)| (run.title(i).to_owned(), columns.iter().map(|c| (c.of)(s, &f)).collect())).collect()
}

fn origin_rows(run: &RunRecord) -> Vec<(String, Vec<String>)> {
    if rows(run).all(|(_, _, f)| f.down_ns == 0) {
        return Vec::new();
    }
    rows(run).map(|(i, _, f)| (run.title(i).to_owned(), origins(&f).to_vec())).collect()
}

fn name(run: &RunRecord) -> &'static str {
    if run.variants.is_empty() { "scenario" } else { "variant" }
}

/// Both tables. Nothing where there are no services.
fn tables(run: &RunRecord) -> Vec<Table> {
    let columns = columns(run);
    let first = columns.iter().map(|c| c.head.clone()).collect();
    let second = ORIGINS.iter().map(|c| (*c).to_owned()).collect();
    let mut all = vec![
        Table { columns: first, rows: table_rows(run, &columns), note: NOTE },
        Table { columns: second, rows: origin_rows(run), note: ORIGINS_NOTE },
    ];
    all.retain(|table| !table.rows.is_empty());
    all
}

/// For `summary.md`.
pub(crate) fn markdown(run: &RunRecord) -> String {
    let mut md = String::new();
    for Table { columns, rows, note } in tables(run) {
        let heads: Vec<&str> = [name(run)].into_iter().chain(columns.iter().map(String::as_str)).collect();
        let rows = rows.into_iter().map(|(title, row)| [title].into_iter().chain(row).collect());
        md.push_str(&format!("\n{}\n{note}\n", text::markdown(&heads, 1, rows)));
    }
    md
}

/// For the page.
pub(crate) fn table(run: &RunRecord) -> Markup {
    html! {
        @for Table { columns, rows, note } in tables(run) {
            div.scroll.wide.named { table {
                thead { tr { th { (name(run)) } @for c in &columns { th { (c) } } } }
                tbody { @for (title, row) in &rows { tr { td { (title) } @for cell in row { td { (cell) } } } } }
            } }
            p.small { (note) }
        }
    }
}

/// For a terminal.
pub fn console(run: &RunRecord) -> String {
    let mut out = String::new();
    for Table { columns, rows, .. } in tables(run) {
        let heads: Vec<&str> = columns.iter().map(String::as_str).collect();
        out.push('\n');
        out.push_str(&text::table(name(run), &heads, &rows));
    }
    out
}

/// A line for the terminal.
pub(crate) fn line(f: &ServiceFigures) -> String {
    let beyond = match (f.late, f.deadline_ns) {
        (Some(late), Some(deadline)) => format!(", {} beyond {}", share(late, f.records), round(deadline)),
        _ => String::new(),
    };
    let down = match f.origins_down {
        Some(l) => format!(
            ", origins' p99 {} while a service was down ({} in all)",
            time(l.p99),
            latency(f.origins, |l| l.p99)
        ),
        None => String::new(),
    };
    format!(
        "end to end {} (p99 {}){beyond}, {} handled twice, at most {} waiting{down}",
        latency(f.end_to_end, |l| l.p50),
        latency(f.end_to_end, |l| l.p99),
        number(f.twice),
        number(f.lag_peak.max)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{FindingCount, Spread};

    #[test]
    fn columns_appear_where_there_is_something_to_say() {
        let ms = |n: u64| Some(Latency { count: 10, p50: n * 1_000_000, p99: n * 2_000_000, ..Latency::default() });
        let f = ServiceFigures { records: 1_000, end_to_end: ms(30), twice: 7, origins: ms(4), ..Default::default() };
        let plain = ScenarioRecord { name: "plain".to_owned(), services: Some(f), ..ScenarioRecord::default() };
        let mut run = RunRecord { scenarios: vec![ScenarioRecord::default()], ..RunRecord::default() };
        assert_eq!((markdown(&run), console(&run)), (String::new(), String::new()));
        run.scenarios.push(plain.clone());
        let text = markdown(&run);
        assert!(
            text.contains("| plain | 1,000 | 30.0ms | 60.0ms |")
                && !text.contains("| beyond")
                && !text.contains("| half done"),
            "{text}"
        );
        assert!(!text.contains("meanwhile"), "no service was down");
        let lag_peak = Spread { count: 2, p50: 12, p99: 90, max: 90, sum: 102 };
        let f = ServiceFigures { deadline_ns: Some(2_000_000_000), late: Some(15), unfinished: 3, lag_peak, ..f };
        let f = ServiceFigures { down_ns: 5_000_000_000, origins_down: ms(5), ..f };
        let mut late = ScenarioRecord { name: "late".to_owned(), services: Some(f), ..plain };
        late.findings.insert("half-done".to_owned(), FindingCount { violations: 3, ..FindingCount::default() });
        run.scenarios.push(late);
        let text = markdown(&run);
        assert!(
            text.contains("| beyond 2s | never |") && text.contains("| 1.5% | 3 | - | 7 | 3 | 12 | 90 |"),
            "{text}"
        );
        assert!(text.contains("| late | 10 | 4.00ms | 8.00ms | 5.00s | 5.00ms | 10.0ms |"), "{text}");
        assert!(
            line(&f).contains("1.5% beyond 2s") && line(&f).contains("10.0ms while a service was down"),
            "{}",
            line(&f)
        );
    }
}
