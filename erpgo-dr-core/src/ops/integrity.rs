//! Looks at a server that is in use for data that is damaged or contradicts its catalogue. Changes nothing there.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Result, SqlCheck};
use crate::causes::chain;
use crate::postgres::{
    CheckOutcome, ConnectionSettings, InspectionLimits, IntegrityCounts, IntegrityFinding, IntegrityKind, NotChecked,
    PostgresError, ServerInspector, cluster_checksums, inspect_database,
};
use crate::progress::{Phase, PhaseGuard, Progress};

/// What is looked at, and how long it may take.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IntegrityOptions {
    /// The databases; all that can be connected to and are no templates, when none is named.
    pub databases: Vec<String>,
    /// Whether amcheck reads no tables, and does not compare indexes with them.
    pub quick: bool,
    /// How long a statement may take, which is one table, index or constraint; zero for as long as it takes.
    pub statement_timeout: Duration,
    /// What must hold too, of the databases that are looked at.
    pub checks: Vec<SqlCheck>,
}

impl Default for IntegrityOptions {
    fn default() -> Self {
        Self { databases: Vec::new(), quick: false, statement_timeout: Duration::from_secs(3600), checks: Vec::new() }
    }
}

impl IntegrityOptions {
    /// Sets the databases.
    pub fn with_databases(mut self, databases: Vec<String>) -> Self {
        self.databases = databases;
        self
    }

    /// Sets whether amcheck reads no tables, and does not compare indexes with them.
    pub fn with_quick(mut self, quick: bool) -> Self {
        self.quick = quick;
        self
    }

    /// Sets how long a statement may take.
    pub fn with_statement_timeout(mut self, timeout: Duration) -> Self {
        self.statement_timeout = timeout;
        self
    }

    /// Sets what must hold too.
    pub fn with_checks(mut self, checks: Vec<SqlCheck>) -> Self {
        self.checks = checks;
        self
    }
}

/// What a look at a server found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct IntegrityReport {
    /// The server, without password.
    pub server: String,
    /// Its version, for people.
    pub server_version: String,
    /// The cluster's system identifier, where the role may read it.
    pub system_identifier: Option<u64>,
    /// Whether it is a standby.
    pub in_recovery: bool,
    /// Whether pages carry checksums. Where they do not, a page that a disk altered is noticed by luck.
    pub data_checksums: bool,
    /// The databases that were looked at.
    pub databases: Vec<String>,
    /// How much was looked at.
    pub checked: IntegrityCounts,
    /// What is wrong.
    pub findings: Vec<IntegrityFinding>,
    /// What was not looked at, and why.
    pub not_checked: Vec<NotChecked>,
    /// Seconds that it took.
    pub seconds: f64,
}

impl IntegrityReport {
    /// Returns whether nothing was found. What was not looked at may still be wrong.
    pub fn passed(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Looks at databases of a server: pages and indexes (with amcheck, where a database has it), foreign keys, rules of rows, sequences, and
/// the checks of the user.
///
/// All is read by one connection to each database after the other, in read-only transactions with a snapshot for each table and each foreign
/// key; locks and snapshots last no longer. Check constraints call functions of the database: a role that is no superuser, with
/// `pg_read_all_data` and the right to call amcheck, lends them no rights.
///
/// # Errors
/// [`PostgresError::Connect`]; [`PostgresError::NoSuchDatabase`]; [`PostgresError::Query`] where the connection is lost. What is wrong with
/// the data is a finding.
pub async fn check_integrity(
    settings: &ConnectionSettings,
    options: &IntegrityOptions,
    progress: &dyn Progress,
) -> Result<IntegrityReport> {
    let started = Instant::now();
    let inspector = ServerInspector::new(settings.clone());
    let server = inspector.probe().await?;
    let databases = databases(settings, &inspector, options).await?;
    let (data_checksums, mut findings) = cluster_checksums(settings).await?;
    let (mut checked, mut not_checked) = (IntegrityCounts::default(), Vec::new());
    let limits = InspectionLimits { statement_timeout: options.statement_timeout, quick: options.quick };
    for database in &databases {
        let phase = PhaseGuard::start(progress, Phase::Check, database, None);
        let found = inspect_database(settings, database, &limits, &|relation| phase.locate(relation)).await?;
        checked.add(found.checked);
        findings.extend(found.findings);
        not_checked.extend(found.not_checked);
        for check in options.checks.iter().filter(|check| check.database == *database) {
            findings.extend(own_check(settings, options, check).await?);
        }
        phase.finish();
    }
    Ok(IntegrityReport {
        server: settings.to_string(),
        server_version: server.version,
        system_identifier: server.system_identifier,
        in_recovery: server.in_recovery,
        data_checksums,
        databases,
        checked,
        findings,
        not_checked,
        seconds: started.elapsed().as_secs_f64(),
    })
}

async fn databases(
    settings: &ConnectionSettings,
    inspector: &ServerInspector,
    options: &IntegrityOptions,
) -> Result<Vec<String>> {
    let known = inspector.list_databases().await?;
    if options.databases.is_empty() {
        return Ok(known);
    }
    match options.databases.iter().find(|database| !known.contains(database)) {
        Some(database) => {
            let (server, database) = (settings.to_string(), database.clone());
            Err(PostgresError::NoSuchDatabase { server, database }.into())
        }
        None => Ok(options.databases.clone()),
    }
}

async fn own_check(
    settings: &ConnectionSettings,
    options: &IntegrityOptions,
    check: &SqlCheck,
) -> Result<Option<IntegrityFinding>> {
    let inspector = ServerInspector::new(settings.clone());
    let failed = |said: String| {
        let message = "the check of the user did not pass: `bisect` finds since when, where there are physical backups";
        let finding = IntegrityFinding::new(IntegrityKind::FailedCheck, Some(&check.database), message);
        Some(finding.constraint(&check.name).told(vec![said]))
    };
    match inspector.run_check_within(&check.database, &check.query, options.statement_timeout).await {
        Ok(CheckOutcome { passed: true, .. }) => Ok(None),
        Ok(outcome) => Ok(failed(outcome.detail)),
        Err(error) if error.is_answer() => Ok(failed(chain(&error))),
        Err(error) => Err(error.into()),
    }
}
