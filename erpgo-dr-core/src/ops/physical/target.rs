//! Where the files of a restored cluster go.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, chown, lchown, symlink};
use std::path::{Component, Path, PathBuf};

use super::{CONTROL_FILE, RESTORE_MARK};
use crate::ops::{Error, Result};
use crate::postgres::PostgresError;
use crate::postgres::throwaway::RunAs;
use crate::repository::PhysicalContents;

/// Where a cluster is restored to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterTarget {
    /// The data directory: a folder that is empty or does not exist, unless it is to be restored over.
    pub data: PathBuf,
    /// Whether what lies there is made into what the backup has: the files of the same cluster, or of an unfinished restore of it.
    pub delta: bool,
    /// Whether WAL in that folder which was never archived may go.
    pub discard_wal: bool,
    /// Whether a `backup_manifest` is written, for `pg_verifybackup`; for that all files are read back.
    pub backup_manifest: bool,
    /// Folders of tablespaces by their object identifier; those not named go where they were.
    pub tablespaces: BTreeMap<u32, PathBuf>,
    /// The databases whose contents are restored, beside those that every cluster is made with; all, when none is named.
    pub databases: BTreeSet<String>,
    /// Who shall own the files; needed when root restores, because PostgreSQL does not run as root.
    pub owner: Option<RunAs>,
}

impl ClusterTarget {
    /// Restores into this data directory.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            delta: false,
            discard_wal: false,
            backup_manifest: false,
            tablespaces: BTreeMap::new(),
            databases: BTreeSet::new(),
            owner: None,
        }
    }

    /// Sets whether a folder that holds the cluster already is restored over, so that only pages that differ are written. What the
    /// backup does not have is removed from it.
    pub fn with_delta(mut self, delta: bool) -> Self {
        self.delta = delta;
        self
    }

    /// Sets whether WAL in the folder that is restored over may go although it was never archived.
    pub fn with_discard_wal(mut self, discard: bool) -> Self {
        self.discard_wal = discard;
        self
    }

    /// Sets whether a `backup_manifest` is written.
    pub fn with_backup_manifest(mut self, wanted: bool) -> Self {
        self.backup_manifest = wanted;
        self
    }

    /// Puts a tablespace into another folder than it was in.
    pub fn with_tablespace(mut self, oid: u32, folder: impl Into<PathBuf>) -> Self {
        self.tablespaces.insert(oid, folder.into());
        self
    }

    /// Restores the contents of these databases alone, with what all databases share and the ones that every cluster is made with. Others become empty
    /// shells of the same size, which take up no space, can be replayed over, and are to be dropped.
    pub fn with_databases(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.databases = names.into_iter().collect();
        self
    }

    /// Gives the files to an account.
    pub fn with_owner(mut self, owner: Option<RunAs>) -> Self {
        self.owner = owner;
        self
    }

    /// Returns the account that the files are given to; `None` is the caller's own.
    ///
    /// # Errors
    /// [`PostgresError::Throwaway`] for root where no account was named and there is no `postgres`.
    pub fn account(&self) -> Result<Option<RunAs>> {
        let caller = rustix::process::geteuid();
        Ok(match self.owner {
            None if caller.is_root() => Some(RunAs::from_user_name("postgres")?),
            owner => owner.filter(|account| account.uid() != caller.as_raw()),
        })
    }
}

/// The folders of a cluster that is being restored. Blocking calls.
#[derive(Debug)]
pub(super) struct TargetFolders {
    data: PathBuf,
    tablespaces: BTreeMap<u32, PathBuf>,
    owner: Option<RunAs>,
    roots: BTreeSet<PathBuf>,
    /// Whether files may be there already.
    delta: bool,
}

impl TargetFolders {
    /// Tells where everything goes, and touches nothing.
    pub(super) fn new(target: &ClusterTarget) -> Result<Self> {
        let owner = target.account()?;
        let (data, tablespaces) = (target.data.clone(), target.tablespaces.clone());
        Ok(Self { data, tablespaces, owner, roots: BTreeSet::new(), delta: false })
    }

    /// Makes the data directory, which must be empty, and marks it as that of an unfinished restore.
    pub(super) fn claim(&mut self, system_identifier: Option<u64>) -> Result<()> {
        let data = self.data.clone();
        self.claim_root(&data)?;
        self.mark(system_identifier)
    }

