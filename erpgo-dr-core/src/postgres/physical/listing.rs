//! Lists what is to be backed up of a data directory and its tablespaces.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use super::super::PostgresError;
use super::error::PhysicalError;
use super::exclusions::{is_dropped, is_emptied};
use super::relation_file::RelationFile;

/// Links that become directories: what lies behind them is not backed up as files, or is of no use elsewhere.
const LINKED_FOLDERS: [&str; 4] = ["pg_wal", "pg_stat_tmp", "log", "pg_log"];
/// How long a tablespace that loses its directory is given to lose its link too: PostgreSQL removes them in this order.
const DROP_ATTEMPTS: usize = 50;
const DROP_PAUSE: Duration = Duration::from_millis(10);
/// Restored last, and read by itself.
pub(super) const CONTROL_FILE: &str = "global/pg_control";

/// A file, directory or tablespace link of a data directory, as it was when it was listed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterEntry {
    /// Path from the data directory; what lies in a tablespace begins with `pg_tblspc/<oid>/`.
    pub path: Box<str>,
    /// What it is.
    pub kind: ClusterEntryKind,
    /// Permissions.
    pub mode: u32,
}

/// What an entry of a data directory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterEntryKind {
    /// A file.
    File {
        /// Its length in bytes: what it has grown by since comes back with the WAL.
        size: u64,
        /// When it was last modified, in seconds since 1970 UTC.
        modified: i64,
    },
    /// A directory.
    Directory,
    /// The link of a tablespace, and where it points.
    Tablespace(Box<str>),
}

/// The files of a cluster, in order of their paths, so that a directory comes before what is in it. Without the control file
/// and without WAL, which are read by themselves.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ClusterListing {
    /// The entries.
    pub entries: Vec<ClusterEntry>,
    /// Bytes of the files among them.
    pub bytes: u64,
    /// Tablespaces that are directories of `pg_tblspc` itself, as developers of PostgreSQL make them
    /// (`allow_in_place_tablespaces`); the server's tablespace map does not name them.
    pub in_place_tablespaces: Vec<u32>,
}

impl ClusterListing {
    /// Lists the data directory `root`. In tablespaces only `version_folder` is this cluster's: `PG_17_202406281`. Blocking.
    ///
    /// # Errors
    /// [`PostgresError::File`] for what cannot be listed, [`PhysicalError::Tablespace`] for a link of a tablespace that leads
    /// nowhere or to another link, [`PostgresError::MalformedCluster`] for a name that is no text. What vanishes meanwhile is
    /// left out.
    pub fn read(root: &Path, version_folder: &str) -> Result<Self, PostgresError> {
        let mut walk = Walk { root, version_folder, entries: Vec::new(), inside: tablespaces_inside(root)? };
        walk.folder("")?;
        let mut entries = walk.entries;
        leave_out_unlogged(&mut entries);
        entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        entries.shrink_to_fit();
        let size = |entry: &ClusterEntry| match entry.kind {
            ClusterEntryKind::File { size, .. } => size,
            _ => 0,
        };
        let bytes = entries.iter().map(size).sum();
        let in_place_tablespaces = entries.iter().filter_map(in_place).collect();
        Ok(Self { entries, bytes, in_place_tablespaces })
    }
}

/// Returns the number of a tablespace that is a directory of `pg_tblspc`.
fn in_place(entry: &ClusterEntry) -> Option<u32> {
    let name = entry.path.strip_prefix("pg_tblspc/").filter(|_| entry.kind == ClusterEntryKind::Directory)?;
    name.parse().ok()
}

