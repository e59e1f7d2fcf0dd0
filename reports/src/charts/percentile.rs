//! Latency by percentile: x is 1/(1-p) on a logarithmic axis, so that every further nine gets the same room.

use super::axes::{Axis, beside, decades, legend, mesh};
use super::marks::{key, mark};
use super::{Chart, style};
use crate::histogram::{Latencies, QUANTILES};
use plotters::coord::Shift;
use plotters::prelude::*;

/// One curve.
#[derive(Debug)]
pub struct PercentileSeries<'a> {
    /// Its name.
    pub label: String,
    /// Its latencies, nanoseconds.
    pub latencies: &'a Latencies,
}

/// The chart.
#[derive(Debug)]
pub struct PercentileChart<'a> {
    /// What it shows.
    pub title: String,
    /// What the figures depend on.
    pub setting: String,
    /// The curves.
    pub series: Vec<PercentileSeries<'a>>,
}

/// Where a quantile stands on the axis.
fn place(quantile: f64) -> f64 {
    1.0 / (1.0 - quantile)
}

impl Chart for PercentileChart<'_> {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), String>
    where
        B::ErrorType: 'static,
    {
        let failed = |e: DrawingAreaErrorKind<B::ErrorType>| e.to_string();
        let area = super::titled(area, &self.title, &self.setting).map_err(failed)?;
        let values = || self.series.iter().flat_map(|s| s.latencies.band().iter());
        let low = values().map(|b| b.0).min().unwrap_or(1).max(1) as f64 / 1e6;
        let high = self.series.iter().map(|s| s.latencies.all().max()).max().unwrap_or(1).max(2) as f64 / 1e6;
        // Numbers between powers of ten would run into each other where there is little more than one.
        let range = if high < low * 100.0 { decades(low, high) } else { low * 0.8..high * 1.2 };
        // Where curves agree, the first still shows on both sides of the others.
        let width = |i: usize| if i == 0 { 5 } else { 2 };
        let few = self.series.len() <= 2;
        let names: Vec<(usize, u32, String)> =
            self.series.iter().enumerate().map(|(i, s)| (i, width(i), s.label.clone())).collect();
        let area = if few { area } else { beside(&area, &names)? };
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(76)
            .build_cartesian_2d((1.0..10_000.0).log_scale(), range.log_scale())
            .map_err(failed)?;
        let percent = |x: &f64| format!("{}%", trim(100.0 * (1.0 - 1.0 / x)));
        mesh(&mut chart, &Axis::new("percentile", 5, &percent), &Axis::milliseconds("latency", 10))?;
        // Many bands over each other would hide the curves.
        let shade = if self.series.len() > 2 { 0.05 } else { 0.15 };
        for (i, series) in self.series.iter().enumerate() {
            let colour = style::series(i);
            let width = width(i);
            let band = series.latencies.band();
            let edge = |pick: fn(&(u64, u64)) -> u64| {
                let points = QUANTILES.iter().zip(band);
                points.map(|(q, b)| (place(*q), pick(b).max(1) as f64 / 1e6)).collect::<Vec<_>>()
            };
            let mut around = edge(|b| b.0);
            around.extend(edge(|b| b.1).into_iter().rev());
            if !around.is_empty() {
                chart.draw_series(std::iter::once(Polygon::new(around, colour.mix(shade)))).map_err(failed)?;
            }
            let all = series.latencies.all();
            let curve: Vec<(f64, f64)> = curve_points(all).map(|(q, v)| (place(q), v.max(1) as f64 / 1e6)).collect();
            chart.draw_series(LineSeries::new(curve.clone(), colour.stroke_width(width))).map_err(failed)?;
            // Marks tell curves apart where there is no colour; each stands elsewhere, so that none hides another.
            let every = 12;
            let marked = curve.into_iter().skip(4 + i * every / self.series.len().max(1)).step_by(every);
            chart
                .draw_series(marked.map(|p| mark(i, p, 9)))
                .map_err(failed)?
                .label(&series.label)
                .legend(move |at| key(i, at, width));
        }
        // Curves rise to the right: below them is room.
        if few { legend(&mut chart, SeriesLabelPosition::LowerRight) } else { Ok(()) }
    }
}

/// Points close enough for a smooth curve, no further out than the data goes.
fn curve_points(h: &hdrhistogram::Histogram<u64>) -> impl Iterator<Item = (f64, u64)> + '_ {
    let count = h.len().max(1) as f64;
    let furthest = count.min(10_000.0).log10();
    let steps = 120;
    (0..=steps).map(move |i| {
        let x = 10f64.powf(furthest * f64::from(i) / f64::from(steps));
        let q = 1.0 - 1.0 / x;
        (q, h.value_at_quantile(q))
    })
}

/// Without needless zeros.
fn trim(value: f64) -> String {
    format!("{value:.2}").trim_end_matches('0').trim_end_matches('.').to_owned()
}
