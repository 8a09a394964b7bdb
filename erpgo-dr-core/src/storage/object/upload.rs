//! Writing an object in parts.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{Attribute, Attributes, MultipartUpload, ObjectStore as _, PutMultipartOptions, PutPayload};
use tokio::task::JoinSet;

use super::Place;
use crate::storage::{ObjectMeta, ObjectWriter, StorageClass, StorageError};
use crate::types::ObjectKey;

/// S3's bound, which Google shares.
const MOST_PARTS: usize = 10_000;

/// Gathers parts and sends several at once. An object that fits into one part travels in a single request.
#[derive(Debug)]
pub(super) struct Upload {
    place: Arc<Place>,
    key: ObjectKey,
    path: Path,
    attributes: Attributes,
    most_in_flight: usize,
    waiting: Waiting,
    /// `None` while one part may be all there is.
    parts: Option<Parts>,
    written: u64,
    failed: bool,
}

/// Bytes that no part has yet.
#[derive(Debug, Default)]
struct Waiting {
    pieces: std::collections::VecDeque<Bytes>,
    size: usize,
}

/// An upload under way. Dropped, it is aborted in the background.
#[derive(Debug)]
struct Parts {
    upload: Option<Box<dyn MultipartUpload>>,
    tasks: JoinSet<object_store::Result<()>>,
    sent: usize,
}

impl Upload {
    pub(super) fn new(
        place: Arc<Place>,
        key: ObjectKey,
        class: Option<StorageClass>,
        most_in_flight: Option<usize>,
    ) -> Self {
        let most_in_flight = most_in_flight.map_or(usize::MAX, |most| most.max(1));
        let mut attributes = Attributes::new();
        if let Some(class) = class {
            attributes.insert(Attribute::StorageClass, class.as_str().to_owned().into());
        }
        let path = place.path(&key);
        let waiting = Waiting::default();
        Self { place, key, path, attributes, most_in_flight, waiting, parts: None, written: 0, failed: false }
    }

    fn next_size(&self) -> usize {
        self.place.transfer.size_of_part(self.parts.as_ref().map_or(0, |parts| parts.sent))
    }

    /// Sends the first `size` waiting bytes as the next part, as soon as there is room for one more on its way.
    async fn send(&mut self, size: usize) -> Result<(), StorageError> {
        let in_flight = self.place.transfer.in_flight(size.max(self.place.transfer.part_size)).min(self.most_in_flight);
        let parts = match &mut self.parts {
            Some(parts) => parts,
            none => none.insert(Parts::begin(&self.place, &self.path, &self.attributes, &self.key).await?),
        };
        if parts.sent == MOST_PARTS {
            let text = format!("an object has at most {MOST_PARTS} parts, and these are of {size} bytes");
            return Err(self.place.attempt("write", Some(&self.key)).failed(&text));
        }
        while parts.tasks.len() >= in_flight {
            parts.one_done(&self.place, &self.key).await?;
        }
        let part = self.waiting.take(size);
        parts.send(part);
        Ok(())
    }

    async fn write_parts(&mut self) -> Result<(), StorageError> {
        loop {
            let size = self.next_size();
            // A part is sent when more follows, so that a single one travels alone.
            if self.waiting.size <= size {
                return Ok(());
            }
            self.send(size).await?;
        }
    }

    async fn complete(&mut self) -> Result<(), StorageError> {
        self.write_parts().await?;
        if self.parts.is_some() && self.waiting.size > 0 {
            self.send(self.waiting.size).await?;
        }
        let Some(parts) = &mut self.parts else { return self.put_whole().await };
        while !parts.tasks.is_empty() {
            parts.one_done(&self.place, &self.key).await?;
        }
        if let Some(upload) = &mut parts.upload {
            upload.complete().await.map_err(|error| self.place.error("write", &self.key, &error))?;
        }
        parts.upload = None;
        Ok(())
    }

    async fn put_whole(&mut self) -> Result<(), StorageError> {
        let payload = self.waiting.take(self.waiting.size);
        let options = object_store::PutOptions { attributes: self.attributes.clone(), ..Default::default() };
        match self.place.store.put_opts(&self.path, payload, options).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.place.error("write", &self.key, &error)),
        }
    }

    fn check(&self) -> Result<(), StorageError> {
        if self.failed {
            return Err(self.place.attempt("write", Some(&self.key)).failed("an earlier write of this object failed"));
        }
        Ok(())
    }
}

#[async_trait]
impl ObjectWriter for Upload {
    async fn write(&mut self, data: Bytes) -> Result<(), StorageError> {
        self.check()?;
        self.written += data.len() as u64;
        self.waiting.push(data);
        let result = self.write_parts().await;
        self.failed |= result.is_err();
        result
    }

    async fn finish(mut self: Box<Self>) -> Result<ObjectMeta, StorageError> {
        self.check()?;
        if let Err(error) = self.complete().await {
            // The first error is the one that tells something.
            let _ = self.abort().await;
            return Err(error);
        }
        self.place.written(&self.key, self.written).await
    }

    async fn abort(mut self: Box<Self>) -> Result<(), StorageError> {
        match self.parts.take() {
            Some(parts) => parts.abort().await.map_err(|error| self.place.error("abort", &self.key, &error)),
            None => Ok(()),
        }
    }
}

impl Waiting {
    fn push(&mut self, data: Bytes) {
        if !data.is_empty() {
            self.size += data.len();
            self.pieces.push_back(data);
        }
    }

    /// Takes the first `size` bytes, without copying any.
    fn take(&mut self, size: usize) -> PutPayload {
        let mut taken = Vec::new();
        let mut missing = size;
        while missing > 0 {
            let Some(mut piece) = self.pieces.pop_front() else { break };
            if piece.len() > missing {
                self.pieces.push_front(piece.split_off(missing));
            }
            missing -= piece.len();
            taken.push(piece);
        }
        self.size -= size - missing;
        PutPayload::from_iter(taken)
    }
}

impl Parts {
    async fn begin(place: &Place, path: &Path, attributes: &Attributes, key: &ObjectKey) -> Result<Self, StorageError> {
        let options = PutMultipartOptions { attributes: attributes.clone(), ..Default::default() };
        let upload = place.store.put_multipart_opts(path, options).await;
        let upload = upload.map_err(|error| place.error("write", key, &error))?;
        Ok(Self { upload: Some(upload), tasks: JoinSet::new(), sent: 0 })
    }

    fn send(&mut self, part: PutPayload) {
        if let Some(upload) = &mut self.upload {
            self.tasks.spawn(upload.put_part(part));
            self.sent += 1;
        }
    }

    async fn one_done(&mut self, place: &Place, key: &ObjectKey) -> Result<(), StorageError> {
        match self.tasks.join_next().await {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(place.error("write", key, &error)),
            Some(Err(error)) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => Err(place.attempt("write", Some(key)).failed(&error.to_string())),
            },
        }
    }

    async fn abort(mut self) -> object_store::Result<()> {
        // A part that arrives after the abort would be kept, and paid for.
        self.tasks.shutdown().await;
        match self.upload.take() {
            Some(mut upload) => upload.abort().await,
            None => Ok(()),
        }
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        let Some(upload) = self.upload.take() else { return };
        let mut dropped = Self { upload: Some(upload), tasks: std::mem::take(&mut self.tasks), sent: self.sent };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(dropped.abort())),
            // Without a runtime only a sweep can remove it.
            Err(_) => dropped.upload = None,
        }
    }
}
