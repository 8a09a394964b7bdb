//! What a second core adds.
//!
//! Other work on the machine would only show as a core that was not there. So the rounds are short, and one
//! counts by the wall clock when each of its threads had a core of its own, which is when its CPU time is its
//! wall time. Where that never happens, each thread's rate is taken by its CPU time instead, and said so.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use erpgo_dr_benches::measure::{median, thread_cpu_time};
use erpgo_dr_benches::segments::{SEGMENT, Workload};

const ROUND: Duration = Duration::from_millis(3);
const SEGMENTS: usize = 64;
const ENOUGH: usize = 200;
const TOO_FEW: usize = 10;
/// Part of a round's wall time that a thread must have run for.
const UNDISTURBED: f64 = 0.95;

/// Throughput of one thread and of two together, in bytes per second, and how it was measured.
pub(crate) struct Scaling {
    pub(crate) one: f64,
    pub(crate) two: f64,
    pub(crate) clock: String,
}

/// Seals on one thread and on two by turns, for `longest` or until enough rounds were undisturbed.
pub(crate) fn measure(longest: Duration) -> Scaling {
    let started = Instant::now();
    let (mut one, mut two) = (Vec::new(), Vec::new());
    while started.elapsed() < longest && wall(&two).len() < ENOUGH {
        one.push(Round::run(1));
        two.push(Round::run(2));
    }
    let (one_wall, two_wall) = (wall(&one), wall(&two));
    if one_wall.len().min(two_wall.len()) >= TOO_FEW {
        let clock = format!("wall clock, median of {} undisturbed rounds", two_wall.len());
        return Scaling { one: median(one_wall), two: median(two_wall), clock };
    }
    let by_cpu = |rounds: &[Round]| median(rounds.iter().map(|round| round.cpu_rate).collect());
    let clock = "CPU time: the machine never had two cores free".to_owned();
    Scaling { one: by_cpu(&one), two: by_cpu(&two), clock }
}

fn wall(rounds: &[Round]) -> Vec<f64> {
    rounds.iter().filter_map(|round| round.wall_rate).collect()
}

/// Bytes per second of all threads of one round.
struct Round {
    /// From the first start to the last end, if no thread was disturbed.
    wall_rate: Option<f64>,
    /// The sum of each thread's, by its own CPU time.
    cpu_rate: f64,
}

impl Round {
    fn run(threads: usize) -> Self {
        let waiting = AtomicUsize::new(threads);
        let shares: Vec<Share> = thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| Share::work(&waiting))).collect();
            workers.into_iter().map(|worker| worker.join().expect("sealing does not panic")).collect()
        });
        let bytes: f64 = shares.iter().map(|share| share.bytes).sum();
        let span = shares.iter().map(|share| share.end).max().zip(shares.iter().map(|share| share.start).min());
        let seconds = span.map(|(end, start)| (end - start).as_secs_f64());
        let undisturbed = shares.iter().all(|share| Some(share.cpu) > seconds.map(|wall| UNDISTURBED * wall));
        Self {
            wall_rate: seconds.filter(|_| undisturbed).map(|seconds| bytes / seconds),
            cpu_rate: shares.iter().map(|share| share.bytes / share.cpu).sum(),
        }
    }
}

/// What one thread of a round did, and when.
struct Share {
    bytes: f64,
    start: Instant,
    end: Instant,
    cpu: f64,
}

impl Share {
    fn work(waiting: &AtomicUsize) -> Self {
        let mut work = Workload::new(SEGMENTS, SEGMENT);
        work.seal();
        waiting.fetch_sub(1, Ordering::AcqRel);
        // Spinning, not sleeping: a thread that sleeps here would start late.
        while waiting.load(Ordering::Acquire) > 0 {
            std::hint::spin_loop();
        }
        let (start, cpu) = (Instant::now(), thread_cpu_time());
        // Once at least: a thread that others push aside at once has no rate otherwise.
        let mut bytes = work.seal();
        while start.elapsed() < ROUND {
            bytes += work.seal();
        }
        let cpu = (thread_cpu_time() - cpu).as_secs_f64();
        Self { bytes: bytes as f64, start, end: Instant::now(), cpu }
    }
}
