//! Sessions that commit without a pause, and what of it the server has acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use erpgo_dr_core::postgres::ConnectionSettings;

use crate::Outcome;

/// How many there are.
pub(crate) const WRITERS: usize = 4;

/// Makes the table that they write.
pub(crate) const SCHEMA: &str =
    "CREATE TABLE commits (writer int, n bigint, payload text NOT NULL, PRIMARY KEY (writer, n))";

/// What was acknowledged to a session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Acknowledged {
    pub(crate) began: u64,
    pub(crate) last: u64,
}

/// Sessions on one server; they end when it does.
pub(crate) struct Writers {
    acknowledged: Vec<Arc<(AtomicU64, AtomicU64)>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Writers {
    pub(crate) fn begin(settings: &ConnectionSettings) -> Outcome<Self> {
        let (mut acknowledged, mut threads) = (Vec::new(), Vec::new());
        let stop = Arc::new(AtomicBool::new(false));
        for writer in 0..WRITERS {
            let last = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let (settings, noted, stop) = (settings.clone(), Arc::clone(&last), Arc::clone(&stop));
            threads.push(std::thread::spawn(move || {
                // What ends it is the loss of the server, which is what this is about.
                let _ = runtime.block_on(write(&settings, writer, &noted, &stop));
            }));
            acknowledged.push(last);
        }
        Ok(Self { acknowledged, stop, threads })
    }

    /// Ends them, and returns for each the number that it began from and the last one that was acknowledged to it.
    pub(crate) fn end(self) -> Vec<Acknowledged> {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            let _ = thread.join();
        }
        let noted = |(first, last): &(AtomicU64, AtomicU64)| Acknowledged {
            began: first.load(Ordering::SeqCst),
            last: last.load(Ordering::SeqCst),
        };
        self.acknowledged.iter().map(|numbers| noted(numbers)).collect()
    }
}

async fn write(
    settings: &ConnectionSettings,
    writer: usize,
    acknowledged: &(AtomicU64, AtomicU64),
    stop: &AtomicBool,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let client = settings.connect().await?;
    let query = format!("SELECT coalesce(max(n), 0) FROM commits WHERE writer = {writer}");
    let mut last = client.query_one(query.as_str(), &[]).await?.get::<_, i64>(0).unsigned_abs();
    acknowledged.0.store(last, Ordering::SeqCst);
    acknowledged.1.store(last, Ordering::SeqCst);
    while !stop.load(Ordering::SeqCst) {
        let next = last + 1;
        // Every now and then one that fills pages, so that segments end within and between transactions.
        let repeats = if next.is_multiple_of(50) { 20_000 } else { 5 };
        let entry = format!("INSERT INTO commits VALUES ({writer}, {next}, repeat(md5('{next}'), {repeats}))");
        let committed = tokio::time::timeout(Duration::from_secs(30), client.batch_execute(&entry));
        committed.await??;
        last = next;
        acknowledged.1.store(last, Ordering::SeqCst);
    }
    Ok(())
}
