//! `verify`: proves backups, as deep as asked.

use clap::{Args, ValueEnum};
use erpgo_dr_core::ops::physical::random_moment;
use erpgo_dr_core::ops::{self, ReplayTest, VerifyOptions};
use erpgo_dr_core::repository::{Catalogue, CatalogueProblem, Verdict, VerifyLevel};
use erpgo_dr_core::types::{BackupId, Lsn};
use erpgo_dr_core::{DatabaseDriver, Repository};
use serde::Serialize;

use super::list::problems;
use super::restore_tests::TestArgs;
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

    fn replay(&self, context: &Context, until: Lsn) -> Result<ReplayTest, CliError> {
        let (restore_command, environment) = self.test.archive(context)?;
        Ok(ReplayTest { until, restore_command, environment })
    }

    async fn restore_tests(
        &self,
        context: &Context,
        repository: &Repository,
        wanted: &[BackupId],
        until: Option<Lsn>,
    ) -> Result<Vec<Verdict>, CliError> {
        let replay = until.map(|until| self.replay(context, until)).transpose()?;
        let options = self.test.options(context)?.with_replay(replay);
        context.sweep_scratch(&options.scratch).await;
        let mut verdicts = Vec::new();
        for id in wanted {
            verdicts.push(ops::restore_test(repository, id, &options, context.progress()).await?);
        }
        Ok(verdicts)
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
