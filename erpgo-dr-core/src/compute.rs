//! A bounded pool of threads for CPU work, so that compression and ciphers never stall the async runtime.

use std::fmt;
use std::sync::Arc;

use tokio::sync::oneshot;

/// Runs closures on a fixed number of threads. Cloning shares the threads.
#[derive(Clone)]
pub struct ComputePool {
    threads: Arc<rayon::ThreadPool>,
}

impl fmt::Debug for ComputePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComputePool").field("threads", &self.parallelism()).finish()
    }
}

impl ComputePool {
    /// Starts a pool of `threads` threads; 0 means one per core.
    ///
    /// # Errors
    /// [`std::io::Error`] when the operating system refuses a thread.
    pub fn new(threads: usize) -> std::io::Result<Self> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|n| format!("erpgo-dr-compute-{n}"))
            .build()
            .map_err(std::io::Error::other)?;
        Ok(Self { threads: Arc::new(pool) })
    }

    /// Returns the number of threads.
    pub fn parallelism(&self) -> usize {
        self.threads.current_num_threads()
    }

    /// Queues `work` at once, before the returned future is first polled, and resolves to its result.
    ///
    /// The caller bounds how many are in flight. Dropping the future does not stop work that began.
    ///
    /// # Panics
    /// Resumes on the awaiting task a panic of `work`.
    pub fn run<T, F>(&self, work: F) -> impl Future<Output = T> + Send + 'static
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        self.threads.spawn_fifo(move || {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            // The receiver is gone when its task was cancelled: nobody waits for this result.
            let _ = sender.send(outcome);
        });
        async move {
            match receiver.await.expect("the pool answers every job it accepted") {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    }
}
