//! The spool of this host: what opens the repository, and the journals of runs, while the repository's place is away.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use erpgo_dr_core::Repository;
use erpgo_dr_core::storage::{SpooledStorage, Storage};
use erpgo_dr_core::types::ObjectKey;

use super::{Access, Context, Places};
use crate::error::CliError;

/// A repository that opens, and whose runs go on, without its place.
pub(crate) struct SpooledRepository {
    pub(crate) repository: Repository,
    spool: Option<SpooledStorage>,
}

impl Context {
    /// Opens the repository for runs of runbooks: from the spool, where its place does not answer.
    pub(crate) async fn spooled_repository(&self, access: Access) -> Result<SpooledRepository, CliError> {
        let places = self.places()?;
        let Some(spool) = self.spool(&places).await else {
            return Ok(SpooledRepository { repository: self.open_at(&places, access).await?, spool: None });
        };
        let storage: Arc<dyn Storage> = Arc::new(spool.clone());
        let repository = self.open_at(&Places { storage, replicated: places.replicated }, access).await?;
        let spooled = SpooledRepository { repository, spool: Some(spool) };
        if let Some(spool) = spooled.spool.as_ref().filter(|spool| spool.is_away()) {
            let (place, folder) = (spool.location(), spool.spool_location());
            self.output.warn(&format!(
                "the repository {place} is away: it was opened from {folder}, where journals wait for it"
            ));
        } else {
            self.mirror(spooled.spool.as_ref()).await;
        }
        spooled.deliver(self).await;
        Ok(spooled)
    }

    /// Has what opens the repository at hand on this host, as it is now.
    pub(super) async fn keep_at_hand(&self, places: &Places) {
        self.mirror(self.spool(places).await.as_ref()).await;
    }

    async fn mirror(&self, spool: Option<&SpooledStorage>) {
        if let Some(spool) = spool
            && let Err(error) = spool.refresh().await
        {
            let folder = spool.spool_location();
            tracing::warn!(
                folder,
                error = &error as &dyn std::error::Error,
                "what opens the repository is not at hand without its place"
            );
        }
    }

    async fn spool(&self, places: &Places) -> Option<SpooledStorage> {
        let (place, folder) = (Arc::clone(&places.storage), self.spools()?);
        let spooled = Repository::spooled_place(place, &places.locations(), &folder).await.ok()??;
        for folder in spooled.former {
            self.output.warn(&format!(
                "another repository was at {} before: what this host has of that one stays in {}",
                places.storage.location(),
                folder.display()
            ));
        }
        Some(spooled.storage)
    }

    /// Returns the folder of spools: the configured one, or one where the state of programs is kept.
    fn spools(&self) -> Option<PathBuf> {
        match &self.config.runbook.spool {
            Some(folder) => Some(folder.clone()),
            None => Some(state_folder()?.join("erpgo-dr").join("spool")),
        }
    }
}

impl SpooledRepository {
    /// Brings what waits to the place, and says what cannot be brought there.
    pub(crate) async fn deliver(&self, context: &Context) {
        let Some(spool) = &self.spool else { return };
        let folder = spool.spool_location();
        match spool.deliver().await {
            Ok(delivery) => {
                for (first, number) in by_folder(&delivery.diverged) {
                    context.output.warn(&format!(
                        "the repository has another entry {first} than this host, where that run went on as well; ours from there on ({number}) are below {folder}/diverged"
                    ));
                }
            }
            Err(_) if spool.is_away() => {}
            Err(error) => context.output.warn(&format!("journals wait in {folder}: {error}")),
        }
    }
}

/// Returns the first of each folder's objects, and how many there are.
fn by_folder(objects: &[ObjectKey]) -> impl Iterator<Item = (&ObjectKey, usize)> {
    let folder = |object: &&ObjectKey| object.as_str().rsplit_once('/').map(|(folder, _)| folder.to_owned());
    let mut folders: BTreeMap<_, (&ObjectKey, usize)> = BTreeMap::new();
    for object in objects {
        folders.entry(folder(&object)).or_insert((object, 0)).1 += 1;
    }
    folders.into_values()
}

/// Returns where programs keep what they need from one run to the next: what systemd names, what the user named, or the usual place.
fn state_folder() -> Option<PathBuf> {
    let named = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || Some(named("HOME")?.join(Path::new(".local/state")));
    named("STATE_DIRECTORY").or_else(|| named("XDG_STATE_HOME")).or_else(home)
}
