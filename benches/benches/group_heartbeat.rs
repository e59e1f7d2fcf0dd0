//! What a heartbeat costs in groups of 10 and of 100 members: coordinator, client, network and scheduling, unjudged. It
//! must not grow with the group.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use klamm_benches::rpc::Counter;
use klamm_model::units::{Duration as Span, Instant as At};
use klamm_scenarios::run::{Built, Options, build};
use klamm_scenarios::schema::{self, resolve};
use klamm_world::world::Stop;
use std::time::{Duration, Instant};

/// Members that do nothing but beat, ten times a second: there is one partition, and nothing in it.
fn scenario(protocol: &str, members: u32) -> String {
    format!(
        r#"
name = "heartbeats"
summary = "Members beat."
promise = "Nothing goes wrong."
duration = "600s"
converge-within = "40s"

[broker]
"offsets.topic.num.partitions" = 1
"group.min.session.timeout.ms" = 1000
"group.consumer.session.timeout.ms" = 6000
"group.consumer.heartbeat.interval.ms" = 100

[[topic]]
name = "orders"
partitions = 1

[[clients]]
kind = "group"
count = {members}
[clients.config]
"group.id" = "billing"
"group.protocol" = "{protocol}"
{classic}
"#,
        classic = match protocol {
            "classic" => "\"session.timeout.ms\" = 6000\n\"heartbeat.interval.ms\" = 100",
            _ => "",
        }
    )
}

/// Everybody is there, and the group at rest.
fn settled(protocol: &str, members: u32) -> (Built, Counter) {
    let scenario = schema::parse("heartbeats.toml", &scenario(protocol, members)).expect("a sound scenario");
    let mut built = build(&resolve(&scenario, 1).0, 1, &Options::default());
    let mut counter = Counter::default();
    let second = |n| At::ZERO + Span::from_secs(n);
    for host in built.servers.clone() {
        built.sim.start(host);
    }
    built.sim.run_until(second(10), &mut counter);
    built.sim.start(built.setup.0);
    built.sim.run_until(second(20), &mut counter);
    for host in built.load.clone() {
        built.sim.start(host);
    }
    built.sim.run_until(second(60), &mut counter);
    (built, counter)
}

fn heartbeats(c: &mut Criterion) {
    let mut group = c.benchmark_group("group_heartbeat");
    group.throughput(Throughput::Elements(1));
    for protocol in ["classic", "consumer"] {
        for members in [10, 100] {
            group.bench_function(BenchmarkId::new(protocol, members), |b| {
                b.iter_custom(|n| {
                    let (mut built, mut counter) = settled(protocol, members);
                    let (from, target) = (counter.heartbeats, counter.heartbeats + n);
                    let (events, begun) = (counter.events, Instant::now());
                    while counter.heartbeats < target {
                        let until = built.sim.now() + Span::from_millis(20);
                        assert_eq!(built.sim.run_until(until, &mut counter), Stop::Reached);
                    }
                    let (spent, beats) = (begun.elapsed(), counter.heartbeats - from);
                    if std::env::var_os("EVENTS").is_some() {
                        let each = (counter.events - events) as f64 / beats as f64;
                        println!("{protocol}, {members} members: {each:.1} events per heartbeat");
                    }
                    // A step may bring more than were wanted.
                    Duration::from_nanos((spent.as_nanos() as u64).saturating_mul(n) / beats)
                });
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(4));
    targets = heartbeats
}
criterion_main!(benches);
