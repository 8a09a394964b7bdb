//! How the server is reached: the option, `ERPGO_DR_CONNECTION`, the configuration file, `PG*`, and the old names.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use erpgo_dr_core::postgres::{ConnectionSettings, LogicalDriver};
use secrecy::SecretString;

use super::Context;
use crate::error::CliError;

/// Variables of libpq and the keywords that they stand for.
const VARIABLES: [(&str, &str); 8] = [
    ("PGHOST", "host"),
    ("PGPORT", "port"),
    ("PGUSER", "user"),
    ("PGDATABASE", "dbname"),
    ("PGSSLMODE", "sslmode"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGCONNECT_TIMEOUT", "connect_timeout"),
    ("PGOPTIONS", "options"),
];

impl Context {
    /// Returns a driver for the server.
    pub(crate) fn driver(&self) -> Result<LogicalDriver, CliError> {
        Ok(self.driver_of(self.connection()?))
    }

    /// Returns a driver for the server of these settings, whose cancelled restores are cleaned up before the program ends.
    pub(crate) fn driver_of(&self, settings: ConnectionSettings) -> LogicalDriver {
        LogicalDriver::new(settings, self.programs()).cleanups(self.cleanups.clone())
    }

    /// Returns the connection settings. Later sources win, keyword by keyword: `.env.production`, `PG*`, the
    /// configuration file, `ERPGO_DR_CONNECTION`, the option.
    pub(crate) fn connection(&self) -> Result<ConnectionSettings, CliError> {
        let mut settings = ConnectionSettings::default().overlaid(&self.env_file_keywords())?;
        settings = settings.overlaid(&environment_keywords())?;
        if let Some(text) = &self.config.postgres.connection {
            settings = settings.overlaid(text)?;
        }
        if let Some(text) = text_variable("ERPGO_DR_CONNECTION") {
            settings = settings.overlaid(&text)?;
        }
        if let Some(text) = &self.global.connection {
            refuse_password(text)?;
            settings = settings.overlaid(text)?;
        }
        Ok(self.with_password(settings))
    }

    /// Returns whether anything says where the server is.
    pub(crate) fn names_server(&self) -> bool {
        self.global.connection.is_some()
            || self.config.postgres.connection.is_some()
            || text_variable("ERPGO_DR_CONNECTION").is_some()
            || !environment_keywords().is_empty()
            || !self.env_file_keywords().is_empty()
    }

    fn env_file_keywords(&self) -> String {
        let names = [
            ("POSTGRES_PRIMARY_HOST", "host"),
            ("POSTGRES_PORT", "port"),
            ("POSTGRES_USER", "user"),
            ("POSTGRES_DB", "dbname"),
        ];
        keywords(names.iter().filter_map(|(name, keyword)| Some((*keyword, self.env_file.value(name)?.to_owned()))))
    }

    /// Returns the password that the environment has for the server.
    pub(crate) fn server_password(&self) -> Option<SecretString> {
        ["ERPGO_DR_PGPASSWORD", "PGPASSWORD"].iter().find_map(|name| text_variable(name)).map(SecretString::from)
    }

    /// Completes settings with the password that the environment has, or a file of passwords.
    pub(crate) fn with_password(&self, settings: ConnectionSettings) -> ConnectionSettings {
        let settings = match self.server_password() {
            Some(password) => settings.password(password),
            None if has_password(&settings) => settings,
            None => match passfile() {
                Some(path) => settings.passfile(path),
                None => match self.env_file.database_password() {
                    Some(password) => settings.password(password),
                    None => settings,
                },
            },
        };
        match text_variable("PGAPPNAME") {
            Some(name) => settings.application_name(name),
            None => settings,
        }
    }
}

/// Whoever can list processes can read arguments.
pub(crate) fn refuse_password(text: &str) -> Result<(), CliError> {
    // An unreadable text is reported where it is used.
    let holds_one = text.parse::<ConnectionSettings>().is_ok_and(|settings| has_password(&settings));
    if !holds_one {
        return Ok(());
    }
    Err(CliError::usage(
        "the connection holds a password, which every user of this host can read in the list of processes",
        "put it into a file named by PGPASSFILE (mode 0600), or into ERPGO_DR_PGPASSWORD",
    ))
}

fn has_password(settings: &ConnectionSettings) -> bool {
    settings.client_environment().iter().any(|(name, _)| name == "PGPASSWORD")
}

fn environment_keywords() -> String {
    keywords(VARIABLES.iter().filter_map(|(name, keyword)| Some((*keyword, text_variable(name)?))))
}

fn keywords(pairs: impl Iterator<Item = (&'static str, String)>) -> String {
    let quoted =
        pairs.map(|(keyword, value)| format!("{keyword}='{}'", value.replace('\\', r"\\").replace('\'', r"\'")));
    quoted.collect::<Vec<_>>().join(" ")
}

/// Returns the file that `PGPASSFILE` names, or `~/.pgpass` where libpq would take it.
fn passfile() -> Option<PathBuf> {
    if let Some(path) = variable("PGPASSFILE") {
        return Some(path.into());
    }
    let path = PathBuf::from(variable("HOME")?).join(".pgpass");
    let mode = std::fs::metadata(&path).ok()?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(file = %path.display(), "password file ignored: others can read it (chmod 0600)");
        return None;
    }
    Some(path)
}

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn text_variable(name: &str) -> Option<String> {
    variable(name).and_then(|value| value.into_string().ok())
}
