//! A repository on local disk, and segments that real servers wrote.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use erpgo_dr_core::Repository;
use erpgo_dr_core::clock::SystemClock;
use erpgo_dr_core::compute::ComputePool;
use erpgo_dr_core::crypto::keys::{Wrapper, generate_identity};
use erpgo_dr_core::ops;
use erpgo_dr_core::ops::wal::{WalFetchOptions, WalFetchReport, WalPushOptions, WalPushReport, wal_fetch, wal_push};
use erpgo_dr_core::repository::{Environment, InitOptions};
use erpgo_dr_core::storage::{LocalStorage, ReplicatedStorage, Storage, WritePolicy};
use erpgo_dr_testkit::postgres::PgServer;

/// A repository in one or several folders.
pub(crate) struct Archive {
    pub(crate) repository: Repository,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) places: Vec<Arc<dyn Storage>>,
}

impl Archive {
    pub(crate) async fn new() -> Self {
        Self::of(1).await
    }

    /// Makes a repository in the folders `place-0`, `place-1`...
    pub(crate) async fn of(places: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = |n: usize| -> Arc<dyn Storage> {
            Arc::new(LocalStorage::open(folder.path().join(format!("place-{n}"))).unwrap())
        };
        let places: Vec<Arc<dyn Storage>> = (0..places).map(place).collect();
        let storage: Arc<dyn Storage> = match places.as_slice() {
            [only] => Arc::clone(only),
            [primary, rest @ ..] => {
                Arc::new(ReplicatedStorage::new(Arc::clone(primary), rest.to_vec(), WritePolicy::Primary))
            }
            [] => unreachable!(),
        };
        let environment = Environment::new(ComputePool::new(2).unwrap(), Arc::new(SystemClock));
        let slots = [("owner".parse().unwrap(), Wrapper::Recipients(vec![generate_identity().recipient]))];
        let repository = Repository::init(storage, environment, &InitOptions::default(), &slots).await.unwrap();
        Self { repository, folder, places }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) async fn push(&self, path: &Path) -> ops::Result<WalPushReport> {
        wal_push(&self.repository, path, &WalPushOptions::default().with_places(self.places.clone())).await
    }

    pub(crate) async fn fetch(&self, name: &str, destination: &Path) -> ops::Result<WalFetchReport> {
        let options = WalFetchOptions::default().with_places(self.places.clone());
        wal_fetch(&self.repository, name.parse().unwrap(), destination, &options).await
    }

    /// The file of an archived object at one of the places.
    pub(crate) fn object(&self, place: usize, name: &str) -> PathBuf {
        let found = files(&self.path(&format!("place-{place}/wal")));
        let found = found.into_iter().find(|path| path.ends_with(name));
        found.unwrap_or_else(|| panic!("{name} is not archived at place {place}"))
    }
}

pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() { found.extend(files(&entry.path())) } else { found.push(entry.path()) }
    }
    found
}

/// Flips a bit in the middle of a file.
pub(crate) fn damage(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// Copies the first `count` whole segments of a server into `folder/pg_wal`, with its control file where a data directory has it.
pub(crate) fn segments(server: &PgServer, folder: &Path, count: usize) -> Vec<PathBuf> {
    let log = folder.join("pg_wal");
    std::fs::create_dir_all(&log).unwrap();
    std::fs::create_dir_all(folder.join("global")).unwrap();
    std::fs::copy(server.data_dir().join("global/pg_control"), folder.join("global/pg_control")).unwrap();
    let mut copies = Vec::new();
    for n in 0..count {
        server.psql("postgres", &format!("CREATE TABLE t{n} AS SELECT generate_series(1, 1000) AS n"));
        let name = server.psql("postgres", "SELECT pg_walfile_name(pg_switch_wal())");
        let copy = log.join(&name);
        std::fs::copy(server.data_dir().join("pg_wal").join(&name), &copy).unwrap();
        copies.push(copy);
    }
    copies
}

pub(crate) fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}
