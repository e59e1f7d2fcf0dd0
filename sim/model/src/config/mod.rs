//! Kafka's settings, under Kafka's names, with Kafka's defaults, types, bounds and rules.
//!
//! [`table`] is Kafka's own list of every setting. [`examine`] says what Kafka itself would say of a set of them. The structs
//! hold those that the model acts on; what else Kafka takes yields a [`Warning`].

mod broker;
mod consumer;
mod examine;
mod nearest;
mod producer;
mod rules;
mod special;
pub mod table;
mod value;

pub use broker::{BrokerConfig, TopicConfig};
pub use consumer::{Assignor, AutoOffsetReset, ConsumerConfig, GroupProtocol};
pub use examine::{Examined, examine, examine_whole};
pub use producer::ProducerConfig;
pub use table::Scope;
pub use value::{Expected, FromConfig, Ratio};

use std::collections::BTreeMap;

/// Properties as people write them: key to value.
pub type Properties = BTreeMap<String, String>;

/// A setting that Kafka takes and Klamm does not act on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Warning {
    /// The key.
    pub key: String,
    /// Why it has no effect.
    pub why: Unheeded,
}

/// Why a setting has no effect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unheeded {
    /// The model does not act on it.
    NotModelled,
    /// The model does not act on this value: the default stays.
    Value(String),
    /// Kafka does not know it either, and ignores it.
    Unknown {
        /// broker, producer, ...
        kind: &'static str,
        /// The nearest known name, if one is near.
        nearest: Option<String>,
    },
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = &self.key;
        match &self.why {
            Unheeded::NotModelled => write!(f, "`{key}` is a setting of Kafka's, and has no effect here"),
            Unheeded::Value(value) => write!(f, "`{key}` = `{value}` has no effect here: the default stays in force"),
            Unheeded::Unknown { kind, nearest } => {
                write!(f, "Kafka has no {kind} setting called `{key}`, and ignores it{}", suggest(nearest))
            }
        }
    }
}

/// What is wrong with a set of properties, in Kafka's words.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// Kafka has no such key.
    #[error("Unknown {kind} config name: {key}{}", suggest(.nearest))]
    UnknownKey {
        /// topic or group.
        kind: &'static str,
        /// As written.
        key: String,
        /// The nearest known name, if one is near.
        nearest: Option<String>,
    },
    /// The value does not parse or lies outside Kafka's bounds.
    #[error("Invalid value {value} for configuration {key}: {reason}")]
    BadValue {
        /// The key.
        key: String,
        /// As written.
        value: String,
        /// What it must be.
        reason: String,
    },
    /// Two settings exclude each other, or one excludes itself, as Kafka's own check says.
    #[error("{why}")]
    Conflict {
        /// The key to change.
        key: String,
        /// Why.
        why: String,
    },
}

impl ConfigError {
    /// The setting to change.
    pub fn key(&self) -> &str {
        let (ConfigError::UnknownKey { key, .. }
        | ConfigError::BadValue { key, .. }
        | ConfigError::Conflict { key, .. }) = self;
        key
    }
}

fn suggest(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or(String::new(), |n| format!("; did you mean `{n}`?"))
}

/// Declares a set of keys as a struct: parsing, defaults and the list of keys come from one table.
macro_rules! config {
    ($(#[$doc:meta])* $name:ident($scope:expr) { $($(#[$fdoc:meta])* $key:literal $field:ident: $ty:ty = $default:literal;)* }
     $(and { $(#[$xdoc:meta])* $extra:ident: $xty:ty = $xdefault:expr; })?) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Debug)]
        pub struct $name {
            $($(#[$fdoc])* #[doc = concat!("\n\n`", $key, "`, default `", $default, "`.")] pub $field: $ty,)*
            $($(#[$xdoc])* pub $extra: $xty,)?
        }

        impl $name {
            /// Every implemented key with its default.
            pub const KEYS: &[(&'static str, &'static str)] = &[$(($key, $default)),*];

            /// Kafka's defaults.
            pub fn kafka_defaults() -> $name {
                $name {
                    $($field: <$ty as crate::config::FromConfig>::from_config($default).expect("a valid default"),)*
                    $($extra: $xdefault,)? }
            }

            /// Every implemented key with its value, as a properties file would have it.
            pub fn entries(&self) -> Vec<(&'static str, String)> {
                vec![$(($key, crate::config::FromConfig::to_config(&self.$field))),*]
            }

            fn set(&mut self, key: &str, value: &str) -> Option<Result<(), crate::config::Expected>> {
                match key {
                    $($key => Some(<$ty as crate::config::FromConfig>::from_config(value).map(|v| self.$field = v)),)*
                    _ => None,
                }
            }

            /// Kafka's defaults, overridden by `properties`.
            ///
            /// # Errors
            /// [`ConfigError`](crate::config::ConfigError), the first of all that [`Self::read`] gives.
            pub fn parse(
                properties: &crate::config::Properties,
            ) -> Result<($name, Vec<crate::config::Warning>), crate::config::ConfigError> {
                $name::read(properties).map_err(|mut all| all.swap_remove(0))
            }

            /// Kafka's defaults, overridden by `properties`, and what of them has no effect.
            ///
            /// # Errors
            /// Everything for which Kafka refuses them.
            pub fn read(
                properties: &crate::config::Properties,
            ) -> Result<($name, Vec<crate::config::Warning>), Vec<crate::config::ConfigError>> {
                let examined = crate::config::examine($scope, properties);
                if examined.refused.is_empty() { Ok($name::settle(properties)) } else { Err(examined.refused) }
            }

            /// As [`Self::read`], for a run that writes little: segments may be smaller than Kafka lets them be.
            ///
            /// # Errors
            /// Everything for which Kafka refuses them, except small segments.
            pub fn read_scaled(
                properties: &crate::config::Properties,
            ) -> Result<($name, Vec<crate::config::Warning>), Vec<crate::config::ConfigError>> {
                let mut refused = crate::config::examine($scope, properties).refused;
                refused.retain(|error| !crate::config::is_small_segment(error));
                if refused.is_empty() { Ok($name::settle(properties)) } else { Err(refused) }
            }

            /// What is in force, without asking whether Kafka would take it.
            fn settle(properties: &crate::config::Properties) -> ($name, Vec<crate::config::Warning>) {
                use crate::config::{Unheeded, Warning, table};
                let mut config = $name::kafka_defaults();
                let mut warnings = Vec::new();
                for (key, value) in properties {
                    let why = match config.set(key, value) {
                        Some(Ok(())) => continue,
                        Some(Err(_)) => Unheeded::Value(value.clone()),
                        None if $name::ALSO.contains(&key.as_str()) => continue,
                        None if table::find($scope, key).is_some() => Unheeded::NotModelled,
                        None => {
                            Unheeded::Unknown { kind: $scope.name(), nearest: table::nearest_name($scope, key) }
                        }
                    };
                    warnings.push(Warning { key: key.clone(), why });
                }
                config.complete(properties);
                (config, warnings)
            }
        }
    };
}
use config;

/// Whether a value is refused for nothing but a segment below Kafka's bound.
fn is_small_segment(error: &ConfigError) -> bool {
    let small = |value: &str| value.trim().parse::<i64>().is_ok_and(|n| n >= 1);
    matches!(error, ConfigError::BadValue { key, value, .. }
        if matches!(key.as_str(), "segment.bytes" | "log.segment.bytes") && small(value))
}
