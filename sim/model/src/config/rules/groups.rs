//! `GroupCoordinatorConfig`, `ShareGroupConfig`, and `GroupConfig` against the brokers' bounds.

use super::super::examine::Values;
use super::super::table::{self, Scope, Value};
use super::Broken;

/// At least, at most, less than.
#[derive(Clone, Copy)]
enum Order {
    Least,
    Most,
    Less,
}
use Order::{Least, Less, Most};

/// What `GroupCoordinatorConfig` and `ShareGroupConfig` ask of two settings below `group.`, in the order of their checks.
const ORDERS: &[(&str, Order, &str)] = &[
    ("consumer.max.heartbeat.interval.ms", Least, "consumer.min.heartbeat.interval.ms"),
    ("consumer.heartbeat.interval.ms", Least, "consumer.min.heartbeat.interval.ms"),
    ("consumer.heartbeat.interval.ms", Most, "consumer.max.heartbeat.interval.ms"),
    ("consumer.max.session.timeout.ms", Least, "consumer.min.session.timeout.ms"),
    ("consumer.session.timeout.ms", Least, "consumer.min.session.timeout.ms"),
    ("consumer.session.timeout.ms", Most, "consumer.max.session.timeout.ms"),
    ("consumer.heartbeat.interval.ms", Less, "consumer.session.timeout.ms"),
    ("consumer.max.assignment.interval.ms", Least, "consumer.min.assignment.interval.ms"),
    ("consumer.assignment.interval.ms", Least, "consumer.min.assignment.interval.ms"),
    ("consumer.assignment.interval.ms", Most, "consumer.max.assignment.interval.ms"),
    ("share.max.heartbeat.interval.ms", Least, "share.min.heartbeat.interval.ms"),
    ("share.heartbeat.interval.ms", Least, "share.min.heartbeat.interval.ms"),
    ("share.heartbeat.interval.ms", Most, "share.max.heartbeat.interval.ms"),
    ("share.max.session.timeout.ms", Least, "share.min.session.timeout.ms"),
    ("share.session.timeout.ms", Least, "share.min.session.timeout.ms"),
    ("share.session.timeout.ms", Most, "share.max.session.timeout.ms"),
    ("share.heartbeat.interval.ms", Less, "share.session.timeout.ms"),
    ("share.max.assignment.interval.ms", Least, "share.min.assignment.interval.ms"),
    ("share.assignment.interval.ms", Least, "share.min.assignment.interval.ms"),
    ("share.assignment.interval.ms", Most, "share.max.assignment.interval.ms"),
    ("streams.max.heartbeat.interval.ms", Least, "streams.min.heartbeat.interval.ms"),
    ("streams.heartbeat.interval.ms", Least, "streams.min.heartbeat.interval.ms"),
    ("streams.heartbeat.interval.ms", Most, "streams.max.heartbeat.interval.ms"),
    ("streams.max.session.timeout.ms", Least, "streams.min.session.timeout.ms"),
    ("streams.session.timeout.ms", Least, "streams.min.session.timeout.ms"),
    ("streams.session.timeout.ms", Most, "streams.max.session.timeout.ms"),
    ("streams.heartbeat.interval.ms", Less, "streams.session.timeout.ms"),
    ("streams.max.assignment.interval.ms", Least, "streams.min.assignment.interval.ms"),
    ("streams.assignment.interval.ms", Least, "streams.min.assignment.interval.ms"),
    ("streams.assignment.interval.ms", Most, "streams.max.assignment.interval.ms"),
    ("streams.num.standby.replicas", Most, "streams.max.standby.replicas"),
    ("streams.task.offset.interval.ms", Least, "streams.min.task.offset.interval.ms"),
    ("streams.num.warmup.replicas", Most, "streams.max.warmup.replicas"),
    ("share.max.delivery.count.limit", Least, "share.delivery.count.limit"),
    ("share.delivery.count.limit", Least, "share.min.delivery.count.limit"),
    ("share.max.partition.max.record.locks", Least, "share.partition.max.record.locks"),
    ("share.partition.max.record.locks", Least, "share.min.partition.max.record.locks"),
    ("share.record.lock.duration.ms", Least, "share.min.record.lock.duration.ms"),
    ("share.max.record.lock.duration.ms", Least, "share.record.lock.duration.ms"),
    ("share.max.share.sessions", Least, "share.max.size"),
];

