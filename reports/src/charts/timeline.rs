//! One seed over time: acknowledged records per window above, latency below, faults as bands behind both.

use super::axes::{Axis, Faults, LEFT, legend, mesh};
use super::marks::mark;
use super::{Chart, style};
use plotters::coord::Shift;
use plotters::prelude::*;
use serde::{Deserialize, Serialize};

/// A stretch of time in which a fault was in force.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Band {
    /// Begin, nanoseconds.
    pub from: u64,
    /// End, nanoseconds.
    pub to: u64,
    /// What it was.
    pub label: String,
}

/// A moment worth a mark, such as an election.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Moment {
    /// When, nanoseconds.
    pub at: u64,
    /// What.
    pub label: String,
}

/// What happened within one window.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Window {
    /// Its begin, nanoseconds.
    pub from: u64,
    /// Records acknowledged.
    pub acknowledged: u64,
    /// Median response time of those, nanoseconds.
    pub p50: u64,
    /// The longest, nanoseconds.
    pub max: u64,
}

/// The chart.
#[derive(Clone, Debug)]
pub struct TimelineChart {
    /// What it shows.
    pub title: String,
    /// What the figures depend on.
    pub setting: String,
    /// Length of a window, nanoseconds.
    pub window_ns: u64,
    /// The windows, in order.
    pub windows: Vec<Window>,
    /// Faults.
    pub bands: Vec<Band>,
    /// Elections and the like.
    pub moments: Vec<Moment>,
}

impl TimelineChart {
    fn end(&self) -> f64 {
        self.windows.last().map_or(1.0, |w| (w.from + self.window_ns) as f64 / 1e9)
    }
    fn per_second(&self, w: &Window) -> f64 {
        w.acknowledged as f64 * 1e9 / self.window_ns.max(1) as f64
    }
}

impl Chart for TimelineChart {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), String>
    where
        B::ErrorType: 'static,
    {
        let failed = |e: DrawingAreaErrorKind<B::ErrorType>| e.to_string();
        let area = super::titled(area, &self.title, &self.setting).map_err(failed)?;
        let (upper, lower) = area.split_vertically((48).percent_height());
        let faults = Faults::new(&self.bands, self.end(), ROW);
        let top = faults.above(self.windows.iter().map(|w| self.per_second(w)).fold(1.0, f64::max));
        let rate = |w: &Window| ((w.from as f64 + self.window_ns as f64 / 2.0) / 1e9, self.per_second(w));
        let mut over = ChartBuilder::on(&upper)
            .margin(8)
            .x_label_area_size(0)
            .y_label_area_size(LEFT)
            .build_cartesian_2d(0.0..self.end(), 0.0..top)
            .map_err(failed)?;
        faults.draw_bands(&mut over, 0.0, top)?;
        mesh(&mut over, &Axis::seconds(false), &Axis::counts("acknowledged/s", 4))?;
        let area_below = AreaSeries::new(self.windows.iter().map(rate), 0.0, style::series(0).mix(0.25));
        over.draw_series(area_below.border_style(style::series(0).stroke_width(2))).map_err(failed)?;
        over.draw_series(self.moments.iter().map(|m| moment(m, 0.0, top))).map_err(failed)?;

        let seen: Vec<&Window> = self.windows.iter().filter(|w| w.acknowledged > 0).collect();
        let low = seen.iter().map(|w| w.p50).min().unwrap_or(1_000_000).max(1) as f64 / 1e6 * 0.5;
        let high = seen.iter().map(|w| w.max).max().unwrap_or(2_000_000).max(2) as f64 / 1e6;
        // Nearly half of the axis stays free for the legend.
        let high = (high / low).powf(1.8).max(12.0) * low;
        let mut chart = ChartBuilder::on(&lower)
            .margin(8)
            .x_label_area_size(40)
            .y_label_area_size(LEFT)
            .build_cartesian_2d(0.0..self.end(), (low..high).log_scale())
            .map_err(failed)?;
        faults.draw_bands(&mut chart, low, high)?;
        mesh(&mut chart, &Axis::seconds(true), &Axis::milliseconds("response", 4))?;
        for (i, (name, pick)) in [("median", 0usize), ("longest", 1)].into_iter().enumerate() {
            let value = move |w: &Window| if pick == 0 { w.p50 } else { w.max };
            let points = seen.iter().map(|w| {
                let x = (w.from as f64 + self.window_ns as f64 / 2.0) / 1e9;
                mark(i, (x, value(w).max(1) as f64 / 1e6), 4)
            });
            chart.draw_series(points).map_err(failed)?.label(name).legend(move |(x, y)| mark(i, (x + 10, y), 8));
        }
        legend(&mut chart, SeriesLabelPosition::UpperRight)?;
        faults.draw_names(&mut over, top)
    }
}

