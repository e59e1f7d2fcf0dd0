//! Faults as people write them, for a live cluster: the `[[fault]]` of scenario files, and `answer`, which only this world has.

use crate::schema::{FaultSpec, Span, resolve_faults};
use klamm_model::ids::ApiKey;
use klamm_world::faults::{Who, api_named};
use klamm_world::live::answers::APIS;
use klamm_world::live::inject::{Deed, possible};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::time::Duration;

/// How many faults a schedule may have, those that happen several times counted so often.
pub const MAX_FAULTS: usize = 10_000;

/// As long as a fault may be waited for, and may last.
const DAY: Duration = Duration::from_secs(86_400);

/// A fault that happens at a time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scheduled {
    /// From when the cluster was ready.
    pub at: Duration,
    /// What.
    pub deed: Deed,
    /// How long; `None`: to the end.
    pub lasts: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct AnswerSpec {
    #[serde(rename = "kind")]
    _kind: String,
    who: String,
    api: String,
    error: Value,
    times: Option<u32>,
    at: Option<String>,
    #[serde(rename = "for")]
    lasts: Option<String>,
}

fn span(text: &str) -> Result<Duration, String> {
    let span = Span::parse(text).ok_or_else(|| format!("`{text}` is no time, such as `1500ms` or `3s`"))?;
    Ok(Duration::from_nanos(span.0.as_nanos()))
}

/// Kafka's error by its code, or by its name in either spelling.
fn error_code(error: &Value) -> Result<i16, String> {
    let plain = |text: &str| text.replace('_', "").to_ascii_lowercase();
    match error {
        Value::Number(n) => {
            n.as_i64().and_then(|n| i16::try_from(n).ok()).ok_or_else(|| format!("{n} is no error code"))
        }
        Value::String(name) => (-1..200i16)
            .find(|&code| {
                kafka_protocol::ResponseError::try_from_code(code)
                    .is_some_and(|e| plain(&format!("{e:?}")) == plain(name))
            })
            .ok_or_else(|| format!("Kafka has no error `{name}`; expected a name such as `NOT_LEADER_OR_FOLLOWER`")),
        other => Err(format!("{other} is no error: expected a code or a name")),
    }
}

fn answer(table: Map<String, Value>) -> Result<Scheduled, String> {
    let spec: AnswerSpec = serde_json::from_value(Value::Object(table)).map_err(|e| format!("fault `answer`: {e}"))?;
    let known = || APIS.iter().map(|a| format!("{a:?}")).collect::<Vec<_>>().join(", ");
    let api: Option<ApiKey> = api_named(&spec.api).filter(|api| APIS.contains(api));
    let api = api.ok_or_else(|| format!("`{}` cannot be answered so; expected one of {}", spec.api, known()))?;
    let deed = Deed::Answer { who: Who(spec.who), api, error: error_code(&spec.error)?, times: spec.times };
    let at = spec.at.as_deref().map_or(Ok(Duration::ZERO), span)?;
    let lasts = spec.lasts.as_deref().map(span).transpose()?;
    for (key, span) in [("at", Some(at)), ("for", lasts)] {
        if span.is_some_and(|span| span > DAY) {
            return Err(format!("`{key}` is over a day"));
        }
    }
    Ok(Scheduled { at, deed, lasts })
}

/// Reads one fault, and draws what is to be drawn. Without `at` it is meant for now.
///
/// # Errors
/// What is wrong with it, and what this world cannot do.
pub fn read(fault: Value, hosts: &[&str], seed: u64) -> Result<Vec<Scheduled>, String> {
    let Value::Object(mut table) = fault else { return Err("a fault is a table, with a `kind`".to_owned()) };
    if table.get("kind").and_then(Value::as_str) == Some("answer") {
        return answer(table).map(|one| vec![one]);
    }
    table.entry("at").or_insert_with(|| "0s".into());
    let spec: FaultSpec = serde_json::from_value(Value::Object(table)).map_err(|e| e.to_string())?;
    if let Some(problem) = spec.problem() {
        return Err(problem.message);
    }
    if spec.when.is_some() {
        return Err(format!("fault `{}`: a live cluster cannot wait for a condition; give it a time `at`", spec.kind));
    }
    let planned = resolve_faults(&[spec], seed);
    let scheduled = planned.into_iter().map(|planned| {
        possible(&planned.action, hosts).map_err(|e| e.to_string())?;
        Ok(Scheduled {
            at: Duration::from_nanos(planned.at),
            deed: Deed::Action(planned.action),
            lasts: planned.lasts.map(Duration::from_nanos),
        })
    });
    scheduled.collect()
}

/// How many faults one request by hand may do.
pub const MAX_AT_ONCE: usize = 100;

/// Reads a fault that is to happen now.
///
/// # Errors
/// As [`read`]; and a time to wait for, or too many at once.
pub fn read_for_now(fault: Value, hosts: &[&str], seed: u64) -> Result<Vec<Scheduled>, String> {
    let waits = fault.get("at").is_some();
    let faults = read(fault, hosts, seed)?;
    if waits {
        return Err("a fault by hand happens now, and takes no `at`; `--faults` has schedules".to_owned());
    }
    if faults.len() > MAX_AT_ONCE {
        return Err(format!("{} faults at once: `times` must be at most {MAX_AT_ONCE} here", faults.len()));
    }
    Ok(faults)
}

