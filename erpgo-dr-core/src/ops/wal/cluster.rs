//! Of which cluster a file is, where the file itself does not say.

use std::path::Path;

use crate::ops::Result;
use crate::postgres::physical::ControlFile;
use crate::postgres::wal::SegmentHeader;
use crate::repository::{Repository, RepositoryError};
use crate::types::{WalFileName, WalSegmentName};

/// Reads the system identifier of the data directory whose `pg_wal` a file lies in, or shall lie in; `None` if it is none. Blocking.
pub fn wal_cluster_around(path: &Path) -> Option<u64> {
    Some(ControlFile::read(data_directory(path)?).ok()?.control.system_identifier)
}

/// `DATA` for `DATA/pg_wal/FILE`. By the names: `pg_wal` may be a symbolic link.
fn data_directory(path: &Path) -> Option<&Path> {
    let log = path.parent()?;
    (log.file_name()? == "pg_wal").then_some(())?;
    log.parent()
}

/// Returns whether a file is for a server that recovers to end at some point, and not for a standby, which asks again.
pub(super) fn is_for_recovery(path: &Path) -> bool {
    let signal = |name: &str| data_directory(path).is_some_and(|data| data.join(name).exists());
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
    fn the_data_directory_is_found_by_names_alone() {
        let of = |path: &'static str| data_directory(Path::new(path)).map(|found| found.display().to_string());
        assert_eq!(of("pg_wal/RECOVERYXLOG").unwrap(), "");
        assert_eq!(of("/data/pg_wal/00000002.history").unwrap(), "/data");
        assert_eq!(of("/tmp/000000010000000000000001"), None);
        assert_eq!(of("RECOVERYXLOG"), None);
    }
}
