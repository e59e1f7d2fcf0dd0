//! White-box checks, judged by what the world sees.
