//! Which blocks have changed, as the server's own summaries of its WAL tell (PostgreSQL 17 and later, `summarize_wal`).
//!
//! Source: `src/backend/backup/basebackup_incremental.c` of PostgreSQL, which decides by the same facts. Two forks are not
//! taken from there: the free space map is not fully logged, and changes of a visibility map come under its heap's blocks.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::time::Duration;

use futures::TryStreamExt as _;
use roaring::RoaringBitmap;
use tokio::time::Instant;

use super::super::PostgresError;
use super::super::connection::Client;
use super::relation_file::RelationFile;
use super::session::failed_query;
use crate::types::{Lsn, TimelineId};

/// How often is looked whether the summaries have come far enough.
const POLL: Duration = Duration::from_millis(20);

/// Blocks of relations that may have changed between two positions.
#[derive(Debug, Default)]
pub struct ChangedBlocks {
    relations: HashMap<Relation, Changes>,
    /// Tablespaces and databases whose files were all made anew.
    databases: HashSet<(u32, u32)>,
}

/// Tablespace, database, file number.
type Relation = (u32, u32, u32);

#[derive(Debug, Default)]
struct Changes {
    blocks: RoaringBitmap,
    /// The relation was made, or cut off, at this block: all from here on are new.
    limit: Option<u32>,
}

impl ChangedBlocks {
    /// Returns which blocks of a file may have changed, counted from its beginning; `None` where that is not known, and the
    /// file is to be compared.
    pub fn of_file(&self, file: &RelationFile<'_>, pages_per_file: u32) -> Option<RoaringBitmap> {
        let (tablespace, database) = (file.tablespace(), file.database());
        if !file.fork.is_empty() || file.temporary || self.databases.contains(&(tablespace, database)) {
            return None;
        }
        let Some(changes) = self.relations.get(&(tablespace, database, file.number)) else {
            return Some(RoaringBitmap::new());
        };
        let first = file.first_block(pages_per_file);
        let end = first.saturating_add(pages_per_file);
        let mut blocks: RoaringBitmap = changes.blocks.range(first..end).map(|block| block - first).collect();
        if let Some(limit) = changes.limit.filter(|limit| *limit < end) {
            blocks.insert_range(limit.saturating_sub(first)..pages_per_file);
        }
        Some(blocks)
    }

    fn add(&mut self, relation: Relation, block: u32, is_limit: bool) {
        if relation.2 == 0 {
            self.databases.insert((relation.0, relation.1));
            return;
        }
        let changes = self.relations.entry(relation).or_default();
        match is_limit {
            true => changes.limit = Some(changes.limit.map_or(block, |limit| limit.min(block))),
            false => _ = changes.blocks.insert(block),
        }
    }
}

/// Reads what changed on `timeline` from `from` up to `to`, once the server has summarized so far; `None` when it does not
/// summarize, has no summaries any more, or gets no further within `patience`.
pub(super) async fn read(
    client: &Client,
    timeline: TimelineId,
    (from, to): (Lsn, Lsn),
    patience: Duration,
) -> Result<Option<ChangedBlocks>, PostgresError> {
    let row = client.query_one("SELECT current_setting('summarize_wal', true) = 'on'", &[]).await;
    let row = row.map_err(failed_query(client, "ask for summaries of the log"))?;
    if row.get::<_, Option<bool>>(0) != Some(true) {
        return Ok(None);
    }
    if from > to || !wait_until_covered(client, timeline, (from, to), patience).await? {
        tracing::info!(server = client.server(), %from, %to, "the server has no complete summaries of its log");
        return Ok(None);
    }
    let failed = || failed_query(client, "read summaries of the log");
    let query = format!(
        "SELECT reltablespace, reldatabase, relfilenode, relblocknumber, is_limit_block
         FROM {AVAILABLE}, LATERAL pg_catalog.pg_wal_summary_contents(tli, start_lsn, end_lsn)
         WHERE relforknumber = 0"
    );
    let parameters = parameters(timeline, from, to);
    let rows = client.query_raw(&query, parameters).await.map_err(failed())?;
    let (mut rows, mut changed) = (pin!(rows), ChangedBlocks::default());
    while let Some(row) = rows.try_next().await.map_err(failed())? {
        let block = u32::try_from(row.get::<_, i64>(3)).unwrap_or(u32::MAX);
        changed.add((row.get(0), row.get(1), row.get(2)), block, row.get(4));
    }
    // One that was removed meanwhile would be missing in what was read.
    let is_covered = wait_until_covered(client, timeline, (from, to), Duration::ZERO).await?;
    Ok(is_covered.then_some(changed))
}

