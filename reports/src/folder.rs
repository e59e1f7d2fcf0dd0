//! A run's folder: written from a record and its figures, and read back, so that it can be drawn again or put
//! together with others.

use crate::charts::{
    BacklogChart, GanttChart, KNEE, KneeChart, LagChart, LagSeries, LanesChart, PercentileChart, PercentileSeries,
    RateLane, TimelineChart, TradeoffChart, TradeoffPoint, svg, write,
};
use crate::figures::{GroupOverTime, RunFigures, SCHEMA, ScenarioFigures, ServiceLatencies, Timeline};
use crate::histogram::Latencies;
use crate::html::{Charts, run_page};
use crate::record::RunRecord;
use crate::text::count;
use crate::{ReportError, junit, markdown, write_whole};
use std::path::Path;

/// Writes the run's histograms, charts, pages, figures and record. Charts only if they are to be drawn: there may be no
/// time for it.
///
/// # Errors
/// If they cannot be written.
pub fn write_run(folder: &Path, record: &RunRecord, figures: &RunFigures, draw: bool) -> Result<(), ReportError> {
    let mut charts: Vec<Charts> = Vec::new();
    for (i, (f, s)) in figures.scenarios.iter().zip(&record.scenarios).enumerate() {
        for (kind, latencies) in f.latencies().into_iter().filter(|(_, l)| !l.all().is_empty()) {
            latencies.write_hlog(&folder.join(format!("{}.{kind}.hlog", s.name)), s.virtual_ns)?;
        }
        charts.push(if draw { of_scenario(folder, record, i, f)? } else { Charts::new() });
    }
    let put = |name: &str, content: &str| write_whole(&folder.join(name), content.as_bytes());
    put("summary.md", &markdown::summary(record))?;
    let xml = junit::to_xml(record).map_err(|message| ReportError::Record { path: "junit.xml".to_owned(), message })?;
    put("junit.xml", &xml)?;
    let comparison = if draw { comparison(folder, record, figures)? } else { Charts::new() };
    put("index.html", &run_page(record, &comparison, &charts))?;
    put("figures.json", &serde_json::to_string(figures).expect("figures are JSON"))?;
    // Last: whoever finds the record finds everything else.
    put("run.json", &record.to_json())
}

/// Reads a run's folder back.
///
/// # Errors
/// If it is no run's folder, is damaged, or is of a newer klamm.
pub fn read_run(folder: &Path) -> Result<(RunRecord, RunFigures), ReportError> {
    let record = read_record(folder)?;
    let path = folder.join("figures.json");
    let wrong = |message: String| ReportError::Record { path: path.display().to_string(), message };
    let mut figures: RunFigures = serde_json::from_str(&read(&path)?).map_err(|e| wrong(e.to_string()))?;
    if figures.schema > SCHEMA {
        return Err(wrong(format!("schema {} is newer than this klamm knows ({SCHEMA})", figures.schema)));
    }
    if figures.scenarios.len() != record.scenarios.len() {
        return Err(wrong("it is not of the same run as run.json".to_owned()));
    }
    for (f, s) in figures.scenarios.iter_mut().zip(&record.scenarios) {
        let told = s.services.unwrap_or_default();
        let told = [s.response, s.service, told.end_to_end, told.steps, told.origins, told.origins_down];
        let kinds: Vec<&'static str> = f.latencies().into_iter().map(|(kind, _)| kind).collect();
        for ((kind, latencies), told) in kinds.into_iter().zip(f.latencies_mut()).zip(told) {
            let count = told.map_or(0, |l| l.count);
            if count == 0 {
                continue;
            }
            let path = folder.join(format!("{}.{kind}.hlog", s.name));
            latencies.read_hlog(&path)?;
            let read = latencies.all().len();
            if read != count {
                let message =
                    format!("{read} values where run.json says {count}: the file is cut short or of another run");
                return Err(ReportError::Record { path: path.display().to_string(), message });
            }
        }
    }
    Ok((record, figures))
}

/// Reads a run's record alone.
///
/// # Errors
/// As [`read_run`].
pub fn read_record(folder: &Path) -> Result<RunRecord, ReportError> {
    let path = folder.join("run.json");
    RunRecord::from_json(&read(&path)?)
        .map_err(|message| ReportError::Record { path: path.display().to_string(), message })
}

