//! Dumps the rows of large tables over connections of their own, beside pg_dump and in its snapshot.
//!
//! What comes out is one archive all the same: pg_dump is told to leave the rows of these tables out, its table of contents
//! is given the entries that it would have had for them, and their blocks of data come behind those that pg_dump wrote. Only
//! tables are taken from it whose rows it would read by a plain `COPY`; whatever is odd stays with it.

mod copy;
mod patterns;
mod plan;
mod reader;
mod tables;

use self::copy::{Copying, Task, Wanted};
use self::reader::Reader;
use self::tables::Table;
use super::super::archive::{AddedData, SplicedHead, add_data};
use super::super::{BackupSink, ConnectionSettings, PostgresError, Scope, ServerInfo};
use super::LogicalDriver;
use super::snapshot::Snapshot;

/// From here on there are ranges of `ctid` that read nothing but their own pages, and all that the query for tables asks.
const OLDEST_MAJOR: u32 = 14;

/// Tables that are dumped beside pg_dump, locked in the dump's snapshot.
#[derive(Debug)]
pub(super) struct Parallel {
    jobs: usize,
    settings: ConnectionSettings,
    snapshot: String,
    lock: String,
    segment_bytes: Option<u64>,
    tables: Vec<Table>,
}

/// Connections in the snapshot of the dump.
#[derive(Debug)]
pub(super) struct Readers(Vec<Reader>);

impl Parallel {
    /// Chooses the tables, and locks them; `None` where there is nothing to gain.
    pub(super) async fn prepare(
        driver: &LogicalDriver,
        settings: &ConnectionSettings,
        server: &ServerInfo,
        snapshot: &Snapshot,
    ) -> Result<Option<Self>, PostgresError> {
        let options = &driver.dump;
        let Some(id) = snapshot.id() else { return Ok(None) };
        // The data of a dump of data alone has an order of its own: that of its foreign keys.
        if options.jobs < 2 || options.scope != Scope::Full || server.major() < OLDEST_MAJOR {
            return Ok(None);
        }
        let smallest = plan::smallest_table(options.segment_bytes);
        let excluded = patterns::name_expressions(&options.exclude_table_data);
        let tables = tables::choose(snapshot.client(), smallest, &excluded).await?;
        if tables.is_empty() {
            return Ok(None);
        }
        let lock = tables::lock_statement(&tables, options.lock_timeout);
        let client = snapshot.client();
        client.batch_execute(&lock).await.map_err(client.query_error("lock the tables"))?;
        Ok(Some(Self {
            jobs: options.jobs,
            settings: settings.clone(),
            snapshot: id.to_owned(),
            lock,
            segment_bytes: options.segment_bytes,
            tables,
        }))
    }

    /// Returns the patterns by which pg_dump leaves out the rows of the tables.
    pub(super) fn exclusions(&self) -> impl Iterator<Item = String> {
        self.tables.iter().map(|table| format!("--exclude-table-data={}", patterns::exact(&table.schema, &table.name)))
    }

    /// Opens the connections. They lock the tables too: later, a session that waits to change one would come first, and wait
    /// for the dump, as the dump would for it.
    pub(super) async fn connect(&self) -> Result<Readers, PostgresError> {
        let readers = (0..self.jobs).map(|_| Reader::connect(&self.settings, &self.snapshot, &self.lock));
        Ok(Readers(futures::future::try_join_all(readers).await?))
    }

    /// Adds to pg_dump's table of contents the entries for the rows of those tables that it defines.
    pub(super) fn splice(&self, head: &[u8]) -> Result<SplicedHead, PostgresError> {
        let added: Vec<AddedData> = self.tables.iter().map(Table::added_data).collect();
        add_data(head, &added)
    }

    /// Begins to copy the rows of the tables in `head` into segments of the stream that is open in `sink`.
    pub(super) async fn copy(
        self,
        readers: Readers,
        head: &SplicedHead,
        sink: &mut dyn BackupSink,
    ) -> Result<Copying, PostgresError> {
        let mut chosen: Vec<Option<Table>> = self.tables.into_iter().map(Some).collect();
        let (tables, dump_ids): (Vec<Table>, Vec<i32>) =
            head.added.iter().filter_map(|(place, id)| Some((chosen[*place].take()?, *id))).unzip();
        let mut tasks = Vec::new();
        for (number, segment) in plan::segments(&tables, self.jobs, self.segment_bytes).into_iter().enumerate() {
            let sink = sink.segment().await.map_err(PostgresError::Sink)?;
            tasks.push(Task { number, segment, sink });
        }
        Ok(Copying::start(readers.0, Wanted { tables, dump_ids }, tasks))
    }
}
