//! Alarms: raised once and cleared once, also over restarts, because what was told is written down in the repository.
//!
//! Those of jobs are the business of the agent that acts; each agent has its own of what it is about itself.
//!
//! An alarm is written down before it is told, and that it was told afterwards: whoever dies in between tells it again. While the repository
//! is away it is told all the same, and written down later.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::repository::{AlarmRecord, JobName, Repository, RepositoryError};
use crate::runbook::Notifier;

/// The wait before a message is tried again that nobody got.
const PATIENCE: TimeDelta = TimeDelta::seconds(60);

/// How long the repository may take to write one down: people are told all the same.
const WRITING: Duration = Duration::from_secs(10);

/// What stands for the repository among alarms, when nobody can tell who acts.
pub(super) const REPOSITORY: &str = "repository";
/// What stands for the configuration.
pub(super) const CONFIGURATION: &str = "configuration";

/// Returns whether alarms of this subject are about an agent itself, whoever acts. No job has such a name.
pub(super) fn is_own(subject: &JobName) -> bool {
    [REPOSITORY, CONFIGURATION].contains(&subject.as_str())
}

/// The alarms of a repository.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    known: BTreeMap<JobName, AlarmRecord>,
    /// What is not written down yet.
    unsaved: BTreeSet<JobName>,
    /// Those that were cleared because nothing of their name is done any more.
    gone: BTreeSet<JobName>,
    not_before: Option<DateTime<Utc>>,
}

impl Alarms {
    /// Reads what was told by whichever agent. What is not written down yet stays.
    pub(super) async fn load(&mut self, repository: &Repository) -> Result<(), RepositoryError> {
        for alarm in repository.alarms().await? {
            if !self.unsaved.contains(&alarm.subject) {
                self.known.insert(alarm.subject.clone(), alarm);
            }
        }
        Ok(())
    }

    /// Returns those that are open.
    pub(super) fn open(&self) -> Vec<AlarmRecord> {
        self.known.values().filter(|alarm| alarm.is_open()).cloned().collect()
    }

    /// Returns whether there is one that nobody has heard of, or that is not written down.
    pub(super) fn has_untold(&self) -> bool {
        !self.unsaved.is_empty() || self.known.values().any(|alarm| !alarm.told)
    }

    /// Raises one, unless it is open.
    pub(super) fn raise(&mut self, subject: &JobName, reason: &str, now: DateTime<Utc>) {
        if self.known.get(subject).is_some_and(AlarmRecord::is_open) {
            return;
        }
        tracing::error!(%subject, reason, "alarm raised");
        let reason = reason.to_owned();
        let alarm = AlarmRecord { subject: subject.clone(), raised_at: now, reason, cleared_at: None, told: false };
        self.change(alarm);
    }

    /// Clears one, if it is open.
    pub(super) fn clear(&mut self, subject: &JobName, now: DateTime<Utc>) {
        let Some(alarm) = self.known.get(subject).filter(|alarm| alarm.is_open()) else { return };
        tracing::info!(%subject, "alarm cleared");
        self.change(AlarmRecord { cleared_at: Some(now), told: false, ..alarm.clone() });
    }

    /// Clears those that nobody would: of jobs that are none any more.
    pub(super) fn clear_strangers(&mut self, jobs: &BTreeSet<JobName>, now: DateTime<Utc>) {
        for alarm in self.open() {
            if !is_own(&alarm.subject) && !jobs.contains(&alarm.subject) {
                self.clear(&alarm.subject, now);
                self.gone.insert(alarm.subject);
            }
        }
    }

    /// Forgets those of jobs: another agent acts, and they are its own now.
    pub(super) fn leave_jobs(&mut self) {
        self.known.retain(|subject, _| is_own(subject));
        self.unsaved.retain(is_own);
    }

    fn change(&mut self, alarm: AlarmRecord) {
        self.gone.remove(&alarm.subject);
        self.unsaved.insert(alarm.subject.clone());
        self.known.insert(alarm.subject.clone(), alarm);
        self.not_before = None;
    }

    /// Writes down and tells what is new. What could not be delivered is tried again later. An agent that does not act (`acts`)
    /// neither tells nor writes down anything of jobs: another one may have by now.
    pub(super) async fn settle(
        &mut self,
        repository: &Repository,
        notifier: Option<&dyn Notifier>,
        host: &str,
        acts: bool,
        now: DateTime<Utc>,
    ) {
        self.save(repository, acts).await;
        // A clock that was put back makes nobody wait for longer.
        if self.not_before.is_some_and(|moment| now < moment && moment - now <= PATIENCE) {
            return;
        }
        let untold = self.known.values().filter(|alarm| !alarm.told && (acts || is_own(&alarm.subject)));
        let untold: Vec<JobName> = untold.map(|alarm| alarm.subject.clone()).collect();
        for subject in untold {
            let Some(alarm) = self.known.get_mut(&subject) else { continue };
            let told = match notifier {
                Some(notifier) => notifier.tell(&message(alarm, host, self.gone.contains(&subject))).await,
                None => Ok(()),
            };
            match told {
                Ok(()) => {
                    alarm.told = true;
                    self.unsaved.insert(subject);
                }
                Err(error) => {
                    tracing::warn!(%subject, %error, "an alarm could not be delivered; trying again");
                    self.not_before = Some(now + PATIENCE);
                }
            }
        }
        self.save(repository, acts).await;
    }

    async fn save(&mut self, repository: &Repository, acts: bool) {
        for subject in self.unsaved.clone() {
            if !acts && !is_own(&subject) {
                continue;
            }
            let Some(alarm) = self.known.get(&subject) else { continue };
            let written = tokio::time::timeout(WRITING, repository.record_alarm(alarm)).await;
            match written {
                Ok(Ok(())) => drop(self.unsaved.remove(&subject)),
                failed => return tracing::warn!(%subject, ?failed, "an alarm could not be written down; trying again"),
            }
        }
    }
}

fn message(alarm: &AlarmRecord, host: &str, is_gone: bool) -> String {
    let (subject, reason) = (&alarm.subject, &alarm.reason);
    let moment = |at: DateTime<Utc>| at.format("%Y-%m-%d %H:%M:%S UTC").to_string();
    match alarm.cleared_at {
        None => format!("erpgo-dr on {host}: ALARM: {subject}: {reason}"),
        Some(_) if is_gone => format!(
            "erpgo-dr on {host}: cleared: {subject} is no job any more (alarm of {}: {reason})",
            moment(alarm.raised_at)
        ),
        Some(at) => format!(
            "erpgo-dr on {host}: cleared: {subject} is well again since {} (alarm of {}: {reason})",
            moment(at),
            moment(alarm.raised_at)
        ),
    }
}
