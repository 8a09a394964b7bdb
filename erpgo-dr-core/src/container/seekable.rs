//! Reads any range of a container's plaintext, fetching only the segments that hold it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryFutureExt as _, TryStreamExt as _};

use super::frame::{FRAME_HEADER, FrameHeader, StoredFrame};
use super::header::{Header, MAX_STORED_LEN, Opened};
use super::index::FrameIndex;
use super::layout::{BODY, INDEX};
use super::pipeline::{self, Verified, VerifiedStream};
use super::rope::Rope;
use super::scan::{Found, Scanner};
use super::subject::Subject;
use super::trailer::{TRAILER_LEN, Trailer};
use super::{ContainerError, KeySource, ObjectIdentity};
use crate::compute::ComputePool;
use crate::storage::{ByteStream, Storage, StorageError};
use crate::types::ObjectKey;

/// Bytes from the end of an object that are fetched at first: trailer and, mostly, the whole index.
const TAIL_GUESS: u64 = 64 << 10;

/// A container whose plaintext can be read from anywhere. Cloning shares it.
#[derive(Clone)]
pub struct SeekableContainer {
    inner: Arc<Inner>,
}

struct Inner {
    storage: Arc<dyn Storage>,
    key: ObjectKey,
    subject: Subject,
    opened: Opened,
    index: FrameIndex,
    trailer: Trailer,
    pool: ComputePool,
}

impl SeekableContainer {
    /// Asks for the object's size, then does as [`SeekableContainer::open_sized`].
    ///
    /// # Errors
    /// As [`SeekableContainer::open_sized`].
    pub async fn open(
        storage: Arc<dyn Storage>,
        key: ObjectKey,
        expected: &ObjectIdentity,
        keys: &dyn KeySource,
        pool: ComputePool,
    ) -> Result<Self, ContainerError> {
        let size = storage.head(&key).await?.size;
        Self::open_sized(storage, key, size, expected, keys, pool).await
    }

    /// Reads and checks header, trailer and index of an object of `size` stored bytes, in one or two round trips.
    ///
    /// Keeps 16 bytes for each frame.
    ///
    /// # Errors
    /// As [`ContainerReader::open`](super::ContainerReader::open), and [`ContainerError::NotAuthentic`],
    /// [`ContainerError::Crypto`] or [`ContainerError::Malformed`] for a trailer or index that cannot be trusted.
    pub async fn open_sized(
        storage: Arc<dyn Storage>,
        key: ObjectKey,
        size: u64,
        expected: &ObjectIdentity,
        keys: &dyn KeySource,
        pool: ComputePool,
    ) -> Result<Self, ContainerError> {
        let subject = Subject::new(expected);
        let ends = Ends::fetch(&*storage, &key, size).await?;
        let opened = Header::open(&subject, &ends.head, expected, keys)?;
        let trailer = ends.tail.last_chunk::<TRAILER_LEN>().ok_or_else(|| subject.truncated())?;
        let trailer = Trailer::open(&subject, trailer, &*opened.cipher)?;
        check_extent(&subject, &opened, &trailer, size)?;
        let stored = ends.index(&*storage, &key, &trailer).await?;
        let index = {
            let (subject, opened) = (subject.clone(), opened.clone());
            pool.run(move || open_index(&subject, &opened, &trailer, stored)).await?
        };
        Ok(Self { inner: Arc::new(Inner { storage, key, subject, opened, index, trailer, pool }) })
    }

    /// Returns how many bytes of plaintext there are.
    pub fn plaintext_bytes(&self) -> u64 {
        self.inner.trailer.plaintext_len
    }

