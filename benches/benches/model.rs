//! Record batches and the log: 1,000 records of 100 bytes at a time.

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use klamm_benches::log::{Host, batch};
use klamm_model::record;
use std::hint::black_box;
use std::time::Duration;

const RECORDS: usize = 1_000;
const BYTES: usize = 100;

fn codec(c: &mut Criterion) {
    let bytes = batch(RECORDS, BYTES);
    let mut group = c.benchmark_group("batch");
    group.throughput(Throughput::Elements(RECORDS as u64));
    group.bench_function("encode", |b| b.iter(|| batch(black_box(RECORDS), BYTES)));
    group.bench_function("decode-iterate", |b| {
        b.iter(|| {
            let values = record::records(black_box(&bytes)).map(|r| r.expect("sound").value.map_or(0, <[u8]>::len));
            values.sum::<usize>()
        });
    });
    group.bench_function("header+crc", |b| b.iter(|| record::validate(black_box(&bytes)).expect("sound")));
    group.finish();
}

fn logs(c: &mut Criterion) {
    let bytes: Bytes = batch(RECORDS, BYTES);
    let mut group = c.benchmark_group("log");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("append", |b| {
        // A fresh log now and then: what is measured is an append, not a machine short of memory.
        b.iter_batched_ref(
            || (Host::new(), bytes.clone()),
            |(host, bytes)| (0..64).for_each(|_| host.append(bytes)),
            BatchSize::PerIteration,
        );
    });
    let mut host = Host::new();
    (0..160).for_each(|_| host.append(&bytes));
    let end = host.end();
    group.throughput(Throughput::Bytes(160 * bytes.len() as u64));
    group.bench_function("recovery", |b| {
        b.iter(|| {
            host.recover();
            assert_eq!(host.end(), end);
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .without_plots();
    targets = codec, logs
}
criterion_main!(benches);
