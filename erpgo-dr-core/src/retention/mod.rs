//! Decides which backups to keep. A pure function of the time and the catalogue: no I/O, no clock.
//!
//! A policy is one rule ([`Gfs`], [`KeepLast`], [`KeepWithin`], [`KeepAll`]) or several joined by [`AnyOf`] and
//! [`AllOf`]. [`Guarded`] stands around whatever the user chose: it keeps what no rule may give up. All times are
//! UTC, so that no day is 23 or 25 hours long and none comes twice.
//!
//! ```
//! use chrono::{TimeDelta, Utc};
//! use erpgo_dr_core::retention::{Gfs, Guarded, RetentionCandidate, RetentionPolicy};
//! use erpgo_dr_core::types::BackupId;
//!
//! let now = Utc::now();
//! let hourly = (0..72).map(|hour| now - TimeDelta::hours(hour));
//! let backups: Vec<_> =
//!     hourly.map(|time| RetentionCandidate::new(BackupId::generate(time), time, "full")).collect();
//!
//! let plan = Guarded::new(Gfs { daily: 2, weekly: 0, monthly: 0, yearly: 0 }).plan(now, &backups);
//! assert_eq!(plan.kept().count(), 2);
//! ```

mod combine;
mod gfs;
mod guard;
mod period;
mod rules;
mod settings;

pub use combine::{AllOf, AnyOf};
pub use gfs::Gfs;
pub use guard::Guarded;
pub use rules::{KeepAll, KeepLast, KeepWithin};
pub use settings::{Combine, RetentionError, RetentionSettings};

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::types::BackupId;

/// What a policy may know of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetentionCandidate {
    /// The backup.
    pub id: BackupId,
    /// When it began.
    pub created: DateTime<Utc>,
    /// When it was last proven good, if ever, and not found bad since.
    pub verified: Option<DateTime<Utc>>,
    /// Whether someone put it on hold.
    pub held: bool,
    /// Other backups without which this one cannot be restored.
    pub needs: Vec<BackupId>,
    /// What it is a backup of: policies count each group by itself (kind, scope, databases).
    pub group: String,
}

impl RetentionCandidate {
    /// Describes an unverified backup without holds or dependencies.
    pub fn new(id: BackupId, created: DateTime<Utc>, group: impl Into<String>) -> Self {
        Self { id, created, verified: None, held: false, needs: Vec::new(), group: group.into() }
    }
}

/// What becomes of one backup, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// The backup.
    pub id: BackupId,
    /// Whether it stays.
    pub keep: bool,
    /// Every reason to keep it (`daily 2026-11-24`, `last 3`, `hold`), or why nothing keeps it.
    pub reasons: Vec<String>,
}

/// What becomes of every backup, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct RetentionPlan {
    /// One decision for each candidate.
    pub decisions: Vec<Decision>,
}

impl RetentionPlan {
    /// Returns the backups that stay, oldest first.
    pub fn kept(&self) -> impl Iterator<Item = &BackupId> {
        self.decisions.iter().filter(|decision| decision.keep).map(|decision| &decision.id)
    }

    /// Returns the backups that go, oldest first.
    pub fn expired(&self) -> impl Iterator<Item = &BackupId> {
        self.decisions.iter().filter(|decision| !decision.keep).map(|decision| &decision.id)
    }
}

/// A rule by which backups are kept. Object-safe.
///
/// A backup that a plan keeps must be kept again when the plan is made anew from the kept ones alone (with the same
/// `now`): else each prune would take something. [`crate::conformance`] has a suite for implementations.
pub trait RetentionPolicy: Send + Sync + fmt::Debug {
    /// Describes the rule for a person: `7 daily, 4 weekly, 12 monthly`.
    fn describe(&self) -> String;

    /// Decides about each of `backups` (in any order) as of `now`. The same input gives the same plan.
    fn plan(&self, now: DateTime<Utc>, backups: &[RetentionCandidate]) -> RetentionPlan;
}

impl<P: RetentionPolicy + ?Sized> RetentionPolicy for &P {
    fn describe(&self) -> String {
        (**self).describe()
    }

    fn plan(&self, now: DateTime<Utc>, backups: &[RetentionCandidate]) -> RetentionPlan {
        (**self).plan(now, backups)
    }
}

impl<P: RetentionPolicy + ?Sized> RetentionPolicy for Box<P> {
    fn describe(&self) -> String {
        (**self).describe()
    }

    fn plan(&self, now: DateTime<Utc>, backups: &[RetentionCandidate]) -> RetentionPlan {
        (**self).plan(now, backups)
    }
}

impl<P: RetentionPolicy + ?Sized> RetentionPolicy for Arc<P> {
    fn describe(&self) -> String {
        (**self).describe()
    }

    fn plan(&self, now: DateTime<Utc>, backups: &[RetentionCandidate]) -> RetentionPlan {
        (**self).plan(now, backups)
    }
}

/// Orders candidates from old to new; of two from the same instant, by their names. Total for distinct backups, so
/// that the order of the input never shows.
fn age_order(a: &RetentionCandidate, b: &RetentionCandidate) -> std::cmp::Ordering {
    a.created.cmp(&b.created).then_with(|| a.id.cmp(&b.id))
}

/// Returns `backups` from old to new.
fn oldest_first(backups: &[RetentionCandidate]) -> Vec<&RetentionCandidate> {
    let mut sorted: Vec<_> = backups.iter().collect();
    sorted.sort_by(|a, b| age_order(a, b));
    sorted
}
