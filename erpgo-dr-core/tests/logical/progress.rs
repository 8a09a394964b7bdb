//! What a backup says of its length beforehand is near what it turns out to be, or nothing.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use erpgo_dr_core::conformance::driver::MemoryBackup;
use erpgo_dr_core::postgres::{DatabaseDriver, DumpOptions, Scope};
use erpgo_dr_core::progress::{Phase, Progress, ProgressEvent};
use erpgo_dr_testkit::PgServer;

use super::support::driver;

/// What was said of the backup of a database.
#[derive(Debug, Default)]
struct Said(Mutex<(Option<Option<u64>>, u64)>);

impl Progress for Said {
    fn report(&self, event: ProgressEvent<'_>) {
        let mut said = self.0.lock().unwrap();
        match event {
            ProgressEvent::Started { phase: Phase::Backup, subject: "erp", total_bytes } => {
                *said = (Some(total_bytes), 0);
            }
            ProgressEvent::Advanced { phase: Phase::Backup, bytes } => said.1 += bytes,
            _ => {}
        }
    }
}

impl Said {
    fn total(&self) -> Option<Option<u64>> {
        self.0.lock().unwrap().0
    }

    fn bytes(&self) -> u64 {
        self.0.lock().unwrap().1
    }
}

async fn back_up(server: &PgServer, options: DumpOptions) -> Said {
    let said = Said::default();
    let driver = driver(server).dump_options(options.database("erp").globals(false));
    driver.back_up(&mut MemoryBackup::new(), &said).await.unwrap();
    said
}

#[tokio::test]
async fn the_estimate_is_of_the_tables_and_not_of_their_indexes() {
    let server = PgServer::start(17);
    server.create_sample("erp", 8);
    let said = back_up(&server, DumpOptions::new()).await;
    let (estimate, bytes) = (said.total().unwrap().unwrap(), said.bytes());
    let ratio = estimate as f64 / bytes as f64;
    let whole = server.psql("erp", "SELECT pg_database_size('erp')").parse::<f64>().unwrap() / bytes as f64;
    assert!(
        (0.5..2.0).contains(&ratio),
        "estimated {estimate} of {bytes} bytes; the whole database is {whole:.2} times it"
    );
    assert!((ratio - 1.0).abs() < (whole - 1.0).abs(), "{ratio:.2} is no better than {whole:.2}");
    server.psql("erp", "CREATE INDEX ON erp.order_items (order_id, line) INCLUDE (quantity)");
    assert_eq!(back_up(&server, DumpOptions::new()).await.total(), Some(Some(estimate)));

    let schema = back_up(&server, DumpOptions::new().scope(Scope::Schema)).await;
    assert_eq!(schema.total(), Some(None), "definitions have no size beforehand");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_locked_is_not_waited_for_by_the_estimate() {
    let server = PgServer::start(17);
    server.create_sample("erp", 1);
    let mut locker = server.client("psql");
    let lock = "BEGIN; LOCK TABLE erp.customers; SELECT pg_sleep(600)";
    let mut locker = locker.args(["-d", "erp", "-c", lock]).stdout(std::process::Stdio::null()).spawn().unwrap();
    let is = |sql: &str| server.psql("erp", sql) == "t";
    let until = async |done: &dyn Fn() -> bool| {
        let started = Instant::now();
        while !done() {
            assert!(started.elapsed() < Duration::from_secs(30), "waited in vain");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let locks = "FROM pg_locks WHERE relation = 'erp.customers'::regclass AND";
    until(&|| is(&format!("SELECT count(*) > 0 {locks} granted"))).await;
    let said = Said::default();
    let mut backup = MemoryBackup::new();
    let driver = driver(&server).dump_options(DumpOptions::new().database("erp").globals(false));
    let release = async {
        until(&|| said.total().is_some() && is(&format!("SELECT count(*) > 0 {locks} NOT granted"))).await;
        assert_eq!(said.total(), Some(None), "nothing was known");
        server
            .psql("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'BEGIN; LOCK%'");
    };
    let (taken, ()) = tokio::join!(driver.back_up(&mut backup, &said), release);
    taken.unwrap();
    assert!(said.bytes() > 10_000);
    locker.wait().unwrap();
}
