//! The search within the log, behind a good restore point.

use chrono::SecondsFormat;

use super::commits::{Commits, between};
use super::lineage::Lineage;
use super::points::{Points, no_reading_ahead};
use super::report::{BisectOutcome, BisectPoint, BisectReport, BisectRestore, BisectVerdict, LoggedCommit};
use super::search::Search;
use super::{ASSUMED, Prober, Subject, empty};
use crate::ops::Result;
use crate::ops::physical::{RecoveryOptions, RecoveryTarget, RecoveryTimeline};
use crate::repository::{Manifest, PhysicalContents, Repository};
use crate::types::{Lsn, TimelineId};

/// A restore point whose manifest has been read.
pub(super) struct Restored {
    point: BisectPoint,
    manifest: Manifest,
    physical: PhysicalContents,
}

impl Restored {
    pub(super) async fn open(repository: &Repository, points: &Points, number: usize) -> Result<Self> {
        let (manifest, physical) = points.open(repository, number).await?;
        Ok(Self { point: points.list[number].clone(), manifest, physical })
    }

    fn timeline(&self, timeline: TimelineId) -> RecoveryTimeline {
        match timeline == self.physical.timeline {
            true => RecoveryTimeline::Current,
            false => RecoveryTimeline::Id(timeline),
        }
    }
}

/// Searches from `good` to `bad`; where there is none, to the end of what is archived.
pub(super) async fn search(
    prober: &mut Prober<'_>,
    system_identifier: u64,
    good: &Restored,
    bad: Option<&Restored>,
) -> Result<BisectReport> {
    let between_points = |reason: &str| Ok(unsearched(good, bad, None, reason));
    let Some(command) = prober.options.restore_command.clone() else {
        return between_points("the log was not to be searched");
    };
    let lineage = Lineage::find(prober.repository, system_identifier, &good.physical, bad.map(|bad| &bad.physical));
    let Some(lineage) = lineage.await? else {
        return between_points("the bad restore point is not of a timeline that comes from the good one");
    };
    let from = good.physical.stop_lsn;
    let all = between(prober.repository, &lineage, from, bad.map(|bad| bad.physical.stop_lsn)).await?;
    let mut boundary = Boundary { last_good: None, first_bad: None };
    let (count, end) = (all.count, all.end.clone());
    boundary.narrow(prober, good, &command, &all, None).await?;
    let mut is_all = all.is_all;
    drop(all);
    while let (false, Some(broken)) = (is_all, boundary.first_bad) {
        let from = boundary.last_good.map_or(from, |commit| Lsn(commit.lsn.0 + 1));
        let some = between(prober.repository, &lineage, from, Some(Lsn(broken.lsn.0 + 1))).await?;
        boundary.narrow(prober, good, &command, &some, Some(broken)).await?;
        is_all = some.is_all;
    }
    let report = match (boundary.first_bad, bad, end) {
        (Some(broken), _, _) => by_transaction(good, boundary.last_good, broken),
        (None, Some(_), Some((at, reason))) => {
            let reason = format!("the log that is there ends at {at}, up to where the data is right: {reason}");
            unsearched(good, bad, boundary.last_good, &reason)
        }
        (None, Some(bad), None) => not_in_log(good, bad),
        (None, None, end) => never_bad(good, boundary.last_good, end),
    };
    Ok(BisectReport { commits: Some(count), bad: bad.map(|bad| bad.point.clone()), ..report })
}

/// What is known so far.
struct Boundary {
    last_good: Option<LoggedCommit>,
    first_bad: Option<LoggedCommit>,
}

impl Boundary {
    /// Asks at commits until two neighbours among them are known; `broken` is the last of them, where it was found bad before.
    async fn narrow(
        &mut self,
        prober: &mut Prober<'_>,
        good: &Restored,
        command: &str,
        commits: &Commits,
        broken: Option<LoggedCommit>,
    ) -> Result<()> {
        let kept = &commits.kept;
        let mut search = Search::over(kept.len());
        if broken.is_some() && kept.last() == broken.as_ref() {
            search.answer(kept.len() - 1, false);
        }
        while let Some(number) = search.next() {
            let commit = kept[number];
            let recovery = RecoveryOptions::default()
                .with_target(RecoveryTarget::Lsn(commit.lsn))
                .with_timeline(good.timeline(commit.timeline))
                .with_restore_command(Some(command.to_owned()));
            let Restored { manifest, physical, point } = good;
            let subject = Subject { manifest, physical, commit: Some(commit), finished: point.finished };
            let verdict = prober.ask(&subject, &recovery, search.most()).await?;
            search.answer(number, verdict == BisectVerdict::Good);
        }
        let boundary = search.boundary();
        if let Some(commit) = boundary.checked_sub(1).and_then(|at| kept.get(at)) {
            self.last_good = Some(*commit);
        }
        if let Some(commit) = kept.get(boundary) {
            self.first_bad = Some(*commit);
        }
        Ok(())
    }
}

