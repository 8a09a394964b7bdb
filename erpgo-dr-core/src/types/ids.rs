//! Identifiers. A backup's and an epoch's begin with their UTC time, so that a listing is in order of time.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const TIME_FORMAT: &str = "%Y%m%dT%H%M%SZ";
const TIME_LENGTH: usize = 16;

/// Text that is not an identifier of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {kind}: {text:?} (expected {expected})")]
pub struct IdError {
    kind: &'static str,
    text: String,
    expected: &'static str,
}

macro_rules! timed_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// Draws a new identifier for something that begins at `time`.
            pub fn generate(time: DateTime<Utc>) -> Self {
                Self(format!("{}-{:08x}", time.format(TIME_FORMAT), rand::random::<u32>()))
            }

            /// Returns the time in the identifier, in whole seconds.
            pub fn time(&self) -> DateTime<Utc> {
                parse_time(&self.0).expect("checked when the identifier was made")
            }

            /// Returns the text of the identifier.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let suffix = text.get(TIME_LENGTH..).and_then(|rest| rest.strip_prefix('-'));
                let hex = |s: &str| s.len() == 8 && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
                if parse_time(text).is_some() && suffix.is_some_and(hex) {
                    return Ok(Self(text.to_owned()));
                }
                Err(IdError { kind: $kind, text: text.to_owned(), expected: "YYYYMMDDTHHMMSSZ-xxxxxxxx" })
            }
        }

        text_impls!($name);
    };
}

macro_rules! text_impls {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

timed_id! {
    /// Names a backup: `20261124T120000Z-5f3a9c1e`, the UTC second it began and 32 random bits.
    BackupId, "backup id"
}

timed_id! {
    /// Names a key epoch, in the same form as a [`BackupId`].
    EpochId, "epoch id"
}

timed_id! {
    /// Names a run of a runbook, in the same form as a [`BackupId`].
    RunId, "id of a run"
}

timed_id! {
    /// Names a run of a job of the agent, in the same form as a [`BackupId`].
    JobRunId, "id of a run of a job"
}

timed_id! {
    /// Names a drill, in the same form as a [`BackupId`].
    DrillId, "id of a drill"
}

timed_id! {
    /// Names a bundle of evidence, in the same form as a [`BackupId`].
    EvidenceId, "id of a bundle of evidence"
}

fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    let time = text.get(..TIME_LENGTH)?;
    let parsed = NaiveDateTime::parse_from_str(time, TIME_FORMAT).ok()?.and_utc();
    // Only the canonical spelling: one thing, one name.
    (parsed.format(TIME_FORMAT).to_string() == time).then_some(parsed)
}

/// Names a repository: 32 hexadecimal digits drawn when it is made.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryId(String);

impl RepositoryId {
    /// Draws a new identifier.
    pub fn generate() -> Self {
        Self(hex::encode(rand::random::<[u8; 16]>()))
    }

    /// Returns the text of the identifier.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepositoryId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(Self(text.to_owned()));
        }
        Err(IdError { kind: "repository id", text: text.to_owned(), expected: "32 hexadecimal digits" })
    }
}

text_impls!(RepositoryId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_id_parses_back_and_keeps_its_second() {
        let now = "2026-11-24T03:38:57.9Z".parse().unwrap();
        let id = BackupId::generate(now);
        assert_eq!(id.as_str().parse(), Ok(id.clone()));
        assert_eq!(id.time().timestamp(), now.timestamp());
    }

    #[test]
    fn only_the_canonical_spelling_is_an_id() {
        for text in [
            "",
            "20261124T033857Z",
            "20261124T033857Z-5F3A9C1E",
            "20261324T033857Z-5f3a9c1e",
            "20261124T033857Z-5f3a9c1",
            "../../../etc/passwd--------",
            "２0261124T033857Z-5f3a9c1e",
        ] {
            assert!(text.parse::<BackupId>().is_err(), "{text}");
        }
    }
}
