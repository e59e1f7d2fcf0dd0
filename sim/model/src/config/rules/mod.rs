//! Rules between settings, which stand outside Kafka's `ConfigDef`s: each with Kafka's words for the refusal.

mod broker;
mod clients;
mod groups;
mod listeners;
mod logs;

use super::ConfigError;
use super::examine::Values;
use super::table::Scope;

/// Every rule of a scope that these values break, in the order in which Kafka checks.
pub(super) fn broken(scope: Scope, v: &Values<'_>) -> Vec<ConfigError> {
    let mut broken = Broken(Vec::new());
    match scope {
        Scope::Broker => {
            broker::check(v, &mut broken);
            groups::check_coordinator(v, &mut broken);
            logs::check_broker(v, &mut broken);
        }
        Scope::Topic => logs::check_topic(v, &mut broken),
        Scope::Producer => clients::check_producer(v, &mut broken),
        Scope::Consumer => clients::check_consumer(v, &mut broken),
        Scope::Admin => clients::check_admin(v, &mut broken),
        Scope::Group => groups::check_group(v, &mut broken),
    }
    broken.0
}

/// Rules about settings as they are written.
pub(super) fn of_text(scope: Scope, v: &Values<'_>) -> Vec<ConfigError> {
    let mut broken = Broken(Vec::new());
    match scope {
        Scope::Broker => groups::tags("group.streams.rack.aware.assignment.tags", v, &mut broken),
        Scope::Group => groups::tags("streams.rack.aware.assignment.tags", v, &mut broken),
        _ => {}
    }
    broken.0
}

/// What is broken so far.
struct Broken(Vec<ConfigError>);

impl Broken {
    /// `holds`, or `key` is to be changed, because `why`.
    fn require(&mut self, holds: bool, key: &str, why: impl Into<String>) {
        if !holds {
            self.0.push(ConfigError::Conflict { key: key.to_owned(), why: why.into() });
        }
    }
    /// Kafka's `new ConfigException(name, value, message)`.
    fn value(&mut self, holds: bool, key: &str, value: impl ToString, reason: impl Into<String>) {
        if !holds {
            let (value, reason) = (value.to_string(), reason.into());
            self.0.push(ConfigError::BadValue { key: key.to_owned(), value, reason });
        }
    }
}
