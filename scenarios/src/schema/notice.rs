//! What is wrong with a scenario, and where.

use super::draw::{Atom, Draw};
use super::source::{Node, Path};
use std::ops::Range;

/// Something wrong with a scenario.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// What is wrong.
    pub message: String,
    /// Where it stands.
    pub at: Path,
    /// Which part of the text there, in bytes.
    pub within: Option<Range<usize>>,
    /// Whether the key is wrong, and not its value.
    pub on_key: bool,
    /// What else it depends on: if one of these could not be read, nothing can be said.
    pub needs: Vec<Path>,
    /// Whether it is wrong only as long as nothing is drawn: of a scenario that was drawn, another draw may be meant.
    pub in_no_draw: bool,
    /// What to do.
    pub help: Option<String>,
}

impl Notice {
    /// What is wrong with the value at a place.
    pub fn new(message: impl Into<String>, at: Path) -> Notice {
        Notice {
            message: message.into(),
            at,
            within: None,
            on_key: false,
            needs: Vec::new(),
            in_no_draw: false,
            help: None,
        }
    }
    /// With a key that is wrong.
    pub fn of_key(message: impl Into<String>, at: Path) -> Notice {
        Notice { on_key: true, ..Notice::new(message, at) }
    }
    /// What to do.
    pub fn help(self, help: impl Into<String>) -> Notice {
        Notice { help: Some(help.into()), ..self }
    }
    /// What else it depends on.
    pub fn needs(mut self, at: Path) -> Notice {
        self.needs.push(at);
        self
    }
    /// Something that is missing in every draw of a scenario, and may be missing in one.
    pub fn in_no_draw(self, holds: bool) -> Notice {
        Notice { in_no_draw: holds, ..self }
    }
    /// A part of the text.
    pub fn within(self, part: Range<usize>) -> Notice {
        Notice { within: Some(part), ..self }
    }
    /// Where it stands in the file.
    pub fn place(&self, text: &str, root: &Node) -> Range<usize> {
        root.place(text, &self.at, self.on_key, self.within.as_ref())
    }
    /// Whether it may follow from what could not be read.
    pub fn follows_from(&self, mended: &[Path]) -> bool {
        mended.iter().any(|m| self.at.is_in(m) || self.needs.iter().any(|need| m.is_in(need) || need.is_in(m)))
    }
}

/// What is wrong with values that may be drawn.
pub(super) trait Demand {
    /// Each value that may be drawn must satisfy this.
    fn demand<T: Atom>(&mut self, at: Path, draw: &Draw<T>, holds: impl Fn(&T) -> bool, message: &str);
    /// As [`Demand::demand`], where there may be no value.
    fn demand_some<T: Atom>(&mut self, at: Path, draw: &Option<Draw<T>>, holds: impl Fn(&T) -> bool, message: &str) {
        if let Some(draw) = draw {
            self.demand(at, draw, holds, message);
        }
    }
}

impl Demand for Vec<Notice> {
    fn demand<T: Atom>(&mut self, at: Path, draw: &Draw<T>, holds: impl Fn(&T) -> bool, message: &str) {
        for n in wrong(draw, holds) {
            self.push(Notice::new(message, draw.place(&at, n)));
        }
    }
}

/// Which of the values that may be drawn do not satisfy it; of a range at most one of its ends.
fn wrong<T: Atom>(draw: &Draw<T>, holds: impl Fn(&T) -> bool) -> Vec<usize> {
    let all = draw.extremes();
    let mut wrong: Vec<usize> = (0..all.len()).filter(|n| !holds(all[*n])).collect();
    if matches!(draw, Draw::Range(..)) {
        wrong.truncate(1);
    }
    wrong
}
