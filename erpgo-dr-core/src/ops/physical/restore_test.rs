//! Proves a physical backup by starting a throwaway server on it and reading every table and index.

use std::time::Duration;

use super::recovery::{RecoveryOptions, RecoveryTarget, RecoveryTimeline};
use super::restore::restore_to;
use super::target::ClusterTarget;
use crate::ops::Result;
use crate::ops::restore_test::ReplayTest;
use crate::postgres::throwaway::{ThrowawayFolder, ThrowawayOptions, ThrowawayServer};
use crate::postgres::{self, ConnectionSettings, PostgresError};
use crate::progress::Progress;
use crate::repository::{Manifest, PhysicalContents, Repository};

/// How long recovery to the end of a backup may take.
const START_TIMEOUT: Duration = Duration::from_secs(3600);
/// How long recovery beyond it may take.
const REPLAY_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// Restores a physical backup into a throwaway folder and starts a server on it, with no WAL but its own unless `replay` says how far to go.
pub(in crate::ops) async fn start_restored(
    repository: &Repository,
    manifest: &Manifest,
    physical: &PhysicalContents,
    options: ThrowawayOptions,
    replay: Option<&ReplayTest>,
    progress: &dyn Progress,
) -> Result<ThrowawayServer> {
    let folder = restore_throwaway(repository, manifest, physical, options, replay, progress).await?;
    Ok(folder.start().await?)
}

/// As [`start_restored`], and leaves the server to be started: it recovers then.
pub(in crate::ops) async fn restore_throwaway(
    repository: &Repository,
    manifest: &Manifest,
    physical: &PhysicalContents,
    options: ThrowawayOptions,
    replay: Option<&ReplayTest>,
    progress: &dyn Progress,
) -> Result<ThrowawayFolder> {
    let mut options = options.superuser(&physical.superuser).start_timeout(START_TIMEOUT);
    let mut recovery = RecoveryOptions::default().with_target(RecoveryTarget::Immediate);
    if let Some(ReplayTest { until, restore_command, environment }) = replay {
        if *until < physical.stop_lsn {
            let text = format!(
                "{} is consistent from {} on, and cannot be replayed to {until}",
                manifest.id, physical.stop_lsn
            );
            return Err(PostgresError::InvalidOptions(text).into());
        }
        options = options.environment(environment.clone()).start_timeout(REPLAY_TIMEOUT);
        recovery =
            recovery.with_target(RecoveryTarget::Lsn(*until)).with_restore_command(Some(restore_command.clone()));
        recovery = recovery.with_timeline(RecoveryTimeline::Current);
    }
    let folder = ThrowawayFolder::create(options).await?;
    let mut target = ClusterTarget::new(folder.data()).with_owner(folder.account());
    for tablespace in &physical.tablespaces {
        // Never to where it was: that is the original's.
        target = target.with_tablespace(tablespace.oid, folder.tablespace(tablespace.oid));
    }
    restore_to(repository, manifest, physical, &target, &recovery, progress).await?;
    Ok(folder)
}

/// Reads every table and index of these databases of a restored server, and returns what is wrong with them.
pub(in crate::ops) async fn check_relations(
    settings: &ConnectionSettings,
    databases: &[String],
) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for database in databases {
        let found = postgres::check_relations(settings, database).await?;
        findings.extend(found.into_iter().map(|finding| format!("{database}: {finding}")));
    }
    Ok(findings)
}
