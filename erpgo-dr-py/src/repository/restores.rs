//! Restoring, and proving that a restore works.

use std::collections::BTreeMap;

use erpgo_dr_core::ops::{self, ReplayTest, RestoreTestOptions};
use erpgo_dr_core::postgres::{ClientPrograms, RestoreOptions};
use erpgo_dr_core::types::Lsn;
use pyo3::prelude::*;

use super::Repository;
use super::backups::legacy;
use crate::arguments::{PathArgument, SqlCheckArgument, account, parsed, scope, selector, tables};
use crate::connection;
use crate::errors::invalid;
use crate::operation::Operation;
use crate::report::Outcome;

#[pymethods]
impl Repository {
    /// Restores a backup into a server: by default every database under its own name, which must not be there or empty.
    ///
    /// `backup` is an identifier, "latest", "latest-proven", or a datetime at or before which it began; the last three
    /// pass over physical backups, which `restore_cluster` is for. `target` is another name for the one database that
    /// is restored; `rename` maps names for several. `restore_globals` makes the roles and tablespaces that are missing;
    /// with `overwrite_globals` those that are there become as in the backup, too. `tables` are "schema.table" or (schema, table). What had been
    /// restored when an error comes is rolled back only with `single_transaction`.
    #[pyo3(signature = (
        backup, connection, *, password = None, databases = None, rename = None, target = None, create = true,
        clean = false, allow_non_empty = false, terminate_sessions = false, no_owner = false, no_privileges = false,
        no_tablespaces = false, restore_globals = false, overwrite_globals = false, jobs = 1, tables = None, schemas = None,
        single_transaction = false, scope = "full", exit_on_error = true, disable_triggers = false, progress = None,
    ))]
    fn restore(
        &self,
        py: Python<'_>,
        backup: Bound<'_, PyAny>,
        connection: Bound<'_, PyAny>,
        password: Option<String>,
        databases: Option<Vec<String>>,
        rename: Option<BTreeMap<String, String>>,
        target: Option<String>,
        create: bool,
        clean: bool,
        allow_non_empty: bool,
        terminate_sessions: bool,
        no_owner: bool,
        no_privileges: bool,
        no_tablespaces: bool,
        restore_globals: bool,
        overwrite_globals: bool,
        jobs: usize,
        tables: Option<Vec<Bound<'_, PyAny>>>,
        schemas: Option<Vec<String>>,
        single_transaction: bool,
        scope: &str,
        exit_on_error: bool,
        disable_triggers: bool,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Operation> {
        let selector = selector(&backup)?;
        let settings = connection::settings(&connection, password)?;
        let options = RestoreOptions::new()
            .create(create)
            .clean(clean)
            .allow_non_empty(allow_non_empty)
            .terminate_sessions(terminate_sessions)
            .no_owner(no_owner)
            .no_privileges(no_privileges)
            .no_tablespaces(no_tablespaces)
            .restore_globals(restore_globals)
            .overwrite_globals(overwrite_globals)
            .jobs(jobs)
            .tables(self::tables(tables.unwrap_or_default())?)
            .schemas(schemas.unwrap_or_default())
            .single_transaction(single_transaction)
            .scope(self::scope(py, scope)?)
            .exit_on_error(exit_on_error)
            .disable_triggers(disable_triggers);
        let options = named(options, databases, rename, target);
        Ok(self.operation(progress, move |shared, context| async move {
            let driver = shared.driver(settings).restore_options(options);
            let repository = shared.read().await;
            let id = ops::select_dump(&repository.catalogue().await?, &selector)?.id().clone();
            let report = ops::restore(&repository, &id, &driver, &*context.progress).await?;
            Ok(Outcome::report(&report))
        }))
    }

    /// Restores the dump in a file of older scripts, whatever layers are around it: gzip, `openssl enc`.
    ///
    /// The file is read once before anything is changed. Of an openssl file nobody can tell whether it was altered.
    #[pyo3(signature = (
        path, connection, *, passphrase = None, kdf = None, iterations = None, password = None, target = None,
        create = true, clean = false, allow_non_empty = false, terminate_sessions = false, no_owner = false,
        no_privileges = false, no_tablespaces = false, jobs = 1, tables = None, schemas = None,
        single_transaction = false, scope = "full", exit_on_error = true, disable_triggers = false, progress = None,
    ))]
    fn restore_file(
        &self,
        py: Python<'_>,
        path: PathArgument,
        connection: Bound<'_, PyAny>,
        passphrase: Option<String>,
        kdf: Option<&str>,
        iterations: Option<u32>,
        password: Option<String>,
        target: Option<String>,
        create: bool,
        clean: bool,
        allow_non_empty: bool,
        terminate_sessions: bool,
        no_owner: bool,
        no_privileges: bool,
        no_tablespaces: bool,
        jobs: usize,
        tables: Option<Vec<Bound<'_, PyAny>>>,
        schemas: Option<Vec<String>>,
        single_transaction: bool,
        scope: &str,
        exit_on_error: bool,
        disable_triggers: bool,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Operation> {
        let legacy = legacy(py, passphrase, kdf, iterations)?;
        let settings = connection::settings(&connection, password)?;
        let options = RestoreOptions::new()
            .create(create)
            .clean(clean)
            .allow_non_empty(allow_non_empty)
            .terminate_sessions(terminate_sessions)
            .no_owner(no_owner)
            .no_privileges(no_privileges)
            .no_tablespaces(no_tablespaces)
            .jobs(jobs)
            .tables(self::tables(tables.unwrap_or_default())?)
            .schemas(schemas.unwrap_or_default())
            .single_transaction(single_transaction)
            .scope(self::scope(py, scope)?)
            .exit_on_error(exit_on_error)
            .disable_triggers(disable_triggers);
        let options = named(options, None, None, target);
        Ok(self.operation(progress, move |shared, context| async move {
            let driver = shared.driver(settings).restore_options(options);
            let report = ops::restore_file(&path, &legacy, &driver, &*context.progress).await?;
            Ok(Outcome::report(&report))
        }))
    }

    /// Proves a backup by restoring it into a throwaway server, without a network, and comparing what came back.
    ///
    /// `scratch` is a folder for the server's data, in the clear, with a path of at most 80 bytes. `checks` are
    /// SqlChecks. `run_as` is the account that the server runs as: a name, or (uid, gid); where the caller is root,
    /// postgres by default. The verdict is recorded, and its `restore_seconds` is the observed RTO.
    ///
    /// With `replay_to` ("16/B374D848") the archived log behind a physical backup is replayed to there, on the backup's timeline:
    /// `restore_command` is PostgreSQL's, as "erpgo-dr wal fetch %f %p", and `environment` what it finds in its own.
    #[pyo3(signature = (
        backup, *, scratch, run_as = None, jobs = 1, checks = None, roles = None, replay_to = None, restore_command = None,
        environment = None, progress = None,
    ))]
    fn restore_test(
        &self,
        py: Python<'_>,
        backup: Bound<'_, PyAny>,
        scratch: PathArgument,
        run_as: Option<Bound<'_, PyAny>>,
        jobs: usize,
        checks: Option<Vec<SqlCheckArgument>>,
        roles: Option<Vec<String>>,
        replay_to: Option<&str>,
        restore_command: Option<String>,
        environment: Option<BTreeMap<String, String>>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Operation> {
        let selector = selector(&backup)?;
        let until: Option<Lsn> = replay_to.map(|position| parsed(py, position)).transpose()?;
        let replay = match (until, restore_command) {
            (Some(until), Some(restore_command)) => {
                let variables = environment.into_iter().flatten().map(|(name, value)| (name.into(), value.into()));
                Some(ReplayTest { until, restore_command, environment: variables.collect() })
            }
            (None, None) => None,
            _ => return Err(invalid(py, &"replay_to and restore_command go together")),
        };
        let programs = self.share().programs.clone();
        let options = restore_tests(programs, scratch, run_as, jobs, checks, roles)?.with_replay(replay);
        Ok(self.operation(progress, move |shared, context| async move {
            let repository = shared.read().await;
            let id = ops::select(&repository.catalogue().await?, &selector)?.id().clone();
            let verdict = ops::restore_test(&repository, &id, &options, &*context.progress).await?;
            Ok(Outcome::report(&verdict))
        }))
    }
}

/// Makes the options of restore tests.
pub(super) fn restore_tests(
    programs: ClientPrograms,
    scratch: PathArgument,
    run_as: Option<Bound<'_, PyAny>>,
    jobs: usize,
    checks: Option<Vec<SqlCheckArgument>>,
    roles: Option<Vec<String>>,
) -> PyResult<RestoreTestOptions> {
    let account = run_as.map(|account| self::account(&account)).transpose()?;
    Ok(RestoreTestOptions::new(programs, scratch)
        .with_run_as(account)
        .with_jobs(jobs)
        .with_checks(checks.unwrap_or_default().into_iter().map(Into::into).collect())
        .with_roles(roles.unwrap_or_default()))
}

/// Adds which databases come back, and under which names.
fn named(
    mut options: RestoreOptions,
    databases: Option<Vec<String>>,
    rename: Option<BTreeMap<String, String>>,
    target: Option<String>,
) -> RestoreOptions {
    if let Some(databases) = databases {
        options = options.databases(databases);
    }
    for (from, to) in rename.unwrap_or_default() {
        options = options.rename(from, to);
    }
    match target {
        Some(target) => options.target(target),
        None => options,
    }
}
