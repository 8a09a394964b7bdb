//! Backup mode from its beginning to its end, on one connection.

use std::fs;

use erpgo_dr_core::postgres::PostgresError;
use erpgo_dr_core::postgres::physical::{BackupSession, PhysicalError};
use erpgo_dr_testkit::PgServer;
use erpgo_dr_testkit::postgres::{MAJORS, PgServerOptions};

use super::support::*;

/// Ends all sessions but the one that asks.
const TERMINATE: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";

fn backends(server: &PgServer) -> String {
    server.psql(
        "postgres",
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
    )
}

#[tokio::test]
async fn label_and_map_are_the_servers_own() {
    for major in MAJORS {
        let server = PgServer::start(major);
        let space = folder_for(&server, "a space\\ é");
        let location = space.display();
        // In a database of another encoding, the bytes of a path must not be translated.
        server.psql("postgres", "CREATE DATABASE latin ENCODING LATIN1 LOCALE 'C' TEMPLATE template0");
        let sql = format!(
            "SET client_encoding = LATIN1; CREATE TABLESPACE odd LOCATION E'{}'",
            location.to_string().replace('\\', "\\\\")
        );
        server.psql("latin", &sql.replace("; CREATE", ";\nCREATE"));
        let oid = server.psql("postgres", "SELECT oid FROM pg_tablespace WHERE spcname = 'odd'");
        let settings = settings(&server).database("latin");
        let session = BackupSession::start(&settings, "nightly\nbackup", true).await.unwrap();
        assert_eq!(session.facts().tablespaces.len(), 1);
        assert_eq!(session.facts().tablespaces[0].location, location.to_string());
        assert_eq!(session.timeline().get(), 1);
        server.psql("postgres", "CREATE TABLE t AS SELECT generate_series(1, 1000)");
        session.check().await.unwrap();
        let stopped = session.stop().await.unwrap();
        let start = session.start_lsn();
        assert!(stopped.stop > start && stopped.timeline.get() == 1);
        let lines: Vec<&str> = stopped.backup_label.lines().collect();
        assert!(lines[0].starts_with(&format!("START WAL LOCATION: {start} (file 00000001")), "{lines:?}");
        assert!(lines.contains(&"BACKUP METHOD: streamed") && lines.contains(&"LABEL: nightly?backup"), "{lines:?}");
        // PostgreSQL escapes backslashes in the map with another.
        let escaped = location.to_string().replace('\\', "\\\\");
        assert_eq!(stopped.tablespace_map.unwrap(), format!("{oid} {escaped}\n"));
        session.close().await;
        assert!(!server.data_dir().join("backup_label").exists());
    }
}

// On two threads: this one waits, and the other ends the connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_dropped_leaves_backup_mode() {
    for major in MAJORS {
        let server = PgServer::start(major);
        let session = begin(&server).await;
        assert_eq!(backends(&server), "1");
        drop(session);
        wait_until("the session ends", || backends(&server) == "0");
        wait_until("the server leaves backup mode", || server.log().contains("aborting backup"));
    }
}

#[tokio::test]
async fn a_session_that_is_lost_is_a_backup_that_is_lost() {
    let mut server = PgServer::start(17);
    let session = begin(&server).await;
    session.check().await.unwrap();
    assert_eq!(server.psql("postgres", TERMINATE), "1");
    let error = session.stop().await.unwrap_err();
    assert!(matches!(error, PostgresError::Physical(PhysicalError::SessionLost { .. })), "{error:?}");
    assert!(error.is_retryable());
    let session = begin(&server).await;
    server.kill();
    let error = session.check().await.unwrap_err();
    assert!(matches!(error, PostgresError::Physical(PhysicalError::SessionLost { .. })), "{error:?}");
}

#[tokio::test]
async fn a_session_outlives_the_time_limit_of_idle_ones() {
    let server = PgServerOptions::new(17).setting("idle_session_timeout", "300ms").start();
    let session = begin(&server).await;
    let witness = settings(&server).connect().await.unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !witness.is_closed() {
        assert!(std::time::Instant::now() < deadline, "the time limit does not work");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    session.stop().await.unwrap();
}

fn refusal(server: &PgServer, root: &std::path::Path, session: &BackupSession) -> String {
    let error = reader_of(root, session.facts(), session.start_lsn()).unwrap_err();
    assert!(matches!(error, PostgresError::Physical(PhysicalError::ForeignDirectory { .. })), "{error:?}");
    assert!(error.to_string().contains(server.data_dir().to_str().unwrap()), "{error}");
    error.to_string()
}

#[tokio::test]
async fn the_directory_of_another_server_is_refused() {
    let (server, other) = (PgServer::start(17), PgServer::start(17));
    let clone = server.socket_dir().join("clone");
    copy_folder(&server.data_dir(), &clone);
    server.psql("postgres", "CREATE TABLE t ()");
    let session = begin(&server).await;
    assert!(refusal(&server, &other.data_dir(), &session).contains("system identifier"));
    // All of it is the server's own, but for what the checkpoint has changed since.
    assert!(refusal(&server, &clone, &session).contains("checkpoint is older"));
    fs::remove_file(clone.join("postmaster.pid")).unwrap();
    assert!(refusal(&server, &clone, &session).contains("no server runs on it"));
    reader_of(&server.data_dir(), session.facts(), session.start_lsn()).unwrap();
}

#[tokio::test]
async fn too_little_wal_is_refused_at_once() {
    let server = PgServerOptions::new(17).setting("wal_level", "minimal").setting("max_wal_senders", "0").start();
    let error = BackupSession::start(&settings(&server), "a backup", true).await.unwrap_err();
    assert!(matches!(error, PostgresError::Physical(PhysicalError::WalLevel { .. })), "{error:?}");
}
