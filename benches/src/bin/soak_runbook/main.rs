//! Kills runs of the shipped runbooks with SIGKILL, resumes them, and compares what they leave with a run that nobody killed.
//!
//! `soak_runbook [KILLS [SEED]]`. Each round prepares a place (servers, a repository, a folder), runs one runbook as a process of its own
//! that kills itself as soon as an entry of its journal is durable, or some milliseconds later, resumes it in another process until it
//! completes, and looks at the place. The entries are gone through one after the other, so that enough kills hit each step of each.

#![forbid(unsafe_code)]

mod scenario;
mod soak;
mod worker;

use std::error::Error;
use std::io::{self, Write};

use crate::soak::Soak;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if arguments.first().is_some_and(|word| word == worker::WORKER) {
        return runtime.block_on(worker::work());
    }
    let kills: u64 = arguments.first().map_or(Ok(12), |text| text.parse())?;
    let seed = arguments.get(1).map_or_else(erpgo_dr_benches::random::seed_of_now, |text| text.parse())?;
    let mut out = io::stdout();
    writeln!(out, "seed {seed}")?;
    let mut soak = Soak::new(seed);
    while soak.tally.kills < kills {
        soak.round(&runtime)?;
    }
    let tally = &soak.tally;
    for (runbook, count) in &tally.kills_by_runbook {
        writeln!(out, "kills_of_{} {count}", runbook.replace('-', "_"))?;
    }
    writeln!(out, "kills {}", tally.kills)?;
    writeln!(out, "diverged {}", tally.diverged)?;
    if tally.diverged > 0 {
        return Err(format!("a resumed run left something else: run again with the seed {seed} to see it again").into());
    }
    Ok(())
}
