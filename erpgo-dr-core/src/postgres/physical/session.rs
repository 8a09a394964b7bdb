//! The session in which a server is in backup mode: from its beginning to its end on one connection.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_postgres::error::SqlState;

use super::super::connection::{Client, ConnectionSettings};
use super::super::inspect::{database_oids, list_databases, probe};
use super::super::refusal::is_lost_connection;
use super::super::{PostgresError, ServerInfo};
use super::changed::ChangedBlocks;
use super::error::PhysicalError;
use super::listing::failed;
use super::raw_text::{self, RawText};
use super::summaries;
use super::timeline;
use crate::types::{Lsn, TimelineId, WalSegmentSize};

/// Seconds that a server may take to its time of start.
const START_DELAY: i64 = 60;
/// Characters of a label; the server takes up to 1,024 bytes.
const LABEL: usize = 1000;

/// What a server says of the cluster that it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterFacts {
    /// The server.
    pub server: ServerInfo,
    /// Where it says that its data directory is; empty if the role may not see that.
    pub data_directory: String,
    /// The system identifier, which the control file begins with.
    pub system_identifier: u64,
    /// The folder of this version in each tablespace: `PG_17_202406281`.
    pub version_folder: String,
    /// Whether pages carry checksums.
    pub data_checksums: bool,
    /// Bytes of a page.
    pub block_size: u32,
    /// Pages in one file of a relation.
    pub blocks_per_segment: u32,
    /// The size of its WAL segments.
    pub wal_segment_size: WalSegmentSize,
    /// The bootstrap superuser.
    pub superuser: String,
    /// Databases that can be connected to.
    pub databases: Vec<String>,
    /// All databases, templates too, by their object identifiers.
    pub database_oids: BTreeMap<u32, String>,
    /// Tablespaces beside `pg_default` and `pg_global`.
    pub tablespaces: Vec<ClusterTablespace>,
    /// When the server was started, by its own clock, to the microsecond.
    pub started: DateTime<Utc>,
    /// The port that it listens on, also on its socket.
    port: u16,
}

/// A tablespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterTablespace {
    /// Its object identifier.
    pub oid: u32,
    /// Where it lies.
    pub location: String,
}

impl ClusterFacts {
    /// Asks a server what its cluster is like.
    ///
    /// # Errors
    /// [`PostgresError::Connect`], [`PostgresError::Query`]; [`PhysicalError::WalLevel`] when the server writes too little WAL.
    pub async fn read(settings: &ConnectionSettings) -> Result<Self, PostgresError> {
        let client = settings.connect().await?;
        let facts = facts(&client).await;
        client.close().await;
        facts
    }
}

/// A server in backup mode. When it is dropped, the connection ends, and with it the mode.
#[derive(Debug)]
pub struct BackupSession {
    client: Client,
    facts: ClusterFacts,
    start: Lsn,
    timeline: TimelineId,
}

/// What the server gave out at the end of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoppedBackup {
    /// Where the copy becomes consistent.
    pub stop: Lsn,
    /// The timeline that it was taken on.
    pub timeline: TimelineId,
    /// The file `backup_label`.
    pub backup_label: String,
    /// The file `tablespace_map`, if there is one.
    pub tablespace_map: Option<String>,
}

impl StoppedBackup {
    /// Describes the end of a backup whose tablespaces are known as links.
    pub(crate) fn new(stop: Lsn, timeline: TimelineId, backup_label: String) -> Self {
        Self { stop, timeline, backup_label, tablespace_map: None }
    }
}

impl BackupSession {
    /// Puts the server into backup mode; it makes a checkpoint first, at once or spread over time.
    ///
    /// `label` is for people; what of it cannot stand in a label file is replaced. Time limits that the server or the role has
    /// set for statements and idle sessions do not count in this one.
    ///
    /// A temporary replication slot keeps the WAL from now on for as long as the session lasts, where the server has one to spare.
    ///
    /// # Errors
    /// [`PostgresError::Connect`], [`PostgresError::Query`]; [`PhysicalError::WalLevel`] when the server writes too little WAL;
    /// [`PhysicalError::TimelineChanged`] on a standby that has switched timelines since its last checkpoint.
    pub async fn start(settings: &ConnectionSettings, label: &str, fast: bool) -> Result<Self, PostgresError> {
        let client = settings.connect().await?;
        lift_limits(&client).await?;
        let facts = facts(&client).await?;
        reserve_wal(&client).await;
        let query = match facts.server.major() {
            ..15 => "SELECT pg_catalog.pg_start_backup($1, $2, false)::text",
            _ => "SELECT pg_catalog.pg_backup_start($1, $2)::text",
        };
        let row = client.query_one(query, &[&plain(label), &fast]).await;
        let row = row.map_err(failed_query(&client, "begin the backup"))?;
        let start = parse_lsn(&client, row.get(0))?;
        let timeline = timeline::steady(&client).await?;
        Ok(Self { client, facts, start, timeline })
    }

