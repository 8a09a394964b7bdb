//! A private PostgreSQL server that lives as long as one verification.
//!
//! It owns the making, running, stopping and removing of such a server. What is restored into it, and
//! what is asked of it, is the business of its user. It talks to nobody: its socket lies in a folder that
//! only its own account can enter, it archives nothing, replicates to nobody and loads no libraries.
//!
//! It is **not durable** (`fsync = off`): never keep data in it.

mod folder;
mod options;
mod process;
#[cfg(feature = "runbooks")]
mod rehearsal;
mod restored;
#[cfg(feature = "runbooks")]
mod seal;
mod server;

pub use folder::{SweepReport, leftovers, sweep};
pub use options::{RunAs, ThrowawayOptions};
#[cfg(feature = "runbooks")]
pub(crate) use rehearsal::RehearsalServer;
pub use restored::ThrowawayFolder;
pub(crate) use restored::ThrowawayRun;
#[cfg(feature = "runbooks")]
pub(crate) use seal::NetworkSeal;
pub use server::{ThrowawayConnection, ThrowawayServer};

use super::PostgresError;

/// Runs blocking work off the async runtime.
async fn blocking<T, F>(work: F) -> Result<T, PostgresError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, PostgresError> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(PostgresError::Throwaway("the runtime is shutting down".to_owned())),
    }
}

/// Names what was tried on which file in an I/O error.
fn file_error(path: &std::path::Path, action: &'static str) -> impl FnOnce(std::io::Error) -> PostgresError {
    let path = path.to_owned();
    move |source| PostgresError::File { path, action, source }
}
