//! The configuration file `erpgo-dr.toml`, and the `.env.production` file of the old scripts.
//!
//! [`Config::parse`] is a pure function of the text. A key that is not known is an error with its line: a misspelt
//! setting must not be one that silently does nothing.

mod agent;
mod check;
mod env_file;
mod escalation;
mod find;
mod fleet;
mod notify;
mod places;

pub use agent::{AgentConfig, AgentJobConfig, VerifyDepth};
pub use env_file::EnvFile;
pub use escalation::{ContactConfig, EscalationConfig, LevelConfig};
pub use fleet::FleetConfig;
pub use notify::{MailConfig, NotifyConfig};
pub use places::{
    AzureConfig, BandwidthConfig, GcsConfig, HttpConfig, ReplicaConfig, S3Config, S3CredentialsConfig, StorageConfig,
    WritePolicyConfig,
};

pub(crate) use find::{file, hidden, load, load_env_file};

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use erpgo_dr_core::Codec;
use erpgo_dr_core::ops::SqlCheck;
use erpgo_dr_core::ops::drill::{DrillRhythm, Scenario};
use erpgo_dr_core::postgres::{Figure, Scope};
use erpgo_dr_core::repository::VerifyLevel;
use erpgo_dr_core::retention::RetentionSettings;
use erpgo_dr_core::runbook::Span;
use erpgo_dr_core::storage::StorageClass;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The text is no TOML, or has keys or values that mean nothing.
    #[error("the configuration is wrong: {message}")]
    Invalid {
        /// Line, column and what is wrong there.
        message: String,
    },
    /// A configuration file with its path.
    #[error("{}: {message}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A file that was asked for cannot be read.
    #[error("{}: cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A line of an environment file that is no assignment.
    #[error("line {line}: expected NAME=value")]
    EnvLine {
        /// The line, counted from 1.
        line: usize,
    },
}

impl ConfigError {
    pub(crate) fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unreadable { .. } => "check the path, and that this user may read it".to_owned(),
            Self::EnvLine { .. } => "comments start with #, and no line is executed".to_owned(),
            Self::Invalid { .. } | Self::File { .. } => {
                "docs/cli.md has a complete erpgo-dr.toml with every key".to_owned()
            }
        })
    }

    fn in_file(self, path: PathBuf) -> Self {
        match self {
            Self::Unreadable { .. } | Self::File { .. } => self,
            Self::Invalid { message } => Self::File { path, message },
            error @ Self::EnvLine { .. } => Self::File { path, message: error.to_string() },
        }
    }
}

/// What `erpgo-dr.toml` may say. Every key may be left out.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// The address of the repository.
    pub repository: Option<String>,
    /// A file with the names of `.env.production`.
    pub env_file: Option<PathBuf>,
    /// Threads that compress and encrypt; 0 is one a core.
    pub threads: Option<usize>,
    /// What opens the repository, and for whom keys are wrapped.
    pub keys: KeysConfig,
    /// How the server is reached.
    pub postgres: PostgresConfig,
    /// How the repository's place is reached.
    pub storage: StorageConfig,
    /// Further places that get everything.
    #[serde(rename = "replica")]
    pub replicas: Vec<ReplicaConfig>,
    /// What a backup takes.
    pub backup: BackupConfig,
    /// How backups are proven.
    pub verify: VerifyConfig,
    /// What must hold in a restored database.
    #[serde(rename = "check")]
    pub checks: Vec<SqlCheck>,
    /// Figures of the business, which backups write down and `check figures` compares.
    #[serde(rename = "figure")]
    pub figures: Vec<Figure>,
    /// What is kept; the scripts' 7 daily, 4 weekly and 12 monthly where nothing is said.
    pub retention: Option<RetentionSettings>,
    /// When the repository is healthy.
    pub status: StatusConfig,
    /// What runs beside a server that archives or restores its write-ahead log.
    pub wal: WalConfig,
    /// How Patroni is reached.
    pub ha: HaConfig,
    /// Where runbooks lie, and what they work with.
    pub runbook: RunbookConfig,
    /// Whom levels of escalation tell.
    #[serde(rename = "contact")]
    pub contacts: Vec<ContactConfig>,
    /// Who is told when a run of a runbook takes long.
    pub escalation: EscalationConfig,
    /// What is collected after a breach.
    pub evidence: EvidenceConfig,
    /// What the agent does, and when.
    pub agent: AgentConfig,
    /// What is shown to those who watch, where, and what recovery is to reach.
    pub monitor: MonitorConfig,
    /// Many clusters, watched by one process.
    pub fleet: FleetConfig,
    /// Which drills are done how often; a restore every month and a great one each quarter where nothing is said.
    #[serde(rename = "drill")]
    pub drills: Vec<DrillConfig>,
}

