//! Runs what cannot move from one thread to another while it runs.

use erpgo_dr_core::repository::Cleanups;
use pyo3::exceptions::PyRuntimeError;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::errors::Failure;
use crate::report::Outcome;

/// Runs work whose future is not `Send` on a thread of its own. Dropped, it drops the work there, and `cleanups` wait for that.
pub(crate) async fn on_one_thread<F, W>(cleanups: &Cleanups, work: F) -> Result<Outcome, Failure>
where
    F: FnOnce() -> W + Send + 'static,
    W: Future<Output = Result<Outcome, Failure>>,
{
    // Nobody sends on it: that it is gone is the signal.
    let (_stop, stopped) = oneshot::channel::<()>();
    let (reply, answer) = oneshot::channel();
    let runtime = Handle::current();
    let thread = tokio::task::spawn_blocking(move || {
        runtime.block_on(async move {
            tokio::select! {
                result = work() => drop(reply.send(result)),
                _ = stopped => {}
            }
        });
    });
    cleanups.spawn(async move { drop(thread.await) });
    answer.await.unwrap_or_else(|_| Err(Failure::Python(PyRuntimeError::new_err("the operation panicked"))))
}
