//! The kinds of jobs, a file each. Each calls an operation, and says in a line what came of it.

mod backup;
mod check;
mod cluster_backup;
mod drill;
mod prune;
mod repair;
mod restore_test;
mod summary;
mod verify;
mod wal_prune;

pub use backup::BackupJob;
pub use check::CheckJob;
pub use cluster_backup::{ClusterBackupJob, ClusterSource};
pub use drill::DrillJob;
pub use prune::PruneJob;
pub use repair::RepairJob;
pub use restore_test::{ArchiveAccess, RestoreTestJob};
pub use summary::SummaryJob;
pub use verify::{VerifyJob, VerifyScope};
pub use wal_prune::WalPruneJob;

use crate::agent::job::JobOutcome;
use crate::ops::BackupReport;
use crate::repository::{RepositoryError, Verdict};
use crate::storage::MissedWrite;

/// Says what is wrong in one line: the first of it, and how much more there is.
fn in_short(findings: &[String]) -> String {
    match findings {
        [] => String::new(),
        [one] => one.clone(),
        [first, more @ ..] => format!("{first} (and {} more)", more.len()),
    }
}

fn missed(missed: &[MissedWrite]) -> Vec<String> {
    missed.iter().map(|miss| format!("{} lacks {}: {}", miss.location, miss.key, miss.error)).collect()
}

/// Says what came of a backup.
fn backed_up(report: &BackupReport, mut findings: Vec<String>) -> JobOutcome {
    if let Some(verdict) = &report.verdict {
        findings.extend(verdict.findings.clone());
        findings.extend(verdict.unrecorded.iter().map(|reason| format!("the verdict is not recorded: {reason}")));
    }
    findings.extend(missed(&report.missed));
    let message = match findings.is_empty() {
        true => format!("backup {}", report.id),
        false => format!("backup {}: {}", report.id, in_short(&findings)),
    };
    JobOutcome::new(report.is_complete() && findings.is_empty(), message)
        .with_bytes(report.stored_bytes)
        .with_fact("backup", report.id.as_str())
        .with_fact("kind", report.kind.as_str())
        .with_fact("plaintext_bytes", report.plaintext_bytes)
        .with_fact("stored_bytes", report.stored_bytes)
        .with_fact("missed", report.missed.len())
}

/// Says what came of verifications.
fn verified(verdicts: &[Verdict], mut findings: Vec<String>) -> JobOutcome {
    for verdict in verdicts {
        findings.extend(verdict.findings.iter().map(|finding| format!("{}: {finding}", verdict.backup)));
        let unrecorded = verdict.unrecorded.iter();
        findings.extend(unrecorded.map(|reason| format!("{}: the verdict is not recorded: {reason}", verdict.backup)));
    }
    let message = match (findings.as_slice(), verdicts) {
        ([], []) => "there is no backup yet".to_owned(),
        ([], [one]) => format!("{} is good ({})", one.backup, one.level),
        ([], all) => format!("{} backups are good", all.len()),
        (findings, _) => in_short(findings),
    };
    let backups: Vec<String> = verdicts.iter().map(|verdict| verdict.backup.to_string()).collect();
    JobOutcome::new(findings.is_empty(), message).with_fact("backups", backups).with_fact("findings", findings)
}

/// There is nothing to work on yet, which is no failure.
fn nothing_yet(error: &crate::ops::Error) -> bool {
    matches!(error, crate::ops::Error::Repository(RepositoryError::NoBackup(_)))
}
