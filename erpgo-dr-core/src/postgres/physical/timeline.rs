//! On which timeline a server is.

use super::super::PostgresError;
use super::super::connection::Client;
use super::error::PhysicalError;
use super::session::failed_query;
use crate::types::TimelineId;

/// Of the last checkpoint, with which a backup begins; and of all that is known to have been replayed or received since.
const QUERY: &str = "
    SELECT checkpoint.timeline_id,
           greatest(checkpoint.timeline_id, recovery.min_recovery_end_timeline,
                    (SELECT max(received_tli) FROM pg_catalog.pg_stat_wal_receiver))
    FROM pg_catalog.pg_control_checkpoint() AS checkpoint, pg_catalog.pg_control_recovery() AS recovery";

/// Returns the timeline of the server's last checkpoint, if it is still on it.
///
/// A standby that has gone on to another is copied after its next checkpoint: from then on one timeline holds all WAL of the copy.
pub(super) async fn steady(client: &Client) -> Result<TimelineId, PostgresError> {
    let row = client.query_one(QUERY, &[]).await.map_err(failed_query(client, "ask for the timeline"))?;
    let timeline = |column| {
        TimelineId::new(row.get::<_, i32>(column).unsigned_abs())
            .ok_or_else(|| PostgresError::MalformedCluster(format!("{} has a timeline 0", client.server())))
    };
    let (from, to) = (timeline(0)?, timeline(1)?);
    match from == to {
        true => Ok(from),
        false => Err(PhysicalError::TimelineChanged { server: client.server().to_owned(), from, to }.into()),
    }
}

/// Reads the timeline in a backup label.
pub(crate) fn of_label(label: &str) -> Option<TimelineId> {
    let line = label.lines().find_map(|line| line.strip_prefix("START TIMELINE: "))?;
    TimelineId::new(line.trim().parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_names_its_timeline() {
        let label = "START WAL LOCATION: 0/2000028 (file 000000030000000000000002)\nLABEL: START TIMELINE: 9\nSTART TIMELINE: 3\n";
        assert_eq!(of_label(label), TimelineId::new(3));
        assert_eq!(of_label("START TIMELINE: 0\n"), None);
        assert_eq!(of_label(""), None);
    }
}
