//! A group over time: one lane for each member, a bar where it has partitions, shaded by generation, faults behind.
//!
//! Generations take turns between light and dark, and carry their numbers, so that the chart reads without colour too.

use super::axes::{Axis, Faults, LEFT, mesh};
use super::timeline::Band;
use super::{Chart, style};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde::{Deserialize, Serialize};

/// A time in which a member had so many partitions, in one generation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LaneSpan {
    /// Begin, nanoseconds.
    pub from: u64,
    /// End, nanoseconds.
    pub to: u64,
    /// Generation or member epoch.
    pub generation: i32,
    /// Partitions.
    pub partitions: u32,
}

/// A member.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Lane {
    /// Its name.
    pub label: String,
    /// What it had, in order.
    pub spans: Vec<LaneSpan>,
}

/// The chart.
#[derive(Clone, Debug)]
pub struct GanttChart {
    /// What it shows.
    pub title: String,
    /// What the figures depend on.
    pub setting: String,
    /// Where it ends, nanoseconds.
    pub end: u64,
    /// Members.
    pub lanes: Vec<Lane>,
    /// Rebalances: from the coordinator's decision to its group being stable.
    pub rebalances: Vec<(u64, u64)>,
    /// Faults.
    pub bands: Vec<Band>,
}

/// Lanes drawn at most: more are no lanes any more.
const LANES: usize = 40;
/// Pixels between the axes.
const WIDTH: f64 = 830.0;
/// Space for the names of faults, in lanes.
const HEAD: f64 = 0.7;

/// How a generation is filled, and in what its number is written.
fn shade(generation: i32) -> (RGBAColor, RGBColor) {
    let colour = style::series(generation.rem_euclid(6) as usize);
    let bright = 2 * u32::from(colour.0) + 5 * u32::from(colour.1) + u32::from(colour.2) > 1000;
    match generation.rem_euclid(2) {
        0 if bright => (colour.mix(0.85), style::INK),
        0 => (colour.mix(0.85), WHITE),
        _ => (colour.mix(0.28), style::INK),
    }
}

