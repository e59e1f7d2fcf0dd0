//! Order, silence, holds, resets, names.

use super::*;

fn correlations(lines: Vec<&str>) -> Vec<i32> {
    lines.into_iter().map(|n| n.trim().parse().unwrap()).collect()
}

#[test]
fn nothing_overtakes_on_a_connection() {
    // Large and small messages, lossy, all at once, many workers: still in order both ways.
    let (mut sim, s, c) = pair(SimConfig::new(5), 200, 200);
    sim.add_loss(&[s], &[c], 50_000);
    let mut seen = Seen::default();
    sim.run_until(ms(600_000), &mut seen);
    let all: Vec<i32> = (1..=200).collect();
    assert_eq!(correlations(seen.after("request taken")), all);
    assert_eq!(correlations(seen.after("response taken")), all);
    assert!(*seen.times("response taken").last().unwrap() > ms(200), "losses cost time");
}

#[test]
fn a_partition_is_silence_until_it_heals() {
    let (mut sim, s, c) = pair(SimConfig::new(1), 1, 1_000_000);
    let mut seen = Seen::default();
    sim.run_until(ms(100), &mut seen);
    let before = seen.count("response taken");
    assert!(before > 10);
    let rule = sim.partition(&[s], &[c], false);
    sim.run_until(ms(3_000), &mut seen);
    assert!(seen.count("response taken") <= before + 1);
    assert_eq!(seen.count("disconnected"), 0);
    sim.remove_rule(rule);
    sim.run_until(ms(3_000), &mut seen);
    let quiet = seen.count("response taken");
    sim.run_until(ms(7_000), &mut seen);
    assert!(seen.count("response taken") > quiet + 100);
    assert_eq!(seen.count("disconnected"), 0);
    // TCP's backoff: sent again 0.2, 0.6, 1.4, 3.0 s after it was lost at 0.1 s.
    let back = seen.times("response taken")[quiet];
    assert!(back > ms(3_090) && back < ms(3_200), "{back}");
}

#[test]
fn a_one_way_partition_lets_the_other_way_through() {
    let (mut sim, s, c) = pair(SimConfig::new(1), 1, 1_000_000);
    let mut seen = Seen::default();
    sim.run_until(ms(100), &mut seen);
    sim.partition(&[s], &[c], true);
    sim.run_until(ms(2_000), &mut seen);
    let (sent, taken) = (seen.count("request sent"), seen.count("request taken"));
    assert_eq!(sent, taken, "requests arrive");
    assert_eq!(seen.count("response sent"), taken);
    assert_eq!(seen.count("response taken"), taken - 1, "the answer does not");
}

#[test]
fn unanswered_data_and_attempts_are_given_up_in_time() {
    let network =
        NetworkProfile { silence_limit: millis(5_000), connect_limit: millis(4_000), ..NetworkProfile::default() };
    let (mut sim, s, c) = pair(SimConfig { network, ..SimConfig::new(1) }, 1, 1_000_000);
    let mut seen = Seen::default();
    sim.run_until(ms(100), &mut seen);
    sim.partition(&[s], &[c], false);
    let d = node(&mut sim, "d", || caller("s", 1, 1));
    sim.partition(&[s], &[d], false);
    sim.start(d);
    sim.run_until(ms(20_000), &mut seen);
    assert_eq!(seen.after("disconnected "), ["Unreachable", "Unreachable"]);
    let times = seen.times("disconnected");
    assert!(times[0] > ms(4_100) && times[0] < ms(4_110), "the attempt: {}", times[0]);
    assert!(times[1] > ms(5_100) && times[1] < ms(5_110), "the data: {}", times[1]);
}

#[test]
fn without_the_way_back_both_sides_give_up() {
    let network = NetworkProfile { silence_limit: millis(5_000), ..NetworkProfile::default() };
    let (mut sim, s, c) = pair(SimConfig { network, ..SimConfig::new(1) }, 5, 1_000_000);
    let mut seen = Seen::default();
    sim.run_until(ms(100), &mut seen);
    let rule = sim.partition(&[s], &[c], true);
    sim.run_until(ms(4_000), &mut seen);
    assert_eq!(seen.count("disconnected"), 0);
    sim.run_until(ms(6_000), &mut seen);
    // The server's answers are not acknowledged, nor does the caller see that its requests were.
    assert_eq!(seen.after("disconnected "), ["Unreachable", "Unreachable"]);
    sim.remove_rule(rule);
    sim.run_until(ms(60_000), &mut seen);
    assert_eq!((sim.conns.len(), sim.works.len(), sim.budget.held()), (0, 0, (0, 0)));
}

