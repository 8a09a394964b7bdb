//! What the demo puts up and takes down again: a folder, servers, objects at a place that is not its own.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use erpgo_dr_core::postgres::throwaway::ThrowawayServer;
use erpgo_dr_core::repository::Cleanups;
use erpgo_dr_core::storage::Storage;
use futures::TryStreamExt as _;
use tempfile::TempDir;

use super::weed::Weed;
use crate::error::{self, CliError};

/// How long cancelled operations of the demo may take to clean up before their ground goes.
const SETTLE: Duration = Duration::from_secs(10);

/// All that must be gone when the demo has ended. Dropping it, which is what Ctrl-C does, clears it in the background:
/// whoever ends the process waits for the clean-ups first.
#[derive(Debug)]
pub(super) struct Stage {
    /// `None` once it was cleared.
    props: Option<Props>,
    cleanups: Cleanups,
}

#[derive(Debug)]
struct Props {
    folder: TempDir,
    servers: Vec<ThrowawayServer>,
    weed: Option<Weed>,
    guest: Option<Guest>,
    operations: Cleanups,
}

/// A place of somebody else, in which the demo has a folder.
#[derive(Debug)]
struct Guest {
    place: Arc<dyn Storage>,
    /// The folder, where the place is a disk: it stays when its last object goes.
    folder: Option<PathBuf>,
}

impl Stage {
    /// Makes the folder. The servers' account can pass through it, and only that.
    pub(super) fn build(cleanups: Cleanups) -> Result<Self, CliError> {
        let folder = tempfile::Builder::new()
            .prefix("erpgo-dr-demo-")
            .permissions(Permissions::from_mode(0o711))
            .tempdir()
            .map_err(|source| error::io("make a folder for the demo", source))?;
        let props = Props { folder, servers: Vec::new(), weed: None, guest: None, operations: Cleanups::default() };
        Ok(Self { props: Some(props), cleanups })
    }

    /// Returns a path in the folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Returns the name of the folder, which no other demo has.
    pub(super) fn name(&self) -> String {
        self.folder().file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Returns where operations of the demo leave their clean-up work.
    pub(super) fn operations(&self) -> Cleanups {
        self.props.as_ref().map(|props| props.operations.clone()).unwrap_or_default()
    }

    /// Keeps a database server until the end.
    pub(super) fn keep_server(&mut self, server: ThrowawayServer) {
        if let Some(props) = &mut self.props {
            props.servers.push(server);
        }
    }

    /// Keeps the S3 server until the end.
    pub(super) fn keep_weed(&mut self, weed: Weed) {
        if let Some(props) = &mut self.props {
            props.weed = Some(weed);
        }
    }

    /// Remembers a place that is not ours: what the demo writes there is removed at the end.
    pub(super) fn keep_guest(&mut self, place: Arc<dyn Storage>, folder: Option<PathBuf>) {
        if let Some(props) = &mut self.props {
            props.guest = Some(Guest { place, folder });
        }
    }

    /// Takes everything down.
    pub(super) async fn clear(mut self) -> Result<(), CliError> {
        match self.props.take() {
            Some(props) => props.clear().await,
            None => Ok(()),
        }
    }

    fn folder(&self) -> &Path {
        self.props.as_ref().map_or(Path::new(""), |props| props.folder.path())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let Some(props) = self.props.take() else { return };
        self.cleanups.spawn(async {
            if let Err(error) = props.clear().await {
                tracing::warn!(%error, "the demo could not clear its stage");
            }
        });
    }
}

impl Props {
    /// Goes on after a failure, and returns the first.
    async fn clear(self) -> Result<(), CliError> {
        // A cancelled backup removes what it wrote, and needs the places for it.
        let _ = tokio::time::timeout(SETTLE, self.operations.settle()).await;
        let emptied = match &self.guest {
            Some(guest) => guest.empty().await,
            None => Ok(()),
        };
        drop(self.weed);
        let mut stopped = Ok(());
        for server in self.servers {
            stopped = stopped.and(server.stop().await);
        }
        let action = format!("remove {}", self.folder.path().display());
        let removed = self.folder.close().map_err(|source| error::io(action, source));
        emptied?;
        stopped?;
        removed
    }
}

impl Guest {
    async fn empty(&self) -> Result<(), CliError> {
        let objects: Vec<_> = self.place.list("").try_collect().await?;
        for object in objects {
            self.place.delete(&object.key).await?;
        }
        match &self.folder {
            Some(folder) if folder.exists() => std::fs::remove_dir_all(folder)
                .map_err(|source| error::io(format!("remove {}", folder.display()), source)),
            _ => Ok(()),
        }
    }
}
