//! Has one agent look after many clusters, and prints how much memory it takes and what it does too late.
//!
//! `bench_fleet [CLUSTERS [MINUTES]]`, by default 200 and 10. Databases of one server stand for the clusters, every fiftieth of them large; each has a
//! repository and a configuration of its own, with a backup and a check every five minutes and a prune every ten. A backup is late when it
//! begins more than a minute behind the moment that its schedule and its jitter allow, or does not begin at all. Metrics and the page are
//! asked for all the while. Memory counts once every cluster has been backed up once: `rss_growth_mb` is what is added after that.

#![forbid(unsafe_code)]

mod stage;
mod tally;

use std::error::Error;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use erpgo_dr_benches::children::memory;
use erpgo_dr_benches::measure::median;
use rustix::process::{Pid, Signal, kill_process};

use crate::stage::Stage;
use crate::tally::Tally;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// How often it is looked how much memory the agent has.
const LOOK: Duration = Duration::from_secs(1);
/// Looks of which the median is taken, at the beginning and at the end.
const LOOKS: usize = 60;

fn main() -> Outcome<()> {
    let numbers = std::env::args().skip(1).map(|text| text.parse()).collect::<Result<Vec<u64>, _>>()?;
    let clusters = numbers.first().copied().unwrap_or(200);
    let minutes = numbers.get(1).copied().unwrap_or(10);
    let mut out = io::stdout();
    let stage = Stage::set(clusters)?;
    writeln!(out, "{clusters} clusters, {}", stage.size())?;
    let mut agent = stage.start()?;
    let id = agent.id();
    let all_once = until_all_once(&stage, id)?;
    writeln!(out, "each backed up once after {:.0} s", all_once.as_secs_f64())?;
    let (began, mut looks) = (Instant::now(), Vec::new());
    while began.elapsed() < Duration::from_secs(minutes * 60) {
        std::thread::sleep(LOOK);
        looks.push(memory(id, "VmRSS:").ok_or("the agent has ended: see its log")? as f64);
        if looks.len().is_multiple_of(LOOKS / 2) {
            stage.ask()?;
        }
    }
    let peak = memory(id, "VmHWM:").ok_or("the agent has ended: see its log")?;
    kill_process(Pid::from_child(&agent), Signal::TERM)?;
    let status = agent.wait()?;
    let tally = Tally::of(&stage)?;
    let (first, last) = (&looks[..LOOKS.min(looks.len())], &looks[looks.len().saturating_sub(LOOKS)..]);
    let growth = median(last.to_vec()) - median(first.to_vec());
    for finding in &tally.findings {
        writeln!(out, "LATE {finding}")?;
    }
    writeln!(out, "clusters {clusters}")?;
    writeln!(out, "backups {}", tally.backups)?;
    writeln!(out, "failed_backups {}", tally.failed)?;
    writeln!(out, "late_backups {}", tally.findings.len())?;
    writeln!(out, "longest_delay_seconds {:.0}", tally.longest_delay)?;
    writeln!(out, "peak_rss_mb {:.0}", peak as f64 / f64::from(1 << 20))?;
    writeln!(out, "rss_growth_mb {:.1}", growth / f64::from(1 << 20))?;
    match status.success() && tally.failed == 0 {
        true => Ok(()),
        false => Err(format!("the agent ended with {status}: {}", stage.log_end()).into()),
    }
}

/// Waits until each cluster has a backup.
fn until_all_once(stage: &Stage, id: u32) -> Outcome<Duration> {
    let began = Instant::now();
    while !stage.has_backups() {
        if memory(id, "VmRSS:").is_none() {
            return Err(format!("the agent has ended: {}", stage.log_end()).into());
        }
        std::thread::sleep(LOOK);
    }
    Ok(began.elapsed())
}
