//! Restores databases: first everything is checked, then the roles, then one database after the other.
//!
//! With one job, pg_restore reads the stream from its standard input. With several, the definitions come from
//! a file in memory that holds the archive's table of contents and no data; each of several pg_restore then
//! loads its share of the tables from a stream made of that same head and of only those tables' blocks, read
//! by their ranges; and one with as many jobs builds indexes and constraints. No plaintext reaches a disk.

mod clean;
mod existing;
mod globals;
mod load;
mod memory_file;
mod new_database;
mod plan;
mod statements;
mod target;

use super::super::programs::ClientProgram;
use super::super::{
    BackupContents, BackupSource, Client, DatabaseContents, PostgresError, RestoreOutcome, Scope, inspect,
};
use super::LogicalDriver;
use crate::progress::{Phase, PhaseGuard, Progress};

/// A restore that is under way.
struct Restore<'a> {
    driver: &'a LogicalDriver,
    program: ClientProgram,
    source: &'a dyn BackupSource,
    session: Client,
    server_major: u32,
    outcome: RestoreOutcome,
}

/// Restores what the driver's options ask for.
pub(super) async fn restore(
    driver: &LogicalDriver,
    source: &dyn BackupSource,
    contents: &BackupContents,
    progress: &dyn Progress,
) -> Result<RestoreOutcome, PostgresError> {
    driver.restore.validate()?;
    let targets = plan::targets(&driver.restore, contents)?;
    let session = driver.settings.connect().await?;
    let server_major = inspect::probe(&session).await?.major();
    let program = driver.programs.find("pg_restore", server_major.max(contents.dumped_with)).await?;
    let outcome = RestoreOutcome::new(Vec::new(), 0, Vec::new());
    let mut restore = Restore { driver, program, source, session, server_major, outcome };

    // Nothing is changed before everything that can be known beforehand has been checked.
    let mut states = Vec::with_capacity(targets.len());
    for target in &targets {
        states.push(restore.examine(target).await?);
    }
    if driver.restore.restore_globals {
        let guard = PhaseGuard::start(progress, Phase::Restore, "globals", None);
        restore.globals(&guard).await?;
        guard.finish();
    }
    for (target, state) in targets.iter().zip(states) {
        restore.database(target, state, progress).await?;
        restore.outcome.databases.push(target.name.clone());
    }
    restore.session.close().await;
    Ok(restore.outcome)
}

/// Returns whether a target holds something that the restore would drop.
pub(super) async fn replaces(driver: &LogicalDriver, contents: &BackupContents) -> Result<bool, PostgresError> {
    driver.restore.validate()?;
    if !driver.restore.clean {
        return Ok(false);
    }
    let inspector = driver.inspector();
    for target in plan::targets(&driver.restore, contents)? {
        if inspector.database_exists(&target.name).await? && inspector.count_user_objects(&target.name).await? > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Restore<'_> {
    /// Restores one database. If it was made for this, a failure drops it again, and so does being cancelled.
    async fn database(
        &mut self,
        target: &plan::Target<'_>,
        state: target::State,
        progress: &dyn Progress,
    ) -> Result<(), PostgresError> {
        let guard = PhaseGuard::start(progress, Phase::Restore, &target.name, self.stream_bytes(target.contents));
        let created = self.make_ready(target, &state).await?;
        let mut outcome = self.load(target, &state, &guard).await;
        if outcome.is_ok() && created.is_some() && self.driver.restore.scope != Scope::Data {
            outcome = self.apply_properties(target).await;
        }
        match (outcome, created) {
            (Err(error), Some(created)) => return Err(created.give_up(error).await),
            (Err(error), None) => return Err(error),
            (Ok(()), Some(created)) => created.keep(),
            (Ok(()), None) => {}
        }
        guard.finish();
        Ok(())
    }

    /// Returns the size of a database's stream, if all of it will be read.
    fn stream_bytes(&self, contents: &DatabaseContents) -> Option<u64> {
        let options = &self.driver.restore;
        if options.is_subset() || options.scope == Scope::Schema {
            return None;
        }
        let stream = self.source.streams().iter().find(|stream| stream.number == contents.stream);
        stream.map(|stream| stream.bytes)
    }
}
