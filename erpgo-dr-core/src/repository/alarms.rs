//! Alarms that the agent raised: one record for each subject, so that a restart, or another agent, does not raise them again.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::catalogue::read_trusted;
use super::history::JobName;
use super::{Repository, RepositoryError, layout};

pub(super) const ALARM_DOMAIN: &str = "alarm";

/// What was told of a subject last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AlarmRecord {
    /// The job, or `configuration`.
    pub subject: JobName,
    /// When it was raised.
    pub raised_at: DateTime<Utc>,
    /// Why, in words.
    pub reason: String,
    /// When it was cleared; `None` while it is open.
    pub cleared_at: Option<DateTime<Utc>>,
    /// Whether the last of this was delivered.
    pub told: bool,
}

impl AlarmRecord {
    /// Returns whether it is open.
    pub fn is_open(&self) -> bool {
        self.cleared_at.is_none()
    }
}

impl Repository {
    /// Reads the alarms, open and cleared. Those that are not authentic, or of epochs that are locked, are left out.
    ///
    /// # Errors
    /// Of the storage place.
    pub async fn alarms(&self) -> Result<Vec<AlarmRecord>, RepositoryError> {
        let storage = self.storage.as_ref();
        let found = read_trusted::<AlarmRecord>(storage, layout::ALARMS, ALARM_DOMAIN, &self.keyring).await?;
        let mut alarms = Vec::new();
        for (key, record) in found {
            match record {
                Ok(record) => alarms.extend(record),
                Err(error) => tracing::warn!(alarm = %key, %error, "an alarm cannot be trusted"),
            }
        }
        Ok(alarms)
    }

    /// Writes down what was told of a subject last.
    ///
    /// # Errors
    /// [`RepositoryError::Locked`]; of the storage place.
    #[cfg_attr(not(feature = "agent"), allow(dead_code, reason = "only the agent raises alarms"))]
    pub(crate) async fn record_alarm(&self, alarm: &AlarmRecord) -> Result<(), RepositoryError> {
        self.write_record(&layout::alarm(&alarm.subject), ALARM_DOMAIN, alarm).await
    }
}
