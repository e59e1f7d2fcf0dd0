//! What benches share: worlds of little nodes, and a log on a disk that answers at once.
//!
//! The benches themselves are in `benches/`: `model` (batches, the log), `world` (a replica's step, events per
//! second), and `turmoil_baseline`, which runs the same remote calls in the `des` world and in turmoil and prints the
//! ratios of one run.

pub mod log;
pub mod rpc;
