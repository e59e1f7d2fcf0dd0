//! Workers, timers, clocks.

use super::*;
use std::cell::Cell;
use std::rc::Rc;

/// A server with one worker that takes 10 ms for each request, and three callers.
fn slow_server() -> (Sim, HostId) {
    let mut sim = Sim::new(SimConfig::new(1));
    let slow = millis(10);
    let s = sim.add_host(HostSpec {
        name: "s".to_owned(),
        cpu: CpuProfile { workers: 1, produce: slow, fetch: slow, request: slow, ..CpuProfile::default() },
        disk: DiskProfile::nvme(),
        clock: ClockSpec::default(),
    });
    node_on(&mut sim, s, "s", |_| echo());
    sim.start(s);
    for name in ["a", "b", "c"] {
        let c = node(&mut sim, name, || caller("s", 1, 1));
        sim.start(c);
    }
    (sim, s)
}

#[test]
fn inputs_queue_for_workers() {
    let (mut sim, _) = slow_server();
    let mut seen = Seen::default();
    sim.run_until(ms(100), &mut seen);
    let taken = seen.times("request taken");
    assert_eq!(taken.len(), 3);
    assert!(taken[1].since(taken[0]) >= millis(10) && taken[2].since(taken[1]) >= millis(10));
}

#[test]
fn what_a_worker_had_not_finished_never_happened() {
    let (mut sim, s) = slow_server();
    let mut seen = Seen::default();
    while seen.count("request taken") < 1 {
        sim.step(ms(100), &mut seen).unwrap();
    }
    sim.run_until(sim.now() + millis(9), &mut seen);
    sim.kill(s);
    sim.run_until(ms(200), &mut seen);
    assert_eq!((seen.count("request taken"), seen.count("response sent")), (1, 1));
}

#[test]
fn a_paused_worker_goes_on_where_it_was() {
    let (mut sim, s) = slow_server();
    let mut seen = Seen::default();
    while seen.count("request taken") < 1 {
        sim.step(ms(100), &mut seen).unwrap();
    }
    let first = sim.now();
    sim.run_until(first + millis(9), &mut seen);
    sim.pause(s);
    sim.run_until(first + millis(1_009), &mut seen);
    sim.resume(s);
    sim.run_until(first + millis(2_000), &mut seen);
    let second = seen.times("request taken")[1].since(first);
    assert!(second >= millis(1_010) && second < millis(1_012), "{second}");
}

#[test]
fn no_timer_is_early_whatever_the_drift() {
    for (drift, then) in [(0, 300), (-300, 0), (300, -100_000), (-100_000, 400_000)] {
        let mut sim = Sim::new(SimConfig::new(1));
        let h = sim.add_host(HostSpec {
            name: "h".to_owned(),
            cpu: CpuProfile { timer: Duration::ZERO, ..CpuProfile::default() },
            disk: DiskProfile::nvme(),
            clock: ClockSpec { drift_ppm: drift, monotonic_at_start: millis(77), wall_offset_ms: 0 },
        });
        let fired = Rc::new(Cell::new(0));
        let count = fired.clone();
        node_on(&mut sim, h, "n", move |_| {
            let count = count.clone();
            let mut deadline = Instant::ZERO;
            script(move |now, input, out| {
                if let Input::Timer = input {
                    assert!(now.mono >= deadline, "{} is before {deadline}", now.mono);
                    assert!(now.mono.since(deadline) < Duration::from_nanos(3), "{} is late", now.mono);
                    count.set(count.get() + 1);
                }
                deadline = now.mono + Duration::from_nanos(7_777_777);
                out.wake_at(deadline);
            })
        });
        sim.start(h);
        let mut seen = Seen::default();
        sim.run_until(ms(1_000), &mut seen);
        sim.set_drift(h, then);
        sim.run_until(ms(2_000), &mut seen);
        assert!((230..330).contains(&fired.get()), "{} at {drift}, {then}", fired.get());
    }
}

#[test]
fn only_the_deadline_said_last_counts() {
    let mut sim = Sim::new(SimConfig::new(1));
    let h = node(&mut sim, "h", || {
        let mut fired = 0;
        script(move |_, input, out| match input {
            Input::Start { .. } => {
                out.connect(Endpoint::new("nobody", 1));
                out.wake_at(ms(10));
            }
            // Later than before, so the first moment passes in silence.
            Input::Disconnected { .. } => out.wake_at(ms(50)),
            Input::Timer => {
                fired += 1;
                assert_eq!(fired, 1);
            }
            _ => {}
        })
    });
    sim.start(h);
    let mut seen = Seen::default();
    sim.run_until(ms(1_000), &mut seen);
    let fired = seen.0.iter().find(|l| l.text == "TimerFired").unwrap();
    assert!(fired.at >= ms(50) && fired.at < ms(51));
    assert!(seen.0[fired.cause as usize - 1].text.starts_with("disconnected"), "its cause is who set it");
}

#[test]
fn a_wall_clock_step_moves_no_timer() {
    let mut sim = Sim::new(SimConfig::new(1));
    let h = node(&mut sim, "h", || {
        script(|_, input, out| {
            if let Input::Start { .. } = input {
                out.wake_at(ms(20))
            }
        })
    });
    sim.start(h);
    let mut seen = Seen::default();
    sim.run_until(ms(10), &mut seen);
    let before = sim.clocks(h);
    sim.step_wall_clock(h, -3_600_000);
    let after = sim.clocks(h);
    assert_eq!((after.mono, after.wall.0), (before.mono, before.wall.0 - 3_600_000));
    sim.run_until(ms(100), &mut seen);
    assert_eq!(seen.count("TimerFired"), 1);
    assert!(seen.times("TimerFired")[0] < ms(21));
}
