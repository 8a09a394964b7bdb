//! What was found when a backup was verified, and holds that people put on backups. Both are MACed records.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::types::{BackupId, Lsn};

pub(super) const VERDICT_DOMAIN: &str = "verdict";
pub(super) const HOLD_DOMAIN: &str = "hold";

/// How much of a backup was proven, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum VerifyLevel {
    /// The stored bytes have the recorded hashes. Needs no key, and proves nothing against someone who forges.
    Scrub,
    /// Every MAC holds, and `pg_restore --list` reads the streams.
    Mac,
    /// Every row was decrypted, and counts and checksums agree with those of backup time.
    Contents,
    /// A throwaway server was restored from it, and agrees with the database of backup time.
    Restore,
}

impl std::fmt::Display for VerifyLevel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Scrub => "scrub",
            Self::Mac => "mac",
            Self::Contents => "contents",
            Self::Restore => "restore",
        })
    }
}

/// The outcome of one verification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Verdict {
    /// The backup.
    pub backup: BackupId,
    /// When the verification ended.
    pub at: DateTime<Utc>,
    /// How deep it went.
    pub level: VerifyLevel,
    /// Whether all was as it should be.
    pub passed: bool,
    /// Seconds that the verification took.
    pub seconds: f64,
    /// Seconds from the first byte read to a database that answers: the observed RTO. Only for restores.
    pub restore_seconds: Option<f64>,
    /// When packs of earlier backups had been read that were taken on trust; absent when everything was read now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packs_read_at: Option<DateTime<Utc>>,
    /// How far the log was replayed beyond the end of the backup, where that was asked for. Only for restores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replayed_to: Option<Lsn>,
    /// What was wrong, in words.
    pub findings: Vec<String>,
    /// Why the verdict could not be written into the repository. In no stored verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unrecorded: Option<String>,
}

impl Verdict {
    /// Records a verification.
    pub fn new(backup: BackupId, at: DateTime<Utc>, level: VerifyLevel, seconds: f64, findings: Vec<String>) -> Self {
        Self {
            backup,
            at,
            level,
            passed: findings.is_empty(),
            seconds,
            restore_seconds: None,
            packs_read_at: None,
            replayed_to: None,
            findings,
            unrecorded: None,
        }
    }
}

/// A request that a backup stay, whatever the policy says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// When it was put there.
    pub since: DateTime<Utc>,
    /// Why.
    pub reason: String,
}
