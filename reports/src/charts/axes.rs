//! What charts have in common: axes, legends, time with the faults in it. One place, so that the same thing looks the
//! same on every page.

use super::marks::key;
use super::timeline::{Band, Label, band, place_labels};
use super::{Drawn, style};
use crate::text;
use plotters::chart::{ChartContext, SeriesLabelPosition};
use plotters::coord::ranged1d::{Ranged, ValueFormatter};
use plotters::coord::{CoordTranslate, Shift};
use plotters::prelude::*;

/// Pixels to the left of a time axis: room for the names of lanes and for numbers.
pub const LEFT: u32 = 84;
/// What stands below every axis of time.
pub const SECONDS: &str = "virtual time, seconds of hardship";

/// One axis: what it is, about how many labels it has, and how they read. Without labels it has no grid lines.
pub struct Axis<'a> {
    what: &'a str,
    labels: usize,
    read: &'a dyn Fn(&f64) -> String,
    grid: bool,
}

impl<'a> Axis<'a> {
    /// An axis with a grid.
    pub fn new(what: &'a str, labels: usize, read: &'a dyn Fn(&f64) -> String) -> Axis<'a> {
        Axis { what, labels, read, grid: true }
    }
    /// Of times in milliseconds.
    pub fn milliseconds(what: &'a str, labels: usize) -> Axis<'a> {
        Axis::new(what, labels, &|ms| text::time((ms * 1e6) as u64))
    }
    /// Of seconds of hardship; labelled only where it is the lowest of its page.
    pub fn seconds(labelled: bool) -> Axis<'a> {
        let what = if labelled { SECONDS } else { "" };
        Axis { what, labels: 10, read: &|s| format!("{s:.1}"), grid: false }
    }
    /// With lines across the panel.
    pub fn with_grid(self) -> Axis<'a> {
        Axis { grid: true, ..self }
    }
    /// Of counts.
    pub fn counts(what: &'a str, labels: usize) -> Axis<'a> {
        Axis::new(what, labels, &|n| text::number(*n as u64))
    }
    /// Without numbers.
    pub fn bare() -> Axis<'a> {
        Axis { what: "", labels: 0, read: &|_| String::new(), grid: false }
    }
}

/// Draws both axes, their labels and their grid.
pub fn mesh<'a, DB, X, Y>(chart: &mut ChartContext<'a, DB, Cartesian2d<X, Y>>, x: &Axis<'_>, y: &Axis<'_>) -> Drawn
where
    DB: DrawingBackend + 'a,
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let mut mesh = chart.configure_mesh();
    if !x.grid {
        mesh.disable_x_mesh();
    }
    if !y.grid {
        mesh.disable_y_mesh();
    }
    mesh.light_line_style(WHITE.mix(0.0))
        .bold_line_style(style::GRID)
        .label_style(style::text(14))
        .x_desc(x.what)
        .y_desc(y.what)
        .x_labels(x.labels)
        .y_labels(y.labels)
        .x_label_formatter(&x.read)
        .y_label_formatter(&y.read)
        .draw()
        .map_err(|e| e.to_string())
}

/// Draws the names of the series, in a box.
pub fn legend<'a, DB, CT>(chart: &mut ChartContext<'a, DB, CT>, position: SeriesLabelPosition) -> Drawn
where
    DB: DrawingBackend + 'a,
    CT: CoordTranslate,
{
    chart
        .configure_series_labels()
        .position(position)
        .background_style(WHITE.mix(0.85))
        .border_style(style::GRID)
        .legend_area_size(26)
        .label_font(style::text(14))
        .draw()
        .map_err(|e| e.to_string())
}

/// The powers of ten around a range: an axis that begins and ends with a label.
pub fn decades(low: f64, high: f64) -> std::ops::Range<f64> {
    let (low, high) = (low.max(1e-9), high.max(low.max(1e-9)));
    let (from, to) = (low.log10().floor(), high.log10().ceil());
    10f64.powf(from)..10f64.powf(if to > from { to } else { from + 1.0 })
}

/// Pixels that names beside the panel take.
const SIDE: u32 = 226;
/// Of the names' text.
const NAME: u32 = 13;
/// Pixels from one line of names to the next.
const LINE: i32 = 17;

/// A panel, and beside it the names of the series with their marks: a box within the panel would cover curves.
pub fn beside<DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    names: &[(usize, u32, String)],
) -> Result<DrawingArea<DB, Shift>, String> {
    let (width, _) = area.dim_in_pixel();
    let (panel, side) = area.split_horizontally(width.saturating_sub(SIDE));
    let mut y = 22;
    for (series, stroke, name) in names {
        side.draw(&key(*series, (8, y), *stroke)).map_err(|e| e.to_string())?;
        for line in wrapped(name, f64::from(SIDE - 44)) {
            side.draw(&Text::new(line, (36, y - 6), style::text(NAME))).map_err(|e| e.to_string())?;
            y += LINE;
        }
        y += 5;
    }
    Ok(panel)
}

