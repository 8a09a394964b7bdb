//! Proves a physical backup by starting a throwaway server on it and reading every table and index.

use std::time::Duration;

use super::recovery::{RecoveryOptions, RecoveryTarget};
use super::restore::restore_to;
use super::target::ClusterTarget;
use crate::ops::Result;
use crate::postgres::throwaway::{ThrowawayFolder, ThrowawayOptions, ThrowawayServer};
use crate::postgres::{self, ConnectionSettings};
use crate::progress::Progress;
use crate::repository::{Manifest, PhysicalContents, Repository};

/// How long recovery to the end of a backup may take.
const START_TIMEOUT: Duration = Duration::from_secs(3600);

/// Restores a physical backup into a throwaway folder and starts a server on it, with no WAL but its own.
pub(in crate::ops) async fn start_restored(
    repository: &Repository,
    manifest: &Manifest,
    physical: &PhysicalContents,
    options: ThrowawayOptions,
    progress: &dyn Progress,
) -> Result<ThrowawayServer> {
    let options = options.superuser(&physical.superuser).start_timeout(START_TIMEOUT);
    let folder = ThrowawayFolder::create(options).await?;
    let mut target = ClusterTarget::new(folder.data()).with_owner(folder.account());
    for tablespace in &physical.tablespaces {
        // Never to where it was: that is the original's.
        target = target.with_tablespace(tablespace.oid, folder.tablespace(tablespace.oid));
    }
    let recovery = RecoveryOptions::default().with_target(RecoveryTarget::Immediate);
    restore_to(repository, manifest, physical, &target, &recovery, progress).await?;
    Ok(folder.start().await?)
}

/// Reads every table and index of every database of a restored server, and returns what is wrong with them.
pub(in crate::ops) async fn check_relations(
    settings: &ConnectionSettings,
    physical: &PhysicalContents,
) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for database in &physical.databases {
        let found = postgres::check_relations(settings, database).await?;
        findings.extend(found.into_iter().map(|finding| format!("{database}: {finding}")));
    }
    Ok(findings)
}
