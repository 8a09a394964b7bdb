//! From arguments of Python to the library's values.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use erpgo_dr_core::codec::Codec;
use erpgo_dr_core::crypto::openssl_enc::{DEFAULT_ITERATIONS, OpensslDigest, OpensslKdf};
use erpgo_dr_core::ops::{BackupSelector, SqlCheck};
use erpgo_dr_core::postgres::throwaway::RunAs;
use erpgo_dr_core::postgres::{Figure, Scope, TableName};
use erpgo_dr_core::repository::VerifyLevel;
use erpgo_dr_core::storage::{StorageClass, ThawTier};
use erpgo_dr_core::types::BackupId;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::errors::{checked, invalid};

/// Parses text whose error says what was expected.
pub(crate) fn parsed<T>(py: Python<'_>, text: &str) -> PyResult<T>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| invalid(py, &error))
}

/// Parses a backup's identifier.
pub(crate) fn backup_id(py: Python<'_>, text: &str) -> PyResult<BackupId> {
    parsed(py, text)
}

/// Parses a codec's name, if there is one.
pub(crate) fn codec(py: Python<'_>, text: Option<&str>) -> PyResult<Option<Codec>> {
    text.map(|text| checked(py, text.parse::<Codec>())).transpose()
}

/// Parses the name of a storage class, if there is one.
pub(crate) fn storage_class(py: Python<'_>, text: Option<&str>) -> PyResult<Option<StorageClass>> {
    text.map(|text| parsed(py, text)).transpose()
}

/// Takes one of several words.
pub(crate) fn choice<T: Copy>(py: Python<'_>, name: &str, word: &str, choices: &[(&str, T)]) -> PyResult<T> {
    let found = choices.iter().find(|(known, _)| *known == word).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let known = choices.iter().map(|(known, _)| *known).collect::<Vec<_>>().join(", ");
        invalid(py, &format!("{name} is {word:?}, not one of {known}"))
    })
}

/// `full`, `schema` or `data`.
pub(crate) fn scope(py: Python<'_>, word: &str) -> PyResult<Scope> {
    choice(py, "scope", word, &[("full", Scope::Full), ("schema", Scope::Schema), ("data", Scope::Data)])
}

/// `scrub`, `mac`, `contents`; `restore` is what a restore test does.
pub(crate) fn level(py: Python<'_>, name: &str, word: &str) -> PyResult<VerifyLevel> {
    let levels = [("scrub", VerifyLevel::Scrub), ("mac", VerifyLevel::Mac), ("contents", VerifyLevel::Contents)];
    choice(py, name, word, &levels)
}

/// `expedited`, `standard` or `bulk`.
pub(crate) fn tier(py: Python<'_>, word: &str) -> PyResult<ThawTier> {
    let tiers = [("expedited", ThawTier::Expedited), ("standard", ThawTier::Standard), ("bulk", ThawTier::Bulk)];
    choice(py, "tier", word, &tiers)
}

/// `pbkdf2` with its iterations, or `sha256` or `md5` of `EVP_BytesToKey`.
pub(crate) fn kdf(py: Python<'_>, word: &str, iterations: Option<NonZeroU32>) -> PyResult<OpensslKdf> {
    let pbkdf2 = OpensslKdf::Pbkdf2 { iterations: iterations.unwrap_or(DEFAULT_ITERATIONS) };
    let kdfs = [
        ("pbkdf2", pbkdf2),
        ("sha256", OpensslKdf::EvpBytesToKey(OpensslDigest::Sha256)),
        ("md5", OpensslKdf::EvpBytesToKey(OpensslDigest::Md5)),
    ];
    choice(py, "kdf", word, &kdfs)
}

/// Iterations of PBKDF2, which cannot be 0.
pub(crate) fn iterations(py: Python<'_>, count: Option<u32>) -> PyResult<Option<NonZeroU32>> {
    count.map(|count| NonZeroU32::new(count).ok_or_else(|| invalid(py, &"iterations is 0"))).transpose()
}

