//! One look for all charts: an embedded font, and colours that stay apart in greyscale and for the colour-blind.

use plotters::prelude::*;
use plotters::style::{FontStyle, register_font as register};
use std::sync::Once;

/// The font's name in styles.
pub const FONT: &str = "klamm";

/// Text, axes.
pub const INK: RGBColor = RGBColor(40, 44, 52);
/// Grid lines.
pub const GRID: RGBColor = RGBColor(225, 228, 232);
/// What has no colour of its own.
pub const REST: RGBColor = RGBColor(172, 175, 180);
/// Fault bands.
pub const FAULT: RGBColor = RGBColor(214, 69, 65);

/// Okabe and Ito's palette, darkest first.
const SERIES: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
];

/// The `i`-th series' colour.
pub fn series(i: usize) -> RGBColor {
    SERIES[i % SERIES.len()]
}

/// Text of `size` pixels, as all text is.
pub fn text(size: u32) -> TextStyle<'static> {
    (FONT, size).into_font().color(&INK)
}

/// About how wide text of `size` pixels is, in pixels: enough to keep labels apart.
pub fn text_width(text: &str, size: u32) -> f64 {
    text.chars().count() as f64 * f64::from(size) * 0.58
}

/// Charts need no font of the system's: one comes along.
pub fn register_font() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let bytes = include_bytes!("../../assets/DejaVuSans-subset.ttf");
        if register(FONT, FontStyle::Normal, bytes).is_err() {
            unreachable!("the embedded font is a font");
        }
    });
}
