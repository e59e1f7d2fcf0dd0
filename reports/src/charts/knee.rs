//! Latency against offered load, up to the knee and a little beyond, with what the cost model says of capacity.

use super::axes::{Axis, beside, decades, mesh};
use super::marks::mark;
use super::{Chart, style};
use crate::text;
use plotters::coord::Shift;
use plotters::prelude::*;

/// A load is beyond the knee when its median response is this many times that of the lightest load.
pub const KNEE: u64 = 10;

/// One load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KneePoint {
    /// Records offered per second.
    pub per_second: u64,
    /// The median response, nanoseconds.
    pub p50: u64,
    /// 99 in 100 are at or below, nanoseconds.
    pub p99: u64,
}

/// One configuration under rising load.
#[derive(Clone, PartialEq, Debug)]
pub struct KneeSeries {
    /// Its name; empty if there is one only.
    pub label: String,
    /// The loads, lightest first.
    pub points: Vec<KneePoint>,
    /// Where the cost model says that capacity ends, and what ends there.
    pub capacity: Option<(u64, String)>,
}

/// The chart.
#[derive(Clone, PartialEq, Debug)]
pub struct KneeChart {
    /// What it shows.
    pub title: String,
    /// What the figures depend on.
    pub setting: String,
    /// The configurations.
    pub series: Vec<KneeSeries>,
}

impl KneeSeries {
    /// Between which two loads the knee lies: the heaviest before it, and the next.
    pub fn knee(&self) -> Option<(u64, u64)> {
        let limit = self.points.first()?.p50.max(1).saturating_mul(KNEE);
        let beyond = self.points.iter().position(|p| p.p50 > limit)?;
        Some((self.points.get(beyond.checked_sub(1)?)?.per_second, self.points[beyond].per_second))
    }

    /// In a sentence.
    pub fn in_words(&self) -> String {
        let name = if self.label.is_empty() { String::new() } else { format!("{}: ", self.label) };
        let knee = self.knee().map_or("no knee within the loads offered".to_owned(), |(before, beyond)| {
            format!("the knee lies between {} and {}/s", text::number(before), text::number(beyond))
        });
        let model = self
            .capacity
            .as_ref()
            .map_or(String::new(), |(at, by)| format!("; the cost model ends at {}/s ({by})", text::number(*at)));
        format!("{name}{knee}{model}.")
    }
}

impl Chart for KneeChart {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), String>
    where
        B::ErrorType: 'static,
    {
        let failed = |e: DrawingAreaErrorKind<B::ErrorType>| e.to_string();
        let area = super::titled(area, &self.title, &self.setting).map_err(failed)?;
        let ms = |ns: u64| ns.max(1) as f64 / 1e6;
        let points = || self.series.iter().flat_map(|s| &s.points);
        let low = points().map(|p| ms(p.p50)).fold(f64::MAX, f64::min).min(1e6) * 0.7;
        let range = decades(low, points().map(|p| ms(p.p99)).fold(low, f64::max));
        let (low, high) = (range.start, range.end);
        let ends = self.series.iter().filter_map(|s| s.capacity.as_ref()).map(|c| c.0);
        let last = points().map(|p| p.per_second).max().unwrap_or(1);
        let right = ends.filter(|end| *end < last * 2).chain([last]).max().unwrap_or(1) as f64 * 1.06;
        let several = self.series.len() > 1;
        let names: Vec<(usize, u32, String)> = if several {
            self.series.iter().enumerate().map(|(i, s)| (i, 3, format!("p99 {}", s.label))).collect()
        } else {
            vec![(0, 1, "p50".to_owned()), (1, 3, "p99".to_owned())]
        };
        let area = beside(&area, &names)?;
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(76)
            .build_cartesian_2d(0.0..right, (low..high).log_scale())
            .map_err(failed)?;
        mesh(&mut chart, &Axis::counts("records offered per second", 10), &Axis::milliseconds("response", 10))?;
        let mut drawn: Vec<u64> = Vec::new();
        for (at, by) in self.series.iter().filter_map(|s| s.capacity.as_ref()) {
            if *at as f64 > right || drawn.contains(at) {
                continue;
            }
            let x = *at as f64;
            let line = DashedLineSeries::new([(x, low), (x, high)], 7, 5, style::INK.stroke_width(2));
            chart.draw_series(line).map_err(failed)?;
            let words = format!("cost model: {by}");
            let width = style::text_width(&words, 13) / 600.0 * right;
            let left = if x > width + right * 0.02 { x - width - right * 0.005 } else { x + right * 0.008 };
            let y = low * (high / low).powf(0.04 + 0.06 * drawn.len() as f64);
            chart.draw_series([Text::new(words, (left, y), style::text(13))]).map_err(failed)?;
            drawn.push(*at);
        }
        for (i, series) in self.series.iter().enumerate() {
            for (n, width) in [1, 3].into_iter().enumerate() {
                let pick = |p: &KneePoint| if n == 0 { p.p50 } else { p.p99 };
                // One configuration: the two curves differ in mark and colour. Several: the p99 alone keeps it readable.
                if several && n == 0 {
                    continue;
                }
                let which = if several { i } else { n };
                let curve: Vec<(f64, f64)> = series.points.iter().map(|p| (p.per_second as f64, ms(pick(p)))).collect();
                let stroke = style::series(which).stroke_width(width);
                chart.draw_series(LineSeries::new(curve.clone(), stroke)).map_err(failed)?;
                chart.draw_series(curve.into_iter().map(|p| mark(which, p, 9))).map_err(failed)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(p50: &[u64]) -> KneeSeries {
        let point = |(i, p50): (usize, &u64)| KneePoint { per_second: (i as u64 + 1) * 100, p50: *p50, p99: p50 * 3 };
        KneeSeries {
            label: String::new(),
            points: p50.iter().enumerate().map(point).collect(),
            capacity: Some((380, "the leaders' network cards".to_owned())),
        }
    }

    #[test]
    fn the_knee_is_the_last_load_before_the_median_takes_off() {
        let ms = 1_000_000;
        let s = series(&[2 * ms, 2 * ms, 5 * ms, 900 * ms]);
        assert_eq!(s.knee(), Some((300, 400)));
        assert_eq!(
            s.in_words(),
            "the knee lies between 300 and 400/s; the cost model ends at 380/s (the leaders' network cards)."
        );
        assert_eq!(series(&[2 * ms, 3 * ms]).knee(), None);
        assert_eq!(series(&[]).knee(), None);
    }

    #[test]
    fn it_draws_curves_and_capacity() {
        let chart =
            KneeChart { title: "t".into(), setting: "s\nmore".into(), series: vec![series(&[2_000_000, 3_000_000])] };
        let svg = super::super::svg(&chart).unwrap();
        for word in ["p50", "p99", "cost model: the leaders", "more"] {
            assert!(svg.contains(word), "{word}");
        }
        assert!(!svg.contains("NaN"));
    }
}
