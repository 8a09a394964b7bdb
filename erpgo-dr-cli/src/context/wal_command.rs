//! The `restore_command` by which a restored server calls this program.

use std::ffi::OsStr;
use std::path::Path;

use super::Context;
use crate::config;
use crate::error::{self, CliError};

impl Context {
    /// Returns a command line for PostgreSQL's `restore_command`, with what this run was told about the repository.
    ///
    /// No secret is in it, only the names of files: a passphrase of the environment must be in the server's too.
    pub(crate) fn wal_fetch_command(&self) -> Result<String, CliError> {
        let program = std::env::current_exe().map_err(|source| error::io("find this program", source))?;
        let mut words = vec![word(program.as_os_str())];
        let mut option = |name: &str, value: &OsStr| words.extend([name.to_owned(), word(value)]);
        if let Some(path) = config::file(self.global.config.as_deref()) {
            option("--config", absolute(&path)?.as_os_str());
        }
        if let Some(path) = &self.global.env_file {
            option("--env-file", absolute(path)?.as_os_str());
        }
        if let Some(address) = &self.global.repository {
            option("--repository", OsStr::new(address));
        }
        for address in &self.global.replica {
            option("--replica", OsStr::new(address));
        }
        for path in &self.global.identity {
            option("--identity", absolute(path)?.as_os_str());
        }
        if let Some(path) = &self.global.passphrase_file {
            option("--passphrase-file", absolute(path)?.as_os_str());
        }
        words.push("wal fetch %f \"%p\"".to_owned());
        Ok(words.join(" "))
    }
}

/// The server runs the command in its data directory.
fn absolute(path: &Path) -> Result<std::path::PathBuf, CliError> {
    std::path::absolute(path).map_err(|source| error::io(format!("resolve {}", path.display()), source))
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
}
