//! The client library that applications embed: producer, consumer, admin.
