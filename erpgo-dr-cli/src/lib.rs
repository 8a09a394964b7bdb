//! The command line tool `erpgo-dr` as a library: a thin layer that parses, calls `erpgo-dr-core` and prints.
//!
//! What decides something belongs into the core; what is here turns arguments, environment and a configuration
//! file into its options, and its reports into text or JSON. `docs/cli.md` is the reference.

#![forbid(unsafe_code)]

mod cli;
mod commands;
pub mod config;
mod context;
mod demo;
mod error;
mod logging;
mod output;
mod progress;
mod signals;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::CommandFactory as _;

use crate::cli::Cli;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Output, Report};

/// Returns the definition of the whole command line: for completions, man pages and whoever documents it.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the tool with these arguments, the program's name first, and returns its exit code.
///
/// Results go to standard output, everything else to standard error.
pub fn run(arguments: impl IntoIterator<Item = impl Into<OsString>>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    let wants_json = arguments.iter().any(|argument| argument == "--json") || json_by_environment();
    let asks_for_wal = ["wal", "fetch"].iter().all(|word| arguments.iter().any(|argument| argument == word));
    let parsed = Cli::command().try_get_matches_from(arguments).and_then(|matches| Cli::from_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return refuse(&error, wants_json, error::code_offset(asks_for_wal)),
    };
    let output = Output::new(&cli.global, cli.command.name(), cli.command.is_service());
    logging::install(&cli.global, &output);
    let run = std::panic::AssertUnwindSafe(|| execute(cli, &output));
    let outcome = std::panic::catch_unwind(run).unwrap_or_else(|panic| {
        // The code of a panic, 101, would be the end of the log to PostgreSQL; elsewhere it is as good as any.
        let unexpected = || error::io("go on", std::io::Error::other("this program failed in a way it did not expect"));
        if output.hides_no_fault() { Err(unexpected()) } else { std::panic::resume_unwind(panic) }
    });
    output.finish(outcome)
}

/// Returns whether the environment asks for JSON, for when the command line cannot be read.
fn json_by_environment() -> bool {
    std::env::var("ERPGO_DR_JSON")
        .is_ok_and(|value| !["", "0", "false", "no", "off", "n", "f"].contains(&value.as_str()))
}

/// Prints what clap has to say: help and version are results, everything else is an error of usage.
fn refuse(error: &clap::Error, wants_json: bool, code_offset: u8) -> ExitCode {
    if wants_json && error.use_stderr() {
        return output::refuse_as_json(&error.to_string(), code_offset);
    }
    // Nobody is left to tell when even this cannot be printed.
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(code_offset + error::USAGE) } else { ExitCode::SUCCESS }
}

fn execute(cli: Cli, output: &Output) -> Result<Report, CliError> {
    let mut context = Context::new(cli.global, output.clone());
    if !cli.command.looks_for_faults()
        && let Some(fault) = context.faults.pop()
    {
        return Err(fault.into());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| error::io("start the runtime", source))?;
    let outcome = runtime.block_on(signals::run(cli.command.run(&context), &context));
    // A prompt may still wait for its answer on a thread of its own.
    runtime.shutdown_background();
    outcome
}
