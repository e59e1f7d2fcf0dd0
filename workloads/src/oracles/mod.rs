//! Black-box checks over a history.
