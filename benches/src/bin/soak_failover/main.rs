//! Breaks the primary of a pair again and again while it is watched, and looks whether there are two of it, or a commit is lost.
//!
//! `soak_failover [FAILOVERS [SEED]]`. Two PostgreSQL servers on hosts of their own, the standby synchronous; an application commits all
//! the while, through the server that a file names, and what was acknowledged is kept outside. `watch_primary` watches with the shipped
//! runbook `database-failure`. Each round breaks something: the primary is killed, its host is cut off, the disk of its log is full, its
//! data is damaged, its standby lags; or something from which no failover may come: the standby or the watch are cut off from a primary
//! that is well, or nothing can prove that a host is off. Each round ends with one primary that the application writes to; the old one
//! is rejoined by `pg_rewind` or a copy, and they change places. Hosts are network namespaces where that is allowed.

#![forbid(unsafe_code)]

mod fault;
mod monitor;
mod round;
mod soak;

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;

use erpgo_dr_benches::failover::{ON_HOST, carry_out};
use erpgo_dr_benches::measure::median;
use erpgo_dr_benches::random::seed_of_now;

use crate::soak::Soak;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, file, order] = arguments.as_slice()
        && word == ON_HOST
    {
        return Ok(carry_out(Path::new(file), order)?);
    }
    let failovers = arguments.first().map_or(Ok(3), |text| text.parse())?;
    let seed = arguments.get(1).map_or_else(seed_of_now, |text| text.parse())?;
    let mut out = io::stdout();
    writeln!(out, "seed {seed}")?;
    let mut soak = Soak::begin(seed)?;
    writeln!(out, "hosts {}", if soak.has_namespaces() { "namespaces" } else { "processes" })?;
    while soak.tally.seconds.len() < failovers {
        let (fault, outage) = soak.round().map_err(|error| format!("{error}; the seed is {seed}"))?;
        let came = outage.map_or_else(|| "no failover".to_owned(), |seconds| format!("failover in {seconds:.2} s"));
        writeln!(out, "{fault}: {came}")?;
    }
    let tally = soak.end();
    for finding in &tally.findings {
        writeln!(out, "WRONG {finding}")?;
    }
    for (fault, rounds) in &tally.rounds {
        writeln!(out, "rounds_{fault} {rounds}")?;
    }
    writeln!(out, "rejoined_by_rewind {}", tally.rewound)?;
    writeln!(out, "rejoined_by_copy {}", tally.copied)?;
    writeln!(out, "acknowledged_commits {}", tally.acknowledged)?;
    writeln!(out, "failovers {}", tally.seconds.len())?;
    writeln!(out, "split_brains {}", tally.split_brains)?;
    writeln!(out, "lost_acknowledged {}", tally.lost)?;
    writeln!(out, "median_seconds {:.2}", median(tally.seconds.clone()))?;
    if tally.split_brains > 0 || tally.lost > 0 || !tally.findings.is_empty() {
        return Err(format!("something is wrong: run again with the seed {seed}").into());
    }
    Ok(())
}
