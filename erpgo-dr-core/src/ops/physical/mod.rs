//! Physical backups: the files of a whole cluster, and recovery to any moment.

mod backup;
mod collect;
mod feed;
mod recovery;
mod restore;
mod restore_test;
mod scatter;
mod target;
mod wal;

pub use backup::{ClusterBackupOptions, ClusterBackupReport, back_up_cluster};
pub use recovery::{RecoveryAction, RecoveryOptions, RecoveryTarget, RecoveryTimeline};
pub use restore::{ClusterRestoreReport, restore_cluster, select_cluster};
pub(super) use restore_test::{check_relations, start_restored};
pub use target::ClusterTarget;

/// Ends up in the data directory from the manifest, and is never read from there.
const BACKUP_LABEL: &str = "backup_label";
/// Where a server keeps its WAL.
const WAL_FOLDER: &str = "pg_wal";
/// What a server looks for first.
const CONTROL_FILE: &str = "global/pg_control";
