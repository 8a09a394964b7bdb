//! Reads a container front to back as it arrives.

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};

use super::assemble::Assembler;
use super::frame::StoredFrame;
use super::header::{Header, MAX_STORED_LEN, Opened};
use super::ordered::{HashChain, Ordered};
use super::pipeline::{self, Verified, VerifiedStream};
use super::rope::{Pieces, Rope};
use super::scan::Scanner;
use super::subject::Subject;
use super::trailer::Trailer;
use super::{ContainerError, ContainerSummary, KeySource, ObjectIdentity};
use crate::compute::ComputePool;
use crate::storage::ByteStream;
use crate::types::ContentHash;

/// Opens and decompresses a container from a stream of its bytes.
///
/// Plaintext is released in order, each byte after the MAC of its segment has been checked. That the object
/// is whole is known only once [`ContainerReader::next`] has returned `None`: until then what was released is
/// a beginning of the truth.
///
/// On `n` threads it holds at most `n + 2` batches of 64 segments (sealed and opened) and `2n` frames
/// (stored and decompressed), whatever the size of the object.
pub struct ContainerReader {
    subject: Subject,
    opened: Opened,
    pool: ComputePool,
    state: State,
    /// Pieces of a frame that is being released.
    ready: VecDeque<Bytes>,
}

enum State {
    Unread(ByteStream),
    Reading(BoxStream<'static, Result<Pieces, ContainerError>>),
    Finished,
    Failed,
}

impl ContainerReader {
    /// Reads and checks the header.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`ContainerError::NotAContainer`],
    /// [`ContainerError::UnsupportedVersion`], [`ContainerError::Malformed`], [`ContainerError::Codec`],
    /// [`ContainerError::WrongObject`], [`ContainerError::NoKey`], [`ContainerError::HeaderNotAuthentic`];
    /// [`ContainerError::Truncated`] for an object that ends within its header.
    pub async fn open(
        mut stream: ByteStream,
        expected: &ObjectIdentity,
        keys: &dyn KeySource,
        pool: ComputePool,
    ) -> Result<Self, ContainerError> {
        let subject = Subject::new(expected);
        let mut begin = Rope::default();
        while begin.len() < MAX_STORED_LEN {
            let Some(chunk) = stream.try_next().await? else { break };
            begin.push(chunk);
        }
        let begin = begin.take(usize::MAX);
        let opened = begin.with_slice(|begin| Header::open(&subject, begin, expected, keys))?;
        let begin = stream::iter(begin.into_vec().into_iter().map(Ok));
        let state = State::Unread(begin.chain(stream).boxed());
        Ok(Self { subject, opened, pool, state, ready: VecDeque::new() })
    }

