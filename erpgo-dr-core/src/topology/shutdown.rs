//! Whether a standby has everything that a primary wrote before it was stopped.

use std::time::Duration;

use serde::Serialize;

use super::server::{lsn, within};
use crate::postgres::{Client, ConnectionSettings, PostgresError};
use crate::types::Lsn;

/// The most bytes that the record of a shutdown checkpoint takes with the header of a page in the middle of it. The shortest record that
/// a server writes when it starts again behind one is longer than what is left.
const RECORD: u64 = 160;

/// What a standby knows of the last checkpoint of its primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ReplayedCheckpoint {
    /// Where the record of that checkpoint lies.
    pub checkpoint: Lsn,
    /// Where replay from it begins: at the record itself for one of a server that was stopped, before it for every other.
    pub redo: Lsn,
    /// How far the standby has replayed: the end of a record.
    pub replayed: Lsn,
}

impl ReplayedCheckpoint {
    /// Returns whether the last thing that the standby has replayed is the checkpoint that a primary writes when it is stopped in order.
    /// A primary writes nothing behind it, so the standby has everything.
    pub fn is_shutdown(&self) -> bool {
        let behind = self.replayed.0.checked_sub(self.checkpoint.0);
        self.redo == self.checkpoint && behind.is_some_and(|bytes| bytes > 0 && bytes <= RECORD)
    }
}

/// Asks a standby for the last checkpoint that it has replayed. `limit` is for all of it.
///
/// Its control file names that one once a restart point was made at it: `CHECKPOINT` has one made, which takes a superuser, or the role
/// `pg_checkpoint` of PostgreSQL 15 and later (`CreateRestartPoint` in xlog.c).
///
/// # Errors
/// [`PostgresError::Connect`], [`PostgresError::Query`]; also where it is no standby, or has replayed nothing yet.
pub async fn replayed_checkpoint(
    standby: &ConnectionSettings,
    limit: Duration,
) -> Result<ReplayedCheckpoint, PostgresError> {
    let asked = async {
        let client = standby.clone().connect_timeout(limit).connect().await?;
        let found = last_checkpoint(&client).await;
        client.close().await;
        found
    };
    within(standby, limit, asked).await
}

async fn last_checkpoint(client: &Client) -> Result<ReplayedCheckpoint, PostgresError> {
    let action = "ask a standby for its last checkpoint";
    client.batch_execute("CHECKPOINT").await.map_err(client.query_error(action))?;
    let sql = "SELECT checkpoint_lsn::text, redo_lsn::text, pg_catalog.pg_last_wal_replay_lsn()::text
               FROM pg_catalog.pg_control_checkpoint() WHERE pg_catalog.pg_is_in_recovery()";
    let row = client.query_opt(sql, &[]).await.map_err(client.query_error(action))?;
    let position = |column: usize| lsn(row.as_ref()?.get(column));
    match (position(0), position(1), position(2)) {
        (Some(checkpoint), Some(redo), Some(replayed)) => Ok(ReplayedCheckpoint { checkpoint, redo, replayed }),
        _ => Err(PostgresError::Query {
            server: client.server().to_owned(),
            action: action.to_owned(),
            source: "it is no standby, or has replayed nothing".into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_shutdown_checkpoint_that_nothing_follows_counts() {
        let found = |checkpoint, redo, replayed| {
            ReplayedCheckpoint { checkpoint: Lsn(checkpoint), redo: Lsn(redo), replayed: Lsn(replayed) }.is_shutdown()
        };
        assert!(found(0x28, 0x28, 0x28 + 120));
        assert!(found(0x1fc0, 0x1fc0, 0x1fc0 + 144), "with the header of a page in between");
        assert!(!found(0x1000, 0x0fc8, 0x1000 + 120), "a server that runs");
        assert!(!found(0x28, 0x28, 0x28 + 120 + 56), "it was started again");
        assert!(!found(0x28, 0x28, 0x28), "not replayed");
        assert!(!found(0x128, 0x128, 0x28));
    }
}
