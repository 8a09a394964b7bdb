//! Measures the time from the loss of a primary to the first commit behind it: ours beside Patroni's, by turns on the same machine.
//!
//! `bench_failover [ROUNDS]`. An application commits without a pause, and looks for the primary every 20 ms where there is none. A round
//! kills every process of the primary's host with SIGKILL, its agent too where it has one, and lets none of them come up again until
//! the application has written. That is a lost host: a server that only crashed is back within a second on both sides. Ours is
//! `runbook watch` with its defaults and the shipped runbook `database-failure`, whose restart of the primary is tried, and fails; the
//! application finds the primary in the file that it writes. Patroni works over etcd with the shortest `ttl` that it accepts, and the
//! application tries both of its servers. Both pairs are PostgreSQL 15 with a synchronous standby, all on loopback.

#![forbid(unsafe_code)]

mod ours;
mod patroni;

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;

use erpgo_dr_benches::failover::{ON_HOST, carry_out};
use erpgo_dr_benches::measure::median;
use erpgo_dr_testkit::patroni::TTL;
use erpgo_dr_testkit::postgres::give_to_postgres;
use tempfile::TempDir;

use crate::ours::Ours;
use crate::patroni::Patroni;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, file, order] = arguments.as_slice()
        && word == ON_HOST
    {
        return Ok(carry_out(Path::new(file), order)?);
    }
    let rounds: usize = arguments.first().map_or(Ok(5), |text| text.parse())?;
    let mut out = io::stdout();
    let folder = TempDir::with_prefix("erpgo-dr-bench-")?;
    give_to_postgres(folder.path());
    let mut ours = Ours::begin(folder.path())?;
    let mut patroni = Patroni::begin()?;
    let (mut of_ours, mut of_patroni) = (Vec::new(), Vec::new());
    writeln!(
        out,
        "measured: SIGKILL of all processes of the primary's host, which stay away, to the first commit behind it"
    )?;
    for round in 1..=rounds {
        of_ours.push(ours.round()?);
        of_patroni.push(patroni.round()?);
        writeln!(out, "round {round} ours {:.2} patroni {:.2}", of_ours[round - 1], of_patroni[round - 1])?;
    }
    for line in ours.last_journal()? {
        writeln!(out, "  {line}")?;
    }
    let lost = ours.lost() + patroni.lost();
    writeln!(out, "rounds {rounds}")?;
    writeln!(out, "patroni_ttl_s {TTL}")?;
    writeln!(out, "lost_acknowledged {lost}")?;
    writeln!(out, "ours_slowest_s {:.2}", slowest(&of_ours))?;
    writeln!(out, "patroni_slowest_s {:.2}", slowest(&of_patroni))?;
    writeln!(out, "ours_median_s {:.2}", median(of_ours))?;
    writeln!(out, "patroni_median_s {:.2}", median(of_patroni))?;
    match lost {
        0 => Ok(()),
        _ => Err("an acknowledged commit is lost".into()),
    }
}

fn slowest(times: &[f64]) -> f64 {
    times.iter().copied().fold(0.0, f64::max)
}
