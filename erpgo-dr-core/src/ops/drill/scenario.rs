//! What can be rehearsed.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A disaster that is rehearsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Scenario {
    /// The newest backups of databases and of the cluster come back on throwaway servers, and are compared.
    Restore,
    /// The newest backup of the cluster comes back with all of its log replayed, and every relation is read.
    FullRecovery,
    /// The cluster comes back at a moment that is drawn by lot, and every relation is read.
    DataCorruption,
    /// The primary fails, and its runbook replaces it.
    DatabaseFailure,
    /// Another region takes over, by its runbook.
    RegionFailover,
    /// The application fails, and its runbook brings it back.
    ApplicationFailure,
    /// Somebody got in: its runbook contains it, keeps evidence, and restores what was.
    SecurityBreach,
}

/// What recovery must reach.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Objectives {
    /// How long it may take.
    pub rto: Option<Duration>,
    /// How much work may be lost, as the time that it took.
    pub rpo: Option<Duration>,
}

impl Objectives {
    /// Sets both.
    pub fn new(rto: Option<Duration>, rpo: Option<Duration>) -> Self {
        Self { rto, rpo }
    }
}

/// Text that names no scenario.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no scenario of a drill: there are {all}", all = Scenario::ALL.map(Scenario::as_str).join(", "))]
pub struct ScenarioError(String);

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Restore,
        Self::FullRecovery,
        Self::DataCorruption,
        Self::DatabaseFailure,
        Self::RegionFailover,
        Self::ApplicationFailure,
        Self::SecurityBreach,
    ];

    /// Returns its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restore => "restore",
            Self::FullRecovery => "full-recovery",
            Self::DataCorruption => "data-corruption",
            Self::DatabaseFailure => "database-failure",
            Self::RegionFailover => "region-failover",
            Self::ApplicationFailure => "application-failure",
            Self::SecurityBreach => "security-breach",
        }
    }

    /// Returns the runbook that it is rehearsed with, on servers of its own; none where the backups that come back are all of it.
    pub fn runbook(self) -> Option<&'static str> {
        match self {
            Self::Restore | Self::FullRecovery | Self::DataCorruption => None,
            Self::DatabaseFailure | Self::RegionFailover | Self::ApplicationFailure | Self::SecurityBreach => {
                Some(self.as_str())
            }
        }
    }

    /// Returns what recovery must reach where nobody says otherwise: as the runbooks that come along.
    pub fn objectives(self) -> Objectives {
        match self {
            Self::Restore | Self::FullRecovery | Self::DataCorruption | Self::RegionFailover => {
                Objectives::new(Some(4 * HOUR), Some(HOUR))
            }
            Self::DatabaseFailure => Objectives::new(Some(5 * MINUTE), Some(Duration::ZERO)),
            Self::ApplicationFailure => Objectives::new(Some(2 * MINUTE), Some(Duration::ZERO)),
            Self::SecurityBreach => Objectives::default(),
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Scenario {
    type Err = ScenarioError;

    fn from_str(text: &str) -> Result<Self, ScenarioError> {
        Self::ALL.into_iter().find(|known| known.as_str() == text).ok_or_else(|| ScenarioError(text.to_owned()))
    }
}

impl Serialize for Scenario {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Scenario {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