    /// Reads `range` of the plaintext with one ranged read of the object.
    ///
    /// Whole frames are fetched and decoded, some ahead of the consumer, in parallel; only `range` is released.
    /// The stream ends after an error.
    ///
    /// # Errors
    /// In the stream: [`ContainerError::OutOfRange`], and as
    /// [`ContainerReader::next`](super::ContainerReader::next).
    pub fn read(&self, range: Range<u64>) -> BoxStream<'static, Result<Bytes, ContainerError>> {
        let inner = &self.inner;
        let length = self.plaintext_bytes();
        if range.start > range.end || range.end > length {
            let Range { start, end } = range;
            let error = ContainerError::OutOfRange { object: inner.subject.name(), start, end, length };
            return stream::once(std::future::ready(Err(error))).boxed();
        }
        if range.is_empty() {
            return stream::empty().boxed();
        }
        let wanted = inner.index.frames_of(&range);
        let (plain_start, _) = inner.index.start(wanted.start);
        let frames = RangeFrames::new(Arc::clone(inner), wanted);
        let frames =
            stream::try_unfold(
                frames,
                |mut frames| async move { Ok(frames.next().await?.map(|frame| (frame, frames))) },
            );
        let codec = inner.opened.header.codec;
        pipeline::decode(frames, codec, inner.subject.clone(), inner.pool.clone())
            .map_ok(|pieces| stream::iter(pieces.into_vec().into_iter().map(Ok)))
            .try_flatten()
            .scan(Some(plain_start), move |position, piece: Result<Bytes, ContainerError>| {
                // Frames behind one that failed are in flight already: they must not be released after its error.
                let trimmed = position.take().map(|start| {
                    let piece = piece?;
                    *position = Some(start + piece.len() as u64);
                    Ok(trim(start, &piece, &range))
                });
                std::future::ready(trimmed)
            })
            .boxed()
    }
}

impl fmt::Debug for SeekableContainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeekableContainer")
            .field("object", &self.inner.subject)
            .field("plaintext_bytes", &self.plaintext_bytes())
            .finish_non_exhaustive()
    }
}

/// Keeps of `piece`, which begins at `start`, what lies in `range`.
fn trim(start: u64, piece: &Bytes, range: &Range<u64>) -> Bytes {
    let within = |at: u64| at.saturating_sub(start).min(piece.len() as u64) as usize;
    piece.slice(within(range.start)..within(range.end))
}

/// The beginning and the end of an object, where header, trailer and most indexes lie.
struct Ends {
    head: Bytes,
    tail: Bytes,
    tail_start: u64,
}

impl Ends {
    async fn fetch(storage: &dyn Storage, key: &ObjectKey, size: u64) -> Result<Self, ContainerError> {
        let tail_start = size.saturating_sub(TAIL_GUESS);
        if tail_start == 0 {
            let whole = fetch(storage, key, 0..size).await?;
            return Ok(Self { head: whole.clone(), tail: whole, tail_start });
        }
        let head = fetch(storage, key, 0..MAX_STORED_LEN as u64);
        let (head, tail) = futures::try_join!(head, fetch(storage, key, tail_start..size))?;
        Ok(Self { head, tail, tail_start })
    }

    /// Returns the stored index, fetching what of it lies before the tail.
    async fn index(&self, storage: &dyn Storage, key: &ObjectKey, trailer: &Trailer) -> Result<Rope, ContainerError> {
        let mut stored = Rope::default();
        let index_end = trailer.index_offset + trailer.index_len;
        if trailer.index_offset < self.tail_start {
            let before_tail = trailer.index_offset..self.tail_start.min(index_end);
            stored.push(fetch(storage, key, before_tail).await?);
        }
        let skip = trailer.index_offset.saturating_sub(self.tail_start) as usize;
        stored.push(self.tail.slice(skip..self.tail.len() - TRAILER_LEN));
        Ok(stored)
    }
}

