//! The jobs of the configuration, or the usual ones.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use erpgo_dr_core::DatabaseDriver;
use erpgo_dr_core::agent::jobs::{
    ArchiveAccess, BackupJob, CheckJob, ClusterBackupJob, ClusterSource, DrillJob, PruneJob, RepairJob, RestoreTestJob,
    SummaryJob, VerifyJob, WalPruneJob,
};
use erpgo_dr_core::agent::{AgentError, Job, JobKind, Schedule, ScheduledJob, Timing};
use erpgo_dr_core::ops::PruneOptions;
use erpgo_dr_core::ops::drill::{DrillOptions, Scenario};
use erpgo_dr_core::ops::physical::ClusterBackupOptions;
use erpgo_dr_core::repository::VerifyLevel;
use erpgo_dr_core::runbook::Notifier;
use erpgo_dr_core::storage::RepairOptions;

use crate::commands::backup::{configured_backup, configured_dump};
use crate::commands::drill::{objectives, planned, rehearsal};
use crate::commands::prune::configured_retention;
use crate::commands::restore_tests::TestArgs;
use crate::config::{AgentJobConfig, ConfigError, VerifyDepth};
use crate::context::{Context, Places};
use crate::error::CliError;

/// When backups are taken unless something else is said.
const EVERY_SIX_HOURS: &str = "0 */6 * * *";

/// Returns the jobs of the configuration, or the usual ones.
pub(super) fn configured(context: &Context) -> Result<Vec<AgentJobConfig>, CliError> {
    let config = &context.config.agent;
    let jobs = match config.jobs.is_empty() {
        true => usual(context),
        false => config.jobs.clone(),
    };
    for job in &jobs {
        if let [key, ..] = job.strangers()[..] {
            return Err(wrong(job, &format!("`{key}` means nothing for the kind {}", job.kind)));
        }
    }
    Ok(jobs)
}

/// A backup every six hours, and what proves it, keeps it and heals it.
fn usual(context: &Context) -> Vec<AgentJobConfig> {
    let backup = context.env_file.value("BACKUP_SCHEDULE").unwrap_or(EVERY_SIX_HOURS);
    let mut jobs = vec![
        AgentJobConfig::usual(JobKind::Backup, backup),
        AgentJobConfig::usual(JobKind::Check, "15 * * * *"),
        AgentJobConfig::usual(JobKind::Verify, "0 3 * * *"),
        AgentJobConfig::usual(JobKind::Prune, "30 3 * * *"),
        AgentJobConfig::usual(JobKind::RestoreTest, "0 5 1 * *"),
    ];
    if context.has_replicas() {
        jobs.push(AgentJobConfig::usual(JobKind::Repair, "0 4 * * *"));
    }
    jobs
}

/// Makes the jobs.
pub(super) fn scheduled(
    context: &Context,
    places: &Places,
    jobs: &[AgentJobConfig],
    notifier: Option<&Arc<dyn Notifier>>,
) -> Result<Vec<ScheduledJob>, CliError> {
    let make = |config| {
        let name: &str = AgentJobConfig::name(config);
        let work = match config.kind {
            JobKind::Summary => summary(context, config, notifier)?,
            _ => work(context, places, config)?,
        };
        Ok(ScheduledJob::new(name.parse().map_err(AgentError::from)?, work, timing(context, config)?))
    };
    jobs.iter().map(make).collect()
}

fn timing(context: &Context, config: &AgentJobConfig) -> Result<Timing, CliError> {
    let zone = config.time_zone.as_deref().or(context.config.agent.time_zone.as_deref()).unwrap_or("UTC");
    let pattern = match &config.schedule {
        Some(pattern) => pattern.as_str(),
        None if config.kind == JobKind::Backup => context.env_file.value("BACKUP_SCHEDULE").unwrap_or(EVERY_SIX_HOURS),
        None => return Err(wrong(config, "it has no `schedule`")),
    };
    let named = |source| AgentError::Schedule { job: config.name().to_owned(), source };
    let schedule = Schedule::new(pattern, zone).map_err(named)?;
    let schedule = schedule.with_jitter(config.jitter.map_or(Duration::ZERO, |jitter| jitter.duration()));
    let mut timing = Timing::new(schedule).with_at_once(config.kind.is_backup());
    let old_name = if config.kind.is_backup() { context.env_file.number("BACKUP_MAX_RETRIES")? } else { None };
    let retries = config.retries.or(old_name).unwrap_or(timing.retries);
    let window = config.window.map_or(timing.window, |window| window.duration());
    timing = timing.with_retries(retries, window);
    if let Some(backoff) = config.backoff {
        timing = timing.with_backoff(backoff.duration());
    }
    if let Some(limit) = config.limit {
        timing = timing.with_limit(limit.duration());
    }
    Ok(timing)
}

