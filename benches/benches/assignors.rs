//! Assignors of classic groups: 1,000 members, 10,000 partitions of 10 topics.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use klamm_model::client::consumer::assignor::{GroupMember, Partitions, assign};
use klamm_model::config::Assignor;
use klamm_model::defects::Defects;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

const MEMBERS: usize = 1_000;
const TOPICS: usize = 10;
const PARTITIONS: i32 = 1_000;

fn partitions() -> Partitions {
    (0..TOPICS).map(|t| (Arc::from(format!("topic-{t}")), PARTITIONS)).collect()
}

/// Everybody subscribes to everything, or each member leaves out one topic of its own.
fn members(partitions: &Partitions, uniform: bool) -> Vec<GroupMember> {
    (0..MEMBERS)
        .map(|m| {
            let wanted = |t: usize| uniform || t != m % TOPICS;
            let topics = partitions.keys().enumerate().filter(|(t, _)| wanted(*t)).map(|(_, name)| name.clone());
            GroupMember { id: format!("member-{m:04}"), topics: topics.collect(), generation: -1, ..Default::default() }
        })
        .collect()
}

fn assignors(c: &mut Criterion) {
    let partitions = partitions();
    let mut group = c.benchmark_group("assignor");
    group.throughput(Throughput::Elements(TOPICS as u64 * PARTITIONS as u64));
    for (shape, uniform) in [("equal", true), ("different", false)] {
        let members = members(&partitions, uniform);
        for assignor in Assignor::ALL {
            group.bench_function(format!("{}/{shape}-subscriptions", assignor.name()), |b| {
                b.iter(|| assign(assignor, black_box(&partitions), black_box(&members), Defects::NONE));
            });
        }
        // A member in a hundred is gone, and as many have come.
        let first = assign(Assignor::Sticky, &partitions, &members, Defects::NONE);
        let mut changed = members.clone();
        for (m, member) in changed.iter_mut().enumerate() {
            if m % 100 == 0 {
                member.id = format!("newcomer-{m:04}");
            } else {
                (member.owned, member.generation) = (first[m].clone(), 1);
            }
        }
        group.bench_function(format!("cooperative-sticky/{shape}-subscriptions-changed"), |b| {
            let assignor = Assignor::CooperativeSticky;
            b.iter(|| assign(assignor, black_box(&partitions), black_box(&changed), Defects::NONE));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .without_plots();
    targets = assignors
}
criterion_main!(benches);