/// The table `[keys]`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct KeysConfig {
    /// Files of age identities or SSH keys.
    pub identities: Vec<PathBuf>,
    /// A file whose first line is the passphrase.
    pub passphrase_file: Option<PathBuf>,
    /// Public keys.
    pub recipients: Vec<String>,
    /// A file of public keys.
    pub recipients_file: Option<PathBuf>,
    /// Commands that wrap and unwrap keys: a KMS.
    pub command: Option<KeyCommandConfig>,
}

/// The table `[keys.command]`: programs and their arguments, without a shell.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct KeyCommandConfig {
    /// Reads a key and writes what only its counterpart opens.
    pub wrap: Vec<String>,
    /// Reads what `wrap` wrote and writes the key.
    pub unwrap: Vec<String>,
    /// How long each may take, in seconds; 30 where nothing is said.
    pub timeout: Option<u64>,
}

/// The table `[postgres]`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PostgresConfig {
    /// A URL or keyword=value pairs, without a password.
    pub connection: Option<String>,
    /// Folders with client programs.
    pub bin_dirs: Vec<PathBuf>,
}

/// The table `[wal]`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct WalConfig {
    /// The folder for what is fetched or pushed ahead.
    pub spool: Option<PathBuf>,
    /// The folder in which `wal stream` keeps what is not archived yet.
    pub stream: Option<PathBuf>,
    /// Segments that are fetched ahead; 8 where nothing is said.
    pub prefetch: Option<usize>,
    /// The system identifier of the cluster.
    pub system: Option<u64>,
}

/// The table `[ha]`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HaConfig {
    /// The addresses of Patroni's interfaces.
    pub patroni: Vec<String>,
    /// Who logs in there.
    pub user: Option<String>,
    /// A file whose first line is the password for that.
    pub password_file: Option<PathBuf>,
    /// A PEM file of authorities to trust instead of the operating system's.
    pub ca_file: Option<PathBuf>,
    /// The PEM file of our certificate.
    pub client_cert: Option<PathBuf>,
    /// The PEM file of its key.
    pub client_key: Option<PathBuf>,
}

/// The table `[runbook]`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RunbookConfig {
    /// A folder of `NAME.toml`, which win over those that come with the tool.
    pub folder: Option<PathBuf>,
    /// The folder of this host for journals, and what opens the repository, while its place is away.
    pub spool: Option<PathBuf>,
    /// Values of variables, as text, for every runbook that has one of the name.
    pub variables: BTreeMap<String, String>,
    /// Files whose first line is the value of a variable, for secrets.
    pub secrets: BTreeMap<String, PathBuf>,
    /// Variables of the environment that programs of runbooks get, beside `PATH`, `HOME` and the like.
    pub pass_environment: Vec<String>,
}

/// The table `[evidence]`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct EvidenceConfig {
    /// Tables that are kept whole.
    pub tables: Vec<String>,
    /// Queries whose rows are kept, by names.
    pub queries: BTreeMap<String, String>,
    /// Programs whose output is kept, by names: each a program and its arguments, without a shell.
    pub programs: BTreeMap<String, Vec<String>>,
    /// Files of this host.
    pub files: Vec<PathBuf>,
}

