//! Kills backups, prunes and repairs with SIGKILL at random moments, and looks at what they leave.
//!
//! `soak_crash [KILLS [SEED]]`. Each round starts one operation as a process of its own, on a real server and a repository
//! in a folder (in two folders, every other round), and kills it after a delay drawn over the whole time that
//! such an operation takes. Then the repository must be valid: it opens anew, its catalogue has no problem, and the MACs
//! of every listed backup are right. No backup may be lost: a backup is known from the moment its process has said
//! that it is committed or that it was seen listed, and only a prune may remove it, if its policy expires it. The next
//! backup must succeed, and a prune without grace must leave nothing that belongs to no backup.

#![forbid(unsafe_code)]

mod checks;
mod job;
mod site;
mod soak;

use std::error::Error;
use std::io::{self, Write};

use crate::soak::Soak;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if arguments.first().is_some_and(|word| word == job::WORKER) {
        return runtime.block_on(job::work());
    }
    let kills = arguments.first().map_or(Ok(24), |text| text.parse())?;
    let seed = arguments.get(1).map_or_else(erpgo_dr_benches::random::seed_of_now, |text| text.parse())?;
    let mut out = io::stdout();
    writeln!(out, "seed {seed}")?;
    let mut soak = Soak::begin(&runtime, seed)?;
    while soak.tally.kills < kills {
        soak.round(&runtime)?;
    }
    let tally = &soak.tally;
    for (operation, count) in &tally.kills_by_operation {
        writeln!(out, "kills_of_{operation} {count}")?;
    }
    writeln!(out, "runs_that_ended_first {}", tally.ended_first)?;
    writeln!(out, "kills {}", tally.kills)?;
    writeln!(out, "invalid_repositories {}", tally.invalid)?;
    writeln!(out, "lost_backups {}", tally.lost)?;
    if tally.invalid + tally.lost > 0 {
        return Err(format!("a crash did harm: run again with the seed {seed} to see it again").into());
    }
    Ok(())
}
