//! `doctor`: looks at everything that a backup or a restore will need, one by one.

mod checks;
mod host;
mod server;
mod storage;

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use self::checks::{Checks, Level};
use crate::config;
use crate::context::Context;
use crate::error::CliError;
use crate::output::Report;

/// Check configuration, repository, keys, server and this host, and say what to do about what is wrong
///
/// Changes nothing, unless --write is given. Ends with exit code 1 when a check failed; warnings do not count.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Try writes too: a small object is made and removed at each place, which also shows its clock
    #[arg(long)]
    write: bool,
    /// How long each place may take to answer
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
}

#[derive(Serialize)]
struct Diagnosis<'a> {
    failed: usize,
    warnings: usize,
    checks: &'a Checks,
}

impl DoctorArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let mut checks = Checks::default();
        configuration(context, &mut checks);
        host::check_cpu(&mut checks);
        storage::check(context, self.write, Duration::from_secs(self.timeout), &mut checks).await;
        server::check(context, &mut checks).await;
        let (failed, warnings) = (checks.count(Level::Fail), checks.count(Level::Warn));
        let mut text = checks.render();
        text.push_str(&match (failed, warnings) {
            (0, 0) => "all is well\n".to_owned(),
            _ => format!("{failed} failed, {warnings} warnings\n"),
        });
        if !self.write {
            text.push_str("writes and the clocks of the places were not tried: --write does\n");
        }
        Report::new(&Diagnosis { failed, warnings, checks: &checks }, text, failed == 0)
    }
}

/// A file that cannot be read has already ended the program, with its line.
fn configuration(context: &Context, checks: &mut Checks) {
    match config::file(context.global.config.as_deref()) {
        Some(path) => checks.ok("configuration", format!("{} is read and understood", path.display())),
        None => checks.warn(
            "configuration",
            "no configuration file; all comes from options and the environment",
            "write an erpgo-dr.toml, so that a restore at night needs no memory: docs/cli.md has one with every key",
        ),
    }
}
