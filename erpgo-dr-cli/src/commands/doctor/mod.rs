//! `doctor`: looks at everything that a backup or a restore will need, one by one.

mod backups;
mod checks;
mod host;
mod patience;
mod repository;
mod server;
mod storage;

use std::time::Duration;

use clap::Args;
use erpgo_dr_core::retention::RetentionSettings;
use serde::Serialize;

use self::checks::{Checks, Level};
use self::patience::Patience;
use crate::config;
use crate::context::Context;
use crate::error::CliError;
use crate::output::Report;

/// Check configuration, repository, keys, server and this host, and say what to do about what is wrong
///
/// Changes nothing, unless --write is given, and asks for nothing: what a nightly run would lack, is missing here too.
/// Ends with exit code 1 when a check failed; warnings, and what is skipped because it is not configured, do not count.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Try writes too: a small object is made and removed at each place, which also shows its clock
    #[arg(long)]
    write: bool,
    /// How long each check may take
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
}

#[derive(Serialize)]
struct Diagnosis<'a> {
    failed: usize,
    warnings: usize,
    skipped: usize,
    checks: &'a Checks,
}

impl DoctorArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        context.prompts.ask_nobody();
        let patience = Patience(Duration::from_secs(self.timeout));
        let mut checks = Checks::default();
        configuration(context, &mut checks);
        host::check_cpu(&mut checks);
        host::check_leftovers(&mut checks, patience, &context.scratch(None)).await;
        storage::check(context, self.write, patience, &mut checks).await;
        server::check(context, patience, &mut checks).await;
        let [failed, warnings, skipped] = [Level::Fail, Level::Warn, Level::Skip].map(|level| checks.count(level));
        let mut text = checks.render();
        text.push_str(&match (failed, warnings) {
            (0, 0) => format!("all is well, {skipped} skipped\n"),
            _ => format!("{failed} failed, {warnings} warnings, {skipped} skipped\n"),
        });
        Report::new(&Diagnosis { failed, warnings, skipped, checks: &checks }, text, failed == 0)
    }
}

/// What a file that cannot be read says is missing in all other checks, so that it comes first.
fn configuration(context: &Context, checks: &mut Checks) {
    let name = "configuration";
    for fault in &context.faults {
        let next = fault.hint().unwrap_or_else(|| "docs/cli.md has a file with every key".to_owned());
        checks.fail(name, format!("{}; what it says is left out of the checks below", chain(fault)), next);
    }
    if !context.faults.is_empty() {
        return;
    }
    if let Some(Err(error)) = context.config.retention.as_ref().map(RetentionSettings::policy) {
        let next = "say in [retention] what is to be kept: docs/cli.md has each rule";
        return checks.fail(name, format!("[retention]: {error}"), next);
    }
    match config::file(context.global.config.as_deref()) {
        Some(path) => checks.ok(name, format!("{} is read and understood", path.display())),
        None => checks.skip(
            name,
            "no configuration file; all comes from options and the environment",
            "write an erpgo-dr.toml, so that a restore at night needs no memory: docs/cli.md has one with every key",
        ),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
