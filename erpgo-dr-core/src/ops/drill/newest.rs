//! The newest restore point in a throwaway folder: what a drill with servers of its own begins with.

use std::ffi::OsString;

use crate::ops::physical::{archived_end, restore_throwaway};
use crate::ops::restore_test::{ReplayTest, settings, throwaway_driver, throwaway_options};
use crate::ops::{RestoreTestOptions, Result};
use crate::postgres::throwaway::{ThrowawayConnection, ThrowawayFolder, ThrowawayOptions};
use crate::postgres::{DatabaseDriver as _, LogicalDriver};
use crate::progress::Progress;
use crate::repository::{Catalogue, CatalogueEntry, Manifest, Repository, RepositoryError};

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
    /// The databases that came back.
    pub(crate) databases: Vec<String>,
    /// How a further folder beside it is made.
    pub(crate) throwaway: ThrowawayOptions,
}

/// Restores a restore point into a throwaway folder, with all of the log that is archived behind it, and lets it recover.
///
/// # Errors
/// As [`restore_test`](crate::ops::restore_test); what is wrong with the backup is one here.
pub(crate) async fn restore_point(
    repository: &Repository,
    entry: &CatalogueEntry,
    test: &RestoreTestOptions,
    archive: Option<&(String, Vec<(OsString, OsString)>)>,
    progress: &dyn Progress,
) -> Result<RestoredCluster> {
    let manifest = repository.manifest(&entry.summary).await?;
    let mut throwaway = throwaway_options(&manifest, test).await?;
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
    Ok(RestoredCluster { folder, databases, throwaway })
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
    let driver = throwaway_driver(manifest, connection, test);
    driver.inspector().create_roles(&test.roles).await?;
    let restored = driver.restore(&repository.dump_source(manifest), &manifest.contents, progress).await?;
    Ok(restored.databases)
}
