//! A policy as data: for the configuration file and for a repository's record of it.

use chrono::TimeDelta;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{AllOf, AnyOf, Gfs, KeepAll, KeepLast, KeepWithin, RetentionPolicy};

/// How several rules become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Combine {
    /// A backup stays if one rule keeps it.
    #[default]
    Any,
    /// A backup stays only if every rule keeps it.
    All,
}

/// The rules by which backups are kept, as they stand in the table `[retention]` of a configuration file.
///
/// What the table does not name has its default (7 daily, 4 weekly, 12 monthly): to name one rule never turns another
/// off. A 0 does.
///
/// ```
/// # use erpgo_dr_core::retention::{RetentionPolicy, RetentionSettings};
/// let settings: RetentionSettings = serde_json::from_str(r#"{"weekly": 0, "last": 10, "within": "36h"}"#)?;
/// assert_eq!(settings.policy()?.describe(), "(7 daily, 12 monthly) or (last 10) or (within 36h)");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RetentionSettings {
    /// Days of which the newest backup stays ([`Gfs`]).
    pub daily: u32,
    /// ISO weeks of which the newest backup stays.
    pub weekly: u32,
    /// Months of which the newest backup stays.
    pub monthly: u32,
    /// Years of which the newest backup stays.
    pub yearly: u32,
    /// The newest so many stay ([`KeepLast`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<u32>,
    /// What is no older stays ([`KeepWithin`]): a number with `h`, `d` or `w`, as `36h`.
    #[serde(skip_serializing_if = "Option::is_none", with = "optional_duration")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub within: Option<TimeDelta>,
    /// How the rules above are joined; daily, weekly, monthly and yearly are one rule.
    pub combine: Combine,
    /// Nothing ever expires, whatever the rules say.
    pub keep_all: bool,
}

/// Settings that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RetentionError {
    /// Every rule is off.
    #[error("the retention settings keep nothing: every rule is 0 (to keep everything, set keep_all)")]
    KeepsNothing,
    /// A span of time that is none.
    #[error("not a span of time: {text:?} (expected a number with {expected}, as 36h)")]
    InvalidDuration {
        /// What was given.
        text: String,
        /// The units that are taken here.
        expected: &'static str,
    },
}

impl Default for RetentionSettings {
    fn default() -> Self {
        Gfs::default().into()
    }
}

impl From<Gfs> for RetentionSettings {
    fn from(gfs: Gfs) -> Self {
        let Gfs { daily, weekly, monthly, yearly } = gfs;
        Self { daily, weekly, monthly, yearly, last: None, within: None, combine: Combine::Any, keep_all: false }
    }
}

impl RetentionSettings {
    /// Builds the policy. It is not [`super::Guarded`] yet.
    ///
    /// # Errors
    /// [`RetentionError::KeepsNothing`] if every rule is off.
    pub fn policy(&self) -> Result<Box<dyn RetentionPolicy>, RetentionError> {
        if self.keep_all {
            return Ok(Box::new(KeepAll));
        }
        let mut rules: Vec<Box<dyn RetentionPolicy>> = Vec::new();
        let gfs = Gfs { daily: self.daily, weekly: self.weekly, monthly: self.monthly, yearly: self.yearly };
        if [gfs.daily, gfs.weekly, gfs.monthly, gfs.yearly] != [0; 4] {
            rules.push(Box::new(gfs));
        }
        if let Some(last) = self.last.filter(|last| *last > 0) {
            rules.push(Box::new(KeepLast(last)));
        }
        if let Some(within) = self.within.filter(|within| *within > TimeDelta::zero()) {
            rules.push(Box::new(KeepWithin(within)));
        }
        match self.combine {
            _ if rules.is_empty() => Err(RetentionError::KeepsNothing),
            Combine::Any => Ok(Box::new(AnyOf(rules))),
            Combine::All => Ok(Box::new(AllOf(rules))),
        }
    }

    /// Parses a span of time: a number with `s`, `m` (minutes), `h`, `d` or `w`.
    ///
    /// # Errors
    /// [`RetentionError::InvalidDuration`] for anything else.
    pub fn parse_duration(text: &str) -> Result<TimeDelta, RetentionError> {
        Self::parse_span(text, "s, m (minutes), h, d or w").map(|(span, _)| span)
    }

