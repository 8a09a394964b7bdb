//! Brings pieces of packs to where they belong in files, pack by pack, however they are scattered.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};

use super::target::failed;
use crate::ops::{Error, Result};
use crate::progress::PhaseGuard;
use crate::repository::{OpenPackReader, PackReader};

/// Pieces that are gathered before they are fetched: some megabytes of memory, and some gigabytes of files.
const WINDOW: usize = 32_768;
/// Packs that are read at once.
const CONCURRENCY: usize = 4;
/// Bytes between two wanted ranges of a pack below which they are read as one: about what is decoded anyway.
const GAP: u64 = 256 << 10;
/// Bytes that are handed to the disk at once.
const BATCH: usize = 2 << 20;

/// A piece of a pack, and where it goes.
#[derive(Debug, Clone, Copy)]
struct Piece {
    offset: u64,
    length: u64,
    file: u32,
    at: u64,
}

/// Gathers pieces, and brings them to their files when there are enough.
pub(super) struct Scatter<'a> {
    packs: &'a PackReader,
    phase: &'a PhaseGuard<'a>,
    files: Vec<PathBuf>,
    pieces: BTreeMap<u32, Vec<Piece>>,
    count: usize,
    /// Whether files are zero where nothing was written.
    sparse: bool,
}

impl<'a> Scatter<'a> {
    /// Brings pieces to new files, which are zero and stay `sparse`, or to others.
    pub(super) fn new(packs: &'a PackReader, phase: &'a PhaseGuard<'a>, sparse: bool) -> Self {
        Self { packs, phase, files: Vec::new(), pieces: BTreeMap::new(), count: 0, sparse }
    }

    /// Adds a file that exists already, whose pieces follow.
    pub(super) fn file(&mut self, path: PathBuf) {
        self.files.push(path);
    }

    /// Adds a piece of the file that was added last: `length` bytes of a pack from `offset` on go to `at` in the file.
    pub(super) fn piece(&mut self, pack: u32, offset: u64, length: u64, at: u64) {
        let file = self.files.len() as u32 - 1;
        self.pieces.entry(pack).or_default().push(Piece { offset, length, file, at });
        self.count += 1;
    }

    /// Returns whether files are zero where nothing was written.
    pub(super) fn is_sparse(&self) -> bool {
        self.sparse
    }

    /// Returns whether [`Scatter::flush`] is due.
    pub(super) fn is_full(&self) -> bool {
        self.count >= WINDOW
    }

    /// Fetches all pieces and writes them. When it returns, the files that were added are complete.
    pub(super) async fn flush(&mut self) -> Result<()> {
        let files: Arc<[PathBuf]> = std::mem::take(&mut self.files).into();
        let (packs, phase, sparse) = (self.packs, self.phase, self.sparse);
        self.count = 0;
        let work = std::mem::take(&mut self.pieces).into_iter().map(|(number, mut pieces)| {
            let files = Arc::clone(&files);
            async move {
                pieces.sort_by_key(|piece| piece.offset);
                let pack = packs.open(number).await?;
                for run in runs(&pieces) {
                    copy(&pack, run, &files, phase, sparse).await?;
                }
                Ok::<_, Error>(())
            }
            .boxed()
        });
        let mut work = futures::stream::iter(work).buffer_unordered(CONCURRENCY).boxed();
        while work.try_next().await?.is_some() {}
        Ok(())
    }
}

/// Splits pieces, in order of their offsets, into runs that are worth one read.
fn runs(pieces: &[Piece]) -> impl Iterator<Item = &[Piece]> {
    let mut end = 0;
    let mut starts = Vec::new();
    for (number, piece) in pieces.iter().enumerate() {
        if number == 0 || piece.offset > end + GAP {
            starts.push(number);
        }
        end = end.max(piece.offset + piece.length);
    }
    let ends: Vec<usize> = starts.iter().skip(1).copied().chain([pieces.len()]).collect();
    starts.into_iter().zip(ends).map(|(start, end)| &pieces[start..end])
}

