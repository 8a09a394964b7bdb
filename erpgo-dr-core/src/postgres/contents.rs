//! What a backup records of each database beside its dump: all that makes the database anew needs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{BackupContents, DatabaseContents, PostgresError, RestoreOutcome, Scope, ServerInfo, TableContents};

/// A database's own properties, read in the snapshot of its dump.
///
/// An archive holds them too, but only for a restore under the same name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct DatabaseProperties {
    /// Its owner.
    pub owner: String,
    /// Its encoding, such as `UTF8`.
    pub encoding: String,
    /// `libc`, `icu` or `builtin`.
    pub locale_provider: String,
    /// `LC_COLLATE`.
    pub collate: String,
    /// `LC_CTYPE`.
    pub ctype: String,
    /// The locale of the ICU or builtin provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// Additional collation rules of the ICU provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icu_rules: Option<String>,
    /// Its default tablespace.
    pub tablespace: String,
    /// How many sessions it allows; -1 is no limit.
    pub connection_limit: i32,
    /// Its comment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// What `ALTER DATABASE ... SET` and `ALTER ROLE ... IN DATABASE ... SET` have set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<DatabaseSetting>,
    /// Who may do what with the database, where this is not the default: `GRANT`s on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grants: Option<Vec<DatabaseGrant>>,
    /// Its size on disk, in bytes.
    pub size: u64,
    /// Number of its large objects.
    pub large_objects: u64,
    /// Its extensions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<Extension>,
}

/// A setting that a database gives to its sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseSetting {
    /// For this role only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The parameter.
    pub name: String,
    /// Its value, as PostgreSQL stores it.
    pub value: String,
}

/// A privilege on a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseGrant {
    /// Who has it; `None` is everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grantee: Option<String>,
    /// `CONNECT`, `CREATE` or `TEMPORARY`.
    pub privilege: String,
    /// Whether it may be handed on.
    #[serde(default)]
    pub grantable: bool,
}

/// An extension of a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The schema of its objects.
    pub schema: String,
}

impl BackupContents {
    /// Describes a backup that `pg_dump` of the major version `dumped_with` made.
    pub fn new(server: ServerInfo, scope: Scope, dumped_with: u32, databases: Vec<DatabaseContents>) -> Self {
        Self { server, scope, dumped_with, databases, warnings: Vec::new() }
    }
}

impl DatabaseContents {
    /// Describes the dump of a database.
    pub fn new(database: impl Into<String>, stream: u32, toc_entries: u64, tables: Vec<TableContents>) -> Self {
        Self {
            database: database.into(),
            stream,
            toc_entries,
            tables,
            snapshot: None,
            properties: DatabaseProperties::default(),
            figures: Vec::new(),
        }
    }

    /// Returns where the first block of data begins, if there is any: the bytes of the archive's head.
    pub(crate) fn head_length(&self) -> Option<u64> {
        self.tables.iter().map(|table| table.offset).min()
    }

    /// Returns the rows of all tables (and the large objects).
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }
}

impl RestoreOutcome {
    /// Describes what a restore did.
    pub fn new(databases: Vec<String>, bytes: u64, warnings: Vec<String>) -> Self {
        Self { databases, bytes, warnings }
    }
}

/// Compares two fingerprints of a database by the names of its tables: rows, bytes and checksums.
///
/// pg_dump numbers its entries anew in each dump and may cut large objects into other batches, so neither counts.
///
/// # Errors
/// [`PostgresError::ContentsDiffer`] names the first tables that differ, and counts the rest.
pub fn compare_tables(expected: &[TableContents], found: &[TableContents]) -> Result<(), PostgresError> {
    let (expected, found) = (by_name(expected), by_name(found));
    let names = expected.keys().chain(found.keys().filter(|name| !expected.contains_key(*name)));
    let differences: Vec<String> = names
        .filter(|name| expected.get(*name) != found.get(*name))
        .map(|name| describe(name, expected.get(name), found.get(name)))
        .collect();
    match differences.len() {
        0 => Ok(()),
        count @ 1..=3 => Err(PostgresError::ContentsDiffer(differences[..count].join("; "))),
        count => {
            let text = format!("{}; and {} more tables", differences[..3].join("; "), count - 3);
            Err(PostgresError::ContentsDiffer(text))
        }
    }
}

#[derive(Debug, Default, PartialEq)]
struct Fingerprint {
    rows: u64,
    bytes: u64,
    checksum: u64,
}

fn by_name(tables: &[TableContents]) -> BTreeMap<(&str, &str), Fingerprint> {
    let mut sums: BTreeMap<_, Fingerprint> = BTreeMap::new();
    for table in tables {
        let sum = sums.entry((table.schema.as_str(), table.name.as_str())).or_default();
        sum.rows += table.rows;
        sum.bytes += table.bytes;
        sum.checksum = sum.checksum.wrapping_add(table.checksum);
    }
    sums
}

fn describe((schema, name): &(&str, &str), expected: Option<&Fingerprint>, found: Option<&Fingerprint>) -> String {
    let table = if schema.is_empty() { "the large objects".to_owned() } else { format!("table {schema}.{name}") };
    match (expected, found) {
        (Some(_), None) => format!("{table} is missing"),
        (None, _) => format!("{table} was not there"),
        (Some(expected), Some(found)) if expected.rows != found.rows => {
            format!("{table} has {} rows instead of {}", found.rows, expected.rows)
        }
        (Some(expected), Some(found)) => {
            format!(
                "{table} has other contents in its {} rows ({} bytes, were {})",
                found.rows, found.bytes, expected.bytes
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, rows: u64, checksum: u64) -> TableContents {
        let schema = if name == "BLOBS" { "" } else { "public" }.to_owned();
        let (name, cuts) = (name.into(), Vec::new());
        TableContents { schema, name, dump_id: 7, rows, bytes: 9, checksum, offset: 1, length: 2, cuts }
    }

    #[test]
    fn order_and_numbers_do_not_matter_but_contents_do() {
        let expected = [table("a", 1, 5), table("b", 2, 6)];
        let mut found = [table("b", 2, 6), table("a", 1, 5)];
        found[0].dump_id = 99;
        compare_tables(&expected, &found).unwrap();
        found[1].checksum = 4;
        let error = compare_tables(&expected, &found).unwrap_err().to_string();
        assert!(error.contains("table public.a has other contents"), "{error}");
        let error = compare_tables(&expected, &found[..1]).unwrap_err().to_string();
        assert!(error.contains("table public.a is missing"), "{error}");
    }

    #[test]
    fn large_objects_may_come_in_other_batches() {
        let mut halves = [table("BLOBS", 1, u64::MAX), table("BLOBS", 2, 3)];
        halves[1].bytes = 0;
        compare_tables(&[table("BLOBS", 3, 2)], &halves).unwrap();
    }
}
