//! The hazards that services have: what in a set of settings brings each about, which kinds of service it hurts, and
//! which class of fault shows it.
//!
//! One table. A hazard's name is that of the scenario in which a service of the catalogue breaks under it:
//! `<service>-<hazard>`.

use super::Subject;
use super::subject::InForce;
use crate::catalog;
use klamm_model::config::AutoOffsetReset;
use klamm_model::history::Acks;
use klamm_model::units::Duration;
use klamm_reports::audit::{Cell, ClassRecord, HazardRecord};

/// One hazard.
struct Hazard {
    name: &'static str,
    /// The services of the catalogue whose invariant it breaks, or whose deadline.
    hurts: &'static [&'static str],
    /// What these settings have of it, in words; nothing if they have it not.
    says: fn(&InForce) -> Option<String>,
    /// The class of fault that shows it, and in which column; none if no class tries it.
    shown: Option<(&'static str, &'static str)>,
}

/// Below this, a handler that takes its time is put out of its group: time for each record of a poll.
const PER_RECORD: Duration = Duration::from_millis(100);
/// Below this, an instance that is away for lunch comes back to deletions it never learns of.
const TOMBSTONES: Duration = Duration::from_secs(3600);
/// Above this, the partitions of a member that died stand still for longer than people wait.
const SESSION: Duration = Duration::from_secs(10);
/// Below this, a send does not outlive an election.
const DELIVERY: Duration = Duration::from_secs(30);
/// Below this, a burst does not fit.
const BUFFER: usize = 1 << 20;

fn when(holds: bool, text: impl FnOnce() -> String) -> Option<String> {
    holds.then(text)
}

