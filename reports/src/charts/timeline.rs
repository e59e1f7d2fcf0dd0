//! One seed over time: acknowledged records per window above, latency below, faults as bands behind both.

use super::{Chart, style};
use crate::text;
use plotters::coord::Shift;
use plotters::prelude::*;

/// A stretch of time in which a fault was in force.
#[derive(Clone, PartialEq, Debug)]
pub struct Band {
    /// Begin, nanoseconds.
    pub from: u64,
    /// End, nanoseconds.
    pub to: u64,
    /// What it was.
    pub label: String,
}

/// A moment worth a mark, such as an election.
#[derive(Clone, PartialEq, Debug)]
pub struct Moment {
    /// When, nanoseconds.
    pub at: u64,
    /// What.
    pub label: String,
}

/// What happened within one window.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
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
        style::register_font();
        area.fill(&WHITE).map_err(failed)?;
        let area = area.titled(&self.title, (style::FONT, 20).into_font().color(&style::INK)).map_err(failed)?;
        let area = area.titled(&self.setting, (style::FONT, 13).into_font().color(&style::INK)).map_err(failed)?;
        let (upper, lower) = area.split_vertically((48).percent_height());
        let top = self.windows.iter().map(|w| self.per_second(w)).fold(1.0, f64::max) * 1.25;
        let rate = |w: &Window| ((w.from as f64 + self.window_ns as f64 / 2.0) / 1e9, self.per_second(w));
        let mut chart = ChartBuilder::on(&upper)
            .margin(8)
            .x_label_area_size(0)
            .y_label_area_size(84)
            .build_cartesian_2d(0.0..self.end(), 0.0..top)
            .map_err(failed)?;
        chart.draw_series(self.bands.iter().map(|b| band(b, 0.0, top))).map_err(failed)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(WHITE.mix(0.0))
            .bold_line_style(style::GRID)
            .label_style((style::FONT, 14).into_font().color(&style::INK))
            .y_desc("acknowledged/s")
            .y_labels(4)
            .draw()
            .map_err(failed)?;
        let area_below = AreaSeries::new(self.windows.iter().map(rate), 0.0, style::series(0).mix(0.25));
        chart.draw_series(area_below.border_style(style::series(0).stroke_width(2))).map_err(failed)?;
        chart.draw_series(labels(&self.bands, top)).map_err(failed)?;
        chart.draw_series(self.moments.iter().map(|m| moment(m, 0.0, top))).map_err(failed)?;

        let seen: Vec<&Window> = self.windows.iter().filter(|w| w.acknowledged > 0).collect();
        let low = seen.iter().map(|w| w.p50).min().unwrap_or(1_000_000).max(1) as f64 / 1e6 * 0.5;
        let high = seen.iter().map(|w| w.max).max().unwrap_or(2_000_000).max(2) as f64 / 1e6 * 2.0;
        let mut chart = ChartBuilder::on(&lower)
            .margin(8)
            .x_label_area_size(40)
            .y_label_area_size(84)
            .build_cartesian_2d(0.0..self.end(), (low..high).log_scale())
            .map_err(failed)?;
        chart.draw_series(self.bands.iter().map(|b| band(b, low, high))).map_err(failed)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(WHITE.mix(0.0))
            .bold_line_style(style::GRID)
            .label_style((style::FONT, 14).into_font().color(&style::INK))
            .x_desc("virtual time, seconds of hardship")
            .y_desc("response")
            .y_labels(4)
            .y_label_formatter(&|ms| text::time((ms * 1e6) as u64))
            .draw()
            .map_err(failed)?;
        for (i, (name, pick)) in [("median", 0usize), ("longest", 1)].into_iter().enumerate() {
            let colour = style::series(i);
            let value = move |w: &Window| if pick == 0 { w.p50 } else { w.max };
            let points = seen.iter().map(|w| {
                let x = (w.from as f64 + self.window_ns as f64 / 2.0) / 1e9;
                Circle::new((x, value(w).max(1) as f64 / 1e6), 2, colour.filled())
            });
            chart
                .draw_series(points)
                .map_err(failed)?
                .label(name)
                .legend(move |(x, y)| Circle::new((x + 7, y), 4, colour.filled()));
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

fn band(b: &Band, low: f64, high: f64) -> Rectangle<(f64, f64)> {
    // A fault of no length still shows.
    let to = (b.to as f64).max(b.from as f64 + 2e7);
    Rectangle::new([(b.from as f64 / 1e9, low), (to / 1e9, high)], style::FAULT.mix(0.14).filled())
}

fn moment(m: &Moment, low: f64, high: f64) -> PathElement<(f64, f64)> {
    let x = m.at as f64 / 1e9;
    PathElement::new(vec![(x, low), (x, high)], style::INK.mix(0.5))
}

/// Names of faults, in three rows so that neighbours do not cover each other.
fn labels(bands: &[Band], top: f64) -> Vec<Text<'_, (f64, f64), String>> {
    bands
        .iter()
        .enumerate()
        .map(|(i, b)| {
            let y = top * (0.98 - 0.09 * (i % 3) as f64);
            let font = (style::FONT, 12).into_font().color(&style::FAULT);
            Text::new(b.label.clone(), (b.from as f64 / 1e9, y), font)
        })
        .collect()
}
