//! What must hold after a crash.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use erpgo_dr_core::ops::{self, BackupOptions, VerifyOptions};
use erpgo_dr_core::progress::NoProgress;
use erpgo_dr_core::repository::Catalogue;
use erpgo_dr_core::{Repository, Storage};
use erpgo_dr_testkit::PgServer;

use crate::Outcome;
use crate::job::{Job, Operation};
use crate::site::{Site, sessions_end};

/// Backups that no prune of the checks removes.
const KEEP_ALL: u32 = 1_000_000;

/// Identifiers of backups.
pub(crate) type Ids = BTreeSet<String>;

/// What the checks look at, and what they have found wrong.
pub(crate) struct Checks<'a> {
    pub(crate) site: &'a Site,
    pub(crate) server: &'a PgServer,
    pub(crate) findings: Vec<String>,
}

impl Checks<'_> {
    /// Opens the repository as a new process would, verifies all MACs, and returns the backups that are listed.
    pub(crate) async fn valid(&mut self) -> Outcome<Ids> {
        if !sessions_end(self.server, Duration::from_secs(10)) {
            self.findings.push("a pg_dump outlived the process that started it".to_owned());
        }
        let job = self.job();
        if self.site.is_replicated() {
            self.primary_alone(&job).await?;
            let repaired = job.repair(&job.open().await?).await?;
            self.expect(repaired.is_healthy(), || format!("a repair does not heal: {repaired:?}"));
        }
        let mut listed = Vec::new();
        for storage in self.views(&job)? {
            listed.push(self.listed(&job, storage).await?);
        }
        let agreed = listed.remove(0);
        // A backup of which prune's delete has not reached the second place is still whole there, and listed.
        for second in &listed {
            self.expect(agreed.is_subset(second), || "the second place lacks a backup after its repair".to_owned());
        }
        Ok(agreed)
    }

    /// The primary must be valid also before anything is repaired.
    async fn primary_alone(&mut self, job: &Job) -> Outcome<()> {
        let primary = job.local_places()?.remove(0);
        self.listed(job, primary).await.map(drop)
    }

    /// The whole storage as it is used, then each further place by itself.
    fn views(&self, job: &Job) -> Outcome<Vec<Arc<dyn Storage>>> {
        let mut views = vec![job.storage()?];
        views.extend(job.local_places()?.into_iter().skip(1));
        Ok(views)
    }

    async fn listed(&mut self, job: &Job, storage: Arc<dyn Storage>) -> Outcome<Ids> {
        let repository = job.open_at(storage).await?;
        let options = VerifyOptions::default().with_record(false);
        let report = ops::verify(&repository, &[], None, &options, &NoProgress).await?;
        self.expect(report.passed(), || format!("not valid: {report:?}"));
        Ok(report.verdicts.into_iter().map(|verdict| verdict.backup.to_string()).collect())
    }

    /// Lets the dead process's leases lapse, and prunes without grace: down to `keep` backups, or only leftovers.
    ///
    /// A prune that was killed may have removed at the primary what is still at the second place. That place is
    /// pruned by itself then, as its owner would do.
    pub(crate) async fn collect(&mut self, keep: Option<u32>) -> Outcome<()> {
        self.site.let_leases_lapse()?;
        let job = self.job();
        for storage in self.views(&job)? {
            job.prune(&job.open_at(storage).await?, keep.unwrap_or(KEEP_ALL)).await?;
        }
        for number in 0..job.places.len() {
            self.nothing_unreferenced(&job, number).await?;
        }
        Ok(())
    }

    /// Everything in a place must belong to the repository or to a listed backup.
    async fn nothing_unreferenced(&mut self, job: &Job, number: usize) -> Outcome<()> {
        let repository = job.open_at(job.local_places()?.remove(number)).await?;
        let catalogue = repository.catalogue().await?;
        let expected = expected(&catalogue);
        for file in self.site.files(number)? {
            self.expect(is_referenced(&file, &catalogue, &expected), || {
                format!("{file} in place {number} belongs to nothing after a prune")
            });
        }
        Ok(())
    }

    /// A whole backup must succeed after the crash.
    pub(crate) async fn next_backup(&mut self) -> Outcome<String> {
        let job = self.job();
        let repository: Repository = job.open().await?;
        let report = ops::backup(&repository, &job.driver()?, &BackupOptions::default(), &NoProgress).await?;
        self.expect(report.is_complete(), || format!("the next backup is not complete: {report:?}"));
        Ok(report.id.to_string())
    }

    pub(crate) fn expect(&mut self, holds: bool, finding: impl FnOnce() -> String) {
        if !holds {
            self.findings.push(finding());
        }
    }

    fn job(&self) -> Job {
        self.site.job(Operation::Backup, self.server, 0)
    }
}

/// The keys of all objects that the listed backups name.
fn expected(catalogue: &Catalogue) -> BTreeSet<String> {
    let objects = |entry: &erpgo_dr_core::repository::CatalogueEntry| {
        let summary = &entry.summary;
        let named = std::iter::once(&summary.manifest).chain(&summary.objects).map(|object| object.key.to_string());
        named.collect::<Vec<_>>()
    };
    catalogue.entries.iter().flat_map(objects).collect()
}

/// A summary without a listed backup is the mark of a revoked run; the catalogue has checked it, and it stays for a month.
fn is_referenced(file: &str, catalogue: &Catalogue, expected: &BTreeSet<String>) -> bool {
    let is_listed = |id: &str| catalogue.entries.iter().any(|entry| entry.id().as_str() == id);
    match file.split('/').collect::<Vec<_>>()[..] {
        ["repo.json"] | ["keys", ..] | ["state", "expired", _] => true,
        ["backups", _, "summary"] => true,
        ["state", "verdicts", id, _] => is_listed(id),
        _ => expected.contains(file),
    }
}
