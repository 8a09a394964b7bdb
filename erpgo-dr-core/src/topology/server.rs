//! What a server says of itself, and of those that it hears from and sends to.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::postgres::{Client, ConnectionSettings, PostgresError};
use crate::types::{Lsn, TimelineId};

/// A server's own state. Microseconds of times are those of its clock.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ServerState {
    /// The cluster.
    pub system_identifier: u64,
    /// What it is.
    pub role: Role,
    /// The timeline of its last checkpoint; of a standby, the one that it receives, where it does.
    pub timeline: TimelineId,
    /// How far it has written (a primary), or received and flushed (a standby).
    pub written: Option<Lsn>,
    /// How far a standby has replayed.
    pub replayed: Option<Lsn>,
    /// When the newest transaction was committed that a standby has replayed, by the clock of the primary.
    pub newest_commit: Option<DateTime<Utc>>,
    /// Whether a standby is told whom to follow. None where the role may not see it.
    pub has_primary: Option<bool>,
    /// Whom a standby follows.
    pub follows: Option<Followed>,
    /// Who follows it.
    pub followers: Vec<Follower>,
    /// Its replication slots.
    pub slots: Vec<SlotState>,
}

/// What a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Role {
    /// It takes writes.
    Primary,
    /// It is a primary whose transactions are read only by default.
    ReadOnlyPrimary,
    /// It replays what another server writes.
    Standby,
}

/// Whom a standby follows, by its `pg_stat_wal_receiver`. Only a connection that is up has a row there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Followed {
    /// The host that it is connected to.
    pub host: Option<String>,
    /// The port there.
    pub port: Option<u16>,
    /// `streaming`, `waiting`, `starting`... None where the role may not see it: that takes `pg_monitor`.
    pub status: Option<String>,
    /// The newest position that the other has told it.
    pub latest: Option<Lsn>,
    /// Milliseconds since the last message, by the standby's own clock.
    pub silent_ms: Option<u64>,
    /// The standby's `wal_receiver_timeout`, in milliseconds; none if it waits for ever. After half of it without a message it asks for
    /// one (`WalReceiverMain` in PostgreSQL's walreceiver.c), so that longer silence is not that of an idle primary.
    pub timeout_ms: Option<u64>,
}

/// Who follows a server, by its `pg_stat_replication`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Follower {
    /// Its `application_name`.
    pub name: String,
    /// Its address; none for a socket.
    pub address: Option<String>,
    /// `streaming`, `catchup`, `backup`...
    pub state: Option<String>,
    /// `async`, `potential`, `sync`, `quorum`.
    pub sync_state: Option<String>,
    /// How far it has flushed.
    pub flushed: Option<Lsn>,
    /// How far it has replayed.
    pub replayed: Option<Lsn>,
}

/// A replication slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SlotState {
    /// Its name.
    pub name: String,
    /// Whether it is for a standby or a receiver, and not for logical decoding.
    pub physical: bool,
    /// Whether somebody uses it.
    pub active: bool,
    /// From where on the server keeps its log for it.
    pub restart: Option<Lsn>,
}

const STATE: &str = "
    SELECT (SELECT system_identifier::text FROM pg_catalog.pg_control_system()),
           pg_catalog.pg_is_in_recovery(),
           pg_catalog.current_setting('default_transaction_read_only') = 'on',
           (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()),
           CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_receive_lsn()
                ELSE pg_catalog.pg_current_wal_flush_lsn() END::text,
           pg_catalog.pg_last_wal_replay_lsn()::text,
           pg_catalog.pg_last_xact_replay_timestamp(),
           (SELECT setting <> '' FROM pg_catalog.pg_settings WHERE name = 'primary_conninfo')";

const FOLLOWED: &str = "
    SELECT sender_host, sender_port, status, latest_end_lsn::text, received_tli,
           (extract(epoch FROM pg_catalog.clock_timestamp() - last_msg_receipt_time) * 1000)::bigint,
           (SELECT setting::bigint FROM pg_catalog.pg_settings WHERE name = 'wal_receiver_timeout')
    FROM pg_catalog.pg_stat_wal_receiver WHERE pid IS NOT NULL";

const FOLLOWERS: &str = "
    SELECT coalesce(application_name, ''), client_addr::text, state, sync_state, flush_lsn::text, replay_lsn::text
    FROM pg_catalog.pg_stat_replication WHERE state IS DISTINCT FROM 'backup' ORDER BY application_name, client_addr";

const SLOTS: &str = "
    SELECT slot_name::text, slot_type = 'physical', active, restart_lsn::text
    FROM pg_catalog.pg_replication_slots ORDER BY slot_name";

