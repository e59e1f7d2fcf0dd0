//! Latency by percentile: x is 1/(1-p) on a logarithmic axis, so that every further nine gets the same room.

use super::{Chart, style};
use crate::histogram::{Latencies, QUANTILES};
use crate::text;
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
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(76)
            .build_cartesian_2d((1.0..10_000.0).log_scale(), (low * 0.8..high * 1.2).log_scale())
            .map_err(failed)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(style::GRID)
            .label_style((style::FONT, 14).into_font().color(&style::INK))
            .x_desc("percentile")
            .y_desc("latency")
            .x_labels(5)
            .x_label_formatter(&|x| format!("{}%", trim(100.0 * (1.0 - 1.0 / x))))
            .y_label_formatter(&|ms| text::time((ms * 1e6) as u64))
            .draw()
            .map_err(failed)?;
        // Many bands over each other would hide the curves.
        let shade = if self.series.len() > 2 { 0.05 } else { 0.15 };
        for (i, series) in self.series.iter().enumerate() {
            let colour = style::series(i);
            // Where curves agree, the first still shows on both sides of the others.
            let width = if i == 0 { 5 } else { 2 };
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
            let curve = curve_points(all).map(|(q, v)| (place(q), v.max(1) as f64 / 1e6));
            chart
                .draw_series(LineSeries::new(curve, colour.stroke_width(width)))
                .map_err(failed)?
                .label(&series.label)
                .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 14, y + 5)], colour.filled()));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.85))
            .border_style(style::GRID)
            .label_font((style::FONT, 14).into_font().color(&style::INK))
            .draw()
            .map_err(failed)
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
