//! Client applications: nodes that embed the client library, put load on it and tell what they saw.
