//! Bugs of the shell itself, planted by tests of those who are to notice them. Off unless a test says otherwise; each is
//! read in one place, beside the rule that it breaks.

/// A bug of the shell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Planted {
    /// What one read brought is taken for the whole frame.
    PartialFrame,
    /// Two answers that wait on one connection leave in the wrong order.
    AnswersSwapped,
    /// What was written just before a connection was closed does not leave.
    LateBytesDropped,
}

impl Planted {
    /// All of them.
    pub const ALL: [Planted; 3] = [Planted::PartialFrame, Planted::AnswersSwapped, Planted::LateBytesDropped];
}