/// A panel as wide as the area, and above it the names of the series with their marks, in as many rows as they need:
/// for panels that share their axis of time with others. A name without a series has a grey line.
pub fn above<DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    names: &[(Option<usize>, u32, String)],
) -> Result<DrawingArea<DB, Shift>, String> {
    let failed = |e: DrawingAreaErrorKind<DB::ErrorType>| e.to_string();
    let (width, _) = area.dim_in_pixel();
    let (mut x, mut row, mut places) = (LEFT as i32, 0, Vec::new());
    for (_, _, name) in names {
        let needs = 28 + style::text_width(name, NAME).ceil() as i32 + 18;
        if x > LEFT as i32 && x + needs > width as i32 {
            (x, row) = (LEFT as i32, row + 1);
        }
        places.push((x, 10 + row * LINE));
        x += needs;
    }
    let (strip, panel) = area.split_vertically(if names.is_empty() { 0 } else { 10 + (row + 1) * LINE });
    for ((series, stroke, name), (x, y)) in names.iter().zip(places) {
        match series {
            Some(series) => strip.draw(&key(*series, (x, y), *stroke)).map_err(failed)?,
            None => {
                let line = PathElement::new(vec![(x, y), (x + 20, y)], style::REST.stroke_width(*stroke));
                strip.draw(&line).map_err(failed)?;
            }
        }
        strip.draw(&Text::new(name.clone(), (x + 28, y - 6), style::text(NAME))).map_err(failed)?;
    }
    Ok(panel)
}

/// A name in lines of so many pixels; broken between words, and after dots where a word alone is too long.
fn wrapped(name: &str, width: f64) -> Vec<String> {
    let fits = |text: &str| style::text_width(text, NAME) <= width;
    let mut pieces: Vec<String> = Vec::new();
    for word in name.split(' ') {
        if fits(word) {
            pieces.push(format!("{word} "));
        } else {
            pieces.extend(word.split_inclusive('.').map(str::to_owned));
            pieces.push(" ".to_owned());
        }
    }
    let mut lines = vec![String::new()];
    for piece in pieces {
        let last = lines.last_mut().expect("there is one");
        if last.is_empty() || fits(format!("{last}{piece}").trim_end()) {
            last.push_str(&piece);
        } else {
            lines.push(piece);
        }
    }
    lines.iter().map(|l| l.trim_end().to_owned()).filter(|l| !l.is_empty()).collect()
}

/// Faults over time, with their names in rows above what is drawn.
pub struct Faults<'a> {
    bands: &'a [Band],
    labels: Vec<Label>,
    /// Height of a row, as a share of the panel.
    row: f64,
}

impl<'a> Faults<'a> {
    /// Of a panel that ends at `end` seconds, in which a row of names takes this share of the height.
    pub fn new(bands: &'a [Band], end: f64, row: f64) -> Faults<'a> {
        Faults { bands, labels: place_labels(bands, end), row }
    }
    /// How high a panel must reach so that names stand above `most`.
    pub fn above(&self, most: f64) -> f64 {
        most / (0.95 - self.row * self.rows() as f64)
    }
    /// Rows of names.
    pub fn rows(&self) -> usize {
        self.labels.iter().map(|l| l.row + 1).max().unwrap_or(0)
    }
    /// The names.
    pub fn into_labels(self) -> Vec<Label> {
        self.labels
    }
    /// Draws the bands.
    pub fn draw_bands<'b, DB, X, Y>(
        &self,
        chart: &mut ChartContext<'b, DB, Cartesian2d<X, Y>>,
        low: f64,
        high: f64,
    ) -> Drawn
    where
        DB: DrawingBackend + 'b,
        X: Ranged<ValueType = f64>,
        Y: Ranged<ValueType = f64>,
    {
        chart.draw_series(self.bands.iter().map(|b| band(b, low, high))).map(|_| ()).map_err(|e| e.to_string())
    }
    /// Draws the names; the panel is as high as `top`.
    pub fn draw_names<'b, DB, X, Y>(self, chart: &mut ChartContext<'b, DB, Cartesian2d<X, Y>>, top: f64) -> Drawn
    where
        DB: DrawingBackend + 'b,
        X: Ranged<ValueType = f64>,
        Y: Ranged<ValueType = f64>,
    {
        let row = self.row;
        let names = self.labels.into_iter().map(|l| l.text(top, row));
        chart.draw_series(names).map(|_| ()).map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_broken_and_nothing_of_them_is_lost() {
        let name = "enable.idempotence=false max.in.flight.requests.per.connection=1";
        let lines = wrapped(name, 182.0);
        assert!(lines.len() > 1 && lines.iter().all(|l| style::text_width(l, NAME) <= 182.0), "{lines:?}");
        let joined: String = lines.concat().replace(' ', "");
        assert_eq!(joined, name.replace(' ', ""));
        assert_eq!(wrapped("acks=1, flush", 182.0), ["acks=1, flush"]);
    }

    #[test]
    fn an_axis_ends_with_labels() {
        let r = decades(3.1, 4.4);
        assert!((r.start - 1.0).abs() < 1e-9 && (r.end - 10.0).abs() < 1e-9, "{r:?}");
        let r = decades(100.0, 100.0);
        assert!(r.start <= 100.0 && r.end >= 999.0, "{r:?}");
    }
}
