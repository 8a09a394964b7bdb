//! `completions`: a script with which a shell completes commands and options.

use clap::Args;
use clap_complete::Shell;
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::output::Report;

/// Print the completions of a shell
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

#[derive(Serialize)]
struct Completions {
    shell: String,
    script: String,
}

impl CompletionsArgs {
    pub(super) fn run(self, _context: &Context) -> Result<Report, CliError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut crate::command(), "erpgo-dr", &mut script);
        let script = String::from_utf8_lossy(&script).into_owned();
        let done = Completions { shell: self.shell.to_string(), script };
        Report::new(&done, done.script.clone(), true)
    }
}
