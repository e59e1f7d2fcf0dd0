//! The `des` world: discrete events in virtual time.