    /// Returns the next bytes of plaintext; `None` once index, trailer and end of the object have been checked.
    ///
    /// Nothing is lost when the future is dropped before it is done.
    ///
    /// # Errors
    /// [`ContainerError::Crypto`], [`ContainerError::Malformed`], [`ContainerError::NotAuthentic`],
    /// [`ContainerError::Truncated`], [`ContainerError::TrailingBytes`], [`ContainerError::Codec`],
    /// [`ContainerError::Storage`]; [`ContainerError::Unusable`] after any of them.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ContainerError> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Ok(Some(piece));
            }
            match &mut self.state {
                State::Unread(stream) => {
                    let stream = std::mem::replace(stream, stream::empty().boxed());
                    self.state = State::Reading(self.plaintext(stream));
                }
                State::Reading(frames) => match frames.next().await {
                    Some(Ok(pieces)) => self.ready.extend(pieces.into_vec()),
                    Some(Err(error)) => {
                        self.state = State::Failed;
                        return Err(error);
                    }
                    None => self.state = State::Finished,
                },
                State::Finished => return Ok(None),
                State::Failed => return Err(self.subject.unusable()),
            }
        }
    }

    /// Returns the plaintext as a stream, which ends without an error only when [`ContainerReader::next`] would
    /// return `None`.
    pub fn into_stream(self) -> BoxStream<'static, Result<Bytes, ContainerError>> {
        stream::try_unfold(self, |mut reader| async move { Ok(reader.next().await?.map(|bytes| (bytes, reader))) })
            .boxed()
    }

    /// Reads to the end, checks every MAC and decompresses every frame, and keeps none of it.
    ///
    /// # Errors
    /// As [`ContainerReader::next`]; [`ContainerError::Unusable`] when something was read before.
    pub async fn check_to_end(self) -> Result<ContainerSummary, ContainerError> {
        self.check(true).await
    }

    /// Reads to the end and checks every MAC, the index and the trailer, without decompressing.
    ///
    /// # Errors
    /// As [`ContainerReader::check_to_end`].
    pub async fn check_seals_to_end(self) -> Result<ContainerSummary, ContainerError> {
        self.check(false).await
    }

    async fn check(self, decode: bool) -> Result<ContainerSummary, ContainerError> {
        let State::Unread(stream) = self.state else { return Err(self.subject.unusable()) };
        let hash = HashChain::new(self.pool.clone());
        let codec = self.opened.header.codec;
        let mut frames = Frames::new(self.subject.clone(), &self.opened, stream, &self.pool, Some(hash));
        let mut decoding = Ordered::new(2 * self.pool.parallelism());
        while let Some(frame) = frames.next().await? {
            if !decode || frame.header.raw {
                continue;
            }
            if decoding.is_full() {
                decoding.next().await.transpose().map_err(|source| self.subject.codec(source))?;
            }
            decoding.push(self.pool.run(move || frame.decode(codec).map(drop)));
        }
        while let Some(outcome) = decoding.next().await {
            outcome.map_err(|source| self.subject.codec(source))?;
        }
        frames.summary()
    }

    fn plaintext(&self, stream: ByteStream) -> BoxStream<'static, Result<Pieces, ContainerError>> {
        let frames = Frames::new(self.subject.clone(), &self.opened, stream, &self.pool, None);
        let frames =
            stream::try_unfold(
                frames,
                |mut frames| async move { Ok(frames.next().await?.map(|frame| (frame, frames))) },
            );
        pipeline::decode(frames, self.opened.header.codec, self.subject.clone(), self.pool.clone())
    }
}

impl fmt::Debug for ContainerReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerReader").field("object", &self.subject).finish_non_exhaustive()
    }
}

/// The frames of a whole object, and the checks at its end.
struct Frames {
    subject: Subject,
    verified: VerifiedStream,
    assembler: Assembler,
    end: Option<(Trailer, u64)>,
    hash: Option<ContentHash>,
}

impl Frames {
    fn new(subject: Subject, opened: &Opened, stream: ByteStream, pool: &ComputePool, hash: Option<HashChain>) -> Self {
        let scanner = Scanner::whole(subject.clone(), opened);
        let assembler = Assembler::new(subject.clone(), opened.layout, opened.stored_len);
        let verified = pipeline::verify(stream, scanner, hash, subject.clone(), opened, pool.clone());
        Self { subject, verified, assembler, end: None, hash: None }
    }

    /// Returns the next frame; `None` when the object is over and was whole.
    async fn next(&mut self) -> Result<Option<StoredFrame>, ContainerError> {
        loop {
            if let Some(frame) = self.assembler.next_frame()? {
                return Ok(Some(frame));
            }
            match self.verified.try_next().await? {
                Some(Verified::Segments { layer, plain }) => self.assembler.push(layer, plain)?,
                Some(Verified::Trailer(trailer, end)) => {
                    self.assembler.check(&trailer)?;
                    self.end = Some((trailer, end));
                }
                Some(Verified::Hash(hash)) => self.hash = Some(hash),
                None => return Ok(None),
            }
        }
    }

    fn summary(self) -> Result<ContainerSummary, ContainerError> {
        let ((trailer, end), content_hash) = self.end.zip(self.hash).ok_or_else(|| self.subject.truncated())?;
        Ok(ContainerSummary {
            plaintext_bytes: trailer.plaintext_len,
            stored_bytes: end,
            frames: trailer.frames,
            content_hash,
        })
    }
}
