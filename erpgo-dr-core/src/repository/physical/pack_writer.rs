//! Fills packs: many small files become a few objects of a good size.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::super::layout;
use super::super::manifest::StoredObject;
use super::Extent;
use crate::compute::ComputePool;
use crate::container::{ContainerError, ContainerOptions, ContainerWriter, ObjectIdentity, ObjectKind, SealingKey};
use crate::storage::{PutOptions, Storage};
use crate::types::{BackupId, ObjectKey};

/// Stored bytes after which a pack is full.
const STORED_TARGET: u64 = 24 << 20;
/// Plaintext bytes after which a pack is full, however well they compress.
const PLAIN_LIMIT: u64 = 256 << 20;
/// Full packs whose last bytes may still be on their way to the storage place.
const FINISHING: usize = 3;
/// The longest piece that is taken at once, in bytes.
const PIECE_LIMIT: usize = 1 << 20;

/// How packs are written.
#[derive(Debug, Clone)]
pub(crate) struct PackOptions {
    pub(crate) container: ContainerOptions,
    pub(crate) put: PutOptions,
}

/// Appends pieces of files to packs, and says where each piece lies.
#[derive(Debug)]
pub(crate) struct PackWriter {
    storage: Arc<dyn Storage>,
    pool: ComputePool,
    key: SealingKey,
    options: PackOptions,
    backup: BackupId,
    /// Packs before those of this writer in the manifest's table.
    inherited: u32,
    open: Option<OpenPack>,
    /// Packs of this writer so far: full, or about to be.
    packs: Vec<Pack>,
    /// The first so many of these are durable.
    durable: usize,
}

#[derive(Debug)]
struct OpenPack {
    key: ObjectKey,
    writer: ContainerWriter,
}

#[derive(Debug)]
enum Pack {
    Finishing(JoinHandle<Result<StoredObject, ContainerError>>),
    Stored(StoredObject),
}

impl PackWriter {
    /// Writes packs of `backup`, which are numbered from `inherited` on in the manifest's table.
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        pool: ComputePool,
        key: SealingKey,
        options: PackOptions,
        backup: BackupId,
        inherited: u32,
    ) -> Self {
        Self { storage, pool, key, options, backup, inherited, open: None, packs: Vec::new(), durable: 0 }
    }

    /// Takes a piece of at most [`PIECE_LIMIT`] bytes; waits while too much is in flight.
    ///
    /// After an error the writer is of no further use; what it stored belongs to no backup.
    pub(crate) async fn append(&mut self, piece: Bytes) -> Result<Extent, ContainerError> {
        debug_assert!(!piece.is_empty() && piece.len() <= PIECE_LIMIT);
        let pack = self.open_pack().await?;
        // Below 4 GiB by far: see the limits.
        let (offset, length) = (pack.writer.plaintext_bytes() as u32, piece.len() as u32);
        pack.writer.write(piece).await?;
        let full = pack.writer.plaintext_bytes() >= PLAIN_LIMIT || pack.writer.stored_bytes() >= STORED_TARGET;
        let extent = Extent::Stored { pack: self.inherited + self.packs.len() as u32, offset, length };
        if full {
            self.close_pack().await?;
        }
        Ok(extent)
    }

    /// Returns how many packs are known to be durable, of those that this writer began: the first ones.
    pub(crate) fn durable(&self) -> u32 {
        self.durable as u32
    }

    /// Returns the durable packs from this number on, counted from the first that this writer began.
    pub(crate) fn durable_from(&self, first: u32) -> Vec<StoredObject> {
        let stored = self.packs[first as usize..self.durable].iter().filter_map(|pack| match pack {
            Pack::Stored(object) => Some(object.clone()),
            Pack::Finishing(_) => None,
        });
        stored.collect()
    }

    /// Waits until all packs are durable, and returns them by number.
    pub(crate) async fn finish(mut self) -> Result<Vec<StoredObject>, ContainerError> {
        self.close_pack().await?;
        self.wait_until_finishing(0).await?;
        let stored = std::mem::take(&mut self.packs).into_iter().filter_map(|pack| match pack {
            Pack::Stored(object) => Some(object),
            Pack::Finishing(_) => None,
        });
        Ok(stored.collect())
    }

    /// Gives up. When it returns, nothing of the writer is on its way any more.
    pub(crate) async fn abort(mut self) {
        if let Some(OpenPack { writer, .. }) = self.open.take() {
            writer.abort().await;
        }
        for pack in std::mem::take(&mut self.packs) {
            if let Pack::Finishing(task) = pack {
                task.abort();
                let _ = task.await;
            }
        }
    }

    async fn open_pack(&mut self) -> Result<&mut OpenPack, ContainerError> {
        if self.open.is_none() {
            let key = layout::pack(&self.backup, self.packs.len() as u32);
            let target = self.storage.put(&key, &self.options.put).await?;
            let identity = ObjectIdentity::new(ObjectKind::Pack, key.as_str());
            let writer = ContainerWriter::new(identity, &self.key, &self.options.container, self.pool.clone(), target)?;
            self.open = Some(OpenPack { key, writer });
        }
        Ok(self.open.as_mut().expect("opened above"))
    }

    /// Finishes the open pack in the background, so that a slow commit of one does not hold up the next.
    async fn close_pack(&mut self) -> Result<(), ContainerError> {
        let Some(OpenPack { key, writer }) = self.open.take() else { return Ok(()) };
        let finishing = tokio::spawn(async move {
            let report = writer.finish().await?;
            Ok(StoredObject::new(key, &report))
        });
        self.packs.push(Pack::Finishing(finishing));
        self.wait_until_finishing(FINISHING).await
    }

    /// Waits until at most `most` packs are not durable yet. The oldest are waited for first.
    async fn wait_until_finishing(&mut self, most: usize) -> Result<(), ContainerError> {
        let settled = self.packs.len().saturating_sub(most);
        for pack in &mut self.packs[..settled] {
            if let Pack::Finishing(task) = pack {
                let stored = match task.await {
                    Ok(outcome) => outcome?,
                    Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                    Err(_) => unreachable!("the task is aborted only when the writer is dropped"),
                };
                *pack = Pack::Stored(stored);
            }
        }
        self.durable = self.durable.max(settled);
        Ok(())
    }
}

/// What is still on its way is given up.
impl Drop for PackWriter {
    fn drop(&mut self) {
        for pack in &self.packs {
            if let Pack::Finishing(task) = pack {
                task.abort();
            }
        }
    }
}
