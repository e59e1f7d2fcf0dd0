//! Charts, each as SVG and PNG from one drawing.

mod axes;
mod backlog;
mod gantt;
mod knee;
mod lag;
mod lanes;
mod marks;
mod percentile;
mod style;
mod timeline;
mod tradeoff;

pub use backlog::BacklogChart;
pub use gantt::{GanttChart, Lane, LaneSpan};
pub use knee::{KNEE, KneeChart, KneePoint, KneeSeries};
pub use lag::{LagChart, LagSeries};
pub use lanes::{LanesChart, RateLane};
pub use percentile::{PercentileChart, PercentileSeries};
pub use timeline::{Band, Moment, TimelineChart, Window};
pub use tradeoff::{TradeoffChart, TradeoffPoint};

use crate::ReportError;
use plotters::coord::Shift;
use plotters::prelude::*;
use std::path::Path;

/// Width and height in pixels; wide enough for a page, and readable at phone width.
const SIZE: (u32, u32) = (960, 480);

/// Nothing, or why it could not be drawn.
type Drawn = Result<(), String>;

/// Something that can be drawn.
pub trait Chart {
    /// Draws onto any surface.
    ///
    /// # Errors
    /// The surface's, in words.
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), String>
    where
        B::ErrorType: 'static;
}

/// The chart as SVG.
///
/// # Errors
/// [`ReportError::Chart`].
pub fn svg(chart: &impl Chart) -> Result<String, ReportError> {
    style::register_font();
    let mut text = String::new();
    let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
    let failed = |message| ReportError::Chart { chart: "SVG".to_owned(), message };
    chart.draw(&area).map_err(failed)?;
    area.present().map_err(|e| failed(e.to_string()))?;
    drop(area);
    // Whoever opens the file has not got the embedded font: any sans-serif one is near enough.
    let ours = format!("font-family=\"{}\"", style::FONT);
    Ok(text.replace(&ours, "font-family=\"DejaVu Sans, Verdana, sans-serif\""))
}

/// The drawing surface below its title and what the figures depend on, with a margin that cuts nothing off.
fn titled<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    title: &str,
    setting: &str,
) -> Result<DrawingArea<B, Shift>, DrawingAreaErrorKind<B::ErrorType>> {
    style::register_font();
    area.fill(&WHITE)?;
    let area = area.margin(8, 4, 0, 20);
    let mut area = area.titled(title, style::text(20))?;
    for line in setting.lines() {
        // A line that is too long is set smaller rather than cut.
        let size = if style::text_width(line, 13) <= f64::from(SIZE.0 - 40) { 13 } else { 11 };
        area = area.titled(line, style::text(size))?;
    }
    Ok(area)
}

/// Writes `<path>.svg` and `<path>.png`.
///
/// # Errors
/// [`ReportError`].
pub fn write(chart: &impl Chart, path: &Path) -> Result<(), ReportError> {
    crate::write_whole(&path.with_extension("svg"), svg(chart)?.as_bytes())?;
    let png = path.with_extension("png");
    let failed = |message| ReportError::Chart { chart: png.display().to_string(), message };
    let area = BitMapBackend::new(&png, SIZE).into_drawing_area();
    chart.draw(&area).map_err(failed)?;
    area.present().map_err(|e| failed(e.to_string()))
}
