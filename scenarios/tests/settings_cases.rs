//! Every file of `cases/settings` and `cases/zero-intervals`, by its name: the answer it must get.

use std::path::PathBuf;
use std::process::Command;

fn case(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    folder.join(name).to_str().expect("a path of ASCII").to_owned()
}

/// Exit code, standard output and error of a quick audit.
fn audit(option: &str, file: &str) -> (Option<i32>, String) {
    let out = std::env::temp_dir().join(format!("klamm-settings-{}-{}", std::process::id(), file.replace('/', "-")));
    let ran = Command::new(env!("CARGO_BIN_EXE_klamm"))
        .args(["audit", option, &case(file), "--seeds", "1", "--no-changes", "--fault", "quiet", "--out"])
        .arg(&out)
        .output()
        .expect("klamm runs");
    let _ = std::fs::remove_dir_all(&out);
    let text = [ran.stdout, ran.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (ran.status.code(), text)
}

fn read(option: &str, file: &str, says: &[&str]) {
    let (code, text) = audit(option, file);
    assert!(matches!(code, Some(0 | 1)), "{file}: {code:?}\n{text}");
    for words in says {
        assert!(text.contains(words), "{file} does not say `{words}`:\n{text}");
    }
}

fn refused(option: &str, file: &str, why: &str) {
    let (code, text) = audit(option, file);
    assert_eq!(code, Some(2), "{file}\n{text}");
    // The diagnostics break long lines.
    let flat: String = text.split_whitespace().filter(|w| *w != "│").collect::<Vec<_>>().join(" ");
    assert!(flat.contains(why), "{file} does not say `{why}`:\n{text}");
}

#[test]
fn kraft_minimal_broker() {
    read("--broker", "settings/kraft-minimal.broker.properties", &["process.roles"]);
}

#[test]
fn bool_upper() {
    read("--producer", "settings/bool-upper.properties", &[]);
}

#[test]
fn latin1_comment() {
    read("--producer", "settings/latin1-comment.properties", &[]);
}

#[test]
fn cr_only() {
    read("--producer", "settings/cr-only.properties", &[]);
}

#[test]
fn surrogate() {
    read("--producer", "settings/surrogate.properties", &[]);
}

#[test]
fn config_providers() {
    read("--producer", "settings/config-providers.properties", &["config provider"]);
}

#[test]
fn prefix_producer() {
    read("--producer", "settings/prefix-producer.properties", &["2 names begin with `producer.`"]);
}

#[test]
fn bom() {
    read("--producer", "settings/bom.properties", &["byte-order mark"]);
}

#[test]
fn linger_neg() {
    let why = "linger-neg.properties:2: Invalid value -1 for configuration linger.ms: Value must be at least 0";
    refused("--producer", "settings/linger-neg.properties", &why["linger-neg.properties:".len()..][3..]);
}

/// Nothing that was sent could be acknowledged: that is told before anything else, and is no green.
#[test]
fn nothing_can_be_sent() {
    let (code, text) = audit("--producer", "settings/nothing-can-be-sent.properties");
    assert_eq!(code, Some(4), "{text}");
    let first = text.lines().find(|l| l.ends_with('.')).unwrap_or_default();
    assert!(first.contains("Every send is refused while nothing is wrong"), "{text}");
}

#[test]
fn min_isr_4_topic() {
    let (code, text) = audit("--topic", "settings/min-isr-4.topic.properties");
    assert!(matches!(code, Some(0 | 1)), "{code:?}\n{text}");
    assert!(!text.contains("no write can ever succeed"), "{text}");
}

#[test]
fn zero_auto_commit_interval_ms() {
    read("--consumer", "zero-intervals/auto.commit.interval.ms.properties", &[]);
}

#[test]
fn zero_log_flush_offset_checkpoint_interval_ms() {
    read("--broker", "zero-intervals/log.flush.offset.checkpoint.interval.ms.properties", &[]);
}

#[test]
fn zero_log_retention_check_interval_ms() {
    let why = "Invalid value 0 for configuration log.retention.check.interval.ms: Value must be at least 1";
    refused("--broker", "zero-intervals/log.retention.check.interval.ms.properties", why);
}

#[test]
fn zero_producer_id_expiration_check_interval_ms() {
    let why = "Invalid value 0 for configuration producer.id.expiration.check.interval.ms: Value must be at least 1";
    refused("--broker", "zero-intervals/producer.id.expiration.check.interval.ms.properties", why);
}

#[test]
fn zero_replica_lag_time_max_ms() {
    let why = "replica.fetch.wait.max.ms should always be less than or equal to replica.lag.time.max.ms";
    refused("--broker", "zero-intervals/replica.lag.time.max.ms.properties", why);
}

#[test]
fn auto_commit_interval_0_scenario() {
    let out = std::env::temp_dir().join(format!("klamm-auto-commit-0-{}", std::process::id()));
    let ran = Command::new(env!("CARGO_BIN_EXE_klamm"))
        .args(["run", &case("zero-intervals/auto-commit-interval-0.toml"), "--seeds", "2", "--out"])
        .arg(&out)
        .output()
        .expect("klamm runs");
    let _ = std::fs::remove_dir_all(&out);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
}