pub(super) fn check_coordinator(v: &Values<'_>, broken: &mut Broken) {
    let protocols = v.list("group.coordinator.rebalance.protocols").unwrap_or_default();
    broken.require(
        protocols.iter().any(|p| p == "classic"),
        "group.coordinator.rebalance.protocols",
        "Disabling the 'classic' protocol is not supported.",
    );
    for (key, built_in) in [
        ("group.consumer.assignors", &["uniform", "range"][..]),
        ("group.share.assignors", &["simple"]),
        ("group.streams.assignors", &["sticky"]),
    ] {
        // What is no class's name can only be a built-in assignor's.
        let unknown =
            v.list(key).unwrap_or_default().iter().find(|a| !built_in.contains(&a.as_str()) && !a.contains('.'));
        broken.value(unknown.is_none(), key, unknown.map_or("", String::as_str), "Class cannot be found");
    }
    for codec in ["offsets.topic.compression.codec", "share.coordinator.state.topic.compression.codec"] {
        let id = v.int(codec);
        broken.require((0..=4).contains(&id), codec, format!("Unknown compression type id: {id}"));
    }
    for (a, order, b) in ORDERS {
        let (a, b) = (format!("group.{a}"), format!("group.{b}"));
        let (x, y) = (v.int(&a), v.int(&b));
        let (holds, words) = match order {
            Least => (x >= y, "greater than or equal to"),
            Most => (x <= y, "less than or equal to"),
            Less => (x < y, "less than"),
        };
        let key = if v.given(&a) || !v.given(&b) { &a } else { &b };
        broken.require(holds, key, format!("{a} must be {words} {b}"));
    }
}

/// No tag is named twice.
pub(super) fn tags(key: &str, v: &Values<'_>, broken: &mut Broken) {
    let mut tags: Vec<&str> = v.raw(key).unwrap_or_default().trim().split(',').map(str::trim).collect();
    let all = tags.len();
    tags.sort_unstable();
    tags.dedup();
    broken.require(tags.len() == all, key, format!("{key} must not contain duplicate tag keys."));
}

/// A group's settings lie between the brokers' bounds, which are Kafka's own here.
const RANGES: &[&str] = &[
    "consumer.heartbeat.interval.ms",
    "consumer.session.timeout.ms",
    "consumer.assignment.interval.ms",
    "share.heartbeat.interval.ms",
    "share.session.timeout.ms",
    "share.record.lock.duration.ms",
    "share.delivery.count.limit",
    "share.partition.max.record.locks",
    "share.assignment.interval.ms",
    "streams.heartbeat.interval.ms",
    "streams.session.timeout.ms",
    "streams.assignment.interval.ms",
];

pub(super) fn check_group(v: &Values<'_>, broken: &mut Broken) {
    for key in RANGES.iter().filter(|key| v.given(key)) {
        let (kind, rest) = key.split_once('.').expect("a kind and a name");
        let (min, max) = (brokers(&format!("group.{kind}.min.{rest}")), brokers(&format!("group.{kind}.max.{rest}")));
        let why = format!("{key} must be in the range {min} to {max} inclusive.");
        broken.require((min..=max).contains(&v.int(key)), key, why);
    }
    for (key, bound) in
        [("num.standby.replicas", "max.standby.replicas"), ("num.warmup.replicas", "max.warmup.replicas")]
    {
        let (key, most) = (format!("streams.{key}"), brokers(&format!("group.streams.{bound}")));
        broken.require(v.int(&key) <= most, &key, format!("{key} must be less than or equal to {most}"));
    }
    let (key, least) = ("streams.task.offset.interval.ms", brokers("group.streams.min.task.offset.interval.ms"));
    broken.require(v.int(key) >= least, key, format!("{key} must be greater than or equal to {least}"));
    if v.given("streams.assignor.name") {
        let name = v.text("streams.assignor.name");
        let why = format!(
            "streams.assignor.name '{name}' is not a registered task assignor. Registered assignors are: [sticky]."
        );
        broken.require(name == "sticky", "streams.assignor.name", why);
    }
    for kind in ["consumer", "share", "streams"] {
        let (session, beat) = (format!("{kind}.session.timeout.ms"), format!("{kind}.heartbeat.interval.ms"));
        let why = format!("{session} must be greater than {beat}");
        broken.require(v.int(&session) > v.int(&beat), if v.given(&session) { &session } else { &beat }, why);
    }
    let key = "errors.deadletterqueue.topic.name";
    broken.require(!v.text(key).starts_with("__"), key, format!("{key}: DLQ topic name must not start with '__'"));
}

/// A broker's default.
fn brokers(name: &str) -> i64 {
    match table::find(Scope::Broker, name).and_then(|row| row.default.as_ref()) {
        Some(Value::Int(n)) => *n,
        _ => panic!("`{name}` has a number for a default"),
    }
}