#[test]
fn a_reset_that_never_got_through_is_sent_again_when_asked_for() {
    // The server dies behind a partition that outlasts its kernel's patience. Nobody has told the caller, whose
    // next message is answered with a reset.
    let network = NetworkProfile { silence_limit: millis(2_000), ..NetworkProfile::default() };
    let mut sim = Sim::new(SimConfig { network, ..SimConfig::new(1) });
    let s = node(&mut sim, "s", echo);
    let c = node(&mut sim, "c", || {
        let mut open = None;
        script(move |now, input, out| match input {
            Input::Start { .. } => {
                out.connect(Endpoint::new("s", PORT));
                out.wake_at(now.mono + millis(5_000));
            }
            Input::Connected { conn } => {
                open = Some(conn);
                out.wake_at(now.mono + millis(5_000));
            }
            Input::Timer => send(out, open.unwrap(), 1, request(1)),
            _ => {}
        })
    });
    sim.start(s);
    sim.start(c);
    let mut seen = Seen::default();
    sim.run_until(ms(100), &mut seen);
    let rule = sim.partition(&[s], &[c], false);
    sim.kill(s);
    sim.run_until(ms(4_000), &mut seen);
    sim.remove_rule(rule);
    sim.run_until(ms(5_000), &mut seen);
    assert_eq!(seen.count("disconnected"), 0);
    sim.run_until(ms(6_000), &mut seen);
    assert_eq!(seen.after("disconnected "), ["Reset"]);
    assert_eq!((sim.conns.len(), sim.works.len(), sim.budget.held()), (0, 0, (0, 0)));
}

#[test]
fn names_may_not_resolve_and_doors_may_be_shut() {
    let mut sim = Sim::new(SimConfig::new(1));
    let s = node(&mut sim, "s", echo);
    let nobody = node(&mut sim, "a", || caller("nobody", 1, 1));
    let down = node(&mut sim, "b", || caller("s", 1, 1));
    let mut seen = Seen::default();
    sim.start(nobody);
    sim.run_until(ms(50), &mut seen);
    sim.start(down);
    sim.run_until(ms(100), &mut seen);
    assert_eq!(seen.after("disconnected "), ["Unresolved", "Refused"]);
    sim.start(s);
    sim.unresolvable(s, true);
    let c = node(&mut sim, "c", || caller("s", 1, 1));
    sim.start(c);
    sim.run_until(ms(200), &mut seen);
    assert_eq!(seen.after("disconnected ").last(), Some(&"Unresolved"));
    sim.unresolvable(s, false);
    sim.kill(c);
    sim.start(c);
    sim.run_until(ms(300), &mut seen);
    assert_eq!(seen.count("response taken"), 1);
}

/// Sends a Fetch and then an ApiVersions request on one connection, and an ApiVersions request on another.
fn two_connections() -> Box<dyn Node> {
    script(|_, input, out| match input {
        Input::Start { .. } => {
            out.connect(Endpoint::new("s", PORT));
            out.connect(Endpoint::new("s", PORT));
        }
        Input::Connected { conn } if conn == ConnId::outgoing(1) => {
            send(out, conn, 11, (12, FetchRequest::default().into()));
            send(out, conn, 12, (3, ApiVersionsRequest::default().into()));
        }
        Input::Connected { conn } => send(out, conn, 21, (3, ApiVersionsRequest::default().into())),
        _ => {}
    })
}

