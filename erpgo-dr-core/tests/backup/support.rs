//! A repository on local disk beside a real server with the sample data.

use std::path::PathBuf;
use std::sync::Arc;

use erpgo_dr_core::Repository;
use erpgo_dr_core::clock::SystemClock;
use erpgo_dr_core::compute::ComputePool;
use erpgo_dr_core::crypto::keys::Wrapper;
use erpgo_dr_core::crypto::keys::generate_identity;
use erpgo_dr_core::ops::RestoreTestOptions;
use erpgo_dr_core::postgres::{ClientPrograms, ConnectionSettings, DumpOptions, LogicalDriver, RestoreOptions};
use erpgo_dr_core::progress::{NoProgress, Progress};
use erpgo_dr_core::repository::{Environment, InitOptions};
use erpgo_dr_core::storage::LocalStorage;
use erpgo_dr_testkit::postgres::{PgServer, postgres_bin};

pub(crate) const NO_PROGRESS: &dyn Progress = &NoProgress;

pub(crate) struct Site {
    pub(crate) server: PgServer,
    pub(crate) repository: Repository,
    pub(crate) folder: tempfile::TempDir,
}

impl Site {
    /// Starts a server with the sample database `erp`, and makes an empty repository.
    pub(crate) async fn new(major: u32) -> Self {
        let server = tokio::task::spawn_blocking(move || {
            let server = PgServer::start(major);
            server.create_sample("erp", 1);
            server
        });
        let folder = tempfile::tempdir().unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        std::fs::set_permissions(folder.path(), open).unwrap();
        let storage = Arc::new(LocalStorage::open(folder.path().join("repository")).unwrap());
        let environment = Environment::new(ComputePool::new(2).unwrap(), Arc::new(SystemClock));
        let slots = [("owner".parse().unwrap(), Wrapper::Recipients(vec![generate_identity().recipient]))];
        let repository = Repository::init(storage, environment, &InitOptions::default(), &slots).await.unwrap();
        Self { server: server.await.unwrap(), repository, folder }
    }

    pub(crate) fn programs(&self) -> ClientPrograms {
        ClientPrograms::new().folder(postgres_bin(self.server.major()))
    }

    pub(crate) fn driver(&self) -> LogicalDriver {
        let settings: ConnectionSettings = self.server.url("erp").parse().unwrap();
        let dump = DumpOptions::new().database("erp").jobs(3).segment_bytes(32 << 10);
        LogicalDriver::new(settings, self.programs()).dump_options(dump)
    }

    pub(crate) fn restoring(&self, options: RestoreOptions) -> LogicalDriver {
        self.driver().restore_options(options)
    }

    pub(crate) fn restore_test(&self) -> RestoreTestOptions {
        let scratch: PathBuf = self.folder.path().join("s");
        std::fs::create_dir_all(&scratch).unwrap();
        RestoreTestOptions::new(self.programs(), scratch)
    }

    /// The rows of every ordinary table, as text in an order of its own.
    pub(crate) fn content(&self, database: &str) -> String {
        let tables = self.server.psql(
            database,
            "SELECT format('SELECT %L, count(*), sum(hashtextextended(t::text, 0)::numeric) FROM %s t', c.oid::regclass, \
             c.oid::regclass) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind IN ('r', 'm') \
             AND nspname !~ '^pg_|information_schema' ORDER BY nspname, relname",
        );
        tables.lines().map(|query| self.server.psql(database, query)).collect::<Vec<_>>().join("\n")
    }
}