async fn fetch(storage: &dyn Storage, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, ContainerError> {
    let expected = range.end - range.start;
    if expected == 0 {
        return Ok(Bytes::new());
    }
    let mut stream = storage.get(key, Some(range)).await?;
    let mut rope = Rope::default();
    while (rope.len() as u64) < expected {
        let Some(chunk) = stream.try_next().await? else {
            let (location, found) = (storage.location(), rope.len() as u64);
            return Err(StorageError::ShortRead { location, key: key.clone(), expected, found }.into());
        };
        rope.push(chunk);
    }
    Ok(rope.take(expected as usize).with_slice(Bytes::copy_from_slice))
}

/// Checks that header, body, index and trailer fill the object, with nothing between or behind them.
fn check_extent(subject: &Subject, opened: &Opened, trailer: &Trailer, size: u64) -> Result<(), ContainerError> {
    let layout = &opened.layout;
    let index_plain = trailer.frames.checked_mul(FRAME_HEADER as u64);
    let index_fits = index_plain.is_some_and(|len| {
        layout.layer_len(len) == Some(trailer.index_len) && layout.segments(len) == u64::from(trailer.index_segments)
    });
    let end = trailer.index_offset.checked_add(trailer.index_len).and_then(|end| end.checked_add(TRAILER_LEN as u64));
    if !index_fits || end != Some(size) || trailer.index_offset < opened.stored_len as u64 {
        return Err(subject.malformed("trailer"));
    }
    Ok(())
}

fn open_index(
    subject: &Subject,
    opened: &Opened,
    trailer: &Trailer,
    mut stored: Rope,
) -> Result<FrameIndex, ContainerError> {
    let total = trailer.index_segments;
    let mut scanner = Scanner::run(subject.clone(), opened, INDEX, 0, (total, total));
    stored.take(usize::MAX).into_vec().into_iter().for_each(|piece| scanner.push(piece));
    scanner.end_input();
    let mut bytes = Vec::new();
    while let Found::Batch(batch) = scanner.next()? {
        bytes.extend_from_slice(&batch.open(subject, &*opened.cipher)?);
    }
    let layout = &opened.layout;
    let index = FrameIndex::parse(&bytes, layout.frame_len).ok_or_else(|| subject.malformed("index"))?;
    let body_stored = layout.layer_len(index.body_len());
    let consistent = index.frames() as u64 == trailer.frames
        && index.plaintext_len() == trailer.plaintext_len
        && layout.segments(index.body_len()) == u64::from(trailer.body_segments)
        && body_stored.map(|len| len + opened.stored_len as u64) == Some(trailer.index_offset);
    if consistent { Ok(index) } else { Err(subject.not_authentic("index")) }
}

/// Some neighbouring frames of an object, as the segments that hold them arrive.
struct RangeFrames {
    inner: Arc<Inner>,
    verified: VerifiedStream,
    body: Rope,
    /// Bytes of the first segment before the first frame.
    skip: usize,
    wanted: Range<usize>,
}

impl RangeFrames {
    fn new(inner: Arc<Inner>, wanted: Range<usize>) -> Self {
        let layout = &inner.opened.layout;
        let segment_len = layout.segment_len as u64;
        let (_, start) = inner.index.start(wanted.start);
        let (_, end) = inner.index.start(wanted.end);
        let (first, last) = (start / segment_len, (end - 1) / segment_len);
        // Both are numbers of segments that the index was checked to have.
        let (first, count) = (first as u32, (last - first + 1) as u32);
        let offset = |segment: u64| inner.opened.stored_len as u64 + segment * layout.full_segment() as u64;
        let stored = offset(u64::from(first))..offset(last + 1).min(inner.trailer.index_offset);
        let total = inner.trailer.body_segments;
        let scanner = Scanner::run(inner.subject.clone(), &inner.opened, BODY, first, (count, total));
        let stream = ranged(Arc::clone(&inner.storage), inner.key.clone(), stored);
        let subject = inner.subject.clone();
        let verified = pipeline::verify(stream, scanner, None, subject, &inner.opened, inner.pool.clone());
        Self { verified, body: Rope::default(), skip: (start % segment_len) as usize, wanted, inner }
    }

    async fn next(&mut self) -> Result<Option<StoredFrame>, ContainerError> {
        if self.wanted.is_empty() {
            return Ok(None);
        }
        let due = self.inner.index.header(self.wanted.start);
        while self.body.len() < self.skip + due.total_len() {
            match self.verified.try_next().await? {
                Some(Verified::Segments { plain, .. }) => self.body.push(plain),
                Some(_) => {}
                None => return Err(self.inner.subject.malformed("frame")),
            }
        }
        self.body.take(std::mem::take(&mut self.skip));
        let found = self.body.peek::<FRAME_HEADER>(0);
        self.body.take(FRAME_HEADER);
        let frame_len = self.inner.opened.layout.frame_len;
        if found.and_then(|found| FrameHeader::decode(found, frame_len)) != Some(due) {
            return Err(self.inner.subject.malformed("frame"));
        }
        self.wanted.start += 1;
        Ok(Some(StoredFrame { header: due, stored: self.body.take(due.stored_len as usize) }))
    }
}

/// Begins to read `range` of an object when the stream is first asked for bytes.
fn ranged(storage: Arc<dyn Storage>, key: ObjectKey, range: Range<u64>) -> ByteStream {
    async move { storage.get(&key, Some(range)).await }.try_flatten_stream().boxed()
}
