//! Histories as files: one operation per line of JSON.
