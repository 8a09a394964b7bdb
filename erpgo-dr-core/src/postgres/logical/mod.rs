//! The logical driver: a backup is the SQL of the roles and one pg_dump archive for each database.
//!
//! pg_dump and pg_restore do the work. What this module adds is what they leave open: the archive is
//! scanned on its way, so that each table's rows are known and can be found again; a restore takes its
//! data from a stream, in parallel, without a file of plaintext anywhere; and neither starts on top of
//! what is already there.

mod check;
mod dump;
mod estimate;
mod options;
mod parallel;
mod properties;
mod pump;
mod restore;
mod snapshot;

pub use options::{DatabaseSelection, DumpOptions, RestoreOptions, TableName};

use async_trait::async_trait;

use super::{
    BackupContents, BackupSink, BackupSource, CheckDepth, ClientPrograms, ConnectionSettings, DatabaseDriver,
    PostgresError, RestoreOutcome, ServerInfo, ServerInspector, TableContents,
};
use crate::cleanup::Cleanups;
use crate::progress::Progress;

/// Backs databases up with pg_dump, and restores them with pg_restore.
#[derive(Debug, Clone)]
pub struct LogicalDriver {
    settings: ConnectionSettings,
    programs: ClientPrograms,
    dump: DumpOptions,
    restore: RestoreOptions,
    /// `None` on a server that goes away as a whole.
    cleanups: Option<Cleanups>,
}

impl LogicalDriver {
    /// Creates a driver for a server, which takes and gives back everything.
    pub fn new(settings: ConnectionSettings, programs: ClientPrograms) -> Self {
        let (dump, restore, cleanups) = (DumpOptions::new(), RestoreOptions::new(), Some(Cleanups::default()));
        Self { settings, programs, dump, restore, cleanups }
    }

    /// Sets what a backup takes.
    pub fn dump_options(mut self, options: DumpOptions) -> Self {
        self.dump = options;
        self
    }

    /// Sets what a restore brings back, and where to.
    pub fn restore_options(mut self, options: RestoreOptions) -> Self {
        self.restore = options;
        self
    }

    /// Sets where a cancelled restore leaves the dropping of databases that it had made and not filled.
    ///
    /// A program that ends soon after waits there for it. Without it they are dropped in the background all the same.
    pub fn cleanups(mut self, cleanups: Cleanups) -> Self {
        self.cleanups = Some(cleanups);
        self
    }

    /// Leaves what a cancelled restore had made: the server goes away as a whole.
    pub(crate) fn on_throwaway_server(mut self) -> Self {
        self.cleanups = None;
        self
    }

    /// Asks the driver's server more than a driver must answer.
    pub fn inspector(&self) -> ServerInspector {
        ServerInspector::new(self.settings.clone())
    }

    /// Fingerprints the tables of a live database, by a dump that goes nowhere.
    ///
    /// # Errors
    /// Those of a backup.
    pub async fn fingerprint_database(&self, database: &str) -> Result<Vec<TableContents>, PostgresError> {
        dump::fingerprint(self, database).await
    }
}

#[async_trait]
impl DatabaseDriver for LogicalDriver {
    fn kind(&self) -> &'static str {
        "logical"
    }

    async fn probe(&self) -> Result<ServerInfo, PostgresError> {
        self.inspector().probe().await
    }

    async fn back_up(
        &self,
        sink: &mut dyn BackupSink,
        progress: &dyn Progress,
    ) -> Result<BackupContents, PostgresError> {
        dump::back_up(self, sink, progress).await
    }

    async fn restore(
        &self,
        source: &dyn BackupSource,
        contents: &BackupContents,
        progress: &dyn Progress,
    ) -> Result<RestoreOutcome, PostgresError> {
        restore::restore(self, source, contents, progress).await
    }

    async fn replaces(&self, contents: &BackupContents) -> Result<bool, PostgresError> {
        restore::replaces(self, contents).await
    }

    async fn check(
        &self,
        source: &dyn BackupSource,
        contents: &BackupContents,
        depth: CheckDepth,
    ) -> Result<(), PostgresError> {
        check::check(self, source, contents, depth).await
    }
}
