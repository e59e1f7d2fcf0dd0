//! What safety costs: p99 latency against records lost, one point for each configuration.

use super::axes::{Axis, decades, mesh};
use super::marks::mark;
use super::{Chart, style};
use crate::text;
use plotters::coord::Shift;
use plotters::prelude::*;

/// One configuration.
#[derive(Clone, PartialEq, Debug)]
pub struct TradeoffPoint {
    /// Its name.
    pub label: String,
    /// 99 in 100 responses took at most this long, nanoseconds.
    pub p99: u64,
    /// Records lost, per million sent.
    pub lost_ppm: u64,
}

/// The chart.
#[derive(Clone, PartialEq, Debug)]
pub struct TradeoffChart {
    /// What it shows.
    pub title: String,
    /// What the figures depend on.
    pub setting: String,
    /// The points, numbered from 1 in this order.
    pub points: Vec<TradeoffPoint>,
}

/// Where a loss stands on the axis: none at 0, then one step for each power of ten.
fn place(lost_ppm: u64) -> f64 {
    if lost_ppm == 0 { 0.0 } else { 1.0 + (lost_ppm as f64).log10() }
}

/// What stands at a step of the axis.
fn step(x: f64) -> String {
    match x.round() as i32 {
        0 => "none".to_owned(),
        n => text::number(10u64.pow((n - 1).clamp(0, 6) as u32)),
    }
}

impl Chart for TradeoffChart {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), String>
    where
        B::ErrorType: 'static,
    {
        let failed = |e: DrawingAreaErrorKind<B::ErrorType>| e.to_string();
        let area = super::titled(area, &self.title, &self.setting).map_err(failed)?;
        let ms = |ns: u64| ns.max(1) as f64 / 1e6;
        let low = self.points.iter().map(|p| ms(p.p99)).fold(f64::MAX, f64::min).min(1e6) * 0.8;
        let range = decades(low, self.points.iter().map(|p| ms(p.p99)).fold(low, f64::max) * 1.3);
        let (low, high) = (range.start, range.end);
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(76)
            .build_cartesian_2d(-0.4..7.4, (low..high).log_scale())
            .map_err(failed)?;
        let lost = |x: &f64| step(*x);
        mesh(
            &mut chart,
            &Axis::new("records lost, per million sent", 8, &lost),
            &Axis::milliseconds("p99 response", 10),
        )?;
        let mut taken: Vec<(f64, f64, f64)> = Vec::new();
        let places: Vec<(f64, f64)> = self.points.iter().map(|p| (place(p.lost_ppm), ms(p.p99))).collect();
        for (i, point) in self.points.iter().enumerate() {
            let (x, y) = places[i];
            // Marks that lie on each other are drawn within each other: the first is the widest.
            let near = |p: &&(f64, f64)| (p.0 - x).abs() < 0.12 && (p.1 / y).ln().abs() < (high / low).ln() * 0.025;
            let above = places[i + 1..].iter().filter(near).count();
            let size = 12 + 8 * above.min(6) as i32;
            let name = format!("{} {}", i + 1, point.label);
            let width = style::text_width(&name, 13) / 830.0 * 7.8;
            // To the right of the marks, or to the left where the page ends; moved down past names already there.
            let right = x + 0.12 + 0.04 * above as f64;
            let left_edge = if right + width > 7.4 { x - 0.12 - width } else { right };
            let row = (high / low).powf(0.045);
            let mut at = y * row.powf(0.4);
            while taken
                .iter()
                .any(|(l, r, t)| *l < left_edge + width && left_edge < *r && (t / at).ln().abs() < row.ln())
            {
                at /= row;
            }
            taken.push((left_edge, left_edge + width, at));
            chart.draw_series([mark(i, (x, y), size)]).map_err(failed)?;
            chart.draw_series([Text::new(name, (left_edge, at), style::text(13))]).map_err(failed)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_loss_stands_apart_from_the_smallest() {
        assert_eq!((place(0), place(1), place(1_000_000)), (0.0, 1.0, 7.0));
        assert_eq!((step(0.0), step(1.0), step(4.0)), ("none".to_owned(), "1".to_owned(), "1,000".to_owned()));
    }

    #[test]
    fn it_draws_with_points_in_one_place() {
        let point = |label: &str| TradeoffPoint { label: label.to_owned(), p99: 5_000_000, lost_ppm: 0 };
        let chart =
            TradeoffChart { title: "t".into(), setting: "s".into(), points: vec![point("acks=1"), point("acks=all")] };
        let svg = super::super::svg(&chart).unwrap();
        assert!(svg.contains("1 acks=1") && svg.contains("2 acks=all") && !svg.contains("NaN"));
    }
}
