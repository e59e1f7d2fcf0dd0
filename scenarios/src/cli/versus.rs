//! `klamm compare <run dir> <run dir>...`: runs of the same seeds against each other.

use super::{output, report};
use crate::{artefacts, campaign};
use klamm_reports::charts::{PercentileChart, PercentileSeries, svg, write};
use klamm_reports::html::Charts;
use klamm_reports::versus::{self, Gate, Runs, Versus};
use klamm_reports::write_whole;
use std::path::Path;

/// Compares, draws, and judges the gate.
///
/// # Errors
/// Folders that are no runs, or runs that cannot be compared.
pub fn compare(folders: &[String], gate: Option<&str>, force: bool, out: &Path) -> miette::Result<u8> {
    let gate = gate.map(Gate::parse).transpose().map_err(|m| miette::miette!("--gate {m}"))?;
    let parts = folders.iter().map(|f| report::read(Path::new(f))).collect::<miette::Result<Vec<_>>>()?;
    let groups = versus::by_build(parts);
    output::folder("--out", out)?;
    let (base, others) = groups.split_first().expect("two folders at least");
    let mut codes = Vec::new();
    for other in others {
        let compared = versus::versus(base, other, force).map_err(|m| miette::miette!("{m}"))?;
        let exceeded = gate.as_ref().map_or(Ok(Vec::new()), |g| g.exceeded(&compared));
        let exceeded = exceeded.map_err(|m| miette::miette!("--gate: {m}"))?;
        let folder = leave(&compared, (base, other), &exceeded, out)?;
        print!("{}", versus::console(&compared));
        for line in &exceeded {
            println!("  gate: {line}");
        }
        println!("  report: {}/index.html", campaign::shown(&folder));
        codes.push(compared.exit_code(!exceeded.is_empty()));
    }
    Ok(klamm_reports::verdict::worst_code(&codes))
}

/// Writes the comparison's folder.
fn leave(
    compared: &Versus,
    (base, other): (&Runs, &Runs),
    exceeded: &[String],
    out: &Path,
) -> miette::Result<std::path::PathBuf> {
    let say = |e: klamm_reports::ReportError| miette::miette!("{e}");
    let content = format!("{:?} {:?}", compared.base, compared.other);
    let folder = artefacts::fresh_folder(out, &content, "charts")?;
    let mut charts: Vec<Charts> = Vec::new();
    for (n, s) in compared.scenarios.iter().enumerate() {
        let find = |runs: &Runs| {
            let part = &runs.0[0];
            let i = (0..part.record.scenarios.len()).find(|i| part.record.title(*i) == s.title)?;
            part.figures.scenarios.get(i).map(|f| f.response.clone())
        };
        let (Some(a), Some(b)) = (find(base), find(other)) else {
            charts.push(Charts::new());
            continue;
        };
        if !s.differs() || a.all().is_empty() || b.all().is_empty() {
            charts.push(Charts::new());
            continue;
        }
        let series = [("base", &a), ("other", &b)];
        let chart = PercentileChart {
            title: format!("{} · {} seeds in both runs", s.title, s.seeds),
            setting: s.setting.clone(),
            series: series
                .map(|(label, latencies)| PercentileSeries { label: label.to_owned(), latencies })
                .into_iter()
                .collect(),
        };
        write(&chart, &folder.join("charts").join(format!("{}-percentiles", n + 1))).map_err(say)?;
        charts.push(vec![(
            "Response time by percentile; the bands span the seeds.".to_owned(),
            svg(&chart).map_err(say)?,
        )]);
    }
    let put = |name: &str, content: &str| write_whole(&folder.join(name), content.as_bytes()).map_err(say);
    put("index.html", &versus::page(compared, exceeded, &charts))?;
    put("summary.md", &versus::markdown(compared, exceeded))?;
    put("compare.json", &serde_json::to_string_pretty(compared).map_err(|e| miette::miette!("{e}"))?)?;
    Ok(folder)
}
