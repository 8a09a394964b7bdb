//! `restore` and `restore-cluster`: databases back into a server, and a cluster back into a folder.

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::super::error::ActionError;
use super::super::template::Template;
use super::{Act, Done, Loss, Nature, Scope, Uses, View};
use crate::ops::physical::{
    ClusterTarget, RecoveryOptions, RecoveryTarget, StartOptions, restore_and_start_cluster, select_cluster,
};
use crate::ops::{self, BackupSelector, select_dump};
use crate::postgres::{LogicalDriver, RestoreOptions};
use crate::repository::{Catalogue, CatalogueEntry};
use crate::types::Lsn;

/// Restores databases of a backup into a server.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Restore {
    /// The variable of the server.
    pub on: String,
    /// `latest`, `latest-proven`, an identifier, or a moment that it must have begun before.
    pub backup: Template,
    /// The database that is restored; without it, all of the backup are.
    pub database: Option<Template>,
    /// The name that it gets; without it, its own.
    pub target: Option<Template>,
    /// Whether what is there is replaced; sessions that use it are ended then.
    #[serde(default)]
    pub replace: bool,
    /// How many connections restore at the same time.
    #[serde(default = "jobs")]
    pub jobs: usize,
}

/// Restores a cluster into a folder, starts it, and waits until it has recovered. It runs on.
///
/// Without a target it replays everything that is archived, of the newest timeline.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct RestoreCluster {
    /// The new data directory: empty, or not there; with `delta` the old one.
    pub folder: Template,
    /// The backup; without it, the newest that is not beyond the target.
    pub backup: Option<Template>,
    /// Replays to just before the first commit after this moment.
    pub target_time: Option<Template>,
    /// Replays to this position of the log.
    pub target_lsn: Option<Template>,
    /// Whether the folder holds the old cluster, of which only pages that differ are written.
    #[serde(default)]
    pub delta: bool,
    /// With `delta`: also where the folder has log that was never archived, and is lost then.
    #[serde(default)]
    pub discard_wal: bool,
    /// Where tablespaces go, by their OIDs.
    #[serde(default)]
    pub tablespaces: BTreeMap<String, Template>,
    /// Parameters on the server's command line, over its configuration.
    #[serde(default)]
    pub settings: BTreeMap<String, Template>,
    /// Whether the server archives its log as the old one did: only when that is gone for good.
    #[serde(default)]
    pub keep_archiving: bool,
}

fn jobs() -> usize {
    4
}

#[async_trait]
impl Act for Restore {
    fn nature(&self) -> Nature {
        let nature = Nature::change(24 * 3600);
        if self.replace { nature.repeatable().asking() } else { nature }
    }

    fn describe(&self, view: &View<'_>) -> String {
        let what = self.database.as_ref().map_or_else(|| "every database".to_owned(), |name| name.shown(view.values));
        let target = self.target.as_ref().map(|name| format!(" as {}", name.shown(view.values))).unwrap_or_default();
        let over = if self.replace { ", in place of what is there" } else { "" };
        let server = view.server_name(&self.on);
        format!("restore {what} of the backup {} into {server}{target}{over}", self.backup.shown(view.values))
    }

