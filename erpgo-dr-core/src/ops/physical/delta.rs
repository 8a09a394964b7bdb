//! Restores over what is there: only pages that differ are written, and what the backup does not have is removed.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::target::{TargetFolders, failed};
use super::{CONTROL_FILE, RESTORE_MARK};
use crate::ops::Result;
use crate::postgres::PostgresError;
use crate::postgres::physical::{ControlFile, PAGE, PAGE_HASH, PageHasher, PhysicalError, read_up_to};
use crate::repository::FileKind;

/// Bytes that are read at once.
const CHUNK: usize = 32 * PAGE;

/// What the paths of a backup are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PathKind {
    File,
    Directory,
    /// A tablespace, and where it is to lie.
    Tablespace(PathBuf),
}

impl PathKind {
    /// Returns what a record is; tablespaces go where the target says.
    pub(super) fn of(kind: &FileKind, path: &str, folders: &TargetFolders) -> Self {
        match kind {
            FileKind::File { .. } => Self::File,
            FileKind::Directory => Self::Directory,
            FileKind::Tablespace { target } => Self::Tablespace(folders.tablespace_folder(path, target)),
        }
    }
}

/// Checks that a folder holds the cluster `system_identifier`, or an unfinished restore of it, and that no server runs on it.
pub(super) fn check_owner(data: &Path, system_identifier: Option<u64>) -> Result<()> {
    if let Some(pid) = running_server(data)? {
        return Err(PostgresError::from(PhysicalError::ServerRuns { path: data.to_owned(), pid }).into());
    }
    let found = match data.join(CONTROL_FILE).exists() {
        true => Some(ControlFile::read(data)?.control.system_identifier),
        false => mark(data).first().and_then(|line| line.parse().ok()),
    };
    match found {
        Some(found) if Some(found) == system_identifier => Ok(()),
        found => Err(PostgresError::from(PhysicalError::OtherCluster {
            path: data.to_owned(),
            found,
            wanted: system_identifier,
        })
        .into()),
    }
}

/// Returns the lines of the mark of an unfinished restore: the system identifier, and the folders of tablespaces that it has made.
fn mark(data: &Path) -> Vec<String> {
    let text = fs::read_to_string(data.join(RESTORE_MARK)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Checks that no tablespace may be another server's: a copied data directory has the links of the original.
pub(super) fn check_tablespaces(
    folders: &TargetFolders,
    known: &HashMap<String, PathKind>,
    original: &str,
) -> Result<()> {
    let data = folders.data();
    let is_original = data.canonicalize().is_ok_and(|data| data == Path::new(original));
    let marked = mark(data);
    for kind in known.values() {
        let PathKind::Tablespace(folder) = kind else { continue };
        let is_ours = is_original
            || folders.is_named(folder)
            || folder.starts_with(data)
            || marked.iter().skip(1).any(|line| Path::new(line) == folder);
        if !is_ours && fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(PostgresError::from(PhysicalError::ForeignTablespace { path: folder.clone() }).into());
        }
    }
    Ok(())
}

/// Checks that a data directory has no WAL that its server was still to archive.
pub(super) fn check_archived(data: &Path) -> Result<()> {
    let waiting = fs::read_dir(data.join("pg_wal/archive_status")).into_iter().flatten().flatten();
    let files = waiting.filter(|entry| entry.file_name().to_string_lossy().ends_with(".ready")).count();
    match files {
        0 => Ok(()),
        files => Err(PostgresError::from(PhysicalError::UnarchivedWal { path: data.to_owned(), files }).into()),
    }
}

/// Returns the process of the server that holds a data directory.
fn running_server(data: &Path) -> Result<Option<i32>> {
    let lock = data.join("postmaster.pid");
    let text = match fs::read_to_string(&lock) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", &lock)(error)),
    };
    let pid = text.lines().next().and_then(|line| line.trim().parse::<i32>().ok()).map(i32::abs);
    let process = pid.and_then(rustix::process::Pid::from_raw);
    let is_alive = |process| rustix::process::test_kill_process(process) != Err(rustix::io::Errno::SRCH);
    Ok(pid.filter(|_| process.is_some_and(is_alive)))
}

