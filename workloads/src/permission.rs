//! What is permitted, and when: one table.
