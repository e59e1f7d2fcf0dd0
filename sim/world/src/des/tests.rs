//! Tests of the whole world.