    fn uses<'s>(&'s self, uses: &mut Uses<'s>) {
        uses.servers.push(&self.on);
        uses.visible([&self.backup]);
        uses.visible(&self.database);
        uses.visible(&self.target);
    }

    async fn act(&self, scope: &Scope<'_>) -> Result<Done, ActionError> {
        let surroundings = scope.surroundings;
        let repository = &surroundings.repository;
        let mut catalogue = repository.catalogue().await?;
        let entry = chosen(scope, &mut catalogue, &scope.text(&self.backup)?)?;
        let (id, created) = (entry.id().clone(), entry.summary.created);
        let mut options = RestoreOptions::new().jobs(self.jobs.max(1));
        if let Some(database) = scope.optional(self.database.as_ref())? {
            options = options.databases(vec![database]);
        }
        match scope.optional(self.target.as_ref())? {
            Some(target) => options = options.target(target).create(true),
            None => options = options.create(true),
        }
        if self.replace {
            options = options.clean(true).terminate_sessions(true);
        }
        let settings = scope.server(&self.on, None)?;
        let cleanups = repository.environment().cleanups.clone();
        let driver =
            LogicalDriver::new(settings, surroundings.programs.clone()).restore_options(options).cleanups(cleanups);
        let report = ops::restore(repository, &id, &driver, &*surroundings.progress).await?;
        let databases = report.outcome.databases.join(", ");
        let output = format!("{databases} of {id}, which began at {created}, in {:.1} s", report.seconds);
        let loss = Some(Loss { recovered_to: Some(created), bytes: None });
        Ok(Done { output, value: Some(id.to_string()), loss, ..Done::default() })
    }
}

#[async_trait]
impl Act for RestoreCluster {
    fn nature(&self) -> Nature {
        let nature = Nature::change(24 * 3600);
        if self.delta { nature.repeatable().asking() } else { nature }
    }

    fn describe(&self, view: &View<'_>) -> String {
        let folder = self.folder.shown(view.values);
        let backup = self.backup.as_ref().map_or_else(|| "the right backup".to_owned(), |id| id.shown(view.values));
        let until = match (&self.target_time, &self.target_lsn) {
            (Some(time), _) => format!("to {}", time.shown(view.values)),
            (None, Some(lsn)) => format!("to {}", lsn.shown(view.values)),
            (None, None) => "to the end of the archive".to_owned(),
        };
        let over = if self.delta { ", over what is there" } else { "" };
        format!("restore a cluster from {backup} into {folder}{over}, start it, and replay {until}")
    }

    fn uses<'s>(&'s self, uses: &mut Uses<'s>) {
        uses.visible([&self.folder]);
        uses.visible(self.backup.iter().chain(&self.target_time).chain(&self.target_lsn));
        uses.visible(self.tablespaces.values().chain(self.settings.values()));
    }

    async fn act(&self, scope: &Scope<'_>) -> Result<Done, ActionError> {
        let surroundings = scope.surroundings;
        let repository = &surroundings.repository;
        let recovery = self.recovery(scope)?;
        let mut catalogue = repository.catalogue().await?;
        let id = match scope.optional(self.backup.as_ref())? {
            Some(named) => {
                catalogue.entries.retain(|entry| entry.summary.is_physical());
                ops::select(&catalogue, &selector(&named)?)?.id().clone()
            }
            None => select_cluster(repository, &catalogue, &recovery.target).await?.id().clone(),
        };
        let target = self.target(scope)?;
        let mut settings = Vec::new();
        for (name, value) in &self.settings {
            settings.push((name.clone(), scope.text(value)?));
        }
        let options = StartOptions::new(surroundings.programs.clone())
            .with_timeout(scope.timeout.duration())
            .with_settings(settings)
            .with_environment(surroundings.environment.clone());
        let progress = &*surroundings.progress;
        let report = restore_and_start_cluster(repository, &id, &target, &recovery, &options, progress).await?;
        let output = serde_json::to_string_pretty(&report).unwrap_or_default();
        let recovered_to = report.started.as_ref().and_then(|started| started.replayed_at);
        let bytes = report.started.as_ref().and_then(|started| started.behind_archive_bytes);
        let loss = Some(Loss { recovered_to, bytes });
        Ok(Done { output, value: Some(id.to_string()), loss, ..Done::default() })
    }
}

