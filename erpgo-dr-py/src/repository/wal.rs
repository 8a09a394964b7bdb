//! The write-ahead log: archived and fetched file by file, looked at for gaps, and let go.

use std::sync::Arc;

use erpgo_dr_core::Storage;
use erpgo_dr_core::ops::wal::{
    WalCheckOptions, WalFetchOptions, WalPushOptions, WalSpool, wal_check, wal_fetch, wal_list, wal_prune, wal_push,
};
use erpgo_dr_core::types::WalFileName;
use pyo3::prelude::*;

use super::{Repository, Shared};
use crate::arguments::{PathArgument, parsed};
use crate::connection;
use crate::operation::Operation;
use crate::report::{Outcome, pushed};

#[pymethods]
impl Repository {
    /// Archives a file of the write-ahead log: what PostgreSQL's `archive_command` calls for, with %p as `path`.
    ///
    /// PostgreSQL may recycle the file only when the report's `is_complete` says that it is durable at every place.
    /// The same file again is fine. `system` is the system identifier of the cluster that it must be of. `spool` is a
    /// folder on a disk of the database: with it, other files that are ready beside `path` are archived along, and
    /// noted there for when PostgreSQL asks for them.
    ///
    /// Raises IntegrityError for a file that is not what its name says, InputOutputError for one that cannot be read or
    /// has no name of the log, AlreadyExistsError where another file of this name is archived, UnavailableError for a
    /// place that cannot be reached, LockedError without a key.
    #[pyo3(signature = (path, *, system = None, spool = None))]
    fn wal_push(&self, path: PathArgument, system: Option<u64>, spool: Option<PathArgument>) -> Operation {
        let spool = spool.map(WalSpool::new);
        self.operation(None, move |shared, _| async move {
            let repository = shared.read().await;
            if let Some(spool) = &spool
                && let Some(report) = spool.take_pushed(&path, &repository.storage().location())?
            {
                return Ok(pushed(&report, &[], None));
            }
            let options = WalPushOptions::default().with_system_identifier(system).with_places(shared.places());
            let report = wal_push(&repository, &path, &options).await?;
            let Some(spool) = spool.filter(|_| report.is_complete()) else { return Ok(pushed(&report, &[], None)) };
            // The file that was asked for is durable, whatever becomes of the others.
            Ok(match spool.push_ahead(&repository, &report, &path, &options).await {
                Ok(ahead) => pushed(&report, &ahead, None),
                Err(error) => pushed(&report, &[], Some(&error)),
            })
        })
    }

    /// Writes the archived file `name` to `path`, whole and authentic or not at all: for `restore_command`, %f and %p.
    ///
    /// Only `found` being false means the end of the log, and nothing was written then. Every other trouble is an
    /// exception, which must not end a restore_command with a code from 1 to 125: PostgreSQL takes these for the end
    /// of the log. `system` is the system identifier of the cluster, where neither the data directory around `path`
    /// nor the archive says it.
    ///
    /// Raises InvalidError for a name that is none of the log, or where nothing says of which cluster it is,
    /// NotFoundError where nothing of the cluster is archived, IntegrityError for a damaged file, UnavailableError for a
    /// place that cannot be reached, LockedError without a key.
    #[pyo3(signature = (name, path, *, system = None))]
    fn wal_fetch(&self, py: Python<'_>, name: &str, path: PathArgument, system: Option<u64>) -> PyResult<Operation> {
        let name: WalFileName = parsed(py, name)?;
        Ok(self.operation(None, move |shared, _| async move {
            let repository = shared.read().await;
            let options = WalFetchOptions::default().with_system_identifier(system).with_places(shared.places());
            let report = wal_fetch(&repository, name, &path, &options).await?;
            Ok(Outcome::report(&report))
        }))
    }

    /// Lists what is archived of the write-ahead log, by cluster and timeline, or of the cluster `system` alone.
    ///
    /// Raises IntegrityError where what must be read for that cannot be trusted.
    #[pyo3(signature = (*, system = None))]
    fn wal_list(&self, system: Option<u64>) -> Operation {
        self.operation(None, move |shared, _| async move {
            let clusters = wal_list(&*shared.read().await, system).await?;
            Ok(Outcome::reports(&clusters))
        })
    }

    /// Looks for gaps in the archive and, where a server is given, whether it archives here and how far it is ahead.
    ///
    /// What is wrong is in the report's `findings`, in words; look at its `is_healthy`. `lag_bytes` is how much the
    /// server has written that is not archived. With `verify`, every file is read and every MAC checked.
    ///
    /// Raises UnavailableError or DatabaseError of the server, UnavailableError for a place that cannot be reached.
    #[pyo3(signature = (connection = None, *, password = None, system = None, verify = false))]
    fn wal_check(
        &self,
        connection: Option<Bound<'_, PyAny>>,
        password: Option<String>,
        system: Option<u64>,
        verify: bool,
    ) -> PyResult<Operation> {
        let server = connection.map(|connection| connection::settings(&connection, password)).transpose()?;
        let options = WalCheckOptions::default().with_system_identifier(system).with_verify(verify);
        Ok(self.operation(None, move |shared, _| async move {
            let report = wal_check(&*shared.read().await, server.as_ref(), &options).await?;
            Ok(Outcome::report(&report))
        }))
    }

    /// Removes the log before the oldest physical backup of each cluster; with `dry_run`, only says what it would.
    ///
    /// A cluster without a physical backup keeps all of its log, and histories of timelines always stay. `prune` does
    /// this, too. `progress` is called with (phase, done, total), in bytes.
    ///
    /// Raises BusyError beside another prune.
    #[pyo3(signature = (*, dry_run = false, progress = None))]
    fn wal_prune(&self, dry_run: bool, progress: Option<Py<PyAny>>) -> Operation {
        self.operation(progress, move |shared, context| async move {
            let report = wal_prune(&*shared.read().await, dry_run, &*context.progress).await?;
            Ok(Outcome::report(&report))
        })
    }
}

impl Shared {
    /// The places one by one, where there are several.
    fn places(&self) -> Vec<Arc<dyn Storage>> {
        self.replicated.as_ref().map(|replicated| replicated.places().to_vec()).unwrap_or_default()
    }
}
