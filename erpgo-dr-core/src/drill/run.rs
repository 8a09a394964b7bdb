//! Does a drill: stage, blow, runbook, score.

use std::sync::Arc;

use super::DrillError;
use super::blow::strike;
use super::cast::{APPLICATION_ROLE, Cast};
use super::prompter::Prompter;
use super::score::score;
use super::stage::Stage;
use crate::causes::chain;
use crate::ops::drill::{self as drills, DrillOptions, Objectives, Scenario, newest_restore_point};
use crate::ops::{self, ErrorKind};
use crate::postgres::PostgresError;
use crate::progress::Progress;
use crate::repository::{DrillRecord, Repository};
use crate::runbook::{RunObserver, RunOptions, Runbook, RunbookError, Surroundings, report, run_runbook, shipped};

/// What is rehearsed where a scenario has a runbook.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Rehearsal {
    /// The runbook; without it the one that comes with the tool.
    pub runbook: Option<Runbook>,
    /// Values of variables that the drill does not know, for a runbook of one's own.
    pub values: Vec<(String, String)>,
    /// Whether programs are run that the drill has not put in place of others: without a network, as the account of the servers. They
    /// can write wherever that account can.
    pub with_programs: bool,
}

impl Rehearsal {
    /// Rehearses this runbook.
    pub fn with_runbook(mut self, runbook: Option<Runbook>) -> Self {
        self.runbook = runbook;
        self
    }

    /// Gives variables values that the drill does not know.
    pub fn with_values(mut self, values: Vec<(String, String)>) -> Self {
        self.values = values;
        self
    }

    /// Sets whether programs are run that are not the drill's own.
    pub fn with_programs(mut self, wanted: bool) -> Self {
        self.with_programs = wanted;
        self
    }
}

/// Returns what a runbook of a drill has to reach: what is said beforehand, then what the runbook says.
fn objectives(options: &DrillOptions, runbook: &Runbook, scenario: Scenario) -> Objectives {
    let usual = scenario.objectives();
    let said = |given: Option<std::time::Duration>, usual, own: Option<crate::runbook::Span>| match own {
        Some(own) if given == usual => Some(own.duration()),
        _ => given,
    };
    Objectives::new(
        said(options.objectives.rto, usual.rto, runbook.objectives.rto),
        said(options.objectives.rpo, usual.rpo, runbook.objectives.rpo),
    )
}

/// Rehearses a scenario, scores it, and writes down what it showed.
///
/// Where the scenario has a runbook, servers are made from the newest restore point in the scratch folder: they have no address, archive
/// nothing, follow only each other, and have no network where the kernel allows it. The runbook is run on them, and its journal,
/// backups and evidence go with them. Of production nothing is given to it.
///
/// # Errors
/// [`DrillError::Leaves`] and [`DrillError::NotSealed`] before anything is broken; what hinders the work. That a step failed, or an
/// objective was missed, is in the record.
pub async fn run_drill(
    repository: &Repository,
    scenario: Scenario,
    options: &DrillOptions,
    rehearsal: &Rehearsal,
    observer: &dyn RunObserver,
    progress: &dyn Progress,
) -> Result<DrillRecord, DrillError> {
    let Some((runbook, is_own)) = runbook_of(scenario, rehearsal)? else {
        return Ok(drills::run_drill(repository, scenario, options, progress).await?);
    };
    runbook.check()?;
    let clock = &repository.environment().clock;
    let catalogue = repository.catalogue().await?;
    let entry = newest_restore_point(&catalogue)?;
    let mut record = drills::empty(scenario, &options.by, clock.now(), objectives(options, &runbook, scenario));
    (record.runbook, record.own_runbook) = (Some(runbook.name.to_string()), is_own);
    record.backups.push(entry.id().clone());
    match Stage::set(repository, entry, scenario, options, progress).await {
        Ok(stage) => {
            let play = Play { scenario, options, rehearsal, runbook: &runbook, is_own };
            let played = play.on(&stage, &mut record, observer, progress).await;
            let cleared = stage.clear().await;
            played?;
            cleared?;
        }
        // That it cannot be restored at all is the worst that a drill can show.
        Err(DrillError::Operation(error)) if says_of_backup(&error) => {
            record.findings.push(format!("{}: {}", entry.id(), chain(&error)));
        }
        Err(error) => return Err(error),
    }
    record.ended = clock.now();
    repository.record_drill(&record).await?;
    Ok(record)
}

