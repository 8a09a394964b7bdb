//! Which runbook, and which run, is meant.

use std::path::{Path, PathBuf};

use erpgo_dr_core::Repository;
use erpgo_dr_core::runbook::{Ending, Event, Runbook, list_runs, read_journal, shipped};
use erpgo_dr_core::types::RunId;

use crate::context::Context;
use crate::error::{self, CliError};

/// A runbook, and where it was found.
pub(in crate::commands) struct Found {
    pub(in crate::commands) runbook: Runbook,
    /// The file; `None` for one that comes with the tool.
    pub(super) path: Option<PathBuf>,
}

/// Finds a runbook: a file, one of the configured folder, or one that comes with the tool.
pub(in crate::commands) fn find(context: &Context, name: &str) -> Result<Found, CliError> {
    if name.contains('/') || name.ends_with(".toml") {
        return read(Path::new(name));
    }
    let own = context.config.runbook.folder.as_ref().map(|folder| folder.join(format!("{name}.toml")));
    if let Some(path) = own.filter(|path| path.exists()) {
        return read(&path);
    }
    let text = shipped().find(|(shipped, _)| *shipped == name).map(|(_, text)| text);
    let text = text.ok_or_else(|| {
        CliError::usage(
            format!("there is no runbook {name}"),
            "`erpgo-dr runbook list` lists them; a path names any file",
        )
    })?;
    Ok(Found { runbook: Runbook::from_toml(text)?, path: None })
}

fn read(path: &Path) -> Result<Found, CliError> {
    let text = std::fs::read_to_string(path).map_err(error::reading(path))?;
    Ok(Found { runbook: Runbook::from_toml(&text)?, path: Some(path.to_owned()) })
}

/// A runbook, or a file that is none and why.
pub(super) type Listed = Result<Found, (PathBuf, CliError)>;

/// Lists the runbooks of the configured folder, and then those that come with the tool and are not replaced by one of these.
pub(super) fn all(context: &Context) -> Result<Vec<Listed>, CliError> {
    let mut found = Vec::new();
    if let Some(folder) = &context.config.runbook.folder {
        let entries = std::fs::read_dir(folder).map_err(error::reading(folder))?;
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
        paths.sort();
        found.extend(paths.into_iter().map(|path| read(&path).map_err(|error| (path, error))));
    }
    let own = |name: &str| {
        context.config.runbook.folder.as_ref().is_some_and(|folder| folder.join(format!("{name}.toml")).exists())
    };
    for (name, text) in shipped() {
        if !own(name) {
            found.push(Ok(Found { runbook: Runbook::from_toml(text)?, path: None }));
        }
    }
    Ok(found)
}

/// Finds a run: `latest`, its identifier, or a beginning of one that only one run has.
pub(super) async fn find_run(repository: &Repository, text: &str) -> Result<RunId, CliError> {
    if let Ok(run) = text.parse() {
        return Ok(run);
    }
    let runs = list_runs(repository).await?;
    if text == "latest" {
        return latest(repository, runs).await;
    }
    if text == "open" {
        return open(repository, runs).await;
    }
    let mut named = runs.iter().filter(|run| run.as_str().starts_with(text));
    match (named.next(), named.next()) {
        (Some(run), None) => Ok(run.clone()),
        (Some(_), Some(_)) => Err(CliError::usage(
            format!("several runs begin with {text}"),
            "`erpgo-dr runbook runs` shows their whole identifiers",
        )),
        (None, _) => Err(no_run(text)),
    }
}

/// Finds the newest run that has not ended: one that stopped, was cut off, or goes on.
async fn open(repository: &Repository, runs: Vec<RunId>) -> Result<RunId, CliError> {
    for run in runs.into_iter().rev() {
        let entries = read_journal(repository, &run).await?;
        let ended = matches!(
            entries.last().map(|entry| &entry.event),
            Some(Event::Finished { ending: Ending::Completed | Ending::Undone, .. })
        );
        if !ended {
            return Ok(run);
        }
    }
    Err(CliError::usage("no run is open", "`erpgo-dr runbook runs` lists the runs, and how they stand"))
}

/// Finds the run that began last. Identifiers tell that to the second only.
async fn latest(repository: &Repository, runs: Vec<RunId>) -> Result<RunId, CliError> {
    let Some(last) = runs.last().map(RunId::time) else { return Err(no_run("yet")) };
    let mut newest = None;
    for run in runs.into_iter().filter(|run| run.time() == last) {
        let began = read_journal(repository, &run).await.ok().and_then(|entries| Some(entries.first()?.at));
        if newest.as_ref().is_none_or(|(found, _)| began >= *found) {
            newest = Some((began, run));
        }
    }
    newest.map(|(_, run)| run).ok_or_else(|| no_run("yet"))
}

fn no_run(text: &str) -> CliError {
    CliError::usage(format!("there is no run {text}"), "`erpgo-dr runbook runs` lists the runs")
}
