//! Backups and restores as steps, and the shipped runbook that is made of them.

use std::sync::Arc;

use erpgo_dr_core::ops::wal::{WalPushOptions, wal_push};
use erpgo_dr_core::runbook::{Choice, Ending, Runbook, shipped};
use erpgo_dr_testkit::postgres::{PgServer, PgServerOptions};

use crate::support::{Site, ends, output_of, runbook};

fn shipped_runbook(name: &str) -> Runbook {
    Runbook::from_toml(shipped().find(|(found, _)| *found == name).unwrap().1).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_restored_and_that_is_taken_back() {
    let server = Arc::new(PgServer::start(17));
    let site = Site::new().await;
    server.create_database("erp");
    server.psql("erp", "CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users SELECT generate_series(1, 100)");
    let url = server.url("postgres");
    let backup = runbook(
        "[variables]\nserver = { type = 'server' }\n[[steps]]\nid = 'b'\ntitle = 'B'\nbackup = { on = 'server', database = 'erp', label = 'before' }",
    );
    let standing = site.run(&backup, &[("server", &url)]).await;
    let taken = output_of(&site.journal(&standing.run).await, "b");
    let id = taken.split(' ').next().unwrap();
    server.psql("erp", "DELETE FROM users WHERE id > 10; CREATE TABLE later (n int)");

    // `latest-proven` is not the backup that the run itself takes before it restores. Identifiers tell time to the second.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let (stop, start) =
        (format!("touch,{}", site.path("stopped").display()), format!("touch,{}", site.path("started").display()));
    let given = [
        ("server", url.as_str()),
        ("database", "erp"),
        ("project", "/"),
        ("important_table", "users"),
        ("application_stop", &stop),
        ("application_start", &start),
    ];
    let restore = shipped_runbook("backup-restore");
    let standing = site.run(&restore, &given).await;
    let journal = site.journal(&standing.run).await;
    assert_eq!(standing.ending, Ending::Completed, "{journal:#?}");
    let asked = site.asked();
    assert!(asked[0].text.contains(&format!("The database erp will be replaced by the backup {id}")), "{asked:?}");
    assert_eq!(server.psql("erp", "SELECT count(*) FROM users"), "100");
    assert!(site.path("stopped").exists() && site.path("started").exists());
    let expected = [
        "find succeeded",
        "recover succeeded",
        "stop-application succeeded",
        "emergency-backup succeeded",
        "no-way-back skipped",
        "drain succeeded",
        "restore succeeded",
        "migrate skipped",
        "start-application succeeded",
        "database-answers succeeded",
        "data succeeded",
        "application-is-well skipped",
        "api skipped",
        "constraints succeeded",
        "orphans skipped",
        "tell skipped",
        "watch succeeded",
    ];
    assert_eq!(ends(&journal), expected);

    let undone = site.undo(&standing.run).await;
    assert_eq!(undone.ending, Ending::Undone, "{:#?}", site.journal(&standing.run).await);
    assert_eq!(server.psql("erp", "SELECT count(*) FROM users"), "10", "the emergency backup is what there was");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_type_the_word_changes_nothing() {
    let server = PgServer::start(18);
    let site = Site::new().await;
    server.create_database("erp");
    site.answers([Choice::No]);
    let url = server.url("postgres");
    let given = [("server", url.as_str()), ("database", "erp")];
    let standing = site.run(&shipped_runbook("backup-restore"), &given).await;
    assert_eq!((standing.ending, standing.step.unwrap().as_str()), (Ending::Stopped, "find"), "there is no backup yet");
    let backup = runbook(
        "[variables]\nserver = { type = 'server' }\n[[steps]]\nid = 'b'\ntitle = 'B'\nbackup = { on = 'server', database = 'erp' }",
    );
    site.answers([]);
    site.completes(&backup, &[("server", &url)]).await;
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    site.answers([Choice::No]);
    let standing = site.run(&shipped_runbook("backup-restore"), &given).await;
    assert_eq!((standing.ending, standing.step.unwrap().as_str()), (Ending::Stopped, "recover"));
    assert_eq!(site.surroundings.repository.catalogue().await.unwrap().entries.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_archive_is_brought_up_to_date_and_looked_at() {
    let server = PgServerOptions::new(18).setting("archive_mode", "on").setting("archive_command", "true").start();
    let site = Site::new().await;
    let url = server.url("postgres");
    let step = |step: &str| {
        runbook(&format!("[variables]\nserver = {{ type = 'server' }}\n[[steps]]\nid = 'w'\ntitle = 'W'\n{step}"))
    };
    let within = step("wal = { do = 'check', on = 'server', within = '1h' }");
    let found = site.fails(&within, &[("server", &url)]).await;
    assert!(found.contains("expected a commit no older than 1h, found no gap, and no commit in it"), "{found}");
    server.psql("postgres", "CREATE TABLE t AS SELECT 1");
    let standing = site.run(&step("wal = { do = 'switch', on = 'server' }"), &[("server", &url)]).await;
    let name = output_of(&site.journal(&standing.run).await, "w");
    let segment = server.data_dir().join("pg_wal").join(&name);
    wal_push(&site.surroundings.repository, &segment, &WalPushOptions::default()).await.unwrap();
    site.completes(&within, &[("server", &url)]).await;
    server.psql("postgres", "ALTER SYSTEM SET archive_command = 'false'");
    server.psql("postgres", "SELECT pg_reload_conf()");
    server.psql("postgres", "CREATE TABLE u AS SELECT 1");
    let never = step("wal = { do = 'switch', on = 'server' }\ntimeout = '2s'");
    assert_eq!(site.fails(&never, &[("server", &url)]).await, "not done within 2s");
}
