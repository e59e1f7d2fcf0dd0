//! Kill, power loss, pause, restart, shutdown, panic.

use super::*;
use klamm_model::disk::{DiskOp, Path};

#[test]
fn a_kill_resets_connections() {
    let (mut sim, s, _) = pair(SimConfig::new(1), 1, 1_000_000);
    let mut seen = Seen::default();
    sim.run_until(ms(100), &mut seen);
    sim.kill(s);
    assert_eq!(sim.host_state(s), HostState::Down);
    sim.run_until(ms(120), &mut seen);
    assert_eq!(seen.times("ended Killed"), [ms(100)]);
    assert_eq!(seen.after("disconnected "), ["Reset"]);
    assert_eq!((sim.conns.len(), sim.works.len(), sim.budget.held()), (0, 0, (0, 0)));
}

#[test]
fn a_lost_machine_is_silent_and_resets_when_it_is_back() {
    let (mut sim, s, _) = pair(SimConfig::new(1), 1, 1_000_000);
    let mut seen = Seen::default();
    sim.run_until(ms(100), &mut seen);
    sim.power_loss(&[s]);
    assert_eq!(sim.host_state(s), HostState::Off);
    let taken = seen.count("request taken");
    sim.run_until(ms(5_000), &mut seen);
    assert_eq!((seen.count("disconnected"), seen.count("request taken")), (0, taken));
    assert_eq!(seen.count("PowerLost"), 1);
    sim.start(s);
    assert_eq!(sim.host_state(s), HostState::Running);
    sim.run_until(ms(20_000), &mut seen);
    // The request that nobody acknowledged is sent again, and answered by a machine that knows no such connection;
    // unless it was the answer that was lost: then nobody says anything.
    let unanswered = seen.count("request sent") > taken;
    assert_eq!(seen.after("disconnected "), vec!["Reset"; usize::from(unanswered)]);
    assert!(unanswered, "this seed shows it");
}

#[test]
fn a_pause_queues_what_comes_and_a_resume_handles_it() {
    let (mut sim, s, _) = pair(SimConfig::new(1), 3, 1_000_000);
    let mut seen = Seen::default();
    sim.run_until(ms(100), &mut seen);
    let taken = seen.count("request taken");
    sim.pause(s);
    assert_eq!(sim.host_state(s), HostState::Paused);
    sim.run_until(ms(30_000), &mut seen);
    assert_eq!(seen.count("request taken"), taken);
    sim.resume(s);
    sim.run_until(ms(30_002), &mut seen);
    assert!(seen.count("request taken") >= taken + 3);
    assert_eq!(seen.count("disconnected"), 0);
    let order: Vec<i32> = seen.after("request taken ").iter().map(|n| n.parse().unwrap()).collect();
    assert!(order.is_sorted());
}

#[test]
fn what_an_earlier_incarnation_had_pending_is_dropped() {
    let mut sim = Sim::new(SimConfig::new(1));
    let h = host(&mut sim, "h");
    node_on(&mut sim, h, "n", |incarnation| {
        script(move |_, input, out| match input {
            Input::Start { .. } if incarnation == Incarnation(1) => {
                out.wake_at(ms(500));
                let file = Path::new("f");
                for _ in 0..50 {
                    out.disk(0, DiskOp::Append { file: file.clone(), data: Bytes::from_static(&[0; 100_000]) });
                    out.disk(0, DiskOp::Fsync { file: file.clone() });
                }
            }
            Input::Start { .. } => {}
            other => assert_eq!(incarnation, Incarnation(1), "{other:?}"),
        })
    });
    sim.start(h);
    let mut seen = Seen::default();
    sim.run_until(ms(2), &mut seen);
    assert_eq!(seen.count("disk asked"), 100);
    sim.kill(h);
    let done = seen.count("disk done");
    assert!(done < 100);
    sim.start(h);
    sim.run_until(ms(2_000), &mut seen);
    assert_eq!(seen.count("disk done"), done);
    assert_eq!(seen.count("TimerFired"), 0);
    assert_eq!(sim.incarnation(NodeRef(0)), Incarnation(2));
    assert!(sim.inspect(NodeRef(0)).is_some());
}

