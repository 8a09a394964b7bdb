//! Backup, restore, verify, prune and repair: the only layer that joins the ones below.
//!
//! Each operation takes an opened repository, options and a progress sink, and returns a report. Reports
//! are plain data that serialize: what they say is what the CLI prints and Python returns.

mod backup;
mod error;
mod import;
pub mod legacy;
mod prune;
mod repair;
mod restore;
mod restore_test;
mod status;
mod thaw;
mod verify;

pub use backup::{BackupOptions, BackupReport, backup};
pub use error::{Error, ErrorKind, Result};
pub use import::{ImportOptions, import};
pub use prune::{PruneOptions, PruneReport, PrunedBackup, prune};
pub use repair::{RepairOutcome, repair};
pub use restore::{BackupSelector, RestoreReport, restore, restore_file, select};
pub use restore_test::{RestoreTestOptions, SqlCheck, restore_test};
pub use status::{Status, status};
pub use thaw::{ThawReport, thaw};
pub use verify::{VerifyOptions, VerifyReport, verify};
