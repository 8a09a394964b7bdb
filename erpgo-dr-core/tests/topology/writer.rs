//! An application that commits all the while through whatever server is the primary.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use erpgo_dr_core::postgres::{ConnectionSettings, PostgresError};
use tokio::task::JoinHandle;

const LIMIT: Duration = Duration::from_secs(2);

pub(crate) struct Writer {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    writing: JoinHandle<Vec<u64>>,
}

impl Writer {
    /// Begins to write into the table `t`. Each number is tried once.
    pub(crate) fn begin(urls: &[String]) -> Self {
        let servers: Vec<ConnectionSettings> = urls.iter().map(|url| url.parse().unwrap()).collect();
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let shared = (Arc::clone(&stop), Arc::clone(&count));
        let writing = tokio::spawn(async move {
            let (stop, count) = shared;
            let (mut next, mut acknowledged) = (1, Vec::new());
            while !stop.load(Ordering::SeqCst) {
                for server in &servers {
                    // What ends it is the loss of the server, which is what this is about.
                    let _ = write(server, &mut next, &mut acknowledged, &stop, &count).await;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            acknowledged
        });
        Self { stop, count, writing }
    }

    /// Waits until so many more commits are acknowledged.
    pub(crate) async fn goes_on(&self, commits: u64) {
        let wanted = self.count.load(Ordering::SeqCst) + commits;
        while self.count.load(Ordering::SeqCst) < wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends it, and returns the numbers that were acknowledged.
    pub(crate) async fn end(self) -> Vec<u64> {
        self.stop.store(true, Ordering::SeqCst);
        self.writing.await.unwrap()
    }
}

async fn write(
    server: &ConnectionSettings,
    next: &mut u64,
    acknowledged: &mut Vec<u64>,
    stop: &AtomicBool,
    count: &AtomicU64,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let connected: Result<_, PostgresError> =
        tokio::time::timeout(LIMIT, server.clone().connect_timeout(LIMIT).connect()).await?;
    let client = connected?;
    while !stop.load(Ordering::SeqCst) {
        let row = tokio::time::timeout(LIMIT, client.query_one("SELECT pg_is_in_recovery()", &[])).await??;
        if row.get::<_, bool>(0) {
            return Ok(());
        }
        let number = *next;
        *next += 1;
        tokio::time::timeout(LIMIT, client.batch_execute(&format!("INSERT INTO t VALUES ({number})"))).await??;
        acknowledged.push(number);
        count.fetch_add(1, Ordering::SeqCst);
    }
    Ok(())
}