fn read(path: &Path) -> Result<String, ReportError> {
    std::fs::read_to_string(path).map_err(|source| ReportError::Io { path: path.display().to_string(), source })
}

/// The charts of the `i`-th scenario.
fn of_scenario(folder: &Path, record: &RunRecord, i: usize, f: &ScenarioFigures) -> Result<Charts, ReportError> {
    let s = &record.scenarios[i];
    let title = record.title(i);
    let charts = folder.join("charts");
    let mut drawn = Charts::new();
    if !f.response.all().is_empty() {
        let series = [("response (from the intended send time)", &f.response), ("service", &f.service)];
        let chart = PercentileChart {
            title: format!("{title} · {}", count(s.seeds.len() as u64, "seed")),
            setting: s.setting.clone(),
            series: series
                .into_iter()
                .map(|(label, latencies)| PercentileSeries { label: label.to_owned(), latencies })
                .collect(),
        };
        write(&chart, &charts.join(format!("{}-percentiles", s.name)))?;
        drawn.push(("Latency by percentile; the bands span the seeds.".to_owned(), svg(&chart)?));
    }
    if let Some(services) = f.services.as_ref().filter(|s| !s.end_to_end.all().is_empty()) {
        let series = [
            ("end to end (from the origin's intended send time to the last effect)", &services.end_to_end),
            ("one step (from a record to what a service made of it)", &services.steps),
            ("origins' sends", &services.origins),
            ("origins' sends while a service was down", &services.origins_down),
        ];
        let series = series.into_iter().filter(|(_, latencies)| !latencies.all().is_empty());
        let chart = PercentileChart {
            title: format!("{title} · services · {}", count(s.seeds.len() as u64, "seed")),
            setting: s.setting.clone(),
            series: series.map(|(label, latencies)| PercentileSeries { label: label.to_owned(), latencies }).collect(),
        };
        write(&chart, &charts.join(format!("{}-services", s.name)))?;
        drawn.push((
            "How long services took, and what origins noticed; the bands span the seeds.".to_owned(),
            svg(&chart)?,
        ));
    }
    let Some(first) = f.first.as_ref().filter(|f| !f.timeline.windows.is_empty()) else { return Ok(drawn) };
    let chart = timeline(title, &first.seed, &first.timeline);
    write(&chart, &charts.join(format!("{}-timeline", s.name)))?;
    drawn.push((format!("Seed {} over time: {}.", first.seed, first.fired), svg(&chart)?));
    if !first.timeline.services.is_empty() {
        let chart = BacklogChart {
            title: format!("{title} · seed {}", first.seed),
            setting: WAITING.to_owned(),
            end: end_of(&first.timeline),
            series: first.timeline.services.clone(),
            bands: first.timeline.bands.clone(),
        };
        write(&chart, &charts.join(format!("{}-waiting", s.name)))?;
        drawn.push(("How many records waited for each service.".to_owned(), svg(&chart)?));
    }
    for (n, group) in groups_shown(&first.timeline).enumerate() {
        let (gantt, lag) = group_charts(title, &first.seed, &first.timeline, group);
        let file = |what: &str| {
            let nth = if n == 0 { String::new() } else { format!("-{}", n + 1) };
            charts.join(format!("{}-{what}{nth}", s.name))
        };
        write(&gantt, &file("rebalances"))?;
        drawn.push((gantt_caption(group), svg(&gantt)?));
        if group.lag.iter().any(|l| !l.points.is_empty()) {
            write(&lag, &file("lag"))?;
            drawn.push((format!("How far behind group {} was, by partition.", group.group), svg(&lag)?));
        }
    }
    Ok(drawn)
}

/// What a chart of waiting records says of itself.
const WAITING: &str = "records in a topic that a service reads and is not through with; virtual time, modelled cluster";

/// Where a timeline ends.
fn end_of(timeline: &Timeline) -> u64 {
    timeline.windows.last().map_or(1, |w| w.from + timeline.window_ns)
}

