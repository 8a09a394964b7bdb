//! What a drill would do, before anything is done.

use serde::Serialize;

use super::DrillError;
use super::run::{Rehearsal, runbook_of};
use crate::ops::drill::{Scenario, newest_restore_point};
use crate::repository::Repository;
use crate::types::BackupId;

/// What a drill with servers of its own would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DrillPlan {
    /// What is rehearsed.
    pub scenario: Scenario,
    /// The backup that its servers would be made from.
    pub backup: BackupId,
    /// Whether that is one of the whole cluster, behind which the archived log is replayed.
    pub cluster: bool,
    /// The servers that would be started.
    pub servers: Vec<String>,
    /// What would be broken.
    pub blow: String,
    /// The runbook.
    pub runbook: String,
    /// Whether it is another text than the one that comes with the tool.
    pub own_runbook: bool,
    /// Its steps, by their titles.
    pub steps: Vec<String>,
}

/// Says what a drill would do. `None` for a scenario that has no runbook: of those the backups that come back are all.
///
/// # Errors
/// [`DrillError::Runbook`]; of the repository; that there is nothing to restore.
pub async fn plan_drill(
    repository: &Repository,
    scenario: Scenario,
    rehearsal: &Rehearsal,
) -> Result<Option<DrillPlan>, DrillError> {
    let Some((runbook, is_own)) = runbook_of(scenario, rehearsal)? else { return Ok(None) };
    let catalogue = repository.catalogue().await?;
    let entry = newest_restore_point(&catalogue)?;
    let (servers, blow): (&[&str], &str) = match scenario {
        Scenario::RegionFailover => {
            (&["primary", "standby"], "the primary is killed, and its region does not answer any more")
        }
        Scenario::ApplicationFailure => (&["primary"], "the application ends"),
        Scenario::SecurityBreach => (&["primary"], "rows are deleted, and a superuser is made"),
        _ => (&["primary", "standby"], "the primary is killed, and its disk is lost"),
    };
    Ok(Some(DrillPlan {
        scenario,
        backup: entry.id().clone(),
        cluster: entry.summary.is_physical(),
        servers: servers.iter().map(|name| (*name).to_owned()).collect(),
        blow: blow.to_owned(),
        runbook: runbook.name.to_string(),
        own_runbook: is_own,
        steps: runbook.steps.iter().map(|step| step.title.clone()).collect(),
    }))
}
