//! Taking backups, looking at them, proving them and letting them go.

use erpgo_dr_core as core;
use erpgo_dr_core::ops::legacy::LegacyOptions;
use erpgo_dr_core::ops::{self, BackupOptions, BackupSelector, ImportOptions, PruneOptions, VerifyOptions};
use erpgo_dr_core::postgres::{DatabaseSelection, DumpOptions, Figure};
use erpgo_dr_core::storage::{RepairOptions, ThawOptions};
use erpgo_dr_core::types::BackupId;
use pyo3::prelude::*;
use secrecy::SecretString;

use super::{Repository, optional_moment};
use crate::arguments::{
    FigureArgument, PathArgument, backup_id, codec, duration, iterations, kdf, level, scope, selector, span,
    storage_class, tier,
};
use crate::connection;
use crate::errors::{Failure, invalid};
use crate::operation::Operation;
use crate::report::{Outcome, Report as _};
use crate::retention;

#[pymethods]
impl Repository {
    /// Takes a backup: of the connection's database, of `databases`, or of all.
    ///
    /// `verify` says how deep it is verified before this returns: mac, contents, scrub, or None for later. A backup
    /// that a replica missed, or whose verification failed, exists all the same: look at the report's `is_complete`.
    /// `figures` are Figures of the business that it writes down, for `check_figures`.
    /// `jobs` connections read large tables at the same time: by default one for each core, at most four.
    /// `progress` is called with (phase, done, total), in bytes; total may be None.
    #[pyo3(signature = (
        connection, *, password = None, databases = None, all_databases = false, scope = "full", globals = true,
        include_tables = None, exclude_tables = None, exclude_table_data = None, include_schemas = None,
        exclude_schemas = None, lock_timeout = None, deferrable = false, jobs = None, figures = None, label = None,
        codec = None, storage_class = None, verify = "mac", progress = None,
    ))]
    fn backup(
        &self,
        py: Python<'_>,
        connection: Bound<'_, PyAny>,
        password: Option<String>,
        databases: Option<Vec<String>>,
        all_databases: bool,
        scope: &str,
        globals: bool,
        include_tables: Option<Vec<String>>,
        exclude_tables: Option<Vec<String>>,
        exclude_table_data: Option<Vec<String>>,
        include_schemas: Option<Vec<String>>,
        exclude_schemas: Option<Vec<String>>,
        lock_timeout: Option<Bound<'_, PyAny>>,
        deferrable: bool,
        jobs: Option<usize>,
        figures: Option<Vec<FigureArgument>>,
        label: Option<String>,
        codec: Option<&str>,
        storage_class: Option<&str>,
        verify: Option<&str>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Operation> {
        let settings = connection::settings(&connection, password)?;
        let selection = match (databases, all_databases) {
            (Some(_), true) => return Err(invalid(py, &"give databases or all_databases, not both")),
            (None, true) => DatabaseSelection::All,
            (Some(names), false) => DatabaseSelection::Named(names),
            (None, false) => DatabaseSelection::Named(vec![settings.database_name().to_owned()]),
        };
        let mut dump = DumpOptions::new()
            .databases(selection)
            .scope(self::scope(py, scope)?)
            .globals(globals)
            .include_tables(include_tables.unwrap_or_default())
            .exclude_tables(exclude_tables.unwrap_or_default())
            .exclude_table_data(exclude_table_data.unwrap_or_default())
            .include_schemas(include_schemas.unwrap_or_default())
            .exclude_schemas(exclude_schemas.unwrap_or_default())
            .deferrable(deferrable)
            .jobs(jobs.unwrap_or(0))
            .figures(figures.unwrap_or_default().into_iter().map(Into::into).collect());
        if let Some(timeout) = lock_timeout {
            dump = dump.lock_timeout(Some(duration(&timeout)?));
        }
        let options = BackupOptions::default()
            .with_codec(self::codec(py, codec)?)
            .with_storage_class(self::storage_class(py, storage_class)?)
            .with_label(label)
            .with_verify(verify.map(|word| level(py, "verify", word)).transpose()?);
        Ok(self.operation(progress, move |shared, context| async move {
            let driver = shared.driver(settings).dump_options(dump);
            let repository = shared.read().await;
            let report = ops::backup(&repository, &driver, &options, &*context.progress).await?;
            Ok(Outcome::report(&report))
        }))
    }

    /// Asks a server for Figures of the business, and compares them with those of the newest `backups` backups: a dict with `figures`, each with `now`,
    /// `earlier`, `change` and, where it changed by more than its `max_change` or could not be told, a `finding`.
    #[pyo3(signature = (connection, figures, *, password = None, backups = 5))]
    fn check_figures(
        &self,
        connection: Bound<'_, PyAny>,
        figures: Vec<FigureArgument>,
        password: Option<String>,
        backups: usize,
    ) -> PyResult<Operation> {
        let settings = connection::settings(&connection, password)?;
        let figures: Vec<Figure> = figures.into_iter().map(Into::into).collect();
        Ok(self.operation(None, move |shared, _| async move {
            let report = ops::check_figures(&*shared.read().await, &settings, &figures, backups).await?;
            Ok(Outcome::Plain(serde_json::to_value(report).expect("reports are plain JSON")))
        }))
    }

    /// Lists the backups, oldest first.
    ///
    /// An entry that cannot be read or trusted is not among them: `status` and `verify` name it.
    fn list(&self) -> Operation {
        self.operation(None, |shared, _| async move {
            let catalogue = shared.read().await.catalogue().await?;
            Ok(Outcome::reports(&catalogue.entries))
        })
    }

    /// Reads everything that is recorded of a backup: servers, databases, tables, streams, objects.
    ///
    /// `backup` is an identifier, "latest", "latest-proven", or a datetime at or before which it began.
    fn show(&self, backup: Bound<'_, PyAny>) -> PyResult<Operation> {
        let selector = selector(&backup)?;
        Ok(self.operation(None, move |shared, _| async move {
            let repository = shared.read().await;
            let catalogue = repository.catalogue().await?;
            let entry = ops::select(&catalogue, &selector)?;
            let manifest = repository.manifest(&entry.summary).await?;
            let details = serde_json::json!({ "backup": entry.value(), "manifest": manifest.value() });
            Ok(Outcome::Report("BackupDetails", details))
        }))
    }

    /// Verifies backups, all of them by default, and the catalogue: scrub (needs no key), mac or contents.
    ///
    /// What is wrong with a backup is in the report; look at its `passed`. The verdict is recorded unless told not to.
    #[pyo3(signature = (backups = None, *, level = "mac", record = true, progress = None))]
    fn verify(
        &self,
        py: Python<'_>,
        backups: Option<Vec<Bound<'_, PyAny>>>,
        level: &str,
        record: bool,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Operation> {
        let selectors = backups.unwrap_or_default().iter().map(selector).collect::<PyResult<Vec<_>>>()?;
        let options = VerifyOptions::default().with_level(self::level(py, "level", level)?).with_record(record);
        Ok(self.operation(progress, move |shared, context| async move {
            let (checker, repository) = (shared.checker(), shared.read().await);
            let ids = named(&repository, &selectors).await?;
            let report = ops::verify(&repository, &ids, Some(&checker), &options, &*context.progress).await?;
            Ok(Outcome::report(&report))
        }))
    }

    /// Removes what `policy` does not keep, and what crashed runs left; with `dry_run`, only says what it would.
    ///
    /// What is on hold and the last verified backup stay, whatever the policy says. `grace` is how long leftovers must
    /// have lain untouched: a timedelta or seconds, an hour by default. The write-ahead log before the oldest physical
    /// backup of each cluster goes, too, unless `keep_wal` says otherwise.
    #[pyo3(signature = (policy, *, dry_run = false, grace = None, keep_wal = false, progress = None))]
    fn prune(
        &self,
        policy: Bound<'_, PyAny>,
        dry_run: bool,
        grace: Option<Bound<'_, PyAny>>,
        keep_wal: bool,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Operation> {
        let policy = retention::policy(&policy)?.get().share();
        let mut options = PruneOptions::default().with_dry_run(dry_run).with_keep_wal(keep_wal);
        if let Some(grace) = grace {
            options = options.with_grace(span(&grace)?);
        }
        Ok(self.operation(progress, move |shared, context| async move {
            let repository = shared.read().await;
            let report = ops::prune(&repository, &policy, &options, &*context.progress).await?;
            Ok(Outcome::report(&report))
        }))
    }

    /// Brings the places of a repository with replicas up to date again; with `deep`, reads and hashes every copy.
    #[pyo3(signature = (*, deep = false, dry_run = false, progress = None))]
    fn repair(&self, py: Python<'_>, deep: bool, dry_run: bool, progress: Option<Py<PyAny>>) -> PyResult<Operation> {
        let shared = self.share();
        let Some(storage) = shared.replicated.clone() else {
            return Err(invalid(py, &"the repository was opened without replicas: there is nothing to repair from"));
        };
        let options = RepairOptions::default().with_deep(deep);
        Ok(self.operation(progress, move |shared, context| async move {
            let repository = shared.read().await;
            let outcome = ops::repair(&repository, &storage, &options, dry_run, &*context.progress).await?;
            Ok(Outcome::report(&outcome))
        }))
    }

    /// Puts a backup on hold: no policy removes it. `backup` is as of `show`.
    fn hold(&self, backup: Bound<'_, PyAny>, reason: String) -> PyResult<Operation> {
        let selector = selector(&backup)?;
        Ok(self.operation(None, move |shared, _| async move {
            let repository = shared.read().await;
            for id in named(&repository, &[selector]).await? {
                repository.hold(&id, &reason).await?;
            }
            Ok(Outcome::Nothing)
        }))
    }

    /// Takes a hold away; one that is not there is no error. `backup` is as of `show`.
    fn release(&self, backup: Bound<'_, PyAny>) -> PyResult<Operation> {
        let selector = selector(&backup)?;
        Ok(self.operation(None, move |shared, _| async move {
            let repository = shared.read().await;
            for id in named(&repository, &[selector]).await? {
                repository.release_hold(&id).await?;
            }
            Ok(Outcome::Nothing)
        }))
    }

    /// Asks for the archived objects of a backup to be made readable for some days; ask again to see how far it is.
    #[pyo3(signature = (backup, *, days = 7, tier = "standard", progress = None))]
    fn thaw(
        &self,
        py: Python<'_>,
        backup: &str,
        days: u32,
        tier: &str,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Operation> {
        let id = backup_id(py, backup)?;
        let mut options = ThawOptions::default();
        options.days = days;
        options.tier = self::tier(py, tier)?;
        Ok(self.operation(progress, move |shared, context| async move {
            let repository = shared.read().await;
            let report = ops::thaw(&repository, &id, &options, &*context.progress).await?;
            Ok(Outcome::report(&report))
        }))
    }

    /// Adopts a file of older scripts: a dump, perhaps gzipped, perhaps in `openssl enc`, becomes a backup.
    ///
    /// `created` is when it was made: by default the time in its name, or else of its last change. Whether somebody
    /// had altered an openssl file nobody can tell. A dump that is a backup already raises AlreadyExistsError, unless
    /// `again` makes another one.
    #[pyo3(signature = (
        path, *, passphrase = None, kdf = None, iterations = None, created = None, label = None, codec = None,
        storage_class = None, verify = "mac", again = false, progress = None,
    ))]
    fn import_file(
        &self,
        py: Python<'_>,
        path: PathArgument,
        passphrase: Option<String>,
        kdf: Option<&str>,
        iterations: Option<u32>,
        created: Option<Bound<'_, PyAny>>,
        label: Option<String>,
        codec: Option<&str>,
        storage_class: Option<&str>,
        verify: Option<&str>,
        again: bool,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Operation> {
        let mut options = ImportOptions::default();
        options.legacy = legacy(py, passphrase, kdf, iterations)?;
        options.created = optional_moment(created)?;
        options.codec = self::codec(py, codec)?;
        options.storage_class = self::storage_class(py, storage_class)?;
        options.label = label;
        options.verify = verify.map(|word| level(py, "verify", word)).transpose()?;
        options.again = again;
        Ok(self.operation(progress, move |shared, context| async move {
            let (checker, repository) = (shared.checker(), shared.read().await);
            let report = ops::import(&repository, &path, &options, Some(&checker), &*context.progress).await?;
            Ok(Outcome::report(&report))
        }))
    }
}

/// Finds the backups that are meant. An identifier is taken as it is: whether there is such a backup, the operation says.
async fn named(repository: &core::Repository, selectors: &[BackupSelector]) -> Result<Vec<BackupId>, Failure> {
    let mut ids = Vec::new();
    for selector in selectors {
        ids.push(match selector {
            BackupSelector::Id(id) => id.clone(),
            selector => ops::select(&repository.catalogue().await?, selector)?.id().clone(),
        });
    }
    Ok(ids)
}

/// How the layers of a file are opened.
pub(super) fn legacy(
    py: Python<'_>,
    passphrase: Option<String>,
    kdf: Option<&str>,
    iterations: Option<u32>,
) -> PyResult<LegacyOptions> {
    let iterations = self::iterations(py, iterations)?;
    let kdf = kdf.map(|word| self::kdf(py, word, iterations)).transpose()?;
    Ok(LegacyOptions { passphrase: passphrase.map(SecretString::from), kdf, iterations })
}
