//! Writes the `backup_manifest` that `pg_verifybackup` checks restored files with.
//!
//! Source: "Backup Manifest Format" in PostgreSQL's manual. Checksums are of the files as they were written, read back.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};

use chrono::DateTime;
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::scatter::blocking;
use super::target::{TargetFolders, failed};
use super::{AUTO_CONF, BACKUP_LABEL, CONTROL_DRAFT, CONTROL_FILE, WAL_FOLDER};
use crate::ops::Result;
use crate::repository::{FileKind, Manifest, PhysicalContents, Repository};

/// The file's name in a data directory.
const BACKUP_MANIFEST: &str = "backup_manifest";
/// Files that are read at once.
const CONCURRENCY: usize = 4;
/// Bytes that are read at once.
const CHUNK: usize = 256 << 10;

/// Writes the manifest of files that have been restored, of which the control file still has its draft's name.
pub(super) async fn write_backup_manifest(
    repository: &Repository,
    manifest: &Manifest,
    physical: &PhysicalContents,
    folders: &TargetFolders,
) -> Result<()> {
    let data = folders.data().to_owned();
    let mut writer = ManifestWriter::create(&data.join(BACKUP_MANIFEST), manifest)?;
    let map = repository.file_map(&manifest.id).await?;
    let records = futures::stream::try_unfold(map, |mut map| async move {
        Ok::<_, crate::ops::Error>(map.next().await?.map(|record| (record, map)))
    });
    let checked = |path: &str| !path.starts_with(WAL_FOLDER) && path != AUTO_CONF;
    let files = records.try_filter_map(|record| async move {
        Ok(match record.kind {
            FileKind::File { modified, .. } if checked(&record.path) => Some((record.path, modified)),
            _ => None,
        })
    });
    let sums = files.map(|file| {
        let data = data.clone();
        async move {
            let (path, modified) = file?;
            let lies = data.join(if path == CONTROL_FILE { CONTROL_DRAFT } else { &path });
            let (size, sum) = blocking(move || checksum(&lies).map_err(failed("read", &lies))).await?;
            Ok::<_, crate::ops::Error>((path, modified, size, sum))
        }
    });
    let mut sums = sums.buffered(CONCURRENCY).boxed();
    while let Some((path, modified, size, sum)) = sums.try_next().await? {
        writer.file(&path, modified, size, sum)?;
    }
    let label = physical.backup_label.as_bytes();
    writer.file(BACKUP_LABEL, manifest.created.timestamp(), label.len() as u64, crc32c::crc32c(label))?;
    writer.finish(physical)?;
    folders.give(&data.join(BACKUP_MANIFEST))
}

/// Returns the length of a file and its CRC32C.
fn checksum(path: &Path) -> io::Result<(u64, u32)> {
    let (mut file, mut buffer) = (File::open(path)?, vec![0; CHUNK]);
    let (mut size, mut sum) = (0, 0);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((size, sum)),
            read => {
                size += read as u64;
                sum = crc32c::crc32c_append(sum, &buffer[..read]);
            }
        }
    }
}

/// A manifest in the making, which ends with the hash of itself.
struct ManifestWriter {
    path: PathBuf,
    file: BufWriter<File>,
    hash: Sha256,
    files: u64,
}

impl ManifestWriter {
    fn create(path: &Path, manifest: &Manifest) -> Result<Self> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut options = File::options();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
        let file = BufWriter::new(file.map_err(failed("create", path))?);
        let mut writer = Self { path: path.to_owned(), file, hash: Sha256::new(), files: 0 };
        let server = &manifest.contents.server;
        // The second version names the cluster, and is read from PostgreSQL 17 on.
        let head = match server.system_identifier {
            Some(identifier) if server.major() >= 17 => {
                format!("{{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": {identifier},\n")
            }
            _ => "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n".to_owned(),
        };
        writer.put(&(head + "\"Files\": ["))?;
        Ok(writer)
    }

    fn put(&mut self, text: &str) -> Result<()> {
        self.hash.update(text);
        self.file.write_all(text.as_bytes()).map_err(failed("write", &self.path))
    }

    fn file(&mut self, path: &str, modified: i64, size: u64, sum: u32) -> Result<()> {
        let time = DateTime::from_timestamp(modified, 0).unwrap_or_default().format("%Y-%m-%d %H:%M:%S GMT");
        let entry = json!({
            "Path": path,
            "Size": size,
            "Last-Modified": time.to_string(),
            "Checksum-Algorithm": "CRC32C",
            "Checksum": hex::encode(sum.to_le_bytes()),
        });
        let comma = if self.files > 0 { "," } else { "" };
        self.files += 1;
        self.put(&format!("{comma}\n{entry}"))
    }

    fn finish(mut self, physical: &PhysicalContents) -> Result<()> {
        let range = json!({
            "Timeline": physical.timeline.get(),
            "Start-LSN": physical.start_lsn.to_string(),
            "End-LSN": physical.stop_lsn.to_string(),
        });
        self.put(&format!("\n],\n\"WAL-Ranges\": [\n{range}\n],\n"))?;
        let hash = hex::encode(self.hash.clone().finalize());
        let end = format!("\"Manifest-Checksum\": \"{hash}\"}}\n");
        let written = self.file.write_all(end.as_bytes()).and_then(|()| self.file.flush());
        written.map_err(failed("write", &self.path))
    }
}
