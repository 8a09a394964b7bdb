//! Servers and programs that die on the way.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use erpgo_dr_core::cleanup::Cleanups;
use erpgo_dr_core::conformance::driver::MemoryBackup;
use erpgo_dr_core::postgres::{
    BackupSink, BackupSource, BoxError, DatabaseDriver, DumpOptions, PostgresError, RestoreOptions, SegmentSink,
    StreamInfo, StreamKind,
};
use erpgo_dr_core::progress::NoProgress;
use erpgo_dr_testkit::PgServer;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};

use super::support::*;

/// Does something once in the middle of a database's stream, and then takes the rest slowly.
struct Interrupt<F: Fn() + Send + Sync> {
    action: F,
    in_database: bool,
    done: AtomicBool,
    ended: usize,
}

impl<F: Fn() + Send + Sync> Interrupt<F> {
    fn new(action: F) -> Self {
        Self { action, in_database: false, done: AtomicBool::new(false), ended: 0 }
    }
}

#[async_trait]
impl<F: Fn() + Send + Sync> BackupSink for Interrupt<F> {
    async fn begin(&mut self, kind: &StreamKind) -> Result<(), BoxError> {
        self.in_database = matches!(kind, StreamKind::Database { .. });
        Ok(())
    }

    async fn write(&mut self, _data: Bytes) -> Result<(), BoxError> {
        if self.in_database && !self.done.swap(true, Ordering::SeqCst) {
            (self.action)();
        }
        Ok(())
    }

    async fn segment(&mut self) -> Result<Box<dyn SegmentSink>, BoxError> {
        Err("one connection writes to the stream itself".into())
    }

    async fn end(&mut self) -> Result<(), BoxError> {
        self.ended += usize::from(self.in_database);
        Ok(())
    }
}

/// A database that is much larger than all the pipes and buffers on the way.
fn create_large(server: &PgServer) {
    server.create_database("large");
    server.psql("large", "CREATE TABLE t AS SELECT n, repeat('x', 1000) AS filler FROM generate_series(1, 60000) n");
}

