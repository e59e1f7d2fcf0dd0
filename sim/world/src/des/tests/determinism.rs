//! The same run gives the same digest; what is drawn belongs to whom it is drawn for.

use super::*;
use crate::world::World;
use klamm_model::disk::{DiskOp, Path};

/// Three servers that write what they are sent, five callers, and some faults.
fn busy(config: SimConfig) -> (Sim, Seen) {
    let mut sim = Sim::new(config);
    let mut hosts = Vec::new();
    for name in ["s1", "s2", "s3"] {
        hosts.push(node(&mut sim, name, || {
            script(|_, input, out| {
                if let Input::Request { conn, correlation, version, request } = input {
                    let file = Path::new("orders-0/0.log");
                    out.disk(1, DiskOp::Append { file: file.clone(), data: Bytes::from_static(&[3; 100]) });
                    out.disk(1, DiskOp::Fsync { file });
                    out.respond(conn, correlation, version, answer(&request));
                }
            })
        }));
    }
    for n in 0..5 {
        hosts.push(node(&mut sim, &format!("c{n}"), move || caller(["s1", "s2", "s3"][n % 3], 4, 200)));
    }
    hosts.iter().for_each(|&h| sim.start(h));
    let mut seen = Seen::default();
    assert_eq!(sim.run_until(ms(20), &mut seen), Stop::Reached);
    let rule = sim.partition(&hosts[..1], &hosts[3..], false);
    sim.run_until(ms(30), &mut seen);
    sim.power_loss(&hosts[1..2]);
    sim.run_until(ms(40), &mut seen);
    sim.remove_rule(rule);
    sim.start(hosts[1]);
    assert_eq!(sim.run_until(ms(2_000), &mut seen), Stop::Reached);
    (sim, seen)
}

#[test]
fn the_same_seed_gives_the_same_digest_and_another_another() {
    let (first, seen) = busy(SimConfig::new(1));
    assert!(seen.count("request taken") > 300 && seen.count("disk done") > 300, "something happens");
    assert_eq!(first.events(), seen.0.last().unwrap().ordinal);
    let (again, _) = busy(SimConfig::new(1));
    assert_eq!((first.digest(), first.events()), (again.digest(), again.events()));
    let (other, _) = busy(SimConfig::new(2));
    assert_ne!(first.digest(), other.digest());
}

#[test]
fn messages_may_be_encoded_and_decoded_without_a_difference() {
    let (typed, _) = busy(SimConfig { hash_messages: true, ..SimConfig::new(1) });
    let (encoded, _) = busy(SimConfig { encode_messages: true, ..SimConfig::new(1) });
    assert_eq!(typed.digest(), encoded.digest());
    assert_ne!(typed.message_digest(), 0);
    assert_eq!(typed.message_digest(), encoded.message_digest());
    let (plain, _) = busy(SimConfig::new(1));
    assert_eq!((plain.digest(), plain.message_digest()), (typed.digest(), 0));
}

