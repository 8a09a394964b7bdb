//! A repository: opening one, reading it, and acting on what it holds.

mod backups;
mod bisect;
mod clusters;
mod drills;
mod escalation;
pub(crate) mod evidence;
mod history;
mod monitor;
mod restores;
pub(crate) mod runbooks;
mod slots;
mod wal;

use std::sync::Arc;

use erpgo_dr_core as core;
use erpgo_dr_core::clock::SystemClock;
use erpgo_dr_core::compute::ComputePool;
use erpgo_dr_core::postgres::{ClientPrograms, ConnectionSettings, LogicalDriver};
use erpgo_dr_core::repository::{Environment, InitOptions};
use erpgo_dr_core::storage::ReplicatedStorage;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use tokio::sync::{RwLock, RwLockReadGuard};

use crate::arguments::{PathArgument, codec, moment};
use crate::encrypt::py_pool;
use crate::errors::{Failure, invalid};
use crate::host::Context;
use crate::keys;
use crate::operation::Operation;
use crate::report::Outcome;
use crate::storage::{self, Places};

/// What operations on a repository share.
pub(crate) struct Shared {
    core: RwLock<core::Repository>,
    programs: ClientPrograms,
    replicated: Option<ReplicatedStorage>,
    /// The repository's threads, clock and clean-ups.
    pub(crate) environment: Environment,
}

impl Shared {
    /// Waits until nobody changes the keys.
    pub(crate) async fn read(&self) -> RwLockReadGuard<'_, core::Repository> {
        self.core.read().await
    }

    /// Makes the driver of a server.
    fn driver(&self, settings: ConnectionSettings) -> LogicalDriver {
        LogicalDriver::new(settings, self.programs.clone())
    }

    /// Makes a driver that reads streams and connects to nothing.
    fn checker(&self) -> LogicalDriver {
        self.driver(ConnectionSettings::default())
    }
}

/// The native half of `erpgo_dr.Repository` and `erpgo_dr.aio.Repository`.
#[pyclass(frozen, module = "erpgo_dr._erpgo_dr")]
pub struct Repository {
    shared: Arc<Shared>,
    id: String,
    location: String,
}

