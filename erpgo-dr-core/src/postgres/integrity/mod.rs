//! Whether what a database holds is what its catalogue says: pages, indexes, keys, rules of rows, sequences.
//!
//! Two ways: a server that is nobody's may be given the extension amcheck, and is asked what a restore test needs; a user's server is
//! only read. There each statement has a limit of time, no lock and no snapshot outlives the look at a table or constraint, and rows are read
//! by way of tables, never of indexes, which may be what is damaged.

mod catalogue;
mod checksums;
mod finding;
mod foreign_keys;
mod pages;
mod restored;
mod rows;
mod sequences;
mod session;

pub(crate) use checksums::cluster_checksums;
pub use finding::{IntegrityCounts, IntegrityFinding, IntegrityKind, NotChecked};
pub(crate) use restored::check_relations;
pub(crate) use session::{DatabaseIntegrity, InspectionLimits};

use session::Session;

use super::PostgresError;
use super::connection::ConnectionSettings;

/// Schemas of the system, whose tables have no rules of users.
const NOT_SYSTEM: &str = "n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'";

/// Tables that this session can read: not those of other sessions, nor on a standby what is not in the log.
const READABLE: &str = "c.relpersistence <> 't' AND (c.relpersistence = 'p' OR NOT pg_catalog.pg_is_in_recovery())";

/// Reads a database of a user's server, and changes nothing. `at` is told the relation that is looked at.
///
/// What is damaged is a finding, and what the role may not read, or what takes too long, is told as not checked.
///
/// # Errors
/// [`PostgresError::Connect`], [`PostgresError::Query`] where the connection is lost.
pub(crate) async fn inspect_database(
    settings: &ConnectionSettings,
    database: &str,
    limits: &InspectionLimits,
    at: &(dyn Fn(&str) + Send + Sync),
) -> Result<DatabaseIntegrity, PostgresError> {
    let mut session = Session::begin(settings, database, limits, at).await?;
    pages::check(&mut session).await?;
    catalogue::check(&mut session).await?;
    rows::check(&mut session).await?;
    foreign_keys::check(&mut session).await?;
    sequences::check(&mut session).await?;
    Ok(session.end().await)
}