/// How long each of a caller's requests was under way.
fn ways(callers: &[&'static str]) -> Vec<u64> {
    let mut sim = Sim::new(SimConfig::new(9));
    let s = node(&mut sim, "s", echo);
    sim.start(s);
    for &name in callers {
        let c = node(&mut sim, name, || caller("s", 1, 100));
        sim.start(c);
    }
    let mut seen = Seen::default();
    sim.run_until(ms(1_000), &mut seen);
    let p2 = sim.node_named("p2");
    let sent: Vec<&Line> = seen.0.iter().filter(|l| l.node == p2 && l.text.starts_with("request sent")).collect();
    assert_eq!(sent.len(), 100);
    let taken = |sent: &Line| seen.0.iter().find(|l| l.cause == sent.ordinal).unwrap().at;
    sent.iter().map(|l| taken(l).since(l.at).as_nanos()).collect()
}

#[test]
fn removing_a_client_moves_no_other_clients_draws() {
    let alone = ways(&["p2"]);
    assert_eq!(ways(&["p1", "p2", "p3"]), alone);
    assert!(alone.iter().max() > alone.iter().min(), "they are drawn");
}

#[test]
fn causes_lead_from_sending_to_taking_and_from_asking_to_completion() {
    let (_, seen) = busy(SimConfig::new(3));
    let text = |ordinal: u64| seen.0[ordinal as usize - 1].text.as_str();
    for line in &seen.0 {
        match line.text.split(' ').take(2).collect::<Vec<_>>()[..] {
            ["request", "taken"] => assert!(text(line.cause).starts_with("request sent")),
            ["response", "taken"] => assert!(text(line.cause).starts_with("response sent")),
            ["response", "sent"] => assert!(text(line.cause).starts_with("request taken")),
            ["disk", "asked"] => assert!(text(line.cause).starts_with("request taken")),
            ["disk", "done"] => assert_eq!(text(line.cause), "disk asked"),
            _ => {}
        }
    }
}

/// Acts at two moments, and once after the first request it sees.
#[derive(Default)]
struct Acts {
    planned: Vec<Instant>,
    saw: bool,
    acted: Vec<(Instant, u64)>,
    taken: Option<(Instant, u64)>,
}

impl Observer for Acts {
    fn event(&mut self, event: &Event<'_>) {
        if let What::RequestTaken { .. } = event.what
            && self.taken.is_none()
        {
            self.saw = true;
            self.taken = Some((event.at, event.ordinal.0));
        }
    }
}

impl Driver for Acts {
    fn next_action_at(&self) -> Option<Instant> {
        self.planned.first().copied()
    }
    fn wants_to_act(&self) -> bool {
        self.saw
    }
    fn act(&mut self, sim: &mut dyn World) {
        if !std::mem::take(&mut self.saw) {
            self.planned.remove(0);
        }
        self.acted.push((sim.now(), sim.events()));
    }
}

#[test]
fn a_driver_acts_at_its_moments_and_right_after_what_it_saw() {
    let (mut sim, ..) = pair(SimConfig::new(1), 1, 10);
    let mut acts = Acts { planned: vec![ms(50), ms(70), ms(200)], ..Acts::default() };
    assert_eq!(sim.drive(ms(100), &mut acts), Stop::Reached);
    let (at, ordinal) = acts.taken.unwrap();
    assert_eq!(acts.acted[0].0, at);
    assert!(acts.acted[0].1 <= ordinal + 1, "nothing but the answer came between");
    assert_eq!(acts.acted[1..].iter().map(|a| a.0).collect::<Vec<_>>(), [ms(50), ms(70)]);
    assert_eq!(sim.now(), ms(100));
}

#[test]
fn an_endless_instant_is_a_runaway_and_names_who_runs() {
    let mut sim = Sim::new(SimConfig::new(1));
    let h = sim.add_host(HostSpec {
        name: "h".to_owned(),
        cpu: CpuProfile { timer: Duration::ZERO, ..CpuProfile::default() },
        disk: DiskProfile::nvme(),
        clock: ClockSpec::default(),
    });
    node_on(&mut sim, h, "spinner", |_| script(|now, _, out| out.wake_at(now.mono)));
    sim.start(h);
    let Stop::Runaway(runaway) = sim.run_until(ms(1_000), &mut Seen::default()) else { panic!("it ran on") };
    assert_eq!((runaway.budget, runaway.bound), ("events within one instant", 100_000));
    assert_eq!((runaway.hottest[0].0, runaway.hottest[0].1), (sim.node_named("spinner"), "timer"));
}

#[test]
fn nothing_is_held_and_no_connection_kept_when_all_is_done() {
    let (mut sim, ..) = pair(SimConfig::new(1), 3, 50);
    let mut seen = Seen::default();
    sim.run_until(ms(5_000), &mut seen);
    assert_eq!(seen.count("response taken"), 50);
    assert_eq!(seen.after("disconnected "), ["Closed"]);
    assert_eq!((sim.conns.len(), sim.works.len(), sim.budget.held()), (0, 0, (0, 0)));
}
