//! What earlier runs have of each file, in whatever order the files come; and its manifest, for the server.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::Path;

use bytes::Bytes;
use roaring::RoaringBitmap;

use super::super::base::{Base, KnownFile};
use super::super::manifest_file::ManifestWriter;
use super::super::resume::Interrupted;
use super::super::target::failed;
use super::spool::{FileSpool, SortedSpool};
use crate::ops::{Error, Result};
use crate::postgres::physical::{ClusterFacts, KnownPages, RelationFile};
use crate::repository::{Extent, RepositoryError};

/// Bytes of a manifest that are sent at once.
const PIECE: usize = 64 << 10;

/// The files of earlier runs, as they are read. What is read last of a file holds.
#[derive(Debug)]
pub(super) struct KnownFiles(FileSpool);

/// The files of earlier runs.
#[derive(Debug)]
pub(super) struct SortedFiles(SortedSpool);

/// What is needed of an extent and the pages beside its place.
#[derive(serde::Serialize, serde::Deserialize)]
struct Kept {
    extents: Vec<Extent>,
    renewed: Vec<u32>,
}

impl KnownFiles {
    /// Begins in the folder `scratch`.
    pub(super) fn begin(scratch: &Path) -> Result<Self> {
        Ok(Self(FileSpool::begin(scratch)?))
    }

    /// Reads all that `base` knows of its files, and notes them in `manifest` as it goes.
    pub(super) async fn read(&mut self, base: &mut Base, mut manifest: Option<&mut UploadManifest>) -> Result<()> {
        while let Some(file) = base.next().await? {
            if let Some(manifest) = manifest.as_deref_mut().filter(|_| is_told_of(&file.path)) {
                manifest.writer.file(&file.path, file.pages.size, None)?;
            }
            self.push(file)?;
        }
        Ok(())
    }

    /// Reads all that runs which broke off have stored.
    pub(super) async fn read_interrupted(mut self, runs: &mut Interrupted) -> Result<Self> {
        while let Some(file) = runs.next().await {
            self.push(file)?;
        }
        Ok(self)
    }

    fn push(&mut self, file: KnownFile) -> Result<()> {
        let kept = Kept { extents: file.extents, renewed: file.pages.renewed.iter().collect() };
        let kept = serde_json::to_vec(&kept).expect("numbers are plain JSON");
        self.0.push(&file.path, [&kept, &file.pages.hashes])
    }

    /// Ends what is read.
    pub(super) fn sorted(self) -> Result<SortedFiles> {
        Ok(SortedFiles(self.0.sorted()?))
    }
}

impl SortedFiles {
    /// Returns what is known of the file at `path`.
    pub(super) fn find(&self, path: &str) -> Result<Option<(KnownPages, Vec<Extent>)>> {
        let Some([kept, hashes]) = self.0.find(path)? else { return Ok(None) };
        let kept: Kept = serde_json::from_slice(&kept).map_err(|error| {
            Error::from(RepositoryError::Damaged { record: path.to_owned(), reason: error.to_string() })
        })?;
        let size = kept.extents.iter().map(|extent| extent.length()).sum();
        let pages = KnownPages { size, hashes, renewed: RoaringBitmap::from_iter(kept.renewed) };
        Ok(Some((pages, kept.extents)))
    }
}

/// Returns whether the log tells of every change to a file. A server sends whole what the manifest does not name.
///
/// Bits of a visibility map are cleared together with a change to a page of its table, and only that one is named: to go by the server's
/// summaries, as it does itself, would bring bits back that say of changed pages that everybody sees them.
fn is_told_of(path: &str) -> bool {
    RelationFile::parse(path).is_some_and(|file| file.fork.is_empty())
}

/// The manifest of an earlier backup, as far as a server wants it: the files, and where their log begins.
pub(super) struct UploadManifest {
    writer: ManifestWriter<File>,
}

impl UploadManifest {
    pub(super) fn begin(scratch: &Path, facts: &ClusterFacts) -> Result<Self> {
        let file = tempfile::tempfile_in(scratch).map_err(failed("make a temporary file in", scratch))?;
        Ok(Self { writer: ManifestWriter::begin(file, scratch, &facts.server)? })
    }

    /// Returns the pieces of the manifest, one by one.
    pub(super) fn finish(self, base: &Base, scratch: &Path) -> Result<impl FnMut() -> Result<Option<Bytes>> + Send> {
        let mut file = self.writer.finish(base.timeline, base.start_lsn, base.stop_lsn)?;
        file.rewind().map_err(failed("read", scratch))?;
        let scratch = scratch.to_owned();
        Ok(move || {
            let mut piece = vec![0; PIECE];
            let read = file.read(&mut piece).map_err(failed("read", &scratch))?;
            piece.truncate(read);
            Ok((read > 0).then(|| Bytes::from(piece)))
        })
    }
}
