//! Sealing and opening by segment length and number of threads, beside single streams of the same and AES-GCM.
//!
//! OpenSSL's own stitched cipher is measured by its `openssl speed`: see the `bench_crypto` program.

// `criterion_group!` makes a public function without a line of documentation.
#![allow(missing_docs)]

use std::thread;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use erpgo_dr_benches::peers;
use erpgo_dr_benches::segments::{SEGMENT, Workload};

/// Bytes that each thread works on in one iteration: long enough that starting a thread does not show.
const PER_THREAD: usize = 8 << 20;

fn ours(criterion: &mut Criterion) {
    for (name, step) in [("seal", Workload::seal as fn(&mut Workload) -> usize), ("open", Workload::open)] {
        let mut group = criterion.benchmark_group(name);
        for segment_len in [4 * 1024 - 16, SEGMENT, 64 * 1024 - 16] {
            for threads in [1, 2] {
                let mut works: Vec<_> =
                    (0..threads).map(|_| Workload::new(PER_THREAD / segment_len, segment_len)).collect();
                let bytes: usize = works.iter().map(Workload::bytes).sum();
                group.throughput(Throughput::Bytes(bytes as u64));
                group.bench_function(BenchmarkId::new(format!("{segment_len} B"), threads), |bencher| {
                    bencher.iter(|| in_parallel(&mut works, step));
                });
            }
        }
        group.finish();
    }
}

fn in_parallel(works: &mut [Workload], step: fn(&mut Workload) -> usize) {
    if let [work] = works {
        step(work);
        return;
    }
    thread::scope(|scope| {
        for work in works {
            scope.spawn(|| step(work));
        }
    });
}

fn others(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one stream");
    let mut buffer = vec![7; SEGMENT + 16];
    group.throughput(Throughput::Bytes(buffer.len() as u64));
    group.bench_function("cbc and hmac crates, seal", |b| b.iter(|| peers::naive_seal(&mut buffer)));
    group.bench_function("cbc and hmac crates, open", |b| b.iter(|| peers::naive_open(&mut buffer)));
    group.bench_function("AWS-LC EVP AES-256-CBC, then HMAC, seal", |b| b.iter(|| peers::evp_seal(&mut buffer)));
    group.bench_function("AWS-LC EVP AES-256-CBC after HMAC, open", |b| b.iter(|| peers::evp_open(&mut buffer)));
    group.bench_function("AWS-LC AES-256-GCM, seal", |b| b.iter(|| peers::gcm_seal(&mut buffer)));
    group.finish();
}

criterion_group!(benches, ours, others);
criterion_main!(benches);
