//! Schedules: lists of planned faults, symbolic as they were drawn or fired as they became.

use super::parse::{ParseError, PartitionName};
use super::when::Condition;
use super::who::Expr;
use super::{Action, Planned};
use klamm_model::ids::ApiKey;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What is to be done to a cluster, and when. In TOML, a list of `[[fault]]` tables.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// The lines; their order decides among those of one instant.
    #[serde(default, rename = "fault", skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Planned>,
}

/// A line that fired.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fired {
    /// Which line of the schedule.
    pub line: usize,
    /// What it became: hosts by name, the exact moment, no condition.
    pub planned: Planned,
}

/// A partition that a line names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mention {
    /// The whole expression.
    pub text: String,
    /// The partition.
    pub name: PartitionName,
    /// Of its followers the n-th, from 0, if one is meant by its number.
    pub follower: Option<usize>,
}

/// A line that makes no sense.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("fault {} ({kind}): {problem}", line + 1)]
pub struct ScheduleError {
    /// Which line, from 0.
    pub line: usize,
    /// Its kind of fault.
    pub kind: &'static str,
    /// What is wrong.
    pub problem: Problem,
}

/// What can be wrong with a line.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Problem {
    /// Someone is named who cannot be understood.
    #[error("who: {0}")]
    Who(ParseError),
    /// The condition cannot be understood.
    #[error("when: {0}")]
    When(ParseError),
    /// There is no such API.
    #[error("Kafka has no API `{0}`")]
    Api(String),
    /// The world it is to be fired at cannot do it.
    #[error("{0}")]
    Refused(&'static str),
}

impl Schedule {
    /// From what fired, for replays and shrinking.
    pub fn of_fired<'a>(fired: impl IntoIterator<Item = &'a Fired>) -> Schedule {
        Schedule { faults: fired.into_iter().map(|f| f.planned.clone()).collect() }
    }

    /// Whether every line can be understood. `hosts` are the names that exist.
    pub fn check(&self, hosts: &[&str]) -> Result<(), ScheduleError> {
        for (line, planned) in self.faults.iter().enumerate() {
            let wrong = |problem| ScheduleError { line, kind: planned.action.kind(), problem };
            for who in planned.action.names() {
                Expr::parse(&who.0, hosts.iter().copied()).map_err(|e| wrong(Problem::Who(e)))?;
            }
            if let Some(when) = &planned.when {
                Condition::parse(when, hosts.iter().copied()).map_err(|e| wrong(Problem::When(e)))?;
            }
            if let Action::Hold { api, .. } = &planned.action
                && api_named(api).is_none()
            {
                return Err(wrong(Problem::Api(api.clone())));
            }
        }
        Ok(())
    }

    /// Whether a world can do all of it. `refuses` says why it cannot do an action, if it cannot.
    ///
    /// # Errors
    /// The first line that it cannot do.
    pub fn check_can(&self, refuses: impl Fn(&Action) -> Option<&'static str>) -> Result<(), ScheduleError> {
        let refused = self.faults.iter().enumerate().find_map(|(line, p)| Some((line, p, refuses(&p.action)?)));
        refused.map_or(Ok(()), |(line, planned, why)| {
            Err(ScheduleError { line, kind: planned.action.kind(), problem: Problem::Refused(why) })
        })
    }

    /// The partitions that its expressions and logs name, each with the expression. What cannot be read names none.
    pub fn partitions<'a>(&self, hosts: impl IntoIterator<Item = &'a str>) -> Vec<Mention> {
        let hosts: Vec<&str> = hosts.into_iter().collect();
        let mut mentions = Vec::new();
        let mut mention = |text: &str, name: &PartitionName, follower| {
            mentions.push(Mention { text: text.to_owned(), name: name.clone(), follower });
        };
        for planned in &self.faults {
            for who in planned.action.names() {
                let expr = Expr::parse(&who.0, hosts.iter().copied()).ok();
                if let Some((name, follower)) = expr.as_ref().and_then(Expr::partition) {
                    mention(&who.0, name, follower);
                }
            }
            let text = planned.when.as_deref().unwrap_or_default();
            let when = Condition::parse(text, hosts.iter().copied()).ok();
            for (name, follower) in when.iter().flat_map(Condition::partitions) {
                mention(text, name, follower);
            }
            if let Action::BitRot { log, .. } = &planned.action
                && let Some(name) = PartitionName::read(log)
            {
                mention(log, &name, None);
            }
        }
        mentions
    }

    /// The consumer groups that its expressions name. What cannot be read names none.
    pub fn groups<'a>(&self, hosts: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
        let hosts: Vec<&str> = hosts.into_iter().collect();
        let mut groups = BTreeSet::new();
        for planned in &self.faults {
            for who in planned.action.names() {
                let expr = Expr::parse(&who.0, hosts.iter().copied()).ok();
                groups.extend(expr.as_ref().and_then(Expr::group).map(str::to_owned));
            }
            let when = planned.when.as_ref().and_then(|w| Condition::parse(w, hosts.iter().copied()).ok());
            groups.extend(when.iter().flat_map(Condition::groups).map(str::to_owned));
        }
        groups
    }
}

/// An API by Kafka's name for it.
pub fn api_named(name: &str) -> Option<ApiKey> {
    (0..128i16).filter_map(|key| ApiKey::try_from(key).ok()).find(|key| format!("{key:?}") == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Who;

    fn toml(text: &str) -> Schedule {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_schedule_survives_toml_both_ways() {
        let schedule = toml(
            r#"
            [[fault]]
            kind = "kill"
            who = "leader(orders-0)"
            at = 12000000000
            when = "unreplicated(orders-0)"
            for = 3000000000

            [[fault]]
            kind = "partition"
            a = ["leader(orders-0)"]
            b = ["others"]
            one-way = true
            at = 5

            [[fault]]
            kind = "disk-error"
            who = "b1"
            on = "fsync"
            at = 7
            after = 9
            "#,
        );
        assert_eq!(schedule.faults.len(), 3);
        assert_eq!(schedule.faults[0].lasts, Some(3_000_000_000));
        assert!(matches!(&schedule.faults[1].action, Action::Partition { one_way: true, .. }));
        let again: Schedule = toml::from_str(&toml::to_string(&schedule).unwrap()).unwrap();
        assert_eq!(again, schedule);
        let json: Schedule = serde_json::from_str(&serde_json::to_string(&schedule).unwrap()).unwrap();
        assert_eq!(json, schedule);
        schedule.check(&["b1"]).unwrap();
    }

    #[test]
    fn a_wrong_line_is_named() {
        let kill = |who: &str, when: Option<&str>| Schedule {
            faults: vec![Planned {
                at: 0,
                when: when.map(str::to_owned),
                after: None,
                lasts: None,
                of: None,
                action: Action::Kill { who: Who(who.to_owned()) },
            }],
        };
        let error = kill("leadr(orders-0)", None).check(&["b1"]).unwrap_err().to_string();
        assert_eq!(
            error,
            "fault 1 (kill): who: `leadr(orders-0)`, character 1: there is no `leadr(...)`; did you mean `leader`?"
        );
        let error = kill("b1", Some("unreplicatd(orders-0)")).check(&["b1"]).unwrap_err().to_string();
        assert!(error.contains("when: ") && error.contains("did you mean `unreplicated`"), "{error}");
        assert!(kill("b9", None).check(&["b1", "b2"]).is_err());
        assert_eq!(api_named("AlterPartition"), Some(ApiKey::AlterPartition));
        assert_eq!(api_named("Fetsh"), None);
    }
}
