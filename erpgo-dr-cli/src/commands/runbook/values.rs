//! The values of a runbook's variables: from the command line, the environment, files and the configuration.

use std::path::PathBuf;

use clap::Args;
use erpgo_dr_core::runbook::{Beginning, Runbook, RunbookError, Value, Values, VariableKind};
use secrecy::ExposeSecret as _;

use crate::context::{Context, first_line, refuse_password};
use crate::error::CliError;

/// Where values come from. Later ones win: the configuration, then these in the order of this list.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ValueOptions {
    /// The value of a variable, which everybody on this host can read: no secret; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
    /// The first line of a file as the value of a variable, for secrets; may be given several times
    #[arg(long, value_name = "NAME=FILE", value_parser = pair)]
    set_file: Vec<(String, String)>,
    /// A variable of the environment as the value of a variable, for secrets; may be given several times
    #[arg(long, value_name = "NAME=VARIABLE", value_parser = pair)]
    set_env: Vec<(String, String)>,
}

/// Reads `NAME=VALUE`.
pub(in crate::commands) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=...")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl ValueOptions {
    /// Returns all values that are known; some may be missing.
    pub(super) fn values(&self, context: &Context, runbook: &Runbook) -> Result<Values, CliError> {
        let mut texts: Vec<(String, String)> = Vec::new();
        let known = |name: &&String| runbook.variables.contains_key(*name);
        for name in context.config.runbook.variables.keys().filter(known) {
            texts.push((name.clone(), context.config.runbook.variables[name].clone()));
        }
        texts.extend(secrets_of_configuration(context, runbook)?);
        texts.extend(self.given(runbook)?);
        let mut values = runbook.some_values(texts.iter().map(|(name, text)| (name.as_str(), text.as_str())))?;
        complete(context, &mut values);
        Ok(values)
    }

    /// Returns the values that a run needs to go on: what its journal was not told, and what is given now.
    pub(super) fn values_of_run(
        &self,
        context: &Context,
        runbook: &Runbook,
        beginning: &Beginning,
    ) -> Result<Values, CliError> {
        let mut values = Values::default();
        for (name, recorded) in beginning.values.iter().filter(|(_, recorded)| recorded.withheld) {
            if let Some(text) = &recorded.value {
                values.set(name, recorded.kind.parse(name, text).map_err(RunbookError::from)?);
            }
        }
        let given = secrets_of_configuration(context, runbook)?.into_iter().chain(self.given(runbook)?);
        for (name, text) in given {
            let kind = kind(runbook, &name)?;
            values.set(name.clone(), kind.parse(&name, &text).map_err(RunbookError::from)?);
        }
        complete(context, &mut values);
        Ok(values)
    }

    /// Reads what the options name.
    fn given(&self, runbook: &Runbook) -> Result<Vec<(String, String)>, CliError> {
        let mut given = Vec::new();
        for (name, text) in &self.set {
            match kind(runbook, name)? {
                VariableKind::Secret => {
                    return Err(CliError::usage(
                        format!("{name} is a secret, which every user of this host can read in the list of processes"),
                        format!("--set-file {name}=FILE or --set-env {name}=VARIABLE"),
                    ));
                }
                VariableKind::Server => refuse_password(text)?,
                _ => {}
            }
            given.push((name.clone(), text.clone()));
        }
        for (name, path) in &self.set_file {
            given.push((name.clone(), first_line(&PathBuf::from(path))?.expose_secret().to_owned()));
        }
        for (name, variable) in &self.set_env {
            let text = std::env::var(variable).map_err(|_| {
                CliError::usage(format!("the environment has no {variable}"), "set it, or name another one")
            })?;
            given.push((name.clone(), text));
        }
        Ok(given)
    }
}

fn kind(runbook: &Runbook, name: &str) -> Result<VariableKind, CliError> {
    let unknown = || RunbookError::UnknownVariable { name: name.to_owned() };
    Ok(runbook.variables.get(name).ok_or_else(unknown)?.kind)
}

fn secrets_of_configuration(context: &Context, runbook: &Runbook) -> Result<Vec<(String, String)>, CliError> {
    let secrets = context.config.runbook.secrets.iter().filter(|(name, _)| runbook.variables.contains_key(*name));
    secrets.map(|(name, path)| Ok((name.clone(), first_line(path)?.expose_secret().to_owned()))).collect()
}

/// Gives servers the password that the environment or a file of passwords has for them.
fn complete(context: &Context, values: &mut Values) {
    let servers: Vec<(String, Value)> = values
        .iter()
        .filter_map(|(name, value)| match value {
            Value::Server(settings) => {
                let settings = context.with_password(settings.as_ref().clone());
                Some((name.to_owned(), Value::Server(Box::new(settings))))
            }
            _ => None,
        })
        .collect();
    for (name, value) in servers {
        values.set(name, value);
    }
}
