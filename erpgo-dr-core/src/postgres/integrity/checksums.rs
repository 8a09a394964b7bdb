//! Whether pages carry checksums, and how often one was wrong.

use super::super::PostgresError;
use super::super::connection::ConnectionSettings;
use super::finding::{IntegrityFinding, IntegrityKind};

const FAILURES: &str = "
    SELECT datname::text, checksum_failures, checksum_last_failure::text
    FROM pg_catalog.pg_stat_database WHERE checksum_failures > 0 ORDER BY datid";

/// Returns whether pages carry checksums, and the databases in which one was wrong.
///
/// # Errors
/// [`PostgresError::Connect`], [`PostgresError::Query`].
pub(crate) async fn cluster_checksums(
    settings: &ConnectionSettings,
) -> Result<(bool, Vec<IntegrityFinding>), PostgresError> {
    let client = settings.connect().await?;
    let error = |action| client.query_error(action);
    let on = client.query_one("SELECT pg_catalog.current_setting('data_checksums') = 'on'", &[]).await;
    let on = on.map_err(error("ask for data_checksums"))?.get(0);
    let rows = client.query(FAILURES, &[]).await.map_err(error("read the failures of checksums"))?;
    client.close().await;
    let finding = |row: &tokio_postgres::Row| {
        let (database, failures, last): (Option<&str>, i64, Option<&str>) = (row.get(0), row.get(1), row.get(2));
        let message = format!(
            "the server has met pages with a wrong checksum, the last at {}: a disk, a controller or memory alters data. Its log names the \
             pages; restore them from before, and do not trust this host until the cause is known. The count is reset with the statistics",
            last.unwrap_or("an unknown time")
        );
        IntegrityFinding::new(IntegrityKind::ChecksumFailures, database, message)
            .rows(failures.unsigned_abs(), Vec::new())
    };
    Ok((on, rows.iter().map(finding).collect()))
}
