//! Writes a container to a storage place, compressing and sealing on a pool.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::batcher::{Batcher, PlainBatch};
use super::frame::EncodedFrame;
use super::header::Header;
use super::layout::{self, BODY, INDEX, Layout};
use super::ordered::{HashChain, Ordered};
use super::rope::{Pieces, Rope};
use super::subject::Subject;
use super::trailer::Trailer;
use super::{ContainerError, ContainerOptions, ContainerReport, ObjectIdentity, SealingKey};
use crate::codec::{Codec, CodecError};
use crate::compute::ComputePool;
use crate::crypto::SegmentCipher;
use crate::storage::ObjectWriter;

/// Compresses, seals and stores a stream of bytes.
///
/// Nothing is visible at the storage place before [`ContainerWriter::finish`] has returned: dropping the
/// writer, at any moment, leaves no object behind.
///
/// For `n` threads it holds at most `2n + 1` frames (plain and compressed), `n + 3` batches of 64 segments
/// (plain and sealed), eight bytes for each frame of the object, and what the target holds.
pub struct ContainerWriter {
    subject: Subject,
    layout: Layout,
    codec: Codec,
    cipher: Arc<dyn SegmentCipher>,
    pool: ComputePool,
    target: Box<dyn ObjectWriter>,
    hash: HashChain,
    /// The header, until something else is written.
    header: Option<Bytes>,
    header_len: u64,
    frame: Rope,
    encoding: Ordered<Result<EncodedFrame, CodecError>>,
    body: Batcher,
    sealing: Ordered<Bytes>,
    index: Rope,
    frames: u64,
    plaintext_bytes: u64,
    stored_bytes: u64,
    usable: bool,
}

impl ContainerWriter {
    /// Begins a container that goes to `target`.
    ///
    /// # Errors
    /// [`ContainerError::InvalidOption`]; [`ContainerError::Codec`] when this build lacks the codec.
    pub fn new(
        identity: ObjectIdentity,
        key: &SealingKey,
        options: &ContainerOptions,
        pool: ComputePool,
        target: Box<dyn ObjectWriter>,
    ) -> Result<Self, ContainerError> {
        Self::with_salt(identity, key, options, pool, target, rand::random())
    }

    /// Begins a container whose salt is given, to make the same bytes again in a test.
    ///
    /// Two objects of one epoch with one salt and one name share their keys: nothing but a test may call this.
    ///
    /// # Errors
    /// As [`ContainerWriter::new`].
    #[doc(hidden)]
    pub fn with_salt(
        identity: ObjectIdentity,
        key: &SealingKey,
        options: &ContainerOptions,
        pool: ComputePool,
        target: Box<dyn ObjectWriter>,
        salt: [u8; 32],
    ) -> Result<Self, ContainerError> {
        layout::check(&identity, options)?;
        let subject = Subject::new(&identity);
        let header = Header::new(identity, key.epoch.clone(), options, salt);
        let layout = Layout::new(header.cipher, header.frame_len, header.segment_len);
        let (sealed, cipher) = header.seal(key);
        let threads = match options.threads {
            0 => pool.parallelism(),
            threads => threads.min(pool.parallelism()),
        };
        Ok(Self {
            subject,
            layout,
            codec: options.codec,
            cipher,
            hash: HashChain::new(pool.clone()),
            pool,
            target,
            header_len: sealed.len() as u64,
            header: Some(sealed),
            frame: Rope::default(),
            encoding: Ordered::new(2 * threads),
            body: Batcher::new(layout, BODY),
            sealing: Ordered::new(threads + 1),
            index: Rope::default(),
            frames: 0,
            plaintext_bytes: 0,
            stored_bytes: 0,
            usable: true,
        })
    }

    /// Takes the next bytes; waits while as much as the writer may hold is in flight.
    ///
    /// When it fails, or its future is dropped before it is done, the writer is of use for
    /// [`ContainerWriter::abort`] only.
    ///
    /// # Errors
    /// [`ContainerError::Storage`], [`ContainerError::Codec`], [`ContainerError::TooLarge`];
    /// [`ContainerError::Unusable`] after an earlier failure.
    pub async fn write(&mut self, data: Bytes) -> Result<(), ContainerError> {
        self.begin_step()?;
        self.plaintext_bytes += data.len() as u64;
        self.frame.push(data);
        while self.frame.len() >= self.layout.frame_len {
            let plain = self.frame.take(self.layout.frame_len);
            self.encode(plain).await?;
        }
        self.usable = true;
        Ok(())
    }

    /// Ends the current frame, so that what comes next can be read without what came before.
    ///
    /// # Errors
    /// As [`ContainerWriter::write`].
    pub async fn flush_frame(&mut self) -> Result<(), ContainerError> {
        self.begin_step()?;
        self.encode_rest().await?;
        self.usable = true;
        Ok(())
    }

    /// Returns how many bytes have been written into the container.
    pub fn plaintext_bytes(&self) -> u64 {
        self.plaintext_bytes
    }

    /// Returns how many bytes have been handed to the storage place: at most what the object will have.
    pub fn stored_bytes(&self) -> u64 {
        self.stored_bytes
    }

