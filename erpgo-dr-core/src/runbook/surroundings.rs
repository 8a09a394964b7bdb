//! What a run works with beside the runbook and its values.

use std::ffi::OsString;
use std::sync::Arc;

use super::confinement::Confinement;
use super::escalation::Escalation;
use super::operator::Operator;
use crate::postgres::ClientPrograms;
use crate::progress::{NoProgress, Progress};
use crate::repository::Repository;

/// The repository, the programs and the person that a run works with. Cloning shares them.
#[derive(Clone)]
#[non_exhaustive]
pub struct Surroundings {
    /// Where the journal goes, and backups come from.
    pub repository: Arc<Repository>,
    /// Who answers.
    pub operator: Arc<dyn Operator>,
    /// PostgreSQL's client programs.
    pub programs: ClientPrograms,
    /// The environment of programs that are started; nothing of our own is handed on.
    pub environment: Vec<(OsString, OsString)>,
    /// The command by which a restored server fetches its log from the archive.
    pub restore_command: Option<String>,
    /// What shows the progress of long steps.
    pub progress: Arc<dyn Progress>,
    /// Who is told when a run takes long.
    pub escalation: Option<Arc<Escalation>>,
    /// What a drill may touch; a run that is none may touch everything.
    pub confinement: Option<Arc<Confinement>>,
}

impl Surroundings {
    /// Works with a repository and an operator, with programs where packages put them, and without an environment.
    pub fn new(repository: Arc<Repository>, operator: Arc<dyn Operator>) -> Self {
        let (programs, environment) = (ClientPrograms::new(), Vec::new());
        let (restore_command, progress) = (None, Arc::new(NoProgress));
        let (escalation, confinement) = (None, None);
        Self { repository, operator, programs, environment, restore_command, progress, escalation, confinement }
    }

    /// Sets where client programs are looked for.
    pub fn with_programs(mut self, programs: ClientPrograms) -> Self {
        self.programs = programs;
        self
    }

    /// Sets the environment of programs that are started.
    pub fn with_environment(mut self, environment: Vec<(OsString, OsString)>) -> Self {
        self.environment = environment;
        self
    }

    /// Sets the command by which a restored server fetches its log.
    pub fn with_restore_command(mut self, command: Option<String>) -> Self {
        self.restore_command = command;
        self
    }

    /// Sets what the run may touch.
    pub fn with_confinement(mut self, confinement: Option<Arc<Confinement>>) -> Self {
        self.confinement = confinement;
        self
    }

    /// Sets what shows the progress of long steps.
    pub fn with_progress(mut self, progress: Arc<dyn Progress>) -> Self {
        self.progress = progress;
        self
    }

    /// Sets who is told when a run takes long.
    pub fn with_escalation(mut self, escalation: Option<Arc<Escalation>>) -> Self {
        self.escalation = escalation;
        self
    }
}

impl std::fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings").field("repository", &self.repository).finish_non_exhaustive()
    }
}
