//! A primary is watched, and replaced when it is gone: once, and only then.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use erpgo_dr_core::Repository;
use erpgo_dr_core::conformance::faulty::{Effect, Fault, FaultyStorage, Operation};
use erpgo_dr_core::crypto::keys::{Wrapper, generate_identity};
use erpgo_dr_core::repository::InitOptions;
use erpgo_dr_core::runbook::{
    Ending, NoObserver, RunOptions, Runbook, RunbookError, WatchEnding, WatchObserver, WatchOptions, WatchReport,
    WatchState, list_runs, run_runbook, shipped, watch_primary,
};
use erpgo_dr_core::storage::ObjectStorage;
use erpgo_dr_testkit::postgres::{PgServer, PgServerOptions, standby_of};

use crate::support::{Site, runbook};

/// Remembers what it is told.
#[derive(Default)]
struct Told(Mutex<Vec<WatchState>>);

impl WatchObserver for Told {
    fn changed(&self, state: &WatchState) {
        self.0.lock().unwrap().push(state.clone());
    }
}

impl Told {
    async fn until(&self, what: &str, is: impl Fn(&WatchState) -> bool) {
        for _ in 0..1200 {
            if self.0.lock().unwrap().iter().any(&is) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("waited in vain for {what}: {:?}", self.0.lock().unwrap());
    }
}

fn pair() -> (PgServer, PgServer) {
    let primary = PgServerOptions::new(17).setting("synchronous_standby_names", "*").start();
    let standby = standby_of(&primary);
    primary.psql("postgres", "CREATE TABLE t (n int); INSERT INTO t VALUES (1)");
    (primary, standby)
}

fn quick() -> WatchOptions {
    WatchOptions::default().with_every(Duration::from_millis(200)).with_after(2)
}

async fn watch(
    site: &Site,
    runbook: &Runbook,
    given: &[(&str, &str)],
    told: &Told,
    stop: impl Future<Output = ()> + Send,
) -> Result<WatchReport, RunbookError> {
    let values = runbook.values(given.iter().copied()).unwrap();
    watch_primary(runbook, &values, &site.surroundings, &quick(), (told, &NoObserver), stop).await
}

/// Has a primary to watch, and then does what `rest` says.
fn watched(rest: &str) -> Runbook {
    runbook(&format!(
        "[variables]\nprimary = {{ type = 'server' }}\nstandby = {{ type = 'server' }}\n[[steps]]\nid = 'gone'\ntitle = 'G'\n\
         primary-down = {{ primary = 'primary', standbys = ['standby'], every = '50ms' }}\n[[steps]]\nid = 'next'\ntitle = 'N'\n{rest}"
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_is_gone_is_replaced_once_by_whoever_watches() {
    let (mut primary, standby) = tokio::task::spawn_blocking(pair).await.unwrap();
    let site = Site::new().await;
    let text = shipped().find(|(name, _)| *name == "database-failure").unwrap().1;
    let failover = Runbook::from_toml(text).unwrap();
    let (one, two) = (primary.url("postgres"), standby.url("postgres"));
    let file = site.path("application.env").display().to_string();
    let given = [
        ("project", "/"),
        ("primary", one.as_str()),
        ("standby", &two),
        ("standby_host", "two"),
        ("application_file", &file),
        ("primary_log", "true"),
        ("primary_stop", "true"),
        ("primary_start", "false"),
        ("primary_restart", "false"),
        ("application_stop", "true"),
        ("application_start", "true"),
    ];
    let told = [Told::default(), Told::default()];
    let (end_first, end_second) = (tokio::sync::Notify::new(), tokio::sync::Notify::new());
    let kill = async {
        for told in &told {
            told.until("the primary", |state| *state == WatchState::Up).await;
        }
        primary.kill();
    };
    let first = async {
        let ended = watch(&site, &failover, &given, &told[0], end_first.notified()).await;
        end_second.notify_one();
        ended
    };
    let second = async {
        let ended = watch(&site, &failover, &given, &told[1], end_second.notified()).await;
        end_first.notify_one();
        ended
    };
    let (first, second, ()) = tokio::join!(first, second, kill);
    let (replaced, other): (Vec<_>, Vec<_>) = [first, second]
        .into_iter()
        .partition(|ended| ended.as_ref().is_ok_and(|report| report.ending == WatchEnding::Replaced));
    assert_eq!(
        (replaced.len(), other.len()),
        (1, 1),
        "{replaced:?} {other:?} {told:?}",
        told = told.each_ref().map(|told| told.0.lock().unwrap().clone())
    );
    let report = replaced[0].as_ref().unwrap();
    assert_eq!((report.runs, report.run.as_ref().unwrap().ending), (1, Ending::Completed));
    assert!(report.failed_probes >= 2 && report.probes > report.failed_probes);
    match &other[0] {
        Ok(report) => assert_eq!((report.ending, report.runs), (WatchEnding::Told, 0)),
        Err(error) => assert!(matches!(error, RunbookError::Busy(_)), "{error}"),
    }
    let runs = list_runs(&site.surroundings.repository).await.unwrap();
    assert_eq!(runs.len(), 1, "{runs:?}");
    standby.psql("postgres", "INSERT INTO t VALUES (2)");
    assert_eq!(site.read("application.env"), "POSTGRES_PRIMARY_HOST=two\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_of_the_repository_that_have_lapsed_do_not_stop_a_failover() {
    let (mut primary, standby) = tokio::task::spawn_blocking(pair).await.unwrap();
    let mut site = Site::new().await;
    let place = FaultyStorage::new(Arc::new(ObjectStorage::memory()));
    let environment = site.surroundings.repository.environment().clone();
    let slots = [("owner".parse().unwrap(), Wrapper::Recipients(vec![generate_identity().recipient]))];
    let repository = Repository::init(Arc::new(place.clone()), environment, &InitOptions::default(), &slots).await;
    site.surroundings.repository = Arc::new(repository.unwrap());
    // Reading and leases are refused; that the journal can still be written is the spool's business elsewhere.
    for operation in [Operation::Create, Operation::Put, Operation::Get, Operation::Head, Operation::List] {
        place.inject(Fault::new(operation, Effect::PermissionDenied).under("state/leases"));
    }
    place.inject(Fault::new(Operation::List, Effect::PermissionDenied).under("state/runs"));
    let runbook = watched("command = { run = ['true'] }");
    let (one, two) = (primary.url("postgres"), standby.url("postgres"));
    let (told, given) = (Told::default(), [("primary", one.as_str()), ("standby", two.as_str())]);
    let watching = watch(&site, &runbook, &given, &told, std::future::pending());
    let kill = async {
        told.until("the primary", |state| *state == WatchState::Up).await;
        primary.kill();
    };
    let (report, ()) = tokio::join!(watching, kill);
    let report = report.unwrap();
    assert_eq!((report.runs, report.run.unwrap().ending), (1, Ending::Completed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_a_standby_hears_is_left_alone() {
    let (primary, standby) = tokio::task::spawn_blocking(pair).await.unwrap();
    let site = Site::new().await;
    // Where nobody listens: it is this host that has no way to the primary.
    let nowhere = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let (one, two) = (format!("postgresql://postgres@{nowhere}/postgres"), standby.url("postgres"));
    let told = Told::default();
    let stop = async {
        told.until("the verdict", |state| matches!(state, WatchState::Undecided { .. })).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    let takeover = watched("promote = { standbys = ['standby'], old = 'primary' }");
    let report = watch(&site, &takeover, &[("primary", &one), ("standby", &two)], &told, stop).await.unwrap();
    assert_eq!((report.ending, report.runs, report.run), (WatchEnding::Told, 0, None));
    let states = told.0.lock().unwrap().clone();
    assert!(
        matches!(&states[..], [WatchState::Failing { .. }, WatchState::Undecided { verdict }] if verdict.contains("still hears from it")),
        "{states:?}"
    );
    assert_eq!(list_runs(&site.surroundings.repository).await.unwrap(), []);
    assert_eq!(standby.psql("postgres", "SELECT pg_is_in_recovery()"), "t");
    drop(primary);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fails_ends_the_watch_and_an_open_one_forbids_it() {
    let (mut primary, standby) = tokio::task::spawn_blocking(pair).await.unwrap();
    let site = Site::new().await;
    let (one, two) = (primary.url("postgres"), standby.url("postgres"));
    let given = [("primary", one.as_str()), ("standby", two.as_str())];
    let nothing = runbook(
        "[variables]\nprimary = { type = 'server' }\nstandby = { type = 'server' }\n[[steps]]\nid = 'a'\ntitle = 'A'\ncommand = { run = ['true'] }",
    );
    let ended = watch(&site, &nothing, &given, &Told::default(), std::future::pending()).await;
    assert!(matches!(ended, Err(RunbookError::NotWatchable { .. })), "{ended:?}");

    primary.kill();
    let fails = watched("command = { run = ['false'] }");
    let told = Told::default();
    let report = watch(&site, &fails, &given, &told, std::future::pending()).await.unwrap();
    let run = report.run.unwrap();
    assert_eq!((report.ending, report.runs, run.ending), (WatchEnding::RunFailed, 1, Ending::Stopped));
    assert_eq!(run.step.unwrap().as_str(), "next");
    let states = told.0.lock().unwrap().clone();
    assert!(matches!(&states[..], [WatchState::Failing { .. }, WatchState::Down { .. }]), "{states:?}");

    // One that is under way, for the same primary: this process may not begin a second one.
    let waits = watched(&format!(
        "command = {{ run = ['sh', '-c', 'until test -e {}; do sleep 0.05; done'] }}",
        site.path("go").display()
    ));
    let values = waits.values(given).unwrap();
    let options = RunOptions::default();
    let first = run_runbook(&waits, values, &site.surroundings, &options, &NoObserver);
    let second = async {
        while list_runs(&site.surroundings.repository).await.unwrap().len() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let refused = watch(&site, &waits, &given, &Told::default(), std::future::pending()).await;
        std::fs::write(site.path("go"), "").unwrap();
        refused
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.unwrap().ending, Ending::Completed);
    assert!(matches!(second, Err(RunbookError::Busy(_))), "{second:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_change_is_not_taken_for_a_fault() {
    let (mut primary, standby) = tokio::task::spawn_blocking(pair).await.unwrap();
    let site = Site::new().await;
    let (one, two) = (primary.url("postgres"), standby.url("postgres"));
    let given = [("primary", one.as_str()), ("standby", two.as_str())];
    let wait = format!(
        "command = {{ run = ['sh', '-c', 'until test -e {}; do sleep 0.05; done'] }}",
        site.path("go").display()
    );
    let planned = watched("command = { run = ['true'] }").text().replace("name = \"test\"", "name = \"planned\"");
    let planned =
        planned.replace("primary-down = { primary = 'primary', standbys = ['standby'], every = '50ms' }", &wait);
    let planned = Runbook::from_toml(&planned).unwrap();
    let (values, options) = (planned.values(given).unwrap(), RunOptions::default());
    let change = run_runbook(&planned, values, &site.surroundings, &options, &NoObserver);
    let told = Told::default();
    let acts = watched("command = { run = ['true'] }");
    let watching = watch(&site, &acts, &given, &told, std::future::pending());
    let story = async {
        told.until("the primary", |state| *state == WatchState::Up).await;
        while list_runs(&site.surroundings.repository).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        primary.kill();
        told.until("the other run", |state| matches!(state, WatchState::Busy { .. })).await;
        assert_eq!(list_runs(&site.surroundings.repository).await.unwrap().len(), 1);
        std::fs::write(site.path("go"), "").unwrap();
    };
    let (change, report, ()) = tokio::join!(change, watching, story);
    assert_eq!(change.unwrap().ending, Ending::Completed);
    // It has ended, and the primary is still gone.
    assert_eq!(report.unwrap().runs, 1);
}
