//! A ledger that is written all the while, and what of it the server has acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use erpgo_dr_core::postgres::ConnectionSettings;

use crate::Outcome;

/// Accounts that entries are booked on.
const ACCOUNTS: u64 = 500;
/// Before the server is tried again that was killed.
const PAUSE: Duration = Duration::from_millis(50);

/// Makes the tables; the filler gives a backup something to read.
pub(crate) const SCHEMA: &str = "
    CREATE TABLE accounts (id int PRIMARY KEY, balance bigint NOT NULL DEFAULT 0);
    INSERT INTO accounts SELECT n FROM generate_series(0, 499) AS n;
    CREATE TABLE ledger (n bigint PRIMARY KEY, account int NOT NULL, amount bigint NOT NULL, payload text NOT NULL);
    CREATE TABLE filler AS SELECT n, repeat(md5(n::text), 20) AS t FROM generate_series(1, 120000) AS n";

/// Writes entries, one transaction each, until it is dropped.
pub(crate) struct Ledger {
    acknowledged: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    writer: Option<JoinHandle<()>>,
}

impl Ledger {
    pub(crate) fn begin(settings: ConnectionSettings) -> Outcome<Self> {
        let (acknowledged, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let writer = {
            let (acknowledged, stop) = (Arc::clone(&acknowledged), Arc::clone(&stop));
            std::thread::spawn(move || runtime.block_on(write(&settings, &acknowledged, &stop)))
        };
        Ok(Self { acknowledged, stop, writer: Some(writer) })
    }

    /// Returns the last entry that the server has acknowledged; all before it are, too.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// Goes on where the server is, after every loss of the connection.
async fn write(settings: &ConnectionSettings, acknowledged: &AtomicU64, stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        let Ok(client) = settings.connect().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let Ok(row) = client.query_one("SELECT coalesce(max(n), 0) FROM ledger", &[]).await else { continue };
        // What was committed, and not acknowledged when the server died.
        let mut last = row.get::<_, i64>(0).unsigned_abs();
        acknowledged.fetch_max(last, Ordering::SeqCst);
        while !stop.load(Ordering::SeqCst) {
            let (next, account) = (last + 1, (last * 7919) % ACCOUNTS);
            let amount = next % 1000;
            let entry = format!(
                "BEGIN; INSERT INTO ledger VALUES ({next}, {account}, {amount}, md5('{next}'));
                 UPDATE accounts SET balance = balance + {amount} WHERE id = {account}; COMMIT"
            );
            if client.batch_execute(&entry).await.is_err() {
                break;
            }
            last = next;
            acknowledged.store(last, Ordering::SeqCst);
        }
    }
}

/// The question whether a restored ledger is whole, and reaches at least to an entry.
pub(crate) fn question(least: u64) -> String {
    format!(
        "SELECT count(*) = coalesce(max(n), 0) AND coalesce(max(n), 0) >= {least}
                AND coalesce(bool_and(payload = md5(n::text)), true)
                AND coalesce(sum(amount), 0) = (SELECT sum(balance) FROM accounts)
                AND (SELECT count(*) FROM filler) >= 100000
         FROM ledger"
    )
}