    /// Parses the age up to which backups are kept: a number with `h`, `d` or `w`. A number with `m`, meant as months, would keep next
    /// to nothing.
    ///
    /// # Errors
    /// [`RetentionError::InvalidDuration`] for anything else.
    pub fn parse_age(text: &str) -> Result<TimeDelta, RetentionError> {
        let expected = "h, d or w";
        match Self::parse_span(text, expected)? {
            (_, 's' | 'm') => Err(RetentionError::InvalidDuration { text: text.to_owned(), expected }),
            (span, _) => Ok(span),
        }
    }

    fn parse_span(text: &str, expected: &'static str) -> Result<(TimeDelta, char), RetentionError> {
        let invalid = || RetentionError::InvalidDuration { text: text.to_owned(), expected };
        let trimmed = text.trim();
        let unit = trimmed.char_indices().next_back().ok_or_else(invalid)?;
        let number = trimmed[..unit.0].trim_end();
        // No sign: a negative age would keep nothing, and a leading `+` is a slip.
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(invalid());
        }
        let number: i64 = number.parse().map_err(|_| invalid())?;
        let span = match unit.1 {
            's' => TimeDelta::try_seconds(number),
            'm' => TimeDelta::try_minutes(number),
            'h' => TimeDelta::try_hours(number),
            'd' => TimeDelta::try_days(number),
            'w' => TimeDelta::try_weeks(number),
            _ => None,
        };
        span.map(|span| (span, unit.1)).ok_or_else(invalid)
    }
}

/// Writes a span as [`RetentionSettings::parse_duration`] reads it: in whole days, or else hours, rounded down.
pub(super) fn duration_text(span: TimeDelta) -> String {
    if span.num_hours() % 24 == 0 { format!("{}d", span.num_days()) } else { format!("{}h", span.num_hours()) }
}

mod optional_duration {
    use super::{Deserialize, Deserializer, RetentionSettings, Serializer, TimeDelta, duration_text};

    pub(super) fn serialize<S: Serializer>(span: &Option<TimeDelta>, serializer: S) -> Result<S::Ok, S::Error> {
        match span {
            Some(span) => serializer.serialize_str(&duration_text(*span)),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TimeDelta>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| RetentionSettings::parse_age(&text)).transpose().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_their_text() {
        let settings = RetentionSettings {
            yearly: 3,
            last: Some(5),
            within: Some(TimeDelta::hours(36)),
            combine: Combine::All,
            ..RetentionSettings::default()
        };
        let text = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<RetentionSettings>(&text).unwrap(), settings);
        assert!(text.contains(r#""within":"36h""#), "{text}");
        assert_eq!(serde_json::from_str::<RetentionSettings>("{}").unwrap(), RetentionSettings::default());
    }

    #[test]
    fn a_misspelt_rule_is_an_error_and_so_is_keeping_nothing() {
        assert!(serde_json::from_str::<RetentionSettings>(r#"{"dayly": 30}"#).is_err());
        let nothing = RetentionSettings::from(Gfs { daily: 0, weekly: 0, monthly: 0, yearly: 0 });
        assert_eq!(nothing.policy().unwrap_err(), RetentionError::KeepsNothing);
        assert!(RetentionSettings { keep_all: true, ..nothing }.policy().is_ok());
    }

    #[test]
    fn spans_are_parsed_exactly() {
        assert_eq!(RetentionSettings::parse_duration(" 2 w "), Ok(TimeDelta::days(14)));
        assert_eq!(RetentionSettings::parse_duration("0s"), Ok(TimeDelta::zero()));
        assert_eq!(RetentionSettings::parse_duration("90m"), Ok(TimeDelta::minutes(90)));
        assert_eq!(RetentionSettings::parse_age("36h"), Ok(TimeDelta::hours(36)));
        assert!(RetentionSettings::parse_age("6m").is_err() && RetentionSettings::parse_age("6s").is_err());
        for text in ["", "d", "-1d", "+1d", "1", "1y", "1.5d", "99999999999999999999d", "9223372036854775807w", "3é"] {
            assert!(RetentionSettings::parse_duration(text).is_err(), "{text:?}");
        }
    }
}
