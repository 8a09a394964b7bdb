//! Runs the agent under load while its store and its database are killed and come back, and looks what it missed, leaked and told.
//!
//! `soak_agent [MINUTES [SEED]]`. The real `erpgo-dr agent` has short schedules over a PostgreSQL that pgbench works on, an S3 server
//! behind a proxy and a second place; `wal stream` archives the log. At random moments the store or the database is killed, stopped, cut off
//! or silent, and comes back. A web hook of ours, which refuses now and then, gets the alarms. Before and after that time the agent is told to rest (SIGHUP), and
//! what it holds open is counted: equal numbers, or it leaks. A moment of the schedule is missed when no run that ended well began behind it
//! within the window of attempts, and the time that other jobs may take, not counting outages.

#![forbid(unsafe_code)]

mod faults;
mod load;
mod missed;
mod rest;
mod sink;
mod soak;
mod stage;

use std::error::Error;
use std::io::{self, Write};
use std::time::Duration;

use erpgo_dr_benches::random::seed_of_now;

use crate::soak::Soak;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let minutes: u64 = arguments.first().map_or(Ok(10), |text| text.parse())?;
    let seed = arguments.get(1).map_or_else(seed_of_now, |text| text.parse())?;
    let mut out = io::stdout();
    writeln!(out, "seed {seed}")?;
    let mut soak = Soak::begin(seed)?;
    writeln!(out, "log {}", soak.log().display())?;
    let tally = soak.run(Duration::from_secs(minutes * 60)).map_err(|error| format!("{error}; the seed is {seed}"))?;
    for finding in &tally.findings {
        writeln!(out, "WRONG {finding}")?;
    }
    for (name, number) in &tally.numbers {
        writeln!(out, "{name} {number}")?;
    }
    writeln!(out, "rss_growth_mb {:.1}", tally.rss_growth_mb)?;
    match tally.findings.is_empty() {
        true => Ok(()),
        false => Err(format!("something is wrong: see the log, and run again with the seed {seed}").into()),
    }
}
