//! What an earlier backup has of each file, in whatever order the files come; and its manifest, for the server.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::Path;

use bytes::Bytes;
use roaring::RoaringBitmap;

use super::super::base::Base;
use super::super::manifest_file::ManifestWriter;
use super::super::target::failed;
use super::spool::{FileSpool, SortedSpool};
use crate::ops::{Error, Result};
use crate::postgres::physical::{ClusterFacts, KnownPages, RelationFile};
use crate::repository::{Extent, RepositoryError};

/// Bytes of a manifest that are sent at once.
const PIECE: usize = 64 << 10;

/// The files of an earlier backup.
#[derive(Debug)]
pub(super) struct KnownFiles(SortedSpool);

/// What is needed of an extent and the pages beside its place.
#[derive(serde::Serialize, serde::Deserialize)]
struct Kept {
    extents: Vec<Extent>,
    renewed: Vec<u32>,
}

impl KnownFiles {
    /// Reads all that `base` knows of its files, and notes them in `manifest` as it goes.
    pub(super) async fn read(
        base: &mut Base,
        scratch: &Path,
        mut manifest: Option<&mut UploadManifest>,
    ) -> Result<Self> {
        let mut spool = FileSpool::begin(scratch)?;
        while let Some(file) = base.next().await? {
            if let Some(manifest) = manifest.as_deref_mut().filter(|_| is_told_of(&file.path)) {
                manifest.writer.file(&file.path, file.pages.size, None)?;
            }
            let kept = Kept { extents: file.extents, renewed: file.pages.renewed.iter().collect() };
            let kept = serde_json::to_vec(&kept).expect("numbers are plain JSON");
            spool.push(&file.path, [&kept, &file.pages.hashes])?;
        }
        Ok(Self(spool.sorted()?))
    }

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
