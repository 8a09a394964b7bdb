//! How large a dump will be, before it is taken: for a bar to measure against, and for nothing else.

use super::super::connection::Client;

/// Tables of users with what of their rows lies beside them, and large objects; no indexes, and nothing of the system's.
const SIZE: &str = "
    SELECT coalesce(sum(pg_catalog.pg_relation_size(c.oid)
                        + coalesce(pg_catalog.pg_relation_size(nullif(c.reltoastrelid, 0)), 0)), 0)::bigint
         + pg_catalog.pg_relation_size('pg_catalog.pg_largeobject')
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'";

/// Estimates the bytes of a whole dump, from a session in the transaction of its snapshot.
///
/// Text of rows is larger or smaller than they are on disk, so that a dump ends somewhere near the estimate. `None` where
/// somebody holds a lock on a table: pg_dump waits for it in its own way.
pub(super) async fn dump_bytes(client: &Client) -> Option<u64> {
    // A failure would end the transaction, and with it the snapshot.
    client.batch_execute("SAVEPOINT estimate; SET LOCAL lock_timeout = '200ms'").await.ok()?;
    let asked = client.query_one(SIZE, &[]).await;
    client.batch_execute("ROLLBACK TO SAVEPOINT estimate; RELEASE SAVEPOINT estimate").await.ok()?;
    match asked {
        Ok(row) => Some(row.get::<_, i64>(0).unsigned_abs()),
        Err(error) => {
            tracing::debug!(%error, "the size of the dump is not known beforehand");
            None
        }
    }
}