/// Reads the stretch of a pack that holds `run`, and writes each piece of it.
async fn copy(
    pack: &OpenPackReader,
    run: &[Piece],
    files: &Arc<[PathBuf]>,
    phase: &PhaseGuard<'_>,
    sparse: bool,
) -> Result<()> {
    let Some(start) = run.first().map(|piece| piece.offset) else { return Ok(()) };
    let end = run.iter().map(|piece| piece.offset + piece.length).max().unwrap_or(start);
    let mut stream = pack.read(start..end);
    let mut position = start;
    // Pieces that begin before `position` and are not complete yet; there may be several, where files share bytes.
    let (mut open, mut next) = (Vec::<Piece>::new(), 0);
    let (mut batch, mut batched) = (Vec::new(), 0);
    while let Some(chunk) = stream.try_next().await? {
        let span = position..position + chunk.len() as u64;
        while next < run.len() && run[next].offset < span.end {
            open.push(run[next]);
            next += 1;
        }
        for piece in &open {
            let shared = overlap(&span, &(piece.offset..piece.offset + piece.length));
            let data = chunk.slice((shared.start - span.start) as usize..(shared.end - span.start) as usize);
            batched += data.len();
            batch.push(Write { file: piece.file, at: piece.at + (shared.start - piece.offset), data });
        }
        open.retain(|piece| piece.offset + piece.length > span.end);
        position = span.end;
        if batched >= BATCH {
            write(std::mem::take(&mut batch), files, phase, sparse).await?;
            batched = 0;
        }
    }
    write(batch, files, phase, sparse).await
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> Range<u64> {
    a.start.max(b.start)..a.end.min(b.end)
}

#[derive(Debug)]
struct Write {
    file: u32,
    at: u64,
    data: Bytes,
}

/// Writes a batch off the async runtime. In sparse files zeros are not written: they have them already.
async fn write(batch: Vec<Write>, files: &Arc<[PathBuf]>, phase: &PhaseGuard<'_>, sparse: bool) -> Result<()> {
    let bytes: u64 = batch.iter().map(|write| write.data.len() as u64).sum();
    let files = Arc::clone(files);
    blocking(move || {
        let mut open: Option<(u32, std::fs::File)> = None;
        for Write { file, at, data } in batch {
            let path = &files[file as usize];
            if open.as_ref().is_none_or(|(number, _)| *number != file) {
                open = Some((file, OpenOptions::new().write(true).open(path).map_err(failed("open", path))?));
            }
            let Some((_, handle)) = &open else { continue };
            let stretches = if sparse { written(&data) } else { std::iter::once(0..data.len()).collect() };
            for run in stretches {
                handle.write_all_at(&data[run.clone()], at + run.start as u64).map_err(failed("write", path))?;
            }
        }
        Ok(())
    })
    .await?;
    phase.advance(bytes);
    Ok(())
}

/// Returns the stretches of `data` that are not zero, in whole pages of it.
fn written(data: &[u8]) -> Vec<Range<usize>> {
    const PAGE: usize = 8192;
    let mut stretches: Vec<Range<usize>> = Vec::new();
    for (number, page) in data.chunks(PAGE).enumerate() {
        if page.iter().all(|byte| *byte == 0) {
            continue;
        }
        let start = number * PAGE;
        match stretches.last_mut() {
            Some(last) if last.end == start => last.end += page.len(),
            _ => stretches.push(start..start + page.len()),
        }
    }
    stretches
}

/// Runs blocking work off the async runtime.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(Error::Io { action: "run to the end".to_owned(), source: std::io::Error::other(error) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_pages_are_left_out() {
        let mut data = vec![0; 4 * 8192 + 100];
        assert_eq!(written(&data), []);
        for at in [8192, 2 * 8192 + 5, 4 * 8192 + 99] {
            data[at] = 1;
        }
        assert_eq!(written(&data), [8192..3 * 8192, 4 * 8192..4 * 8192 + 100]);
    }

    #[test]
    fn near_pieces_are_one_read_and_far_ones_are_not() {
        let piece = |offset, length| Piece { offset, length, file: 0, at: 0 };
        let pieces = [piece(0, 10), piece(5, 1), piece(GAP + 10, 1), piece(3 * GAP, 7), piece(3 * GAP, 7)];
        let lengths: Vec<usize> = runs(&pieces).map(<[Piece]>::len).collect();
        assert_eq!(lengths, [3, 2]);
        assert_eq!(runs(&[]).map(<[Piece]>::len).sum::<usize>(), 0);
    }
}
