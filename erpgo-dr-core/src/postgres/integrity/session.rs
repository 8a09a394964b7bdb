//! A session that only reads, gathers what it finds, and holds no lock longer than a statement.

use std::time::Duration;

use tokio_postgres::{Error, SimpleQueryMessage};

use super::super::PostgresError;
use super::super::connection::{Client, ConnectionSettings};
use super::super::quoting::{identifier, literal};
use super::finding::{IntegrityCounts, IntegrityFinding, IntegrityKind, NotChecked};

/// Keys of rows, and words of amcheck, that are kept of one finding.
pub(super) const SAMPLES: usize = 5;
/// Characters that are kept of a value of a key.
const VALUE: usize = 100;

/// How long a statement may wait for a lock: one that waits behind a change of a table has others wait behind it.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// What a look at a database may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InspectionLimits {
    /// How long a statement may take; zero for as long as it takes.
    pub(crate) statement_timeout: Duration,
    /// Whether amcheck reads no tables, and does not compare indexes with them.
    pub(crate) quick: bool,
}

/// What was found in a database.
#[derive(Debug, Default)]
pub(crate) struct DatabaseIntegrity {
    pub(crate) findings: Vec<IntegrityFinding>,
    pub(crate) not_checked: Vec<NotChecked>,
    pub(crate) checked: IntegrityCounts,
}

/// A row, as text.
pub(super) type TextRow = Vec<Option<String>>;

/// Why a statement gave no answer.
pub(super) enum Trouble {
    /// What it read is damaged.
    Damaged(String),
    /// It was not allowed, took too long, or what it was to read is gone.
    Prevented(String),
}

/// The session.
pub(super) struct Session<'a> {
    client: Client,
    pub(super) database: String,
    pub(super) limits: &'a InspectionLimits,
    at: &'a (dyn Fn(&str) + Send + Sync),
    pub(super) found: DatabaseIntegrity,
    in_look: bool,
}

impl<'a> Session<'a> {
    pub(super) async fn begin(
        settings: &ConnectionSettings,
        database: &str,
        limits: &'a InspectionLimits,
        at: &'a (dyn Fn(&str) + Send + Sync),
    ) -> Result<Self, PostgresError> {
        let client = settings.clone().database(database).connect().await?;
        let statement_timeout = limits.statement_timeout.as_millis().min(i32::MAX as u128);
        let settings = format!(
            "SET default_transaction_read_only = on; SET search_path = ''; SET row_security = off;
             SET statement_timeout = {statement_timeout}; SET lock_timeout = {};
             SET idle_in_transaction_session_timeout = 0; SET constraint_exclusion = off;
             SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off",
            LOCK_TIMEOUT.as_millis()
        );
        client.batch_execute(&settings).await.map_err(client.query_error("prepare a session that only reads"))?;
        let database = database.to_owned();
        Ok(Self { client, database, limits, at, found: DatabaseIntegrity::default(), in_look: false })
    }

