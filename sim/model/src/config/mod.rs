//! Kafka's configuration keys, under Kafka's names, with Kafka's defaults.
//!
//! A key that exists in Kafka and that the model does not implement yields a [`Warning`]; one that does not exist
//! is an error with the nearest known name.

mod broker;
mod consumer;
mod known;
mod producer;
mod value;

pub use broker::{BrokerConfig, TopicConfig};
pub use consumer::{Assignor, AutoOffsetReset, ConsumerConfig, GroupProtocol};
pub use producer::ProducerConfig;
pub use value::{FromConfig, Ratio};

use std::collections::BTreeMap;

/// Properties as people write them: key to value.
pub type Properties = BTreeMap<String, String>;

/// A key that Kafka knows and Klamm does not act on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Warning {
    /// The key.
    pub key: String,
}

/// What is wrong with a set of properties.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// Kafka has no such key.
    #[error("Kafka has no {kind} setting called `{key}`{}", suggest(.nearest))]
    UnknownKey {
        /// producer, consumer, broker or topic.
        kind: &'static str,
        /// As written.
        key: String,
        /// The nearest known name, if one is near.
        nearest: Option<String>,
    },
    /// The value does not parse or lies outside Kafka's bounds.
    #[error("`{key}` = `{value}`: expected {expected}")]
    BadValue {
        /// The key.
        key: String,
        /// As written.
        value: String,
        /// What would do.
        expected: String,
    },
    /// Two settings exclude each other, as Kafka's own check says.
    #[error("`{key}`: {why}")]
    Conflict {
        /// The key to change.
        key: String,
        /// Why.
        why: String,
    },
}

fn suggest(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or(String::new(), |n| format!("; did you mean `{n}`?"))
}

/// Declares a set of keys as a struct: parsing, defaults and the list of keys come from one table.
macro_rules! config {
    ($(#[$doc:meta])* $name:ident($kind:literal) { $($(#[$fdoc:meta])* $key:literal $field:ident: $ty:ty = $default:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Debug)]
        pub struct $name {
            $($(#[$fdoc])* #[doc = concat!("\n\n`", $key, "`, default `", $default, "`.")] pub $field: $ty,)*
        }

        impl $name {
            /// Every implemented key with its default.
            pub const KEYS: &[(&'static str, &'static str)] = &[$(($key, $default)),*];

            /// Kafka's defaults.
            pub fn kafka_defaults() -> $name {
                $name { $($field: <$ty as crate::config::FromConfig>::from_config($default).expect("a valid default")),* }
            }

            /// Every implemented key with its value, as a properties file would have it.
            pub fn entries(&self) -> Vec<(&'static str, String)> {
                vec![$(($key, crate::config::FromConfig::to_config(&self.$field))),*]
            }

            fn set(&mut self, key: &str, value: &str) -> Option<Result<(), String>> {
                match key {
                    $($key => Some(<$ty as crate::config::FromConfig>::from_config(value).map(|v| self.$field = v)),)*
                    _ => None,
                }
            }

            /// Kafka's defaults, overridden by `properties`.
            ///
            /// # Errors
            /// [`ConfigError`](crate::config::ConfigError), for the first offending key in alphabetical order.
            pub fn parse(
                properties: &crate::config::Properties,
            ) -> Result<($name, Vec<crate::config::Warning>), crate::config::ConfigError> {
                let mut config = $name::kafka_defaults();
                let mut warnings = Vec::new();
                for (key, value) in properties {
                    match config.set(key, value) {
                        Some(Ok(())) => {}
                        Some(Err(expected)) => {
                            return Err(crate::config::ConfigError::BadValue {
                                key: key.clone(),
                                value: value.clone(),
                                expected,
                            });
                        }
                        None if crate::config::known::exists($kind, key) => {
                            warnings.push(crate::config::Warning { key: key.clone() });
                        }
                        None => {
                            return Err(crate::config::ConfigError::UnknownKey {
                                kind: $kind,
                                key: key.clone(),
                                nearest: crate::config::known::nearest($kind, key, $name::KEYS),
                            });
                        }
                    }
                }
                config.validate(properties)?;
                Ok((config, warnings))
            }
        }
    };
}
use config;