/// Lists what lies in a data directory and its tablespaces, and is not in the backup or is something else there.
pub(super) fn extras(data: &Path, known: &HashMap<String, PathKind>) -> Result<Vec<PathBuf>> {
    let mut extras = Vec::new();
    if data.exists() {
        list_extras(data, "", known, &mut extras)?;
    }
    Ok(extras)
}

fn list_extras(data: &Path, folder: &str, known: &HashMap<String, PathKind>, extras: &mut Vec<PathBuf>) -> Result<()> {
    let is_tablespace = matches!(known.get(folder), Some(PathKind::Tablespace(_)));
    let path = data.join(folder);
    for entry in fs::read_dir(&path).map_err(failed("list", &path))? {
        let entry = entry.map_err(failed("list", &path))?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(failed("look at", &entry.path()))?);
        let name = entry.file_name();
        let inside = match (name.to_str(), folder) {
            (Some(name), "") => Some(name.to_owned()),
            (Some(name), folder) => Some(format!("{folder}/{name}")),
            (None, _) => None,
        };
        if inside.as_deref() == Some(RESTORE_MARK) {
            continue;
        }
        match inside.as_deref().and_then(|inside| Some((inside, known.get(inside)?))) {
            Some((_, PathKind::File)) if kind.is_file() => {}
            // Also through a link, as administrators make for `pg_wal`.
            Some((inside, PathKind::Directory)) if path.is_dir() => list_extras(data, inside, known, extras)?,
            Some((inside, PathKind::Tablespace(wanted))) if kind.is_symlink() && leads_to(&path, wanted) => {
                list_extras(data, inside, known, extras)?;
            }
            // Servers of several versions may share the folder of a tablespace.
            None if is_tablespace => {}
            _ => extras.push(path),
        }
    }
    Ok(())
}

fn leads_to(link: &Path, wanted: &Path) -> bool {
    fs::read_link(link).is_ok_and(|target| target == wanted) && wanted.is_dir()
}

/// Removes a file, link or whole folder.
pub(super) fn remove(path: &Path) -> Result<()> {
    let kind = fs::symlink_metadata(path).map_err(failed("look at", path))?;
    match kind.is_dir() {
        true => fs::remove_dir_all(path).map_err(failed("remove", path)),
        false => fs::remove_file(path).map_err(failed("remove", path)),
    }
}

/// Returns the stretches of a file of `size` bytes that differ from what hashes to `hashes`: all of it where there is no file.
pub(super) fn differing(path: &Path, size: u64, hashes: &[u8], hasher: &PageHasher) -> Result<Vec<Range<u64>>> {
    let whole = || if size > 0 { std::iter::once(0..size).collect() } else { Vec::new() };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(whole()),
        Err(error) => return Err(failed("open", path)(error)),
    };
    let mut buffer = vec![0; CHUNK.min(size as usize)];
    let (mut stretches, mut at) = (Vec::<Range<u64>>::new(), 0);
    while at < size {
        let wanted = CHUNK.min((size - at) as usize);
        let found = read_up_to(&file, &mut buffer[..wanted], at).map_err(failed("read", path))?;
        for (number, page) in buffer[..wanted].chunks(PAGE).enumerate() {
            let start = at + (number * PAGE) as u64;
            let end = start + page.len() as u64;
            let index = (start / PAGE as u64) as usize * PAGE_HASH;
            let is_there = (start - at) as usize + page.len() <= found;
            if is_there && hashes.get(index..index + PAGE_HASH) == Some(&hasher.hash(page)) {
                continue;
            }
            match stretches.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => stretches.push(start..end),
            }
        }
        at += wanted as u64;
    }
    Ok(stretches)
}

