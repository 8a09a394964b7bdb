//! Looks all the while whether both servers are primaries, on their sockets, which no network cuts off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use erpgo_dr_benches::failover::Server;
use erpgo_dr_core::postgres::ConnectionSettings;
use erpgo_dr_core::topology::{Role, ask_server};

const EVERY: Duration = Duration::from_millis(150);
const LIMIT: Duration = Duration::from_secs(2);

/// The one who looks. It ends when it is dropped.
pub(crate) struct Monitor {
    shared: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    times: AtomicU64,
}

impl Monitor {
    pub(crate) fn begin(servers: &[Server; 2]) -> std::io::Result<Self> {
        let shared = Arc::new(Seen::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (seen, sockets) = (Arc::clone(&shared), servers.each_ref().map(Server::socket));
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                let mut before = false;
                while !seen.stop.load(Ordering::SeqCst) {
                    // Twice, because the two are not asked at the same instant.
                    let both = both_are_primaries(&sockets).await && both_are_primaries(&sockets).await;
                    if both && !before {
                        seen.times.fetch_add(1, Ordering::SeqCst);
                    }
                    before = both;
                    tokio::time::sleep(EVERY).await;
                }
            });
        });
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Returns how often both became primaries.
    pub(crate) fn split_brains(&self) -> u64 {
        self.shared.times.load(Ordering::SeqCst)
    }
}

async fn both_are_primaries(sockets: &[ConnectionSettings; 2]) -> bool {
    let (one, other) = tokio::join!(ask_server(&sockets[0], LIMIT), ask_server(&sockets[1], LIMIT));
    [one, other].into_iter().all(|state| state.is_ok_and(|state| state.role != Role::Standby))
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