#[test]
fn a_hold_keeps_one_api_in_one_direction_and_what_is_behind_it() {
    let mut sim = Sim::new(SimConfig::new(1));
    let s = node(&mut sim, "s", echo);
    let c = node(&mut sim, "c", two_connections);
    sim.start(s);
    sim.start(c);
    let rule = sim.hold(ApiKey::Fetch, true, &[s], &[c]);
    let other = sim.hold(ApiKey::Fetch, true, &[c], &[s]);
    let mut seen = Seen::default();
    sim.run_until(ms(90_000), &mut seen);
    assert_eq!(seen.count("response sent"), 3);
    assert_eq!(correlations(seen.after("response taken")), [21]);
    assert_eq!(seen.count("disconnected"), 0, "a held message is acknowledged: nobody gives up");
    sim.remove_rule(other);
    sim.run_until(ms(91_000), &mut seen);
    assert_eq!(seen.count("response taken"), 1);
    sim.remove_rule(rule);
    sim.run_until(ms(92_000), &mut seen);
    assert_eq!(correlations(seen.after("response taken")), [21, 11, 12]);
    assert!(seen.times("response taken")[1] < ms(91_001));
}

#[test]
fn a_reset_ends_connections_on_both_sides_at_once() {
    let (mut sim, s, c) = pair(SimConfig::new(1), 5, 1_000_000);
    let d = node(&mut sim, "d", || caller("s", 1, 1_000_000));
    sim.start(d);
    let mut seen = Seen::default();
    sim.run_until(ms(50), &mut seen);
    sim.reset(&[c], &[s]);
    sim.run_until(ms(51), &mut seen);
    assert_eq!(seen.after("disconnected "), ["Reset", "Reset"]);
    let before = seen.count("response taken");
    sim.run_until(ms(100), &mut seen);
    assert!(seen.count("response taken") > before + 10, "the other client is untouched");
    assert_eq!(sim.conns.len(), 1);
}

#[test]
fn bytes_that_left_before_a_close_arrive_and_are_processed() {
    let mut sim = Sim::new(SimConfig::new(1));
    let s = node(&mut sim, "s", echo);
    let c = node(&mut sim, "c", || {
        script(|_, input, out| match input {
            Input::Start { .. } => {
                out.connect(Endpoint::new("s", PORT));
            }
            Input::Connected { conn } => {
                for n in 1..=3 {
                    send(out, conn, n, (9, produce(1_000)));
                }
                out.close(conn);
                send(out, conn, 4, (9, produce(1_000)));
            }
            other => assert!(matches!(other, Input::Timer), "a closed connection says nothing more: {other:?}"),
        })
    });
    sim.start(s);
    sim.start(c);
    let mut seen = Seen::default();
    sim.run_until(ms(1_000), &mut seen);
    assert_eq!(correlations(seen.after("request taken")), [1, 2, 3]);
    assert_eq!(correlations(seen.after("response sent")), [1, 2, 3], "who answers does not know that nobody listens");
    assert_eq!(seen.after("disconnected "), ["Closed"]);
    assert_eq!((sim.conns.len(), sim.works.len(), sim.budget.held()), (0, 0, (0, 0)));
}

#[test]
fn bandwidth_queues_at_the_sender() {
    // Ten messages of 125 kB at 1 Gbit/s are 1 ms each.
    let mut sim = Sim::new(SimConfig::new(1));
    let s = node(&mut sim, "s", echo);
    let c = node(&mut sim, "c", || {
        script(|_, input, out| match input {
            Input::Start { .. } => {
                out.connect(Endpoint::new("s", PORT));
            }
            Input::Connected { conn } => (1..=10).for_each(|n| send(out, conn, n, (9, produce(125_000)))),
            _ => {}
        })
    });
    sim.start(s);
    sim.start(c);
    let mut seen = Seen::default();
    sim.run_until(ms(1_000), &mut seen);
    let (sent, taken) = (seen.times("request sent")[9], seen.times("request taken")[9]);
    assert!(taken.since(sent) > millis(10), "{}", taken.since(sent));
    assert!(taken.since(sent) < millis(30), "{}", taken.since(sent));
}

#[test]
fn added_latency_is_added_and_ends() {
    let (mut sim, s, c) = pair(SimConfig::new(1), 1, 1_000_000);
    let mut seen = Seen::default();
    let rule = sim.add_latency(&[s], &[c], millis(100));
    sim.run_until(ms(1_000), &mut seen);
    let slow = seen.count("response taken");
    assert!((2..=4).contains(&slow), "{slow}");
    sim.remove_rule(rule);
    sim.run_until(ms(2_000), &mut seen);
    assert!(seen.count("response taken") > 500);
}
