//! The asynchronous side: bytes in from anywhere, plaintext out in pieces.

use std::error::Error as StdError;
use std::io::{self, BufRead, Read};
use std::path::Path;

use bytes::{Buf, Bytes};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use tokio::io::AsyncReadExt;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::decode::Decoded;
use super::{Contents, Layer, LegacyError, LegacyOptions};

/// Bytes of a piece of plaintext, and of a read from a file.
const PIECE: usize = 256 << 10;

/// Pieces that wait on either side of the decoding thread.
const WAITING: usize = 2;

type BoxError = Box<dyn StdError + Send + Sync>;

/// Reads the dump in a legacy file, whatever layers are around it.
///
/// A thread of its own decodes; some [`next`](Self::next) pieces wait, and no more. Dropping it stops the thread.
///
/// **What is read is to be trusted only when the end has been reached without an error**: checksums,
/// paddings and missing ends show there.
#[derive(Debug)]
pub struct LegacyReader {
    layers: Vec<Layer>,
    contents: Contents,
    /// `None` is the end. A channel that closes without it is a failure.
    pieces: mpsc::Receiver<Result<Option<Bytes>, LegacyError>>,
    /// Held to stop the feeder with the reader.
    _feeder: AbortOnDrop,
    ended: bool,
}

impl LegacyReader {
    /// Reads as much of `source` as tells its layers.
    ///
    /// # Errors
    /// [`LegacyError::NeedsPassphrase`], [`LegacyError::WrongPassphrase`] or, where the derivation was to be
    /// found out, [`CryptoError::OpensslNoCandidate`](crate::crypto::CryptoError::OpensslNoCandidate);
    /// [`LegacyError::UnknownContents`], [`LegacyError::Empty`], [`LegacyError::TooManyLayers`]; and those of
    /// [`next`](Self::next).
    pub async fn open<S, E>(source: S, options: LegacyOptions) -> Result<Self, LegacyError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<BoxError> + Send + 'static,
    {
        let (feed, fed) = mpsc::channel(WAITING);
        let (give, pieces) = mpsc::channel(WAITING);
        let (found, finding) = oneshot::channel();
        let feeder = AbortOnDrop(tokio::spawn(forward(source, feed)));
        tokio::task::spawn_blocking(move || {
            let mut decoded = match Decoded::open(Fed { pieces: fed, current: Bytes::new(), ended: false }, &options) {
                Ok(decoded) => decoded,
                Err(error) => return drop(found.send(Err(error))),
            };
            if found.send(Ok((std::mem::take(&mut decoded.layers), decoded.contents))).is_ok() {
                give_pieces(&mut decoded, &give);
            }
        });
        let (layers, contents) = finding.await.unwrap_or(Err(LegacyError::Stopped))?;
        Ok(Self { layers, contents, pieces, _feeder: feeder, ended: false })
    }

    /// Opens a file on disk.
    ///
    /// # Errors
    /// [`LegacyError::Source`], and those of [`open`](Self::open).
    pub async fn open_file(path: &Path, options: LegacyOptions) -> Result<Self, LegacyError> {
        let file = tokio::fs::File::open(path).await.map_err(|error| LegacyError::Source(error.into()))?;
        let pieces = stream::try_unfold(file, async |mut file| {
            let mut piece = Vec::with_capacity(PIECE);
            (&mut file).take(PIECE as u64).read_to_end(&mut piece).await?;
            Ok::<_, io::Error>((!piece.is_empty()).then(|| (Bytes::from(piece), file)))
        });
        Self::open(pieces.boxed(), options).await
    }

    /// Returns the layers, from the outside in.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Returns what is inside of them.
    pub fn contents(&self) -> Contents {
        self.contents
    }

    /// Returns the next piece of the dump, or `None` when it was read to its end and every layer's end is good.
    ///
    /// # Errors
    /// [`LegacyError::Truncated`], [`LegacyError::Corrupt`], [`LegacyError::Openssl`], [`LegacyError::Source`].
    /// Every later call gives [`LegacyError::Stopped`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, LegacyError> {
        if self.ended {
            return Ok(None);
        }
        let piece = self.pieces.recv().await.unwrap_or(Err(LegacyError::Stopped))?;
        self.ended = piece.is_none();
        Ok(piece)
    }

    /// Turns the reader into a stream of its pieces, which ends after the first error.
    pub fn into_stream(self) -> BoxStream<'static, Result<Bytes, LegacyError>> {
        let pieces = stream::unfold(Some(self), async |reader| {
            let mut reader = reader?;
            match reader.next().await {
                Ok(piece) => piece.map(|piece| (Ok(piece), Some(reader))),
                Err(error) => Some((Err(error), None)),
            }
        });
        pieces.boxed()
    }
}

/// Stops a task that nobody waits for, be it by giving up the opening or by dropping the reader.
#[derive(Debug)]
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn give_pieces(decoded: &mut Decoded, give: &mpsc::Sender<Result<Option<Bytes>, LegacyError>>) {
    loop {
        let outcome = match decoded.read(PIECE) {
            Ok(piece) if piece.is_empty() => Ok(None),
            Ok(piece) => Ok(Some(Bytes::from(piece))),
            Err(error) => Err(error),
        };
        let more = matches!(outcome, Ok(Some(_)));
        // Nobody listens when the reader was dropped.
        if give.blocking_send(outcome).is_err() || !more {
            return;
        }
    }
}

async fn forward<S, E>(source: S, feed: mpsc::Sender<Result<Option<Bytes>, BoxError>>)
where
    S: Stream<Item = Result<Bytes, E>>,
    E: Into<BoxError>,
{
    let mut source = std::pin::pin!(source);
    loop {
        let piece = source.next().await.transpose().map_err(Into::into);
        let more = matches!(piece, Ok(Some(_)));
        if feed.send(piece).await.is_err() || !more {
            return;
        }
    }
}

/// The file's bytes, on the decoding thread.
struct Fed {
    pieces: mpsc::Receiver<Result<Option<Bytes>, BoxError>>,
    current: Bytes,
    ended: bool,
}

impl BufRead for Fed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.is_empty() && !self.ended {
            match self.pieces.blocking_recv() {
                Some(Ok(Some(piece))) => self.current = piece,
                Some(Ok(None)) => self.ended = true,
                Some(Err(error)) => return Err(LegacyError::Source(error).into_io()),
                None => return Err(LegacyError::Stopped.into_io()),
            }
        }
        Ok(&self.current)
    }

    fn consume(&mut self, amount: usize) {
        self.current.advance(amount);
    }
}

impl Read for Fed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.len().min(buffer.len());
        self.current.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