pub(super) fn band(b: &Band, low: f64, high: f64) -> Rectangle<(f64, f64)> {
    // A fault of no length still shows.
    let to = (b.to as f64).max(b.from as f64 + 2e7);
    Rectangle::new([(b.from as f64 / 1e9, low), (to / 1e9, high)], style::FAULT.mix(0.14).filled())
}

fn moment(m: &Moment, low: f64, high: f64) -> PathElement<(f64, f64)> {
    let x = m.at as f64 / 1e9;
    PathElement::new(vec![(x, low), (x, high)], style::INK.mix(0.5))
}

/// Height of a row of labels, as a share of the panel.
const ROW: f64 = 0.085;
/// Rows of labels at most; what has no place is told by the page's table alone.
const ROWS: usize = 4;
/// Pixels between the axes.
const PLOT_WIDTH: f64 = 830.0;
/// Of the labels' text.
const LABEL_SIZE: u32 = 12;

/// Where the name of a fault stands.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Label {
    pub(super) text: String,
    pub(super) seconds: f64,
    pub(super) row: usize,
}

impl Label {
    pub(super) fn text(self, top: f64, row: f64) -> Text<'static, (f64, f64), String> {
        let font = (style::FONT, LABEL_SIZE).into_font().color(&style::FAULT);
        Text::new(self.text, (self.seconds, top * (0.99 - row * self.row as f64)), font)
    }
}

/// Gives each name the first row in which it covers no other.
pub(super) fn place_labels(bands: &[Band], end: f64) -> Vec<Label> {
    let mut taken = [f64::NEG_INFINITY; ROWS];
    let mut placed = Vec::new();
    let mut in_order: Vec<&Band> = bands.iter().collect();
    in_order.sort_by_key(|b| b.from);
    for band in in_order {
        let width = style::text_width(&band.label, LABEL_SIZE) / PLOT_WIDTH * end;
        let seconds = (band.from as f64 / 1e9).min(end - width).max(0.0);
        let Some(row) = taken.iter().position(|until| *until <= seconds) else { continue };
        taken[row] = seconds + width + end * 0.01;
        placed.push(Label { text: band.label.clone(), seconds, row });
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_faults_do_not_cover_each_other_and_stay_inside() {
        let band =
            |ms: u64| Band { from: ms * 1_000_000, to: ms * 1_000_000, label: "hold Fetch b1+b2 responses".into() };
        let bands: Vec<Band> = [100, 200, 5_000, 300, 9_900, 9_950].into_iter().map(band).collect();
        let labels = place_labels(&bands, 10.0);
        assert_eq!(labels.len(), 6);
        let width = style::text_width(&labels[0].text, LABEL_SIZE) / PLOT_WIDTH * 10.0;
        for (i, a) in labels.iter().enumerate() {
            assert!(a.seconds >= 0.0 && a.seconds + width <= 10.0 + 1e-9, "{a:?}");
            for b in &labels[i + 1..] {
                assert!(a.row != b.row || (a.seconds - b.seconds).abs() >= width, "{a:?} {b:?}");
            }
        }
    }
}
