//! Marks that tell series apart where there is no colour: by shape, and by being filled or hollow.

use super::style;
use plotters::element::{Drawable, PointCollection};
use plotters::prelude::*;
use plotters_backend::{BackendCoord, DrawingErrorKind};

/// The shapes: circle, square, triangle, cross, and the first three hollow. With six colours, 42 that differ.
const SHAPES: usize = 7;

/// The mark of a series at one place.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Mark<C> {
    at: C,
    series: usize,
    /// About how many pixels it is across.
    size: i32,
    /// In a legend: the width of the line it stands on.
    line: Option<u32>,
}

/// The mark of the `series`-th series, about `size` pixels across.
pub fn mark<C>(series: usize, at: C, size: i32) -> Mark<C> {
    Mark { at, series, size, line: None }
}

/// The key of a legend: the mark, on a piece of the series' line.
pub fn key(series: usize, (x, y): BackendCoord, width: u32) -> Mark<BackendCoord> {
    Mark { at: (x + 10, y), series, size: 9, line: Some(width) }
}

impl<'a, C: 'a> PointCollection<'a, C> for &'a Mark<C> {
    type Point = &'a C;
    type IntoIter = std::iter::Once<&'a C>;
    fn point_iter(self) -> Self::IntoIter {
        std::iter::once(&self.at)
    }
}

impl<C, DB: DrawingBackend> Drawable<DB> for Mark<C> {
    fn draw<I: Iterator<Item = BackendCoord>>(
        &self,
        at: I,
        backend: &mut DB,
        _parent: (u32, u32),
    ) -> Result<(), DrawingErrorKind<DB::ErrorType>> {
        let (colour, half) = (style::series(self.series), (self.size / 2).max(2));
        let line = colour.stroke_width(2);
        for (x, y) in at {
            if let Some(width) = self.line {
                backend.draw_line((x - 10, y), (x + 10, y), &colour.stroke_width(width))?;
            }
            let (left, right, above, below) = (x - half, x + half, y - half, y + half);
            let corners = [(left, below), (right, below), (x, above), (left, below)];
            match self.series % SHAPES {
                0 => backend.draw_circle((x, y), half as u32, &colour.filled(), true)?,
                1 => backend.draw_rect((left, above), (right, below), &colour.filled(), true)?,
                2 => backend.fill_polygon(corners, &colour.filled())?,
                3 => {
                    backend.draw_line((left, above), (right, below), &line)?;
                    backend.draw_line((left, below), (right, above), &line)?;
                }
                4 => {
                    backend.draw_circle((x, y), half as u32, &WHITE.filled(), true)?;
                    backend.draw_circle((x, y), half as u32, &line, false)?;
                }
                5 => {
                    backend.draw_rect((left, above), (right, below), &WHITE.filled(), true)?;
                    backend.draw_rect((left, above), (right, below), &line, false)?;
                }
                _ => {
                    backend.fill_polygon(corners, &WHITE.filled())?;
                    backend.draw_path(corners, &line)?;
                }
            }
        }
        Ok(())
    }
}
