//! A disaster rehearsed by the library alone: what is made, what is told meanwhile, and what is written down.

use std::sync::Mutex;

use erpgo_dr_core::drill::{DrillError, Rehearsal, plan_drill, run_drill};
use erpgo_dr_core::ops::drill::{DrillOptions, Objectives, Scenario};
use erpgo_dr_core::ops::{BackupOptions, RestoreTestOptions, backup};
use erpgo_dr_core::postgres::{ConnectionSettings, LogicalDriver};
use erpgo_dr_core::progress::NoProgress;
use erpgo_dr_core::runbook::{Entry, Event, NoObserver, RunObserver, list_runs};
use erpgo_dr_core::types::RunId;
use erpgo_dr_testkit::postgres::PgServer;

use crate::support::{Site, runbook};

/// Keeps what a run tells.
#[derive(Default)]
struct Told(Mutex<Vec<Entry>>);

impl RunObserver for Told {
    fn recorded(&self, _run: &RunId, entry: &Entry) {
        self.0.lock().unwrap().push(entry.clone());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_primary_is_rehearsed_scored_and_written_down() {
    let server = tokio::task::spawn_blocking(|| PgServer::start(18)).await.unwrap();
    server.create_database("erp");
    server.psql("erp", "CREATE TABLE orders AS SELECT i FROM generate_series(1, 1000) AS i");
    let site = Site::new().await;
    let (repository, programs) = (&site.surroundings.repository, site.surroundings.programs.clone());
    let settings: ConnectionSettings = server.url("postgres").parse().unwrap();
    let driver = LogicalDriver::new(settings, programs.clone());
    let taken = backup(repository, &driver, &BackupOptions::default(), &NoProgress).await.unwrap();

    let scratch = tempfile::Builder::new().prefix("edr-").tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(scratch.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
    let options =
        |scenario| DrillOptions::new(scenario, "ann", RestoreTestOptions::new(programs.clone(), scratch.path()));
    let plan = plan_drill(repository, Scenario::DatabaseFailure, &Rehearsal::default()).await.unwrap().unwrap();
    assert_eq!((&plan.backup, plan.cluster, plan.own_runbook), (&taken.id, false, false));
    assert!(plan_drill(repository, Scenario::Restore, &Rehearsal::default()).await.unwrap().is_none());

    let told = Told::default();
    let failure = options(Scenario::DatabaseFailure);
    let rehearsal = Rehearsal::default();
    let record =
        run_drill(repository, Scenario::DatabaseFailure, &failure, &rehearsal, &told, &NoProgress).await.unwrap();
    assert_eq!(record.findings, [""; 0], "{record:#?}");
    assert_eq!((record.passed(), record.rto_met(), record.rpo_met()), (true, Some(true), Some(true)), "{record:#?}");
    assert_eq!((record.rpo_seconds, record.backups.as_slice()), (Some(0.0), &[taken.id][..]));
    assert!(record.steps.iter().any(|step| step.id == "promote" && step.outcome == "succeeded"), "{record:#?}");
    let begun = told.0.lock().unwrap()[0].clone();
    assert!(matches!(begun.event, Event::Begun(beginning) if beginning.drill && beginning.by == "ann"));
    assert_eq!(list_runs(repository).await.unwrap(), [], "the journal is not among those of real runs");
    assert_eq!(repository.drills().await.unwrap().records, [record]);
    assert_eq!(repository.catalogue().await.unwrap().entries.len(), 1);

    // What is missed is written down, and what would leave is not begun.
    let strict =
        options(Scenario::ApplicationFailure).with_objectives(Objectives::new(Some(std::time::Duration::ZERO), None));
    let scenario = Scenario::ApplicationFailure;
    let slow = run_drill(repository, scenario, &strict, &rehearsal, &NoObserver, &NoProgress).await.unwrap();
    assert_eq!((slow.passed(), slow.rto_met()), (true, Some(false)), "{slow:#?}");
    let elsewhere = runbook(
        "[variables]\nprimary = { type = 'server', default = 'host=db.example.com' }\n\
         [[steps]]\nid = 'a'\ntitle = 'A'\npg-ready = { on = 'primary' }",
    );
    let rehearsal = Rehearsal::default().with_runbook(Some(elsewhere));
    let refused = run_drill(repository, scenario, &strict, &rehearsal, &NoObserver, &NoProgress).await.unwrap_err();
    assert!(matches!(&refused, DrillError::Leaves { faults, .. } if faults.len() == 2), "{refused}");
    assert_eq!(repository.drills().await.unwrap().records.len(), 2);
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0, "nothing stays behind");
}
