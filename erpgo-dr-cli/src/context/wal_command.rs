//! The `restore_command` by which a restored server calls this program.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use erpgo_dr_core::postgres::throwaway::RunAs;
use erpgo_dr_core::storage::StorageAddress;

use super::Context;
use crate::config;
use crate::error::{self, CliError};

/// Variables that the command may need and that no option passes: passphrases, and credentials of storage places.
const PASSED_ON: [&str; 4] = ["ERPGO_DR_", "AWS_", "GOOGLE_", "AZURE_"];
/// Those among them that are none of its business.
const KEPT_BACK: [&str; 4] = ["ERPGO_DR_PGPASSWORD", "ERPGO_DR_NEW_PASSPHRASE", "ERPGO_DR_JSON", "ERPGO_DR_CONNECTION"];

/// A command line for PostgreSQL, and what must be readable for it.
#[derive(Debug)]
pub(crate) struct WalCommand {
    /// The command line.
    pub(crate) line: String,
    /// Files, and folders with the files right in them.
    needs: Vec<PathBuf>,
}

impl WalCommand {
    /// Says what an account cannot read of what the command needs, and which part of its path bars the way.
    pub(crate) fn warnings(&self, account: RunAs) -> Vec<String> {
        let all = self.needs.iter().flat_map(|path| {
            let inside = std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
            std::iter::once(path.clone()).chain(inside)
        });
        let mut barred: Vec<PathBuf> = all.filter_map(|path| account.barred_from(&path)).collect();
        barred.sort();
        barred.dedup();
        let name = account.user_name().unwrap_or_else(|| account.uid().to_string());
        let warn = |path: PathBuf| {
            format!("restore_command fails: {name}, who owns the data directory, cannot read {}", path.display())
        };
        barred.into_iter().map(warn).collect()
    }
}

impl Context {
    /// Returns a command line for PostgreSQL's `restore_command`, with what this run was told about the repository.
    ///
    /// The server runs it in its data directory, so that all paths are absolute, those of the configuration file too. No secret is in
    /// it, only the names of files: a passphrase of the environment must be in the server's too.
    pub(crate) fn wal_fetch_command(&self) -> Result<WalCommand, CliError> {
        let program = std::env::current_exe().map_err(|source| error::io("find this program", source))?;
        let mut words = vec![word(program.as_os_str())];
        let mut needs = vec![program];
        let mut file = |words: &mut Vec<String>, name: &str, path: &Path| -> Result<(), CliError> {
            let path = absolute(path)?;
            words.extend([name.to_owned(), word(path.as_os_str())]);
            needs.push(path);
            Ok(())
        };
        if let Some(path) = config::file(self.global.config.as_deref()) {
            file(&mut words, "--config", &path)?;
        }
        if let Some(path) = self.global.env_file.as_ref().or(self.config.env_file.as_ref()) {
            file(&mut words, "--env-file", path)?;
        }
        let keys = &self.config.keys;
        let identities = if self.global.identity.is_empty() { &keys.identities } else { &self.global.identity };
        for path in identities {
            file(&mut words, "--identity", path)?;
        }
        if let Some(path) = self.global.passphrase_file.as_ref().or(keys.passphrase_file.as_ref()) {
            file(&mut words, "--passphrase-file", path)?;
        }
        needs.extend(self.config.storage.http.ca_file.clone());
        let named = self.named_repository();
        let replicas: Vec<String> = match self.global.replica.as_slice() {
            [] => self.config.replicas.iter().map(|replica| replica.address.clone()).collect(),
            given => given.to_vec(),
        };
        for (option, address) in
            named.iter().map(|one| ("--repository", one)).chain(replicas.iter().map(|one| ("--replica", one)))
        {
            let (address, folder) = absolute_address(address)?;
            words.extend([option.to_owned(), word(OsStr::new(&address))]);
            needs.extend(folder);
        }
        words.push("wal fetch %f \"%p\"".to_owned());
        Ok(WalCommand { line: words.join(" "), needs })
    }

    /// Returns the variables of the environment that the command may need.
    pub(crate) fn wal_environment(&self) -> Vec<(OsString, OsString)> {
        let is_passed = |name: &OsStr| {
            let name = name.to_string_lossy();
            PASSED_ON.iter().any(|prefix| name.starts_with(prefix)) && !KEPT_BACK.contains(&name.as_ref())
        };
        std::env::vars_os().filter(|(name, _)| is_passed(name)).collect()
    }
}

fn absolute(path: &Path) -> Result<PathBuf, CliError> {
    std::path::absolute(path).map_err(|source| error::io(format!("resolve {}", path.display()), source))
}

/// Makes the address of a folder absolute, and returns the folder; others stay as they are.
fn absolute_address(address: &str) -> Result<(String, Option<PathBuf>), CliError> {
    match address.parse() {
        Ok(StorageAddress::Local(path)) => {
            let path = absolute(&path)?;
            Ok((path.display().to_string(), Some(path)))
        }
        _ => Ok((address.to_owned(), None)),
    }
}

/// Quotes a word for the shell, and its `%` for PostgreSQL.
fn word(value: &OsStr) -> String {
    let text = value.to_string_lossy().replace('%', "%%");
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_shell_and_postgresql() {
        assert_eq!(word(OsStr::new("/usr/bin/erpgo-dr")), "/usr/bin/erpgo-dr");
        assert_eq!(word(OsStr::new("/a b/50%.txt")), "'/a b/50%%.txt'");
        assert_eq!(word(OsStr::new("it's; rm -rf $HOME")), r"'it'\''s; rm -rf $HOME'");
        assert_eq!(word(OsStr::new("")), "''");
    }

    #[test]
    fn a_folder_is_named_from_the_root_and_a_bucket_as_it_is() {
        let here = std::env::current_dir().unwrap();
        let (address, folder) = absolute_address("./backups").unwrap();
        assert_eq!((address, folder), (here.join("backups").display().to_string(), Some(here.join("backups"))));
        assert_eq!(absolute_address("s3://bucket/x").unwrap(), ("s3://bucket/x".to_owned(), None));
    }
}