/// Asks a server for its state. `limit` is for all of it.
///
/// The role needs `pg_monitor`: without it a server shows little of those that it hears from and sends to.
///
/// # Errors
/// [`PostgresError::Connect`], [`PostgresError::Query`].
pub async fn ask_server(settings: &ConnectionSettings, limit: Duration) -> Result<ServerState, PostgresError> {
    let asked = async {
        let client = settings.clone().connect_timeout(limit).connect().await?;
        let state = state_of(&client).await;
        client.close().await;
        state
    };
    within(settings, limit, asked).await
}

/// Waits for an answer of a server for so long.
pub(super) async fn within<T>(
    settings: &ConnectionSettings,
    limit: Duration,
    asked: impl Future<Output = Result<T, PostgresError>>,
) -> Result<T, PostgresError> {
    match tokio::time::timeout(limit, asked).await {
        Ok(answer) => answer,
        Err(elapsed) => Err(PostgresError::Connect { server: settings.to_string(), source: elapsed.into() }),
    }
}

async fn state_of(client: &Client) -> Result<ServerState, PostgresError> {
    let failed = || client.query_error("ask a server for its state");
    let row = client.query_one(STATE, &[]).await.map_err(failed())?;
    let unreadable = |what: &str| PostgresError::Query {
        server: client.server().to_owned(),
        action: "ask a server for its state".to_owned(),
        source: format!("its {what} cannot be read").into(),
    };
    let system_identifier = row.get::<_, Option<String>>(0).and_then(|text| text.parse().ok());
    let role = match (row.get(1), row.get(2)) {
        (true, _) => Role::Standby,
        (false, true) => Role::ReadOnlyPrimary,
        (false, false) => Role::Primary,
    };
    let timeline = row.get::<_, Option<i32>>(3).and_then(timeline);
    let mut state = ServerState {
        system_identifier: system_identifier.ok_or_else(|| unreadable("system identifier"))?,
        role,
        timeline: timeline.ok_or_else(|| unreadable("timeline"))?,
        written: lsn(row.get(4)),
        replayed: lsn(row.get(5)),
        newest_commit: row.get(6),
        has_primary: row.get(7),
        follows: None,
        followers: Vec::new(),
        slots: Vec::new(),
    };
    if let Some(row) = client.query_opt(FOLLOWED, &[]).await.map_err(failed())? {
        state.timeline = row.get::<_, Option<i32>>(4).and_then(self::timeline).unwrap_or(state.timeline);
        state.follows = Some(Followed {
            host: row.get(0),
            port: row.get::<_, Option<i32>>(1).and_then(|port| u16::try_from(port).ok()),
            status: row.get(2),
            latest: lsn(row.get(3)),
            silent_ms: row.get::<_, Option<i64>>(5).map(|silent| u64::try_from(silent).unwrap_or(0)),
            timeout_ms: row
                .get::<_, Option<i64>>(6)
                .and_then(|limit| u64::try_from(limit).ok())
                .filter(|limit| *limit > 0),
        });
    }
    for row in client.query(FOLLOWERS, &[]).await.map_err(failed())? {
        state.followers.push(Follower {
            name: row.get(0),
            address: row.get(1),
            state: row.get(2),
            sync_state: row.get(3),
            flushed: lsn(row.get(4)),
            replayed: lsn(row.get(5)),
        });
    }
    for row in client.query(SLOTS, &[]).await.map_err(failed())? {
        state.slots.push(SlotState {
            name: row.get(0),
            physical: row.get(1),
            active: row.get(2),
            restart: lsn(row.get(3)),
        });
    }
    Ok(state)
}

pub(super) fn lsn(text: Option<String>) -> Option<Lsn> {
    text?.parse().ok()
}

fn timeline(number: i32) -> Option<TimelineId> {
    TimelineId::new(number.cast_unsigned())
}

impl Followed {
    /// Returns whether the standby receives.
    pub fn is_streaming(&self) -> bool {
        self.status.as_deref() == Some("streaming")
    }

    /// Returns whether the standby may still hear from its primary. One that has heard nothing for half of its
    /// `wal_receiver_timeout` asks for an answer, and `reply` is how long that may take.
    pub fn hears(&self, reply: Duration) -> bool {
        if matches!(self.status.as_deref(), Some("stopped" | "starting" | "stopping")) {
            return false;
        }
        let (Some(silent), Some(timeout)) = (self.silent_ms, self.timeout_ms) else { return true };
        u128::from(silent) <= u128::from(timeout) / 2 + reply.as_millis()
    }
}

impl ServerState {
    /// Returns how far the server has the log, whether replayed yet or not.
    pub fn reached(&self) -> Option<Lsn> {
        self.written.max(self.replayed)
    }
}