const HAZARDS: &[Hazard] = &[
    Hazard {
        name: "acks-0",
        hurts: &["security-telemetry", "edge-maintenance", "supply-chain"],
        says: |s| {
            when(s.producer.acks == Acks::None, || {
                "acks=0: nobody says whether a record has arrived, and what has not is not sent again.".to_owned()
            })
        },
        shown: Some(("leader-crash", "lost")),
    },
    Hazard {
        name: "acks-1",
        hurts: &["order-choreography", "supply-chain", "factory-line", "security-telemetry"],
        says: |s| {
            when(s.producer.acks == Acks::Leader, || {
                "acks=1: what only the leader has is gone when it dies, although it was acknowledged: a step that was \
                 taken has no successor, a departure no arrival."
                    .to_owned()
            })
        },
        shown: Some(("leader-crash", "lost")),
    },
    Hazard {
        name: "min-isr-1",
        hurts: &["order-choreography", "supply-chain", "factory-line", "fraud-detection"],
        says: |s| {
            when(s.producer.acks == Acks::All && s.topic.min_insync_replicas == 1, || {
                "acks=all with min.insync.replicas=1: once the followers fall behind, \"all\" is the leader alone."
                    .to_owned()
            })
        },
        shown: Some(("lagging-followers", "lost")),
    },
    Hazard {
        name: "unclean-election",
        hurts: &["order-choreography", "supply-chain", "read-models"],
        says: |s| {
            when(s.topic.unclean_leader_election, || {
                "unclean.leader.election.enable=true: a replica that is behind may lead, and what it lacks is gone."
                    .to_owned()
            })
        },
        shown: Some(("lagging-followers", "lost")),
    },
    Hazard {
        name: "several-in-flight",
        hurts: &["edge-maintenance", "factory-line"],
        says: |s| {
            let p = &s.producer;
            when(!p.enable_idempotence && p.max_in_flight > 1 && p.acks != Acks::None, || {
                format!(
                    "no idempotence with {} requests in flight: what is sent again stands behind what was sent later, and \
                     may be there already: readings of a device, or steps of a body, out of order.",
                    p.max_in_flight
                )
            })
        },
        shown: Some(("isolated-leader", "reordered")),
    },
    Hazard {
        name: "no-idempotence",
        hurts: &["fraud-detection", "supply-chain", "order-choreography"],
        says: |s| {
            when(!s.producer.enable_idempotence && s.producer.acks != Acks::None, || {
                "no idempotence: a retry may repeat a record, and a service handles both unless it knows the first."
                    .to_owned()
            })
        },
        shown: Some(("flaky-network", "repeated")),
    },
    Hazard {
        name: "gives-up-early",
        hurts: &["edge-maintenance", "security-telemetry"],
        says: |s| {
            when(s.producer.delivery_timeout < DELIVERY, || {
                format!(
                    "delivery.timeout.ms={}: a send does not outlive an election or a dead link; the application is told, \
                     and must keep what it could not send.",
                    s.producer.delivery_timeout.as_millis()
                )
            })
        },
        shown: Some(("isolated-leader", "refused")),
    },
    Hazard {
        name: "small-buffer",
        hurts: &["security-telemetry", "edge-maintenance"],
        says: |s| {
            when(s.producer.buffer_memory < BUFFER, || {
                format!(
                    "buffer.memory={}: a burst that the cluster does not take at once fills it, and then sends wait for \
                     max.block.ms and are refused.",
                    s.producer.buffer_memory
                )
            })
        },
        shown: Some(("isolated-leader", "refused")),
    },
    Hazard {
        name: "reset-latest",
        hurts: &["fraud-detection", "order-choreography", "factory-line", "supply-chain"],
        says: |s| {
            when(s.consumer.auto_offset_reset == AutoOffsetReset::Latest, || {
                "auto.offset.reset=latest: what is sent to a new partition, or while offsets are lost or expired, before a \
                 member looks is never read: a payment that nobody scores."
                    .to_owned()
            })
        },
        shown: Some(("new-partitions", "skipped")),
    },
    Hazard {
        name: "poll-interval",
        hurts: &["model-inference"],
        says: |s| {
            let (interval, records) = (s.consumer.max_poll_interval, s.consumer.max_poll_records as u64);
            let each = interval.as_millis() / records.max(1);
            when(each < PER_RECORD.as_millis(), || {
                format!(
                    "max.poll.interval.ms={} with max.poll.records={records}: a full poll leaves {each} ms for each record. \
                     Handled slower, a member is put out before it commits, and the next one begins anew, for ever.",
                    interval.as_millis()
                )
            })
        },
        shown: Some(("slow-handler", "done_twice")),
    },
    Hazard {
        name: "auto-commit",
        hurts: &["model-inference", "fraud-detection", "security-telemetry"],
        says: |s| {
            when(s.consumer.enable_auto_commit, || {
                "enable.auto.commit=true: safe while every record is finished before the next poll. A slow handler that \
                 hands records to workers and polls on has them committed unfinished, and loses them when it dies."
                    .to_owned()
            })
        },
        shown: Some(("handed-off", "skipped")),
    },
    Hazard {
        name: "commits-first",
        hurts: &["order-choreography", "factory-line", "supply-chain"],
        says: |_| {
            Some(
                "A habit that no setting shows or mends: an application that commits before it acts leaves undone what it \
                 had not reached when it died."
                    .to_owned(),
            )
        },
        shown: Some(("committed-first", "skipped")),
    },
    Hazard {
        name: "long-session",
        hurts: &["fraud-detection", "factory-line"],
        says: |s| {
            when(s.consumer.session_timeout > SESSION, || {
                format!(
                    "session.timeout.ms={}: the partitions of a member that died stand still for so long; nothing is lost, \
                     and every deadline is missed.",
                    s.consumer.session_timeout.as_millis()
                )
            })
        },
        shown: None,
    },
    Hazard {
        name: "short-tombstones",
        hurts: &["read-models"],
        says: |s| {
            let t = &s.topic;
            when(t.cleanup_policy.contains("compact") && t.delete_retention < TOMBSTONES, || {
                format!(
                    "delete.retention.ms={} on a compacted topic: an instance that is away for longer than that never \
                     learns of a deletion, and keeps what is no more.",
                    t.delete_retention.as_millis()
                )
            })
        },
        shown: Some(("read-model-cut-off", "stale_keys")),
    },
];

/// The hazards that these settings have, in the order of the table, with what the classes of fault showed of them.
pub fn hazards(subject: &Subject, classes: &[ClassRecord]) -> Vec<HazardRecord> {
    let Some(settings) = subject.in_force() else { return Vec::new() };
    let catalogue: Vec<String> = catalog::embedded().map(|(_, s)| s.name).collect();
    let record = |hazard: &Hazard| {
        let class = hazard.shown.and_then(|(class, _)| classes.iter().find(|c| c.name == class));
        let cell = class.zip(hazard.shown).map(|(class, (_, column))| of(class, column).clone());
        Some(HazardRecord {
            name: hazard.name.to_owned(),
            says: (hazard.says)(&settings)?,
            hurts: hazard.hurts.iter().map(|s| (*s).to_owned()).collect(),
            class: class.map(|c| c.name.clone()),
            column: hazard.shown.map(|(_, column)| column.replace('_', " ")),
            seeds: class.map_or(0, |c| c.seeds),
            cell: cell.unwrap_or_default(),
            scenarios: broken_under(hazard.name, &catalogue),
        })
    };
    HAZARDS.iter().filter_map(record).collect()
}

