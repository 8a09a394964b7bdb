//! Finds when data went wrong: the newest restore point at which a check holds, and behind it the transaction that broke it.
//!
//! First the restore points are searched, each as it is by itself. Then the commits of the archived log between the last good one and the
//! first bad one are. Every question is put to a copy in a throwaway folder, which archives nothing, reaches nobody, and is removed at the
//! end, whatever that is.

mod commits;
mod lineage;
mod points;
mod report;
mod search;
mod within;

pub use report::{
    BisectOptions, BisectOutcome, BisectPlan, BisectPoint, BisectProbe, BisectReport, BisectRestore, BisectVerdict,
    LoggedCommit,
};

use std::time::Instant;

use points::Points;
use search::Search;

use super::Result;
use super::physical::{RecoveryOptions, RecoveryTarget, RestoredCopy};
use crate::causes::chain;
use crate::postgres::{ConnectionSettings, PostgresError, Refusal, ServerInspector};
use crate::progress::{Phase, PhaseGuard, Progress};
use crate::repository::{Manifest, PhysicalContents, Repository};

/// What every outcome rests on.
const ASSUMED: &str = "It is taken for granted that data which went wrong stayed wrong: where it was right again in between, this is the \
                       boundary that was met, and there are others";

/// Says what [`bisect`] would do. Nothing is restored.
///
/// # Errors
/// As [`bisect`], before it restores.
pub async fn plan_bisect(repository: &Repository, options: &BisectOptions) -> Result<BisectPlan> {
    let points = Points::find(repository, options).await?;
    let largest = points.largest(repository).await?;
    Ok(BisectPlan {
        most_restores: Search::over(points.list.len()).most(),
        points: points.list,
        needed_bytes: largest,
        free_bytes: points::free_bytes(&options.scratch)?,
    })
}

/// Searches the restore points of a cluster, and the log behind the newest good one, for what made the check fail.
///
/// The number of questions is the logarithm of the number of restore points, and of the commits between two of them. The first takes a
/// restore of all files, each further one of those pages only that differ.
///
/// # Errors
/// [`RepositoryError::NoBackup`](crate::repository::RepositoryError::NoBackup) where there is no physical backup of the cluster;
/// [`PostgresError::InvalidOptions`] where there are several clusters and none was named, and where the check gives no answer and nothing
/// was said of what that means; of the repository, the disk and the copy's server.
pub async fn bisect(repository: &Repository, options: &BisectOptions, progress: &dyn Progress) -> Result<BisectReport> {
    let started = Instant::now();
    let points = Points::find(repository, options).await?;
    let copy = RestoredCopy::create(points.throwaway(repository, options).await?).await?;
    let phase = PhaseGuard::start(progress, Phase::Bisect, &options.database, None);
    let mut prober = Prober { repository, options, progress, phase, copy, probes: Vec::new() };
    let outcome = search(&mut prober, &points).await;
    let Prober { copy, probes, .. } = prober;
    let removed = copy.remove().await;
    let mut report = outcome?;
    removed?;
    phase.finish();
    report.probes = probes;
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

async fn search(prober: &mut Prober<'_>, points: &Points) -> Result<BisectReport> {
    let mut search = Search::over(points.list.len());
    while let Some(number) = search.next() {
        let (point, left) = (&points.list[number], search.most());
        let (manifest, physical) = points.open(prober.repository, number).await?;
        let recovery = RecoveryOptions::default().with_target(RecoveryTarget::Immediate);
        let subject = Subject { manifest: &manifest, physical: &physical, commit: None, finished: point.finished };
        let verdict = prober.ask(&subject, &recovery, left).await?;
        search.answer(number, verdict == BisectVerdict::Good);
    }
    let boundary = search.boundary();
    let bad = points.list.get(boundary).cloned();
    let Some(good) = boundary.checked_sub(1) else {
        return Ok(never_good(points, bad));
    };
    let good = within::Restored::open(prober.repository, points, good).await?;
    let behind = match boundary < points.list.len() {
        true => Some(within::Restored::open(prober.repository, points, boundary).await?),
        false => None,
    };
    within::search(prober, points.system_identifier, &good, behind.as_ref()).await
}

fn never_good(points: &Points, bad: Option<BisectPoint>) -> BisectReport {
    let message = format!(
        "the data is wrong in the oldest restore point already, which is of {}: it went wrong before, or the check never held. Older dumps \
         may have it right",
        points.list.first().map_or_else(String::new, |point| point.finished.to_string())
    );
    BisectReport { bad, ..empty(BisectOutcome::NeverGood, message) }
}

fn empty(outcome: BisectOutcome, message: String) -> BisectReport {
    BisectReport {
        outcome,
        message,
        good: None,
        bad: None,
        last_good: None,
        transaction: None,
        commits: None,
        restore: None,
        probes: Vec::new(),
        seconds: 0.0,
    }
}

/// A state of the cluster that is asked.
struct Subject<'a> {
    manifest: &'a Manifest,
    physical: &'a PhysicalContents,
    commit: Option<LoggedCommit>,
    finished: chrono::DateTime<chrono::Utc>,
}

