//! The disk as the shell sees it: operations go in, completions come out later. Real files, memory and the modelled device
//! all fit.

use klamm_model::disk::{DiskOp, DiskResult, DiskToken};
use klamm_model::units::Instant;

/// An operation that is over.
pub type Completion = (DiskToken, DiskResult);

/// A disk, of one incarnation of a node.
///
/// Operations on one file complete in the order in which they were submitted, and a read sees every append submitted
/// before it (see [`klamm_model::disk`]).
pub trait Disk {
    /// Asks for an operation.
    fn submit(&mut self, now: Instant, token: DiskToken, op: DiskOp);
    /// Takes what is over by now, in order. Called after every input, when [`Disk::due`] has come, and when the disk has
    /// woken its process.
    fn done(&mut self, now: Instant, into: &mut Vec<Completion>);
    /// When something will be over of itself; `None` if nothing will, or if the disk wakes its process.
    fn due(&self) -> Option<Instant>;
    /// Resolves when [`Disk::done`] may have something that [`Disk::due`] did not tell. A disk without threads never does.
    fn woken(&mut self) -> impl Future<Output = ()>;
}
