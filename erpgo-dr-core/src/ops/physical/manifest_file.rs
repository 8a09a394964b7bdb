//! Writes a `backup_manifest`: the one that `pg_verifybackup` checks restored files with, and the one that a server wants to see before an
//! incremental backup.
//!
//! Source: "Backup Manifest Format" in PostgreSQL's manual. Checksums are of the files as they were written, read back.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use chrono::DateTime;
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::scatter::blocking;
use super::target::{TargetFolders, failed};
use super::{AUTO_CONF, BACKUP_LABEL, CONTROL_DRAFT, CONTROL_FILE, WAL_FOLDER};
use crate::ops::Result;
use crate::postgres::ServerInfo;
use crate::repository::{FileKind, Manifest, PhysicalContents, Repository};
use crate::types::{Lsn, TimelineId};

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
    let path = data.join(BACKUP_MANIFEST);
    let mut options = File::options();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
    let file = file.map_err(failed("create", &path))?;
    let mut writer = ManifestWriter::begin(file, &path, &manifest.contents.server)?;
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
        writer.file(&path, size, Some((modified, sum)))?;
    }
    let label = physical.backup_label.as_bytes();
    let sum = (manifest.created.timestamp(), crc32c::crc32c(label));
    writer.file(BACKUP_LABEL, label.len() as u64, Some(sum))?;
    writer.finish(physical.timeline, physical.start_lsn, physical.stop_lsn)?;
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
pub(super) struct ManifestWriter<W: Write> {
    path: PathBuf,
    output: BufWriter<W>,
    hash: Sha256,
    files: u64,
}

impl<W: Write> ManifestWriter<W> {
    /// Begins the manifest of a backup of `server`; errors name `path`.
    pub(super) fn begin(output: W, path: &Path, server: &ServerInfo) -> Result<Self> {
        let output = BufWriter::new(output);
        let mut writer = Self { path: path.to_owned(), output, hash: Sha256::new(), files: 0 };
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
        self.output.write_all(text.as_bytes()).map_err(failed("write", &self.path))
    }

    /// Notes a file; if they are known, also when it was modified, in seconds since 1970 UTC, and its CRC32C.
    pub(super) fn file(&mut self, path: &str, size: u64, details: Option<(i64, u32)>) -> Result<()> {
        let mut entry = json!({ "Path": path, "Size": size });
        if let Some((modified, sum)) = details {
            let time = DateTime::from_timestamp(modified, 0).unwrap_or_default().format("%Y-%m-%d %H:%M:%S GMT");
            entry["Last-Modified"] = time.to_string().into();
            entry["Checksum-Algorithm"] = "CRC32C".into();
            entry["Checksum"] = hex::encode(sum.to_le_bytes()).into();
        }
        let comma = if self.files > 0 { "," } else { "" };
        self.files += 1;
        self.put(&format!("{comma}\n{entry}"))
    }

    /// Ends the manifest of a backup that is consistent with the log from `start` to `stop`.
    pub(super) fn finish(mut self, timeline: TimelineId, start: Lsn, stop: Lsn) -> Result<W> {
        let range = json!({
            "Timeline": timeline.get(),
            "Start-LSN": start.to_string(),
            "End-LSN": stop.to_string(),
        });
        self.put(&format!("\n],\n\"WAL-Ranges\": [\n{range}\n],\n"))?;
        let hash = hex::encode(self.hash.clone().finalize());
        let end = format!("\"Manifest-Checksum\": \"{hash}\"}}\n");
        self.output.write_all(end.as_bytes()).map_err(failed("write", &self.path))?;
        self.output.into_inner().map_err(|error| failed("write", &self.path)(error.into_error()))
    }
}
