//! The control file, `global/pg_control`: what a cluster is, and where its last checkpoint lies.
//!
//! The server rewrites it in place, so that it is read until its checksum says that a read was whole. Source:
//! `src/include/catalog/pg_control.h` of PostgreSQL 13 to 18, on 64-bit machines, in the byte order of this one.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use super::super::PostgresError;
use super::error::PhysicalError;
use super::listing::{CONTROL_FILE, failed};
use crate::types::{Lsn, TimelineId, WalSegmentSize};

/// Bytes of the file; what it means takes up less.
const FILE: usize = 8192;
const ATTEMPTS: usize = 50;
const PAUSE: Duration = Duration::from_millis(10);
/// Where the checksum lies, behind all other fields, in each version of the file.
const CHECKSUM_AT: [(u32, usize); 3] = [(1300, 288), (1700, 288), (1800, 292)];

/// What a server was doing when it last wrote its control file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClusterState {
    /// It was starting.
    Startup,
    /// It had been shut down.
    ShutDown,
    /// It had been shut down as a standby.
    ShutDownInRecovery,
    /// It was shutting down.
    ShuttingDown,
    /// It was recovering from a crash.
    CrashRecovery,
    /// It was replaying an archive, or was a standby.
    ArchiveRecovery,
    /// It was a primary.
    Production,
}

/// What the control file of a cluster says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ControlFile {
    /// The number that `initdb` drew for the cluster; its standbys share it.
    pub system_identifier: u64,
    /// The format of the control file: 1300, 1700 or 1800.
    pub version: u32,
    /// The format of the system catalogs.
    pub catalog_version: u32,
    /// What the server was doing.
    pub state: ClusterState,
    /// When the file was written, in seconds since 1970 UTC.
    pub modified: i64,
    /// Where the record of the last checkpoint lies.
    pub checkpoint: Lsn,
    /// Where replay from that checkpoint begins.
    pub redo: Lsn,
    /// The timeline of that checkpoint.
    pub timeline: TimelineId,
    /// How far a standby must replay before it is consistent; 0/0 on a primary.
    pub min_recovery_point: Lsn,
    /// The timeline of that point; none on a primary.
    pub min_recovery_timeline: Option<TimelineId>,
    /// Bytes of a page.
    pub block_size: u32,
    /// Pages in one file of a relation.
    pub blocks_per_segment: u32,
    /// The size of WAL segments.
    pub wal_segment_size: WalSegmentSize,
    /// The version of the pages' checksums; 0 when they have none.
    pub data_checksum_version: u32,
}

/// A control file as it was read: what a backup stores of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlFileImage {
    /// What it says.
    pub control: ControlFile,
    /// Its bytes, all of them from one write of the server.
    pub contents: Bytes,
    /// Its permissions.
    pub mode: u32,
    /// When it was last modified, in seconds since 1970 UTC.
    pub modified: i64,
}

impl ControlFile {
    /// Reads the control file of the data directory `root`, again while it is being written, for half a second at most. Blocking.
    ///
    /// # Errors
    /// [`PostgresError::File`]; [`PhysicalError::ControlFile`] when no read is whole, or the version is unknown.
    pub fn read(root: &Path) -> Result<ControlFileImage, PostgresError> {
        let path = root.join(CONTROL_FILE);
        let mut reason = String::new();
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                std::thread::sleep(PAUSE);
            }
            let contents = Bytes::from(fs::read(&path).map_err(failed(&path, "read"))?);
            match Self::parse(&contents) {
                Ok(control) => {
                    let metadata = fs::metadata(&path).map_err(failed(&path, "look at"))?;
                    let (mode, modified) = (metadata.mode() & 0o7777, metadata.mtime());
                    return Ok(ControlFileImage { control, contents, mode, modified });
                }
                Err(wrong) => reason = wrong,
            }
        }
        Err(PhysicalError::ControlFile { path, reason }.into())
    }

    /// Reads the bytes of a control file; the error says in words what is wrong with them.
    pub(crate) fn parse(contents: &[u8]) -> Result<Self, String> {
        if contents.len() != FILE {
            return Err(format!("{} bytes long, and not {FILE}: it is damaged", contents.len()));
        }
        let fields = Fields(contents);
        let version = fields.u32(8);
        let Some((_, checksum_at)) = CHECKSUM_AT.into_iter().find(|(known, _)| *known == version) else {
            return Err(format!(
                "version {version} of the control file is not known: PostgreSQL 13 to 18 write 1300, 1700 and 1800"
            ));
        };
        if crc32c::crc32c(&contents[..checksum_at]) != fields.u32(checksum_at) {
            return Err("its checksum is wrong, however often it is read: it is damaged".to_owned());
        }
        fields.decode(version).ok_or_else(|| "fields of it make no sense, though its checksum is right".to_owned())
    }
}

