//! The `des` world: events per second, and what one batch costs from its producer through three replicas and back.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use klamm_benches::rpc::{Counter, echo_pairs};
use klamm_model::units::Duration as Span;
use klamm_scenarios::run::{Built, Options, build};
use klamm_scenarios::schema::{self, resolve};
use klamm_world::world::{Stop, World};
use std::time::{Duration, Instant};

/// One partition on three brokers, one batch under way at a time.
const REPLICAS: &str = r#"
name = "replicas"
summary = "One partition."
promise = "Nothing goes wrong."
duration = "600s"
converge-within = "40s"

[[topic]]
name = "orders"
partitions = 1
replication = 3
config = { "min.insync.replicas" = 2, "retention.bytes" = 20000000, "segment.bytes" = 2000000 }

[[clients]]
kind = "producer"
load = { arrivals = "closed", in-flight = 140, records = 1000000000, value = "100B" }
config = { "linger.ms" = 0, "batch.size" = 16384, "delivery.timeout.ms" = 30000, "request.timeout.ms" = 10000 }
"#;

/// Steps a world until its watcher has seen enough.
fn run(sim: &mut dyn World, counter: &mut Counter, enough: impl Fn(&Counter) -> bool) {
    while !enough(counter) {
        let until = sim.now() + Span::from_millis(1);
        assert_eq!(sim.run_until(until, counter), Stop::Reached);
    }
}

fn cluster() -> (Built, Counter) {
    let scenario = schema::parse("replicas.toml", REPLICAS).expect("a sound scenario");
    let mut built = build(&resolve(&scenario, 1).0, 1, &Options::default());
    let mut counter = Counter::default();
    for host in built.servers.clone() {
        built.sim.start(host);
    }
    let second = |n| klamm_model::units::Instant::ZERO + Span::from_secs(n);
    built.sim.run_until(second(10), &mut counter);
    built.sim.start(built.setup.0);
    built.sim.run_until(second(20), &mut counter);
    for host in built.load.clone() {
        built.sim.start(host);
    }
    run(&mut *built.sim, &mut counter, |c| c.produced > 100);
    (built, counter)
}

fn replica_step(c: &mut Criterion) {
    let mut group = c.benchmark_group("replica");
    group.throughput(Throughput::Elements(1));
    group.bench_function("batch of 16 KiB, acks=all, three replicas", |b| {
        b.iter_custom(|n| {
            let (mut built, mut counter) = cluster();
            let begun = Instant::now();
            let target = counter.produced + n;
            run(&mut *built.sim, &mut counter, |c| c.produced >= target);
            begun.elapsed()
        });
    });
    group.finish();
}

fn events(c: &mut Criterion) {
    let mut group = c.benchmark_group("des");
    group.throughput(Throughput::Elements(1));
    group.bench_function("event (echo pairs, 200 bytes)", |b| {
        b.iter_custom(|n| {
            let (mut sim, mut counter) = (echo_pairs(5, 16, 200), Counter::default());
            run(&mut sim, &mut counter, |c| c.calls > 1_000);
            let target = counter.events + n;
            let (before, begun) = (counter.events, Instant::now());
            run(&mut sim, &mut counter, |c| c.events >= target);
            begun.elapsed().mul_f64(n as f64 / (counter.events - before) as f64)
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .without_plots();
    targets = events, replica_step
}
criterion_main!(benches);
