//! What `klamm serve` does beside serving: [`settings`] as they are given, [`faults`] on a schedule, [`state`] for people and
//! programs, and [`control`], the HTTP endpoint through which both can be had by hand.

pub mod control;
pub mod faults;
mod http;
pub mod settings;
pub mod state;
