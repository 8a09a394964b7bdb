//! What goes on after an operation was cancelled: dropping a future cannot wait, and its leftovers have to go.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinHandle;

/// Clean-up work of cancelled operations. Cloning shares it.
///
/// An operation is cancelled by dropping its future. What it had made is then removed in the background;
/// a program that ends soon after waits for that with [`settle`](Self::settle), and asks
/// [`remains`](Self::remains) for what could not be removed. In a repository nothing is lost if it does not:
/// prune finds the leftovers once their lease has lapsed. On a server nobody does.
#[derive(Debug, Clone, Default)]
pub struct Cleanups(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    running: Mutex<Vec<JoinHandle<()>>>,
    owed: Mutex<Vec<Arc<str>>>,
}

/// Something that has to go. Unless it is [`settled`](Self::settled), it remains.
#[derive(Debug)]
pub(crate) struct Debt {
    cleanups: Cleanups,
    what: Arc<str>,
}

impl Cleanups {
    /// Waits until all clean-up work that has begun is done.
    pub async fn settle(&self) {
        loop {
            let running = std::mem::take(&mut *lock(&self.0.running));
            if running.is_empty() {
                return;
            }
            futures::future::join_all(running).await;
        }
    }

    /// Begins work in the background; outside of a runtime it is left undone.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let mut running = lock(&self.0.running);
        running.retain(|task| !task.is_finished());
        running.push(runtime.spawn(work));
    }

    /// Names what has not been removed: because that failed, or is not done yet.
    pub fn remains(&self) -> Vec<String> {
        lock(&self.0.owed).iter().map(ToString::to_string).collect()
    }

    /// Notes that something has to go.
    pub(crate) fn owe(&self, what: String) -> Debt {
        let what: Arc<str> = what.into();
        lock(&self.0.owed).push(Arc::clone(&what));
        Debt { cleanups: self.clone(), what }
    }
}

impl Debt {
    /// Says that it is gone.
    pub(crate) fn settled(self) {
        lock(&self.cleanups.0.owed).retain(|what| !Arc::ptr_eq(what, &self.what));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_not_removed_is_named() {
        let cleanups = Cleanups::default();
        let (gone, stays) = (cleanups.owe("a database".to_owned()), cleanups.owe("a database".to_owned()));
        cleanups.spawn(async move { gone.settled() });
        cleanups.spawn(async move { drop(stays) });
        cleanups.settle().await;
        assert_eq!(cleanups.remains(), ["a database"]);
    }
}
