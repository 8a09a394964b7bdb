//! What a throwaway server is made of.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{PostgresError, file_error};

/// How a throwaway server is made. Start from [`ThrowawayOptions::new`] and change what matters.
#[derive(Debug, Clone)]
pub struct ThrowawayOptions {
    pub(super) programs: PathBuf,
    pub(super) scratch: PathBuf,
    pub(super) superuser: String,
    pub(super) locale: String,
    pub(super) encoding: String,
    pub(super) data_checksums: bool,
    pub(super) settings: BTreeMap<String, String>,
    pub(super) environment: Vec<(OsString, OsString)>,
    pub(super) run_as: Option<RunAs>,
    pub(super) tcp: bool,
    pub(super) start_timeout: Duration,
}

impl ThrowawayOptions {
    /// Takes the programs (`initdb`, `postgres`) of the wanted major version from the folder `programs`, and
    /// keeps everything that the server writes in a new folder under `scratch`.
    ///
    /// The server holds the restored data in the clear: `scratch` must be a place where that is allowed.
    /// Its path may be at most 80 bytes long, because the server's socket lies under it.
    pub fn new(programs: impl Into<PathBuf>, scratch: impl Into<PathBuf>) -> Self {
        Self {
            programs: programs.into(),
            scratch: scratch.into(),
            superuser: "postgres".to_owned(),
            locale: "C.UTF-8".to_owned(),
            encoding: "UTF8".to_owned(),
            data_checksums: false,
            settings: default_settings(),
            environment: Vec::new(),
            run_as: None,
            tcp: false,
            start_timeout: Duration::from_secs(60),
        }
    }

    /// Names the superuser; `postgres` by default.
    pub fn superuser(mut self, name: impl Into<String>) -> Self {
        self.superuser = name.into();
        self
    }

    /// Sets the locale of the cluster; `C.UTF-8` by default.
    pub fn locale(mut self, locale: impl Into<String>) -> Self {
        self.locale = locale.into();
        self
    }

    /// Sets the encoding of the template databases; `UTF8` by default.
    pub fn encoding(mut self, encoding: impl Into<String>) -> Self {
        self.encoding = encoding.into();
        self
    }

    /// Asks for page checksums. Without, the cluster has what its version of `initdb` does by itself.
    pub fn data_checksums(mut self, wanted: bool) -> Self {
        self.data_checksums = wanted;
        self
    }

    /// Sets a parameter of the server over the defaults, which are made for one quick load.
    ///
    /// What keeps the server private (addresses, port, socket, archiving) cannot be set.
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.insert(name.into(), value.into());
        self
    }

    /// Sets variables of the environment of a server on restored files: what its `restore_command` needs. It has nothing else of the caller's.
    pub fn environment(mut self, variables: Vec<(OsString, OsString)>) -> Self {
        self.environment = variables;
        self
    }

    /// Runs the server as this account. Needed when the caller is root, which PostgreSQL refuses to run as:
    /// there the account `postgres` is taken if none is named.
    pub fn run_as(mut self, account: RunAs) -> Self {
        self.run_as = Some(account);
        self
    }

    /// Listens on a free port of 127.0.0.1 as well, with a password drawn for this server.
    pub fn tcp(mut self, wanted: bool) -> Self {
        self.tcp = wanted;
        self
    }

    /// Limits how long `initdb` and the first start may each take; one minute by default.
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = timeout;
        self
    }

    /// Finds the account that the server runs as; `None` is the caller's own.
    pub(super) fn resolve_account(&self) -> Result<Option<RunAs>, PostgresError> {
        let caller = rustix::process::geteuid();
        match self.run_as {
            Some(account) if account.uid == 0 => {
                Err(PostgresError::InvalidOptions("PostgreSQL does not run as root".to_owned()))
            }
            Some(account) if account.uid == caller.as_raw() => Ok(None),
            Some(_) if !caller.is_root() => Err(PostgresError::InvalidOptions(
                "only root can run the throwaway server as another account".to_owned(),
            )),
            Some(account) => Ok(Some(account)),
            None if caller.is_root() => RunAs::from_user_name("postgres").map(Some),
            None => Ok(None),
        }
    }
}

