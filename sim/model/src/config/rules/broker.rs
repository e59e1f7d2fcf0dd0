//! `KafkaConfig.validateValues`, and what a broker reads of its settings before it serves.

use super::super::examine::Values;
use super::{Broken, listeners};

pub(super) fn check(v: &Values<'_>, broken: &mut Broken) {
    broken.require(
        v.int("node.id") == v.int("broker.id") || !(v.given("node.id") || v.given("broker.id")),
        if v.given("broker.id") { "broker.id" } else { "node.id" },
        "`node.id` and `broker.id` must be set to the same value. `broker.id` is deprecated, please use `node.id` instead.",
    );
    let roll = v.number("log.roll.ms").unwrap_or(v.int("log.roll.hours") * 3_600_000);
    broken.require(roll >= 1, "log.roll.ms", "log.roll.ms must be greater than or equal to 1");
    let jitter = v.number("log.roll.jitter.ms").unwrap_or(v.int("log.roll.jitter.hours"));
    broken.require(jitter >= 0, "log.roll.jitter.ms", "log.roll.jitter.ms must be greater than or equal to 0");
    let (key, retention) = retention(v);
    broken.require(retention != 0, key, "log.retention.ms must be unlimited (-1) or, greater than or equal to 1");
    match v.int("log.cleaner.threads") {
        0 => broken.require(false, "log.cleaner.threads", "/ by zero"),
        threads => broken.require(
            v.int("log.cleaner.dedupe.buffer.size") / threads > 1_048_576,
            if v.given("log.cleaner.dedupe.buffer.size") {
                "log.cleaner.dedupe.buffer.size"
            } else {
                "log.cleaner.threads"
            },
            "log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.",
        ),
    }
    let wait = v.int("replica.fetch.wait.max.ms");
    let key = |other| if v.given(other) { other } else { "replica.fetch.wait.max.ms" };
    broken.require(
        wait <= v.int("replica.socket.timeout.ms"),
        key("replica.socket.timeout.ms"),
        "replica.socket.timeout.ms should always be at least replica.fetch.wait.max.ms to prevent unnecessary socket timeouts",
    );
    broken.require(
        wait <= v.int("replica.lag.time.max.ms"),
        key("replica.lag.time.max.ms"),
        "replica.fetch.wait.max.ms should always be less than or equal to replica.lag.time.max.ms to prevent frequent \
         changes in ISR",
    );
    if v.whole || v.given("process.roles") {
        listeners::check(v, broken);
    }
    let queued = v.int("queued.max.request.bytes");
    broken.require(
        queued <= 0 || queued >= v.int("socket.request.max.bytes"),
        "queued.max.request.bytes",
        "queued.max.request.bytes must be larger or equal to socket.request.max.bytes",
    );
    overrides(v, broken);
    let (idle, delay) = (v.int("connections.max.idle.ms"), v.int("connection.failed.authentication.delay.ms"));
    broken.require(
        idle < 0 || delay < idle,
        if v.given("connections.max.idle.ms") { "connections.max.idle.ms" } else { "connection.failed.authentication.delay.ms" },
        format!(
            "connection.failed.authentication.delay.ms={delay} should always be less than connections.max.idle.ms={idle} to \
             prevent failed authentication responses from timing out"
        ),
    );
    let builder = v.text("principal.builder.class");
    broken.require(
        !builder.starts_with("java."),
        "principal.builder.class",
        "principal.builder.class must implement KafkaPrincipalSerde",
    );
}

/// How long records are kept, and by which of the three settings.
fn retention(v: &Values<'_>) -> (&'static str, i64) {
    if let Some(ms) = v.number("log.retention.ms") {
        return ("log.retention.ms", ms);
    }
    match v.number("log.retention.minutes") {
        Some(minutes) => ("log.retention.minutes", minutes),
        None => ("log.retention.hours", v.int("log.retention.hours")),
    }
}

fn overrides(v: &Values<'_>, broken: &mut Broken) {
    let key = "max.connections.per.ip.overrides";
    let text = v.text(key);
    if v.int("max.connections.per.ip") == 0 {
        broken.require(
            !text.is_empty(),
            "max.connections.per.ip",
            "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set.",
        );
    }
    for entry in text.split(',').map(str::trim).filter(|e| !e.is_empty()) {
        let Some((host, count)) = entry.rsplit_once(':') else {
            let why = format!("begin 0, end -1, length {}", entry.len());
            broken.require(false, key, format!("Error parsing configuration property '{key}': {why}"));
            continue;
        };
        broken.require(count.trim().parse::<i32>().is_ok(), key, format!("For input string: \"{}\"", count.trim()));
        let legal = |c: char| c.is_ascii_alphanumeric() || "-%._:".contains(c);
        let holds = !host.trim().is_empty() && host.trim().chars().all(legal);
        broken.require(holds, key, format!("{key} contains invalid addresses : {}", host.trim()));
    }
}