/// How many records waited for all services together.
fn waiting(label: &str, timeline: &Timeline) -> LagSeries {
    let mut all: std::collections::BTreeMap<u64, u64> = std::collections::BTreeMap::new();
    for (at, lag) in timeline.services.iter().flat_map(|s| &s.points) {
        *all.entry(*at).or_default() += lag;
    }
    LagSeries { label: label.to_owned(), points: all.into_iter().collect() }
}

/// One seed over time, to be drawn.
pub fn timeline(scenario: &str, seed: &str, timeline: &Timeline) -> TimelineChart {
    TimelineChart {
        title: format!("{scenario} · seed {seed}"),
        setting: "virtual time, modelled cluster; windows of 100 ms".to_owned(),
        window_ns: timeline.window_ns,
        windows: timeline.windows.clone(),
        bands: timeline.bands.clone(),
        moments: timeline.moments.clone(),
    }
}

/// The groups that have something to show: one that came only after hardship (the probe's) has not.
pub fn groups_shown(timeline: &Timeline) -> impl Iterator<Item = &GroupOverTime> {
    timeline.groups.iter().filter(|g| g.lanes.iter().any(|l| !l.spans.is_empty()))
}

/// One group over time, to be drawn: who had what, and how far behind it was.
pub fn group_charts(scenario: &str, seed: &str, timeline: &Timeline, group: &GroupOverTime) -> (GanttChart, LagChart) {
    let title = format!("{scenario} · group {} · seed {seed}", group.group);
    let gantt = GanttChart {
        title: title.clone(),
        setting: "bars: generation · partitions held; grey: a rebalance; red: faults; virtual time, modelled cluster"
            .to_owned(),
        end: group.end,
        lanes: group.lanes.clone(),
        rebalances: group.rebalances.clone(),
        bands: timeline.bands.clone(),
    };
    let lag = LagChart {
        title,
        setting: "committed records not delivered to any member; virtual time, modelled cluster".to_owned(),
        end: group.end,
        series: group.lag.clone(),
        bands: timeline.bands.clone(),
    };
    (gantt, lag)
}

/// What stands below a group's Gantt chart.
pub fn gantt_caption(group: &GroupOverTime) -> String {
    format!("Who of group {} had partitions when: {} rebalances.", group.group, group.rebalances.len())
}

/// The charts that show all variants together; none where there are no variants.
fn comparison(folder: &Path, record: &RunRecord, figures: &RunFigures) -> Result<Charts, ReportError> {
    if record.variants.is_empty() {
        return Ok(Charts::new());
    }
    let seeds = record.scenarios.first().map_or(0, |s| s.seeds.len());
    let title = format!("{} · {} each", record.suite, count(seeds as u64, "seed"));
    let setting = common_setting(record);
    let charts = folder.join("charts");
    let mut drawn = Charts::new();
    let knees = crate::compare::knees(record);
    if !knees.is_empty() {
        let words: Vec<String> = knees.iter().map(crate::charts::KneeSeries::in_words).collect();
        let chart = KneeChart { title: title.clone(), setting: setting.clone(), series: knees };
        write(&chart, &charts.join("compare-load"))?;
        let caption = format!(
            "Response time against offered load. A load is beyond the knee when its median response is more than {KNEE} \
             times that of the lightest: {}",
            words.join(" ")
        );
        drawn.push((caption, svg(&chart)?));
    }
    let measured = || figures.scenarios.iter().enumerate().filter(|(_, f)| !f.response.all().is_empty());
    let points = measured().map(|(i, f)| {
        let o = &record.scenarios[i].operations;
        TradeoffPoint {
            label: record.title(i).to_owned(),
            p99: f.response.all().value_at_quantile(0.99),
            lost_ppm: ((o.lost + o.silently_lost) * 1_000_000).div_ceil(o.sends.max(1)),
        }
    });
    let tradeoff = TradeoffChart { title: title.clone(), setting: setting.clone(), points: points.collect() };
    // Where nothing is lost there is nothing to trade.
    if tradeoff.points.iter().any(|p| p.lost_ppm > 0) {
        write(&tradeoff, &charts.join("compare-tradeoff"))?;
        let caption = "Latency against records lost: further down is faster, further left is safer.".to_owned();
        drawn.push((caption, svg(&tradeoff)?));
    }
    let percentiles = PercentileChart {
        title: title.clone(),
        setting: setting.clone(),
        series: measured()
            .map(|(i, f)| PercentileSeries { label: record.title(i).to_owned(), latencies: &f.response })
            .collect(),
    };
    write(&percentiles, &charts.join("compare-percentiles"))?;
    drawn.push(("Response time by percentile; the bands span the seeds.".to_owned(), svg(&percentiles)?));
    services(&charts, record, figures, (&title, &setting), &mut drawn)?;
    let lanes = measured().filter_map(|(i, f)| {
        let first = f.first.as_ref()?;
        Some(RateLane { label: record.title(i).to_owned(), timeline: &first.timeline })
    });
    let lanes = LanesChart { title, setting, lanes: lanes.collect() };
    if !lanes.lanes.is_empty() {
        write(&lanes, &charts.join("compare-timeline"))?;
        let caption = "Acknowledged records over time under the first seed, faults in red; each variant's own section \
                       below shows its response times, too.";
        drawn.push((caption.to_owned(), svg(&lanes)?));
    }
    Ok(drawn)
}

