//! How restores are tested on throwaway servers.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use erpgo_dr_core::ops::{RestoreTestOptions, SqlCheck};
use erpgo_dr_core::postgres::throwaway::RunAs;

use super::parse_check;
use crate::context::Context;
use crate::error::CliError;

/// How a restore test is made.
#[derive(Debug, Default, Args)]
pub(super) struct TestArgs {
    /// Where a throwaway server keeps its data, in the clear [default: the temporary folder]
    #[arg(long, value_name = "FOLDER", env = "ERPGO_DR_SCRATCH", hide_env_values = true)]
    scratch: Option<PathBuf>,
    /// The account that it runs as [default: postgres, for root]
    #[arg(long, value_name = "USER")]
    run_as: Option<String>,
    /// PostgreSQL's restore_command, which fetches WAL [default: this program's `wal fetch`]
    #[arg(long, value_name = "COMMAND")]
    restore_command: Option<String>,
    /// Restore jobs at once
    #[arg(short, long, value_name = "N")]
    jobs: Option<usize>,
    /// What must hold in what was restored: a query whose first column is true
    #[arg(long, value_name = "NAME:DATABASE:SQL", value_parser = parse_check)]
    check: Vec<SqlCheck>,
}

impl TestArgs {
    /// Returns how log is fetched, and the variables that this needs: with this program's `wal fetch`, unless another command is named.
    pub(super) fn archive(&self, context: &Context) -> Result<(String, Vec<(OsString, OsString)>), CliError> {
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
        Ok((restore_command, context.wal_environment()))
    }

    fn account(&self, context: &Context) -> Result<Option<RunAs>, CliError> {
        let account = self.run_as.as_deref().or(context.config.verify.run_as.as_deref());
        Ok(account.map(RunAs::from_user_name).transpose()?)
    }

    pub(super) fn options(&self, context: &Context) -> Result<RestoreTestOptions, CliError> {
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
