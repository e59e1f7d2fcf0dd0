//! What rebalances cost, as tables: for the job summary, the page and the terminal.

use crate::record::{GroupFigures, RunRecord};
use crate::text::{self, number, time};
use maud::{Markup, html};

/// Headings, in order.
const HEADS: [&str; 9] =
    ["scenario", "rebalances", "took p50", "max", "members", "moved", "stood still p50", "max", "delivered again"];

/// Scenarios with groups.
fn rows(run: &RunRecord) -> Vec<[String; 9]> {
    let row = |i: usize, g: &GroupFigures| {
        let members = (g.members * 10).checked_div(g.rebalances).unwrap_or(0);
        let still = |ns: u64| if g.stopped.count == 0 { "-".to_owned() } else { time(ns) };
        [
            run.title(i).to_owned(),
            number(g.rebalances),
            time(g.duration.p50),
            time(g.duration.max),
            format!("{}.{}", members / 10, members % 10),
            number(g.moved),
            still(g.stopped.p50),
            still(g.stopped.max),
            format!("{} of {}", number(g.redelivered), number(g.delivered)),
        ]
    };
    run.scenarios.iter().enumerate().filter_map(|(i, s)| s.groups.as_ref().map(|g| row(i, g))).collect()
}

/// What the table means.
const NOTE: &str = "Rebalances, all seeds together, virtual time: from the coordinator's decision to a stable group; \
                    members on average; partitions that changed hands; how long a member that had partitions had none; \
                    records that members got again.";

/// For `summary.md`; nothing if there were no groups.
pub(crate) fn markdown(run: &RunRecord) -> String {
    let rows = rows(run);
    if rows.is_empty() {
        return String::new();
    }
    format!("\n{}\n{NOTE}\n", text::markdown(&HEADS, 1, rows.into_iter().map(Vec::from)))
}

/// For the page.
pub(crate) fn table(run: &RunRecord) -> Markup {
    let rows = rows(run);
    html! {
        @if !rows.is_empty() {
            div.scroll.named { table {
                thead { tr { @for head in HEADS { th { (head) } } } }
                tbody { @for row in &rows { tr { @for cell in row { td { (cell) } } } } }
            } }
            p.small { (NOTE) }
        }
    }
}

/// A line for the terminal.
pub(crate) fn line(g: &GroupFigures) -> String {
    let still = match g.stopped.count {
        0 => "nobody stood still".to_owned(),
        n => format!("{} members stood still for {} (at most {})", number(n), time(g.stopped.p50), time(g.stopped.max)),
    };
    format!(
        "{} rebalances of {} (at most {}), {} partitions moved, {still}, {} records again",
        number(g.rebalances),
        time(g.duration.p50),
        time(g.duration.max),
        number(g.moved),
        number(g.redelivered)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{ScenarioRecord, Spread};

    #[test]
    fn figures_are_told_where_there_are_groups() {
        let spread = Spread { count: 2, p50: 1_000_000, p99: 3_000_000, max: 3_000_000, sum: 4_000_000 };
        let groups = GroupFigures {
            rebalances: 2,
            duration: spread,
            members: 5,
            moved: 3,
            stopped: Spread::default(),
            delivered: 1_200,
            redelivered: 7,
        };
        let with = ScenarioRecord { name: "storm".to_owned(), groups: Some(groups), ..ScenarioRecord::default() };
        let mut run = RunRecord { scenarios: vec![ScenarioRecord::default()], ..RunRecord::default() };
        assert_eq!(markdown(&run), "");
        run.scenarios.push(with);
        let text = markdown(&run);
        assert!(text.contains("| storm | 2 | 1.00ms | 3.00ms | 2.5 | 3 | - | - | 7 of 1,200 |"), "{text}");
        assert!(line(&groups).contains("nobody stood still"));
    }
}
