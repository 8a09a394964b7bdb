//! Writing an object to all places at once.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;

use super::{Shared, WritePolicy, missed, patiently};
use crate::storage::{MissedWrite, ObjectMeta, ObjectWriter, PutOptions, StorageError};
use crate::types::ObjectKey;

/// Passes each piece to every place that has not failed yet; the slowest sets the pace.
#[derive(Debug)]
pub(super) struct ReplicatedWriter {
    shared: Arc<Shared>,
    key: ObjectKey,
    primary: Option<Box<dyn ObjectWriter>>,
    /// By place, without the primary; `None` for one that failed.
    secondaries: Vec<Option<Box<dyn ObjectWriter>>>,
    missed: Vec<MissedWrite>,
}

impl ReplicatedWriter {
    pub(super) async fn open(shared: Arc<Shared>, key: ObjectKey, options: &PutOptions) -> Result<Self, StorageError> {
        let puts = shared.places[1..].iter().map(|place| patiently(shared.patience, place, place.put(&key, options)));
        let (primary, secondaries) = tokio::join!(shared.primary().put(&key, options), join_all(puts));
        let primary = Some(primary?);
        let mut writer =
            Self { secondaries: Vec::with_capacity(secondaries.len()), missed: Vec::new(), shared, key, primary };
        for (place, opened) in secondaries.into_iter().enumerate() {
            let opened = opened.map_err(|error| writer.miss(place, &error)).ok();
            writer.secondaries.push(opened);
        }
        writer.check()?;
        Ok(writer)
    }

    fn miss(&mut self, secondary: usize, error: &StorageError) {
        self.missed.push(missed(&self.shared.places[secondary + 1], &self.key, error));
    }

    /// Fails where the policy cannot be kept any more.
    fn check(&self) -> Result<(), StorageError> {
        if self.shared.policy == WritePolicy::All && !self.missed.is_empty() {
            return Err(self.shared.degraded(&self.key, &self.missed));
        }
        Ok(())
    }

    fn primary(&mut self) -> Result<Box<dyn ObjectWriter>, StorageError> {
        self.primary.take().ok_or_else(|| StorageError::Failed {
            location: self.shared.location(),
            action: "write",
            subject: self.key.to_string(),
            source: "an earlier write of this object failed".into(),
        })
    }
}

#[async_trait]
impl ObjectWriter for ReplicatedWriter {
    async fn write(&mut self, data: Bytes) -> Result<(), StorageError> {
        let mut primary = self.primary()?;
        let patience = self.shared.patience;
        let places = &self.shared.places[1..];
        let writes = self.secondaries.iter_mut().zip(places).map(|(writer, place)| {
            let data = data.clone();
            async move {
                match writer {
                    Some(writer) => patiently(patience, place, writer.write(data)).await,
                    None => Ok(()),
                }
            }
        });
        let (outcome, outcomes) = tokio::join!(primary.write(data.clone()), join_all(writes));
        outcome?;
        self.primary = Some(primary);
        for (place, outcome) in outcomes.into_iter().enumerate() {
            if let Err(error) = outcome {
                // Dropped, it leaves nothing visible.
                self.secondaries[place] = None;
                self.miss(place, &error);
            }
        }
        self.check()
    }

    async fn finish(mut self: Box<Self>) -> Result<ObjectMeta, StorageError> {
        // The primary first: what it does not have does not exist, whatever a secondary may hold.
        let meta = self.primary()?.finish().await?;
        let shared = Arc::clone(&self.shared);
        let finishes = std::mem::take(&mut self.secondaries).into_iter().zip(&shared.places[1..]);
        let finishes = finishes.map(|(writer, place)| async {
            match writer {
                Some(writer) => patiently(shared.patience, place, writer.finish()).await.map(drop),
                None => Ok(()),
            }
        });
        for (place, outcome) in join_all(finishes).await.into_iter().enumerate() {
            if let Err(error) = outcome {
                self.miss(place, &error);
            }
        }
        shared.settle(&self.key, meta, std::mem::take(&mut self.missed))
    }

    async fn abort(mut self: Box<Self>) -> Result<(), StorageError> {
        let writers = self.primary.take().into_iter().chain(self.secondaries.drain(..).flatten());
        let aborted = join_all(writers.map(|writer| writer.abort())).await;
        aborted.into_iter().collect()
    }
}
