//! Loses the database's host at random moments while `wal stream` is its synchronous standby, and looks whether an acknowledged commit is lost.
//!
//! `soak_rpo [KILLS [SEED]]`. Several sessions commit all the while, and what the server acknowledged is kept outside. Then the server is
//! killed with SIGKILL, at times the stream with it or before it, and its data directory is removed. What the repository and, where
//! the stream only promised that, the stream's folder have is restored and started: every acknowledged commit must be there. The
//! restored server is the next one to be lost. Build `erpgo-dr` first.

#![forbid(unsafe_code)]

mod soak;
mod writers;

use std::error::Error;
use std::io::{self, Write};

use erpgo_dr_benches::random::seed_of_now;

use crate::soak::Soak;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let kills = arguments.first().map_or(Ok(10), |text| text.parse())?;
    let seed = arguments.get(1).map_or_else(seed_of_now, |text| text.parse())?;
    let mut out = io::stdout();
    writeln!(out, "seed {seed}")?;
    let mut soak = Soak::begin(seed)?;
    while soak.tally.kills < kills {
        soak.round()?;
    }
    let tally = &soak.tally;
    for finding in &tally.findings {
        writeln!(out, "LOST {finding}")?;
    }
    writeln!(out, "kills_with_stream {}", tally.with_stream)?;
    writeln!(out, "kills_durable_in_repository {}", tally.in_repository)?;
    writeln!(out, "kills {}", tally.kills)?;
    writeln!(out, "acknowledged_commits {}", tally.acknowledged)?;
    writeln!(out, "lost {}", tally.lost)?;
    if tally.lost > 0 || !tally.findings.is_empty() {
        return Err(format!("an acknowledged commit is lost: run again with the seed {seed}").into());
    }
    Ok(())
}
