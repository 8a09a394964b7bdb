//! Reads a stored backup as the restore would, without restoring it.

use std::collections::HashSet;

use futures::{FutureExt, StreamExt};

use super::super::{
    BackupContents, BackupSource, CheckDepth, DatabaseContents, PostgresError, StreamInfo, StreamKind, TableContents,
};
use super::{LogicalDriver, pump};
use crate::progress::{NoProgress, Phase, PhaseGuard};

/// The last words of pg_dumpall.
const GLOBALS_END: &str = "PostgreSQL database cluster dump complete";

/// Compares what the tools see in a backup with what was recorded.
pub(super) async fn check(
    driver: &LogicalDriver,
    source: &dyn BackupSource,
    contents: &BackupContents,
    depth: CheckDepth,
) -> Result<(), PostgresError> {
    for database in &contents.databases {
        let kind = StreamKind::Database { database: database.database.clone() };
        let stored = source.streams().iter().any(|stream| stream.number == database.stream && stream.kind == kind);
        if !stored {
            return Err(differs(&database.database, &format!("stream {} is not there", database.stream)));
        }
        check_list(driver, source, contents.dumped_with, database).await?;
        if depth == CheckDepth::Contents {
            check_contents(source, database).await?;
        }
    }
    let recorded: HashSet<u32> = contents.databases.iter().map(|database| database.stream).collect();
    for stream in source.streams() {
        match &stream.kind {
            StreamKind::Globals => check_globals(source, stream).await?,
            StreamKind::Database { database } if !recorded.contains(&stream.number) => {
                return Err(differs(database, &format!("stream {} is not recorded", stream.number)));
            }
            StreamKind::Database { .. } => {}
        }
    }
    Ok(())
}

/// Lets `pg_restore --list` read the table of contents.
async fn check_list(
    driver: &LogicalDriver,
    source: &dyn BackupSource,
    dumped_with: u32,
    database: &DatabaseContents,
) -> Result<(), PostgresError> {
    let program = driver.programs.find("pg_restore", dumped_with).await?;
    let running = driver.programs.invoke(&program.path).arguments(["--format=custom", "--list"]).spawn(true)?;
    let guard = PhaseGuard::start(&NoProgress, Phase::Verify, &database.database, None);
    let range = database.head_length().map(|end| 0..end);
    let stream = async { source.open(database.stream, range).await.map_err(PostgresError::Source) }.boxed();
    let fed = pump::feed(running, [stream], &guard).await?;
    fed.end?;
    let list = String::from_utf8_lossy(&fed.output);
    let count = list.lines().find_map(|line| line.strip_prefix(";     TOC Entries: "));
    if count.and_then(|count| count.trim().parse().ok()) != Some(database.toc_entries) {
        let found = count.unwrap_or("none");
        return Err(differs(&database.database, &format!("{found} entries, recorded are {}", database.toc_entries)));
    }
    let listed: HashSet<i32> = list.lines().filter_map(|line| line.split_once(';')?.0.parse().ok()).collect();
    match database.tables.iter().find(|table| !listed.contains(&table.dump_id)) {
        Some(table) => {
            let text = format!("the data of {}.{} (entry {}) is not listed", table.schema, table.name, table.dump_id);
            Err(differs(&database.database, &text))
        }
        None => Ok(()),
    }
}

/// Reads every row.
async fn check_contents(source: &dyn BackupSource, database: &DatabaseContents) -> Result<(), PostgresError> {
    let guard = PhaseGuard::start(&NoProgress, Phase::Verify, &database.database, None);
    let stream = source.open(database.stream, None).await.map_err(PostgresError::Source)?;
    let archive = pump::scan(stream, &guard).await?;
    if archive.head.entries.len() as u64 != database.toc_entries {
        let text = format!("{} entries, recorded are {}", archive.head.entries.len(), database.toc_entries);
        return Err(differs(&database.database, &text));
    }
    for (index, recorded) in database.tables.iter().enumerate() {
        // Where the block may be parted is not in the archive.
        let recorded = &TableContents { cuts: Vec::new(), ..recorded.clone() };
        if archive.tables.get(index) != Some(recorded) {
            return Err(differs(&database.database, &format!("table {}.{}", recorded.schema, recorded.name)));
        }
    }
    match archive.tables.get(database.tables.len()) {
        Some(extra) => {
            Err(differs(&database.database, &format!("table {}.{} is not recorded", extra.schema, extra.name)))
        }
        None => Ok(()),
    }
}

async fn check_globals(source: &dyn BackupSource, stream: &StreamInfo) -> Result<(), PostgresError> {
    let mut chunks = source.open(stream.number, None).await.map_err(PostgresError::Source)?;
    let mut text = Vec::new();
    while let Some(chunk) = chunks.next().await {
        text.extend_from_slice(&chunk.map_err(PostgresError::Source)?);
        // Only the end is of interest.
        text.drain(..text.len().saturating_sub(4096));
    }
    if String::from_utf8_lossy(&text).contains(GLOBALS_END) {
        return Ok(());
    }
    Err(PostgresError::ContentsDiffer("the roles and tablespaces are cut short".to_owned()))
}

fn differs(database: &str, what: &str) -> PostgresError {
    PostgresError::ContentsDiffer(format!("database {database}: {what}"))
}
