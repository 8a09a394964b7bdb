//! Full and incremental backups and restores of one cluster, by both sides in turn. Whatever was measured is compared with the
//! cluster byte for byte: there is no ratio of something that failed.

use std::io;
use std::path::Path;

use erpgo_dr_benches::children::Usage;

use crate::changes::Change;
use crate::cluster::Cluster;
use crate::folders::{clear, compare_relations, make_some_pages_differ};
use crate::ours::Ours;
use crate::pgbackrest::PgBackRest;
use crate::side::Side;
use crate::start::compare_contents;
use crate::table::Table;

/// Measures all changes on both sides, and returns how long the peer's full backup before each of them took.
pub(crate) fn both(
    table: &mut Table,
    cluster: &Cluster,
    (ours, theirs): (&Ours, &PgBackRest),
    folder: &Path,
    round: usize,
) -> io::Result<Vec<f64>> {
    let mut their_fulls = Vec::new();
    for change in Change::ALL {
        cluster.settle()?;
        ours.begin()?;
        theirs.begin()?;
        let full = archived(cluster, || theirs.full())?;
        let our_full = ours.full()?;
        let (stored, our_stored) = (theirs.stored()?, ours.stored()?);
        table.add("full", theirs.name(), full, Some(stored));
        table.add("full", ours.name(), our_full, Some(our_stored));
        table.ratio("full_ratio", our_full.wall / full.wall);
        table.ratio("full_size_ratio", our_stored.bytes as f64 / stored.bytes as f64);
        if change == Change::Pages {
            restores(table, cluster, (ours, theirs), folder, round)?;
        }
        change.make(cluster, round);
        let incremental = archived(cluster, || theirs.incremental())?;
        let our_incremental = ours.incremental()?;
        let what = format!("incremental, {}", change.name());
        table.add(&what, theirs.name(), incremental, Some(theirs.stored()?.since(stored)));
        table.add(&what, ours.name(), our_incremental, Some(ours.stored()?.since(our_stored)));
        table.ratio(&format!("incr_{}_ratio", change.name()), our_incremental.wall / full.wall);
        for side in [theirs as &dyn Side, ours] {
            let usage = restore_and_compare(side, cluster, &folder.join("restored"))?;
            table.add(&format!("restore of that, {}", change.name()), side.name(), usage, None);
            clear(&folder.join("restored"))?;
        }
        their_fulls.push(full.wall);
    }
    Ok(their_fulls)
}

/// Measures ours on a cluster that keeps summaries of its WAL, beside the peer's full backups of another version.
pub(crate) fn ours_by_summaries(
    table: &mut Table,
    cluster: &Cluster,
    ours: &Ours,
    folder: &Path,
    (round, their_fulls): (usize, &[f64]),
) -> io::Result<()> {
    let name = format!("erpgo-dr on {}", cluster.server.major());
    for (change, their_full) in Change::ALL.into_iter().zip(their_fulls) {
        cluster.settle()?;
        ours.begin()?;
        let full = ours.full()?;
        let stored = ours.stored()?;
        table.add("full", &name, full, Some(stored));
        change.make(cluster, round);
        let usage = ours.incremental()?;
        let what = format!("incremental, {}", change.name());
        table.add(&what, &name, usage, Some(ours.stored()?.since(stored)));
        table.ratio(&format!("incr_{}_ratio_summaries", change.name()), usage.wall / their_full);
        restore_and_compare(ours, cluster, &folder.join("restored"))?;
        clear(&folder.join("restored"))?;
    }
    Ok(())
}

/// Restores the full backup, then once more over a folder in which some pages differ; the first time it also starts it.
fn restores(
    table: &mut Table,
    cluster: &Cluster,
    (ours, theirs): (&Ours, &PgBackRest),
    folder: &Path,
    round: usize,
) -> io::Result<()> {
    let restored = folder.join("restored");
    let mut walls = Vec::new();
    for side in [theirs as &dyn Side, ours] {
        let whole = restore_and_compare(side, cluster, &restored)?;
        make_some_pages_differ(&restored)?;
        let delta = side.restore(&restored, true)?;
        compare_relations(&cluster.server.data_dir(), &restored)?;
        if round == 0 {
            compare_contents(cluster, &restored, folder)?;
        }
        clear(&restored)?;
        table.add("restore", side.name(), whole, None);
        table.add("delta restore", side.name(), delta, None);
        walls.push((whole.wall, delta.wall));
    }
    table.ratio("restore_ratio", walls[1].0 / walls[0].0);
    table.ratio("delta_ratio", walls[1].1 / walls[0].1);
    Ok(())
}

fn restore_and_compare(side: &dyn Side, cluster: &Cluster, target: &Path) -> io::Result<Usage> {
    let usage = side.restore(target, false)?;
    compare_relations(&cluster.server.data_dir(), target)?;
    Ok(usage)
}

/// Does what the peer does while the cluster archives its WAL to it, which it waits for.
fn archived<T>(cluster: &Cluster, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    cluster.archive(true)?;
    // It asks for the segment before its own too.
    cluster.psql("SELECT pg_create_restore_point('before the backup')");
    cluster.wait_for_archiver()?;
    let done = work();
    cluster.archive(false)?;
    done
}