fn moment(commit: &LoggedCommit) -> String {
    commit.at.map_or_else(|| "an unknown time".to_owned(), |at| at.to_rfc3339_opts(SecondsFormat::Micros, true))
}

/// Says until when the data was right.
fn until(good: &Restored, last: Option<&LoggedCommit>) -> String {
    match last {
        Some(last) => format!("{} ({}, transaction {})", last.lsn, moment(last), last.transaction),
        None => format!("{} (the end of {})", good.physical.stop_lsn, good.point.backup),
    }
}

fn by_transaction(good: &Restored, last_good: Option<LoggedCommit>, broken: LoggedCommit) -> BisectReport {
    let message = format!(
        "good until {}; transaction {}, committed at {}, broke it: its commit is at {}. {ASSUMED}",
        until(good, last_good.as_ref()),
        broken.transaction,
        moment(&broken),
        broken.lsn
    );
    let restore = BisectRestore {
        backup: good.point.backup.clone(),
        target: RecoveryTarget::Lsn(broken.lsn),
        inclusive: false,
        timeline: good.timeline(broken.timeline),
        settings: Vec::new(),
    };
    BisectReport {
        good: Some(good.point.clone()),
        last_good,
        transaction: Some(broken),
        restore: Some(restore),
        ..empty(BisectOutcome::Transaction, message)
    }
}

/// The boundary lies in a part of the log that was not searched.
fn unsearched(good: &Restored, bad: Option<&Restored>, last_good: Option<LoggedCommit>, reason: &str) -> BisectReport {
    let end = bad.map_or_else(
        || "the newest restore point is good, and what comes behind it was not searched".to_owned(),
        |bad| format!("bad at {} (the end of {})", bad.physical.stop_lsn, bad.point.backup),
    );
    let message = format!("good until {}; {end}: {reason}. {ASSUMED}", until(good, last_good.as_ref()));
    let (target, timeline) = match last_good {
        Some(last) => (RecoveryTarget::Lsn(last.lsn), good.timeline(last.timeline)),
        None => (RecoveryTarget::Immediate, RecoveryTimeline::Current),
    };
    let settings = match last_good {
        Some(_) => no_reading_ahead(good.manifest.contents.server.major()),
        None => Vec::new(),
    };
    let backup = good.point.backup.clone();
    BisectReport {
        good: Some(good.point.clone()),
        bad: bad.map(|bad| bad.point.clone()),
        last_good,
        restore: Some(BisectRestore { backup, target, inclusive: true, timeline, settings }),
        ..empty(BisectOutcome::Between, message)
    }
}

fn not_in_log(good: &Restored, bad: &Restored) -> BisectReport {
    let message = format!(
        "{} is good, {} is bad, and the log between them replayed on the good one leaves the data right: no transaction broke it. Its pages were \
         altered on the server's disk, or beneath it. Replaying the log on the good restore point loses nothing; do not trust the server's \
         disks and memory until the cause is known",
        good.point.backup, bad.point.backup
    );
    let restore = BisectRestore {
        backup: good.point.backup.clone(),
        target: RecoveryTarget::Latest,
        inclusive: true,
        timeline: RecoveryTimeline::Latest,
        settings: Vec::new(),
    };
    let outcome = empty(BisectOutcome::NotInLog, message);
    BisectReport { good: Some(good.point.clone()), restore: Some(restore), ..outcome }
}

fn never_bad(good: &Restored, last_good: Option<LoggedCommit>, end: Option<(Lsn, String)>) -> BisectReport {
    let end = end.map_or_else(String::new, |(at, reason)| format!(" The archive ends at {at}: {reason}."));
    let message = format!(
        "the check holds in the newest restore point and up to {}, where the archived log ends: what broke the data is not archived yet, or \
         not in the log.{end}",
        until(good, last_good.as_ref())
    );
    BisectReport { good: Some(good.point.clone()), last_good, ..empty(BisectOutcome::NeverBad, message) }
}
