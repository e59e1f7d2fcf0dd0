//! Scenarios, campaigns, shrinking and the klamm command.
