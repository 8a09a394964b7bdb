//! Where items come from, and how their bytes are read.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::collect::Item;
use super::facts::FACTS;
use super::options::EvidenceOptions;
use crate::postgres::{Client, Invocation, PostgresError};

/// How much is read at once, in bytes.
const CHUNK: usize = 1 << 20;

/// Where an item comes from.
pub(super) enum Source<'o> {
    /// The rows of a query, as CSV.
    Rows { query: String },
    /// A table, as CSV.
    Table { name: &'o str },
    /// The log that the server writes at the moment.
    ServerLog,
    /// What a program writes to standard output.
    Program { line: &'o [String], environment: &'o [(OsString, OsString)] },
    /// A file.
    File { path: &'o Path },
}

/// An item that is to be collected.
pub(super) struct Wanted<'o> {
    /// Its name in the bundle, without its number: of letters that every file system takes.
    pub(super) name: String,
    /// What it is, for people.
    pub(super) what: String,
    pub(super) source: Source<'o>,
}

/// Why an item is not whole.
pub(super) enum Failure {
    /// Its source failed: the others are collected all the same.
    Source(String),
    /// The repository failed.
    Store(super::super::Error),
}

impl From<PostgresError> for Failure {
    fn from(error: PostgresError) -> Self {
        Self::Source(crate::causes::chain(&error))
    }
}

/// Lists what the options ask for, what changes fastest first.
pub(super) fn wanted(options: &EvidenceOptions) -> Vec<Wanted<'_>> {
    let mut wanted = Vec::new();
    if options.server.is_some() {
        for (name, query) in FACTS {
            let source = Source::Rows { query: query.to_owned() };
            wanted.push((format!("{name}.csv"), format!("the server's {}", name.replace('-', " ")), source));
        }
        for name in &options.tables {
            wanted.push((format!("{name}.csv"), format!("the table {name}"), Source::Table { name }));
        }
        for (name, query) in &options.queries {
            let what = format!("the rows of {query}");
            wanted.push((format!("{name}.csv"), what, Source::Rows { query: query.clone() }));
        }
        wanted.push(("server.log".to_owned(), "the server's log".to_owned(), Source::ServerLog));
    }
    for (name, line) in &options.programs {
        let source = Source::Program { line, environment: &options.environment };
        wanted.push((format!("{name}.txt"), format!("the output of {}", line.join(" ")), source));
    }
    for path in &options.files {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        wanted.push((name, format!("the file {}", path.display()), Source::File { path }));
    }
    wanted.into_iter().map(|(name, what, source)| Wanted { name: safe(&name), what, source }).collect()
}

/// Makes a name that is one on every file system, and in no list of sums anything but a name.
fn safe(name: &str) -> String {
    let kept = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' };
    name.trim_start_matches('.').chars().map(kept).take(100).collect()
}

impl Source<'_> {
    /// Reads all of it into an item.
    pub(super) async fn pour(&self, client: Option<&Client>, item: &mut Item) -> Result<(), Failure> {
        match self {
            Self::Rows { query } => copy(connected(client)?, query, item).await,
            Self::Table { name } => {
                let client = connected(client)?;
                let query = "SELECT pg_catalog.to_regclass($1)::pg_catalog.text";
                let found = client.query_one(query, &[name]).await.map_err(client.query_error("look for a table"))?;
                let found: Option<String> = found.get(0);
                let found = found.ok_or_else(|| Failure::Source("there is no such table".to_owned()))?;
                copy(client, &format!("SELECT * FROM {found}"), item).await
            }
            Self::ServerLog => server_log(connected(client)?, item).await,
            Self::Program { line, environment } => program(line, environment, item).await,
            Self::File { path } => {
                let failed = |error: std::io::Error| Failure::Source(error.to_string());
                let file = tokio::fs::File::open(path).await.map_err(failed)?;
                read(file, item).await
            }
        }
    }
}

