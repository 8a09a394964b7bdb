//! A copy of a cluster in a throwaway folder, which is put to one moment after another.
//!
//! The first moment takes a restore of all files. For each further one only pages are written that differ from those which are there, and
//! the log is replayed from the backup on: replay goes forward only.

use super::recovery::RecoveryOptions;
use super::restore::restore_to;
use super::target::ClusterTarget;
use crate::ops::Result;
use crate::postgres::throwaway::{ThrowawayFolder, ThrowawayOptions, ThrowawayRun};
use crate::postgres::{ConnectionSettings, PostgresError};
use crate::progress::Progress;
use crate::repository::{Manifest, PhysicalContents, Repository};

/// The copy. [`remove`](Self::remove) it; dropping it removes it too, but blocks meanwhile.
#[derive(Debug)]
pub(in crate::ops) struct RestoredCopy {
    // Dropped in this order: the server must be gone before its folder is.
    server: Option<ThrowawayRun>,
    folder: ThrowawayFolder,
    is_filled: bool,
}

impl RestoredCopy {
    /// Makes an empty folder.
    pub(in crate::ops) async fn create(options: ThrowawayOptions) -> Result<Self> {
        Ok(Self { server: None, folder: ThrowawayFolder::create(options).await?, is_filled: false })
    }

    /// Restores a backup, and starts a server on it that recovers as it is told. Returns how to reach that.
    pub(in crate::ops) async fn put_to(
        &mut self,
        repository: &Repository,
        manifest: &Manifest,
        physical: &PhysicalContents,
        recovery: &RecoveryOptions,
        progress: &dyn Progress,
    ) -> Result<ConnectionSettings> {
        if let Some(server) = self.server.take() {
            server.stop().await?;
        }
        self.folder.set_superuser(&physical.superuser)?;
        if self.is_filled && physical.pages.is_none() {
            self.clear().await?;
        }
        let mut target = ClusterTarget::new(self.folder.data()).with_owner(self.folder.account());
        target = target.with_delta(self.is_filled).with_discard_wal(self.is_filled);
        for tablespace in &physical.tablespaces {
            // Never to where it was: that is the original's.
            target = target.with_tablespace(tablespace.oid, self.folder.tablespace(tablespace.oid));
        }
        // Also what breaks off halfway is restored over.
        self.is_filled = true;
        restore_to(repository, manifest, physical, &target, recovery, progress).await?;
        let server = self.folder.run().await?;
        let connection = server.connection();
        let settings = ConnectionSettings::new(connection.socket_folder.display().to_string())
            .port(connection.port)
            .user(&connection.user)
            .database("postgres");
        self.server = Some(server);
        Ok(settings)
    }

    /// Stops the server, and removes the folder.
    pub(in crate::ops) async fn remove(mut self) -> Result<()> {
        let stopped = match self.server.take() {
            Some(server) => server.stop().await,
            None => Ok(()),
        };
        self.folder.remove().await?;
        Ok(stopped?)
    }

    /// Removes what was restored: a backup without hashes of its pages cannot be restored over another.
    async fn clear(&mut self) -> Result<()> {
        let data = self.folder.data();
        let removed = tokio::task::spawn_blocking({
            let data = data.clone();
            move || std::fs::remove_dir_all(&data)
        });
        let removed = removed.await.map_err(std::io::Error::other).and_then(|removed| removed);
        removed.map_err(|source| PostgresError::File { path: data, action: "remove", source })?;
        self.is_filled = false;
        Ok(())
    }
}
