//! `.env.production` of the old scripts: the names that still mean something, and which do not.

use std::collections::BTreeMap;
use std::fmt;

use erpgo_dr_core::retention::RetentionSettings;
use secrecy::SecretString;

use super::ConfigError;

/// Where the old scripts kept their files unless told otherwise.
const DEFAULT_FOLDER: &str = "/backups/postgres";

/// The names that are read.
const USED: [&str; 21] = [
    "POSTGRES_DB",
    "POSTGRES_USER",
    "POSTGRES_PASSWORD",
    "POSTGRES_PRIMARY_HOST",
    "POSTGRES_PORT",
    "BACKUP_ENCRYPTION_KEY",
    "BACKUP_STORAGE_TYPE",
    "BACKUP_S3_BUCKET",
    "BACKUP_S3_REGION",
    "BACKUP_MAX_RETRIES",
    "BACKUP_SCHEDULE",
    "SLACK_WEBHOOK_URL",
    "BACKUP_RETENTION_DAILY_DAYS",
    "BACKUP_RETENTION_WEEKLY_WEEKS",
    "BACKUP_RETENTION_MONTHLY_MONTHS",
    "POSTGRES_BACKUPS_PATH",
    "RECOVERY_BACKUP",
    "RECOVERY_DRY_RUN",
    "RECOVERY_TARGET",
    "RECOVERY_TYPE",
    "ENVIRONMENT",
];

/// Names of the old scripts that have no effect here, and what to use instead.
const IGNORED: [(&str, &str); 1] =
    [("NOTIFICATION_EMAIL", "name a mail server and this recipient in [agent.notify.email] of erpgo-dr.toml")];

/// The assignments of an environment file. `Debug` shows names only.
#[derive(Clone, Default)]
pub struct EnvFile {
    values: BTreeMap<String, String>,
}

impl fmt::Debug for EnvFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl EnvFile {
    /// Reads `NAME=value` lines: empty lines and comments are skipped, `export ` and quotes taken off. Nothing is
    /// executed or expanded.
    ///
    /// # Errors
    /// [`ConfigError::EnvLine`] with the line; its text is not repeated, as it may hold a secret.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let mut values = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let line = line.strip_prefix("export ").unwrap_or(line);
            let assignment = line.split_once('=').map(|(name, value)| (name.trim(), unquoted(value.trim())));
            match assignment {
                Some((name, value)) if is_name(name) => values.insert(name.to_owned(), value),
                _ => return Err(ConfigError::EnvLine { line: index + 1 }),
            };
        }
        Ok(Self { values })
    }

    /// Returns what is said in words for the operator: names of the old scripts that have no effect here.
    pub fn warnings(&self) -> Vec<String> {
        let given = IGNORED.iter().filter(|(name, _)| self.value(name).is_some());
        let mut warnings: Vec<String> = given.map(|(name, advice)| format!("{name} has no effect: {advice}")).collect();
        let known = |name: &str| USED.contains(&name) || IGNORED.iter().any(|(ignored, _)| *ignored == name);
        let unknown: Vec<&str> =
            self.values.keys().map(String::as_str).filter(|name| is_ours(name) && !known(name)).collect();
        if !unknown.is_empty() {
            warnings.push(format!("{} not known, and without effect", unknown.join(", ")));
        }
        warnings
    }

    /// Returns a value that is set and not empty.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Returns the passphrase of the old files, which is also taken for the repository's.
    pub fn passphrase(&self) -> Option<SecretString> {
        self.value("BACKUP_ENCRYPTION_KEY").map(SecretString::from)
    }

    /// Returns the password of the server.
    pub fn database_password(&self) -> Option<SecretString> {
        self.value("POSTGRES_PASSWORD").map(SecretString::from)
    }

    /// Returns the address of a repository beside the old files: in a folder or prefix `erpgo-dr` of its own.
    pub fn repository(&self) -> Option<String> {
        match (self.value("BACKUP_STORAGE_TYPE"), self.value("BACKUP_S3_BUCKET")) {
            (Some("s3"), Some(bucket)) => Some(format!("s3://{bucket}/erpgo-dr")),
            (Some("local"), _) => {
                let folder = self.value("POSTGRES_BACKUPS_PATH").unwrap_or(DEFAULT_FOLDER);
                Some(format!("{}/erpgo-dr", folder.trim_end_matches('/')))
            }
            _ => self.value("POSTGRES_BACKUPS_PATH").map(|folder| format!("{}/erpgo-dr", folder.trim_end_matches('/'))),
        }
    }

    /// Returns the retention that the old names ask for, if they ask for any.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for what is no number.
    pub fn retention(&self) -> Result<Option<RetentionSettings>, ConfigError> {
        let (daily, weekly, monthly) = (
            self.number("BACKUP_RETENTION_DAILY_DAYS")?,
            self.number("BACKUP_RETENTION_WEEKLY_WEEKS")?,
            self.number("BACKUP_RETENTION_MONTHLY_MONTHS")?,
        );
        if daily.or(weekly).or(monthly).is_none() {
            return Ok(None);
        }
        let mut settings = RetentionSettings::default();
        settings.daily = daily.unwrap_or(settings.daily);
        settings.weekly = weekly.unwrap_or(settings.weekly);
        settings.monthly = monthly.unwrap_or(settings.monthly);
        Ok(Some(settings))
    }

    /// Returns a number.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for what is none.
    pub fn number(&self, name: &str) -> Result<Option<u32>, ConfigError> {
        let Some(text) = self.value(name) else { return Ok(None) };
        let number = text.parse().map_err(|_| ConfigError::Invalid { message: format!("{name} is not a number") });
        number.map(Some)
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !text.as_bytes()[0].is_ascii_digit()
}

/// Other programs' names may stand in the same file.
fn is_ours(name: &str) -> bool {
    ["BACKUP_", "RECOVERY_"].iter().any(|prefix| name.starts_with(prefix))
}

fn unquoted(text: &str) -> String {
    let inner = ['"', '\''].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote));
    match inner {
        Some(inner) => inner.to_owned(),
        // A comment begins at a # behind a space.
        None => text.split(" #").next().unwrap_or(text).trim_end().to_owned(),
    }
}
