//! Which blocks have changed, as the server's own summaries of its WAL tell (PostgreSQL 17 and later, `summarize_wal`).

use std::pin::pin;
use std::time::Duration;

use futures::TryStreamExt as _;
use tokio::time::Instant;

use super::super::PostgresError;
use super::super::connection::{Client, ConnectionSettings};
use super::super::wal::records::RelationFork;
use super::changed::ChangedBlocks;
use super::session::failed_query;
use crate::types::{Lsn, TimelineId};

/// How often is looked whether the summaries have come far enough.
const POLL: Duration = Duration::from_millis(20);

impl ChangedBlocks {
    /// Asks a server what changed on `timeline` from `from` up to `to`, as its summaries of its log tell; `None` when they do not, or not
    /// within `patience`.
    ///
    /// # Errors
    /// [`PostgresError::Connect`], [`PostgresError::Query`].
    pub async fn told_by(
        settings: &ConnectionSettings,
        timeline: TimelineId,
        (from, to): (Lsn, Lsn),
        patience: Duration,
    ) -> Result<Option<Self>, PostgresError> {
        let client = settings.connect().await?;
        let told = read(&client, timeline, (from, to), patience).await;
        client.close().await;
        told
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
        let (tablespace, database, number) = (row.get(0), row.get(1), row.get(2));
        let block = u32::try_from(row.get::<_, i64>(3)).unwrap_or(u32::MAX);
        let fork = RelationFork { tablespace, database, number, fork: RelationFork::MAIN };
        match (number, row.get(4)) {
            // All relations of the database: it was made or removed as a whole.
            (0, _) => changed.renew(tablespace, database),
            (_, true) => changed.cut(fork, block),
            (_, false) => changed.mark(fork, block),
        }
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
}
