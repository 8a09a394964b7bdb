//! The way of a read: bytes arrive, segments are opened on the pool, frames decoded on the pool, in order.

use std::sync::Arc;

use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};

use super::ContainerError;
use super::frame::StoredFrame;
use super::header::Opened;
use super::ordered::HashChain;
use super::rope::Pieces;
use super::scan::{Batch, Found, Scanner};
use super::subject::Subject;
use super::trailer::Trailer;
use crate::codec::Codec;
use crate::compute::ComputePool;
use crate::storage::ByteStream;
use crate::types::ContentHash;

/// A part of an object that is authentic.
#[derive(Debug)]
pub(super) enum Verified {
    /// The plaintext of the next segments of a layer.
    Segments { layer: u8, plain: bytes::Bytes },
    /// The trailer, and the bytes of the object up to its end.
    Trailer(Trailer, u64),
    /// The hash of all bytes, when it was asked for; it comes last.
    Hash(ContentHash),
}

pub(super) type VerifiedStream = BoxStream<'static, Result<Verified, ContainerError>>;

/// Opens what `scanner` finds in `stream`, a few batches at a time; ends after an error.
pub(super) fn verify(
    stream: ByteStream,
    scanner: Scanner,
    hash: Option<HashChain>,
    subject: Subject,
    opened: &Opened,
    pool: ComputePool,
) -> VerifiedStream {
    let in_flight = pool.parallelism() + 1;
    let cipher = Arc::clone(&opened.cipher);
    let source = Source { stream, scanner, hash, ended: false };
    stream::try_unfold(source, |mut source| async move { Ok(source.next().await?.map(|item| (item, source))) })
        .map(move |item| match item {
            Ok(Item::Batch(batch)) => {
                let (subject, cipher) = (subject.clone(), Arc::clone(&cipher));
                let work = move || {
                    let plain = batch.open(&subject, &*cipher)?;
                    Ok(Verified::Segments { layer: batch.run.layer, plain })
                };
                pool.run(work).boxed()
            }
            Ok(Item::Done(verified)) => std::future::ready(Ok(verified)).boxed(),
            Err(error) => std::future::ready(Err(error)).boxed(),
        })
        .buffered(in_flight)
        .boxed()
}

/// Decodes frames, some at a time, in order.
pub(super) fn decode(
    frames: impl futures::Stream<Item = Result<StoredFrame, ContainerError>> + Send + 'static,
    codec: Codec,
    subject: Subject,
    pool: ComputePool,
) -> BoxStream<'static, Result<Pieces, ContainerError>> {
    let in_flight = 2 * pool.parallelism();
    frames
        .map(move |frame| match frame {
            Ok(frame) if !frame.header.raw => {
                let subject = subject.clone();
                pool.run(move || frame.decode(codec).map_err(|source| subject.codec(source))).boxed()
            }
            Ok(frame) => std::future::ready(Ok(frame.stored)).boxed(),
            Err(error) => std::future::ready(Err(error)).boxed(),
        })
        .buffered(in_flight)
        .boxed()
}

enum Item {
    Batch(Batch),
    Done(Verified),
}

struct Source {
    stream: ByteStream,
    scanner: Scanner,
    hash: Option<HashChain>,
    ended: bool,
}

impl Source {
    async fn next(&mut self) -> Result<Option<Item>, ContainerError> {
        if self.ended {
            return Ok(None);
        }
        loop {
            match self.scanner.next()? {
                Found::Batch(batch) => return Ok(Some(Item::Batch(batch))),
                Found::Trailer(trailer, end) => return Ok(Some(Item::Done(Verified::Trailer(trailer, end)))),
                Found::NeedMore => self.fetch().await?,
                Found::End => {
                    self.ended = true;
                    let Some(hash) = self.hash.take() else { return Ok(None) };
                    return Ok(Some(Item::Done(Verified::Hash(hash.finish().await))));
                }
            }
        }
    }

    async fn fetch(&mut self) -> Result<(), ContainerError> {
        let Some(chunk) = self.stream.try_next().await? else {
            self.scanner.end_input();
            return Ok(());
        };
        if let Some(hash) = &mut self.hash {
            hash.update(chunk.clone()).await;
        }
        self.scanner.push(chunk);
        Ok(())
    }
}
