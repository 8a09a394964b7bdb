//! What a server says of its write-ahead log and of archiving it.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::postgres::{ConnectionSettings, PostgresError};
use crate::types::{Lsn, TimelineId, WalSegmentSize};

/// Settings, position and statistics of archiving, as the server tells them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ArchivingStatus {
    /// The cluster; `None` where the role may not read it.
    pub system_identifier: Option<u64>,
    /// Whether the server is a standby.
    pub in_recovery: bool,
    /// The timeline that it writes, or that it replays.
    pub timeline: Option<TimelineId>,
    /// How far it has written, or, on a standby, received or replayed.
    pub position: Option<Lsn>,
    /// The size of its segments, in bytes.
    pub segment_bytes: u64,
    /// `wal_level`.
    pub wal_level: String,
    /// `archive_mode`.
    pub archive_mode: String,
    /// `archive_command`; `None` where the role may not read it.
    pub archive_command: Option<String>,
    /// `archive_library`, which takes the command's place (PostgreSQL 15 and newer).
    pub archive_library: Option<String>,
    /// Files archived since the statistics were reset.
    pub archived_count: i64,
    /// The last file that was archived, by the server's word.
    pub last_archived_wal: Option<String>,
    /// When.
    pub last_archived_at: Option<DateTime<Utc>>,
    /// Attempts that failed.
    pub failed_count: i64,
    /// The last file that could not be archived.
    pub last_failed_wal: Option<String>,
    /// When.
    pub last_failed_at: Option<DateTime<Utc>>,
    /// Files that wait to be archived; `None` where the role may not list them.
    pub waiting: Option<u64>,
    /// Receivers of the log that name themselves as this connection does: streams that archive.
    pub streams: u64,
}

impl ArchivingStatus {
    /// Returns the size of the server's segments.
    pub fn segment_size(&self) -> Option<WalSegmentSize> {
        WalSegmentSize::new(self.segment_bytes)
    }
}

const SETTINGS: &str = "
    SELECT pg_is_in_recovery(), current_setting('wal_level'), current_setting('archive_mode'),
           (SELECT setting FROM pg_settings WHERE name = 'archive_command'),
           (SELECT setting FROM pg_settings WHERE name = 'archive_library'),
           pg_size_bytes(current_setting('wal_segment_size')),
           CASE WHEN pg_is_in_recovery() THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
                ELSE pg_current_wal_lsn() END::text,
           CASE WHEN pg_is_in_recovery() THEN NULL ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END";

const STATISTICS: &str = "
    SELECT archived_count, last_archived_wal, last_archived_time, failed_count, last_failed_wal, last_failed_time
    FROM pg_catalog.pg_stat_archiver";

/// Asks a server for its archiving status.
///
/// # Errors
/// [`PostgresError::Connect`], [`PostgresError::Query`].
pub async fn archiving_status(settings: &ConnectionSettings) -> Result<ArchivingStatus, PostgresError> {
    let client = settings.connect().await?;
    let row = client.query_one(SETTINGS, &[]).await.map_err(client.query_error("read the settings of archiving"))?;
    let statistics = client.query_one(STATISTICS, &[]).await;
    let statistics = statistics.map_err(client.query_error("read the statistics of archiving"))?;
    // What a role may not ask for is not known, and no failure.
    let identifier = client.query_one("SELECT system_identifier FROM pg_catalog.pg_control_system()", &[]).await;
    let replayed = client.query_one("SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()", &[]).await;
    let waiting = "SELECT count(*) FROM pg_catalog.pg_ls_archive_statusdir() WHERE name LIKE '%.ready'";
    let waiting = client.query_one(waiting, &[]).await;
    let streams = "SELECT count(*) FROM pg_catalog.pg_stat_replication WHERE application_name = $1 AND coalesce(state, 'streaming') = 'streaming'";
    let streams = client.query_one(streams, &[&settings.application()]).await;
    client.close().await;
    let written: Option<String> = row.get(7);
    let written = written.and_then(|digits| u32::from_str_radix(&digits, 16).ok());
    let replayed = replayed.ok().map(|row| row.get::<_, i32>(0).unsigned_abs());
    Ok(ArchivingStatus {
        system_identifier: identifier.ok().map(|row| row.get::<_, i64>(0).cast_unsigned()),
        in_recovery: row.get(0),
        timeline: written.or(replayed).and_then(TimelineId::new),
        position: row.get::<_, Option<String>>(6).and_then(|text| text.parse().ok()),
        segment_bytes: row.get::<_, i64>(5).unsigned_abs(),
        wal_level: row.get(1),
        archive_mode: row.get(2),
        archive_command: row.get(3),
        archive_library: row.get::<_, Option<String>>(4).filter(|library| !library.is_empty()),
        archived_count: statistics.get(0),
        last_archived_wal: statistics.get(1),
        last_archived_at: statistics.get(2),
        failed_count: statistics.get(3),
        last_failed_wal: statistics.get(4),
        last_failed_at: statistics.get(5),
        waiting: waiting.ok().map(|row| row.get::<_, i64>(0).unsigned_abs()),
        streams: streams.map_or(0, |row| row.get::<_, i64>(0).unsigned_abs()),
    })
}