/// Reads a file of `[[fault]]`s; the schedule is in the order of time.
///
/// # Errors
/// As [`read`], with the fault's place in the file.
pub fn read_file(text: &str, hosts: &[&str], seed: u64) -> Result<Vec<Scheduled>, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        #[serde(default)]
        fault: Vec<Value>,
    }
    let file: File = toml::from_str(text).map_err(|e| e.to_string())?;
    let mut schedule = Vec::new();
    for (n, fault) in file.fault.into_iter().enumerate() {
        // Each has draws of its own, whatever stands before it.
        let seed = seed ^ (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        schedule.extend(read(fault, hosts, seed).map_err(|e| format!("[[fault]] number {}: {e}", n + 1))?);
        if schedule.len() > MAX_FAULTS {
            return Err(format!("[[fault]] number {}: with it the faults are more than {MAX_FAULTS}", n + 1));
        }
    }
    schedule.sort_by_key(|s| s.at);
    Ok(schedule)
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm_world::faults::Action;

    const HOSTS: [&str; 4] = ["b1", "b2", "b3", "c1"];

    #[test]
    fn a_file_is_drawn_the_same_for_the_same_seed() {
        let text = r#"
            [[fault]]
            kind = "kill"
            who = "leader(orders-0)"
            at = "10s..40s"
            for = "1s..3s"
            times = 3
            [[fault]]
            kind = "answer"
            who = "b1"
            api = "Produce"
            error = "NOT_LEADER_OR_FOLLOWER"
            times = 2
            at = "1s"
        "#;
        let schedule = read_file(text, &HOSTS, 7).unwrap();
        assert_eq!(schedule, read_file(text, &HOSTS, 7).unwrap());
        assert_ne!(schedule, read_file(text, &HOSTS, 8).unwrap());
        assert_eq!(schedule.len(), 4);
        let Deed::Answer { error, times, .. } = &schedule[0].deed else { panic!("the answer comes first") };
        assert_eq!((*error, *times), (6, Some(2)));
        assert!(schedule[1..].iter().all(|s| matches!(s.deed, Deed::Action(Action::Kill { .. }))));
    }

    #[test]
    fn a_schedule_has_an_end() {
        let many = "[[fault]]\nkind = 'kill'\nwho = 'b1'\nat = '1s'\ntimes = 1000\n";
        assert_eq!(read_file(&many.repeat(10), &HOSTS, 1).unwrap().len(), MAX_FAULTS);
        let told = read_file(&many.repeat(11), &HOSTS, 1).unwrap_err();
        assert!(told.contains("number 11") && told.contains("more than 10000"), "{told}");
    }

    #[test]
    fn by_hand_there_are_few_at_once_and_now() {
        let read = |more: &str| {
            let fault = format!(r#"{{"kind": "reset", "between": ["b1", "clients"]{more}}}"#);
            read_for_now(serde_json::from_str(&fault).unwrap(), &HOSTS, 1)
        };
        assert_eq!(read(r#", "times": 100"#).unwrap().len(), MAX_AT_ONCE);
        assert!(read(r#", "times": 101"#).unwrap_err().contains("at most 100"));
        assert!(read(r#", "times": 1000000000"#).unwrap_err().contains("`times` must be at most 1000"));
        assert!(read(r#", "at": "1s""#).unwrap_err().contains("takes no `at`"));
    }

    #[test]
    fn what_cannot_be_done_here_is_refused_by_name() {
        let told = |text: &str| read_file(text, &HOSTS, 1).unwrap_err();
        for (text, message) in [
            ("[[fault]]\nkind = 'power-loss'\nwho = 'b1'\nat = '1s'", "`power-loss` cannot be done"),
            ("[[fault]]\nkind = 'kil'\nwho = 'b1'\nat = '1s'", "did you mean `kill`"),
            ("[[fault]]\nkind = 'kill'\nwho = 'b9'\nat = '1s'", "no host `b9`"),
            ("[[fault]]\nkind = 'kill'\nwho = 'b1'\nat = '1s'\ntimes = 1001", "`times` must be at most 1000"),
            ("[[fault]]\nkind = 'kill'\nwho = 'b1'\nat = '1s'\ntimes = '1..4000000000'", "`times` must be at most"),
            ("[[fault]]\nkind = 'disk-slow'\nwho = 'b1'\nat = '1s'\nfactor = 0", "`factor` must lie between"),
            ("[[fault]]\nkind = 'kill'\nwho = 'b1'\nat = '1s'\nwhen = 'up(b1)'", "cannot wait for a condition"),
            ("[[fault]]\nkind = 'kill'\nwho = 'member(g)'\nat = '1s'", "cannot be told apart"),
            ("[[fault]]\nkind = 'answer'\nwho = 'b1'\napi = 'Vote'\nerror = 1", "cannot be answered so"),
            ("[[fault]]\nkind = 'answer'\nwho = 'b1'\napi = 'Fetch'\nerror = 1\nfor = '25h'", "`for` is over a day"),
            (
                "[[fault]]\nkind = 'kill'\nwho = 'b1'\nat = '1s'\nfor = '999h'",
                "`for` must lie above 0 and within a day",
            ),
            ("[[fault]]\nkind = 'kill'\nwho = 'b1'\nat = '1s'\nevery = '1ms'", "unknown field `every`"),
            ("[[fault]]\nkind = 'answer'\nwho = 'b1'\napi = 'Fetch'\nerror = 'OOPS'", "no error `OOPS`"),
        ] {
            assert!(told(text).contains(message), "{text}: {}", told(text));
        }
    }
}
