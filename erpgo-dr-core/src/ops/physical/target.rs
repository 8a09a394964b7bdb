//! Where the files of a restored cluster go.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, chown, lchown, symlink};
use std::path::{Component, Path, PathBuf};

use crate::ops::{Error, Result};
use crate::postgres::PostgresError;
use crate::postgres::throwaway::RunAs;

/// Where a cluster is restored to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterTarget {
    /// The data directory: a folder that is empty or does not exist.
    pub data: PathBuf,
    /// Folders of tablespaces by their object identifier; those not named go where they were.
    pub tablespaces: BTreeMap<u32, PathBuf>,
    /// Who shall own the files; needed when root restores, because PostgreSQL does not run as root.
    pub owner: Option<RunAs>,
}

impl ClusterTarget {
    /// Restores into this data directory.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self { data: data.into(), tablespaces: BTreeMap::new(), owner: None }
    }

    /// Puts a tablespace into another folder than it was in.
    pub fn with_tablespace(mut self, oid: u32, folder: impl Into<PathBuf>) -> Self {
        self.tablespaces.insert(oid, folder.into());
        self
    }

    /// Gives the files to an account.
    pub fn with_owner(mut self, owner: Option<RunAs>) -> Self {
        self.owner = owner;
        self
    }
}

/// The folders of a cluster that is being restored. Blocking calls.
#[derive(Debug)]
pub(super) struct TargetFolders {
    data: PathBuf,
    tablespaces: BTreeMap<u32, PathBuf>,
    owner: Option<RunAs>,
    roots: BTreeSet<PathBuf>,
}

impl TargetFolders {
    /// Makes the data directory, which must be empty.
    pub(super) fn claim(target: &ClusterTarget) -> Result<Self> {
        let caller = rustix::process::geteuid();
        let owner = match target.owner {
            None if caller.is_root() => Some(RunAs::from_user_name("postgres")?),
            owner => owner.filter(|account| account.uid() != caller.as_raw()),
        };
        let mut folders =
            Self { data: target.data.clone(), tablespaces: target.tablespaces.clone(), owner, roots: BTreeSet::new() };
        let data = folders.data.clone();
        folders.claim_root(&data)?;
        Ok(folders)
    }

    /// Returns the path of a record.
    ///
    /// # Errors
    /// When the record would lie outside of the cluster.
    pub(super) fn resolve(&self, path: &str) -> Result<PathBuf> {
        let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        if path.is_empty() || !inside {
            return Err(PostgresError::ContentsDiffer(format!(
                "the backup names a file outside of its cluster: {path:?}"
            ))
            .into());
        }
        Ok(self.data.join(path))
    }

    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    /// Makes a directory.
    pub(super) fn directory(&self, path: &str, mode: u32) -> Result<()> {
        let path = self.resolve(path)?;
        match fs::DirBuilder::new().mode(mode).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
            outcome => outcome.map_err(failed("create", &path))?,
        }
        fs::set_permissions(&path, Permissions::from_mode(mode & 0o777))
            .map_err(failed("set permissions of", &path))?;
        self.give(&path)
    }

    /// Makes the folder of a tablespace, which must be empty, and the link to it.
    pub(super) fn tablespace(&mut self, path: &str, stored: &str) -> Result<()> {
        let link = self.resolve(path)?;
        let oid = path.rsplit('/').next().and_then(|name| name.parse::<u32>().ok());
        let folder = oid.and_then(|oid| self.tablespaces.get(&oid)).cloned().unwrap_or_else(|| PathBuf::from(stored));
        if !folder.is_absolute() {
            return Err(PostgresError::InvalidOptions(format!(
                "not an absolute path for a tablespace: {}",
                folder.display()
            ))
            .into());
        }
        self.claim_root(&folder)?;
        symlink(&folder, &link).map_err(failed("create", &link))?;
        if let Some(owner) = self.owner {
            lchown(&link, Some(owner.uid()), Some(owner.gid())).map_err(failed("change the owner of", &link))?;
        }
        Ok(())
    }

    /// Makes a file of `size` zero bytes.
    pub(super) fn file(&self, path: &Path, mode: u32, size: u64) -> Result<()> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode & 0o777)
            .open(path)
            .map_err(failed("create", path))?;
        if size > 0 {
            file.set_len(size).map_err(failed("extend", path))?;
        }
        self.give(path)
    }

    /// Writes a small file.
    pub(super) fn write(&self, path: &Path, contents: &[u8]) -> Result<()> {
        fs::write(path, contents).map_err(failed("write", path))?;
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed("set permissions of", path))?;
        self.give(path)
    }

    /// Makes everything durable: every file system that the cluster lies on.
    pub(super) fn sync(&self) -> Result<()> {
        for root in &self.roots {
            let folder = File::open(root).map_err(failed("open", root))?;
            sync_file_system(&folder).map_err(failed("sync", root))?;
        }
        Ok(())
    }

    fn claim_root(&mut self, path: &Path) -> Result<()> {
        match fs::read_dir(path) {
            Ok(mut entries) => {
                if entries.next().is_some() {
                    return Err(PostgresError::FolderNotEmpty { path: path.to_owned() }.into());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("create", path))?;
            }
            Err(error) => return Err(failed("list", path)(error)),
        }
        fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(failed("set permissions of", path))?;
        self.give(path)?;
        self.roots.insert(path.to_owned());
        Ok(())
    }

    fn give(&self, path: &Path) -> Result<()> {
        match self.owner {
            Some(owner) => {
                chown(path, Some(owner.uid()), Some(owner.gid())).map_err(failed("change the owner of", path))
            }
            None => Ok(()),
        }
    }
}

#[cfg(target_os = "linux")]
fn sync_file_system(folder: &File) -> io::Result<()> {
    Ok(rustix::fs::syncfs(folder)?)
}

#[cfg(not(target_os = "linux"))]
fn sync_file_system(_folder: &File) -> io::Result<()> {
    rustix::fs::sync();
    Ok(())
}

/// Names what was tried on which file.
pub(super) fn failed(action: &str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let action = format!("{action} {}", path.display());
    move |source| Error::Io { action, source }
}
