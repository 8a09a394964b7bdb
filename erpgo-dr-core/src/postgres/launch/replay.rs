//! How far a server has replayed, as it says itself.

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};

use super::super::PostgresError;
use super::server::{Launch, Postmaster};
use crate::types::Lsn;

/// Time is text with its zone, whatever the settings of the role are.
const QUERY: &str = "SELECT pg_catalog.pg_is_in_recovery(),
    CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_is_wal_replay_paused() ELSE false END,
    pg_catalog.pg_last_wal_replay_lsn(),
    pg_catalog.to_char(pg_catalog.pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";

/// How far a server has replayed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ReplayState {
    /// Whether it is still at it.
    pub(crate) in_recovery: bool,
    /// Whether it waits.
    pub(crate) paused: bool,
    /// The end of the last record that was replayed.
    pub(crate) position: Option<Lsn>,
    /// When the last transaction that was replayed had ended.
    pub(crate) at: Option<DateTime<Utc>>,
}

/// Asks a server how far it has replayed, by `psql`, which runs as the server's account: its socket often lets nobody else in.
///
/// # Errors
/// [`PostgresError::Program`] with what the server said; [`PostgresError::Spawn`].
pub(crate) async fn ask(
    launch: &Launch,
    server: &Postmaster,
    (user, database): (&str, &str),
    password: Option<&SecretString>,
) -> Result<ReplayState, PostgresError> {
    let mut invocation = launch.invoke("psql");
    let port = server.port.to_string();
    for (name, value) in [
        ("PGHOST", server.host.as_str()),
        ("PGPORT", &port),
        ("PGUSER", user),
        ("PGDATABASE", database),
        ("PGCONNECT_TIMEOUT", "10"),
        ("PGAPPNAME", "erpgo-dr"),
    ] {
        invocation = invocation.variable(name, value);
    }
    if let Some(password) = password {
        invocation = invocation.variable("PGPASSWORD", password.expose_secret());
    }
    // Without -w it would wait for a password that nobody types.
    let output = invocation.arguments(["-XqAtw", "-F", "|", "-v", "ON_ERROR_STOP=1", "-c", QUERY]).output().await?;
    let text = String::from_utf8_lossy(&output);
    parse(text.trim()).ok_or_else(|| PostgresError::Program {
        program: "psql".to_owned(),
        status: "its answer is none".to_owned(),
        stderr: text.trim().to_owned(),
    })
}

fn parse(line: &str) -> Option<ReplayState> {
    let fields: Vec<&str> = line.split('|').collect();
    let [in_recovery, paused, position, at] = fields.as_slice() else { return None };
    let optional = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Some(ReplayState {
        in_recovery: *in_recovery == "t",
        paused: *paused == "t",
        position: optional(position).map(|text| text.parse()).transpose().ok()?,
        at: optional(at).map(|text| text.parse()).transpose().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_whole_or_not_at_all() {
        let state = parse("t|f|0/3000060|2026-03-01T10:20:30.500000Z").unwrap();
        assert_eq!((state.in_recovery, state.paused, state.position), (true, false, Some(Lsn(0x300_0060))));
        assert_eq!(state.at, Some("2026-03-01T10:20:30.5Z".parse().unwrap()));
        assert_eq!(parse("f|f||"), Some(ReplayState::default()));
        for wrong in ["", "t|f|0/3000060", "t|f|nowhere|", "t|f||yesterday"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
