//! Physical backups: a whole cluster as files, and its recovery to any moment.

use std::collections::BTreeMap;

use erpgo_dr_core as core;
use erpgo_dr_core::ops::physical::{
    ChangeDetection, ClusterBackupOptions, ClusterTarget, RecoveryAction, RecoveryOptions, RecoveryTarget,
    RecoveryTimeline, StartOptions, back_up_cluster, compare_cluster, receive_cluster, restore_and_start_cluster,
    restore_cluster, select_cluster,
};
use erpgo_dr_core::ops::{self, BackupSelector};
use erpgo_dr_core::types::{BackupId, TimelineId};
use pyo3::prelude::*;

use super::{Repository, optional_moment};
use crate::arguments::{PathArgument, account, choice, codec, duration, level, parsed, selector, storage_class};
use crate::connection;
use crate::errors::{Failure, invalid};
use crate::operation::Operation;
use crate::report::Outcome;

#[pymethods]
impl Repository {
    /// Copies the data directory of a running server, with the WAL that makes it consistent.
    ///
    /// This process must be able to read `data_directory`, by default where the server says. `changes` is how it is
    /// found out what has changed since the last backup of the same cluster: auto (by the server's summaries of its
    /// WAL, where `summarize_wal` is on, else by the WAL itself where that is little, else as compare), compare (all pages are read and compared), both, or full
    /// (everything is stored anew). Every backup is complete all the same: each is restored by itself, and any may be
    /// removed. `summary_patience` is how long summaries are waited for: a timedelta or seconds, 60 by default.
    /// Without `fast_checkpoint` the server spreads the checkpoint that the backup begins with. `verify` is as of
    /// `backup`. Look at the report's `is_complete`, which is false for pages that are damaged in the cluster itself,
    /// too. `progress` is called with (phase, done, total), in bytes.
    ///
    /// Raises UnavailableError or DatabaseError of the server, InputOutputError or PermissionDeniedError where its
    /// files cannot be read, LockedError without a key.
    #[pyo3(signature = (
        connection, *, password = None, data_directory = None, changes = "auto", summary_patience = None,
        fast_checkpoint = true, label = None, codec = None, storage_class = None, verify = "mac", progress = None,
    ))]
    fn backup_cluster(
        &self,
        py: Python<'_>,
        connection: Bound<'_, PyAny>,
        password: Option<String>,
        data_directory: Option<PathArgument>,
        changes: &str,
        summary_patience: Option<Bound<'_, PyAny>>,
        fast_checkpoint: bool,
        label: Option<String>,
        codec: Option<&str>,
        storage_class: Option<&str>,
        verify: Option<&str>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Operation> {
        let settings = connection::settings(&connection, password)?;
        let mut options = ClusterBackupOptions::default()
            .with_changes(detection(py, changes)?)
            .with_fast_checkpoint(fast_checkpoint)
            .with_label(label)
            .with_codec(self::codec(py, codec)?)
            .with_storage_class(self::storage_class(py, storage_class)?)
            .with_verify(verify.map(|word| level(py, "verify", word)).transpose()?);
        if let Some(patience) = summary_patience {
            options = options.with_summary_patience(duration(&patience)?);
        }
        Ok(self.operation(progress, move |shared, context| async move {
            let repository = shared.read().await;
            let data = data_directory.as_deref();
            let report = back_up_cluster(&repository, &settings, data, &options, &*context.progress).await?;
            Ok(Outcome::report(&report))
        }))
    }

    /// Backs up a cluster from anywhere: its server sends the files over a replication connection, a standby too.
    ///
    /// The role needs REPLICATION, the server must be of version 15 or later. With `changes` "auto" a server of version 17 or
    /// later that keeps summaries of its WAL (`summarize_wal`) sends what has changed alone; else, and with "compare", it
    /// sends all, and pages are compared here; "full" stores everything anew. `scratch` is a folder in which places and
    /// hashes of pages are kept until they are in order, about a thousandth of the cluster, without a name. All else is as
    /// of `backup_cluster`.
    ///
    /// Raises UnavailableError or DatabaseError of the server, PermissionDeniedError for a role that may not replicate,
    /// InvalidError for an older server, LockedError without a key.
    #[pyo3(signature = (
        connection, *, scratch, password = None, changes = "auto", fast_checkpoint = true, label = None, codec = None,
        storage_class = None, verify = "mac", progress = None,
    ))]
    fn receive_cluster(
        &self,
        py: Python<'_>,
        connection: Bound<'_, PyAny>,
        scratch: PathArgument,
        password: Option<String>,
        changes: &str,
        fast_checkpoint: bool,
        label: Option<String>,
        codec: Option<&str>,
        storage_class: Option<&str>,
        verify: Option<&str>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Operation> {
        let settings = connection::settings(&connection, password)?;
        let options = ClusterBackupOptions::default()
            .with_changes(detection(py, changes)?)
            .with_fast_checkpoint(fast_checkpoint)
            .with_label(label)
            .with_codec(self::codec(py, codec)?)
            .with_storage_class(self::storage_class(py, storage_class)?)
            .with_verify(verify.map(|word| level(py, "verify", word)).transpose()?);
        Ok(self.operation(progress, move |shared, context| async move {
            let repository = shared.read().await;
            let report = receive_cluster(&repository, &settings, &scratch, &options, &*context.progress).await?;
            Ok(Outcome::report(&report))
        }))
    }

    /// Restores a cluster's files into a folder, and sets how far PostgreSQL replays when it is started there.
    ///
    /// `backup` is an identifier, "latest", "latest-proven", or a datetime at or before which it began; by default the
    /// newest that is not beyond the target. `data_directory` must be empty or not exist; with `delta` it may hold the
    /// same cluster, or what a restore that broke off has left: only pages that differ are written, and what the
    /// backup does not have is removed. Where that has WAL which was never archived it is refused, unless `discard_wal`
    /// lets it go.
    ///
    /// Replay goes to the end of the archive, or to one of `target_time` (an aware datetime; to just before the first
    /// commit after it), `target_lsn` ("16/B374D848"), `target_xid`, `target_name` (of `pg_create_restore_point`) or
    /// `immediate` (the end of the backup). Without `inclusive` it stops just before the target. `timeline` is
    /// "latest" (the default), "current" (the backup's) or a number, `action` what the server does at its target: promote, pause or
    /// shutdown. `restore_command` is PostgreSQL's, as "erpgo-dr wal fetch %f %p"; without one there is only the WAL
    /// that lies in the backup. The server archives nothing, unless `archiving` lets it go on as the old one did:
    /// only when that is gone for good.
    ///
    /// `tablespaces` are folders by object identifiers; those not named go where they were. With `databases` the contents of these
    /// alone are restored, with what all share and the ones that every cluster has: others become shells that take up no
    /// space and are to be dropped, as the report's `empty_databases` says; not with `delta`. `owner` is the account
    /// that owns the files: a name, or (uid, gid); where the caller is root, postgres by default. `backup_manifest`
    /// writes a manifest for `pg_verifybackup`, for which all files are read back. `progress` is called with
    /// (phase, done, total), in bytes.
    ///
    /// With `start` the server is started, as the owner of the files and under its own configuration, and the end of its
    /// recovery waited for, `start_timeout` (a timedelta or seconds) at most: the report's `started` says what came back, and
    /// when. It runs on then, also when this process ends, the wait is interrupted or takes too long. `settings` are parameters
    /// on its command line, `environment` is what it and `restore_command` find in theirs (nothing else of this process's),
    /// `password` the superuser's where the server asks for one.
    ///
    /// Raises NotFoundError where no such backup or database is or the archive ends before the target, RefusedError for a folder that is not
    /// empty, holds another cluster or has a server running on it, IntegrityError for stored data that is damaged: what was
    /// written by then does not start. DatabaseError when the server does not start.
    #[pyo3(signature = (
        data_directory, backup = None, *, delta = false, discard_wal = false, target_time = None, target_lsn = None, target_xid = None,
        target_name = None, immediate = false, inclusive = true, timeline = None, action = "promote",
        restore_command = None, archiving = false, tablespaces = None, databases = None, owner = None, backup_manifest = false,
        start = false, start_timeout = None, settings = None, environment = None, password = None, progress = None,
    ))]
    fn restore_cluster(
        &self,
        py: Python<'_>,
        data_directory: PathArgument,
        backup: Option<Bound<'_, PyAny>>,
        delta: bool,
        discard_wal: bool,
        target_time: Option<Bound<'_, PyAny>>,
        target_lsn: Option<&str>,
        target_xid: Option<u32>,
        target_name: Option<String>,
        immediate: bool,
        inclusive: bool,
        timeline: Option<Bound<'_, PyAny>>,
        action: &str,
        restore_command: Option<String>,
        archiving: bool,
        tablespaces: Option<BTreeMap<u32, PathArgument>>,
        databases: Option<Vec<String>>,
        owner: Option<Bound<'_, PyAny>>,
        backup_manifest: bool,
        start: bool,
        start_timeout: Option<Bound<'_, PyAny>>,
        settings: Option<BTreeMap<String, String>>,
        environment: Option<BTreeMap<String, String>>,
        password: Option<String>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Operation> {
        let wanted = recovery_target(py, target_time, target_lsn, target_xid, target_name, immediate)?;
        let selector = backup.map(|backup| selector(&backup)).transpose()?;
        let target = folders(data_directory, tablespaces, owner)?
            .with_delta(delta)
            .with_discard_wal(discard_wal)
            .with_databases(databases.into_iter().flatten())
            .with_backup_manifest(backup_manifest);
        let actions = [
            ("promote", RecoveryAction::Promote),
            ("pause", RecoveryAction::Pause),
            ("shutdown", RecoveryAction::Shutdown),
        ];
        let recovery = RecoveryOptions::default()
            .with_target(wanted)
            .with_inclusive(inclusive)
            .with_timeline(timeline.map_or(Ok(RecoveryTimeline::Latest), |timeline| self::timeline(&timeline))?)
            .with_action(choice(py, "action", action, &actions)?)
            .with_restore_command(restore_command)
            .with_archiving(archiving);
        let environment = environment.into_iter().flatten().map(|(name, value)| (name.into(), value.into()));
        let mut options = StartOptions::new(self.share().programs.clone())
            .with_settings(settings.into_iter().flatten().collect())
            .with_environment(environment.collect())
            .with_password(password.map(Into::into));
        if let Some(timeout) = start_timeout {
            options = options.with_timeout(duration(&timeout)?);
        }
        Ok(self.operation(progress, move |shared, context| async move {
            let repository = shared.read().await;
            let id = find(&repository, selector.as_ref(), &recovery.target).await?;
            let progress = &*context.progress;
            let report = match start {
                true => restore_and_start_cluster(&repository, &id, &target, &recovery, &options, progress).await?,
                false => restore_cluster(&repository, &id, &target, &recovery, progress).await?,
            };
            Ok(Outcome::report(&report))
        }))
    }

    /// Says what `restore_cluster` with `delta` would change in a folder, and touches nothing.
    ///
    /// The arguments are as there; of the targets it takes those that a backup may lie beyond. Sizes are in bytes.
    ///
    /// Raises what `restore_cluster` raises.
    #[pyo3(signature = (
        data_directory, backup = None, *, target_time = None, target_lsn = None, tablespaces = None, owner = None,
        progress = None,
    ))]
    fn compare_cluster(
        &self,
        py: Python<'_>,
        data_directory: PathArgument,
        backup: Option<Bound<'_, PyAny>>,
        target_time: Option<Bound<'_, PyAny>>,
        target_lsn: Option<&str>,
        tablespaces: Option<BTreeMap<u32, PathArgument>>,
        owner: Option<Bound<'_, PyAny>>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Operation> {
        let wanted = recovery_target(py, target_time, target_lsn, None, None, false)?;
        let selector = backup.map(|backup| selector(&backup)).transpose()?;
        let target = folders(data_directory, tablespaces, owner)?.with_delta(true).with_discard_wal(true);
        Ok(self.operation(progress, move |shared, context| async move {
            let repository = shared.read().await;
            let id = find(&repository, selector.as_ref(), &wanted).await?;
            let difference = compare_cluster(&repository, &id, &target, &*context.progress).await?;
            Ok(Outcome::report(&difference))
        }))
    }
}

