//! A session that reads tables as pg_dump's own session would.

use futures::StreamExt as _;
use tokio::sync::mpsc;

use super::super::super::archive::{BlockExtent, BlockWriter};
use super::super::super::connection::Client;
use super::super::super::{ConnectionSettings, PostgresError, SegmentSink, quoting};
use super::copy::{Wanted, store};
use super::plan::Segment;

/// What pg_dump sets (`setup_connection`), what we set for pg_dump, and that ranges of pages are read as such.
const SETTINGS: &str = "
    SELECT pg_catalog.set_config('search_path', '', false);
    SET DateStyle = ISO;
    SET IntervalStyle = postgres;
    SET extra_float_digits = 3;
    SET bytea_output = hex;
    SET TimeZone = 'UTC';
    SET synchronize_seqscans = off;
    SET row_security = off;
    SET statement_timeout = 0;
    SET lock_timeout = 0;
    SET idle_in_transaction_session_timeout = 0;
    SET enable_seqscan = off;
    SET max_parallel_workers_per_gather = 0;
    SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name = 'transaction_timeout'";

/// A session in the snapshot of a dump.
#[derive(Debug)]
pub(super) struct Reader {
    client: Client,
}

impl Reader {
    /// Connects, takes over the snapshot and locks the tables.
    pub(super) async fn connect(
        settings: &ConnectionSettings,
        snapshot: &str,
        lock: &str,
    ) -> Result<Self, PostgresError> {
        let client = settings.connect().await?;
        client.batch_execute(SETTINGS).await.map_err(client.query_error("prepare a session for reading tables"))?;
        let begin = format!(
            "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET TRANSACTION SNAPSHOT {}",
            quoting::literal(snapshot)
        );
        client.batch_execute(&begin).await.map_err(client.query_error("take over a snapshot"))?;
        client.batch_execute(lock).await.map_err(client.query_error("lock the tables"))?;
        Ok(Self { client })
    }

    /// Reads a segment into `sink`, and returns where in it the rows of each part lie.
    pub(super) async fn read(
        &self,
        segment: &Segment,
        wanted: &Wanted,
        sink: &mut dyn SegmentSink,
        progress: &mpsc::Sender<u64>,
    ) -> Result<Vec<BlockExtent>, PostgresError> {
        let mut writer = BlockWriter::default();
        let mut extents = Vec::with_capacity(segment.len());
        for part in segment {
            let table = &wanted.tables[part.table];
            writer.begin(part.is_first().then(|| wanted.dump_ids[part.table]));
            let action = format!("read table {}.{}", table.schema, table.name);
            let failed = |error| self.client.query_error(&action)(error);
            let rows = self.client.copy_out(&table.copy_statement(part.first, part.end)).await;
            let mut rows = std::pin::pin!(rows.map_err(failed)?);
            while let Some(row) = rows.next().await {
                if let Some(data) = writer.push(&row.map_err(failed)?)? {
                    store(sink, data, progress).await?;
                }
            }
            extents.push(writer.end(part.is_last())?);
        }
        store(sink, writer.take(), progress).await?;
        Ok(extents)
    }

    /// Ends the session.
    pub(super) async fn close(self) {
        // A server that is gone has ended it already.
        let _ = self.client.batch_execute("COMMIT").await;
        self.client.close().await;
    }
}
