//! Load generators, client applications, histories, and the black-box oracles that judge them.

pub mod apps;
pub mod history;
pub mod load;
pub mod oracles;
pub mod permission;
pub mod planted;
