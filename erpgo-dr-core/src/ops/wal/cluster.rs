//! Of which cluster a file is, where the file itself does not say.

use std::path::{Path, PathBuf};

use crate::ops::Result;
use crate::postgres::wal::{SegmentHeader, system_identifier_of_control};
use crate::repository::{Repository, RepositoryError};
use crate::types::{WalFileName, WalSegmentName};

/// The first bytes of a control file are enough.
const CONTROL_BYTES: usize = 64;

/// Reads the system identifier of the data directory whose `pg_wal` a file lies in, or shall lie in; `None` if it is none.
pub fn wal_cluster_around(path: &Path) -> Option<u64> {
    let control = control_of(path)?;
    let mut begin = [0; CONTROL_BYTES];
    let mut file = std::fs::File::open(&control).ok()?;
    std::io::Read::read_exact(&mut file, &mut begin).ok()?;
    system_identifier_of_control(&control.display().to_string(), &begin).ok()
}

/// `DATA/global/pg_control` for `DATA/pg_wal/FILE`. By the names: `pg_wal` may be a symbolic link.
fn control_of(path: &Path) -> Option<PathBuf> {
    let log = path.parent()?;
    (log.file_name()? == "pg_wal").then_some(())?;
    Some(log.parent()?.join("global/pg_control"))
}

/// Returns whether a file is for a server that recovers to end at some point, and not for a standby, which asks again.
pub(super) fn is_for_recovery(path: &Path) -> bool {
    let signal = |name: &str| control_of(path).is_some_and(|control| control.with_file_name("..").join(name).exists());
    signal("recovery.signal") && !signal("standby.signal")
}

/// Returns whether a segment lies whole in the `pg_wal` that `destination` is in, where PostgreSQL looks when the archive has none.
///
/// The name alone says little: old segments wait there under the names of later ones, to be written over.
pub(super) fn has_own_copy(destination: &Path, system: u64, name: WalSegmentName) -> bool {
    let path = destination.with_file_name(name.to_string());
    let mut begin = [0; SegmentHeader::LEN];
    let mut read = || {
        let mut file = std::fs::File::open(&path).ok()?;
        std::io::Read::read_exact(&mut file, &mut begin).ok()?;
        let header = SegmentHeader::parse(&name.to_string(), &begin).ok()?;
        header.check_length(name, file.metadata().ok()?.len()).ok()?;
        header.check(name, Some(system)).ok()
    };
    read().is_some()
}

/// Finds the cluster of a file: the one that is named, that of the data directory around `path`, or the only one in the archive.
pub(super) async fn of(repository: &Repository, name: WalFileName, named: Option<u64>, path: &Path) -> Result<u64> {
    if let Some(identifier) = named.or_else(|| wal_cluster_around(path)) {
        return Ok(identifier);
    }
    let systems = repository.wal_systems().await?;
    match systems.as_slice() {
        [identifier] => Ok(*identifier),
        [] => Err(unknown(name, "the archive is empty, and the path lies in no data directory")),
        _ => Err(unknown(name, "the archive holds several clusters, and the path lies in no data directory")),
    }
}

fn unknown(name: WalFileName, reason: &str) -> super::super::Error {
    RepositoryError::WalSystemUnknown { name, reason: reason.to_owned() }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_file_is_found_by_names_alone() {
        let of = |path: &str| control_of(Path::new(path)).map(|found| found.display().to_string());
        assert_eq!(of("pg_wal/RECOVERYXLOG").unwrap(), "global/pg_control");
        assert_eq!(of("/data/pg_wal/00000002.history").unwrap(), "/data/global/pg_control");
        assert_eq!(of("/tmp/000000010000000000000001"), None);
        assert_eq!(of("RECOVERYXLOG"), None);
    }
}
