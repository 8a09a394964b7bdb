//! How long a check may take.

use std::time::Duration;

use erpgo_dr_core::storage::StorageError;

use crate::error::CliError;

/// The time that each check has. A check that is not done by then has failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience(pub(super) Duration);

impl Patience {
    /// Waits for an answer of `subject`, but not longer than that.
    pub(super) async fn with<T, E: Into<CliError>>(
        self,
        subject: &str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, CliError> {
        match tokio::time::timeout(self.0, work).await {
            Ok(outcome) => outcome.map_err(Into::into),
            Err(_) => Err(StorageError::TimedOut { location: subject.to_owned(), timeout: self.0 }.into()),
        }
    }
}