    /// Begins a look: what is asked until [`end_look`](Self::end_look) sees one state of these tables.
    ///
    /// They are locked before the snapshot is taken, as pg_dump does it: to an older snapshot, a table that somebody rewrites looks empty.
    pub(super) async fn begin_look(&mut self, tables: &[&str]) -> Result<Result<(), Trouble>, PostgresError> {
        let sql = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; LOCK TABLE {} IN ACCESS SHARE MODE",
            tables.join(", ")
        );
        match self.client.batch_execute(&sql).await {
            Ok(()) => {
                self.in_look = true;
                Ok(Ok(()))
            }
            Err(error) => {
                let trouble =
                    self.trouble(&error).ok_or_else(|| self.client.query_error("lock a table to read it")(error))?;
                self.end_look().await?;
                Ok(Err(trouble))
            }
        }
    }

    /// Gives snapshot and locks back.
    pub(super) async fn end_look(&mut self) -> Result<(), PostgresError> {
        self.in_look = false;
        self.client.batch_execute("ROLLBACK").await.map_err(self.client.query_error("end a transaction"))
    }

    pub(super) async fn end(self) -> DatabaseIntegrity {
        self.client.close().await;
        self.found
    }

    /// Tells which relation is looked at.
    pub(super) fn locate(&self, schema: &str, relation: &str) {
        (self.at)(&format!("{}.{schema}.{relation}", self.database));
    }

    /// Reads the catalogue: what goes wrong there ends the look at the database.
    pub(super) async fn list(&self, action: &str, sql: &str) -> Result<Vec<TextRow>, PostgresError> {
        self.query(sql).await.map_err(self.client.query_error(action))
    }

    /// Asks, where an answer may not be had. An error is one of the connection.
    pub(super) async fn ask(&self, action: &str, sql: &str) -> Result<Result<Vec<TextRow>, Trouble>, PostgresError> {
        match self.query(sql).await {
            Ok(rows) => Ok(Ok(rows)),
            Err(error) => match self.trouble(&error) {
                Some(trouble) => Ok(Err(trouble)),
                None => Err(self.client.query_error(action)(error)),
            },
        }
    }

    /// An error must not end the look.
    async fn query(&self, sql: &str) -> Result<Vec<TextRow>, Error> {
        if !self.in_look {
            return self.client.simple_query(sql).await.map(text_rows);
        }
        self.client.batch_execute("SAVEPOINT question").await?;
        let outcome = self.client.simple_query(sql).await;
        let back = self.client.batch_execute("ROLLBACK TO SAVEPOINT question; RELEASE SAVEPOINT question").await;
        match (outcome, back) {
            (Err(error), _) | (Ok(_), Err(error)) => Err(error),
            (Ok(messages), Ok(())) => Ok(text_rows(messages)),
        }
    }

    /// Returns why a statement gave no answer; `None` where the connection is lost.
    fn trouble(&self, error: &Error) -> Option<Trouble> {
        let said = error.as_db_error()?;
        let message = said.message().to_owned();
        match said.code().code() {
            "57P01" | "57P02" | "57P03" | "57P05" => None,
            // Damaged data or index, an internal error that only damage explains, a file that cannot be read or is not there.
            "XX000" | "XX001" | "XX002" | "58030" | "58P01" => Some(Trouble::Damaged(message)),
            "57014" if !self.limits.statement_timeout.is_zero() => {
                let seconds = self.limits.statement_timeout.as_secs_f64();
                Some(Trouble::Prevented(format!("{message}: a statement may take {seconds} s")))
            }
            _ => Some(Trouble::Prevented(message)),
        }
    }

    /// Notes what could not be looked at, or is damaged.
    pub(super) fn note(&mut self, trouble: Trouble, (schema, relation): (&str, &str), what: &str) {
        match trouble {
            Trouble::Prevented(reason) => self.skip(Some((schema, relation)), what, reason),
            Trouble::Damaged(message) => {
                let meaning = format!(
                    "{what}: its rows cannot be read, so its pages, or those of a table that was read with it, are damaged. Restore from before the \
                     damage; then look for its cause in the server's log, its disks and memory"
                );
                let finding = IntegrityFinding::new(IntegrityKind::Unreadable, Some(&self.database), meaning);
                self.add(finding.of(schema, relation).told(vec![message]));
            }
        }
    }

    pub(super) fn skip(&mut self, relation: Option<(&str, &str)>, what: &str, reason: String) {
        let (schema, relation) = relation.map(|(schema, name)| (schema.to_owned(), name.to_owned())).unzip();
        let (database, what) = (self.database.clone(), what.to_owned());
        self.found.not_checked.push(NotChecked { database, schema, relation, what, reason });
    }

    pub(super) fn add(&mut self, finding: IntegrityFinding) {
        self.found.findings.push(finding);
    }

    /// Makes a finding in this database.
    pub(super) fn finding(&self, kind: IntegrityKind, message: String) -> IntegrityFinding {
        IntegrityFinding::new(kind, Some(&self.database), message)
    }
}

fn text_rows(messages: Vec<SimpleQueryMessage>) -> Vec<TextRow> {
    let rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    rows.map(|row| (0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect()).collect()
}

/// Returns a cell of a row; one that is missing or null is empty.
pub(super) fn cell(row: &TextRow, column: usize) -> &str {
    row.get(column).and_then(Option::as_deref).unwrap_or_default()
}

/// Returns a number in a cell.
pub(super) fn number(row: &TextRow, column: usize) -> u64 {
    cell(row, column).parse().unwrap_or_default()
}

/// Returns a list in JSON in a cell.
pub(super) fn list<T: serde::de::DeserializeOwned>(row: &TextRow, column: usize) -> Vec<T> {
    serde_json::from_str(cell(row, column)).unwrap_or_default()
}

/// Quotes a table's name.
pub(super) fn table(schema: &str, relation: &str) -> String {
    format!("{}.{}", identifier(schema), identifier(relation))
}

/// Returns an expression for a row's key as text, `id=7, line=2`, of these columns of `alias`; without columns, where the row lies.
pub(super) fn key(alias: &str, columns: &[String]) -> String {
    let part = |column: &String| {
        let (name, value) = (literal(&format!("{column}=")), format!("{alias}.{}", identifier(column)));
        format!("{name} || coalesce(pg_catalog.left({value}::text, {VALUE}), 'NULL')")
    };
    match columns {
        [] => format!("'ctid=' || {alias}.ctid::text"),
        columns => format!("pg_catalog.concat_ws(', ', {})", columns.iter().map(part).collect::<Vec<_>>().join(", ")),
    }
}

/// Returns the first cells of rows.
pub(super) fn firsts(rows: &[TextRow]) -> Vec<String> {
    rows.iter().map(|row| cell(row, 0).to_owned()).collect()
}

/// A query for the names of the columns of a table's primary key, as a list in JSON. `c` is the table's row in `pg_class`.
pub(super) const PRIMARY_KEY: &str = "
    (SELECT pg_catalog.json_agg(a.attname ORDER BY k.place)
     FROM pg_catalog.pg_index AS i, pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, place), pg_catalog.pg_attribute AS a
     WHERE i.indrelid = c.oid AND i.indisprimary AND a.attrelid = c.oid AND a.attnum = k.number
       AND k.place <= i.indnkeyatts)::text";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_text_whatever_its_columns_are_called() {
        assert_eq!(key("f", &[]), "'ctid=' || f.ctid::text");
        let odd = key("f", &["a\"b".to_owned(), "it's".to_owned()]);
        assert!(odd.contains("'a\"b='") && odd.contains("f.\"a\"\"b\"::text"), "{odd}");
        assert!(odd.contains("'it''s='"), "{odd}");
        assert_eq!(table("S", "o\"t"), "\"S\".\"o\"\"t\"");
    }
}
