use super::*;
use klamm_model::history::{IsolationLevel, MemberFacts, Processing, RebalanceProtocol, ValueId};
use klamm_model::ids::{Incarnation, LeaderEpoch, Offset};

const SCENARIO: &str = r#"
name = "row"
summary = "Two services in a row."
duration = "10s"
converge-within = "200s"
deadline = "50ns"

[[topic]]
name = "in"
[[topic]]
name = "mid"
[[topic]]
name = "out"
[[topic]]
name = "no"

[[clients]]
kind = "producer"
topic = "in"
load = { rate = 1 }

[[clients]]
kind = "group"
topic = "in"
member = { forward = { to = ["mid"], declines = { per-mille = 1, to = "no" } } }
config = { "group.id" = "a" }

[[clients]]
kind = "group"
topic = "mid"
member = { effects = true }
config = { "group.id" = "b" }
"#;

struct Play {
    flows: Flows,
}

fn v(client: u32, n: u64) -> ValueId {
    ValueId::new(ClientId(client), n)
}
fn at(topic: &str) -> TopicPartition {
    TopicPartition { topic: topic.into(), partition: 0 }
}

impl Play {
    fn new() -> Play {
        let scenario = crate::schema::parse("test.toml", SCENARIO).unwrap();
        let mut play = Play { flows: Flows::new(&scenario, true) };
        play.member(0, 10, "a", &["mid"], Some("no"));
        play.member(0, 20, "b", &[], None);
        play
    }
    fn op(&mut self, at: u64, client: u32, op: Op) -> &mut Play {
        self.flows.entry(&Entry { at, client: ClientId(client), incarnation: Incarnation(1), op });
        self
    }
    fn member(&mut self, at: u64, client: u32, group: &str, to: &[&str], declines: Option<&str>) -> &mut Play {
        let facts = MemberFacts {
            group: group.into(),
            protocol: RebalanceProtocol::Eager,
            instance: None,
            auto_commit: false,
            processing: Processing::FinishThenCommit,
            effects: to.is_empty(),
            resets_to_latest: false,
            forwards_to: to.iter().map(|t| (*t).into()).collect(),
            declines_to: declines.map(Into::into),
        };
        self.op(at, client, Op::Member { facts })
    }
    fn send(&mut self, at: u64, value: ValueId, topic: &str, from: Option<ValueId>) -> &mut Play {
        let (client, topic) = (value.client().0, topic.into());
        self.op(at, client, Op::Send { value, topic, partition: None, key: None, tombstone: false, late_by: 1, from })
    }
    fn sent(&mut self, at: u64, value: ValueId, outcome: Outcome, offset: i64) -> &mut Play {
        let offset = (outcome == Outcome::Ok).then_some(Offset(offset));
        let (partition, producer_id, error) = (Some(0), None, None);
        let sent = Op::Sent { value, outcome, partition, offset, attempts: 1, producer_id, error };
        self.op(at, value.client().0, sent)
    }
    fn poll(&mut self, when: u64, client: u32, topic: &str, records: &[(i64, ValueId)]) -> &mut Play {
        let record = |&(offset, value): &(i64, ValueId)| ReadRecord {
            offset: Offset(offset),
            leader_epoch: LeaderEpoch(0),
            value,
            key: None,
            timestamp: 0,
        };
        let (source, isolation) = (at(topic), IsolationLevel::ReadCommitted);
        self.op(when, client, Op::Poll { source, isolation, records: records.iter().map(record).collect() })
    }
    fn effect(&mut self, when: u64, offset: i64, value: ValueId) -> &mut Play {
        self.op(when, 20, Op::Effect { source: at("mid"), offset: Offset(offset), value })
    }
    fn end(&mut self) -> ServiceTimes {
        self.flows.finish((0, 1000), (0, 1000), &|c| c.to_string()).unwrap()
    }
}

#[test]
fn from_the_first_send_to_the_last_effect_in_effect() {
    let mut p = Play::new();
    // One that goes through, made twice on the way and applied twice; its first copy failed.
    p.send(11, v(1, 0), "in", None).sent(14, v(1, 0), Outcome::Ok, 0);
    p.send(20, v(10, 0), "mid", Some(v(1, 0))).sent(21, v(10, 0), Outcome::Fail, 0);
    p.send(22, v(10, 1), "mid", Some(v(1, 0))).sent(25, v(10, 1), Outcome::Ok, 0);
    p.send(40, v(10, 2), "mid", Some(v(1, 0))).sent(45, v(10, 2), Outcome::Ok, 1);
    p.poll(28, 20, "mid", &[(0, v(10, 1))]).effect(30, 0, v(10, 1)).effect(90, 0, v(10, 1));
    // One that is declined, and late.
    p.send(31, v(1, 1), "in", None).sent(34, v(1, 1), Outcome::Ok, 1);
    p.send(80, v(10, 3), "no", Some(v(1, 1))).sent(95, v(10, 3), Outcome::Ok, 0);
    // One of which nothing follows; one that was refused, and is nobody's business.
    p.send(41, v(1, 2), "in", None).sent(44, v(1, 2), Outcome::Ok, 2);
    p.send(51, v(1, 3), "in", None).sent(54, v(1, 3), Outcome::Fail, 0);
    let t = p.end();
    assert_eq!((t.records, t.unfinished, t.late, t.twice), (3, 1, Some(2), 2));
    assert_eq!((t.end_to_end.len(), t.end_to_end.min(), t.end_to_end.max()), (2, 20, 65));
    assert_eq!((t.origins.len(), t.origins.max()), (3, 4));
    assert_eq!(t.steps.min(), 5, "from 25 to 30: made in the topic until applied");
}

