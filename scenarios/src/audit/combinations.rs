//! What can be read off the settings alone: combinations that do not mean what they seem to, and those that stall.
//!
//! Each in plain words; the classes of fault show whether it happens. What hurts services has a table of its own
//! (`hazards`).

use super::subject::InForce;
use super::{Place, Subject};
use klamm_model::history::Acks;

/// Replicas of the audited topic.
const REPLICAS: u32 = 3;

/// Everything there is to say, in the order of what it costs.
pub fn combinations(subject: &Subject) -> Vec<String> {
    let Some(InForce { producer, broker, topic, consumer }) = subject.in_force() else { return Vec::new() };
    let mut words = Vec::new();
    let mut say = |holds: bool, text: String| {
        if holds {
            words.push(text);
        }
    };
    let (min, all) = (topic.min_insync_replicas, producer.acks == Acks::All);
    // Since Kafka 3.7 the minimum in force is at most the number of replicas.
    let counts = if min > REPLICAS { format!(", which counts as {REPLICAS}") } else { String::new() };
    say(
        all && min >= REPLICAS,
        format!(
            "min.insync.replicas={min}{counts}, with {REPLICAS} replicas: every broker must be there. While one is down or \
             restarting, writes are refused and the producer waits (stalled)."
        ),
    );
    say(
        !all && min > 1,
        format!(
            "acks={} with min.insync.replicas={min}: the minimum guards acks=all only. What is acknowledged meanwhile may \
             be lost, and stays unreadable until enough replicas are back.",
            subject.current(Place::Producer, "acks")
        ),
    );
    say(
        consumer.session_timeout < broker.group_min_session || consumer.session_timeout > broker.group_max_session,
        "session.timeout.ms lies outside the brokers' group.min.session.timeout.ms and group.max.session.timeout.ms: the \
         coordinator refuses every member, and nothing is consumed (stalled)."
            .to_owned(),
    );
    say(
        broker.offsets_topic_replication < 2,
        "offsets.topic.replication.factor=1: while its one broker is down no group can commit or join (stalled), and a \
         power loss takes committed offsets with it."
            .to_owned(),
    );
    words
}
