//! Reads every table and every index of a database with amcheck, and tells what is wrong with them.

use super::super::PostgresError;
use super::super::connection::{Client, ConnectionSettings};

/// Findings that are kept of one relation: a damaged table would tell a line for each of its rows.
const FINDINGS_EACH: i64 = 5;

const TABLES: &str = "
    SELECT c.oid, c.oid::regclass::text FROM pg_catalog.pg_class AS c
    WHERE c.relkind IN ('r', 't', 'm') AND c.relpersistence = 'p' ORDER BY c.oid";

const INDEXES: &str = "
    SELECT c.oid, c.oid::regclass::text FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_index AS i ON i.indexrelid = c.oid JOIN pg_catalog.pg_am AS a ON a.oid = c.relam
    WHERE c.relkind = 'i' AND c.relpersistence = 'p' AND a.amname = 'btree' AND i.indisready AND i.indisvalid
    ORDER BY c.oid";

/// Checks a database of a server that is nobody's: where the extension amcheck can be had, it is created.
///
/// Without amcheck every row of every table is read, and indexes are not checked.
///
/// # Errors
/// [`PostgresError::Connect`], [`PostgresError::Query`]; what is wrong with a relation is a finding.
pub(crate) async fn check_relations(
    settings: &ConnectionSettings,
    database: &str,
) -> Result<Vec<String>, PostgresError> {
    let client = settings.clone().database(database).connect().await?;
    let findings = check(&client).await;
    client.close().await;
    findings
}

async fn check(client: &Client) -> Result<Vec<String>, PostgresError> {
    let has_amcheck = client.batch_execute("CREATE EXTENSION IF NOT EXISTS amcheck").await.is_ok();
    let mut findings = Vec::new();
    for (oid, name) in relations(client, TABLES).await? {
        match has_amcheck {
            true => findings.extend(check_heap(client, oid, &name).await),
            false => findings.extend(read_all(client, &name).await),
        }
    }
    for (oid, name) in relations(client, INDEXES).await?.into_iter().filter(|_| has_amcheck) {
        let checked = client.execute("SELECT bt_index_parent_check($1::oid::regclass, true)", &[&oid]).await;
        findings.extend(checked.err().map(|error| finding(&name, &error)));
    }
    Ok(findings)
}

async fn relations(client: &Client, query: &str) -> Result<Vec<(u32, String)>, PostgresError> {
    let rows = client.query(query, &[]).await.map_err(client.query_error("list the relations"))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

async fn check_heap(client: &Client, oid: u32, name: &str) -> Vec<String> {
    let query = "SELECT blkno, msg FROM verify_heapam($1::oid::regclass) LIMIT $2";
    match client.query(query, &[&oid, &FINDINGS_EACH]).await {
        Ok(rows) => {
            let told = |row: &tokio_postgres::Row| {
                format!("{name}, block {}: {}", row.get::<_, i64>(0), row.get::<_, &str>(1))
            };
            rows.iter().map(told).collect()
        }
        Err(error) => vec![finding(name, &error)],
    }
}

/// `name` is a `regclass` in text, which is quoted already.
async fn read_all(client: &Client, name: &str) -> Option<String> {
    let read = client.execute(&format!("SELECT count(t) FROM ONLY {name} AS t"), &[]).await;
    read.err().map(|error| finding(name, &error))
}

fn finding(name: &str, error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(error) => format!("{name}: {}", error.message()),
        None => format!("{name}: {error}"),
    }
}
