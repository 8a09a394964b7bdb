//! Bundles of evidence: sealed items, and a manifest that is created last. Its signature, and what items mean, is the business of the
//! layer above.

use bytes::Bytes;
use futures::TryStreamExt as _;
use futures::stream::BoxStream;

use super::{Repository, RepositoryError, layout};
use crate::container::{
    ContainerError, ContainerReader, ContainerReport, ContainerWriter, ObjectIdentity, ObjectKind, open_bytes,
    seal_bytes,
};
use crate::crypto::SigningKey;
use crate::storage::{PutOptions, StorageError, StorageExt as _};
use crate::types::{EpochId, EvidenceId, ObjectKey};

/// The largest manifest, and the largest entry of a chain of custody, in bytes.
const LIMIT: usize = 64 << 20;

/// An item that is being written. Dropping it leaves nothing.
pub(crate) struct EvidenceWriter {
    writer: ContainerWriter,
}

impl EvidenceWriter {
    pub(crate) async fn write(&mut self, data: Bytes) -> Result<(), ContainerError> {
        self.writer.write(data).await
    }

    pub(crate) async fn finish(self) -> Result<ContainerReport, ContainerError> {
        self.writer.finish().await
    }
}

impl Repository {
    /// Returns the key that signs a bundle, and the epoch that it is of.
    pub(crate) fn evidence_signer(&self) -> Result<(EpochId, SigningKey), RepositoryError> {
        let sealing = self.sealing_key()?;
        Ok((sealing.epoch, SigningKey::of_epoch(&sealing.key)))
    }

    /// Returns the key that signs the bundles of an epoch.
    pub(crate) fn evidence_signer_of(&self, epoch: &EpochId) -> Result<SigningKey, RepositoryError> {
        Ok(SigningKey::of_epoch(&*self.keyring.require(epoch)?))
    }

    /// Begins an item of a bundle.
    pub(crate) async fn evidence_writer(
        &self,
        id: &EvidenceId,
        number: u32,
    ) -> Result<EvidenceWriter, RepositoryError> {
        let key = layout::evidence_item(id, number);
        let target = self.storage.put(&key, &PutOptions::default()).await?;
        let options = self.settings.container_options(None);
        let pool = self.environment.pool.clone();
        let writer = ContainerWriter::new(identity(&key), &self.sealing_key()?, &options, pool, target)?;
        Ok(EvidenceWriter { writer })
    }

    /// Reads an item of a bundle; each piece is authentic.
    pub(crate) async fn evidence_item(
        &self,
        id: &EvidenceId,
        number: u32,
    ) -> Result<BoxStream<'static, Result<Bytes, ContainerError>>, RepositoryError> {
        let key = layout::evidence_item(id, number);
        let stored = self.storage.get(&key, None).await?;
        let pool = self.environment.pool.clone();
        let reader = ContainerReader::open(stored, &identity(&key), &self.keyring, pool).await?;
        Ok(Box::pin(reader.into_stream()))
    }

    /// Writes the manifest of a bundle, from when on it exists.
    pub(crate) async fn create_evidence(&self, id: &EvidenceId, manifest: &[u8]) -> Result<(), RepositoryError> {
        self.create_sealed(&layout::evidence_manifest(id), manifest).await
    }

    /// Reads the manifest of a bundle, if there is one.
    pub(crate) async fn evidence(&self, id: &EvidenceId) -> Result<Option<Vec<u8>>, RepositoryError> {
        self.read_sealed(&layout::evidence_manifest(id)).await
    }

    /// Lists bundles, the oldest first: those too that were begun and never ended.
    pub(crate) async fn evidence_ids(&self) -> Result<Vec<EvidenceId>, RepositoryError> {
        let mut ids = Vec::new();
        let mut objects = self.storage.list(layout::EVIDENCE);
        while let Some(meta) = objects.try_next().await? {
            ids.extend(meta.key.as_str().split('/').nth(1).and_then(|id| id.parse().ok()));
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// Adds an entry to the chain of custody of a bundle.
    pub(crate) async fn append_custody(
        &self,
        id: &EvidenceId,
        number: u32,
        entry: &[u8],
    ) -> Result<(), RepositoryError> {
        self.create_sealed(&layout::evidence_custody_entry(id, number), entry).await
    }

    /// Reads the chain of custody of a bundle, up to the first number that is not there.
    pub(crate) async fn custody(&self, id: &EvidenceId) -> Result<Vec<Vec<u8>>, RepositoryError> {
        let mut entries = Vec::new();
        while let Some(entry) = self.read_sealed(&layout::evidence_custody_entry(id, entries.len() as u32)).await? {
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Counts the objects of a chain of custody, whatever their numbers.
    pub(crate) async fn custody_length(&self, id: &EvidenceId) -> Result<usize, RepositoryError> {
        let objects: Vec<_> = self.storage.list(&layout::evidence_custody(id)).try_collect().await?;
        Ok(objects.len())
    }

    async fn create_sealed(&self, key: &ObjectKey, plain: &[u8]) -> Result<(), RepositoryError> {
        let sealed = seal_bytes(&identity(key), &self.sealing_key()?, &self.settings.container_options(None), plain)?;
        self.storage.create(key, sealed.into()).await?;
        Ok(())
    }

    async fn read_sealed(&self, key: &ObjectKey) -> Result<Option<Vec<u8>>, RepositoryError> {
        match self.storage.read(key, LIMIT).await {
            Ok(stored) => Ok(Some(open_bytes(&stored, &identity(key), &self.keyring, LIMIT)?)),
            Err(StorageError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn identity(key: &ObjectKey) -> ObjectIdentity {
    ObjectIdentity::new(ObjectKind::Evidence, key.as_str())
}