/// The summaries that tell of a stretch of the log; its positions come as numbers, and so does the timeline.
const AVAILABLE: &str = "(SELECT tli, start_lsn, end_lsn FROM pg_catalog.pg_available_wal_summaries()
    WHERE tli = $1 AND end_lsn > $2::text::pg_lsn AND start_lsn < $3::text::pg_lsn)";

fn parameters(timeline: TimelineId, from: Lsn, to: Lsn) -> [Box<dyn postgres_types::ToSql + Sync + Send>; 3] {
    [Box::new(i64::from(timeline.get())), Box::new(from.to_string()), Box::new(to.to_string())]
}

async fn wait_until_covered(
    client: &Client,
    timeline: TimelineId,
    (from, to): (Lsn, Lsn),
    patience: Duration,
) -> Result<bool, PostgresError> {
    let query =
        format!("SELECT start_lsn::text AS first, end_lsn::text AS last FROM {AVAILABLE} ORDER BY start_lsn, end_lsn");
    let deadline = Instant::now() + patience;
    loop {
        let rows = client.query_raw(&query, parameters(timeline, from, to)).await;
        let rows = rows.map_err(failed_query(client, "list summaries of the log"))?;
        let rows: Vec<tokio_postgres::Row> =
            rows.try_collect().await.map_err(failed_query(client, "list summaries of the log"))?;
        let parse = |text: &str| text.parse::<Lsn>().unwrap_or(Lsn(0));
        let ranges: Vec<(Lsn, Lsn)> = rows.iter().map(|row| (parse(row.get(0)), parse(row.get(1)))).collect();
        match covered(&ranges, from) {
            // Nothing that comes later fills a hole.
            Some(end) if end < to && Instant::now() < deadline => tokio::time::sleep(POLL).await,
            Some(end) => return Ok(end >= to),
            None => return Ok(false),
        }
    }
}

/// Returns how far ranges, in order of their beginnings, reach without a gap from `from` on; `None` when there is a gap, or none
/// of them begins there.
///
/// A backup begins at a checkpoint, and so does a summary. Where the server's own history has no checkpoint at that position, it
/// is another history than the backup's, as after a snapshot of its disk was put back.
fn covered(ranges: &[(Lsn, Lsn)], from: Lsn) -> Option<Lsn> {
    if !ranges.is_empty() && !ranges.iter().any(|(start, _)| *start == from) {
        return None;
    }
    let reach = |end: Lsn, (start, next): &(Lsn, Lsn)| (*start <= end).then(|| end.max(*next));
    ranges.iter().try_fold(from, reach)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_reach_as_far_as_they_touch() {
        let covered = |ranges: &[(u64, u64)], from| {
            let ranges: Vec<_> = ranges.iter().map(|(start, end)| (Lsn(*start), Lsn(*end))).collect();
            covered(&ranges, Lsn(from)).map(|end| end.0)
        };
        assert_eq!(covered(&[], 10), Some(10), "what is not there yet may still come");
        assert_eq!(covered(&[(10, 20), (20, 30)], 10), Some(30));
        assert_eq!(covered(&[(0, 20), (10, 15), (18, 30)], 10), Some(30));
        assert_eq!(covered(&[(10, 20), (21, 30)], 10), None);
        assert_eq!(covered(&[(0, 20), (20, 30)], 10), None, "another history");
        assert_eq!(covered(&[(11, 20)], 10), None, "the beginning is gone");
    }

    #[test]
    fn blocks_come_by_file_and_all_of_them_from_a_limit_on() {
        let mut changed = ChangedBlocks::default();
        for block in [3, 99, 100, 205] {
            changed.add((1663, 5, 400), block, false);
        }
        changed.add((1663, 5, 500), 120, true);
        changed.add((1663, 5, 500), 150, true);
        changed.add((1663, 5, 500), 7, false);
        changed.add((1663, 6, 0), 0, true);
        let of = |path| {
            let file = RelationFile::parse(path).unwrap();
            changed.of_file(&file, 100).map(|blocks| blocks.iter().collect::<Vec<_>>())
        };
        assert_eq!(of("base/5/400"), Some(vec![3, 99]));
        assert_eq!(of("base/5/400.1"), Some(vec![0]));
        assert_eq!(of("base/5/400.2"), Some(vec![5]));
        assert_eq!(of("base/5/400.3"), Some(vec![]));
        assert_eq!(of("base/5/500"), Some(vec![7]));
        assert_eq!(of("base/5/500.1"), Some((20..100).collect()));
        assert_eq!(of("base/5/500.2"), Some((0..100).collect()));
        assert_eq!(of("base/5/401"), Some(vec![]));
        for unknown in ["base/5/400_fsm", "base/5/400_vm", "base/5/400_init", "base/6/400", "base/5/t1_400"] {
            assert_eq!(of(unknown), None, "{unknown}");
        }
    }
}
