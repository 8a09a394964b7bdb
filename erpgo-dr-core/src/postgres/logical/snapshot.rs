//! The moment of a dump: a transaction of ours, whose snapshot pg_dump takes over.

use super::super::connection::Client;
use super::super::{ConnectionSettings, PostgresError, ServerInfo};

/// A session in a read-only transaction that sees what the dump sees.
#[derive(Debug)]
pub(super) struct Snapshot {
    client: Client,
    id: Option<String>,
}

impl Snapshot {
    /// Begins the transaction, and exports its snapshot where the server can do that.
    pub(super) async fn take(
        settings: &ConnectionSettings,
        server: &ServerInfo,
        deferrable: bool,
    ) -> Result<Self, PostgresError> {
        let client = settings.connect().await?;
        let begin = begin(server.major(), deferrable);
        client.batch_execute(&begin).await.map_err(client.query_error("begin a snapshot"))?;
        let exported = client.query_one("SELECT pg_catalog.pg_export_snapshot()", &[]).await;
        let id = match exported {
            Ok(row) => Some(row.get(0)),
            // A standby of an old version cannot. pg_dump's own transaction then is the snapshot.
            Err(error) if server.in_recovery => {
                tracing::debug!(%error, "the standby exports no snapshot");
                client.batch_execute("ROLLBACK; BEGIN READ ONLY").await.map_err(client.query_error("begin anew"))?;
                None
            }
            Err(error) => return Err(client.query_error("export a snapshot")(error)),
        };
        Ok(Self { client, id })
    }

    /// Returns the session.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Ends the transaction and its session.
    pub(super) async fn end(self) {
        // A server that is gone has ended it already.
        let _ = self.client.batch_execute("COMMIT").await;
        self.client.close().await;
    }

    /// Returns the exported snapshot's name.
    pub(super) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }
}

/// The session idles for as long as the dump runs: no timeout of the server may end it.
fn begin(major: u32, deferrable: bool) -> String {
    let timeouts = ["statement_timeout", "idle_in_transaction_session_timeout"];
    let newer = (major >= 17).then_some("transaction_timeout");
    let mut sql: String = timeouts.into_iter().chain(newer).map(|name| format!("SET {name} = 0; ")).collect();
    sql.push_str(match deferrable {
        true => "BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE",
        false => "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
    });
    sql
}
