//! Data directories and repositories as folders of files: counted, compared, damaged.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const PAGE: u64 = 8192;
/// Files that a delta restore finds changed, and pages in each.
const DIFFERING_FILES: usize = 20;
const DIFFERING_PAGES: u64 = 3;

/// How much lies in a folder.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stored {
    pub(crate) bytes: u64,
    pub(crate) objects: u64,
}

impl Stored {
    pub(crate) fn of(folder: &Path) -> io::Result<Self> {
        let mut stored = Self::default();
        for file in files(folder)? {
            // What a folder points to from a second place does not count again.
            if !file.is_symlink() {
                stored.bytes += file.metadata()?.len();
                stored.objects += 1;
            }
        }
        Ok(stored)
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        Self { bytes: self.bytes - earlier.bytes, objects: self.objects - earlier.objects }
    }
}

/// Fails unless every relation file of `source` is in `copy`, byte for byte, and there are no others.
pub(crate) fn compare_relations(source: &Path, copy: &Path) -> io::Result<()> {
    let (there, here) = (relation_files(source)?, relation_files(copy)?);
    let names = |files: &[PathBuf], root: &Path| -> Vec<PathBuf> {
        files.iter().filter_map(|file| file.strip_prefix(root).ok()).map(Path::to_owned).collect()
    };
    if names(&there, source) != names(&here, copy) {
        return Err(io::Error::other(format!("{} has other files than {}", copy.display(), source.display())));
    }
    there.iter().zip(&here).try_for_each(|(there, here)| compare_files(there, here))
}

/// Fails unless both files have the same bytes.
pub(crate) fn compare_files(one: &Path, other: &Path) -> io::Result<()> {
    let (mut first, mut second) = (File::open(one)?, File::open(other)?);
    let mut equal = first.metadata()?.len() == second.metadata()?.len();
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    while equal {
        let length = first.read(&mut left)?;
        if length == 0 {
            return Ok(());
        }
        second.read_exact(&mut right[..length])?;
        equal = left[..length] == right[..length];
    }
    Err(io::Error::other(format!("{} is not as {}", other.display(), one.display())))
}

/// Overwrites some pages of [`DIFFERING_FILES`] of the larger relation files.
pub(crate) fn make_some_pages_differ(data: &Path) -> io::Result<()> {
    let mut large = relation_files(data)?;
    large.retain(|file| file.metadata().is_ok_and(|metadata| metadata.len() > 64 * PAGE));
    if large.len() < DIFFERING_FILES {
        return Err(io::Error::other("too few files to make some differ"));
    }
    for number in 0..DIFFERING_FILES {
        let path = &large[number * large.len() / DIFFERING_FILES];
        let file = File::options().write(true).open(path)?;
        let pages = file.metadata()?.len() / PAGE;
        for page in 0..DIFFERING_PAGES {
            file.write_all_at(&[0xa5; PAGE as usize], (page * pages / DIFFERING_PAGES) * PAGE)?;
        }
    }
    Ok(())
}

/// Lists the files of relations, sorted: what a backup must bring back as it was.
fn relation_files(data: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = files(&data.join("base"))?;
    found.extend(files(&data.join("global"))?);
    found.retain(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        name != "pg_control" && !name.starts_with("pg_internal.init") && !name.starts_with("pgsql_tmp")
    });
    found.sort();
    Ok(found)
}

/// Lists all that is not a folder, in all depths.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let list = if entry.file_type()?.is_dir() { &mut folders } else { &mut found };
            list.push(entry.path());
        }
    }
    Ok(found)
}

/// Removes a folder with all that is in it, if it is there.
pub(crate) fn clear(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_differs_and_a_missing_file_are_found() {
        let (source, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for folder in [source.path(), copy.path()] {
            fs::create_dir_all(folder.join("base/5")).unwrap();
            fs::create_dir(folder.join("global")).unwrap();
            for number in 0..DIFFERING_FILES {
                fs::write(folder.join(format!("base/5/{number}")), vec![number as u8; 65 * PAGE as usize]).unwrap();
            }
        }
        fs::write(source.path().join("global/pg_control"), "not compared").unwrap();
        compare_relations(source.path(), copy.path()).unwrap();
        make_some_pages_differ(copy.path()).unwrap();
        assert!(compare_relations(source.path(), copy.path()).is_err());
        for number in 0..DIFFERING_FILES {
            let (one, other) = (format!("base/5/{number}"), copy.path().join(format!("base/5/{number}")));
            assert!(compare_files(&source.path().join(&one), &other).is_err(), "{one}");
            fs::copy(source.path().join(one), other).unwrap();
        }
        compare_relations(source.path(), copy.path()).unwrap();
        fs::remove_file(copy.path().join("base/5/7")).unwrap();
        assert!(compare_relations(source.path(), copy.path()).is_err());
    }
}