fn connected(client: Option<&Client>) -> Result<&Client, Failure> {
    client.ok_or_else(|| Failure::Source("the server could not be asked".to_owned()))
}

/// Copies the rows of a query. A failure of it leaves the transaction usable.
async fn copy(client: &Client, query: &str, item: &mut Item) -> Result<(), Failure> {
    let failed = || client.query_error("copy rows");
    client.batch_execute("SAVEPOINT item").await.map_err(failed())?;
    let query = query.trim().trim_end_matches(';');
    let copied = async {
        let rows = client.copy_out(&format!("COPY ({query}) TO STDOUT (FORMAT csv, HEADER)")).await.map_err(failed())?;
        let mut rows = std::pin::pin!(rows);
        let mut gathered = BytesMut::with_capacity(CHUNK);
        while let Some(row) = rows.try_next().await.map_err(failed())? {
            gathered.extend_from_slice(&row);
            if gathered.len() >= CHUNK {
                item.write(gathered.split().freeze()).await?;
            }
        }
        item.write(gathered.freeze()).await
    };
    let copied = copied.await;
    let end = if copied.is_ok() { "RELEASE SAVEPOINT item" } else { "ROLLBACK TO SAVEPOINT item" };
    let ended = client.batch_execute(end).await.map_err(failed());
    copied?;
    Ok(ended?)
}

async fn server_log(client: &Client, item: &mut Item) -> Result<(), Failure> {
    let failed = || client.query_error("read the server's log");
    let path: Option<String> = {
        client.batch_execute("SAVEPOINT item").await.map_err(failed())?;
        let asked = client.query_one("SELECT pg_catalog.pg_current_logfile()", &[]).await.map_err(failed());
        if asked.is_err() {
            client.batch_execute("ROLLBACK TO SAVEPOINT item").await.map_err(failed())?;
        }
        asked?.get(0)
    };
    let Some(path) = path else {
        let reason = "the server writes its log to where it cannot be read over a connection: collect it as a file, or by a program";
        return Err(Failure::Source(reason.to_owned()));
    };
    let mut from = 0_i64;
    loop {
        let query = "SELECT pg_catalog.pg_read_binary_file($1, $2, $3)";
        let piece = client.query_one(query, &[&path, &from, &(CHUNK as i64)]).await.map_err(failed());
        if piece.is_err() {
            client.batch_execute("ROLLBACK TO SAVEPOINT item").await.map_err(failed())?;
        }
        let piece: Vec<u8> = piece?.get(0);
        let read = piece.len();
        item.write(piece.into()).await?;
        from += read as i64;
        if read < CHUNK {
            return Ok(());
        }
    }
}

async fn program(line: &[String], environment: &[(OsString, OsString)], item: &mut Item) -> Result<(), Failure> {
    let Some((name, arguments)) = line.split_first() else {
        return Err(Failure::Source("no program is named".to_owned()));
    };
    let mut invocation = Invocation::new(&PathBuf::from(name)).arguments(arguments);
    for (name, value) in environment {
        invocation = invocation.variable(name, value);
    }
    let mut running = invocation.spawn(false)?;
    if let Some(stdout) = running.take_stdout() {
        read(stdout, item).await?;
    }
    running.finish().await?;
    Ok(())
}

async fn read(mut from: impl AsyncRead + Unpin, item: &mut Item) -> Result<(), Failure> {
    loop {
        let mut chunk = BytesMut::with_capacity(CHUNK);
        let read = from.read_buf(&mut chunk).await.map_err(|error| Failure::Source(error.to_string()))?;
        if read == 0 {
            return Ok(());
        }
        item.write(Bytes::from(chunk)).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_files_and_nothing_else() {
        assert_eq!(safe("security.events.csv"), "security.events.csv");
        assert_eq!(safe("../../etc/pass wd\n"), "_.._etc_pass_wd_");
        assert_eq!(safe("\u{e4}"), "_");
    }
}