    /// Writes what is in flight, the index and the trailer, and makes the object visible.
    ///
    /// # Errors
    /// As [`ContainerWriter::write`]; the object is then not visible, and what was stored of it is given up.
    pub async fn finish(mut self) -> Result<ContainerReport, ContainerError> {
        if let Err(error) = self.write_end().await {
            self.abort().await;
            return Err(error);
        }
        let object = self.target.finish().await?;
        Ok(ContainerReport {
            object,
            plaintext_bytes: self.plaintext_bytes,
            stored_bytes: self.stored_bytes,
            frames: self.frames,
            content_hash: self.hash.finish().await,
        })
    }

    /// Gives up, and frees what the storage place holds of the object.
    pub async fn abort(self) {
        if let Err(error) = self.target.abort().await {
            tracing::warn!(object = %self.subject.name(), %error, "cannot remove what was stored of an aborted object");
        }
    }

    /// Marks the writer as unusable until the step that begins now has succeeded.
    fn begin_step(&mut self) -> Result<(), ContainerError> {
        if std::mem::replace(&mut self.usable, false) { Ok(()) } else { Err(self.subject.unusable()) }
    }

    async fn encode_rest(&mut self) -> Result<(), ContainerError> {
        if self.frame.is_empty() {
            return Ok(());
        }
        let plain = self.frame.take(usize::MAX);
        self.encode(plain).await
    }

    async fn encode(&mut self, plain: Pieces) -> Result<(), ContainerError> {
        if self.encoding.is_full() {
            self.collect_frame().await?;
        }
        let codec = self.codec;
        self.encoding.push(self.pool.run(move || EncodedFrame::encode(codec, plain)));
        Ok(())
    }

    /// Moves the oldest frame in flight into the body; returns whether there was one.
    async fn collect_frame(&mut self) -> Result<bool, ContainerError> {
        let Some(frame) = self.encoding.next().await else { return Ok(false) };
        let frame = frame.map_err(|source| self.subject.codec(source))?;
        self.frames += 1;
        self.index.push(Bytes::copy_from_slice(&frame.header.encode()));
        frame.stored.into_iter().for_each(|piece| self.body.push(piece));
        while let Some(batch) = self.body.full_batch(&self.subject)? {
            self.seal(batch).await?;
        }
        Ok(true)
    }

    async fn seal(&mut self, batch: PlainBatch) -> Result<(), ContainerError> {
        if self.sealing.is_full() {
            self.store_sealed().await?;
        }
        let cipher = Arc::clone(&self.cipher);
        self.sealing.push(self.pool.run(move || batch.seal(&*cipher)));
        Ok(())
    }

    /// Stores the oldest batch in flight; returns whether there was one.
    async fn store_sealed(&mut self) -> Result<bool, ContainerError> {
        let Some(sealed) = self.sealing.next().await else { return Ok(false) };
        if let Some(header) = self.header.take() {
            self.store(header).await?;
        }
        self.store(sealed).await?;
        Ok(true)
    }

    async fn store(&mut self, data: Bytes) -> Result<(), ContainerError> {
        self.stored_bytes += data.len() as u64;
        self.hash.update(data.clone()).await;
        Ok(self.target.write(data).await?)
    }

    async fn write_end(&mut self) -> Result<(), ContainerError> {
        self.begin_step()?;
        self.encode_rest().await?;
        while self.collect_frame().await? {}
        let rest = self.body.last_batch();
        self.seal(rest).await?;
        let trailer = self.write_index().await?;
        while self.store_sealed().await? {}
        self.store(trailer.seal(&*self.cipher).into()).await
    }

    async fn write_index(&mut self) -> Result<Trailer, ContainerError> {
        let mut index = Batcher::new(self.layout, INDEX);
        for piece in self.index.take(usize::MAX).into_vec() {
            index.push(piece);
            while let Some(batch) = index.full_batch(&self.subject)? {
                self.seal(batch).await?;
            }
        }
        self.seal(index.last_batch()).await?;
        trailer(&self.subject, self.layout, self.header_len, &self.body, &index, (self.frames, self.plaintext_bytes))
    }
}

/// Describes an object whose layers are complete; `totals` are its frames and plaintext bytes.
pub(super) fn trailer(
    subject: &Subject,
    layout: Layout,
    header_len: u64,
    body: &Batcher,
    index: &Batcher,
    (frames, plaintext_len): (u64, u64),
) -> Result<Trailer, ContainerError> {
    let stored_len = |layer: &Batcher| layout.layer_len(layer.plaintext_len()).ok_or_else(|| subject.too_large());
    let segments =
        |layer: &Batcher| u32::try_from(layout.segments(layer.plaintext_len())).map_err(|_| subject.too_large());
    Ok(Trailer {
        index_offset: header_len + stored_len(body)?,
        index_len: stored_len(index)?,
        body_segments: segments(body)?,
        index_segments: segments(index)?,
        frames,
        plaintext_len,
    })
}

impl fmt::Debug for ContainerWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerWriter")
            .field("object", &self.subject)
            .field("plaintext_bytes", &self.plaintext_bytes)
            .field("stored_bytes", &self.stored_bytes)
            .finish_non_exhaustive()
    }
}