#[test]
fn a_record_that_is_read_before_its_sender_hears_of_it_waits_from_then_on() {
    let mut p = Play::new();
    p.send(11, v(1, 0), "in", None).sent(14, v(1, 0), Outcome::Ok, 0);
    p.send(20, v(10, 0), "mid", Some(v(1, 0))).poll(22, 20, "mid", &[(0, v(10, 0))]).effect(25, 0, v(10, 0));
    p.sent(29, v(10, 0), Outcome::Ok, 0);
    let t = p.end();
    assert_eq!((t.steps.min(), t.steps.len()), (3, 2), "from 22 to 25");
}

#[test]
fn origins_are_measured_apart_while_a_service_has_no_process() {
    let mut p = Play::new();
    p.member(0, 11, "a", &["mid"], Some("no"));
    p.flows.ended(ClientId(10), 20);
    p.send(26, v(1, 0), "in", None).sent(29, v(1, 0), Outcome::Ok, 0);
    p.flows.ended(ClientId(11), 30);
    p.send(36, v(1, 1), "in", None).sent(43, v(1, 1), Outcome::Ok, 1);
    p.member(50, 10, "a", &["mid"], Some("no"));
    p.send(61, v(1, 2), "in", None).sent(65, v(1, 2), Outcome::Ok, 2);
    let t = p.end();
    assert_eq!((t.down, t.origins.len(), t.origins_down.len(), t.origins_down.max()), (20, 3, 1, 8));
}

#[test]
fn lag_is_what_waits_and_not_what_was_passed_by() {
    let second = BEHIND_NS;
    let wait = |since, until, offset| Wait { since, until, place: Some(("t".into(), 0, offset)) };
    let mut waits = vec![
        wait(0, Some(5 * second), 0),
        wait(0, None, 1),
        wait(second, Some(6 * second), 2),
        wait(7 * second, None, 3),
        Wait { since: 0, until: None, place: None },
    ];
    never_handled(&mut waits, 9 * second);
    let left: Vec<u64> = waits.iter().map(|w| w.since / second).collect();
    assert_eq!(left, [0, 1, 7], "offset 1 was passed by");
    assert_eq!(united(vec![(5, 7), (1, 3), (3, 4)]), [(1, 4), (5, 7)]);
    let window = WINDOW_NS;
    assert_eq!(
        sampled(&[(0, 1), (window, 1), (2 * window, -1)], 0, 3 * window),
        [(window, 2), (2 * window, 1), (3 * window, 1)]
    );
}

#[test]
fn a_read_model_is_through_when_it_has_read_as_far() {
    let text = r#"
name = "model"
summary = "One instance."
duration = "10s"
converge-within = "200s"
[[topic]]
name = "in"
[[clients]]
kind = "consumer"
read-model = true
"#;
    let scenario = crate::schema::parse("test.toml", text).unwrap();
    let mut p = Play { flows: Flows::new(&scenario, false) };
    p.op(0, 30, Op::ReadModel { topics: vec!["in".into()] });
    for n in 0..3 {
        p.send(10 + n, v(1, n), "in", None).sent(20, v(1, n), Outcome::Ok, n as i64);
    }
    // Offset 0 is compacted away; rebuilt, it reads again what it had.
    p.poll(50, 30, "in", &[(1, v(1, 1))]).poll(60, 30, "in", &[(1, v(1, 1))]);
    p.flows.ended(ClientId(30), 70);
    p.send(76, v(1, 3), "in", None).sent(79, v(1, 3), Outcome::Fail, 3);
    p.op(100, 30, Op::ReadModel { topics: vec!["in".into()] });
    let t = p.end();
    assert_eq!((t.records, t.unfinished, t.late, t.down), (3, 1, None, 30));
    assert_eq!((t.end_to_end.min(), t.end_to_end.max()), (40, 41));
}

#[test]
fn a_scenario_without_services_is_not_followed() {
    let scenario = crate::catalog::find("leader-crash-acks-all").unwrap().remove(0);
    let mut p = Play { flows: Flows::new(&scenario, true) };
    p.send(11, v(1, 0), "in", None);
    assert!(p.flows.records.is_empty() && p.flows.finish((0, 1), (0, 1), &|c| c.to_string()).is_none());
}
