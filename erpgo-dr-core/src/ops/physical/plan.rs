//! Decides, file by file, what of it is read and what is taken over from an earlier backup.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::backup::ChangeSource;
use super::base::Base;
use super::resume::Interrupted;
use crate::postgres::physical::{ChangedBlocks, ClusterEntry, ClusterEntryKind, ReadPlan, RelationFile};
use crate::repository::Extent;

/// Plans that may wait for a reader.
const QUEUE: usize = 64;

/// What to do with a file.
#[derive(Debug, Default)]
pub(super) struct FilePlan {
    pub(super) read: ReadPlan,
    /// Where an earlier run has the file's bytes.
    pub(super) extents: Vec<Extent>,
}

/// What is known of changes since the base.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) changed: ChangedBlocks,
    /// What told so.
    pub(super) by: ChangeSource,
    /// Bytes of WAL that were read for it.
    pub(super) wal_read_bytes: u64,
}

/// Makes the plans of a backup.
#[derive(Debug)]
pub(super) struct Planner {
    pub(super) base: Option<Base>,
    pub(super) interrupted: Interrupted,
    /// What is known of changes since the base.
    pub(super) told: Option<Told>,
    /// Whether all is read and compared, whatever was told.
    pub(super) compare_all: bool,
    pub(super) pages_per_file: u32,
}

impl Planner {
    /// Plans all entries in their order, a few ahead of who takes them.
    pub(super) fn start(mut self, entries: Arc<[ClusterEntry]>) -> mpsc::Receiver<(usize, FilePlan)> {
        let (sender, plans) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            for (number, entry) in entries.iter().enumerate() {
                let plan = self.plan(entry).await;
                if sender.send((number, plan)).await.is_err() {
                    return;
                }
            }
        });
        plans
    }

    async fn plan(&mut self, entry: &ClusterEntry) -> FilePlan {
        let ClusterEntryKind::File { .. } = entry.kind else { return FilePlan::default() };
        if let Some(known) = self.interrupted.file(&entry.path).await {
            // What told of changes since the base knows nothing of changes since then: all is read and compared.
            let read = ReadPlan { known: Some(known.pages), ..ReadPlan::default() };
            return FilePlan { read, extents: known.extents };
        }
        let Some(base) = &mut self.base else { return FilePlan::default() };
        let known = match base.file(&entry.path).await {
            Ok(known) => known,
            Err(error) => {
                tracing::warn!(backup = %base.id, %error, "it cannot be built on any further: the rest is read and stored whole");
                self.base = None;
                return FilePlan::default();
            }
        };
        let Some(known) = known else { return FilePlan::default() };
        let told = self.told.as_ref().zip(RelationFile::parse(&entry.path));
        let changed = told.and_then(|(told, file)| told.changed.of_file(&file, self.pages_per_file));
        let read = ReadPlan { known: Some(known.pages), changed, compare_all: self.compare_all };
        FilePlan { read, extents: known.extents }
    }
}