/// The charts of all variants' services: how long they took end to end, and what waited for them.
fn services(
    charts: &Path,
    record: &RunRecord,
    figures: &RunFigures,
    (title, setting): (&str, &str),
    drawn: &mut Charts,
) -> Result<(), ReportError> {
    let mut percentiles = |pick: fn(&ServiceLatencies) -> &Latencies, what: &str, file: &str, caption: &str| {
        let all = figures.scenarios.iter().enumerate().filter_map(|(i, f)| Some((i, pick(f.services.as_ref()?))));
        let series = all
            .filter(|(_, latencies)| !latencies.all().is_empty())
            .map(|(i, latencies)| PercentileSeries { label: record.title(i).to_owned(), latencies });
        let title = format!("{title} · {what}");
        let chart = PercentileChart { title, setting: setting.to_owned(), series: series.collect() };
        if !chart.series.is_empty() {
            write(&chart, &charts.join(file))?;
            drawn.push((caption.to_owned(), svg(&chart)?));
        }
        Ok(())
    };
    percentiles(
        |s| &s.end_to_end,
        "end to end",
        "compare-end-to-end",
        "End to end, from the origin's intended send time to the last effect; the bands span the seeds.",
    )?;
    percentiles(
        |s| &s.origins_down,
        "origins while a service was down",
        "compare-origins-down",
        "What origins noticed while some service had no process at all: their response times.",
    )?;
    let first = |f: &ScenarioFigures| f.first.as_ref().filter(|f| !f.timeline.services.is_empty()).cloned();
    let firsts: Vec<_> = figures.scenarios.iter().enumerate().filter_map(|(i, f)| Some((i, first(f)?))).collect();
    if let Some((_, one)) = firsts.first() {
        let chart = BacklogChart {
            title: format!("{title} · seed {}", one.seed),
            setting: format!("all services together: {WAITING}"),
            end: firsts.iter().map(|(_, f)| end_of(&f.timeline)).max().unwrap_or(1),
            series: firsts.iter().map(|(i, f)| waiting(record.title(*i), &f.timeline)).collect(),
            bands: one.timeline.bands.clone(),
        };
        write(&chart, &charts.join("compare-waiting"))?;
        let caption =
            "How many records waited for services under the first seed; faults as the first variant had them.";
        drawn.push((caption.to_owned(), svg(&chart)?));
    }
    Ok(())
}

/// What the figures of all variants depend on: what all have in common, and that they were paired.
fn common_setting(record: &RunRecord) -> String {
    let paired = "virtual time, modelled cluster; the same seeds for every variant".to_owned();
    let Some(first) = record.scenarios.first() else { return paired };
    let parts = |line: &str| line.split(" · ").map(str::to_owned).collect::<Vec<_>>();
    let common: Vec<String> = parts(&first.setting.replace('\n', " · "))
        .into_iter()
        .filter(|part| record.scenarios.iter().all(|s| parts(&s.setting.replace('\n', " · ")).contains(part)))
        .filter(|part| !part.starts_with("virtual time"))
        .collect();
    if common.is_empty() { paired } else { format!("{paired}\nall: {}", common.join(" · ")) }
}