/// Lists tablespaces that somebody put into the data directory: they are read behind their links, and not a second time.
fn tablespaces_inside(root: &Path) -> Result<Vec<String>, PostgresError> {
    let folder = root.join("pg_tblspc");
    let whole = root.canonicalize().map_err(failed(root, "find"))?;
    let Some(links) = present(fs::read_dir(&folder)).map_err(failed(&folder, "list"))? else { return Ok(Vec::new()) };
    let mut inside = Vec::new();
    for link in links {
        let link = link.map_err(failed(&folder, "list"))?;
        let is_link = link.file_type().is_ok_and(|kind| kind.is_symlink());
        if is_link
            && let Ok(target) = link.path().canonicalize()
            && let Some(path) = target.strip_prefix(&whole).ok().and_then(Path::to_str)
        {
            inside.push(path.to_owned());
        }
    }
    Ok(inside)
}

/// Of an unlogged relation only the initial contents survive a crash: a restore begins with them.
fn leave_out_unlogged(entries: &mut Vec<ClusterEntry>) {
    let relations = entries.iter().filter_map(|entry| RelationFile::parse(&entry.path));
    let unlogged: BTreeSet<(String, u32)> = relations
        .filter(|file| file.fork == "init" && !file.temporary)
        .map(|file| (file.folder.to_owned(), file.number))
        .collect();
    if !unlogged.is_empty() {
        entries.retain(|entry| {
            RelationFile::parse(&entry.path)
                .is_none_or(|file| file.fork == "init" || !unlogged.contains(&(file.folder.to_owned(), file.number)))
        });
    }
}

struct Walk<'a> {
    root: &'a Path,
    version_folder: &'a str,
    entries: Vec<ClusterEntry>,
    /// Directories that are tablespaces.
    inside: Vec<String>,
}

impl Walk<'_> {
    /// Lists a folder, `""` for the data directory itself, which has no entry.
    fn folder(&mut self, folder: &str) -> Result<(), PostgresError> {
        let at = self.root.join(folder);
        let names = match fs::read_dir(&at) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !folder.is_empty() => return Ok(()),
            Err(error) => return Err(failed(&at, "list")(error)),
        };
        for name in names {
            let name = name.map_err(failed(&at, "list"))?.file_name();
            let Some(name) = name.to_str() else {
                let path = at.join(&name);
                return Err(PostgresError::MalformedCluster(format!(
                    "no file of a cluster is named so: {}",
                    path.display()
                )));
            };
            let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            if !is_dropped(&path) && path != CONTROL_FILE {
                self.entry(&path)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: &str) -> Result<(), PostgresError> {
        let at = self.root.join(path);
        let Some(metadata) = present(fs::symlink_metadata(&at)).map_err(failed(&at, "look at"))? else { return Ok(()) };
        if metadata.is_symlink() {
            return self.link(path, &at);
        }
        if metadata.is_dir() {
            self.push(path, ClusterEntryKind::Directory, &metadata);
            return if is_emptied(path) || self.inside.iter().any(|inside| inside == path) {
                Ok(())
            } else {
                self.folder(path)
            };
        }
        self.file(path, &metadata);
        Ok(())
    }

    fn file(&mut self, path: &str, metadata: &Metadata) {
        let temporary = RelationFile::parse(path).is_some_and(|file| file.temporary);
        if metadata.is_file() && !temporary {
            let kind = ClusterEntryKind::File { size: metadata.len(), modified: metadata.mtime() };
            self.push(path, kind, metadata);
        }
    }

    /// A link is a tablespace; a directory that was moved to another disk; or a file, which is stored for what it holds.
    fn link(&mut self, path: &str, at: &Path) -> Result<(), PostgresError> {
        if path.strip_prefix("pg_tblspc/").is_some_and(|oid| oid.parse::<u32>().is_ok()) {
            return self.tablespace(path, at);
        }
        let Some(metadata) = present(fs::metadata(at)).map_err(failed(at, "follow"))? else {
            tracing::warn!(path = %at.display(), "a link that leads nowhere is not backed up");
            return Ok(());
        };
        if !metadata.is_dir() {
            self.file(path, &metadata);
        } else if LINKED_FOLDERS.contains(&path) {
            self.push(path, ClusterEntryKind::Directory, &metadata);
        } else {
            tracing::warn!(path = %at.display(), "a link to a directory that is no tablespace is not backed up");
        }
        Ok(())
    }

    fn tablespace(&mut self, path: &str, at: &Path) -> Result<(), PostgresError> {
        let wrong = |reason: String| PhysicalError::Tablespace { path: at.to_owned(), reason };
        let ours = format!("{path}/{}", self.version_folder);
        for attempt in 0..DROP_ATTEMPTS {
            if attempt > 0 {
                std::thread::sleep(DROP_PAUSE);
            }
            let Some(target) = present(fs::read_link(at)).map_err(failed(at, "follow"))? else { return Ok(()) };
            let (target, text) = absolute(&target).map_err(wrong)?;
            let Some(metadata) = present(fs::symlink_metadata(target)).map_err(failed(target, "look at"))? else {
                continue;
            };
            if metadata.is_symlink() {
                return Err(wrong(format!(
                    "{text} is a link itself, and PostgreSQL makes none to a link: point it there"
                ))
                .into());
            }
            if present(fs::symlink_metadata(self.root.join(&ours))).map_err(failed(at, "list"))?.is_some() {
                self.push(path, ClusterEntryKind::Tablespace(text.into()), &metadata);
                return self.entry(&ours);
            }
        }
        let target = fs::read_link(at).map_err(failed(at, "follow"))?;
        let reason = format!("there is no {} in {}: is its disk mounted?", self.version_folder, target.display());
        Err(wrong(reason).into())
    }

    fn push(&mut self, path: &str, kind: ClusterEntryKind, metadata: &Metadata) {
        self.entries.push(ClusterEntry { path: path.into(), kind, mode: metadata.mode() & 0o7777 });
    }
}

