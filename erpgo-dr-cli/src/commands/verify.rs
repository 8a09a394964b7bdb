//! `verify`: proves backups, as deep as asked.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use erpgo_dr_core::ops::physical::random_moment;
use erpgo_dr_core::ops::{self, ReplayTest, RestoreTestOptions, SqlCheck, VerifyOptions};
use erpgo_dr_core::postgres::throwaway::RunAs;
use erpgo_dr_core::repository::{Catalogue, CatalogueProblem, Verdict, VerifyLevel};
use erpgo_dr_core::types::{BackupId, Lsn};
use erpgo_dr_core::{DatabaseDriver, Repository};
use serde::Serialize;

use super::list::problems;
use super::show::restored_in;
use crate::context::{Access, Context, find};
use crate::error::CliError;
use crate::output::{Report, seconds};

/// Prove that backups can be trusted and restored
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Backups: identifiers or beginnings of them, `latest`, `latest-proven` [default: latest]
    #[arg(value_name = "BACKUP")]
    backups: Vec<String>,
    /// Every backup of the repository
    #[arg(long, conflicts_with_all = ["backups", "latest"])]
    all: bool,
    /// The newest backup
    #[arg(long, conflicts_with = "backups")]
    latest: bool,
    /// How deep
    #[arg(long, value_name = "LEVEL", default_value = "mac")]
    level: Level,
    /// Restore into a throwaway server, and compare every table with what it was
    #[arg(long, conflicts_with = "level")]
    restore: bool,
    /// With --restore: a physical backup by lot, and a position of the archived WAL behind it, to which it is replayed
    ///
    /// The verdict says which (`backup`, `replayed_to`): BACKUP and --replay-to repeat it.
    #[arg(long, requires = "restore", conflicts_with_all = ["backups", "all", "latest"])]
    random: bool,
    /// With --restore: replay the archived WAL behind a physical backup to this position, on the backup's timeline
    #[arg(long, value_name = "LSN", requires = "restore", conflicts_with_all = ["all", "random"])]
    replay_to: Option<Lsn>,
    #[command(flatten)]
    test: TestArgs,
}

/// How a restore test is made.
#[derive(Debug, Args)]
struct TestArgs {
    /// With --restore: where the throwaway server keeps its data, in the clear [default: the temporary folder]
    #[arg(long, value_name = "FOLDER", env = "ERPGO_DR_SCRATCH", hide_env_values = true)]
    scratch: Option<PathBuf>,
    /// With --restore: the account it runs as [default: postgres, for root]
    #[arg(long, value_name = "USER")]
    run_as: Option<String>,
    /// With --random or --replay-to: PostgreSQL's restore_command, which fetches WAL [default: this program's `wal fetch`]
    #[arg(long, value_name = "COMMAND")]
    restore_command: Option<String>,
    /// With --restore: restore jobs at once
    #[arg(short, long, value_name = "N")]
    jobs: Option<usize>,
    /// With --restore: what must hold too: a query whose first column is true
    #[arg(long, value_name = "NAME:DATABASE:SQL", value_parser = parse_check)]
    check: Vec<SqlCheck>,
}

/// How deep a verification goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Level {
    /// Compare stored bytes with their recorded hashes; needs no key
    Scrub,
    /// Check every MAC, and read the table of contents
    Mac,
    /// Read every row, and compare counts and checksums
    Contents,
}

/// What was found, by whatever means.
#[derive(Serialize)]
struct Verified {
    passed: bool,
    verdicts: Vec<Verdict>,
    problems: Vec<CatalogueProblem>,
}

