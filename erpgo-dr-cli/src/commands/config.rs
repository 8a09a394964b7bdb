//! `config`: what the configuration file can say, and whether one makes sense.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::config::{self, Config, ConfigError};
use crate::context::Context;
use crate::error::CliError;
use crate::output::Report;

/// Check erpgo-dr.toml, or print the schema by which editors check it
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    action: ConfigAction,
}

#[derive(Debug, Subcommand)]
enum ConfigAction {
    /// Check a configuration without touching anything; ends with 1 if something in it cannot work
    Check(CheckArgs),
    /// Print the JSON Schema of erpgo-dr.toml
    Schema,
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// The file [default: the one that commands would read]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Serialize)]
struct Checked {
    file: String,
    /// What cannot work.
    faults: Vec<String>,
}

#[derive(Serialize)]
struct Printed {
    /// A JSON Schema of the draft 2020-12.
    schema: schemars::Schema,
}

impl ConfigArgs {
    pub(super) fn name(&self) -> &'static str {
        match self.action {
            ConfigAction::Check(_) => "config check",
            ConfigAction::Schema => "config schema",
        }
    }

    pub(super) fn run(self, context: &Context) -> Result<Report, CliError> {
        match self.action {
            ConfigAction::Check(arguments) => check(arguments.file, context),
            ConfigAction::Schema => schema(),
        }
    }
}

fn check(file: Option<PathBuf>, context: &Context) -> Result<Report, CliError> {
    let named = file.or_else(|| context.global.config.clone());
    let Some(path) = config::file(named.as_deref()) else {
        return Err(CliError::usage(
            "there is no configuration file",
            "name one, or write ./erpgo-dr.toml, ~/.config/erpgo-dr/erpgo-dr.toml or /etc/erpgo-dr.toml",
        ));
    };
    let faults = config::load(Some(&path))?.faults();
    let mut text: String = faults.iter().map(|fault| format!("{fault}\n")).collect();
    if faults.is_empty() {
        text = format!("{} makes sense\n", path.display());
    }
    let ok = faults.is_empty();
    Report::new(&Checked { file: path.display().to_string(), faults }, text, ok)
}

fn schema() -> Result<Report, CliError> {
    let mut schema = schemars::schema_for!(Config);
    schema.insert("title".to_owned(), "erpgo-dr.toml".into());
    let text = serde_json::to_string_pretty(&schema)
        .map_err(|error| ConfigError::Invalid { message: format!("its schema cannot be written: {error}") })?;
    Report::new(&Printed { schema }, format!("{text}\n"), true)
}
