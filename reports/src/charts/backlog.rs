//! How many records wait over time, one line for each variant or service, in the page's order and colours.
//!
//! The axis is logarithmic, with a place for none: what waits under a spike is many times what usually does.

use super::axes::{Axis, Faults, LEFT, above, mesh};
use super::lag::LagSeries;
use super::lanes::{place, step};
use super::marks::mark;
use super::timeline::Band;
use super::{Chart, style};
use crate::text;
use plotters::coord::Shift;
use plotters::prelude::*;

/// The chart.
#[derive(Clone, Debug)]
pub struct BacklogChart {
    /// What it shows.
    pub title: String,
    /// What the figures depend on.
    pub setting: String,
    /// Where it ends, nanoseconds.
    pub end: u64,
    /// The lines.
    pub series: Vec<LagSeries>,
    /// Faults.
    pub bands: Vec<Band>,
}

/// Marks on each line.
const MARKS: usize = 12;

impl Chart for BacklogChart {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), String>
    where
        B::ErrorType: 'static,
    {
        let failed = |e: DrawingAreaErrorKind<B::ErrorType>| e.to_string();
        let area = super::titled(area, &self.title, &self.setting).map_err(failed)?;
        let end = self.end.max(1) as f64 / 1e9;
        // Where lines agree, the first still shows on both sides of the others.
        let width = |i: usize| if i == 0 { 4 } else { 2 };
        let name = |s: &LagSeries| format!("{} · at most {}", s.label, text::number(s.most()));
        let names: Vec<(Option<usize>, u32, String)> =
            self.series.iter().enumerate().map(|(i, s)| (Some(i), width(i), name(s))).collect();
        let area = above(&area, &names)?;
        let faults = Faults::new(&self.bands, end, 0.055);
        let most = place(self.series.iter().map(LagSeries::most).max().unwrap_or(1).max(10) as f64).ceil();
        let top = faults.above(most);
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .x_label_area_size(40)
            .y_label_area_size(LEFT)
            .build_cartesian_2d(0.0..end, 0.0..top)
            .map_err(failed)?;
        faults.draw_bands(&mut chart, 0.0, top)?;
        // Above the most stand names of faults, not numbers.
        let read = |at: &f64| if *at > most || at.fract() != 0.0 { String::new() } else { step(*at) };
        mesh(&mut chart, &Axis::seconds(true), &Axis::new("records waiting", 5, &read))?;
        for (i, series) in self.series.iter().enumerate() {
            let points: Vec<(f64, f64)> =
                series.points.iter().map(|&(at, lag)| (at as f64 / 1e9, place(lag as f64))).collect();
            let line = LineSeries::new(points.clone(), style::series(i).stroke_width(width(i)));
            chart.draw_series(line).map_err(failed)?;
            let every = (points.len() / MARKS).max(1);
            let marked = points.iter().skip(i * every / self.series.len().max(1)).step_by(every);
            chart.draw_series(marked.map(|p| mark(i, *p, 8))).map_err(failed)?;
        }
        faults.draw_names(&mut chart, top)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_named_with_its_most() {
        let line =
            |label: &str, most| LagSeries { label: label.to_owned(), points: vec![(0, 0), (1_000_000_000, most)] };
        let bands = vec![Band { from: 0, to: 500_000_000, label: "kill m1".to_owned() }];
        let series = vec![line("2 members", 1_200), line("4 members", 3)];
        let chart = BacklogChart { title: "t".into(), setting: "s".into(), end: 2_000_000_000, series, bands };
        let svg = super::super::svg(&chart).unwrap();
        for text in ["2 members · at most 1,200", "4 members · at most 3", "kill m1", "1,000", "records waiting"] {
            assert!(svg.contains(text), "{text}");
        }
        assert!(!svg.contains("NaN"));
    }
}