impl VerifyArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let access = if self.level == Level::Scrub { Access::KeysIfAtHand } else { Access::Unlocked };
        let repository = context.repository(access).await?;
        let catalogue = repository.catalogue().await?;
        let (wanted, until) = match self.random {
            true => {
                let moment = random_moment(&repository).await?;
                (vec![moment.backup], moment.until)
            }
            false => (self.wanted(&catalogue)?, self.replay_to),
        };
        let verdicts = match (wanted.is_empty(), self.restore) {
            // To the library no backups are all backups.
            (true, _) => Vec::new(),
            (false, true) => self.restore_tests(context, &repository, &wanted, until).await?,
            (false, false) => self.verify(context, &repository, &wanted).await?,
        };
        let mut text: String = verdicts.iter().map(describe_verdict).collect();
        if verdicts.is_empty() {
            text.push_str("no backups to verify\n");
        }
        text.push_str(&problems(&catalogue.problems));
        let passed = catalogue.problems.is_empty() && verdicts.iter().all(|verdict| verdict.passed);
        let recorded = verdicts.iter().all(|verdict| verdict.unrecorded.is_none());
        Report::new(&Verified { passed, verdicts, problems: catalogue.problems }, text, passed && recorded)
    }

    fn wanted(&self, catalogue: &Catalogue) -> Result<Vec<BackupId>, CliError> {
        if self.all {
            return Ok(catalogue.entries.iter().map(|entry| entry.id().clone()).collect());
        }
        let latest = ["latest".to_owned()];
        let named = if self.backups.is_empty() { &latest[..] } else { &self.backups[..] };
        named.iter().map(|text| Ok(find(catalogue, text)?.id().clone())).collect()
    }

    async fn verify(
        &self,
        context: &Context,
        repository: &Repository,
        wanted: &[BackupId],
    ) -> Result<Vec<Verdict>, CliError> {
        let level = match self.level {
            Level::Scrub => VerifyLevel::Scrub,
            Level::Mac => VerifyLevel::Mac,
            Level::Contents => VerifyLevel::Contents,
        };
        let driver = context.driver()?;
        let options = VerifyOptions::default().with_level(level);
        let checker: Option<&dyn DatabaseDriver> = Some(&driver);
        Ok(ops::verify(repository, wanted, checker, &options, context.progress()).await?.verdicts)
    }

    async fn restore_tests(
        &self,
        context: &Context,
        repository: &Repository,
        wanted: &[BackupId],
        until: Option<Lsn>,
    ) -> Result<Vec<Verdict>, CliError> {
        let replay = until.map(|until| self.test.replay(context, until)).transpose()?;
        let options = self.test.options(context)?.with_replay(replay);
        context.sweep_scratch(&options.scratch).await;
        let mut verdicts = Vec::new();
        for id in wanted {
            verdicts.push(ops::restore_test(repository, id, &options, context.progress()).await?);
        }
        Ok(verdicts)
    }
}

impl TestArgs {
    /// Replays to a position with this program's `wal fetch`, unless another command is named.
    fn replay(&self, context: &Context, until: Lsn) -> Result<ReplayTest, CliError> {
        let restore_command = match &self.restore_command {
            Some(command) => command.clone(),
            None => {
                let command = context.wal_fetch_command()?;
                if let Some(account) = self.account(context)? {
                    command.warnings(account).iter().for_each(|warning| context.output.warn(warning));
                }
                command.line
            }
        };
        Ok(ReplayTest { until, restore_command, environment: context.wal_environment() })
    }

    fn account(&self, context: &Context) -> Result<Option<RunAs>, CliError> {
        let account = self.run_as.as_deref().or(context.config.verify.run_as.as_deref());
        Ok(account.map(RunAs::from_user_name).transpose()?)
    }

    fn options(&self, context: &Context) -> Result<RestoreTestOptions, CliError> {
        let config = &context.config.verify;
        let scratch = context.scratch(self.scratch.as_deref());
        let account = self.account(context)?;
        let checks = context.config.checks.iter().chain(&self.check).cloned().collect();
        Ok(RestoreTestOptions::new(context.programs(), scratch)
            .with_run_as(account)
            .with_jobs(self.jobs.or(config.jobs).unwrap_or(1))
            .with_roles(config.roles.clone())
            .with_checks(checks))
    }
}

/// Says in words what a verification found.
pub(super) fn describe_verdict(verdict: &Verdict) -> String {
    let word = if verdict.passed { "ok" } else { "FAILED" };
    let took = seconds(verdict.seconds);
    let replayed = verdict.replayed_to.map_or_else(String::new, |until| format!(", replayed to {until}"));
    let how = format!("{}{replayed}", verdict.level);
    let mut text = format!("verify {} ({how}): {word} in {took}{}\n", verdict.backup, restored_in(verdict));
    for finding in &verdict.findings {
        text.push_str(&format!("  FOUND: {finding}\n"));
    }
    if let Some(reason) = &verdict.unrecorded {
        text.push_str(&format!("  NOT RECORDED: {reason}\n"));
    }
    text
}

fn parse_check(text: &str) -> Result<SqlCheck, String> {
    let mut parts = text.splitn(3, ':');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(name), Some(database), Some(query)) if !query.trim().is_empty() => {
            Ok(SqlCheck { name: name.to_owned(), database: database.to_owned(), query: query.to_owned() })
        }
        _ => Err("expected NAME:DATABASE:SQL".to_owned()),
    }
}
