//! How far behind a group is, by partition: committed records that no member has been given yet.
//!
//! The few partitions that were furthest behind have a line of their own each, told apart by thickness and by where
//! their names stand; all others are one grey line, the furthest behind among them.

use super::axes::{Axis, Faults, LEFT, above, mesh};
use super::marks::mark;
use super::timeline::Band;
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
    /// The most records behind, at any time.
    pub(super) fn most(&self) -> u64 {
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
        let (own, rest) = order.split_at(order.len().min(LINES));
        let width = |i: usize| if i == 0 { 3 } else { 1 };
        let name = |s: &LagSeries| format!("{} · at most {}", s.label, text::number(s.most()));
        let mut names: Vec<(Option<usize>, u32, String)> =
            own.iter().enumerate().map(|(i, s)| (Some(i), width(i), name(s))).collect();
        if !rest.is_empty() {
            names.push((None, 2, format!("the furthest of {} more", rest.len())));
        }
        let area = above(&area, &names)?;
        let faults = Faults::new(&self.bands, end, 0.055);
        let most = order.first().map_or(1, |s| s.most()).max(4) as f64;
        let top = faults.above(most);
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .x_label_area_size(40)
            .y_label_area_size(LEFT)
            .build_cartesian_2d(0.0..end, 0.0..top)
            .map_err(failed)?;
        faults.draw_bands(&mut chart, 0.0, top)?;
        mesh(&mut chart, &Axis::seconds(true), &Axis::counts("records behind", 5))?;
        let seconds =
            |points: &[(u64, u64)]| points.iter().map(|&(at, lag)| (at as f64 / 1e9, lag as f64)).collect::<Vec<_>>();
        if !rest.is_empty() {
            chart.draw_series(LineSeries::new(seconds(&worst(rest)), style::REST.stroke_width(2))).map_err(failed)?;
        }
        // Furthest behind last, so that it lies on top. Marks tell lines apart where there is no colour.
        for (i, series) in own.iter().enumerate().rev() {
            let points = seconds(&series.points);
            chart
                .draw_series(LineSeries::new(points.clone(), style::series(i).stroke_width(width(i))))
                .map_err(failed)?;
            let every = (points.len() / 12).max(1);
            let marked = points.iter().skip(i * every / LINES).step_by(every).filter(|p| p.1 > 0.0);
            chart.draw_series(marked.map(|p| mark(i, *p, 8))).map_err(failed)?;
        }
        faults.draw_names(&mut chart, top)
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
