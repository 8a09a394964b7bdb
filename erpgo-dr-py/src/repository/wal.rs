//! The write-ahead log: archived and fetched file by file, looked at for gaps, and let go.

use std::sync::Arc;
use std::time::Duration;

use erpgo_dr_core::Storage;
use erpgo_dr_core::ops::wal::{
    Durability, NoWalStreamObserver, WalCheckOptions, WalFetchOptions, WalPushOptions, WalSpool, WalStreamOptions,
    wal_check, wal_fetch, wal_list, wal_prune, wal_push, wal_stream,
};
use erpgo_dr_core::types::{Lsn, WalFileName};
use pyo3::prelude::*;

use super::{Repository, Shared};
use crate::arguments::{PathArgument, choice, duration, parsed};
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

    /// Receives the log from a server as it is written, and archives it, until `stop` or `until`.
    ///
    /// `folder` keeps what is not archived yet, in the clear: it must be on another disk than the database's, better on
    /// another host. What is in it is not lost by a crash, and is archived by the next call even if the server is gone.
    /// `slot` is the physical replication slot by which the server keeps what has not been received. As a synchronous
    /// standby (synchronous_standby_names) a commit returns when it is durable in the "folder", or with
    /// `durable="repository"` in the repository at every place. The beginning of a segment is archived every
    /// `upload_every`, a number of seconds or a timedelta. `stop` is called a few times a second from a thread; what has
    /// come when it returns true is archived, as it is when the position `until` is reached. Lost connections are
    /// sought again.
    ///
    /// Raises NotFoundError where the slot is missing or the server has removed what comes next, RefusedError for a
    /// server of another cluster or one that was left behind by a promotion, BusyError where another process uses the
    /// folder, PermissionDeniedError for a refused login, InputOutputError for a folder that cannot be written.
    #[pyo3(signature = (
        connection, folder, *, password = None, slot = None, create_slot = false, durable = "folder", until = None,
        upload_every = None, stop = None,
    ))]
    #[expect(clippy::too_many_arguments, reason = "keywords in Python")]
    fn wal_stream(
        &self,
        py: Python<'_>,
        connection: &Bound<'_, PyAny>,
        folder: PathArgument,
        password: Option<String>,
        slot: Option<String>,
        create_slot: bool,
        durable: &str,
        until: Option<&str>,
        upload_every: Option<Bound<'_, PyAny>>,
        stop: Option<Py<PyAny>>,
    ) -> PyResult<Operation> {
        let server = connection::settings(connection, password)?;
        let words = [("folder", Durability::Folder), ("repository", Durability::Repository)];
        let until: Option<Lsn> = until.map(|position| parsed(py, position)).transpose()?;
        let mut options =
            WalStreamOptions::new(folder).with_durability(choice(py, "durable", durable, &words)?).with_until(until);
        if let Some(period) = upload_every {
            options = options.with_upload_every(duration(&period)?);
        }
        if let Some(slot) = slot {
            options = options.with_slot(slot, create_slot);
        }
        Ok(self.operation(None, move |shared, _| async move {
            let repository = shared.read().await;
            let options = options.with_places(shared.places());
            let report = wal_stream(&repository, &server, &options, Arc::new(NoWalStreamObserver), told(stop)).await?;
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
    /// server has written that is not archived, and `at_risk_seconds` how long ago the newest commit was that is: the
    /// time whose transactions would be lost with the server, at most. With `verify`, every file is read and every MAC checked.
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

/// How often a stream asks whether it is to stop.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// Completes when the callable says so; a failure of it is one way to say so. Without one it never does.
async fn told(stop: Option<Py<PyAny>>) {
    let Some(stop) = stop.map(Arc::new) else { return std::future::pending().await };
    loop {
        tokio::time::sleep(ASK_EVERY).await;
        let stop = Arc::clone(&stop);
        let ask = move || {
            Python::attach(|py| match stop.call0(py).and_then(|answer| answer.is_truthy(py)) {
                Ok(answer) => answer,
                Err(error) => {
                    error.write_unraisable(py, None);
                    true
                }
            })
        };
        if tokio::task::spawn_blocking(ask).await.unwrap_or(true) {
            return;
        }
    }
}

impl Shared {
    /// The places one by one, where there are several.
    fn places(&self) -> Vec<Arc<dyn Storage>> {
        self.replicated.as_ref().map(|replicated| replicated.places().to_vec()).unwrap_or_default()
    }
}