/// The bytes of a control file of the right length.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn u32(&self, at: usize) -> u32 {
        self.0.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes)
    }

    fn u64(&self, at: usize) -> u64 {
        self.0.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_ne_bytes)
    }

    /// The fields before the checksum have kept their places since version 13.
    fn decode(&self, version: u32) -> Option<ControlFile> {
        Some(ControlFile {
            system_identifier: self.u64(0),
            version,
            catalog_version: self.u32(12),
            state: state(self.u32(16))?,
            modified: self.u64(24).cast_signed(),
            checkpoint: Lsn(self.u64(32)),
            redo: Lsn(self.u64(40)),
            timeline: TimelineId::new(self.u32(48))?,
            min_recovery_point: Lsn(self.u64(136)),
            min_recovery_timeline: TimelineId::new(self.u32(144)),
            block_size: self.u32(216),
            blocks_per_segment: self.u32(220),
            wal_segment_size: WalSegmentSize::new(self.u32(228).into())?,
            data_checksum_version: self.u32(252),
        })
    }
}

fn state(number: u32) -> Option<ClusterState> {
    Some(match number {
        0 => ClusterState::Startup,
        1 => ClusterState::ShutDown,
        2 => ClusterState::ShutDownInRecovery,
        3 => ClusterState::ShuttingDown,
        4 => ClusterState::CrashRecovery,
        5 => ClusterState::ArchiveRecovery,
        6 => ClusterState::Production,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A control file of `version` with a few fields set.
    fn sample(version: u32, checksum_at: usize) -> Vec<u8> {
        let mut file = vec![0; FILE];
        let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &7_u64.to_ne_bytes());
        put(8, &version.to_ne_bytes());
        put(16, &6_u32.to_ne_bytes());
        put(40, &0x28_u64.to_ne_bytes());
        put(48, &3_u32.to_ne_bytes());
        put(216, &8192_u32.to_ne_bytes());
        put(228, &(16_u32 << 20).to_ne_bytes());
        let checksum = crc32c::crc32c(&file[..checksum_at]);
        file[checksum_at..checksum_at + 4].copy_from_slice(&checksum.to_ne_bytes());
        file
    }

    #[test]
    fn every_version_is_read_and_any_flipped_bit_is_seen() {
        for (version, checksum_at) in CHECKSUM_AT {
            let mut file = sample(version, checksum_at);
            let control = ControlFile::parse(&file).unwrap();
            assert_eq!((control.system_identifier, control.timeline.get(), control.redo), (7, 3, Lsn(0x28)));
            assert_eq!((control.state, control.min_recovery_timeline), (ClusterState::Production, None));
            for bit in 0..(checksum_at + 4) * 8 {
                file[bit / 8] ^= 1 << (bit % 8);
                assert!(ControlFile::parse(&file).is_err(), "{version}: bit {bit}");
                file[bit / 8] ^= 1 << (bit % 8);
            }
            assert!(ControlFile::parse(&file[..FILE - 1]).unwrap_err().contains("8191 bytes"));
        }
        assert!(ControlFile::parse(&sample(1201, 288)).unwrap_err().contains("version 1201"));
    }

    #[test]
    fn a_file_that_is_whole_a_little_later_is_read_and_one_that_never_is_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(CONTROL_FILE);
        fs::create_dir(folder.path().join("global")).unwrap();
        let file = sample(1700, 288);
        let mut torn = file.clone();
        torn[100] ^= 1;
        fs::write(&path, &torn).unwrap();
        let refused = ControlFile::read(folder.path()).unwrap_err().to_string();
        assert!(refused.contains("pg_control") && refused.contains("damaged"), "{refused}");
        let reader = {
            let root = folder.path().to_owned();
            std::thread::spawn(move || ControlFile::read(&root))
        };
        // In one step, as a server's write is to whoever reads after it.
        fs::write(folder.path().join("new"), &file).unwrap();
        fs::rename(folder.path().join("new"), &path).unwrap();
        assert_eq!(reader.join().unwrap().unwrap().contents, file);
        fs::remove_file(&path).unwrap();
        assert!(matches!(ControlFile::read(folder.path()), Err(PostgresError::File { .. })));
    }
}