/// `auto`, `compare`, `both` or `full`.
fn detection(py: Python<'_>, word: &str) -> PyResult<ChangeDetection> {
    let ways = [
        ("auto", ChangeDetection::Auto),
        ("compare", ChangeDetection::Compare),
        ("both", ChangeDetection::Both),
        ("full", ChangeDetection::Full),
    ];
    choice(py, "changes", word, &ways)
}

/// At most one target; none is the end of the archive.
fn recovery_target(
    py: Python<'_>,
    time: Option<Bound<'_, PyAny>>,
    lsn: Option<&str>,
    xid: Option<u32>,
    name: Option<String>,
    immediate: bool,
) -> PyResult<RecoveryTarget> {
    let lsn = lsn.map(|text| parsed(py, text)).transpose()?;
    let named = [
        optional_moment(time)?.map(RecoveryTarget::Time),
        lsn.map(RecoveryTarget::Lsn),
        xid.map(RecoveryTarget::Xid),
        name.map(RecoveryTarget::Name),
        immediate.then_some(RecoveryTarget::Immediate),
    ];
    let mut named = named.into_iter().flatten();
    match (named.next(), named.next()) {
        (target, None) => Ok(target.unwrap_or_default()),
        _ => Err(invalid(py, &"give one target of the recovery, not several")),
    }
}

