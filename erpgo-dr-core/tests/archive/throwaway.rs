//! A throwaway server is private, is really gone afterwards, and what a killed run left is swept.

use std::path::Path;
use std::time::Duration;

use erpgo_dr_core::postgres::PostgresError;
use erpgo_dr_core::postgres::throwaway::{ThrowawayOptions, ThrowawayServer, sweep};
use secrecy::ExposeSecret;

use crate::support::{MAJORS, connect, programs, scratch, server};

#[tokio::test]
async fn each_version_starts_answers_and_leaves_nothing() {
    let scratch = scratch();
    for major in MAJORS {
        let server = server(major, &scratch).await;
        let client = connect(&server, "postgres").await;
        let row = client
            .query_one(
                "select current_setting('server_version_num')::int / 10000, current_setting('listen_addresses'),
                        current_setting('fsync'), current_setting('archive_mode'),
                        (select datcollate from pg_database where datname = 'template1')",
                &[],
            )
            .await
            .unwrap();
        assert_eq!(row.get::<_, i32>(0), i32::try_from(major).unwrap());
        assert_eq!(row.get::<_, String>(1), "");
        assert_eq!(row.get::<_, String>(2), "off");
        assert_eq!(row.get::<_, String>(3), "off");
        assert_eq!(row.get::<_, String>(4), "C.UTF-8");
        let pid = server.pid();
        drop(client);
        server.stop().await.unwrap();
        assert!(!is_running(pid));
        assert!(is_empty(scratch.path()));
    }
}

#[tokio::test]
async fn dropping_it_stops_and_removes_it() {
    let scratch = scratch();
    let server = server(17, &scratch).await;
    let (pid, data) = (server.pid(), server.data_directory());
    assert!(is_running(pid) && data.join("PG_VERSION").exists());
    drop(server);
    assert!(!is_running(pid));
    assert!(is_empty(scratch.path()));
}

#[tokio::test]
async fn nobody_else_can_enter_its_folder() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = scratch();
    let server = server(15, &scratch).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&server.connection().socket_folder), 0o700);
    assert_eq!(mode(&server.data_directory()), 0o700);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn tcp_asks_for_the_password() {
    let scratch = scratch();
    let options = ThrowawayOptions::new(programs(18), scratch.path()).tcp(true).superuser("Odd User");
    let server = ThrowawayServer::start(options).await.unwrap();
    let connection = server.connection();
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(connection.port).user(&connection.user).dbname("postgres");
    let refused = |config: tokio_postgres::Config| async move { config.connect(tokio_postgres::NoTls).await.is_err() };
    assert!(refused(config.clone()).await);
    assert!(refused(config.clone().password("wrong").clone()).await);
    config.password(connection.password.as_ref().unwrap().expose_secret());
    let _ = config.connect(tokio_postgres::NoTls).await.unwrap();
    assert!(!format!("{connection:?}").contains(connection.password.as_ref().unwrap().expose_secret()));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn settings_reach_the_server_and_the_private_ones_cannot_be_set() {
    let scratch = scratch();
    let options = || ThrowawayOptions::new(programs(15), scratch.path());
    let server =
        ThrowawayServer::start(options().setting("cluster_name", "it's a \\ test").data_checksums(true)).await.unwrap();
    let client = connect(&server, "postgres").await;
    let row = client
        .query_one(
            "select reset_val, current_setting('data_checksums') from pg_settings where name = 'cluster_name'",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(row.get::<_, String>(0), "it's a \\ test");
    assert_eq!(row.get::<_, String>(1), "on");
    drop(client);
    server.stop().await.unwrap();
    for (name, value) in [("listen_addresses", "*"), ("Port", "1"), ("a b", "c"), ("work_mem", "1\nport = 2")] {
        let outcome = ThrowawayServer::start(options().setting(name, value)).await;
        assert!(matches!(outcome, Err(PostgresError::InvalidOptions(_))), "{name}");
    }
    assert!(is_empty(scratch.path()));
}

#[tokio::test]
async fn a_failed_start_shows_the_log_and_leaves_nothing() {
    let scratch = scratch();
    let options = || ThrowawayOptions::new(programs(17), scratch.path());
    let error = ThrowawayServer::start(options().setting("no_such_parameter", "1")).await.unwrap_err();
    assert!(error.to_string().contains("no_such_parameter"), "{error}");
    let error = ThrowawayServer::start(options().locale("xx_YY.nowhere")).await.unwrap_err();
    assert!(error.to_string().contains("initdb failed") && error.to_string().contains("locale"), "{error}");
    let error = ThrowawayServer::start(ThrowawayOptions::new("/nowhere", scratch.path())).await.unwrap_err();
    assert!(matches!(error, PostgresError::Spawn { .. }), "{error}");
    assert!(is_empty(scratch.path()));
}

#[tokio::test]
async fn a_scratch_folder_that_cannot_work_is_named() {
    let scratch = scratch();
    let deep = scratch.path().join("d".repeat(80));
    let error = ThrowawayServer::start(ThrowawayOptions::new(programs(17), &deep)).await.unwrap_err();
    assert!(error.to_string().contains("too long for a Unix socket"), "{error}");
    if rustix::process::geteuid().is_root() {
        let closed = scratch.path().join("closed");
        std::fs::create_dir(&closed).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&closed, private).unwrap();
        let error = ThrowawayServer::start(ThrowawayOptions::new(programs(17), &closed)).await.unwrap_err();
        assert!(error.to_string().contains("cannot enter"), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_died_is_reported_by_stop() {
    let scratch = scratch();
    let server = server(17, &scratch).await;
    let pid = i32::try_from(server.pid()).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::QUIT).unwrap();
    tokio::time::sleep(Duration::from_millis(800)).await;
    let error = server.stop().await.unwrap_err();
    assert!(error.to_string().contains("had ended before"), "{error}");
    assert!(is_empty(scratch.path()));
}

#[tokio::test]
async fn a_sweep_takes_what_a_killed_run_left_and_nothing_else() {
    let scratch = scratch();
    let alive = server(15, &scratch).await;
    let killed = server(17, &scratch).await;
    let (pid, folder) = (killed.pid(), killed.connection().socket_folder.clone());
    // What a killed run leaves: its server, its folder, and an owner file that nobody has locked any more.
    std::fs::rename(folder.join("owner"), folder.join("locked")).unwrap();
    std::fs::write(folder.join("owner"), "1\n").unwrap();
    std::fs::create_dir(scratch.path().join("pg-young1")).unwrap();
    std::fs::create_dir(scratch.path().join("something else")).unwrap();

    let reaper = std::thread::spawn(move || {
        // In this test the left server is our own child, so that its end shows only when it is reaped.
        while is_running(pid) {
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(killed);
    });
    let report = sweep(scratch.path()).await.unwrap();
    assert_eq!(report.removed, [folder.canonicalize().unwrap_or(folder)]);
    assert_eq!(report.stopped, [pid]);
    assert_eq!(report.in_use.len(), 2, "the live one and the young one: {report:?}");
    reaper.join().unwrap();
    assert!(!is_running(pid) && is_running(alive.pid()));
    connect(&alive, "postgres").await.simple_query("select 1").await.unwrap();
    alive.stop().await.unwrap();
    assert_eq!(sweep(&scratch.path().join("nowhere")).await.unwrap(), Default::default());
}

/// Process 1 may reap slowly: a zombie is not running.
fn is_running(pid: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/status")) {
        Ok(status) => !status.contains("State:\tZ"),
        Err(_) => false,
    }
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}
