//! Clocks and medians. A machine that others use too is measured by CPU time and in interleaved rounds.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Returns the CPU time of this thread, which does not run while others have the core.
pub fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Repeats `work`, which returns the bytes it did, for `duration`; returns bytes per second of CPU time.
pub fn cpu_throughput(duration: Duration, mut work: impl FnMut() -> usize) -> f64 {
    let (started, cpu) = (Instant::now(), thread_cpu_time());
    let mut bytes = 0;
    while started.elapsed() < duration {
        bytes += work();
    }
    bytes as f64 / (thread_cpu_time() - cpu).as_secs_f64()
}

/// Returns the middle one of `values`, or 0 where there are none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
