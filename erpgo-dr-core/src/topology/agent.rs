//! Whether an agent decides what a server is: then nobody else may.

use std::time::Duration;

use super::server::within;
use crate::postgres::{Client, ConnectionSettings, PostgresError};

/// Patroni names its connections so (`NamedConnection` in its postgresql/connection.py): `Patroni heartbeat`, `Patroni restapi`, and before
/// version 3.3 `Patroni`.
const CONNECTED: &str = "
    SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_activity
                   WHERE application_name = 'Patroni' OR application_name LIKE 'Patroni %')";
/// Patroni begins `postgresql.conf` so (`ConfigWriter` in its postgresql/config.py). To read a file takes `pg_read_server_files`.
const WRITTEN: &str = "
    SELECT pg_catalog.pg_read_file(pg_catalog.current_setting('config_file'), 0, 200) LIKE '%overwritten by Patroni!%'";

/// Returns whether Patroni runs a server: its agent is connected to it, or wrote its `postgresql.conf`. A role that is no superuser and
/// may not read files sees the agent's connections only.
///
/// # Errors
/// [`PostgresError::Connect`], [`PostgresError::Query`].
pub async fn patroni_runs(server: &ConnectionSettings, limit: Duration) -> Result<bool, PostgresError> {
    let asked = async {
        let client = server.clone().connect_timeout(limit).connect().await?;
        let found = found(&client).await;
        client.close().await;
        found
    };
    within(server, limit, asked).await
}

async fn found(client: &Client) -> Result<bool, PostgresError> {
    let action = "ask whether Patroni runs it";
    let row = client.query_one(CONNECTED, &[]).await.map_err(client.query_error(action))?;
    if row.get(0) {
        return Ok(true);
    }
    // Who may not read the file knows no more than this.
    let written = client.query_one(WRITTEN, &[]).await.ok();
    Ok(written.and_then(|row| row.try_get(0).ok()).unwrap_or(false))
}
