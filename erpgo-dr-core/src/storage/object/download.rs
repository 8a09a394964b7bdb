//! Reading an object in ranges, several ahead, each resumed where it breaks off.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use object_store::{GetOptions, GetRange, GetResult, ObjectStore as _};
use tokio::task::JoinHandle;

use super::Place;
use crate::storage::{ByteStream, StorageError};
use crate::types::ObjectKey;

/// The size of the pieces that a reader gets.
const PIECE: usize = 1 << 20;

type Body = BoxStream<'static, object_store::Result<Bytes>>;

/// Asks for the first range, which tells the object's size, and returns its bytes in `range`.
pub(super) async fn open(
    place: Arc<Place>,
    key: ObjectKey,
    range: Option<Range<u64>>,
) -> Result<ByteStream, StorageError> {
    let range = range.unwrap_or(0..u64::MAX);
    let step = place.transfer.read_size as u64;
    let first = range.start..range.end.min(range.start.saturating_add(step));
    let mut object = Object { place, key, tag: None };
    if first.is_empty() {
        // The object must be there all the same.
        return object.place.head(&object.key).await.map(|_| stream::empty().boxed());
    }
    let answer = match object.ask(&first).await {
        Ok(answer) => answer,
        // Stores answer in many ways that a range begins beyond the end: only the size tells.
        Err(error @ StorageError::Failed { .. }) => {
            let size = object.place.head(&object.key).await?.size;
            return if range.start >= size { Ok(stream::empty().boxed()) } else { Err(error) };
        }
        Err(error) => return Err(error),
    };
    object.tag = answer.meta.e_tag.clone();
    let end = range.end.min(answer.meta.size);
    let first = first.start..first.end.min(end);
    let rest = first.end;
    let object = Arc::new(object);
    let in_flight = object.place.transfer.reads_in_flight;

    let head = Task::spawn(Arc::clone(&object).fetch(first, Some(answer.into_stream())));
    let tail = (0..(end - rest).div_ceil(step)).map(move |n| {
        let from = rest + n * step;
        Task::spawn(Arc::clone(&object).fetch(from..(from + step).min(end), None))
    });
    let ranges = stream::iter(std::iter::once(head).chain(tail)).buffered(in_flight);
    Ok(ranges.map_ok(|pieces| stream::iter(pieces.into_iter().map(Ok))).try_flatten().boxed())
}

/// The version of an object that is being read.
#[derive(Debug)]
struct Object {
    place: Arc<Place>,
    key: ObjectKey,
    tag: Option<String>,
}

impl Object {
    async fn ask(&self, range: &Range<u64>) -> Result<GetResult, StorageError> {
        // A weak tag must not be compared for equality of bytes: RFC 9110, section 8.8.3.2.
        let tag = self.tag.clone().filter(|tag| !tag.starts_with("W/"));
        let options =
            GetOptions { range: Some(GetRange::Bounded(range.clone())), if_match: tag, ..GetOptions::default() };
        let answer = self.place.store.get_opts(&self.place.path(&self.key), options).await;
        answer.map_err(|error| self.place.error("read", &self.key, &error))
    }

    /// Reads all of `range`, from `body` first if there is one.
    async fn fetch(self: Arc<Self>, range: Range<u64>, body: Option<Body>) -> Result<Vec<Bytes>, StorageError> {
        let mut gathered = Gathered::default();
        let mut body = body;
        let mut fruitless = 0;
        loop {
            let before = gathered.size;
            let error = match self.attempt(&range, body.take(), &mut gathered).await {
                Ok(()) => return Ok(gathered.finish()),
                Err(error) => error,
            };
            fruitless = if gathered.size > before { 1 } else { fruitless + 1 };
            if !error.is_retryable() || fruitless > self.place.transfer.read_retries {
                return Err(error);
            }
            tracing::debug!(key = %self.key, from = range.start + gathered.size, %error, "read broke off, resuming");
            tokio::time::sleep(self.place.retry.pause(fruitless)).await;
        }
    }

    async fn attempt(
        &self,
        range: &Range<u64>,
        body: Option<Body>,
        gathered: &mut Gathered,
    ) -> Result<(), StorageError> {
        let expected = range.end - range.start;
        let mut body = match body {
            Some(body) => body,
            None => self.ask(&(range.start + gathered.size..range.end)).await?.into_stream(),
        };
        while let Some(bytes) = body.next().await {
            // Whatever broke a body off: what came before is sound, and what is missing can be asked for again.
            let bytes =
                bytes.map_err(|error| self.place.attempt("read", Some(&self.key)).unavailable(&error.to_string()))?;
            gathered.push(&bytes, (expected - gathered.size) as usize);
        }
        if gathered.size == expected {
            return Ok(());
        }
        Err(StorageError::ShortRead {
            location: self.place.location.clone(),
            key: self.key.clone(),
            expected: range.end,
            found: range.start + gathered.size,
        })
    }
}

/// Bytes of a range, in pieces of one size, since those of the network are tiny.
#[derive(Debug, Default)]
struct Gathered {
    pieces: Vec<Bytes>,
    last: BytesMut,
    size: u64,
}

impl Gathered {
    fn push(&mut self, bytes: &[u8], missing: usize) {
        let mut bytes = &bytes[..bytes.len().min(missing)];
        self.size += bytes.len() as u64;
        let mut missing = missing;
        while !bytes.is_empty() {
            if self.last.capacity() == 0 {
                self.last = BytesMut::with_capacity(missing.min(PIECE));
            }
            let (now, later) = bytes.split_at(bytes.len().min(self.last.capacity() - self.last.len()));
            self.last.extend_from_slice(now);
            missing -= now.len();
            bytes = later;
            if self.last.len() == self.last.capacity() {
                self.pieces.push(std::mem::take(&mut self.last).freeze());
            }
        }
    }

    fn finish(mut self) -> Vec<Bytes> {
        if !self.last.is_empty() {
            self.pieces.push(self.last.freeze());
        }
        self.pieces
    }
}

/// A task that ends when nobody waits for it any more. Spawned, so that the network is drained while the reader works.
struct Task<T>(JoinHandle<Result<T, StorageError>>);

impl<T: Send + 'static> Task<T> {
    fn spawn(work: impl Future<Output = Result<T, StorageError>> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, StorageError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|outcome| match outcome {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => Err(StorageError::Unavailable {
                    location: "object store".to_owned(),
                    action: "read",
                    subject: "an object".to_owned(),
                    source: Box::new(error),
                }),
            },
        })
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