/// `latest`, `current`, or a number from 1 on.
fn timeline(value: &Bound<'_, PyAny>) -> PyResult<RecoveryTimeline> {
    if let Ok(word) = value.extract::<String>() {
        let words = [("latest", RecoveryTimeline::Latest), ("current", RecoveryTimeline::Current)];
        return choice(value.py(), "timeline", &word, &words);
    }
    let number: u32 = value.extract()?;
    let found = TimelineId::new(number).map(RecoveryTimeline::Id);
    found.ok_or_else(|| invalid(value.py(), &"timelines are numbered from 1 on"))
}

/// Where the files go, and whose they are.
fn folders(
    data: PathArgument,
    tablespaces: Option<BTreeMap<u32, PathArgument>>,
    owner: Option<Bound<'_, PyAny>>,
) -> PyResult<ClusterTarget> {
    let owner = owner.map(|owner| account(&owner)).transpose()?;
    let target = ClusterTarget::new(data).with_owner(owner);
    Ok(tablespaces.into_iter().flatten().fold(target, |target, (oid, folder)| target.with_tablespace(oid, folder)))
}

/// Finds the backup that is meant among the physical ones, or else the one that the target needs.
async fn find(
    repository: &core::Repository,
    selector: Option<&BackupSelector>,
    target: &RecoveryTarget,
) -> Result<BackupId, Failure> {
    let mut catalogue = repository.catalogue().await?;
    if !matches!(selector, Some(BackupSelector::Id(_))) {
        catalogue.entries.retain(|entry| entry.summary.is_physical());
    }
    let entry = match selector {
        Some(selector) => ops::select(&catalogue, selector)?,
        None => select_cluster(repository, &catalogue, target).await?,
    };
    Ok(entry.id().clone())
}