/// Returns a link's target if PostgreSQL can have made it, or what is wrong with it.
fn absolute(target: &Path) -> Result<(&Path, &str), String> {
    match target.to_str() {
        Some(text) if target.is_absolute() => Ok((target, text)),
        Some(text) => Err(format!("{text} is no absolute path, and PostgreSQL makes no such link")),
        None => Err(format!("{} is no text: name the directory in UTF-8", target.display())),
    }
}

/// Returns `None` for what has vanished.
fn present<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn failed(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> PostgresError {
    let path = path.to_owned();
    move |source| PostgresError::File { path, action, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_cluster_is_listed_as_pg_basebackup_would() {
        let folder = tempfile::tempdir().unwrap();
        let (root, space) = (folder.path().join("data"), folder.path().join("space"));
        let touch = |path: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "12345").unwrap();
        };
        for path in [
            "PG_VERSION",
            "postmaster.pid",
            "global/pg_control",
            "base/5/100",
            "base/5/100.1",
            "base/5/100_init",
            "base/5/200",
            "base/5/t3_300",
            "base/5/pgsql_tmp/x",
            "pg_replslot/one/state",
            "pg_wal/000000010000000000000001",
            "pg_wal/archive_status/000000010000000000000001.ready",
        ] {
            touch(path);
        }
        fs::create_dir_all(root.join("pg_tblspc")).unwrap();
        for path in ["PG_17_1/5/400", "PG_16_1/5/400"] {
            fs::create_dir_all(space.join(path).parent().unwrap()).unwrap();
            fs::write(space.join(path), "123").unwrap();
        }
        symlink(&space, root.join("pg_tblspc/16400")).unwrap();
        let listing = ClusterListing::read(&root, "PG_17_1").unwrap();
        let paths: Vec<&str> = listing.entries.iter().map(|entry| &*entry.path).collect();
        assert_eq!(
            paths,
            [
                "PG_VERSION",
                "base",
                "base/5",
                "base/5/100_init",
                "base/5/200",
                "global",
                "pg_replslot",
                "pg_tblspc",
                "pg_tblspc/16400",
                "pg_tblspc/16400/PG_17_1",
                "pg_tblspc/16400/PG_17_1/5",
                "pg_tblspc/16400/PG_17_1/5/400",
                "pg_wal",
                "pg_wal/archive_status",
            ]
        );
        assert_eq!(listing.bytes, 5 * 3 + 3);
        assert_eq!(listing.entries[8].kind, ClusterEntryKind::Tablespace(space.to_str().unwrap().into()));
        assert!(matches!(ClusterListing::read(&root.join("none"), ""), Err(PostgresError::File { .. })));
    }

    /// A data directory with one link in `pg_tblspc`.
    fn with_link(target: &Path) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("data");
        fs::create_dir_all(root.join("pg_tblspc")).unwrap();
        symlink(target, root.join("pg_tblspc/16400")).unwrap();
        (folder, root)
    }

    fn refusal(root: &Path) -> String {
        let error = ClusterListing::read(root, "PG_17_1").unwrap_err();
        assert!(matches!(error, PostgresError::Physical(PhysicalError::Tablespace { .. })), "{error:?}");
        error.to_string()
    }

    #[test]
    fn links_that_postgresql_does_not_make_are_refused() {
        let spaces = tempfile::tempdir().unwrap();
        let (space, chain) = (spaces.path().join("space"), spaces.path().join("chain"));
        fs::create_dir_all(space.join("PG_17_1")).unwrap();
        symlink(&space, &chain).unwrap();
        assert!(refusal(&with_link(&chain).1).contains("is a link itself"));
        assert!(refusal(&with_link(Path::new("../../space")).1).contains("no absolute path"));
        let (_folder, root) = with_link(&space);
        assert_eq!(ClusterListing::read(&root, "PG_17_1").unwrap().entries.len(), 3);
        fs::remove_dir(space.join("PG_17_1")).unwrap();
        // As after a mount that failed: an empty directory, or none at all.
        assert!(refusal(&root).contains("is its disk mounted?"));
        fs::remove_dir(&space).unwrap();
        assert!(refusal(&root).contains("16400") && refusal(&root).contains("PG_17_1"));
    }

    #[test]
    fn a_tablespace_that_is_being_dropped_is_left_out() {
        let space = tempfile::tempdir().unwrap();
        let (_folder, root) = with_link(space.path());
        let link = root.join("pg_tblspc/16400");
        let listing = std::thread::spawn(move || ClusterListing::read(&root, "PG_17_1"));
        fs::remove_file(link).unwrap();
        assert_eq!(listing.join().unwrap().unwrap().entries.len(), 1);
    }

    #[test]
    fn a_tablespace_inside_the_data_directory_is_listed_once() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("data");
        fs::create_dir_all(root.join("pg_tblspc/16401/PG_17_1")).unwrap();
        fs::create_dir_all(root.join("spaces/one/PG_17_1/5")).unwrap();
        fs::write(root.join("spaces/one/PG_17_1/5/400"), "12345").unwrap();
        symlink(root.join("spaces/one"), root.join("pg_tblspc/16400")).unwrap();
        let listing = ClusterListing::read(&root, "PG_17_1").unwrap();
        let files: Vec<&str> =
            listing.entries.iter().map(|entry| &*entry.path).filter(|path| path.ends_with("400")).collect();
        assert_eq!(files, ["pg_tblspc/16400", "pg_tblspc/16400/PG_17_1/5/400"]);
        assert!(listing.entries.iter().any(|entry| &*entry.path == "spaces/one"));
        assert_eq!((listing.bytes, listing.in_place_tablespaces), (5, vec![16401]));
    }

    #[test]
    fn an_entry_costs_less_than_150_bytes() {
        // The path lies outside of it, in a piece of its own: its length, rounded up to 16, and 16 bytes of the allocator's.
        let longest = "pg_tblspc/16400/PG_18_202506291/16384/1234567890_fsm.1".len().next_multiple_of(16) + 16;
        assert!(size_of::<ClusterEntry>() + longest < 150);
    }
}