impl Chart for GanttChart {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), String>
    where
        B::ErrorType: 'static,
    {
        let failed = |e: DrawingAreaErrorKind<B::ErrorType>| e.to_string();
        let more = self.lanes.len().saturating_sub(LANES);
        let setting = match more {
            0 => self.setting.clone(),
            n => format!("{}; {n} more members not drawn", self.setting),
        };
        let area = super::titled(area, &self.title, &setting).map_err(failed)?;
        let lanes = &self.lanes[..self.lanes.len().min(LANES)];
        let end = (self.end.max(1)) as f64 / 1e9;
        let faults = Faults::new(&self.bands, end, 0.0);
        let rows = faults.rows();
        // A chart of few lanes keeps its names as far apart as one of many.
        let unit = (lanes.len().max(1) as f64 / 8.0).max(0.5);
        let head = HEAD * unit * rows as f64;
        let (low, high) = (-(lanes.len() as f64), head.max(0.2));
        let names: Vec<&str> = lanes.iter().map(|l| l.label.as_str()).collect();
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .x_label_area_size(40)
            .y_label_area_size(LEFT)
            .build_cartesian_2d(0.0..end, low..high)
            .map_err(failed)?;
        faults.draw_bands(&mut chart, low, high)?;
        mesh(&mut chart, &Axis::seconds(true).with_grid(), &Axis::bare())?;
        // Rebalances: a grey strip through all lanes, with an edge where it begins.
        for &(from, to) in &self.rebalances {
            let (from, to) = (from as f64 / 1e9, (to as f64 / 1e9).max(from as f64 / 1e9 + end / 600.0));
            let strip = Rectangle::new([(from, low), (to, 0.0)], style::INK.mix(0.16).filled());
            chart.draw_series([strip]).map_err(failed)?;
            let edge = PathElement::new(vec![(from, low), (from, 0.0)], style::INK.mix(0.6));
            chart.draw_series([edge]).map_err(failed)?;
        }
        let small = (style::FONT, 12).into_font();
        for (row, lane) in lanes.iter().enumerate() {
            let (top, bottom) = (-(row as f64) - 0.16, -(row as f64) - 0.84);
            for span in &lane.spans {
                let (from, to) = (span.from as f64 / 1e9, span.to as f64 / 1e9);
                let (fill, ink) = shade(span.generation);
                let bar = Rectangle::new([(from, bottom), (to, top)], fill.filled());
                let rim = Rectangle::new([(from, bottom), (to, top)], style::INK.mix(0.5));
                chart.draw_series([bar, rim]).map_err(failed)?;
                let room = (to - from) / end * WIDTH;
                let words = [format!("{} · {}p", span.generation, span.partitions), span.generation.to_string()];
                let fits = words.into_iter().find(|w| style::text_width(w, 12) + 6.0 < room);
                if let Some(words) = fits.filter(|_| lanes.len() <= 24) {
                    let centred = small.color(&ink).pos(Pos::new(HPos::Center, VPos::Center));
                    let text = Text::new(words, ((from + to) / 2.0, (top + bottom) / 2.0), centred);
                    chart.draw_series([text]).map_err(failed)?;
                }
            }
        }
        let (_, pixels) = chart.plotting_area().dim_in_pixel();
        let per_lane = f64::from(pixels) / (high - low);
        for (row, name) in names.iter().enumerate().filter(|(row, _)| per_lane >= 12.0 || row % 2 == 0) {
            let font = (style::FONT, 13).into_font().color(&style::INK).pos(Pos::new(HPos::Right, VPos::Center));
            let text = EmptyElement::at((0.0, -(row as f64) - 0.5)) + Text::new((*name).to_owned(), (-8, 0), font);
            chart.draw_series([text]).map_err(failed)?;
        }
        let step = head / rows.max(1) as f64;
        for label in faults.into_labels() {
            let font = (style::FONT, 12).into_font().color(&style::FAULT);
            let y = high - step * label.row as f64 - step * 0.05;
            chart.draw_series([Text::new(label.text, (label.seconds, y), font)]).map_err(failed)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::charts::svg;

    fn chart(members: u64) -> GanttChart {
        let second = 1_000_000_000;
        let lane = |n: u64| Lane {
            label: format!("m{n}"),
            spans: (0..6)
                .map(|g| LaneSpan {
                    from: (g * 10 + n % 3) * second,
                    to: (g * 10 + 8 + n % 2) * second,
                    generation: g as i32 + 1,
                    partitions: (n + g) as u32 % 5 + 1,
                })
                .collect(),
        };
        let band =
            |from: u64, label: &str| Band { from: from * second, to: (from + 4) * second, label: label.to_owned() };
        GanttChart {
            title: "rebalance-storm · group billing · seed 0x1".to_owned(),
            setting: "bars: generation · partitions held".to_owned(),
            end: 60 * second,
            lanes: (1..=members).map(lane).collect(),
            rebalances: (1..6).map(|g| ((g * 10 - 2) * second, (g * 10 + 1) * second)).collect(),
            bands: vec![band(7, "kill coordinator(billing)"), band(31, "pause member(billing)"), band(33, "kill b2")],
        }
    }

    #[test]
    fn every_member_has_its_lane_and_every_generation_its_number() {
        let text = svg(&chart(6)).unwrap();
        for word in ["m1", "m6", "1 · 2p", "6 · ", "kill coordinator(billing)", "kill b2"] {
            assert!(text.contains(word), "{word}");
        }
        // More members than can be told apart are not drawn, and that is said.
        let text = svg(&chart(50)).unwrap();
        assert!(text.contains("10 more members not drawn") && !text.contains(">\nm41"));
    }

    #[test]
    fn neighbouring_generations_differ_without_colour() {
        let light = |c: (RGBAColor, RGBColor)| {
            let RGBAColor(r, g, b, a) = c.0;
            let over_white = |v: u8| 255.0 - (255.0 - f64::from(v)) * a;
            0.3 * over_white(r) + 0.59 * over_white(g) + 0.11 * over_white(b)
        };
        for n in -3..12 {
            assert!((light(shade(n)) - light(shade(n + 1))).abs() > 30.0, "{n}");
        }
    }
}
