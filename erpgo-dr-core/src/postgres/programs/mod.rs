//! PostgreSQL's own programs: which of the installed ones to use, and how they are run.
//!
//! A dump is made by pg_dump and restored by pg_restore, and by nothing of ours: they know every version's
//! catalogues. What is chosen is never older than the server, because pg_dump refuses a newer server.

mod process;

pub(crate) use process::{Invocation, RunningProgram};

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::PostgresError;

/// Where packages put the programs of each major version: Debian's and the PostgreSQL project's RPMs.
const PACKAGE_FOLDERS: [(&str, &str); 2] = [("/usr/lib/postgresql", ""), ("/usr", "pgsql-")];

/// Finds client programs. Cloning shares what has been found.
///
/// They are looked for in the given folders, then where packages put them (`/usr/lib/postgresql/*/bin`,
/// `/usr/pgsql-*/bin`), then in the given search path. The library does not read `PATH`.
#[derive(Debug, Clone, Default)]
pub struct ClientPrograms {
    folders: Vec<PathBuf>,
    search_path: Vec<PathBuf>,
    library_path: Option<OsString>,
    versions: Arc<Mutex<HashMap<PathBuf, Option<u32>>>>,
}

/// A client program that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientProgram {
    /// Its path.
    pub path: PathBuf,
    /// Its major version.
    pub major: u32,
}

impl ClientPrograms {
    /// Looks only where packages put the programs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a folder that is searched before all others.
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folders.push(folder.into());
        self
    }

    /// Sets the folders that are searched last: the caller's `PATH`.
    pub fn search_path(mut self, folders: impl IntoIterator<Item = PathBuf>) -> Self {
        self.search_path = folders.into_iter().filter(|folder| folder.is_absolute()).collect();
        self
    }

    /// Sets `LD_LIBRARY_PATH` for the programs: nothing else of the caller's environment reaches them.
    pub fn library_path(mut self, path: impl Into<OsString>) -> Self {
        self.library_path = Some(path.into());
        self
    }

    /// Finds a program of the major version `wanted`, or else of the nearest newer one.
    ///
    /// # Errors
    /// [`PostgresError::NoClientProgram`] says what was found, and where it was looked for.
    pub async fn find(&self, program: &'static str, wanted: u32) -> Result<ClientProgram, PostgresError> {
        let folders = self.all_folders();
        let mut found = Vec::new();
        for folder in &folders {
            let path = folder.join(program);
            if let Some(major) = self.version(&path).await {
                found.push(ClientProgram { path, major });
                // None that follows is better, and to ask each costs a start.
                if major == wanted {
                    break;
                }
            }
        }
        // The first of equals wins: the order of the folders is the order of preference.
        let best = found.iter().filter(|candidate| candidate.major >= wanted).min_by_key(|candidate| candidate.major);
        best.cloned().ok_or_else(|| PostgresError::NoClientProgram {
            program,
            wanted,
            found: list(found.iter().map(|candidate| candidate.major.to_string())),
            searched: list(folders.iter().map(|folder| folder.display().to_string())),
        })
    }

    /// Prepares to run a program in an environment that holds nothing but what it needs.
    pub(crate) fn invoke(&self, program: &Path) -> Invocation {
        let mut path: Vec<PathBuf> = program.parent().map(Path::to_owned).into_iter().collect();
        path.extend(["/usr/local/bin", "/usr/bin", "/bin"].map(PathBuf::from));
        let mut invocation = Invocation::new(program).variable("LC_ALL", "C");
        if let Ok(path) = std::env::join_paths(path) {
            invocation = invocation.variable("PATH", path);
        }
        match &self.library_path {
            Some(libraries) => invocation.variable("LD_LIBRARY_PATH", libraries),
            None => invocation,
        }
    }

    /// Returns the `LD_LIBRARY_PATH` that they get, where one was set.
    #[cfg(feature = "runbooks")]
    pub(crate) fn libraries(&self) -> Option<&std::ffi::OsStr> {
        self.library_path.as_deref()
    }

    fn all_folders(&self) -> Vec<PathBuf> {
        let mut folders = self.folders.clone();
        for (parent, prefix) in PACKAGE_FOLDERS {
            let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
            let mut versions: Vec<PathBuf> = entries
                .filter(|entry| is_version(&entry.file_name().to_string_lossy(), prefix))
                .map(|entry| entry.path().join("bin"))
                .collect();
            versions.sort();
            folders.extend(versions);
        }
        folders.extend(self.search_path.iter().cloned());
        folders
    }

    /// Asks a program for its version, once.
    async fn version(&self, path: &Path) -> Option<u32> {
        let known = self.versions.lock().unwrap_or_else(PoisonError::into_inner).get(path).copied();
        if let Some(known) = known {
            return known;
        }
        if !path.is_file() {
            return None;
        }
        let output = self.invoke(path).argument("--version").output().await;
        let version = output.ok().and_then(|text| parse_version(&String::from_utf8_lossy(&text)));
        self.versions.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), version);
        version
    }
}

impl fmt::Display for ClientProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.path.display(), self.major)
    }
}

fn is_version(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|version| version.parse::<f32>().is_ok())
}

/// Reads `pg_dump (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`, `... 19beta1`, `... 19devel`.
fn parse_version(text: &str) -> Option<u32> {
    let (_, version) = text.split_once("(PostgreSQL) ")?;
    let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    if items.is_empty() { "nothing".to_owned() } else { items.join(", ") }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn fake(folder: &Path, version: &str) {
        std::fs::create_dir_all(folder).unwrap();
        let path = folder.join("pg_fake");
        std::fs::write(&path, format!("#!/bin/sh\necho 'pg_fake (PostgreSQL) {version}'\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[tokio::test]
    async fn the_servers_own_version_is_best_and_an_older_one_is_none() {
        let root = tempfile::tempdir().unwrap();
        let mut programs = ClientPrograms::new();
        for (name, version) in [("a", "18.1"), ("b", "15.14 (Debian 15.14-0+deb12u1)"), ("c", "17beta2"), ("d", "15.2")]
        {
            fake(&root.path().join(name), version);
            programs = programs.folder(root.path().join(name));
        }
        let folder = async |wanted| {
            let found = programs.find("pg_fake", wanted).await.unwrap();
            found.path.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!(folder(15).await, "b");
        let asked = programs.versions.lock().unwrap().len();
        assert_eq!(asked, 2, "none is asked behind the one that fits");
        assert_eq!(folder(16).await, "c");
        assert_eq!(folder(18).await, "a");
        let error = programs.find("pg_fake", 19).await.unwrap_err();
        assert!(matches!(&error, PostgresError::NoClientProgram { found, .. } if found == "18, 15, 17, 15"), "{error}");
    }
}
