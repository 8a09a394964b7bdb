//! Questions to a server that a backup, a restore or a verification needs answered.

use std::collections::BTreeMap;
use std::time::Duration;

use super::connection::{Client, ConnectionSettings};
use super::{FigureValue, PostgresError, ServerInfo, quoting};
use tokio_postgres::error::SqlState;

/// Objects that a restore would mix with: not the system's, and no part of an extension.
const COUNT_USER_OBJECTS: &str = "
    WITH schemas AS (
        SELECT oid FROM pg_catalog.pg_namespace
        WHERE nspname NOT IN ('pg_catalog', 'information_schema') AND nspname !~ '^pg_(toast|temp)'
    ), foreign_to_extensions AS (
        SELECT 'pg_catalog.pg_class'::regclass AS class, oid FROM pg_catalog.pg_class
        WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND relnamespace IN (SELECT oid FROM schemas)
        UNION ALL
        SELECT 'pg_catalog.pg_proc'::regclass, oid FROM pg_catalog.pg_proc
        WHERE pronamespace IN (SELECT oid FROM schemas)
        UNION ALL
        SELECT 'pg_catalog.pg_type'::regclass, oid FROM pg_catalog.pg_type
        WHERE typtype IN ('d', 'e', 'r') AND typnamespace IN (SELECT oid FROM schemas)
    )
    SELECT (SELECT count(*) FROM pg_catalog.pg_largeobject_metadata)
         + (SELECT count(*) FROM foreign_to_extensions AS f
            WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d
                              WHERE d.classid = f.class AND d.objid = f.oid AND d.deptype = 'e'))";

/// Asks a server. Each question is a connection of its own.
#[derive(Debug, Clone)]
pub struct ServerInspector {
    settings: ConnectionSettings,
}

/// What a check of a database said.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckOutcome {
    /// Whether it passed.
    pub passed: bool,
    /// Whether it answered at all: with one row whose first column is true or false.
    pub answered: bool,
    /// What came back instead, in words; empty when it passed.
    pub detail: String,
}

impl ServerInspector {
    /// Asks the server of these settings, through their database unless a question names another.
    pub fn new(settings: ConnectionSettings) -> Self {
        Self { settings }
    }

    /// Asks the server who it is.
    ///
    /// # Errors
    /// [`PostgresError::Connect`], [`PostgresError::Query`].
    pub async fn probe(&self) -> Result<ServerInfo, PostgresError> {
        let client = self.settings.connect().await?;
        let answer = probe(&client).await;
        client.close().await;
        answer
    }

    /// Lists the databases that a backup of everything takes: all that can be connected to and are no templates.
    ///
    /// # Errors
    /// [`PostgresError::Connect`], [`PostgresError::Query`].
    pub async fn list_databases(&self) -> Result<Vec<String>, PostgresError> {
        let client = self.settings.connect().await?;
        let answer = list_databases(&client).await;
        client.close().await;
        answer
    }

    /// Returns whether there is such a database.
    ///
    /// # Errors
    /// [`PostgresError::Connect`], [`PostgresError::Query`].
    pub async fn database_exists(&self, database: &str) -> Result<bool, PostgresError> {
        let client = self.settings.connect().await?;
        let answer = database_exists(&client, database).await;
        client.close().await;
        answer
    }

    /// Returns the size of a database on disk, in bytes.
    ///
    /// # Errors
    /// [`PostgresError::NoSuchDatabase`], and those of [`probe`](Self::probe).
    pub async fn database_size(&self, database: &str) -> Result<u64, PostgresError> {
        let client = self.settings.connect().await?;
        let rows = client
            .query(
                "SELECT pg_catalog.pg_database_size(oid) FROM pg_catalog.pg_database WHERE datname = $1",
                &[&database],
            )
            .await
            .map_err(client.query_error("read the size of a database"))?;
        let row = rows.first().ok_or_else(|| PostgresError::NoSuchDatabase {
            server: client.server().to_owned(),
            database: database.to_owned(),
        })?;
        Ok(row.get::<_, i64>(0).unsigned_abs())
    }

    /// Counts the tables, views, sequences, functions, types and large objects of a database that are its users'.
    ///
    /// # Errors
    /// [`PostgresError::Connect`], [`PostgresError::Query`].
    pub async fn count_user_objects(&self, database: &str) -> Result<u64, PostgresError> {
        let client = self.settings.clone().database(database).connect().await?;
        let answer = count_user_objects(&client).await;
        client.close().await;
        answer
    }

    /// Runs a check in a database: one query, in a read-only transaction.
    ///
    /// It passes if it returns exactly one row whose first column is the boolean `true`. Anything else,
    /// no rows included, is a check that did not pass.
    ///
    /// # Errors
    /// [`PostgresError::Query`] when the query itself fails, [`PostgresError::Connect`].
    pub async fn run_check(&self, database: &str, sql: &str) -> Result<CheckOutcome, PostgresError> {
        self.run_check_within(database, sql, Duration::ZERO).await
    }