/// The table `[monitor]`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct MonitorConfig {
    /// Where `serve` listens: `127.0.0.1:9788`.
    pub listen: Option<SocketAddr>,
    /// The time from one look to the next: `1m`.
    pub every: Option<Span>,
    /// How long recovery may take: `4h`.
    pub rto: Option<Span>,
    /// How much work may be lost: `15m`.
    pub rpo: Option<Span>,
    /// A file whose first line clients must show.
    pub token_file: Option<PathBuf>,
    /// A certificate in PEM form, with those between it and its root.
    pub certificate: Option<PathBuf>,
    /// The certificate's key in PEM form.
    pub key: Option<PathBuf>,
    /// Folders of this host whose free space is told.
    pub folders: Vec<PathBuf>,
}

/// A table `[[drill]]`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct DrillConfig {
    /// What is rehearsed.
    pub scenario: Scenario,
    /// How often.
    pub every: DrillRhythm,
    /// How long recovery may take: `4h`.
    pub rto: Option<Span>,
    /// How much work may be lost: `15m`.
    pub rpo: Option<Span>,
}

/// The table `[backup]`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct BackupConfig {
    /// The databases; all where none is named.
    pub databases: Vec<String>,
    /// `full`, `schema` or `data`.
    pub scope: Option<Scope>,
    /// Connections that read large tables at once.
    pub jobs: Option<usize>,
    /// `zstd:3`, `gzip:6`, `none`.
    #[serde(deserialize_with = "from_text")]
    #[schemars(with = "Option<String>")]
    pub codec: Option<Codec>,
    /// The provider's name of a storage class.
    #[serde(deserialize_with = "from_text")]
    #[schemars(with = "Option<String>")]
    pub storage_class: Option<StorageClass>,
    /// How deep a new backup is verified: `mac`, `contents`, or `none`.
    pub verify: Option<BackupVerify>,
}

/// How deep a new backup is verified at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum BackupVerify {
    /// Not at all, now.
    None,
    /// Every MAC, and what `pg_restore --list` reads.
    Mac,
    /// Every row: counts and checksums of all tables.
    Contents,
}

impl BackupVerify {
    /// Returns the library's name of the level.
    pub fn level(self) -> Option<VerifyLevel> {
        match self {
            Self::None => None,
            Self::Mac => Some(VerifyLevel::Mac),
            Self::Contents => Some(VerifyLevel::Contents),
        }
    }
}

/// The table `[verify]`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct VerifyConfig {
    /// Where the throwaway server of a restore test keeps its data, in the clear.
    pub scratch: Option<PathBuf>,
    /// The account that it runs as.
    pub run_as: Option<String>,
    /// Restore jobs at once.
    pub jobs: Option<usize>,
    /// Roles to make beforehand, for backups without roles.
    pub roles: Vec<String>,
}

/// The table `[status]`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct StatusConfig {
    /// How old the newest proven backup may be: `8h`, `2d`.
    pub max_age: Option<String>,
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with the line and column, and the names that are known there.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let config: Self =
            toml::from_str(text).map_err(|error| ConfigError::Invalid { message: describe(&error, text) })?;
        if let Some(text) = &config.status.max_age {
            let checked = RetentionSettings::parse_duration(text);
            checked.map_err(|error| ConfigError::Invalid { message: format!("status.max_age: {error}") })?;
        }
        Ok(config)
    }
}

/// Names the line, without quoting it: it may hold what should not be printed.
fn describe(error: &toml::de::Error, text: &str) -> String {
    let message = error.message().trim_end();
    let Some(span) = error.span() else { return message.to_owned() };
    let before = text.get(..span.start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    format!("line {line}, column {column}: {message}")
}

fn from_text<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    String::deserialize(deserializer)?.parse().map(Some).map_err(serde::de::Error::custom)
}
