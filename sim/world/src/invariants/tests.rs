//! Event sequences made by hand.
