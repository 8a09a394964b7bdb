//! The names that older scripts give their files.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime, Utc};

use super::LegacyError;

/// What such a backup covers, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LegacyScope {
    /// Schema and data.
    Full,
    /// The schema alone.
    Schema,
    /// The data alone.
    Data,
    /// Schema and data, taken before a recovery.
    Emergency,
}

/// How long such a backup was meant to be kept, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LegacyPeriod {
    /// Among the daily ones.
    Daily,
    /// Among the weekly ones.
    Weekly,
    /// Among the monthly ones.
    Monthly,
}

/// `[automated_]SCOPE_backup_YYYYMMDD_HHMMSS[_PERIOD].sql[.gz|.zst][.enc]`, taken apart.
///
/// The ending says what the script meant to do. What is in the file is told by its bytes alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LegacyFileName {
    /// Whether a schedule made it.
    pub automated: bool,
    /// What it covers.
    pub scope: LegacyScope,
    /// The time in the name, taken as UTC. A script on a host with another time zone meant its own.
    pub time: DateTime<Utc>,
    /// Its retention period, if the name has one.
    pub period: Option<LegacyPeriod>,
}

impl FromStr for LegacyFileName {
    type Err = LegacyError;

    /// Reads a name. Folders before it are skipped.
    fn from_str(text: &str) -> Result<Self, LegacyError> {
        let name = text.rsplit('/').next().unwrap_or(text);
        parse(name).ok_or_else(|| LegacyError::FileName(name.chars().take(200).collect()))
    }
}

fn parse(name: &str) -> Option<LegacyFileName> {
    let (stem, endings) = name.split_once('.')?;
    let endings = endings.strip_suffix(".enc").unwrap_or(endings);
    let endings = endings.strip_suffix(".gz").or_else(|| endings.strip_suffix(".zst")).unwrap_or(endings);
    if !matches!(endings, "sql" | "dump") {
        return None;
    }
    let (automated, stem) = match stem.strip_prefix("automated_") {
        Some(rest) => (true, rest),
        None => (false, stem),
    };
    let (scope, rest) = stem.split_once("_backup_")?;
    let scope = match scope {
        "full" => LegacyScope::Full,
        "schema" => LegacyScope::Schema,
        "data" => LegacyScope::Data,
        "emergency" => LegacyScope::Emergency,
        _ => return None,
    };
    let (time, period) = rest.split_at_checked("YYYYMMDD_HHMMSS".len())?;
    let period = match period {
        "" => None,
        "_daily" => Some(LegacyPeriod::Daily),
        "_weekly" => Some(LegacyPeriod::Weekly),
        "_monthly" => Some(LegacyPeriod::Monthly),
        _ => return None,
    };
    let parsed = NaiveDateTime::parse_from_str(time, "%Y%m%d_%H%M%S").ok()?;
    let canonical = parsed.format("%Y%m%d_%H%M%S").to_string() == time;
    canonical.then(|| LegacyFileName { automated, scope, time: parsed.and_utc(), period })
}

impl fmt::Display for LegacyScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Full => "full",
            Self::Schema => "schema",
            Self::Data => "data",
            Self::Emergency => "emergency",
        })
    }
}

impl fmt::Display for LegacyPeriod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_the_scripts() {
        let name: LegacyFileName =
            "/backups/postgres/automated_full_backup_20231215_120000_daily.sql.gz.enc".parse().unwrap();
        assert!(name.automated);
        assert_eq!((name.scope, name.period), (LegacyScope::Full, Some(LegacyPeriod::Daily)));
        assert_eq!(name.time.to_rfc3339(), "2023-12-15T12:00:00+00:00");
        let cases = [
            ("full_backup_20240229_235959.sql", LegacyScope::Full, None),
            ("schema_backup_20240229_235959.sql.gz", LegacyScope::Schema, None),
            ("data_backup_20240229_235959_weekly.sql.enc", LegacyScope::Data, Some(LegacyPeriod::Weekly)),
            ("emergency_backup_20240229_235959.dump.zst", LegacyScope::Emergency, None),
            ("automated_full_backup_20240101_000000_monthly.sql.gz", LegacyScope::Full, Some(LegacyPeriod::Monthly)),
        ];
        for (text, scope, period) in cases {
            let name: LegacyFileName = text.parse().unwrap();
            assert_eq!((name.scope, name.period), (scope, period), "{text}");
        }
    }

    #[test]
    fn other_names_are_refused() {
        for text in [
            "",
            ".sql",
            "full_backup_20240230_000000.sql",
            "full_backup_20240229_000000",
            "full_backup_20240229_000000.sql.enc.gz",
            "full_backup_20240229_000000_yearly.sql",
            "full_backup_2024022é_000000.sql",
            "full_backup_+0240229_000000.sql",
            "emergency_backup.sql",
            "config_backup_20240229_000000.sql",
        ] {
            assert!(text.parse::<LegacyFileName>().is_err(), "{text}");
        }
    }
}
