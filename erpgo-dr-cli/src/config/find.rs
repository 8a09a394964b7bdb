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

/// Reads the configuration file that is named, or the first that is there, and the environment file.
pub(crate) fn load(file: Option<&Path>, env_file: Option<&Path>) -> Result<(Config, EnvFile), ConfigError> {
    let config = match self::file(file) {
        Some(path) => {
            tracing::debug!(file = %path.display(), "configuration file");
            read_config(&path)?
        }
        None => Config::default(),
    };
    let env_file = match env_file.or(config.env_file.as_deref()) {
        Some(path) => EnvFile::parse(&read(path)?).map_err(|error| error.in_file(path.to_owned()))?,
        None => EnvFile::default(),
    };
    Ok((config, env_file))
}

fn read_config(path: &Path) -> Result<Config, ConfigError> {
    Config::parse(&read(path)?).map_err(|error| error.in_file(path.to_owned()))
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })
}

fn candidates() -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let user = variable("XDG_CONFIG_HOME").or_else(|| variable("HOME").map(|home| home.join(".config")));
    let mut found = vec![PathBuf::from("erpgo-dr.toml")];
    found.extend(user.map(|folder| folder.join("erpgo-dr/erpgo-dr.toml")));
    found.push(PathBuf::from("/etc/erpgo-dr.toml"));
    found
}
