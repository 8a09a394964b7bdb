//! Backs a cluster up by `erpgo-dr` and by pgBackRest, in one run on one server, and prints the ratios.
//!
//! `bench_peers [GIGABYTES [ROUNDS]]`, by default 2 and 3. pgBackRest is Debian's 2.45, or the newer one that the variable
//! `PGBACKREST` names, then with bundles and block incremental. Both sides encrypt, compress by zstd at the same level with two
//! processes or threads, and keep their repository in the temporary folder. The cluster is PostgreSQL 15, the newest that 2.45
//! knows; what the server's summaries of its WAL are worth is shown on 17, over the peer's full backup on 15. Before each
//! incremental backup both begin anew with a full one. Each backup is restored and compared with the cluster.
//! Ours is the whole process with its defaults: all that it wrote is verified before it ends.

#![forbid(unsafe_code)]

mod as_postgres;
mod changes;
mod cluster;
mod context;
mod folders;
mod ours;
mod pgbackrest;
mod physical;
mod side;
mod start;
mod store;
mod table;
mod wal;

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;

use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::folders::Stored;
use crate::ours::Ours;
use crate::pgbackrest::PgBackRest;
use crate::side::Side;
use crate::table::Table;
use crate::wal::Segments;

/// zstd's level on both sides: our default.
const LEVEL: u32 = 3;
/// Processes of the peer; our threads are as many as there are cores.
const PROCESSES: u32 = 2;

fn main() -> Result<(), Box<dyn Error>> {
    if as_postgres::ran()? {
        return Ok(());
    }
    let mut arguments = std::env::args().skip(1);
    let gigabytes: f64 = arguments.next().map_or(Ok(2.0), |text| text.parse())?;
    let rounds: usize = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let folder = TempDir::with_prefix("erpgo-dr-bench-")?;
    let mut table = Table::default();
    let outcome = run(&mut table, gigabytes, rounds.max(1), folder.path());
    // What was measured before something failed is worth reading all the same.
    table.print(&mut io::stdout().lock())?;
    Ok(outcome?)
}

fn run(table: &mut Table, gigabytes: f64, rounds: usize, folder: &Path) -> io::Result<()> {
    let theirs = PgBackRest::new(&folder.join("pgbackrest"))?;
    let cluster = Cluster::make(15, gigabytes, folder, Some(&theirs.archive_command()));
    theirs.configure(&cluster)?;
    let ours = Ours::new(&folder.join("ours"), &cluster, "comparison")?;
    let summarized = Cluster::make(17, gigabytes, folder, None);
    let ours_summarized = Ours::new(&folder.join("ours-17"), &summarized, "summaries")?;
    let size = Stored::of(&cluster.server.data_dir().join("base"))?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}; zstd {LEVEL}; {:.2} GB in {} files", theirs.name(), size.bytes as f64 / 1e9, size.objects)?;
    for round in 0..rounds {
        let both = (&ours, &theirs);
        let their_fulls = physical::both(table, &cluster, both, folder, round)?;
        physical::ours_by_summaries(table, &summarized, &ours_summarized, folder, (round, &their_fulls))?;
        context::measure(table, &cluster, &ours, folder)?;
        writeln!(out, "round {} of {rounds} is done", round + 1)?;
    }
    store::measure(table, &cluster, folder, rounds)?;
    let segments = Segments::make(&cluster, &folder.join("wal"))?;
    (0..rounds).try_for_each(|_| wal::measure(table, &segments, (&ours, &theirs), folder))
}
