//! Backup, restore, verify, prune and repair: the only layer that joins the ones below.
//!
//! Each operation takes an opened repository, options and a progress sink, and returns a report. Reports
//! are plain data that serialize: what they say is what the CLI prints and Python returns.

mod backup;
pub mod bisect;
pub mod drill;
mod error;
#[cfg(feature = "evidence")]
pub mod evidence;
mod figures;
mod import;
mod integrity;
pub mod legacy;
pub mod physical;
mod places;
mod prune;
mod repair;
mod restore;
mod restore_test;
mod status;
mod strays;
mod thaw;
mod verify;
pub mod wal;
mod window;

pub use backup::{BackupOptions, BackupReport, backup};
#[cfg(feature = "runbooks")]
pub(crate) use error::repository_kind;
pub use error::{Error, ErrorKind, Result};
pub use figures::{EarlierFigure, FigureComparison, FiguresReport, check_figures};
pub use import::{ImportOptions, import};
pub use integrity::{IntegrityOptions, IntegrityReport, check_integrity};
pub use places::catalogue_of_places;
pub use prune::{PruneOptions, PruneReport, PrunedBackup, prune};
pub use repair::{RepairOutcome, repair};
pub use restore::{BackupSelector, RestoreReport, restore, restore_file, select, select_dump};
pub use restore_test::{ReplayTest, RestoreTestOptions, SqlCheck, restore_test};
pub use status::{Status, status, status_of};
pub use thaw::{ThawReport, thaw};
pub use verify::{VerifyOptions, VerifyReport, verify};
pub use window::{RecoverySpan, RecoveryWindow, WindowMemory, recovery_windows, recovery_windows_with};

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::path::Path;
    use std::sync::Arc;

    use super::legacy::LegacyOptions;
    use super::wal::{WalCheckOptions, WalFetchOptions, WalPrefetchOptions, WalPushOptions, WalSpool};
    use super::*;
    use crate::postgres::ClientPrograms;
    use crate::progress::NoProgress;
    use crate::storage::{RepairOptions, ReplicatedStorage, ThawOptions};
    use crate::types::{BackupId, WalFileName, WalSegmentName, WalSegmentSize};
    use crate::{DatabaseDriver, Repository, RetentionPolicy};

    #[derive(Clone)]
    struct Parts {
        repository: Arc<Repository>,
        driver: Arc<dyn DatabaseDriver>,
        policy: Arc<dyn RetentionPolicy>,
        places: ReplicatedStorage,
        id: BackupId,
    }

    fn task<F: Future + Send + 'static>(_: F) {}

    /// Compiles only if a program can run every operation as a task of its own.
    #[allow(dead_code, reason = "that it compiles is the test")]
    fn every_operation_is_a_task(parts: Parts) {
        let p = parts.clone();
        task(async move { backup(&p.repository, &*p.driver, &BackupOptions::default(), &NoProgress).await });
        let p = parts.clone();
        task(
            async move { verify(&p.repository, &[p.id], Some(&*p.driver), &VerifyOptions::default(), &NoProgress).await },
        );
        let p = parts.clone();
        task(async move { restore(&p.repository, &p.id, &*p.driver, &NoProgress).await });
        let p = parts.clone();
        task(async move {
            let path = Path::new("file");
            restore_file(path, &LegacyOptions::default(), &*p.driver, &NoProgress).await?;
            import(&p.repository, path, &ImportOptions::default(), Some(&*p.driver), &NoProgress).await
        });
        let p = parts.clone();
        task(async move {
            let options = RestoreTestOptions::new(ClientPrograms::new(), "scratch");
            restore_test(&p.repository, &p.id, &options, &NoProgress).await
        });
        let p = parts.clone();
        task(async move { prune(&p.repository, &p.policy, &PruneOptions::default(), &NoProgress).await });
        let p = parts.clone();
        task(async move { repair(&p.repository, &p.places, &RepairOptions::default(), false, &NoProgress).await });
        let p = parts.clone();
        task(async move { thaw(&p.repository, &p.id, &ThawOptions::default(), &NoProgress).await });
        let p = parts.clone();
        task(async move {
            let settings = crate::postgres::ConnectionSettings::default();
            let options = physical::ClusterBackupOptions::default();
            physical::back_up_cluster(&p.repository, &settings, None, &options, &NoProgress).await?;
            physical::receive_cluster(&p.repository, &settings, Path::new("scratch"), &options, &NoProgress).await?;
            let (target, recovery) = (physical::ClusterTarget::new("data"), physical::RecoveryOptions::default());
            physical::compare_cluster(&p.repository, &p.id, &target, &NoProgress).await?;
            physical::restore_cluster(&p.repository, &p.id, &target, &recovery, &NoProgress).await
        });
        let p = parts.clone();
        task(async move {
            let name: WalFileName = "000000010000000000000001".parse()?;
            wal::wal_push(&p.repository, Path::new("segment"), &WalPushOptions::default()).await?;
            wal::wal_fetch(&p.repository, name, Path::new("segment"), &WalFetchOptions::default()).await?;
            wal::wal_check(&p.repository, None, &WalCheckOptions::default()).await?;
            Ok::<_, Box<dyn std::error::Error>>(())
        });
        let p = parts.clone();
        task(async move {
            let name: WalSegmentName = "000000010000000000000001".parse().ok()?;
            let (spool, options) = (WalSpool::new("spool"), WalPrefetchOptions::new(NonZeroUsize::MIN));
            wal::wal_prefetch(&p.repository, &spool, (1, name, WalSegmentSize::DEFAULT), &options).await.ok()
        });
        task(async move {
            let settings = crate::postgres::ConnectionSettings::default();
            check_integrity(&settings, &IntegrityOptions::default(), &NoProgress).await
        });
        let p = parts.clone();
        task(async move {
            let options = bisect::BisectOptions::new("erp", "SELECT true", ClientPrograms::new(), "scratch");
            bisect::plan_bisect(&p.repository, &options).await?;
            bisect::bisect(&p.repository, &options, &NoProgress).await
        });
        let p = parts.clone();
        task(async move { recovery_windows(&p.repository, &p.repository.catalogue().await?).await });
        task(async move { status(&parts.repository).await });
    }
}