#[tokio::test]
async fn a_server_that_dies_fails_the_backup() {
    let mut server = PgServer::start(17);
    create_large(&server);
    let driver = driver(&server).dump_options(DumpOptions::new().database("large"));
    let pid = server.id().unwrap();
    let mut sink = Interrupt::new(|| kill_server(pid));
    let error = driver.back_up(&mut sink, &NoProgress).await.unwrap_err();
    match &error {
        PostgresError::Program { program, stderr, .. } => {
            assert_eq!(program, "pg_dump");
            assert!(stderr.contains("Dumping the contents of table \"t\" failed"), "{stderr}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(sink.ended, 0, "a stream that was cut short is never ended");
    server.restart();
    driver.back_up(&mut Interrupt::new(|| ()), &NoProgress).await.unwrap();
}

/// Kills the backends as the postmaster does when one of them crashes.
fn kill_server(pid: u32) {
    for child in children(pid) {
        signal(child, "KILL");
    }
}

#[tokio::test]
async fn a_killed_pg_dump_fails_the_backup() {
    let server = PgServer::start(15);
    create_large(&server);
    let driver = driver(&server).dump_options(DumpOptions::new().database("large"));
    let own = std::process::id();
    let data = server.socket_dir().to_str().unwrap().to_owned();
    let mut sink = Interrupt::new(move || {
        let dumps: Vec<u32> = children(own).into_iter().filter(|pid| environment(*pid).contains(&data)).collect();
        assert_eq!(dumps.len(), 1, "pg_dump runs");
        signal(dumps[0], "KILL");
    });
    let error = driver.back_up(&mut sink, &NoProgress).await.unwrap_err();
    assert!(matches!(&error, PostgresError::Program { status, .. } if status.contains("signal: 9")), "{error:?}");
    assert_eq!(sink.ended, 0);
}

#[tokio::test]
async fn an_abandoned_backup_leaves_no_program_and_no_session() {
    let server = PgServer::start(17);
    create_large(&server);
    let driver = driver(&server).dump_options(DumpOptions::new().database("large"));
    struct Stuck;
    #[async_trait]
    impl BackupSink for Stuck {
        async fn begin(&mut self, _kind: &StreamKind) -> Result<(), BoxError> {
            Ok(())
        }
        async fn write(&mut self, _data: Bytes) -> Result<(), BoxError> {
            std::future::pending().await
        }
        async fn segment(&mut self) -> Result<Box<dyn SegmentSink>, BoxError> {
            Err("one connection writes to the stream itself".into())
        }
        async fn end(&mut self) -> Result<(), BoxError> {
            Ok(())
        }
    }
    let mut sink = Stuck;
    let outcome = tokio::time::timeout(Duration::from_secs(3), driver.back_up(&mut sink, &NoProgress)).await;
    assert!(outcome.is_err(), "it waits for its sink");
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'large'";
    let deadline = Instant::now() + Duration::from_secs(10);
    while server.psql("postgres", sessions) != "0" {
        assert!(Instant::now() < deadline, "sessions stay behind");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_locked_table_does_not_hold_a_backup_for_ever() {
    let server = PgServer::start(18);
    create_sample(&server, "erp");
    let client = settings(&server).database("erp").connect().await.unwrap();
    client.batch_execute("BEGIN; LOCK TABLE erp.orders IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let options = DumpOptions::new().database("erp").lock_timeout(Some(Duration::from_millis(300)));
    let mut sink = Interrupt::new(|| ());
    let outcome = driver(&server).dump_options(options).back_up(&mut sink, &NoProgress).await;
    assert!(
        matches!(&outcome, Err(PostgresError::Program { stderr, .. }) if stderr.contains("timeout")),
        "{outcome:?}"
    );
}

/// Drops a database while another is dumped. The server waits with it for every session, and the session of the dump
/// for us, so the sink goes on at once; it holds the end of the stream back until the database is gone.
struct DropMeanwhile {
    server: Arc<PgServer>,
    drop: Option<tokio::task::JoinHandle<String>>,
}

#[async_trait]
impl BackupSink for DropMeanwhile {
    async fn begin(&mut self, kind: &StreamKind) -> Result<(), BoxError> {
        if matches!(kind, StreamKind::Database { database } if database == "large") {
            let server = Arc::clone(&self.server);
            self.drop = Some(tokio::task::spawn_blocking(move || server.psql("postgres", "DROP DATABASE zzz")));
        }
        Ok(())
    }

    async fn write(&mut self, _data: Bytes) -> Result<(), BoxError> {
        Ok(())
    }

    async fn segment(&mut self) -> Result<Box<dyn SegmentSink>, BoxError> {
        Err("one connection writes to the stream itself".into())
    }

    async fn end(&mut self) -> Result<(), BoxError> {
        if let Some(drop) = self.drop.take() {
            drop.await?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_database_that_vanishes_is_missed() {
    let server = Arc::new(PgServer::start(15));
    create_large(&server);
    server.create_database("zzz");
    // `large` comes first; while it is dumped, `zzz` goes.
    let mut sink = DropMeanwhile { server: Arc::clone(&server), drop: None };
    let outcome = driver(&server).back_up(&mut sink, &NoProgress).await;
    assert!(matches!(&outcome, Err(PostgresError::Connect { server, .. }) if server.contains("zzz")), "{outcome:?}");
}

/// Does something when a stream is opened, and then gives all of it, or some and no more.
struct Stalled<F: Fn() + Send + Sync> {
    backup: MemoryBackup,
    action: F,
    goes_on: bool,
}

#[async_trait]
impl<F: Fn() + Send + Sync> BackupSource for Stalled<F> {
    fn streams(&self) -> &[StreamInfo] {
        self.backup.streams()
    }

    async fn open(
        &self,
        stream: u32,
        range: Option<Range<u64>>,
    ) -> Result<BoxStream<'static, Result<Bytes, BoxError>>, BoxError> {
        let whole = self.backup.open(stream, range).await?;
        (self.action)();
        Ok(if self.goes_on { whole } else { whole.take(4).chain(stream::pending()).boxed() })
    }
}

#[tokio::test]
async fn a_cancelled_restore_drops_what_it_had_made_and_nothing_else() {
    let server = PgServer::start(17);
    create_large(&server);
    server.create_database("there");
    let (backup, contents) = back_up(&server, DumpOptions::new().database("large")).await;
    let source = Stalled { backup, action: || (), goes_on: false };
    let databases = || server.psql("postgres", "SELECT string_agg(datname, ',' ORDER BY datname) FROM pg_database");
    let (before, cleanups) = (databases(), Cleanups::default());
    // From before the database is made until after it is filled in part.
    let moments = [1, 5, 10, 20, 30, 40, 60, 90, 150, 300, 2000].map(|milliseconds| ("new", milliseconds));
    for (target, milliseconds) in moments.into_iter().chain([("there", 2000)]) {
        let options = RestoreOptions::new().target(target);
        let driver = driver(&server).restore_options(options).cleanups(cleanups.clone());
        let restore = driver.restore(&source, &contents, &NoProgress);
        assert!(tokio::time::timeout(Duration::from_millis(milliseconds), restore).await.is_err());
        cleanups.settle().await;
        assert_eq!(databases(), before, "{target} after {milliseconds} ms");
        assert!(cleanups.remains().is_empty(), "{:?}", cleanups.remains());
    }
}

#[tokio::test]
async fn a_database_that_cannot_be_dropped_again_is_named() {
    let mut server = PgServer::start(15);
    create_large(&server);
    let (backup, contents) = back_up(&server, DumpOptions::new().database("large")).await;
    let pid = server.id().unwrap();
    let source = Stalled { backup, action: move || signal(pid, "QUIT"), goes_on: true };
    let driver = driver(&server).restore_options(RestoreOptions::new().target("new"));
    let error = driver.restore(&source, &contents, &NoProgress).await.unwrap_err();
    match &error {
        PostgresError::LeftBehind { database, source, .. } => {
            assert_eq!(database, "new");
            assert!(matches!(**source, PostgresError::Program { .. }), "{source:?}");
        }
        other => panic!("{other:?}"),
    }
    assert!(!error.is_retryable() && error.to_string().contains("new was restored in part"), "{error}");
    server.restart();
    assert_eq!(server.psql("postgres", "SELECT count(*) FROM pg_database WHERE datname = 'new'"), "1");

    // Of a cancelled restore it is the cleaning up that finds no server.
    let cleanups = Cleanups::default();
    let (backup, contents) = back_up(&server, DumpOptions::new().database("large")).await;
    let source = Stalled { backup, action: || (), goes_on: false };
    let driver =
        self::driver(&server).restore_options(RestoreOptions::new().target("newer")).cleanups(cleanups.clone());
    let mut restore = Box::pin(driver.restore(&source, &contents, &NoProgress));
    let made = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'newer'";
    while server.psql("postgres", made) == "0" {
        let _ = tokio::time::timeout(Duration::from_millis(20), &mut restore).await;
    }
    server.stop();
    drop(restore);
    cleanups.settle().await;
    let remains = cleanups.remains();
    assert!(remains.len() == 1 && remains[0].starts_with("database newer "), "{remains:?}");
}

fn children(parent: u32) -> Vec<u32> {
    let pids =
        std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_child = |pid: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.contains(&format!("\nPPid:\t{parent}\n"))
    };
    pids.filter(is_child).collect()
}

fn environment(pid: u32) -> String {
    String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default()).into_owned()
}

fn signal(pid: u32, name: &str) {
    // It may have ended by itself.
    let _ = std::process::Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).output().unwrap();
}