/// An unprivileged account of the operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunAs {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl RunAs {
    /// Takes the numbers of an account and its group.
    pub fn new(uid: u32, gid: u32) -> Self {
        Self { uid, gid }
    }

    /// Returns the number of the account.
    pub fn uid(self) -> u32 {
        self.uid
    }

    /// Returns the number of its group.
    pub fn gid(self) -> u32 {
        self.gid
    }

    /// Looks `name` up in `/etc/passwd`. Accounts of a directory service are not there: use [`RunAs::new`].
    ///
    /// # Errors
    /// [`PostgresError::Throwaway`] when there is no such account, [`PostgresError::File`] when the file
    /// cannot be read.
    pub fn from_user_name(name: &str) -> Result<Self, PostgresError> {
        let path = Path::new("/etc/passwd");
        let text = std::fs::read(path).map_err(file_error(path, "read"))?;
        Self::find(&String::from_utf8_lossy(&text), name)
            .ok_or_else(|| PostgresError::Throwaway(format!("no account {name:?} in /etc/passwd to run it as")))
    }

    /// Returns the name of the account, as `/etc/passwd` has it.
    pub fn user_name(self) -> Option<String> {
        let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
        let named = passwd.lines().find(|line| line.split(':').nth(2) == Some(self.uid.to_string().as_str()))?;
        named.split(':').next().map(str::to_owned)
    }

    /// Returns what keeps the account from reading `path`: the path itself, or a folder on the way to it. `None` when nothing does,
    /// and for what is not there. Looks at modes, owners and `/etc/group`; access lists are not seen.
    pub fn barred_from(self, path: &Path) -> Option<PathBuf> {
        let groups = self.groups();
        let lacks = |metadata: &Metadata, wanted: u32| {
            let shift = match () {
                () if metadata.uid() == self.uid => 6,
                () if groups.contains(&metadata.gid()) => 3,
                () => 0,
            };
            (metadata.mode() >> shift) & wanted != wanted
        };
        let path = path.canonicalize().ok()?;
        let mut folders: Vec<&Path> = path.ancestors().skip(1).collect();
        folders.reverse();
        for folder in folders {
            if std::fs::metadata(folder).is_ok_and(|metadata| lacks(&metadata, 0o1)) {
                return Some(folder.to_owned());
            }
        }
        let metadata = std::fs::metadata(&path).ok()?;
        lacks(&metadata, if metadata.is_dir() { 0o5 } else { 0o4 }).then_some(path)
    }

    fn groups(self) -> Vec<u32> {
        let (name, text) = (self.user_name(), std::fs::read_to_string("/etc/group").unwrap_or_default());
        let member = |line: &str| {
            let mut fields = line.split(':').skip(2);
            let gid = fields.next()?.parse().ok()?;
            let members = fields.next()?;
            name.as_deref().is_some_and(|name| members.split(',').any(|member| member == name)).then_some(gid)
        };
        std::iter::once(self.gid).chain(text.lines().filter_map(member)).collect()
    }

    fn find(passwd: &str, name: &str) -> Option<Self> {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(name)).then_some(())?;
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            Some(Self { uid, gid })
        })
    }
}

/// Parameters for a cluster that is loaded once, read once, and lost when the machine crashes.
fn default_settings() -> BTreeMap<String, String> {
    [
        ("autovacuum", "off"),
        ("checkpoint_timeout", "1h"),
        ("fsync", "off"),
        ("full_page_writes", "off"),
        ("lc_messages", "C"),
        ("log_checkpoints", "off"),
        ("log_timezone", "UTC"),
        ("maintenance_work_mem", "128MB"),
        ("max_connections", "40"),
        ("max_locks_per_transaction", "2048"),
        ("max_wal_senders", "0"),
        ("max_wal_size", "1GB"),
        ("shared_buffers", "128MB"),
        ("synchronous_commit", "off"),
        ("wal_level", "minimal"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\npost:x:1:2::/:\npostgres:x:101:104:PostgreSQL:/var:/bin/sh\n";
        assert_eq!(RunAs::find(passwd, "postgres"), Some(RunAs::new(101, 104)));
        assert_eq!(RunAs::find(passwd, "post"), Some(RunAs::new(1, 2)));
        assert_eq!(RunAs::find(passwd, "pos"), None);
        assert_eq!(RunAs::find("postgres:x:many:104\n", "postgres"), None);
    }

    #[test]
    fn what_bars_an_account_is_named() {
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        };
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let (inner, file) = (root.join("inner"), root.join("inner/key"));
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(&file, "x").unwrap();
        let stranger = RunAs::new(4_000_000, 4_000_000);
        for (path, bits) in [(&root, 0o755), (&inner, 0o755), (&file, 0o644)] {
            mode(path, bits);
        }
        assert_eq!(stranger.barred_from(&file), None);
        assert_eq!(stranger.barred_from(&root.join("none")), None);
        mode(&file, 0o640);
        assert_eq!(stranger.barred_from(&file), Some(file.clone()));
        let owner = std::fs::metadata(&file).unwrap();
        assert_eq!(RunAs::new(owner.uid(), 4_000_000).barred_from(&file), None);
        assert_eq!(RunAs::new(4_000_000, owner.gid()).barred_from(&file), None);
        mode(&inner, 0o711);
        assert_eq!(stranger.barred_from(&inner), Some(inner.clone()));
        mode(&inner, 0o700);
        assert_eq!(stranger.barred_from(&file), Some(inner));
    }

    #[test]
    fn root_is_refused() {
        let options = ThrowawayOptions::new("/bin", "/tmp").run_as(RunAs::new(0, 0));
        assert!(matches!(options.resolve_account(), Err(PostgresError::InvalidOptions(_))));
    }
}
