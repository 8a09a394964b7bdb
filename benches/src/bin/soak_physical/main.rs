//! Kills physical backups, prunes and the server itself with SIGKILL at random moments, and restores what is left.
//!
//! `soak_physical [KILLS [SEED]]`. A ledger is written all the while, and what the server acknowledged is kept outside. After
//! every few kills a backup is taken to its end and restored into a throwaway server, where every table and index is read
//! and the ledger must be whole: each entry that was acknowledged before the backup began, none twice, and the balances
//! their sums. Every backup that is listed must verify, whatever was killed. Build `erpgo-dr` first.

#![forbid(unsafe_code)]

mod ledger;
mod soak;

use std::error::Error;
use std::io::{self, Write};

use erpgo_dr_benches::random::seed_of_now;

use crate::soak::Soak;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let kills = arguments.first().map_or(Ok(20), |text| text.parse())?;
    let seed = arguments.get(1).map_or_else(seed_of_now, |text| text.parse())?;
    let mut out = io::stdout();
    writeln!(out, "seed {seed}")?;
    let mut soak = Soak::begin(seed)?;
    while soak.tally.kills < kills {
        soak.round()?;
    }
    soak.check_all()?;
    let tally = &soak.tally;
    for finding in &tally.findings {
        writeln!(out, "MISMATCH {finding}")?;
    }
    writeln!(out, "kills_of_backup {}", tally.backups)?;
    writeln!(out, "kills_of_server {}", tally.servers)?;
    writeln!(out, "kills_of_prune {}", tally.prunes)?;
    writeln!(out, "ledger_entries {}", soak.acknowledged())?;
    writeln!(out, "kills {}", tally.kills)?;
    writeln!(out, "restores_checked {}", tally.restores)?;
    writeln!(out, "mismatches {}", tally.findings.len())?;
    if !tally.findings.is_empty() {
        return Err(format!("what came back is not what was there: run again with the seed {seed}").into());
    }
    Ok(())
}