fn says_of_backup(error: &ops::Error) -> bool {
    matches!(error.kind(), ErrorKind::Integrity | ErrorKind::NotFound | ErrorKind::Archived)
        && !matches!(error, ops::Error::Postgres(PostgresError::NoClientProgram { .. }))
}

/// Returns the runbook of a scenario, and whether it is another text than the one that comes with the tool.
pub(super) fn runbook_of(scenario: Scenario, rehearsal: &Rehearsal) -> Result<Option<(Runbook, bool)>, DrillError> {
    let Some(name) = scenario.runbook() else { return Ok(None) };
    let text = shipped().find(|(shipped, _)| *shipped == name).map(|(_, text)| text).unwrap_or_default();
    Ok(Some(match &rehearsal.runbook {
        Some(own) => (own.clone(), own.text() != text),
        None => (Runbook::from_toml(text)?, false),
    }))
}

/// A runbook, on a stage.
struct Play<'a> {
    scenario: Scenario,
    options: &'a DrillOptions,
    rehearsal: &'a Rehearsal,
    runbook: &'a Runbook,
    is_own: bool,
}

impl Play<'_> {
    async fn on(
        &self,
        stage: &Stage,
        record: &mut DrillRecord,
        observer: &dyn RunObserver,
        progress: &dyn Progress,
    ) -> Result<(), DrillError> {
        self.look_beforehand(stage)?;
        if self.is_own && stage.seal.is_none() {
            return Err(DrillError::NotSealed);
        }
        if self.scenario == Scenario::SecurityBreach {
            make_role(stage).await?;
        }
        let test = &self.options.test;
        let blow = strike(stage, self.scenario, test, progress).await?;
        let cast = Cast::of(self.scenario, stage, blow.pid, Some(&blow));
        let values = cast.values(self.runbook, &self.rehearsal.values)?;
        let confinement = cast.confinement(stage, self.rehearsal.with_programs);
        let prompter = Arc::new(Prompter { name: self.options.by.clone() });
        let surroundings = Surroundings::new(Arc::clone(&stage.repository), prompter)
            .with_programs(test.programs.clone())
            .with_environment(stage.environment(test))
            .with_confinement(Some(Arc::new(confinement)));
        let options = RunOptions::default().with_drill(true).with_incident(Some(blow.incident));
        let standing = run_runbook(self.runbook, values, &surroundings, &options, observer).await?;
        let report = report(&stage.repository, &standing.run).await?;
        score(record, self.scenario, stage, &blow, &report).await;
        Ok(())
    }

    /// Refuses what would leave the stage, while nothing is broken yet.
    fn look_beforehand(&self, stage: &Stage) -> Result<(), DrillError> {
        let cast = Cast::of(self.scenario, stage, stage.primary.pid(), None);
        let values = cast.values(self.runbook, &self.rehearsal.values)?;
        let faults = cast.confinement(stage, self.rehearsal.with_programs).faults(self.runbook, &values);
        if !faults.is_empty() {
            return Err(DrillError::Leaves { runbook: self.runbook.name.clone(), faults });
        }
        let missing: Vec<String> = self.runbook.unset(&values).map(str::to_owned).collect();
        match missing.is_empty() {
            true => Ok(()),
            false => Err(RunbookError::MissingValues { names: missing }.into()),
        }
    }
}

/// Makes the role that gets a new password.
async fn make_role(stage: &Stage) -> Result<(), DrillError> {
    let client = stage.primary.settings(&stage.database).connect().await?;
    let made = client.batch_execute(&format!("CREATE ROLE {APPLICATION_ROLE} LOGIN")).await;
    let made = made.map_err(client.query_error("make the role of the application"));
    client.close().await;
    Ok(made?)
}