fn work(context: &Context, places: &Places, config: &AgentJobConfig) -> Result<Arc<dyn Job>, CliError> {
    Ok(match config.kind {
        JobKind::Backup => {
            let driver = context.driver()?.dump_options(configured_dump(context, config.databases.as_deref()));
            Arc::new(BackupJob::new(Arc::new(driver), configured_backup(context)))
        }
        JobKind::ClusterBackup => cluster_backup(context, config)?,
        JobKind::Check => Arc::new(check(context, places, config)?),
        JobKind::Verify => {
            let level = match config.level {
                Some(VerifyDepth::Scrub) => VerifyLevel::Scrub,
                Some(VerifyDepth::Contents) => VerifyLevel::Contents,
                Some(VerifyDepth::Mac) | None => VerifyLevel::Mac,
            };
            let checker: Arc<dyn DatabaseDriver> = Arc::new(context.driver()?);
            Arc::new(VerifyJob::new(config.backups.unwrap_or_default(), level, Some(checker)))
        }
        JobKind::Repair => match &places.replicated {
            Some(replicated) => {
                let options = RepairOptions::default().with_deep(config.deep.unwrap_or(false));
                Arc::new(RepairJob::new(replicated.clone(), options))
            }
            None => return Err(wrong(config, "the repository has one place only")),
        },
        JobKind::RestoreTest => {
            let random = config.random.unwrap_or(false).then(|| archive(context)).transpose()?;
            Arc::new(RestoreTestJob::new(TestArgs::default().options(context)?, random))
        }
        JobKind::Drill => drill(context, config)?,
        JobKind::Prune => {
            let policy = configured_retention(context)?.policy();
            let policy = policy.map_err(|error| ConfigError::Invalid { message: error.to_string() })?;
            let scratch = Some(context.scratch(None));
            Arc::new(PruneJob::new(policy.into(), PruneOptions::default()).with_scratch(scratch))
        }
        JobKind::WalPrune => Arc::new(WalPruneJob),
        other => return Err(wrong(config, &format!("the kind {other} is not known here"))),
    })
}

fn cluster_backup(context: &Context, config: &AgentJobConfig) -> Result<Arc<dyn Job>, CliError> {
    let source = match (config.remote.unwrap_or(false), &config.data_dir) {
        (true, Some(_)) => return Err(wrong(config, "`remote` and `data_dir` exclude each other")),
        (true, None) => ClusterSource::Server { scratch: context.scratch(None) },
        (false, data) => ClusterSource::Files(data.clone()),
    };
    let backup = &context.config.backup;
    let options =
        ClusterBackupOptions::default().with_codec(backup.codec).with_storage_class(backup.storage_class.clone());
    Ok(Arc::new(ClusterBackupJob::new(context.connection()?, source, options)))
}

fn check(context: &Context, places: &Places, config: &AgentJobConfig) -> Result<CheckJob, CliError> {
    let server = context.names_server().then(|| context.connection()).transpose()?;
    Ok(CheckJob::default()
        .with_places(places.replicated.clone())
        .with_server(server)
        .with_max_age(context.max_age()?)
        .with_wal(config.wal.unwrap_or(false)))
}

fn drill(context: &Context, config: &AgentJobConfig) -> Result<Arc<dyn Job>, CliError> {
    let scenario = config.scenario.unwrap_or(Scenario::Restore);
    let access = archive(context)?;
    let options = DrillOptions::new(scenario, "agent", TestArgs::default().options(context)?)
        .with_archive(access.restore_command, access.environment)
        .with_objectives(objectives(&context.config, scenario));
    Ok(Arc::new(DrillJob::new(scenario, options).with_rehearsal(rehearsal(context, scenario, None)?)))
}

fn summary(
    context: &Context,
    config: &AgentJobConfig,
    notifier: Option<&Arc<dyn Notifier>>,
) -> Result<Arc<dyn Job>, CliError> {
    let notifier = notifier.ok_or_else(|| wrong(config, "there is nobody to tell: write an [agent.notify]"))?;
    let mut job = SummaryJob::new(Arc::clone(notifier), context.host()).with_drills(planned(&context.config));
    if let Some(span) = config.span {
        let span = TimeDelta::from_std(span.duration()).map_err(|_| wrong(config, "`span` is too long"))?;
        job = job.with_span(span);
    }
    Ok(Arc::new(job))
}

fn archive(context: &Context) -> Result<ArchiveAccess, CliError> {
    let (restore_command, environment) = TestArgs::default().archive(context)?;
    Ok(ArchiveAccess { restore_command, environment })
}

fn wrong(config: &AgentJobConfig, what: &str) -> CliError {
    ConfigError::Invalid { message: format!("the job {}: {what}", config.name()) }.into()
}
