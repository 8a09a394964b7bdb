//! What of a cluster the repository has already, when a backup of it begins.

use super::base::Base;
use super::options::ChangeDetection;
use super::resume::Interrupted;
use crate::ops::Result;
use crate::postgres::physical::ClusterFacts;
use crate::repository::{BackupRun, Repository, StoredObject};

/// What a new backup may point to, beside its own packs.
#[derive(Debug)]
pub(super) struct Earlier {
    pub(super) base: Option<Base>,
    pub(super) interrupted: Interrupted,
    /// The key of the hashes of both, and of the new backup's.
    pub(super) key: [u8; 32],
}

impl Earlier {
    /// Looks for what there is of the cluster, and leaves word that `run` may come to point to it.
    pub(super) async fn find(
        repository: &Repository,
        run: &mut BackupRun<'_>,
        facts: &ClusterFacts,
        changes: ChangeDetection,
    ) -> Result<Self> {
        let (mut base, mut interrupted) = (None, Interrupted::default());
        if changes != ChangeDetection::Full {
            run.announce().await?;
            let catalogue = repository.catalogue().await?;
            base = Base::find(repository, &catalogue, facts).await?;
            // What proves what the log tells is a comparison with the base, and with nothing else.
            if changes != ChangeDetection::Both {
                let (known, inherited) = (base.as_ref().map(|base| (&base.id, base.key)), packs_of(base.as_ref()));
                let system = facts.system_identifier;
                interrupted = Interrupted::find(repository, &catalogue, system, known, inherited).await?;
            }
        }
        let key = base.as_ref().map(|base| base.key).or(interrupted.key).unwrap_or_else(rand::random);
        Ok(Self { base, interrupted, key })
    }

    /// Returns the packs that come first in the new backup's table, and how many of these are the base's.
    pub(super) fn packs(&self) -> (Vec<StoredObject>, usize) {
        let mut packs = self.base.as_ref().map(|base| base.packs.clone()).unwrap_or_default();
        let of_base = packs.len();
        packs.extend_from_slice(&self.interrupted.packs);
        (packs, of_base)
    }
}

fn packs_of(base: Option<&Base>) -> u32 {
    base.map_or(0, |base| base.packs.len() as u32)
}
