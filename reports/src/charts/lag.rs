//! How far behind a group is, by partition: committed records that no member has been given yet.
//!
//! The few partitions that were furthest behind have a line of their own each, told apart by thickness and by where
//! their names stand; all others are one grey line, the furthest behind among them.

use super::timeline::{Band, band, place_labels};
use super::{Chart, style};
use crate::text;
use plotters::coord::Shift;
use plotters::prelude::*;
use serde::{Deserialize, Serialize};

/// One partition.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LagSeries {
    /// Its name.
    pub label: String,
    /// (when, records behind), in order; nanoseconds.
    pub points: Vec<(u64, u64)>,
}

/// The chart.
#[derive(Clone, Debug)]
pub struct LagChart {
    /// What it shows.
    pub title: String,
    /// What the figures depend on.
    pub setting: String,
    /// Where it ends, nanoseconds.
    pub end: u64,
    /// Partitions.
    pub series: Vec<LagSeries>,
    /// Faults.
    pub bands: Vec<Band>,
}

/// Partitions with a line of their own.
const LINES: usize = 5;

impl LagSeries {
    fn most(&self) -> u64 {
        self.points.iter().map(|p| p.1).max().unwrap_or(0)
    }
}

/// The furthest behind of several, at each time that any of them knows.
fn worst(series: &[&LagSeries]) -> Vec<(u64, u64)> {
    let mut all: std::collections::BTreeMap<u64, u64> = std::collections::BTreeMap::new();
    for &(at, lag) in series.iter().flat_map(|s| &s.points) {
        let most = all.entry(at).or_default();
        *most = lag.max(*most);
    }
    all.into_iter().collect()
}

impl Chart for LagChart {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), String>
    where
        B::ErrorType: 'static,
    {
        let failed = |e: DrawingAreaErrorKind<B::ErrorType>| e.to_string();
        let area = super::titled(area, &self.title, &self.setting).map_err(failed)?;
        let end = self.end.max(1) as f64 / 1e9;
        let mut order: Vec<&LagSeries> = self.series.iter().collect();
        order.sort_by(|a, b| b.most().cmp(&a.most()).then(a.label.cmp(&b.label)));
        let labels = place_labels(&self.bands, end);
        let rows = labels.iter().map(|l| l.row + 1).max().unwrap_or(0);
        let most = order.first().map_or(1, |s| s.most()).max(4) as f64;
        let top = most / (0.95 - 0.055 * rows as f64);
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .x_label_area_size(40)
            .y_label_area_size(84)
            .build_cartesian_2d(0.0..end, 0.0..top)
            .map_err(failed)?;
        chart.draw_series(self.bands.iter().map(|b| band(b, 0.0, top))).map_err(failed)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(WHITE.mix(0.0))
            .bold_line_style(style::GRID)
            .label_style((style::FONT, 14).into_font().color(&style::INK))
            .x_desc("virtual time, seconds of hardship")
            .y_desc("records behind")
            .y_labels(5)
            .y_label_formatter(&|y| text::number(*y as u64))
            .draw()
            .map_err(failed)?;
        let seconds =
            |points: &[(u64, u64)]| points.iter().map(|&(at, lag)| (at as f64 / 1e9, lag as f64)).collect::<Vec<_>>();
        let (own, rest) = order.split_at(order.len().min(LINES));
        if !rest.is_empty() {
            let grey = style::INK.mix(0.35);
            let line = LineSeries::new(seconds(&worst(rest)), grey.stroke_width(2));
            let name = format!("the furthest of {} more", rest.len());
            let drawn = chart.draw_series(line).map_err(failed)?;
            drawn.label(name).legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], grey.stroke_width(2)));
        }
        // Furthest behind last, so that it lies on top.
        for (i, series) in own.iter().enumerate().rev() {
            let stroke = style::series(i).stroke_width(if i == 0 { 3 } else { 1 + (i as u32 + 1) % 2 });
            let line = LineSeries::new(seconds(&series.points), stroke);
            let name = format!("{} · at most {}", series.label, text::number(series.most()));
            let drawn = chart.draw_series(line).map_err(failed)?;
            drawn.label(name).legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], stroke));
        }
        chart.draw_series(labels.into_iter().map(|l| l.text(top, 0.055))).map_err(failed)?;
        if self.series.is_empty() {
            return Ok(());
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.85))
            .border_style(style::GRID)
            .label_font((style::FONT, 14).into_font().color(&style::INK))
            .draw()
            .map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_as_far_behind_as_its_worst() {
        let one = LagSeries { label: "a".to_owned(), points: vec![(1, 5), (3, 0)] };
        let two = LagSeries { label: "b".to_owned(), points: vec![(1, 2), (2, 9)] };
        assert_eq!(worst(&[&one, &two]), [(1, 5), (2, 9), (3, 0)]);
    }
}