impl Repository {
    /// Shares what operations need.
    pub(crate) fn share(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    fn new(repository: core::Repository, places: Places, programs: ClientPrograms) -> Self {
        let (id, location) = (repository.settings().id.to_string(), repository.storage().location());
        let environment = repository.environment().clone();
        let core = RwLock::new(repository);
        Self { shared: Arc::new(Shared { core, programs, replicated: places.replicated, environment }), id, location }
    }

    /// Prepares an operation on this repository.
    fn operation<F, W>(&self, progress: Option<Py<PyAny>>, work: F) -> Operation
    where
        F: FnOnce(Arc<Shared>, Context) -> W + Send + 'static,
        W: Future<Output = Result<Outcome, Failure>> + Send + 'static,
    {
        let shared = self.share();
        let cleanups = shared.environment.cleanups.clone();
        Operation::new(progress, cleanups, move |context| work(shared, context))
    }
}

#[pymethods]
impl Repository {
    /// Makes a repository at an empty place, and returns it unlocked.
    ///
    /// Whoever has `passphrase`, the identity of one of `recipients` or the counterpart of `command` can open it; at
    /// least one is needed. Addresses are folders, s3://, gs:// and az://; `storage_options` say how to get there.
    /// `replicas` are further places: addresses, or pairs of address and options.
    #[staticmethod]
    #[pyo3(signature = (
        address, *, passphrase = None, recipients = None, command = None, work_factor = None, codec = "zstd:3",
        part_bytes = None, storage_options = None, replicas = None, write_policy = "primary", programs = None,
        library_path = None, threads = 0,
    ))]
    fn init(
        py: Python<'_>,
        address: &str,
        passphrase: Option<String>,
        recipients: Option<Vec<String>>,
        command: Option<Vec<String>>,
        work_factor: Option<u8>,
        codec: &str,
        part_bytes: Option<u64>,
        storage_options: Option<Bound<'_, PyDict>>,
        replicas: Option<Vec<Bound<'_, PyAny>>>,
        write_policy: &str,
        programs: Option<Vec<PathArgument>>,
        library_path: Option<PathArgument>,
        threads: usize,
    ) -> PyResult<Operation> {
        let slots = keys::wrappers(py, passphrase, recipients, command, work_factor)?;
        let mut options = InitOptions::default().with_codec(self::codec(py, Some(codec))?.unwrap_or_default());
        if let Some(bytes) = part_bytes {
            options = options.with_part_bytes(bytes);
        }
        let places = storage::open(py, address, storage_options, replicas, write_policy)?;
        let programs = client_programs(programs, library_path);
        let environment = environment(threads)?;
        let cleanups = environment.cleanups.clone();
        Ok(Operation::new(None, cleanups, move |_| async move {
            let made = core::Repository::init(places.storage.clone(), environment, &options, &slots).await?;
            Ok(Outcome::Repository(Self::new(made, places, programs)))
        }))
    }

    /// Opens the repository at a place, and unlocks it with what is given; with nothing, it stays locked.
    ///
    /// `identity` is the text of an identity file: age's, or a private key of SSH; `identity_passphrase` is for one
    /// that has a passphrase of its own. `programs` are folders with PostgreSQL's programs, which are looked for
    /// before those that packages install; `library_path` is LD_LIBRARY_PATH for them. `spool` is a folder of this host,
    /// which may be of several repositories: with it the repository also opens while its place is away, runs of runbooks
    /// begin and go on, and their journals wait there.
    #[staticmethod]
    #[pyo3(signature = (
        address, *, passphrase = None, identity = None, identity_passphrase = None, command = None,
        storage_options = None, replicas = None, write_policy = "primary", programs = None, library_path = None,
        threads = 0, spool = None,
    ))]
    fn open(
        py: Python<'_>,
        address: &str,
        passphrase: Option<String>,
        identity: Option<Bound<'_, PyAny>>,
        identity_passphrase: Option<String>,
        command: Option<Vec<String>>,
        storage_options: Option<Bound<'_, PyDict>>,
        replicas: Option<Vec<Bound<'_, PyAny>>>,
        write_policy: &str,
        programs: Option<Vec<PathArgument>>,
        library_path: Option<PathArgument>,
        threads: usize,
        spool: Option<PathArgument>,
    ) -> PyResult<Operation> {
        let openers = keys::openers(py, passphrase, identity, identity_passphrase, command)?;
        let mut places = storage::open(py, address, storage_options, replicas, write_policy)?;
        let programs = client_programs(programs, library_path);
        let environment = environment(threads)?;
        let cleanups = environment.cleanups.clone();
        Ok(Operation::new(None, cleanups, move |_| async move {
            let spool = match spool {
                Some(folder) => places.spooled(&folder).await?,
                None => None,
            };
            let mut opened = core::Repository::open(places.storage.clone(), environment).await?;
            for opener in openers {
                opened.unlock(&opener.read().await?).await?;
            }
            if let Some(spool) = spool {
                // What is left undone is done the next time, and logged.
                let _ = spool.synchronise().await;
            }
            Ok(Outcome::Repository(Self::new(opened, places, programs)))
        }))
    }

    /// Opens every epoch that what is given opens. May be called again with something else.
    #[pyo3(signature = (*, passphrase = None, identity = None, identity_passphrase = None, command = None))]
    fn unlock(
        &self,
        py: Python<'_>,
        passphrase: Option<String>,
        identity: Option<Bound<'_, PyAny>>,
        identity_passphrase: Option<String>,
        command: Option<Vec<String>>,
    ) -> PyResult<Operation> {
        let openers = keys::openers(py, passphrase, identity, identity_passphrase, command)?;
        if openers.is_empty() {
            return Err(invalid(py, &"give a passphrase, an identity or a command"));
        }
        Ok(self.operation(None, move |shared, _| async move {
            for opener in openers {
                let unlocker = opener.read().await?;
                shared.core.write().await.unlock(&unlocker).await?;
            }
            Ok(Outcome::Nothing)
        }))
    }

    /// Reads the state of the repository: is there a proven backup, how recent, and how long would a restore take?
    fn status(&self) -> Operation {
        self.operation(None, |shared, _| async move {
            let status = core::ops::status(&*shared.read().await).await?;
            Ok(Outcome::report(&status))
        })
    }

    /// The repository's own identifier.
    #[getter]
    fn id(&self) -> &str {
        &self.id
    }

    /// Where the repository lies, for people.
    #[getter]
    fn location(&self) -> &str {
        &self.location
    }

    fn __repr__(&self) -> String {
        format!("<Repository {}>", self.location)
    }
}

fn environment(threads: usize) -> PyResult<Environment> {
    let pool = match threads {
        0 => Python::attach(|py| py_pool().map_err(|failure| failure.into_exception(py)))?,
        threads => ComputePool::new(threads)?,
    };
    Ok(Environment::new(pool, Arc::new(SystemClock)))
}

fn client_programs(folders: Option<Vec<PathArgument>>, library_path: Option<PathArgument>) -> ClientPrograms {
    let programs = folders.unwrap_or_default().into_iter().fold(ClientPrograms::new(), ClientPrograms::folder);
    match library_path {
        Some(path) => programs.library_path(path),
        None => programs,
    }
}

/// An optional moment of Python.
fn optional_moment(value: Option<Bound<'_, PyAny>>) -> PyResult<Option<chrono::DateTime<chrono::Utc>>> {
    value.map(|value| moment(&value)).transpose()
}
