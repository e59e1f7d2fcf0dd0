//! Validators that a single setting has for itself.

use super::ConfigError;
use super::table::Value;

/// What the validator of this setting says.
pub(super) fn hold(name: &str, value: &Value, shown: &str) -> Result<(), ConfigError> {
    let wrong = |reason: String| Err(ConfigError::BadValue { key: name.to_owned(), value: shown.to_owned(), reason });
    let plain = |why: String| Err(ConfigError::Conflict { key: name.to_owned(), why });
    match (name, value) {
        ("compression.gzip.level", Value::Int(level)) if *level != -1 && !(1..=9).contains(level) => {
            wrong("Value must be between 1 and 9 or equal to -1".to_owned())
        }
        ("auto.offset.reset" | "share.auto.offset.reset", Value::Text(text)) => {
            let share = name.starts_with("share.");
            let word = matches!(text.as_str(), "earliest" | "latest") || (text == "none" && !share);
            if word || text.strip_prefix("by_duration:").is_some_and(is_duration) {
                return Ok(());
            }
            let (none, end) = if share { ("", "") } else { (", 'none'", ".") };
            wrong(format!(
                "Invalid value `{text}` for configuration {name}. The value must be either 'earliest', 'latest'{none} \
                 or of the format 'by_duration:<PnDTnHnMn.nS{end}>'."
            ))
        }
        ("share.acknowledgement.mode", Value::Text(text)) if !matches!(text.as_str(), "implicit" | "explicit") => {
            wrong(format!(
                "Invalid value `{text}` for configuration {name}. The value must either be 'implicit' or 'explicit'."
            ))
        }
        ("share.acquire.mode", Value::Text(text))
            if !["batch_optimized", "record_limit"].iter().any(|w| w.eq_ignore_ascii_case(text)) =>
        {
            wrong(format!(
                "Invalid value `{text}` for configuration {name}. The value must either be 'batch_optimized' or \
                 'record_limit'."
            ))
        }
        ("leader.replication.throttled.replicas" | "follower.replication.throttled.replicas", Value::List(list)) => {
            let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
            let pair = |s: &String| s.is_empty() || s.split_once(':').is_some_and(|(a, b)| digits(a) && digits(b));
            if list.iter().all(pair) || list.concat() == "*" {
                return Ok(());
            }
            wrong(format!(
                "{name} must be the literal '*' or a list of replicas in the following format: \
                 [partitionId]:[brokerId],[partitionId]:[brokerId],..."
            ))
        }
        ("controller.quorum.voters", Value::List(list)) => {
            list.iter().find_map(|entry| voter(entry).err()).map_or(Ok(()), plain)
        }
        ("controller.quorum.bootstrap.servers", Value::List(list)) => {
            let what = |part: &str, entry: &str| {
                format!(
                    "Failed to parse {part} from {entry} for the configuration {name}. Each entry should be in the form \
                     \"{{host}}:{{port}}\""
                )
            };
            let wrong = |entry: &String| match host_and_port(entry) {
                (None, _) => Some(what("host name", entry)),
                (_, None) => Some(what("host port", entry)),
                _ => None,
            };
            list.iter().find_map(wrong).map_or(Ok(()), plain)
        }
        _ => Ok(()),
    }
}

/// The id of an entry of `controller.quorum.voters`.
pub(super) fn voter(entry: &str) -> Result<i64, String> {
    let form = "Each entry should be in the form `{id}@{host}:{port}`.";
    let of = "for the configuration controller.quorum.voters.";
    let parts: Vec<&str> = entry.split('@').collect();
    let [id, address] = parts[..] else {
        return Err(format!("Invalid configuration value for controller.quorum.voters. {form}"));
    };
    let number = id.parse::<i32>().map_err(|_| format!("Failed to parse voter ID as an integer from {id}"))?;
    match host_and_port(address) {
        (None, _) => Err(format!("Failed to parse host name from entry {entry} {of} {form}")),
        (_, None) => Err(format!("Failed to parse host port from entry {entry} {of} {form}")),
        _ => Ok(i64::from(number)),
    }
}

/// As Kafka's `Utils.getHost` and `Utils.getPort`.
fn host_and_port(address: &str) -> (Option<&str>, Option<u32>) {
    let address = address.rsplit_once("://").map_or(address, |(_, rest)| rest);
    let Some((host, port)) = address.rsplit_once(':') else { return (None, None) };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let legal = |c: char| c.is_ascii_alphanumeric() || "-%._:".contains(c);
    (Some(host).filter(|h| !h.is_empty() && h.chars().all(legal)), port.parse().ok())
}

/// Whether a text is a duration of ISO 8601 as `java.time.Duration.parse` takes it, and not negative.
fn is_duration(text: &str) -> bool {
    let text = text.to_ascii_uppercase();
    let Some(rest) = text.strip_prefix('P') else { return false };
    let (days, time) = rest.split_once('T').map_or((rest, None), |(d, t)| (d, Some(t)));
    let number = |n: &str, fraction: bool| {
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        match n.split_once('.') {
            Some((a, b)) if fraction => digits(a) && digits(b),
            _ => digits(n),
        }
    };
    let days_hold = days.is_empty() || days.strip_suffix('D').is_some_and(|n| number(n, false));
    let Some(mut time) = time else { return days_hold && !days.is_empty() };
    if time.is_empty() {
        return false;
    }
    for (unit, fraction) in [('H', false), ('M', false), ('S', true)] {
        if let Some((n, rest)) = time.split_once(unit) {
            if !number(n, fraction) {
                return false;
            }
            time = rest;
        }
    }
    days_hold && time.is_empty()
}
