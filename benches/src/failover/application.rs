//! An application that commits all the while through whatever server is the primary, and what of it was acknowledged.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use erpgo_dr_core::postgres::ConnectionSettings;

/// Makes the table that it writes.
pub const SCHEMA: &str = "CREATE TABLE commits (n bigint PRIMARY KEY, payload text NOT NULL)";

/// How long a connection, or a commit, may take.
const LIMIT: Duration = Duration::from_millis(1000);
/// Before a server is tried again.
const PAUSE: Duration = Duration::from_millis(20);

/// The application. It ends when it is dropped.
#[derive(Debug)]
pub struct Application {
    noted: Arc<Noted>,
    writer: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Noted {
    stop: AtomicBool,
    acknowledged: AtomicU64,
    lost: AtomicU64,
    fault: Mutex<Option<Fault>>,
}

/// Something that was broken, and the first commit behind it.
#[derive(Debug, Clone, Copy)]
struct Fault {
    began: Instant,
    /// When it was done: commits that begin later are behind it.
    done: Instant,
    acknowledged: Option<Instant>,
}

impl Application {
    /// Begins to write. `servers` says which may be the primary, each time that one is looked for.
    ///
    /// # Errors
    /// If no thread can be had.
    pub fn begin(servers: impl Fn() -> Vec<ConnectionSettings> + Send + 'static) -> std::io::Result<Self> {
        let noted = Arc::new(Noted::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = Arc::clone(&noted);
        let writer = std::thread::spawn(move || {
            runtime.block_on(async {
                while !shared.stop.load(Ordering::SeqCst) {
                    for server in servers() {
                        // What ends it is the loss of the server, which is what this is about.
                        let _ = write(&server, &shared).await;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            });
        });
        Ok(Self { noted, writer: Some(writer) })
    }

    /// Returns how many commits were acknowledged: their numbers are those from 1 on.
    pub fn acknowledged(&self) -> u64 {
        self.noted.acknowledged.load(Ordering::SeqCst)
    }

    /// Returns how many of them a primary did not have.
    pub fn lost(&self) -> u64 {
        self.noted.lost.load(Ordering::SeqCst)
    }

    /// Notes that something is broken now that was begun to be broken at a moment.
    pub fn note_fault(&self, began: Instant) {
        let fault = Fault { began, done: Instant::now(), acknowledged: None };
        *self.noted.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    }

    /// Returns how long it took from the fault to the first commit that began behind it, if there is one.
    fn outage(&self) -> Option<Duration> {
        let fault = (*self.noted.fault.lock().unwrap_or_else(PoisonError::into_inner))?;
        fault.acknowledged.map(|acknowledged| acknowledged.duration_since(fault.began))
    }

    /// Waits until it has written behind the fault, and returns how long that took.
    pub fn written_again(&self, patience: Duration) -> Option<Duration> {
        let begun = Instant::now();
        while begun.elapsed() < patience {
            if let Some(outage) = self.outage() {
                return Some(outage);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.noted.stop.store(true, Ordering::SeqCst);
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

async fn write(server: &ConnectionSettings, noted: &Noted) -> Outcome {
    let client = tokio::time::timeout(LIMIT, server.clone().connect_timeout(LIMIT).connect()).await??;
    let question = "SELECT pg_is_in_recovery(), coalesce(max(n), 0) FROM commits";
    let row = tokio::time::timeout(LIMIT, client.query_one(question, &[])).await??;
    if row.get::<_, bool>(0) {
        return Ok(());
    }
    // What was committed, and not acknowledged when the last server was lost, is there.
    let mut last = row.get::<_, i64>(1).unsigned_abs();
    let missing = noted.acknowledged.load(Ordering::SeqCst).saturating_sub(last);
    noted.lost.fetch_add(missing, Ordering::SeqCst);
    noted.acknowledged.store(last, Ordering::SeqCst);
    while !noted.stop.load(Ordering::SeqCst) {
        let (next, begun) = (last + 1, Instant::now());
        let commit = format!("INSERT INTO commits VALUES ({next}, repeat(md5('{next}'), 5))");
        tokio::time::timeout(LIMIT, client.batch_execute(&commit)).await??;
        last = next;
        noted.acknowledged.store(last, Ordering::SeqCst);
        if let Some(fault) = &mut *noted.fault.lock().unwrap_or_else(PoisonError::into_inner)
            && fault.acknowledged.is_none()
            && begun > fault.done
        {
            fault.acknowledged = Some(Instant::now());
        }
    }
    Ok(())
}
