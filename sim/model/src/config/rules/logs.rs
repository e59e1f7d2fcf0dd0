//! `LogConfig`: of topics, and of brokers as the defaults of their topics.

use super::super::examine::Values;
use super::Broken;

/// The value that means "as the whole log's".
const AS_THE_LOG: i64 = -2;

pub(super) fn check_topic(v: &Values<'_>, broken: &mut Broken) {
    compaction_lags(v, "min.compaction.lag.ms", "max.compaction.lag.ms", broken);
    broken.require(
        !v.is("remote.storage.enable"),
        "remote.storage.enable",
        "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.",
    );
}

pub(super) fn check_broker(v: &Values<'_>, broken: &mut Broken) {
    compaction_lags(v, "log.cleaner.min.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms", broken);
    if v.is("remote.log.storage.system.enable") {
        local(v, "bytes", broken);
        local(v, "ms", broken);
    }
    // A broker's settings are parsed once more as its topics' defaults.
    let key = if v.number("log.flush.interval.ms").is_some() {
        "log.flush.interval.ms"
    } else {
        "log.flush.scheduler.interval.ms"
    };
    let flush = v.int(key);
    if flush < 0 {
        let why = format!("Invalid value {flush} for configuration flush.ms: Value must be at least 0");
        broken.require(false, key, why);
    }
    cordoned(v, broken);
}

fn compaction_lags(v: &Values<'_>, least: &str, most: &str, broken: &mut Broken) {
    let (min, max) = (v.int(least), v.int(most));
    let why = format!("conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})");
    broken.require(min <= max, if v.given(least) { least } else { most }, why);
}

/// What is kept locally is no more than what is kept.
fn local(v: &Values<'_>, unit: &str, broken: &mut Broken) {
    let (whole, key) = (format!("log.retention.{unit}"), format!("log.local.retention.{unit}"));
    let default = if unit == "ms" { 168 * 3_600_000 } else { -1 };
    let (kept, here) = (v.number(&whole).unwrap_or(default), v.int(&key));
    if kept < 0 || here == AS_THE_LOG {
        return;
    }
    let refuse = |reason: String| format!("Invalid value {here} for configuration local.retention.{unit}: {reason}");
    if here == -1 {
        let why = refuse(format!("Value must not be -1 as retention.{unit} value is set as {kept}."));
        broken.require(false, &key, why);
    } else if here > kept {
        let why = refuse(format!("Value must not be more than retention.{unit} property value: {kept}"));
        broken.require(false, &key, why);
    }
}

fn cordoned(v: &Values<'_>, broken: &mut Broken) {
    let key = "cordoned.log.dirs";
    let cordoned = v.list(key).unwrap_or_default();
    if cordoned.iter().any(|d| d == "*") {
        let why = "When cordoned.log.dirs is set to *, it must not contain other values";
        return broken.require(cordoned.len() == 1, key, why);
    }
    let dirs = v.list("log.dirs").or_else(|| v.list("log.dir")).unwrap_or_default();
    let missing: Vec<&str> = cordoned.iter().filter(|d| !dirs.contains(d)).map(String::as_str).collect();
    broken.require(
        missing.is_empty(),
        key,
        format!(
            "All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : {}",
            missing.join(", ")
        ),
    );
}