    /// Returns what the server says of the cluster.
    pub fn facts(&self) -> &ClusterFacts {
        &self.facts
    }

    /// Returns where replay begins.
    pub fn start_lsn(&self) -> Lsn {
        self.start
    }

    /// Returns the timeline on which replay begins.
    pub fn timeline(&self) -> TimelineId {
        self.timeline
    }

    /// Returns which blocks may have changed since replay of an earlier backup began, by the server's summaries of its WAL;
    /// `None` when these do not tell, also after waiting for `patience`.
    ///
    /// # Errors
    /// [`PhysicalError::SessionLost`], [`PostgresError::Query`].
    pub async fn changed_since(&self, since: Lsn, patience: Duration) -> Result<Option<ChangedBlocks>, PostgresError> {
        summaries::read(&self.client, self.timeline, (since, self.start), patience).await
    }

    /// Checks that the backup can still succeed, so that a long one need not be finished to learn that it is lost.
    ///
    /// # Errors
    /// [`PhysicalError::SessionLost`], [`PhysicalError::Promoted`], [`PhysicalError::TimelineChanged`].
    pub async fn check(&self) -> Result<(), PostgresError> {
        let client = &self.client;
        let row = client.query_one("SELECT pg_catalog.pg_is_in_recovery()", &[]).await;
        let in_recovery: bool = row.map_err(failed_query(client, "ask for the state of the backup"))?.get(0);
        let server = || client.server().to_owned();
        if in_recovery != self.facts.server.in_recovery {
            return Err(PhysicalError::Promoted { server: server() }.into());
        }
        let to = timeline::steady(client).await?;
        match to == self.timeline {
            true => Ok(()),
            false => Err(PhysicalError::TimelineChanged { server: server(), from: self.timeline, to }.into()),
        }
    }

    /// Ends backup mode. The WAL up to the end is then complete in the server's own folder; archiving is not waited for.
    ///
    /// The connection stays open, and keeps that WAL, until the session is dropped.
    ///
    /// # Errors
    /// Those of [`check`](Self::check), and [`PostgresError::Query`]. The copy is then of no use.
    pub async fn stop(&self) -> Result<StoppedBackup, PostgresError> {
        self.check().await?;
        let client = &self.client;
        raw_text::receive(client).await.map_err(failed_query(client, "ask for bytes as they are"))?;
        let query = match self.facts.server.major() {
            ..15 => "SELECT lsn::text, labelfile, spcmapfile FROM pg_catalog.pg_stop_backup(false, false)",
            _ => "SELECT lsn::text, labelfile, spcmapfile FROM pg_catalog.pg_backup_stop(false)",
        };
        let row = match client.query_one(query, &[]).await {
            Ok(row) => row,
            // A standby that is promoted while it ends the backup says so in words only.
            Err(error) if error.code() == Some(&SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE) => {
                self.check().await?;
                return Err(client.query_error("end the backup")(error));
            }
            Err(error) => return Err(failed_query(client, "end the backup")(error)),
        };
        self.read_end(&row)
    }

    fn read_end(&self, row: &tokio_postgres::Row) -> Result<StoppedBackup, PostgresError> {
        let server = || self.client.server().to_owned();
        let text = |column| {
            // A path in another encoding would come back as another path.
            let wrong = || PhysicalError::Label { server: server(), reason: "it is not UTF-8".to_owned() };
            let text = row.get::<_, Option<RawText>>(column);
            text.map(|text| text.into_text().ok_or_else(wrong)).transpose()
        };
        let backup_label = text(1)?.unwrap_or_default();
        let named = timeline::of_label(&backup_label)
            .ok_or_else(|| PhysicalError::Label { server: server(), reason: "it names no timeline".to_owned() })?;
        if named != self.timeline {
            return Err(PhysicalError::TimelineChanged { server: server(), from: named, to: self.timeline }.into());
        }
        Ok(StoppedBackup {
            stop: parse_lsn(&self.client, row.get(0))?,
            timeline: named,
            backup_label,
            tablespace_map: text(2)?.filter(|map| !map.is_empty()),
        })
    }

