//! Where the configuration lies.

use std::path::{Path, PathBuf};

use super::{Config, ConfigError, EnvFile};

/// Returns the configuration file that is named, or the first that is there.
pub(crate) fn file(named: Option<&Path>) -> Option<PathBuf> {
    match named {
        Some(path) => Some(path.to_owned()),
        None => candidates().into_iter().find(|path| path.is_file()),
    }
}

/// Returns the configuration file that may be there, in a folder that this user may not look into.
pub(crate) fn hidden() -> Option<PathBuf> {
    let denied = |path: &PathBuf| {
        std::fs::metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
    };
    candidates().into_iter().filter(|path| path.is_absolute()).find(denied)
}

/// Reads the configuration file that is named, or the first that is there.
pub(crate) fn load(named: Option<&Path>) -> Result<Config, ConfigError> {
    let Some(path) = file(named) else { return Ok(Config::default()) };
    tracing::debug!(file = %path.display(), "configuration file");
    Config::parse(&read(&path)?).map_err(|error| error.in_file(path))
}

/// Reads the environment file that is named.
pub(crate) fn load_env_file(named: Option<&Path>) -> Result<EnvFile, ConfigError> {
    let Some(path) = named else { return Ok(EnvFile::default()) };
    EnvFile::parse(&read(path)?).map_err(|error| error.in_file(path.to_owned()))
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })
}

fn candidates() -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let user = variable("XDG_CONFIG_HOME").or_else(|| variable("HOME").map(|home| home.join(".config")));
    let mut found = vec![PathBuf::from("erpgo-dr.toml")];
    found.extend(user.map(|folder| folder.join("erpgo-dr/erpgo-dr.toml")));
    found.extend([PathBuf::from("/etc/erpgo-dr/erpgo-dr.toml"), PathBuf::from("/etc/erpgo-dr.toml")]);
    found
}