fn of<'a>(class: &'a ClassRecord, column: &str) -> &'a Cell {
    match column {
        "lost" => &class.lost,
        "repeated" => &class.repeated,
        "reordered" => &class.reordered,
        "refused" => &class.refused,
        "done_twice" => &class.done_twice,
        "skipped" => &class.skipped,
        "stale_keys" => &class.stale,
        other => unreachable!("the table names no column `{other}`"),
    }
}

/// The scenarios of the catalogue in which a service breaks under a hazard.
fn broken_under(hazard: &str, catalogue: &[String]) -> Vec<String> {
    let named = catalog::SERVICES.iter().map(|service| format!("{service}-{hazard}"));
    named.filter(|name| catalogue.contains(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Place;
    use super::*;
    use klamm_model::config::Properties;

    /// Settings, each with its place.
    type Set<'a> = &'a [(Place, &'a str, &'a str)];

    fn names(set: Set<'_>) -> Vec<String> {
        let mut subject = Subject::default();
        for &(place, key, value) in set {
            subject.of_mut(place).insert(key.to_owned(), value.to_owned());
        }
        hazards(&subject, &[]).into_iter().map(|h| h.name).collect()
    }

    #[test]
    fn kafkas_defaults_have_the_hazards_they_are_known_for() {
        assert_eq!(names(&[]), ["min-isr-1", "reset-latest", "auto-commit", "commits-first", "long-session"]);
    }

    #[test]
    fn each_setting_brings_its_hazard() {
        use Place::{Consumer, Producer, Topic};
        let sets: &[(&str, Set<'_>)] = &[
            ("acks-0", &[(Producer, "acks", "0")]),
            ("acks-1", &[(Producer, "acks", "1")]),
            ("unclean-election", &[(Topic, "unclean.leader.election.enable", "true")]),
            ("several-in-flight", &[(Producer, "enable.idempotence", "false")]),
            ("no-idempotence", &[(Producer, "enable.idempotence", "false")]),
            ("gives-up-early", &[(Producer, "delivery.timeout.ms", "5000"), (Producer, "request.timeout.ms", "1000")]),
            ("small-buffer", &[(Producer, "buffer.memory", "65536")]),
            ("poll-interval", &[(Consumer, "max.poll.interval.ms", "20000")]),
            ("short-tombstones", &[(Topic, "cleanup.policy", "compact"), (Topic, "delete.retention.ms", "100")]),
        ];
        for (hazard, set) in sets {
            assert!(names(set).iter().any(|n| n == hazard), "{hazard}: {:?}", names(set));
        }
        let defaults = names(&[]);
        assert!(sets.iter().all(|(hazard, _)| !defaults.iter().any(|d| d == hazard)));
        let one = names(&[
            (Producer, "enable.idempotence", "false"),
            (Producer, "max.in.flight.requests.per.connection", "1"),
        ]);
        assert!(!one.iter().any(|n| n == "several-in-flight"), "{one:?}");
    }

    #[test]
    fn a_hazard_has_the_seed_that_shows_it_and_the_service_that_breaks() {
        let cell = Cell { count: 3, seeds: 2, seed: Some("0x7".to_owned()) };
        let class =
            ClassRecord { name: "leader-crash".to_owned(), lost: cell.clone(), seeds: 5, ..ClassRecord::default() };
        let producer = Properties::from([("acks".to_owned(), "1".to_owned())]);
        let subject = Subject { producer, ..Subject::default() };
        let all = hazards(&subject, &[class]);
        let found = all.iter().find(|h| h.name == "acks-1").unwrap();
        assert_eq!((found.class.as_deref(), &found.cell, found.seeds), (Some("leader-crash"), &cell, 5));
        assert!(found.scenarios.iter().any(|s| s == "order-choreography-acks-1"), "{:?}", found.scenarios);
    }

    #[test]
    fn the_table_names_classes_and_services_that_there_are() {
        let classes = super::super::classes();
        for h in HAZARDS {
            assert!(h.hurts.iter().all(|s| catalog::SERVICES.contains(s)), "{}", h.name);
            let Some((class, column)) = h.shown else { continue };
            assert!(classes.iter().any(|c| c.name == format!("audit-{class}")), "{}", h.name);
            let _ = of(&ClassRecord::default(), column);
        }
    }
}
