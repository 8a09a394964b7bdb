//! How a physical backup is taken.

use std::time::Duration;

use crate::codec::Codec;
use crate::repository::VerifyLevel;
use crate::storage::StorageClass;

/// How a physical backup is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterBackupOptions {
    /// Another codec than the repository's.
    pub codec: Option<Codec>,
    /// The storage class of the packs; catalogue, manifest and map stay in the place's default class.
    pub storage_class: Option<StorageClass>,
    /// A name for people.
    pub label: Option<String>,
    /// How it is found out what has changed since the last backup of the cluster.
    pub changes: ChangeDetection,
    /// How long the server's summaries of its WAL are waited for before pages are compared instead.
    pub summary_patience: Duration,
    /// Whether the server hurries with the checkpoint that the backup begins with, or spreads it.
    pub fast_checkpoint: bool,
    /// How deep the backup is verified before this returns; `None` leaves that for later.
    pub verify: Option<VerifyLevel>,
}

impl Default for ClusterBackupOptions {
    fn default() -> Self {
        Self {
            codec: None,
            storage_class: None,
            label: None,
            changes: ChangeDetection::Auto,
            summary_patience: Duration::from_secs(60),
            fast_checkpoint: true,
            verify: Some(VerifyLevel::Mac),
        }
    }
}

impl ClusterBackupOptions {
    /// Sets another codec than the repository's.
    pub fn with_codec(mut self, codec: Option<Codec>) -> Self {
        self.codec = codec;
        self
    }

    /// Sets the storage class of the packs.
    pub fn with_storage_class(mut self, class: Option<StorageClass>) -> Self {
        self.storage_class = class;
        self
    }

    /// Sets a name for people.
    pub fn with_label(mut self, label: Option<String>) -> Self {
        self.label = label;
        self
    }

    /// Sets how it is found out what has changed.
    pub fn with_changes(mut self, changes: ChangeDetection) -> Self {
        self.changes = changes;
        self
    }

    /// Sets how long the server's summaries are waited for.
    pub fn with_summary_patience(mut self, patience: Duration) -> Self {
        self.summary_patience = patience;
        self
    }

    /// Sets whether the server hurries with its checkpoint.
    pub fn with_fast_checkpoint(mut self, fast: bool) -> Self {
        self.fast_checkpoint = fast;
        self
    }

    /// Sets how deep the backup is verified at once.
    pub fn with_verify(mut self, level: Option<VerifyLevel>) -> Self {
        self.verify = level;
        self
    }
}

/// How a backup finds out what has changed since the last one of the same cluster. What has not is taken over from there: every
/// backup is complete, and none needs another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeDetection {
    /// By the server's summaries of its WAL where it keeps them (`summarize_wal`, PostgreSQL 17 and later); else by the records of
    /// the WAL since then, where all of it is there, and it is at most a quarter as large as the cluster; else by comparing.
    #[default]
    Auto,
    /// All files are read, and their pages compared with those of the last backup.
    Compare,
    /// Both: all files are read and compared, and pages that differ though the WAL does not name them are reported.
    Both,
    /// Not at all: everything is stored anew.
    Full,
}