/// Puts the copy to states, and asks it.
struct Prober<'a> {
    repository: &'a Repository,
    options: &'a BisectOptions,
    progress: &'a dyn Progress,
    phase: PhaseGuard<'a>,
    copy: RestoredCopy,
    probes: Vec<BisectProbe>,
}

impl Prober<'_> {
    /// Asks a state; `left` are the questions that are still to come, at most, this one among them.
    async fn ask(&mut self, subject: &Subject<'_>, recovery: &RecoveryOptions, left: u32) -> Result<BisectVerdict> {
        let started = Instant::now();
        let Subject { manifest, physical, commit, finished } = subject;
        let place = match commit {
            Some(commit) => format!("transaction {} at {} behind {}", commit.transaction, commit.lsn, manifest.id),
            None => manifest.id.to_string(),
        };
        self.phase.locate(&format!(
            "question {} of at most {}: {place}",
            self.probes.len() + 1,
            self.probes.len() + left as usize
        ));
        let settings = self.copy.put_to(self.repository, manifest, physical, recovery, self.progress).await?;
        let (verdict, detail) = judge(&settings, self.options, &place).await?;
        self.probes.push(BisectProbe {
            backup: manifest.id.clone(),
            lsn: commit.map(|commit| commit.lsn),
            transaction: commit.map(|commit| commit.transaction),
            at: commit.map_or(Some(*finished), |commit| commit.at),
            verdict,
            detail,
            seconds: started.elapsed().as_secs_f64(),
        });
        Ok(verdict)
    }
}

async fn judge(settings: &ConnectionSettings, options: &BisectOptions, place: &str) -> Result<(BisectVerdict, String)> {
    let inspector = ServerInspector::new(settings.clone());
    let answer = inspector.run_check_within(&options.database, &options.check, options.check_timeout).await;
    let silence = match answer {
        Ok(outcome) if outcome.passed => return Ok((BisectVerdict::Good, String::new())),
        Ok(outcome) if outcome.answered => return Ok((BisectVerdict::Bad, outcome.detail)),
        Ok(outcome) => outcome.detail,
        Err(error) if is_of_check(&error) => chain(&error),
        Err(error) => return Err(error.into()),
    };
    match options.missing {
        Some(verdict) => Ok((verdict, silence)),
        None => {
            let text = format!(
                "the check gives no answer at {place} ({silence}), and nothing was said of what that means: `missing` can be good or bad"
            );
            Err(PostgresError::InvalidOptions(text).into())
        }
    }
}

/// Returns whether it is the check, or that there is no such database yet, and not the copy.
fn is_of_check(error: &PostgresError) -> bool {
    error.is_answer() || error.refusal() == Some(Refusal::NoSuchDatabase)
}