/// `latest`, `latest-proven`, an identifier, or a moment before which the backup began.
pub(crate) fn selector(value: &Bound<'_, PyAny>) -> PyResult<BackupSelector> {
    let Ok(text) = value.cast::<PyString>() else { return Ok(BackupSelector::Before(moment(value)?)) };
    Ok(match text.to_cow()?.as_ref() {
        "latest" => BackupSelector::Latest,
        "latest-proven" => BackupSelector::LatestProven,
        id => BackupSelector::Id(backup_id(value.py(), id)?),
    })
}

/// A datetime with a time zone, whichever.
pub(crate) fn moment(value: &Bound<'_, PyAny>) -> PyResult<DateTime<Utc>> {
    let py = value.py();
    if !value.is_instance(&py.import("datetime")?.getattr("datetime")?)? {
        return Err(PyTypeError::new_err(format!("expected a datetime, not {}", value.get_type().name()?)));
    }
    if value.call_method0("utcoffset")?.is_none() {
        return Err(invalid(py, &"the datetime has no time zone"));
    }
    let utc = py.import("datetime")?.getattr("timezone")?.getattr("utc")?;
    value.call_method1("astimezone", (utc,))?.extract()
}

/// A span: a `timedelta`, or a number of seconds.
pub(crate) fn span(value: &Bound<'_, PyAny>) -> PyResult<TimeDelta> {
    if let Ok(span) = value.extract::<TimeDelta>() {
        return Ok(span);
    }
    let seconds: f64 = value.extract()?;
    let span = Duration::try_from_secs_f64(seconds).ok().and_then(|span| TimeDelta::from_std(span).ok());
    span.ok_or_else(|| invalid(value.py(), &format!("{seconds} is not a number of seconds")))
}

/// A span that is not negative.
pub(crate) fn duration(value: &Bound<'_, PyAny>) -> PyResult<Duration> {
    span(value)?.to_std().map_err(|_| invalid(value.py(), &"a span of time is negative"))
}

/// `schema.table`, or the two apart, for names with a dot in them.
pub(crate) fn tables(values: Vec<Bound<'_, PyAny>>) -> PyResult<Vec<TableName>> {
    let table = |value: &Bound<'_, PyAny>| -> PyResult<TableName> {
        if let Ok((schema, name)) = value.extract::<(String, String)>() {
            return Ok(TableName::new(schema, name));
        }
        let text: String = value.extract()?;
        match text.split_once('.') {
            Some((schema, name)) => Ok(TableName::new(schema, name)),
            None => Err(invalid(value.py(), &format!("table {text:?} lacks its schema: schema.table"))),
        }
    };
    values.iter().map(table).collect()
}

/// An account by its name, or by the numbers of user and group.
pub(crate) fn account(value: &Bound<'_, PyAny>) -> PyResult<RunAs> {
    if let Ok((uid, gid)) = value.extract() {
        return Ok(RunAs::new(uid, gid));
    }
    let name: String = value.extract()?;
    checked(value.py(), RunAs::from_user_name(&name))
}

/// An object with the attributes `name`, `database` and `query`.
#[derive(FromPyObject)]
pub(crate) struct SqlCheckArgument {
    name: String,
    database: String,
    query: String,
}

impl From<SqlCheckArgument> for SqlCheck {
    fn from(argument: SqlCheckArgument) -> Self {
        let SqlCheckArgument { name, database, query } = argument;
        Self { name, database, query }
    }
}

/// An object with the attributes `name`, `database`, `query` and `max_change`.
#[derive(FromPyObject)]
pub(crate) struct FigureArgument {
    name: String,
    database: String,
    query: String,
    max_change: Option<f64>,
}

impl From<FigureArgument> for Figure {
    fn from(argument: FigureArgument) -> Self {
        let FigureArgument { name, database, query, max_change } = argument;
        Self { name, database, query, max_change }
    }
}

/// A path, of which a `~` is not expanded.
pub(crate) type PathArgument = PathBuf;
