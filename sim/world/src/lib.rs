//! The simulated world in which Kafka nodes run: clock, network, disk, processes; faults; and the invariants that
//! watch it all.

pub mod des;
pub mod disk;
pub mod event;
pub mod faults;
pub mod invariants;
pub mod live;
pub mod shell;
pub mod turmoil;
pub mod world;

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a message")
}
