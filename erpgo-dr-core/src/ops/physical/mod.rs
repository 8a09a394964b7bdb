//! Physical backups: the files of a whole cluster, and recovery to any moment.

mod backup;
mod base;
mod collect;
mod compare;
mod copy;
mod delta;
mod earlier;
mod early_sync;
mod feed;
mod lineage;
mod log;
mod manifest_file;
mod moment;
mod options;
mod plan;
mod recovery;
mod remote;
mod restore;
mod restore_test;
mod restored_copy;
mod resume;
mod scatter;
mod selection;
mod start;
mod target;
mod wal;

pub use backup::{ChangeSource, ClusterBackupReport, back_up_cluster, receive_cluster};
pub use moment::{RandomMoment, random_moment};
pub(super) use moment::{archived_behind, archived_end};
pub use options::{ChangeDetection, ClusterBackupOptions};
pub use recovery::{RecoveryAction, RecoveryOptions, RecoveryTarget, RecoveryTimeline};
pub(super) use restore::find as find_cluster;
pub use restore::{ClusterDifference, ClusterRestoreReport, compare_cluster, restore_cluster, select_cluster};
#[cfg(feature = "runbooks")]
pub(super) use restore_test::restore_throwaway;
pub(super) use restore_test::{check_relations, start_restored};
pub(super) use restored_copy::RestoredCopy;
pub use start::{ArchiveEnd, ClusterStartReport, RecoveredState, StartOptions, restore_and_start_cluster};
pub use target::ClusterTarget;

/// Ends up in the data directory from the manifest, and is never read from there.
const BACKUP_LABEL: &str = "backup_label";
/// What `ALTER SYSTEM` has set.
const AUTO_CONF: &str = "postgresql.auto.conf";
/// Where a server keeps its WAL.
const WAL_FOLDER: &str = "pg_wal";
/// Lies in a data directory, with the system identifier in it, while its restore is under way.
const RESTORE_MARK: &str = "erpgo-dr.restore";
/// What a server looks for first.
const CONTROL_FILE: &str = "global/pg_control";
/// The name of the control file until all else is durable: no server starts without one.
const CONTROL_DRAFT: &str = "global/pg_control.erpgo-dr";
/// Where a server that is started writes until its configuration says otherwise.
const START_LOG: &str = "erpgo-dr.log";
