//! The newest restore point in a throwaway folder: what a drill with servers of its own begins with.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::ops::physical::{archived_end, restore_throwaway};
use crate::ops::restore_test::{ReplayTest, server_programs};
use crate::ops::{RestoreTestOptions, Result};
use crate::postgres::throwaway::{ThrowawayConnection, ThrowawayFolder, ThrowawayOptions};
use crate::postgres::{ConnectionSettings, DatabaseDriver as _, LogicalDriver, RestoreOptions, StreamKind};
use crate::progress::Progress;
use crate::repository::{Catalogue, CatalogueEntry, Manifest, Repository, RepositoryError};
use crate::types::BackupId;

/// What a drill would restore: the newest backup of the cluster, or of databases where there is none.
///
/// # Errors
/// [`RepositoryError::NoBackup`].
pub(crate) fn newest_restore_point(catalogue: &Catalogue) -> Result<&CatalogueEntry> {
    let newest = |physical: bool| {
        let of_kind = |entry: &&CatalogueEntry| entry.summary.is_physical() == physical && entry.details.is_some();
        catalogue.entries.iter().filter(of_kind).max_by_key(|entry| entry.summary.created)
    };
    newest(true).or_else(|| newest(false)).ok_or_else(|| RepositoryError::NoBackup("backup").into())
}

/// A cluster that came back, has recovered, and is down.
#[derive(Debug)]
pub(crate) struct RestoredCluster {
    /// Where it lies.
    pub(crate) folder: ThrowawayFolder,
    /// What it came from.
    pub(crate) backup: BackupId,
    /// The databases that came back.
    pub(crate) databases: Vec<String>,
    /// How a further folder beside it is made.
    pub(crate) throwaway: ThrowawayOptions,
}

/// Restores the newest restore point into a throwaway folder, with all of the log that is archived behind it, and lets it recover.
///
/// # Errors
/// As [`restore_test`](crate::ops::restore_test); what is wrong with the backup is one here.
pub(crate) async fn restore_newest(
    repository: &Repository,
    test: &RestoreTestOptions,
    archive: Option<&(String, Vec<(OsString, OsString)>)>,
    progress: &dyn Progress,
) -> Result<RestoredCluster> {
    let catalogue = repository.catalogue().await?;
    let entry = newest_restore_point(&catalogue)?;
    let manifest = repository.manifest(&entry.summary).await?;
    let programs: PathBuf = server_programs(&test.programs, "initdb", manifest.contents.server.major()).await?;
    let mut throwaway = ThrowawayOptions::new(programs, &test.scratch);
    if let Some(account) = test.run_as {
        throwaway = throwaway.run_as(account);
    }
    let (folder, databases) = match &manifest.physical {
        Some(physical) => {
            throwaway = throwaway.superuser(&physical.superuser);
            let replay = replay(repository, &manifest, archive).await?;
            let options = throwaway.clone();
            let folder = restore_throwaway(repository, &manifest, physical, options, replay.as_ref(), progress).await?;
            let run = folder.run().await?;
            let databases = LogicalDriver::new(settings(run.connection()), test.programs.clone());
            let databases = databases.inspector().list_databases().await;
            run.stop().await?;
            (folder, databases?)
        }
        None => {
            let folder = ThrowawayFolder::create(throwaway.clone()).await?.initialize().await?;
            let run = folder.run().await?;
            let restored = load(repository, &manifest, run.connection(), test, progress).await;
            run.stop().await?;
            (folder, restored?)
        }
    };
    Ok(RestoredCluster { folder, backup: manifest.id, databases, throwaway })
}

/// Says how far the log is replayed: to its end, where there is an archive.
async fn replay(
    repository: &Repository,
    manifest: &Manifest,
    archive: Option<&(String, Vec<(OsString, OsString)>)>,
) -> Result<Option<ReplayTest>> {
    let Some((restore_command, environment)) = archive else { return Ok(None) };
    let end = archived_end(repository, &manifest.id).await?.filter(|(from, until)| until > from);
    Ok(end.map(|(_, until)| ReplayTest {
        until,
        restore_command: restore_command.clone(),
        environment: environment.clone(),
    }))
}

async fn load(
    repository: &Repository,
    manifest: &Manifest,
    connection: &ThrowawayConnection,
    test: &RestoreTestOptions,
    progress: &dyn Progress,
) -> Result<Vec<String>> {
    let has_roles = manifest.streams.iter().any(|stream| stream.info.kind == StreamKind::Globals);
    let wanted = RestoreOptions::new().jobs(test.jobs).no_tablespaces(true);
    let wanted = wanted.restore_globals(has_roles).no_owner(!has_roles).no_privileges(!has_roles);
    let driver = LogicalDriver::new(settings(connection), test.programs.clone());
    let driver = driver.restore_options(wanted).on_throwaway_server();
    driver.inspector().create_roles(&test.roles).await?;
    let restored = driver.restore(&repository.dump_source(manifest), &manifest.contents, progress).await?;
    Ok(restored.databases)
}

fn settings(connection: &ThrowawayConnection) -> ConnectionSettings {
    ConnectionSettings::new(connection.socket_folder.display().to_string())
        .port(connection.port)
        .user(&connection.user)
        .database("postgres")
}
