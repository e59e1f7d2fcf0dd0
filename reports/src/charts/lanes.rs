//! Several variants over time, one below the other: acknowledged records per second of one seed, faults behind.
//!
//! The axis is logarithmic, with a place for none: what a backlog releases at once is many times the usual rate.

use super::axes::{Axis, Faults, LEFT, mesh};
use super::{Chart, style};
use crate::figures::Timeline;
use crate::text;
use plotters::coord::Shift;
use plotters::prelude::*;

/// One variant.
#[derive(Debug)]
pub struct RateLane<'a> {
    /// Its name.
    pub label: String,
    /// What happened.
    pub timeline: &'a Timeline,
}

/// The chart.
#[derive(Debug)]
pub struct LanesChart<'a> {
    /// What it shows.
    pub title: String,
    /// What the figures depend on.
    pub setting: String,
    /// The variants.
    pub lanes: Vec<RateLane<'a>>,
}

/// Where a rate stands on the axis: none at 0, then one step for each power of ten.
pub(super) fn place(rate: f64) -> f64 {
    if rate < 1.0 { rate } else { 1.0 + rate.log10() }
}

/// What stands at a step of the axis.
pub(super) fn step(at: f64) -> String {
    match at.round() as i32 {
        0 => "0".to_owned(),
        n => text::number(10u64.pow((n - 1).clamp(0, 9) as u32)),
    }
}

/// Lanes drawn at most: lower ones would not be read.
const LANES: usize = 8;

impl Chart for LanesChart<'_> {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), String>
    where
        B::ErrorType: 'static,
    {
        let failed = |e: DrawingAreaErrorKind<B::ErrorType>| e.to_string();
        let setting = match self.lanes.len().saturating_sub(LANES) {
            0 => self.setting.clone(),
            n => format!("{}\n{n} more variants not drawn", self.setting),
        };
        let area = super::titled(area, &self.title, &setting).map_err(failed)?;
        let lanes = &self.lanes[..self.lanes.len().min(LANES)];
        let window = |l: &RateLane<'_>| l.timeline.window_ns.max(1);
        let end_of = |l: &RateLane<'_>| l.timeline.windows.last().map_or(1, |w| w.from + window(l));
        let end = lanes.iter().map(end_of).max().unwrap_or(1) as f64 / 1e9;
        let rate = |l: &RateLane<'_>, n: u64| n as f64 * 1e9 / window(l) as f64;
        let rates = lanes.iter().flat_map(|l| l.timeline.windows.iter().map(|w| rate(l, w.acknowledged)));
        let most = place(rates.fold(10.0, f64::max)).ceil();
        // The lowest lane has the axis below it.
        let (_, height) = area.dim_in_pixel();
        let each = height.saturating_sub(44) / lanes.len().max(1) as u32;
        let mut rest = area;
        for (i, lane) in lanes.iter().enumerate() {
            let last = i + 1 == lanes.len();
            let (this, below) = if last { (rest.clone(), rest) } else { rest.split_vertically(each) };
            // The variant's name, and those of the faults, stand above the curve.
            let faults = Faults::new(&lane.timeline.bands, end, 0.0);
            let top = most * 1.6;
            let mut chart = ChartBuilder::on(&this)
                .margin_left(8)
                .margin_right(8)
                .margin_top(3)
                .x_label_area_size(if last { 40 } else { 0 })
                .y_label_area_size(LEFT)
                .build_cartesian_2d(0.0..end, 0.0..top)
                .map_err(failed)?;
            faults.draw_bands(&mut chart, 0.0, top)?;
            let x = if last { Axis::seconds(true) } else { Axis::bare() };
            let y = if i == lanes.len() / 2 { "acknowledged/s" } else { "" };
            // Above the highest rate stand names, not numbers: they would run into the lane above.
            let read = |at: &f64| if *at > most { String::new() } else { step(*at) };
            mesh(&mut chart, &x, &Axis::new(y, if each < 60 { 3 } else { 5 }, &read))?;
            let points = lane
                .timeline
                .windows
                .iter()
                .map(|w| ((w.from as f64 + window(lane) as f64 / 2.0) / 1e9, place(rate(lane, w.acknowledged))));
            let curve = AreaSeries::new(points, 0.0, style::series(i).mix(0.25));
            chart.draw_series(curve.border_style(style::series(i).stroke_width(2))).map_err(failed)?;
            let name = Text::new(format!("{} {}", i + 1, lane.label), (end * 0.005, top * 0.98), style::text(13));
            chart.draw_series([name]).map_err(failed)?;
            rest = below;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::charts::svg;
    use crate::charts::timeline::Window;

    #[test]
    fn numbers_end_where_names_begin() {
        let windows = vec![Window { from: 0, acknowledged: 100, p50: 1, max: 1 }];
        let timeline =
            Timeline { window_ns: 1_000_000_000, windows, bands: vec![], moments: vec![], ..Timeline::default() };
        let lane = |label: &str| RateLane { label: label.to_owned(), timeline: &timeline };
        let lanes = vec![lane("acks=1"), lane("acks=all")];
        let text = svg(&LanesChart { title: "t".to_owned(), setting: "s".to_owned(), lanes }).unwrap();
        let labels: Vec<&str> =
            text.lines().map(str::trim).filter(|l| l.chars().all(|c| c.is_ascii_digit() || c == ',')).collect();
        // 100/s is drawn; the next powers of ten are where the lanes' names stand.
        assert!(labels.contains(&"0") && labels.contains(&"10"), "{labels:?}");
        assert!(!labels.contains(&"1,000") && !labels.contains(&"10,000"), "{labels:?}");
        assert!(text.contains("2 acks=all"));
    }
}
