//! Journals of runs of runbooks: rows of sealed entries, of which each is created once and never replaced.
//!
//! Two processes that go on with one run cannot both write the entry of a number: the second is told, and stops. What entries say is
//! the business of the layer above; here they are bytes.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;

use super::{Repository, RepositoryError, layout};
use crate::container::{ObjectIdentity, ObjectKind, open_bytes, seal_bytes};
use crate::storage::{StorageError, StorageExt as _};
use crate::types::{ObjectKey, RunId};

/// The largest entry that is read.
const ENTRY_LIMIT: usize = 16 << 20;

impl Repository {
    /// Adds the entry `number` to the journal of a run.
    ///
    /// # Errors
    /// [`RepositoryError::EntryExists`] when somebody else has; of the storage place otherwise, and then it may be there or not.
    pub(crate) async fn append_to_run(&self, run: &RunId, number: u32, plain: &[u8]) -> Result<(), RepositoryError> {
        let object = layout::run_entry(run, number);
        let options = self.settings.container_options(None);
        let sealed = seal_bytes(&identity(&object), &self.sealing_key()?, &options, plain)?;
        match self.storage.create(&object, sealed.into()).await {
            Ok(_) => Ok(()),
            Err(StorageError::AlreadyExists { .. }) => Err(RepositoryError::EntryExists { run: run.clone(), number }),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads the journal of a run, its entries in their order; none if there is no such run.
    ///
    /// # Errors
    /// [`RepositoryError::Damaged`] when entries are missing in between; of the storage place; when an entry is not authentic.
    pub(crate) async fn run_entries(&self, run: &RunId) -> Result<Vec<Vec<u8>>, RepositoryError> {
        let mut numbers = Vec::new();
        let mut objects = self.storage.list(&layout::run(run));
        while let Some(meta) = objects.try_next().await? {
            numbers
                .extend(layout::parse_run_entry(&meta.key).filter(|(found, _)| found == run).map(|(_, number)| number));
        }
        numbers.sort_unstable();
        let mut entries = Vec::with_capacity(numbers.len());
        for (expected, number) in (0..).zip(numbers) {
            if number != expected {
                let reason = format!("entry {expected} is missing");
                return Err(RepositoryError::Damaged { record: layout::run(run), reason });
            }
            let object = layout::run_entry(run, number);
            let stored = self.storage.read(&object, ENTRY_LIMIT).await?;
            entries.push(open_bytes(&stored, &identity(&object), &self.keyring, ENTRY_LIMIT)?);
        }
        Ok(entries)
    }

    /// Lists the runs that have a journal, the oldest first.
    ///
    /// # Errors
    /// Of the storage place.
    pub(crate) async fn runs(&self) -> Result<Vec<RunId>, RepositoryError> {
        Ok(self.run_lengths().await?.into_keys().collect())
    }

    /// Lists the runs that have a journal, the oldest first, with the number of its entries.
    ///
    /// # Errors
    /// Of the storage place.
    pub(crate) async fn run_lengths(&self) -> Result<BTreeMap<RunId, u64>, RepositoryError> {
        let mut runs = BTreeMap::new();
        let mut objects = self.storage.list(layout::RUNS);
        while let Some(meta) = objects.try_next().await? {
            if let Some((run, _)) = layout::parse_run_entry(&meta.key) {
                *runs.entry(run).or_default() += 1;
            }
        }
        Ok(runs)
    }
}

fn identity(object: &ObjectKey) -> ObjectIdentity {
    ObjectIdentity::new(ObjectKind::Journal, object.as_str())
}