/// Fills stretches of a file with zeros.
pub(super) fn write_zeros(path: &Path, stretches: &[Range<u64>]) -> Result<()> {
    let file = File::options().write(true).open(path).map_err(failed("open", path))?;
    let zeros = vec![0; CHUNK];
    for stretch in stretches {
        let mut at = stretch.start;
        while at < stretch.end {
            let length = CHUNK.min((stretch.end - at) as usize);
            file.write_all_at(&zeros[..length], at).map_err(failed("write", path))?;
            at += length as u64;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_that_differ_are_found_in_whole_pages() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let hasher = PageHasher::new(&[1; 32]);
        let wanted: Vec<u8> = (0..100 * PAGE + 77).map(|n| (n / 5000) as u8).collect();
        let (size, hashes) = (wanted.len() as u64, hasher.hash_file(&wanted));
        let page = PAGE as u64;
        let one = |stretch| -> Vec<Range<u64>> { std::iter::once(stretch).collect() };
        assert_eq!(differing(&path, size, &hashes, &hasher).unwrap(), one(0..size));
        assert_eq!(differing(&path, 0, &[], &hasher).unwrap(), []);
        let mut found = wanted.clone();
        fs::write(&path, &found).unwrap();
        assert_eq!(differing(&path, size, &hashes, &hasher).unwrap(), []);
        for at in [3 * PAGE, 4 * PAGE + 1, 50 * PAGE - 1, 100 * PAGE + 76] {
            found[at] ^= 1;
        }
        fs::write(&path, &found).unwrap();
        let expected = [3 * page..5 * page, 49 * page..50 * page, 100 * page..size];
        assert_eq!(differing(&path, size, &hashes, &hasher).unwrap(), expected);
        // Shorter, and longer.
        fs::write(&path, &wanted[..90 * PAGE + 1]).unwrap();
        assert_eq!(differing(&path, size, &hashes, &hasher).unwrap(), one(90 * page..size));
        fs::write(&path, [&wanted[..], &[1; 9]].concat()).unwrap();
        assert_eq!(differing(&path, size, &hashes, &hasher).unwrap(), []);
    }

    #[test]
    fn what_the_backup_does_not_have_is_listed_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let (data, space, wal) = (folder.path().join("data"), folder.path().join("space"), folder.path().join("wal"));
        for path in ["base/5", "base/6", "pg_tblspc", "global"] {
            fs::create_dir_all(data.join(path)).unwrap();
        }
        for path in ["PG_17_1/5", "PG_15_9/5"] {
            fs::create_dir_all(space.join(path)).unwrap();
        }
        fs::create_dir(&wal).unwrap();
        std::os::unix::fs::symlink(&space, data.join("pg_tblspc/100")).unwrap();
        std::os::unix::fs::symlink(&space, data.join("pg_tblspc/200")).unwrap();
        std::os::unix::fs::symlink(&wal, data.join("pg_wal")).unwrap();
        for path in ["base/5/1", "base/5/2", "base/6/1", "postmaster.pid", RESTORE_MARK, "global/9"] {
            fs::write(data.join(path), "").unwrap();
        }
        for path in ["PG_17_1/5/1", "PG_17_1/5/2", "PG_15_9/5/1", "other"] {
            fs::write(space.join(path), "").unwrap();
        }
        fs::write(wal.join("0001"), "").unwrap();
        let mut known: HashMap<String, PathKind> = HashMap::new();
        for path in
            ["base", "base/5", "pg_tblspc", "global", "pg_wal", "pg_tblspc/100/PG_17_1", "pg_tblspc/100/PG_17_1/5"]
        {
            known.insert(path.to_owned(), PathKind::Directory);
        }
        for path in ["base/5/1", "pg_tblspc/100/PG_17_1/5/1", "global/9"] {
            known.insert(path.to_owned(), PathKind::File);
        }
        known.insert("pg_tblspc/100".to_owned(), PathKind::Tablespace(space.clone()));
        // This one is to lie elsewhere.
        known.insert("pg_tblspc/200".to_owned(), PathKind::Tablespace(folder.path().join("moved")));
        let mut found = extras(&data, &known).unwrap();
        found.sort();
        let expected =
            ["base/5/2", "base/6", "pg_tblspc/100/PG_17_1/5/2", "pg_tblspc/200", "pg_wal/0001", "postmaster.pid"];
        assert_eq!(found, expected.map(|path| data.join(path)));
        found.iter().for_each(|path| remove(path).unwrap());
        assert_eq!(extras(&data, &known).unwrap(), Vec::<PathBuf>::new());
        assert!(space.join("PG_15_9/5/1").exists() && space.join("PG_17_1/5/1").exists() && wal.exists());
    }
}
