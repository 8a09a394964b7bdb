//! What goes on after an operation was cancelled: dropping a future cannot wait, and its leftovers have to go.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinHandle;

/// Clean-up work of cancelled operations. Cloning shares it.
///
/// An operation is cancelled by dropping its future. What it had written is then removed in the background;
/// a program that ends soon after waits for that with [`settle`](Self::settle). If it does not, nothing is
/// lost: prune finds the leftovers once their lease has lapsed.
#[derive(Debug, Clone, Default)]
pub struct Cleanups(Arc<Mutex<Vec<JoinHandle<()>>>>);

impl Cleanups {
    /// Waits until all clean-up work that has begun is done.
    pub async fn settle(&self) {
        loop {
            let running = std::mem::take(&mut *self.lock());
            if running.is_empty() {
                return;
            }
            futures::future::join_all(running).await;
        }
    }

    /// Begins work in the background; outside of a runtime it is left undone.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let mut running = self.lock();
        running.retain(|task| !task.is_finished());
        running.push(runtime.spawn(work));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