    /// As [`run_check`](Self::run_check), of a query that may take so long; zero for as long as it takes.
    ///
    /// # Errors
    /// As [`run_check`](Self::run_check).
    pub async fn run_check_within(
        &self,
        database: &str,
        sql: &str,
        limit: Duration,
    ) -> Result<CheckOutcome, PostgresError> {
        let mut client = self.settings.clone().database(database).connect().await?;
        let error = client.query_error("run a check");
        let limit = match limit.as_millis().min(i32::MAX as u128) {
            0 => String::new(),
            limit => format!("SET LOCAL statement_timeout = {limit}"),
        };
        let rows = match client.build_transaction().read_only(true).start().await {
            Ok(transaction) => match transaction.batch_execute(&limit).await {
                Ok(()) => transaction.query(sql, &[]).await,
                Err(failure) => Err(failure),
            },
            Err(failure) => Err(failure),
        };
        client.close().await;
        Ok(judge(&rows.map_err(error)?))
    }

    /// Asks for a figure. What the query does wrong is in the answer.
    ///
    /// # Errors
    /// [`PostgresError::Connect`]; [`PostgresError::Query`] where the connection is lost.
    pub async fn read_figure(&self, database: &str, name: &str, query: &str) -> Result<FigureValue, PostgresError> {
        let client = self.settings.clone().database(database).connect().await?;
        let error = client.query_error("ask for a figure");
        let told = match client.batch_execute("BEGIN READ ONLY").await {
            Ok(()) => FigureValue::read(&client, name, query).await,
            Err(failure) => Err(failure),
        };
        client.close().await;
        told.map_err(error)
    }

    /// Makes roles that cannot log in; those that exist stay as they are.
    ///
    /// # Errors
    /// [`PostgresError::Connect`], [`PostgresError::Query`].
    pub async fn create_roles(&self, roles: &[String]) -> Result<(), PostgresError> {
        let client = self.settings.connect().await?;
        for role in roles {
            match client.batch_execute(&format!("CREATE ROLE {}", quoting::identifier(role))).await {
                Err(error) if error.code() != Some(&SqlState::DUPLICATE_OBJECT) => {
                    return Err(client.query_error("make a role")(error));
                }
                _ => {}
            }
        }
        client.close().await;
        Ok(())
    }
}

fn judge(rows: &[tokio_postgres::Row]) -> CheckOutcome {
    let failed = |detail: String| CheckOutcome { passed: false, answered: false, detail };
    let [row] = rows else { return failed(format!("{} rows instead of one", rows.len())) };
    if row.is_empty() {
        return failed("a row without columns".to_owned());
    }
    match row.try_get::<_, Option<bool>>(0) {
        Ok(Some(true)) => CheckOutcome { passed: true, answered: true, detail: String::new() },
        Ok(Some(false)) => CheckOutcome { answered: true, ..failed("false".to_owned()) },
        Ok(None) => failed("null".to_owned()),
        Err(_) => failed(format!("a column of type {} instead of boolean", row.columns()[0].type_())),
    }
}

pub(super) async fn probe(client: &Client) -> Result<ServerInfo, PostgresError> {
    let error = |action| client.query_error(action);
    let row = client
        .query_one(
            "SELECT current_setting('server_version_num')::int, current_setting('server_version'),
                    pg_catalog.pg_is_in_recovery()",
            &[],
        )
        .await
        .map_err(error("read the version"))?;
    // A role may have been denied this function; the backup is none the worse for it.
    let identifier = client.query_one("SELECT system_identifier FROM pg_catalog.pg_control_system()", &[]).await;
    Ok(ServerInfo::new(
        row.get::<_, i32>(0).unsigned_abs(),
        row.get::<_, &str>(1),
        identifier.ok().map(|row| row.get::<_, i64>(0).cast_unsigned()),
        row.get(2),
    ))
}

pub(super) async fn list_databases(client: &Client) -> Result<Vec<String>, PostgresError> {
    let rows = client
        .query(
            "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname",
            &[],
        )
        .await
        .map_err(client.query_error("list the databases"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Returns the names of all databases by their object identifiers.
pub(super) async fn database_oids(client: &Client) -> Result<BTreeMap<u32, String>, PostgresError> {
    let rows = client.query("SELECT oid, datname FROM pg_catalog.pg_database", &[]).await;
    let rows = rows.map_err(client.query_error("list the databases"))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

pub(super) async fn database_exists(client: &Client, database: &str) -> Result<bool, PostgresError> {
    let row = client.query_opt("SELECT FROM pg_catalog.pg_database WHERE datname = $1", &[&database]).await;
    Ok(row.map_err(client.query_error("look for a database"))?.is_some())
}

pub(super) async fn count_user_objects(client: &Client) -> Result<u64, PostgresError> {
    let row =
        client.query_one(COUNT_USER_OBJECTS, &[]).await.map_err(client.query_error("count what is in a database"))?;
    Ok(row.get::<_, i64>(0).unsigned_abs())
}
