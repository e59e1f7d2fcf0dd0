//! The modelled disk: a device in front of a page cache.
