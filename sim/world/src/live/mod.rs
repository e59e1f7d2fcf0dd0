//! The live world: the same nodes behind real sockets, on the machine's clock, with their data in real files or in
//! memory. Each node has a thread of its own, on which its [`shell`](crate::shell) runs.
//!
//! Nothing here is reproducible, and nothing of it is in a simulated run: this is the one place of the crate that may read
//! the machine's clock, start threads and touch files.
//!
//! The rooms, in reading order:
//! - [`files`], [`memory`]: disks; [`handles`]: file descriptors, and what there is when they run out;
//! - [`board`]: the faults in force, which sockets, disks and clocks look up; [`net`]: TCP under them; [`faulty`]: disks
//!   under them; [`answers`]: requests answered with an error;
//! - [`host`]: one node and its incarnations; `reporter`: what its start found on its disk; `directories`: that none of them
//!   is another's copy; [`cluster`]: all of them, in a directory that is theirs (`claim`); [`supervisor`]: those that gave up
//!   start again; [`inject`]: faults done to them.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "real clocks and threads are what this world is made of"
)]

pub mod answers;
pub mod board;
mod claim;
pub mod cluster;
mod directories;
mod faulty;
mod files;
pub mod handles;
pub mod host;
pub mod inject;
mod memory;
mod net;
mod reporter;
pub mod supervisor;