    /// Takes over a data directory that is there already. It does not start from now on, until it has been restored.
    pub(super) fn take_over(&mut self, system_identifier: Option<u64>) -> Result<()> {
        self.mark(system_identifier)?;
        sync_folder(&self.data)?;
        let control = self.data.join(CONTROL_FILE);
        match fs::remove_file(&control) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &control)(error)),
            Err(_) => {}
            Ok(()) => sync_folder(&self.data.join("global"))?,
        }
        self.delta = true;
        self.roots.insert(self.data.clone());
        Ok(())
    }

    fn mark(&self, system_identifier: Option<u64>) -> Result<()> {
        let text = system_identifier.map_or_else(String::new, |identifier| format!("{identifier}\n"));
        let mark = self.data.join(RESTORE_MARK);
        // What a restore has noted that broke off stays.
        if fs::read_to_string(&mark).is_ok_and(|found| found.starts_with(&text)) {
            return Ok(());
        }
        self.write(&mark, text.as_bytes())?;
        File::open(&mark).and_then(|file| file.sync_all()).map_err(failed("sync", &mark))
    }

    /// Notes that a tablespace's folder was made by this restore.
    fn note_tablespace(&self, folder: &Path) -> Result<()> {
        let mark = self.data.join(RESTORE_MARK);
        let noted = OpenOptions::new().append(true).open(&mark).and_then(|mut file| {
            io::Write::write_all(&mut file, format!("{}\n", folder.display()).as_bytes())?;
            file.sync_all()
        });
        noted.map_err(failed("write", &mark))
    }

    /// Returns whether a folder was named for a tablespace.
    pub(super) fn is_named(&self, folder: &Path) -> bool {
        self.tablespaces.values().any(|named| named == folder)
    }

    /// Takes the mark of an unfinished restore away.
    pub(super) fn unmark(&self) -> Result<()> {
        let mark = self.data.join(RESTORE_MARK);
        fs::remove_file(&mark).map_err(failed("remove", &mark))?;
        sync_folder(&self.data)
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
        let folder = self.tablespace_folder(path, stored);
        if !folder.is_absolute() {
            return Err(PostgresError::InvalidOptions(format!(
                "not an absolute path for a tablespace: {}",
                folder.display()
            ))
            .into());
        }
        if self.delta && fs::read_link(&link).is_ok_and(|target| target == folder) {
            self.roots.insert(folder);
            return Ok(());
        }
        self.claim_root(&folder)?;
        self.note_tablespace(&folder)?;
        symlink(&folder, &link).map_err(failed("create", &link))?;
        if let Some(owner) = self.owner {
            lchown(&link, Some(owner.uid()), Some(owner.gid())).map_err(failed("change the owner of", &link))?;
        }
        Ok(())
    }

    /// Returns where a tablespace is to lie: its link in the data directory is `path`, and it lay in `stored`.
    pub(super) fn tablespace_folder(&self, path: &str, stored: &str) -> PathBuf {
        let oid = path.rsplit('/').next().and_then(|name| name.parse::<u32>().ok());
        oid.and_then(|oid| self.tablespaces.get(&oid)).cloned().unwrap_or_else(|| PathBuf::from(stored))
    }

    /// Returns the data directory and the folders of the tablespaces that a backup has.
    pub(super) fn roots_of(&self, physical: &PhysicalContents) -> Vec<PathBuf> {
        let spaces = physical.tablespaces.iter();
        let folders = spaces.map(|space| self.tablespace_folder(&space.oid.to_string(), &space.location));
        std::iter::once(self.data.clone()).chain(folders).collect()
    }

    /// Makes a file of `size` zero bytes; one that may be there already keeps what it has, and gets this length.
    pub(super) fn file(&self, path: &Path, mode: u32, size: u64) -> Result<()> {
        let mut options = OpenOptions::new();
        match self.delta {
            true => options.create(true).truncate(false),
            false => options.create_new(true),
        };
        let file = options.write(true).mode(mode & 0o777).open(path).map_err(failed("create", path))?;
        if size > 0 || self.delta {
            file.set_len(size).map_err(failed("set the length of", path))?;
        }
        if self.delta {
            file.set_permissions(Permissions::from_mode(mode & 0o777)).map_err(failed("set permissions of", path))?;
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

    pub(super) fn give(&self, path: &Path) -> Result<()> {
        match self.owner {
            Some(owner) => {
                chown(path, Some(owner.uid()), Some(owner.gid())).map_err(failed("change the owner of", path))
            }
            None => Ok(()),
        }
    }
}

#[cfg(target_os = "linux")]
pub(super) fn sync_file_system(folder: &File) -> io::Result<()> {
    Ok(rustix::fs::syncfs(folder)?)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn sync_file_system(_folder: &File) -> io::Result<()> {
    rustix::fs::sync();
    Ok(())
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(path: &Path) -> Result<()> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(failed("sync", path))
}

/// Names what was tried on which file.
pub(super) fn failed(action: &str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let action = format!("{action} {}", path.display());
    move |source| Error::Io { action, source }
}
