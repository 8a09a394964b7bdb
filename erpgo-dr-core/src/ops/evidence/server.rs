//! What is read of a server: in one transaction that changes nothing, each item in a savepoint of its own.
//!
//! A server that somebody got into may lie. Names are looked up in `pg_catalog` alone, so that nobody's functions answer for it, and row
//! security that would hide rows is an error.

use std::time::Duration;

use bytes::BytesMut;
use futures::TryStreamExt as _;

use super::collect::Item;
use super::sources::{CHUNK, Failure};
use crate::postgres::{Client, ConnectionSettings, PostgresError};

/// How long a lock is waited for: whoever holds one for longer must not hold up the rest.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);

/// Log files that were written within so many days are collected.
const LOG_DAYS: i32 = 7;

/// A server in the transaction that it is read in.
pub(super) struct Server {
    client: Client,
    /// Where the role looks for what is named without a schema.
    search_path: String,
}

impl Server {
    /// Connects, and begins to read. A statement may take as long as `patience`.
    pub(super) async fn connect(settings: &ConnectionSettings, patience: Duration) -> Result<Self, PostgresError> {
        let client = settings.connect().await?;
        let failed = || client.query_error("begin to read");
        let path = client.query_one("SELECT pg_catalog.current_setting('search_path')", &[]).await.map_err(failed())?;
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL lock_timeout = {}; SET LOCAL statement_timeout = {}; \
             SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL row_security = off; \
             SET LOCAL search_path = pg_catalog, pg_temp",
            LOCK_PATIENCE.as_millis(),
            patience.as_millis()
        );
        client.batch_execute(&begin).await.map_err(failed())?;
        Ok(Self { search_path: path.get(0), client })
    }

    pub(super) async fn close(self) {
        self.client.close().await;
    }

    /// Copies the rows of a query of ours.
    pub(super) async fn facts(&self, query: &str, item: &mut Item) -> Result<(), Failure> {
        self.within_savepoint(async { self.copy(query, item).await }).await
    }

    /// Copies the rows of somebody's query, which sees names as the role does.
    pub(super) async fn rows(&self, query: &str, item: &mut Item) -> Result<(), Failure> {
        let query = query.trim().trim_end_matches(';');
        let copied = async {
            self.look_in(&self.search_path).await?;
            // Whatever is not one whole statement by itself is refused here: nothing can end the parenthesis that it is put into.
            self.client.prepare(query).await.map_err(self.client.query_error("read the query"))?;
            self.copy(query, item).await?;
            self.look_in("pg_catalog, pg_temp").await
        };
        self.within_savepoint(copied).await
    }

    /// Copies a table.
    pub(super) async fn table(&self, name: &str, item: &mut Item) -> Result<(), Failure> {
        let failed = || self.client.query_error("look for a table");
        let copied = async {
            self.look_in(&self.search_path).await?;
            let found = "SELECT pg_catalog.to_regclass($1)::pg_catalog.oid";
            let found = self.client.query_one(found, &[&name]).await.map_err(failed())?;
            self.look_in("pg_catalog, pg_temp").await?;
            let Some(oid) = found.get::<_, Option<u32>>(0) else {
                return Err(Failure::Source("there is no such table".to_owned()));
            };
            // With its schema, since that is nowhere looked for it now.
            let named = self.client.query_one("SELECT $1::oid::regclass::text", &[&oid]).await.map_err(failed())?;
            self.copy(&format!("SELECT * FROM {}", named.get::<_, String>(0)), item).await
        };
        self.within_savepoint(copied).await
    }

    /// Lists the log files that were written of late, by their paths; none where the server keeps none itself.
    pub(super) async fn log_files(&self) -> Result<Vec<String>, Failure> {
        let failed = || self.client.query_error("look for the server's log");
        let mut files = Vec::new();
        let listed = async {
            let writes = "SELECT pg_current_logfile() IS NOT NULL";
            if !self.client.query_one(writes, &[]).await.map_err(failed())?.get::<_, bool>(0) {
                return Ok(());
            }
            let query = "SELECT current_setting('log_directory') || '/' || name FROM pg_ls_logdir() \
                         WHERE modification > now() - make_interval(days => $1) ORDER BY modification";
            let found = self.client.query(query, &[&LOG_DAYS]).await.map_err(failed())?;
            files.extend(found.iter().map(|row| row.get::<_, String>(0)));
            Ok(())
        };
        self.within_savepoint(listed).await?;
        Ok(files)
    }

    /// Reads a file of the server.
    pub(super) async fn file(&self, path: &str, item: &mut Item) -> Result<(), Failure> {
        let failed = || self.client.query_error("read the server's log");
        let read = async {
            let mut from = 0_i64;
            loop {
                let query = "SELECT pg_read_binary_file($1, $2, $3)";
                let piece = self.client.query_one(query, &[&path, &from, &(CHUNK as i64)]).await.map_err(failed())?;
                let piece: Vec<u8> = piece.get(0);
                let read = piece.len();
                item.write(piece.into()).await?;
                from += read as i64;
                if read < CHUNK {
                    return Ok(());
                }
            }
        };
        self.within_savepoint(read).await
    }

    /// Does something of which a failure leaves the transaction as it was.
    async fn within_savepoint(&self, work: impl Future<Output = Result<(), Failure>> + Send) -> Result<(), Failure> {
        let failed = || self.client.query_error("set a savepoint");
        self.client.batch_execute("SAVEPOINT item").await.map_err(failed())?;
        let done = work.await;
        let end = if done.is_ok() { "RELEASE SAVEPOINT item" } else { "ROLLBACK TO SAVEPOINT item" };
        let ended = self.client.batch_execute(end).await.map_err(failed());
        done?;
        Ok(ended?)
    }

    async fn look_in(&self, search_path: &str) -> Result<(), Failure> {
        let query = "SELECT pg_catalog.set_config('search_path', $1, true)";
        self.client.execute(query, &[&search_path]).await.map_err(self.client.query_error("set the search path"))?;
        Ok(())
    }

    async fn copy(&self, query: &str, item: &mut Item) -> Result<(), Failure> {
        let failed = || self.client.query_error("copy rows");
        // The line break ends a comment that the query may end with.
        let statement = format!("COPY ({query}\n) TO STDOUT (FORMAT csv, HEADER)");
        let rows = self.client.copy_out(&statement).await.map_err(failed())?;
        let mut rows = std::pin::pin!(rows);
        let mut gathered = BytesMut::with_capacity(CHUNK);
        while let Some(row) = rows.try_next().await.map_err(failed())? {
            gathered.extend_from_slice(&row);
            if gathered.len() >= CHUNK {
                item.write(gathered.split().freeze()).await?;
            }
        }
        item.write(gathered.freeze()).await
    }
}
