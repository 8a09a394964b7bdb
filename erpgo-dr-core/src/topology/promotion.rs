//! What makes another server the primary: a standby is promoted, and others follow it.

use std::time::Duration;

use super::server::{ask_server, within};
use crate::postgres::{Client, ConnectionSettings, PostgresError, quoting};

/// How long one question to a server may take.
const QUESTION: Duration = Duration::from_secs(5);

/// Promotes a standby; returns whether it takes writes within `limit`. Whether it may be is for the caller to know.
///
/// # Errors
/// [`PostgresError::Connect`], [`PostgresError::Query`]. It may be promoted all the same.
pub async fn promote_standby(standby: &ConnectionSettings, limit: Duration) -> Result<bool, PostgresError> {
    let asked = async {
        let client = standby.clone().connect_timeout(limit.min(QUESTION)).connect().await?;
        let sql = format!("SELECT pg_catalog.pg_promote(true, {})", limit.as_secs().clamp(1, 86_400));
        let promoted = client.query_one(&sql, &[]).await.map_err(client.query_error("promote"));
        client.close().await;
        promoted?.try_get(0).map_err(|source| PostgresError::Query {
            server: standby.to_string(),
            action: "promote".to_owned(),
            source: source.into(),
        })
    };
    // The server itself gives up at `limit`, and says so.
    within(standby, limit.saturating_add(QUESTION), asked).await
}

/// Has a standby follow another primary: `primary_conninfo` gets its address behind what it has, which then counts.
///
/// # Errors
/// [`PostgresError::Connect`], [`PostgresError::Query`]; [`PostgresError::InvalidSettings`] where `primary_conninfo` is a URI, to which
/// nothing can be added.
pub async fn point_standby(standby: &ConnectionSettings, host: &str, port: &str) -> Result<(), PostgresError> {
    let asked = async {
        let client = standby.clone().connect_timeout(QUESTION).connect().await?;
        let pointed = point(&client, host, port).await;
        client.close().await;
        pointed
    };
    within(standby, QUESTION * 3, asked).await
}

/// Returns whether a standby receives from this address.
pub async fn receives_from(standby: &ConnectionSettings, host: &str, port: &str) -> bool {
    let Ok(state) = ask_server(standby, QUESTION).await else { return false };
    state.follows.is_some_and(|followed| {
        followed.is_streaming()
            && followed.host.as_deref() == Some(host)
            && followed.port.is_some_and(|found| found.to_string() == port)
    })
}

async fn point(client: &Client, host: &str, port: &str) -> Result<(), PostgresError> {
    let action = "have it follow another primary";
    let row = client.query_one("SELECT pg_catalog.current_setting('primary_conninfo')", &[]).await;
    let before: String = row.map_err(client.query_error(action))?.get(0);
    if before.starts_with("postgresql://") || before.starts_with("postgres://") {
        let reason = "its primary_conninfo is a URI, to which nothing can be added: write it as keywords";
        return Err(PostgresError::InvalidSettings(format!(
            "{} cannot be pointed elsewhere: {reason}",
            client.server()
        )));
    }
    // It may hold a password, which would be in the server's log with the statement. Only a superuser may, and only it needs to.
    let _ = client.batch_execute("SET log_statement = 'none'").await;
    // Of a keyword that comes twice, the last one counts (`conninfo_storeval` of libpq's fe-connect.c).
    let own = format!("{} {}", quoting::conninfo("host", host), quoting::conninfo("port", port));
    let before = before.strip_suffix(own.as_str()).unwrap_or(&before).trim_end();
    let sql = format!("ALTER SYSTEM SET primary_conninfo = {}", quoting::literal(&format!("{before} {own}")));
    client.batch_execute(&sql).await.map_err(client.query_error(action))?;
    client.batch_execute("SELECT pg_catalog.pg_reload_conf()").await.map_err(client.query_error(action))
}
