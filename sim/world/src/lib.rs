//! The simulated world in which Kafka nodes run: clock, network, disk, processes; faults; and the invariants that
//! watch it all.

pub mod des;
pub mod disk;
pub mod event;
pub mod faults;
pub mod invariants;
pub mod live;
pub mod shell;
