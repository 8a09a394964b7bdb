//! The tables `[agent]` and `[[agent.job]]`.

use std::path::PathBuf;

use erpgo_dr_core::agent::JobKind;
use erpgo_dr_core::agent::jobs::VerifyScope;
use erpgo_dr_core::ops::drill::Scenario;
use erpgo_dr_core::runbook::Span;
use schemars::JsonSchema;
use serde::Deserialize;

use super::notify::NotifyConfig;

/// The table `[agent]`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct AgentConfig {
    /// What this host is called in the history and in alarms; its own name where nothing is said.
    pub host: Option<String>,
    /// How long an agent may be dead before another one takes over: `2m`.
    pub lease: Option<Span>,
    /// How long a job may go on after the agent was told to stop: `10m`.
    pub grace: Option<Span>,
    /// The most that is slept before the clock is looked at again: `15s`.
    pub tick: Option<Span>,
    /// The time zone of schedules; UTC where nothing is said.
    pub time_zone: Option<String>,
    /// A file that gets a line for each run.
    pub report_log: Option<PathBuf>,
    /// Who is told of alarms.
    pub notify: NotifyConfig,
    /// The jobs; the usual ones where there are none.
    #[serde(rename = "job")]
    pub jobs: Vec<AgentJobConfig>,
}

/// A table `[[agent.job]]`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct AgentJobConfig {
    /// Its name; that of its kind where nothing is said.
    pub name: Option<String>,
    /// What it does.
    pub kind: JobKind,
    /// When: five fields of cron.
    pub schedule: Option<String>,
    /// The time zone of that.
    pub time_zone: Option<String>,
    /// The most by which a run is put off.
    pub jitter: Option<Span>,
    /// Further attempts where one fails.
    pub retries: Option<u32>,
    /// How long after the first attempt a further one may begin.
    pub window: Option<Span>,
    /// The wait before the second attempt.
    pub backoff: Option<Span>,
    /// How long a run may take: it is given up behind that.
    pub limit: Option<Span>,
    /// `backup`: the databases.
    pub databases: Option<Vec<String>>,
    /// `verify`: how deep.
    pub level: Option<VerifyDepth>,
    /// `verify`: which backups.
    pub backups: Option<VerifyScope>,
    /// `drill`: what is rehearsed.
    pub scenario: Option<Scenario>,
    /// `restore-test`: a cluster and a position of its log by lot.
    pub random: Option<bool>,
    /// `repair`: whether every byte is read.
    pub deep: Option<bool>,
    /// `cluster-backup`: whether the server sends its files.
    pub remote: Option<bool>,
    /// `cluster-backup`: the data directory on this host.
    pub data_dir: Option<PathBuf>,
    /// `check`: whether the archive of the log is looked at.
    pub wal: Option<bool>,
    /// `summary`: how far back it looks.
    pub span: Option<Span>,
}

/// How deep a job verifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum VerifyDepth {
    /// Stored bytes and their recorded hashes.
    Scrub,
    /// Every MAC, and the table of contents.
    Mac,
    /// Every row.
    Contents,
}

impl AgentJobConfig {
    /// A job of a kind by a schedule, with everything else as usual.
    pub(crate) fn usual(kind: JobKind, schedule: &str) -> Self {
        Self {
            name: None,
            kind,
            schedule: Some(schedule.to_owned()),
            time_zone: None,
            jitter: None,
            retries: None,
            window: None,
            backoff: None,
            limit: None,
            databases: None,
            level: None,
            backups: None,
            scenario: None,
            random: None,
            deep: None,
            remote: None,
            data_dir: None,
            wal: None,
            span: None,
        }
    }

    /// Returns the name.
    pub(crate) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(self.kind.as_str())
    }

    /// Names the keys that mean nothing for the kind: a setting must not be one that silently does nothing.
    pub(crate) fn strangers(&self) -> Vec<&'static str> {
        let kind = self.kind;
        let keys = [
            ("databases", self.databases.is_some(), kind == JobKind::Backup),
            ("level", self.level.is_some(), kind == JobKind::Verify),
            ("backups", self.backups.is_some(), kind == JobKind::Verify),
            ("scenario", self.scenario.is_some(), kind == JobKind::Drill),
            ("random", self.random.is_some(), kind == JobKind::RestoreTest),
            ("deep", self.deep.is_some(), kind == JobKind::Repair),
            ("remote", self.remote.is_some(), kind == JobKind::ClusterBackup),
            ("data_dir", self.data_dir.is_some(), kind == JobKind::ClusterBackup),
            ("wal", self.wal.is_some(), kind == JobKind::Check),
            ("span", self.span.is_some(), kind == JobKind::Summary),
        ];
        keys.into_iter().filter(|(_, given, fits)| *given && !fits).map(|(name, ..)| name).collect()
    }
}
