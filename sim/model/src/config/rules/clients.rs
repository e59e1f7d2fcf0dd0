//! `ProducerConfig`, `ConsumerConfig`, `AdminClientConfig`, and what the clients' constructors check.

use super::super::examine::Values;
use super::Broken;
use crate::limits::MAX_IN_FLIGHT_IDEMPOTENT;

fn sasl(v: &Values<'_>, broken: &mut Broken) {
    let uses = v.text("security.protocol").to_ascii_uppercase().starts_with("SASL_");
    broken.value(
        !uses || !v.text("sasl.mechanism").is_empty(),
        "sasl.mechanism",
        "null",
        "When the security.protocol configuration enables SASL, mechanism must be non-null and non-empty string.",
    );
}

pub(super) fn check_producer(v: &Values<'_>, broken: &mut Broken) {
    sasl(v, broken);
    let asked = v.given("enable.idempotence");
    let mut idempotent = v.is("enable.idempotence");
    if idempotent {
        let (retries, acks) = (v.int("retries"), v.text("acks"));
        let all = matches!(acks, "all" | "-1");
        if asked {
            let why = "Must set retries to non-zero when using the idempotent producer.";
            broken.require(retries != 0, "retries", why);
            let why = "Must set acks to all in order to use the idempotent producer. Otherwise we cannot guarantee idempotence.";
            broken.require(all, "acks", why);
        }
        let (key, in_flight) =
            ("max.in.flight.requests.per.connection", v.int("max.in.flight.requests.per.connection"));
        broken.require(
            in_flight <= i64::from(MAX_IN_FLIGHT_IDEMPOTENT),
            key,
            format!(
                "To use the idempotent producer, {key} must be set to at most {MAX_IN_FLIGHT_IDEMPOTENT}. Current value is \
                 {in_flight}."
            ),
        );
        idempotent = retries != 0 && all;
    }
    broken.require(
        idempotent || !v.given("transactional.id"),
        "transactional.id",
        "Cannot set a transactional.id without also enabling idempotence.",
    );
    broken.require(
        !v.is("transaction.two.phase.commit.enable") || !v.given("transaction.timeout.ms"),
        "transaction.timeout.ms",
        "Cannot set transaction.timeout.ms when transaction.two.phase.commit.enable is set to true. Transactions will not \
         expire with two-phase commit enabled.",
    );
    let most = i64::from(i32::MAX);
    let least = (v.int("linger.ms").min(most) + v.int("request.timeout.ms")).min(most);
    broken.require(
        !v.given("delivery.timeout.ms") || v.int("delivery.timeout.ms") >= least,
        "delivery.timeout.ms",
        "delivery.timeout.ms should be equal to or larger than linger.ms + request.timeout.ms",
    );
}

pub(super) fn check_consumer(v: &Values<'_>, broken: &mut Broken) {
    sasl(v, broken);
    let grouped = v.given("group.id") || !v.whole;
    if let Some(id) = v.raw("group.instance.id").map(str::trim)
        && let Some(why) = bad_instance(id)
        && v.text("client.id").is_empty()
    {
        broken.require(false, "group.instance.id", format!("Group instance id is invalid: {why}"));
    }
    broken.require(
        grouped || !(v.given("enable.auto.commit") && v.is("enable.auto.commit")),
        "enable.auto.commit",
        "enable.auto.commit cannot be set to true when default group id (null) is used.",
    );
    let classic = v.text("group.protocol").eq_ignore_ascii_case("classic");
    let (name, foreign): (_, &[&str]) = if classic {
        ("CLASSIC", &["group.remote.assignor", "share.acknowledgement.mode", "share.acquire.mode"])
    } else {
        let own = &[
            "partition.assignment.strategy",
            "heartbeat.interval.ms",
            "session.timeout.ms",
            "share.acknowledgement.mode",
            "share.acquire.mode",
        ];
        ("CONSUMER", own)
    };
    let set: Vec<&str> =
        foreign.iter().copied().filter(|key| v.raw(key).is_some_and(|text| !text.trim().is_empty())).collect();
    if let Some(first) = set.first() {
        broken.require(false, first, format!("{} cannot be set when group.protocol={name}", set.join(", ")));
    }
    if classic && grouped {
        broken.require(
            v.int("heartbeat.interval.ms") < v.int("session.timeout.ms"),
            if v.given("heartbeat.interval.ms") { "heartbeat.interval.ms" } else { "session.timeout.ms" },
            "Heartbeat must be set lower than the session timeout",
        );
        let beat = v.int("heartbeat.interval.ms");
        broken.require(beat >= 0, "heartbeat.interval.ms", format!("Invalid negative timeout {beat}"));
    }
}

/// As Kafka's `JoinGroupRequest.validateGroupInstanceId`.
fn bad_instance(id: &str) -> Option<String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if id.chars().all(legal) {
        return None;
    }
    Some(format!("'{id}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"))
}

pub(super) fn check_admin(v: &Values<'_>, broken: &mut Broken) {
    sasl(v, broken);
    let some = |key| v.list(key).is_some_and(|l| !l.is_empty());
    let (servers, controllers) = (some("bootstrap.servers"), some("bootstrap.controllers"));
    let why = "You cannot set both bootstrap.servers and bootstrap.controllers";
    broken.require(!(servers && controllers), "bootstrap.controllers", why);
    let why = "You must set either bootstrap.servers or bootstrap.controllers";
    broken.require(servers || controllers || !v.whole, "bootstrap.servers", why);
    broken.require(
        !v.given("default.api.timeout.ms") || v.int("default.api.timeout.ms") >= v.int("request.timeout.ms"),
        "default.api.timeout.ms",
        "The specified value of default.api.timeout.ms must be no smaller than the value of request.timeout.ms.",
    );
}
