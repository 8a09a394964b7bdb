//! Backups of a standby, and what may happen to it meanwhile.

use erpgo_dr_core::postgres::PostgresError;
use erpgo_dr_core::postgres::physical::{BackupSession, ClusterState, ControlFile, PhysicalError};
use erpgo_dr_testkit::PgServer;
use erpgo_dr_testkit::postgres::{MAJORS, standby_of};

use super::support::*;

fn current(server: &PgServer, function: &str) -> String {
    server.psql("postgres", &format!("SELECT {function}()"))
}

#[tokio::test]
async fn a_standby_is_copied_and_its_promotion_is_noticed() {
    for major in MAJORS {
        let primary = PgServer::start(major);
        primary.psql("postgres", "CREATE TABLE t AS SELECT generate_series(1, 1000)");
        let standby = standby_of(&primary);
        primary.psql("postgres", "CHECKPOINT");
        let written = current(&primary, "pg_current_wal_lsn");
        let replayed = || standby.psql("postgres", &format!("SELECT pg_last_wal_replay_lsn() >= '{written}'"));
        wait_until("the standby follows", || replayed() == "t");
        let session = begin(&standby).await;
        assert!(session.facts().server.in_recovery);
        let (listing, reader) = open(&standby, &session);
        assert!(listing.bytes > 1 << 20);
        // The primary's directory is of the same cluster, and yet another server's.
        let foreign = reader_of(&primary.data_dir(), session.facts(), session.start_lsn()).unwrap_err();
        assert!(matches!(foreign, PostgresError::Physical(PhysicalError::ForeignDirectory { .. })), "{foreign:?}");
        let (entry, contents) = reader.control_file().unwrap();
        assert_eq!((entry.mode, contents.len()), (0o600, 8192));
        assert_eq!(ControlFile::read(&standby.data_dir()).unwrap().control.state, ClusterState::ArchiveRecovery);
        let stopped = session.stop().await.unwrap();
        assert!(stopped.backup_label.contains("BACKUP FROM: standby"), "{}", stopped.backup_label);
        assert!(stopped.stop >= session.start_lsn() && stopped.timeline == session.timeline());
        drop(session);

        let session = begin(&standby).await;
        assert_eq!(current(&standby, "pg_promote"), "t");
        for error in [session.check().await.unwrap_err(), session.stop().await.unwrap_err()] {
            assert!(matches!(error, PostgresError::Physical(PhysicalError::Promoted { .. })), "{error:?}");
        }
        standby.psql("postgres", "CHECKPOINT");
        let promoted = begin(&standby).await;
        assert_eq!((promoted.timeline().get(), promoted.facts().server.in_recovery), (2, false));
    }
}

#[tokio::test]
async fn a_standby_that_changes_timelines_is_noticed() {
    let primary = PgServer::start(17);
    let middle = standby_of(&primary);
    // Behind the one that is promoted, and on its heels.
    let last = standby_of(&middle);
    let session = begin(&last).await;
    assert_eq!(session.timeline().get(), 1);
    assert_eq!(current(&middle, "pg_promote"), "t");
    middle.psql("postgres", "CREATE TABLE after ()");
    wait_until("the last standby follows", || {
        last.psql("postgres", "SELECT count(*) FROM pg_class WHERE relname = 'after'") == "1"
    });
    let error = session.stop().await.unwrap_err();
    assert!(matches!(error, PostgresError::Physical(PhysicalError::TimelineChanged { .. })), "{error:?}");
    drop(session);
    // After a checkpoint of the new timeline it is copied again.
    middle.psql("postgres", "CHECKPOINT");
    let mut again = None;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while again.is_none() {
        assert!(std::time::Instant::now() < deadline, "the standby makes no checkpoint");
        again = BackupSession::start(&settings(&last), "again", true).await.ok();
    }
    assert_eq!(again.unwrap().timeline().get(), 2);
}