    /// Ends the connection.
    pub async fn close(self) {
        self.client.close().await;
    }
}

async fn facts(client: &Client) -> Result<ClusterFacts, PostgresError> {
    let server = probe(client).await?;
    let error = || client.query_error("read what the cluster is like");
    let row = client
        .query_one(
            "SELECT (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'data_directory'), current_setting('wal_level'),
                    system.system_identifier, system.catalog_version_no,
                    init.data_page_checksum_version > 0, init.database_block_size, init.blocks_per_segment,
                    init.bytes_per_wal_segment, pg_catalog.pg_get_userbyid(10)::text,
                    floor(extract(epoch FROM pg_catalog.pg_postmaster_start_time()) * 1000000)::bigint,
                    current_setting('port')::int
             FROM pg_catalog.pg_control_system() AS system, pg_catalog.pg_control_init() AS init",
            &[],
        )
        .await
        .map_err(error())?;
    if row.get::<_, &str>(1) == "minimal" {
        return Err(PhysicalError::WalLevel { server: client.server().to_owned() }.into());
    }
    let wal_segment_bytes = i64::from(row.get::<_, i32>(7)).unsigned_abs();
    let spaces = "SELECT oid, pg_catalog.pg_tablespace_location(oid) FROM pg_catalog.pg_tablespace
        WHERE spcname NOT IN ('pg_default', 'pg_global') ORDER BY oid";
    let spaces = raw_text::query(client, spaces).await.map_err(error())?;
    let space = |row: &tokio_postgres::Row| {
        let location = row.get::<_, RawText>(1).into_text().ok_or_else(|| {
            PostgresError::MalformedCluster("the location of a tablespace is no text: name it in UTF-8".to_owned())
        })?;
        Ok::<_, PostgresError>(ClusterTablespace { oid: row.get(0), location })
    };
    Ok(ClusterFacts {
        version_folder: format!("PG_{}_{}", server.major(), row.get::<_, i32>(3)),
        data_directory: row.get::<_, Option<String>>(0).unwrap_or_default(),
        system_identifier: row.get::<_, i64>(2).cast_unsigned(),
        data_checksums: row.get(4),
        block_size: row.get::<_, i32>(5).unsigned_abs(),
        blocks_per_segment: row.get::<_, i32>(6).unsigned_abs(),
        wal_segment_size: WalSegmentSize::new(wal_segment_bytes)
            .ok_or_else(|| PostgresError::MalformedCluster(format!("WAL segments of {wal_segment_bytes} bytes")))?,
        superuser: row.get(8),
        started: DateTime::from_timestamp_micros(row.get(9)).unwrap_or_default(),
        port: u16::try_from(row.get::<_, i32>(10)).unwrap_or_default(),
        databases: list_databases(client).await?,
        database_oids: database_oids(client).await?,
        tablespaces: spaces.iter().map(space).collect::<Result<_, _>>()?,
        server,
    })
}

/// Without a slot, a busy server may remove WAL that a long backup still needs; the backup then fails and says so.
async fn reserve_wal(client: &Client) {
    let name = format!("erpgo_dr_{:016x}", rand::random::<u64>());
    let query = "SELECT FROM pg_catalog.pg_create_physical_replication_slot($1, true, true)";
    if let Err(error) = client.query_one(query, &[&name]).await {
        tracing::info!(server = client.server(), %error, "no replication slot keeps the WAL of this backup");
    }
}

/// Checks that a data directory is the one that the server serves, and not another of the same cluster.
pub(super) fn check_owner(root: &Path, facts: &ClusterFacts) -> Result<(), PostgresError> {
    let control = root.join("global/pg_control");
    let contents = fs::read(&control).map_err(failed(&control, "read"))?;
    if contents.first_chunk::<8>().map(|bytes| u64::from_ne_bytes(*bytes)) != Some(facts.system_identifier) {
        return foreign(root, facts, "its system identifier is another");
    }
    let lock = root.join("postmaster.pid");
    let text = match fs::read_to_string(&lock) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return foreign(root, facts, "no server runs on it");
        }
        Err(error) => return Err(failed(&lock, "read")(error)),
    };
    if is_lock_of(&text, facts) { Ok(()) } else { foreign(root, facts, "the server that runs on it is another") }
}

