//! The name of an object in a storage place.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A relative path of segments separated by `/`, each of `A-Z a-z 0-9 . _ -`, none empty, `.` or `..`.
///
/// The alphabet is one that every file system and object store takes as it is.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey(String);

/// Text that is not an object key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an object key: {0:?}")]
pub struct KeyError(String);

impl ObjectKey {
    /// Checks `text` and takes it as a key.
    ///
    /// # Errors
    /// [`KeyError`] for an empty key or segment, `.`, `..`, or a character outside the alphabet.
    pub fn new(text: impl Into<String>) -> Result<Self, KeyError> {
        let text = text.into();
        let segment = |s: &str| {
            !s.is_empty()
                && s != "."
                && s != ".."
                && s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        if text.len() <= 1024 && text.split('/').all(segment) { Ok(Self(text)) } else { Err(KeyError(text)) }
    }

    /// Returns the text of the key.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the part behind the last `/`.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// Returns whether the key lies in the folder `prefix` (a whole number of segments).
    pub fn is_under(&self, prefix: &str) -> bool {
        let prefix = prefix.trim_end_matches('/');
        prefix.is_empty() || self.0.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))
    }
}

impl FromStr for ObjectKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::new(text)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ObjectKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ObjectKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_climbs_or_hides_is_a_key() {
        for text in ["", "/", "a//b", "/a", "a/", "..", "a/../b", "a/./b", "a b", "a\\b", "a\0b", "é"] {
            assert!(ObjectKey::new(text).is_err(), "{text:?}");
        }
        assert!(ObjectKey::new("backups/20261124T033857Z-5f3a9c1e/summary").is_ok());
    }

    #[test]
    fn a_prefix_is_whole_segments() {
        let key = ObjectKey::new("dumps/ab/0").unwrap();
        assert!(key.is_under("dumps") && key.is_under("dumps/ab/") && key.is_under(""));
        assert!(!key.is_under("dumps/a"));
    }
}
