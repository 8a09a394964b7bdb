//! Reports on clusters and on the write-ahead log.

use std::path::Path;

use erpgo_dr_core::ops::bisect::{BisectReport, BisectRestore};
use erpgo_dr_core::ops::physical::{
    ClusterBackupReport, ClusterDifference, ClusterRestoreReport, RecoveryTarget, RecoveryTimeline,
};
use erpgo_dr_core::ops::wal::{
    WalCheckReport, WalClusterReport, WalFetchReport, WalPruneReport, WalPushReport, WalStreamReport,
};
use erpgo_dr_core::ops::{Error, IntegrityReport};
use erpgo_dr_core::types::WalFileName;
use serde_json::{Value, json};

use super::{Outcome, Report, with};

reports! {
    ClusterBackupReport as "ClusterBackupReport", |report| json!({ "is_complete": report.is_complete() });
    WalFetchReport as "WalFetchReport", |_report| json!({});
    WalClusterReport as "WalCluster", |_report| json!({});
    WalCheckReport as "WalCheckReport", |report| json!({ "is_healthy": report.is_healthy() });
    WalStreamReport as "WalStreamReport", |report| json!({ "is_complete": report.is_complete() });
    WalPruneReport as "WalPruneReport", |report| json!({ "is_complete": report.missed.is_empty() });
    IntegrityReport as "IntegrityReport", |report| json!({ "passed": report.passed() });
    BisectReport as "BisectReport", |report| json!({ "restore": report.restore.as_ref().map(restore) });
}

impl Report for ClusterRestoreReport {
    const CLASS: &'static str = "ClusterRestoreReport";

    fn value(&self) -> Value {
        json!({
            "backup": self.backup,
            "data_directory": shown(&self.data),
            "server_version": self.server_version,
            "files": self.files,
            "bytes": self.bytes,
            "written_bytes": self.written_bytes,
            "removed": self.removed,
            "start_lsn": self.start_lsn,
            "stop_lsn": self.stop_lsn,
            "target": target(&self.target),
            "seconds": self.seconds,
            "started": self.started,
        })
    }
}

impl Report for ClusterDifference {
    const CLASS: &'static str = "ClusterDifference";

    fn value(&self) -> Value {
        let removed: Vec<_> = self.removed.iter().map(|path| shown(path)).collect();
        json!({ "files": self.files, "bytes": self.bytes, "removed": removed })
    }
}

/// What a push did, and what it took along.
pub(crate) fn pushed(report: &WalPushReport, ahead: &[WalFileName], error: Option<&Error>) -> Outcome {
    let error = error.map(ToString::to_string);
    let facts = json!({ "is_complete": report.is_complete(), "ahead": ahead, "ahead_error": error });
    Outcome::Report("WalPushReport", with(report, facts))
}

fn target(target: &RecoveryTarget) -> Value {
    match target {
        RecoveryTarget::Latest => json!({ "type": "latest" }),
        RecoveryTarget::Immediate => json!({ "type": "immediate" }),
        RecoveryTarget::Time(time) => json!({ "type": "time", "time": time }),
        RecoveryTarget::Lsn(lsn) => json!({ "type": "lsn", "lsn": lsn }),
        RecoveryTarget::Xid(xid) => json!({ "type": "xid", "xid": xid }),
        RecoveryTarget::Name(name) => json!({ "type": "name", "name": name }),
    }
}

fn restore(restore: &BisectRestore) -> Value {
    let timeline = match restore.timeline {
        RecoveryTimeline::Latest => "latest".to_owned(),
        RecoveryTimeline::Current => "current".to_owned(),
        RecoveryTimeline::Id(timeline) => timeline.get().to_string(),
    };
    let settings: Vec<_> = restore.settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
    json!({
        "backup": restore.backup,
        "target": target(&restore.target),
        "inclusive": restore.inclusive,
        "timeline": timeline,
        "settings": settings,
    })
}

/// A path for people: JSON holds no others than those of Unicode.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