/// Tells whether the lines of `postmaster.pid` are those of a server: process, data directory, time of start, port.
fn is_lock_of(text: &str, facts: &ClusterFacts) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let [_, directory, started, port, ..] = lines[..] else { return false };
    // The server writes the file first, and takes down its time of start when it has its memory and its libraries.
    let delay = started.parse::<i64>().ok().map(|started| facts.started.timestamp() - started);
    directory == facts.data_directory
        && port.parse() == Ok(facts.port)
        && delay.is_some_and(|delay| (-1..=START_DELAY).contains(&delay))
}

/// Refuses a directory that is not the server's.
pub(super) fn foreign<T>(root: &Path, facts: &ClusterFacts, reason: &str) -> Result<T, PostgresError> {
    let (path, served) = (root.to_owned(), facts.data_directory.clone());
    Err(PhysicalError::ForeignDirectory { path, served, reason: reason.to_owned() }.into())
}

/// Lifts what would end a session that waits for a checkpoint, or idles while files are read.
async fn lift_limits(client: &Client) -> Result<(), PostgresError> {
    let query = "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings
        WHERE name IN ('statement_timeout', 'lock_timeout', 'idle_session_timeout', 'transaction_timeout')";
    client.query(query, &[]).await.map_err(failed_query(client, "lift the session's time limits"))?;
    Ok(())
}

/// The label file is in no encoding of its own, and a line of it is a field.
pub(crate) fn plain(label: &str) -> String {
    label.chars().take(LABEL).map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect()
}

/// Makes the error of a query, which tells whether the session is gone, and the backup with it.
pub(super) fn failed_query(
    client: &Client,
    action: &'static str,
) -> impl FnOnce(tokio_postgres::Error) -> PostgresError + use<> {
    let (server, failed) = (client.server().to_owned(), client.query_error(action));
    move |error| {
        // Class 57: the server or an administrator ended it; without a code the connection did.
        let ended = match error.code() {
            Some(code) => code.code().starts_with("57P"),
            None => is_lost_connection(&error),
        };
        if ended { PhysicalError::SessionLost { server, source: error.into() }.into() } else { failed(error) }
    }
}

fn parse_lsn(client: &Client, text: &str) -> Result<Lsn, PostgresError> {
    text.parse().map_err(|error| PostgresError::Query {
        server: client.server().to_owned(),
        action: "read a position in the log".to_owned(),
        source: Box::new(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> ClusterFacts {
        ClusterFacts {
            server: ServerInfo::new(170_004, "17.4", Some(7), false),
            data_directory: "/data".to_owned(),
            system_identifier: 7,
            version_folder: String::new(),
            data_checksums: true,
            block_size: 8192,
            blocks_per_segment: 131_072,
            wal_segment_size: WalSegmentSize::DEFAULT,
            superuser: String::new(),
            databases: Vec::new(),
            database_oids: BTreeMap::new(),
            tablespaces: Vec::new(),
            started: DateTime::from_timestamp_micros(1_000_000_999_999).unwrap(),
            port: 5432,
        }
    }

    #[test]
    fn the_lock_file_tells_servers_of_one_cluster_apart() {
        let lock =
            |directory, started, port| format!("42\n{directory}\n{started}\n{port}\n/tmp\n*\n  123  456\nready   \n");
        for started in [1_000_001, 1_000_000, 999_998, 999_940] {
            assert!(is_lock_of(&lock("/data", started, 5432), &facts()), "{started}");
        }
        for foreign in [
            lock("/data", 1_000_002, 5432),
            lock("/data", 999_939, 5432),
            lock("/data", 1_000_000, 5433),
            lock("/other", 1_000_000, 5432),
            "42\n/data\n1000000\n".to_owned(),
            String::new(),
        ] {
            assert!(!is_lock_of(&foreign, &facts()), "{foreign:?}");
        }
    }

    #[test]
    fn a_label_stays_one_line_of_plain_characters() {
        assert_eq!(plain("nightly 12~"), "nightly 12~");
        assert_eq!(plain("a\nSTART TIMELINE: 9\té"), "a?START TIMELINE: 9??");
        assert_eq!(plain(&"x".repeat(5000)).len(), LABEL);
    }
}