impl RestoreCluster {
    fn recovery(&self, scope: &Scope<'_>) -> Result<RecoveryOptions, ActionError> {
        let target = match (scope.optional(self.target_time.as_ref())?, scope.optional(self.target_lsn.as_ref())?) {
            (Some(_), Some(_)) => return Err(unusable("a recovery has one target")),
            (Some(text), None) => RecoveryTarget::Time(moment(&text)?),
            (None, Some(text)) => {
                RecoveryTarget::Lsn(text.parse::<Lsn>().map_err(|error| unusable(&error.to_string()))?)
            }
            (None, None) => RecoveryTarget::Latest,
        };
        Ok(RecoveryOptions::default()
            .with_target(target)
            .with_restore_command(scope.surroundings.restore_command.clone())
            .with_archiving(self.keep_archiving))
    }

    fn target(&self, scope: &Scope<'_>) -> Result<ClusterTarget, ActionError> {
        let folder = PathBuf::from(scope.text(&self.folder)?);
        let mut target = ClusterTarget::new(folder).with_delta(self.delta).with_discard_wal(self.discard_wal);
        for (oid, folder) in &self.tablespaces {
            let number = oid.parse().map_err(|_| unusable(&format!("{oid:?} is no OID")))?;
            target = target.with_tablespace(number, scope.text(folder)?);
        }
        Ok(target)
    }
}

/// Finds the backup of databases that is meant. Of `latest` and `latest-proven` those are left out that the run itself has made: they
/// hold what is to be replaced. Its identifier tells when it began to the second.
fn chosen<'c>(scope: &Scope<'_>, catalogue: &'c mut Catalogue, text: &str) -> Result<&'c CatalogueEntry, ActionError> {
    let selector = selector(text)?;
    if matches!(selector, BackupSelector::Latest | BackupSelector::LatestProven) {
        let began = scope.run.time();
        catalogue.entries.retain(|entry| entry.summary.created < began);
    }
    Ok(select_dump(catalogue, &selector)?)
}

/// Finds a backup, and returns its identifier: so that what people decide on is what is restored.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct FindBackup {
    /// `latest`, `latest-proven`, an identifier, or a moment that it must have begun before.
    pub backup: Template,
}

#[async_trait]
impl Act for FindBackup {
    fn nature(&self) -> Nature {
        Nature::check(300)
    }

    fn describe(&self, view: &View<'_>) -> String {
        format!("find the backup {}", self.backup.shown(view.values))
    }

    fn uses<'s>(&'s self, uses: &mut Uses<'s>) {
        uses.visible([&self.backup]);
    }

    async fn act(&self, scope: &Scope<'_>) -> Result<Done, ActionError> {
        let repository = &scope.surroundings.repository;
        let mut catalogue = repository.catalogue().await?;
        let entry = chosen(scope, &mut catalogue, &scope.text(&self.backup)?)?;
        let age = repository.environment().clock.now() - entry.summary.created;
        let proven = entry.proven().map_or_else(|| "not verified".to_owned(), |(level, at)| format!("{level} at {at}"));
        let output = format!("{}, which began {} minutes ago; {proven}", entry.id(), age.num_minutes());
        Ok(Done { output, value: Some(entry.id().to_string()), ..Done::default() })
    }
}

/// Reads which backup is meant.
fn selector(text: &str) -> Result<BackupSelector, ActionError> {
    match text {
        "latest" => Ok(BackupSelector::Latest),
        "latest-proven" => Ok(BackupSelector::LatestProven),
        text => match text.parse() {
            Ok(id) => Ok(BackupSelector::Id(id)),
            Err(_) => moment(text).map(BackupSelector::Before).map_err(|_| {
                unusable(&format!(
                    "{text:?} is neither `latest`, `latest-proven`, an identifier of a backup nor a moment"
                ))
            }),
        },
    }
}

/// Reads a moment.
pub(super) fn moment(text: &str) -> Result<DateTime<Utc>, ActionError> {
    let wrong = |_| unusable(&format!("{text:?} is no moment such as 2026-11-27T03:00:00Z"));
    Ok(DateTime::parse_from_rfc3339(text).map_err(wrong)?.to_utc())
}

fn unusable(text: &str) -> ActionError {
    ActionError::Unusable(text.to_owned())
}
