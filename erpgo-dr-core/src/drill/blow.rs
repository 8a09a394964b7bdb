//! The blow: what breaks, by scenario, while a witness writes.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::DrillError;
use super::stage::{APPLICATION, LOST_REGION, Stage};
use super::witness::{TABLE, Testimony, Witness};
use crate::ops::drill::Scenario;
use crate::ops::{BackupOptions, RestoreTestOptions, backup};
use crate::postgres::{DumpOptions, LogicalDriver};
use crate::progress::Progress;
use crate::types::BackupId;

/// Commits that the witness makes before something happens.
const COMMITS: usize = 20;

/// What was done to the stage.
#[derive(Debug)]
pub(super) struct Blow {
    /// When.
    pub(super) incident: DateTime<Utc>,
    /// What was acknowledged before.
    pub(super) testimony: Testimony,
    /// The process of the primary before.
    pub(super) pid: Option<i32>,
    /// A backup from before, where one was taken.
    pub(super) clean: Option<BackupId>,
}

/// Breaks what the scenario is about.
pub(super) async fn strike(
    stage: &Stage,
    scenario: Scenario,
    test: &RestoreTestOptions,
    progress: &dyn Progress,
) -> Result<Blow, DrillError> {
    let clock = Arc::clone(&stage.repository.environment().clock);
    let settings = stage.primary.settings(&stage.database);
    let witness = Witness::begin(&settings, Arc::clone(&clock)).await?;
    witness.writes(COMMITS).await?;
    let clean = match scenario {
        Scenario::SecurityBreach => Some(back_up(stage, test, progress).await?),
        _ => None,
    };
    witness.writes(COMMITS).await?;
    let pid = stage.primary.pid();
    let incident = match scenario {
        Scenario::DatabaseFailure => {
            let incident = clock.now();
            stage.primary.kill().await?;
            // Else its restart would be the end of it.
            stage.primary.lose_disk().await?;
            incident
        }
        Scenario::RegionFailover => {
            let incident = clock.now();
            stage.primary.kill().await?;
            stage.take_away(&format!("{LOST_REGION}.up"))?;
            incident
        }
        Scenario::SecurityBreach => {
            let incident = clock.now();
            intrude(stage).await?;
            incident
        }
        _ => {
            let incident = clock.now();
            stage.take_away(&format!("{APPLICATION}.up"))?;
            incident
        }
    };
    Ok(Blow { incident, testimony: witness.heard(), pid, clean })
}

/// Takes the backup from before the breach, in the drill's own repository.
async fn back_up(stage: &Stage, test: &RestoreTestOptions, progress: &dyn Progress) -> Result<BackupId, DrillError> {
    let driver = LogicalDriver::new(stage.primary.settings(&stage.database), test.programs.clone())
        .dump_options(DumpOptions::new().database(&stage.database));
    Ok(backup(&stage.repository, &driver, &BackupOptions::default(), progress).await?.id)
}

/// Alters data as an intruder does, and leaves a door open.
async fn intrude(stage: &Stage) -> Result<(), DrillError> {
    let client = stage.primary.settings(&stage.database).connect().await?;
    let sql = format!("DELETE FROM {TABLE} WHERE number % 2 = 0; CREATE ROLE erpgo_dr_intruder SUPERUSER LOGIN");
    let done = client.batch_execute(&sql).await.map_err(client.query_error("alter data"));
    client.close().await;
    Ok(done?)
}