#[test]
fn a_shutdown_is_asked_for_and_an_exit_closes_in_order() {
    let mut sim = Sim::new(SimConfig::new(1));
    let s = node(&mut sim, "s", || {
        let mut conns = Vec::new();
        script(move |_, input, out| match input {
            Input::Accepted { conn, .. } => conns.push(conn),
            Input::Request { conn, correlation, version, request } => {
                out.respond(conn, correlation, version, answer(&request));
            }
            Input::Shutdown => {
                // The last words arrive before the end of the connection.
                out.respond(conns[0], 999, 3, ApiVersionsResponse::default());
                out.push(Output::Exit);
            }
            _ => {}
        })
    });
    let c = node(&mut sim, "c", || caller("s", 1, 3));
    sim.start(s);
    sim.start(c);
    let mut seen = Seen::default();
    sim.run_until(ms(3), &mut seen);
    sim.announce_fault(crate::faults::Action::Shutdown { who: crate::faults::Who("s".into()) }, false);
    sim.shutdown(s);
    sim.run_until(ms(1_000), &mut seen);
    let asked = seen.0.iter().find(|l| l.text == "ShutdownAsked").unwrap();
    assert!(seen.0[asked.cause as usize - 1].text.starts_with("Fault"));
    let ended = seen.0.iter().find(|l| l.text == "ended Exit").unwrap();
    assert_eq!(ended.cause, asked.ordinal);
    assert_eq!(seen.after("disconnected "), ["Closed"]);
    assert!(seen.times("response taken 999")[0] <= seen.times("disconnected")[0]);
    assert!(!sim.is_running(NodeRef(0)));
}

#[test]
fn a_halt_ends_a_process_in_the_middle_of_what_it_says() {
    let mut sim = Sim::new(SimConfig::new(1));
    let s = node(&mut sim, "s", || {
        script(|_, input, out| {
            if let Input::Request { conn, correlation, version, request } = input {
                out.push(Output::Halt { reason: "enough".into() });
                out.respond(conn, correlation, version, answer(&request));
            }
        })
    });
    let c = node(&mut sim, "c", || caller("s", 1, 3));
    sim.start(s);
    sim.start(c);
    let mut seen = Seen::default();
    assert_eq!(sim.run_until(ms(1_000), &mut seen), Stop::Reached);
    assert_eq!(seen.count("response sent"), 0);
    assert_eq!(seen.after("disconnected "), ["Reset"]);
    assert_eq!(seen.count("ended Halt"), 1);
}

#[test]
fn a_panic_is_a_crash_of_its_node() {
    let mut sim = Sim::new(SimConfig::new(1));
    let s = node(&mut sim, "s", || {
        script(|_, input, _| {
            if let Input::Request { correlation, .. } = input {
                // Not `panic!`: the test's output stays readable.
                std::panic::resume_unwind(Box::new(format!("request {correlation} is too much")));
            }
        })
    });
    let c = node(&mut sim, "c", || caller("s", 1, 3));
    sim.start(s);
    sim.start(c);
    let mut seen = Seen::default();
    let stop = sim.run_until(ms(1_000), &mut seen);
    assert_eq!(stop, Stop::Crashed { node: NodeRef(0), message: "request 1 is too much".into() });
    assert_eq!(seen.count("ended Panicked"), 1);
}

#[test]
fn nodes_on_one_host_share_its_fate_and_talk_quickly() {
    let mut sim = Sim::new(SimConfig::new(1));
    let h = host(&mut sim, "h");
    node_on(&mut sim, h, "server", |_| echo());
    sim.add_node(NodeSpec {
        name: "client".to_owned(),
        host: h,
        kind: NodeKind::Client(ClientId(1)),
        listeners: Vec::new(),
        make: Box::new(|_| caller("h", 1, 100)),
    });
    sim.start(h);
    // Cutting a host off from itself cuts nothing.
    sim.partition(&[h], &[h], false);
    let mut seen = Seen::default();
    sim.run_until(ms(20), &mut seen);
    assert_eq!(seen.count("response taken"), 100);
    sim.kill(h);
    sim.run_until(ms(30), &mut seen);
    assert_eq!(seen.count("ended Killed"), 2);
    assert_eq!((sim.conns.len(), sim.works.len(), sim.budget.held()), (0, 0, (0, 0)));
}
