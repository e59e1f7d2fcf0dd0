//! What a check of a history says: plain data, as `--format json` prints it.

use schemars::JsonSchema;
use serde::Serialize;

/// The version of this report.
pub const SCHEMA: u32 = 1;

/// How a history stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing was violated.
    Held,
    /// A guarantee was violated, or something permitted happened under `--strict`.
    Violated,
    /// Nothing was acknowledged, or nothing was read: there was nothing to judge.
    NothingJudged,
}

/// Counts over the history.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, JsonSchema)]
pub struct Counts {
    /// Lines but for the header.
    pub operations: u64,
    /// Sends.
    pub sends: u64,
    /// Sends whose outcome is `ok`, those of acks=0 included.
    pub acknowledged: u64,
    /// Sends whose outcome is `fail`.
    pub failed: u64,
    /// Sends whose outcome is `info`.
    pub unknown: u64,
    /// Sends that never resolved.
    pub unresolved: u64,
    /// Records that were read, rereadings included.
    pub records_read: u64,
    /// Acknowledged values that were never read.
    pub acknowledged_never_read: u64,
    /// Values sent with acks=0 that the final read did not find: permitted.
    pub lost_with_acks_0: u64,
    /// Findings that nothing permits.
    pub violations: u64,
    /// Findings that their cause permits.
    pub permitted: u64,
    /// Findings beyond those that are kept.
    pub dropped: u64,
}

/// One finding.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Told {
    /// When the evidence was complete, in nanoseconds of the history.
    pub at: u64,
    /// The offset it is about.
    pub offset: Option<i64>,
    /// The values it is about, as the history names them.
    pub values: Vec<String>,
    /// In words.
    pub detail: String,
    /// The operations that prove it, in the form of the history.
    pub witness: Vec<serde_json::Value>,
}

/// Findings of one check, in one partition, with one cause.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Group {
    /// The check.
    pub check: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// What permits it, in words; null if nothing does.
    pub permitted_by: Option<String>,
    /// How many there are.
    pub count: u64,
    /// The first of them; all with `--all`.
    pub findings: Vec<Told>,
}

/// Something that was not judged.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct NotJudged {
    /// What.
    pub what: String,
    /// Why not.
    pub why: String,
    /// What the history would have to tell.
    pub remedy: String,
}

/// How often a check could have judged.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Check")]
pub struct Judged {
    /// Its name.
    pub check: String,
    /// In how many operations it could have fired.
    pub judged: u64,
}

/// What a check of a history says.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Report {
    /// The version of this report.
    #[serde(rename = "klamm-check")]
    pub schema: u32,
    /// The verdict.
    pub verdict: Verdict,
    /// The exit code that goes with it.
    pub exit: u8,
    /// The verdict in a sentence.
    pub sentence: String,
    /// Counts.
    pub counts: Counts,
    /// Violations first, then what is permitted.
    pub groups: Vec<Group>,
    /// How often each check could judge; empty if that was not counted.
    pub checks: Vec<Judged>,
    /// What was not judged.
    pub not_judged: Vec<NotJudged>,
    /// What may be wrong with the recorder.
    pub hints: Vec<String>,
    /// What else there is to know.
    pub notes: Vec<String>,
}

/// The schema of the report, as the text that `docs/check.schema.json` holds.
pub fn json_schema() -> String {
    let mut schema = schemars::schema_for!(Report);
    schema.insert("title".to_owned(), "What `klamm check --format json` says of a history".into());
    serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_schema_is_this_one() {
        let published = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/check.schema.json");
        let published = std::fs::read_to_string(published).unwrap_or_default();
        assert!(published == json_schema(), "write it anew: klamm check --schema report > docs/check.schema.json");
    }
}
