//! `promote`: a standby becomes the primary.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::super::error::ActionError;
use super::super::values::Value;
use super::checks::{State, probe};
use super::{Act, Done, Loss, Nature, Scope, Uses, View, server};
use crate::postgres::Client;
use crate::topology::{candidate, discover};
use crate::types::Lsn;

/// Promotes a standby, and waits until it takes writes. Of several it takes the one that has the most of the log; where one takes
/// writes already, it is left at that. Returns the name of the variable.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Promote {
    /// The variables of the standbys: one, or several of which the most advanced is promoted.
    pub standbys: Vec<String>,
    /// The variable that gets the one that was promoted.
    pub into: Option<String>,
    /// The variable of the primary that it replaces. While that one takes writes, nothing is promoted.
    pub old: String,
    /// Promotes although the old primary takes writes: what it takes from then on is lost.
    #[serde(default)]
    pub beside_running_primary: bool,
}

/// How long a standby may take to say how much it has.
const ANSWER: Duration = Duration::from_secs(5);

/// Where a standby stands.
struct Standing {
    received: Option<Lsn>,
    replayed: Option<Lsn>,
    newest_commit: Option<DateTime<Utc>>,
}

#[async_trait]
impl Act for Promote {
    fn nature(&self) -> Nature {
        Nature::change(120).repeatable().asking()
    }

    fn describe(&self, view: &View<'_>) -> String {
        let standbys: Vec<String> = self.standbys.iter().map(|name| view.server_name(name)).collect();
        let (standby, old) = (standbys.join(" or "), view.server_name(&self.old));
        match self.beside_running_primary {
            true => format!("promote {standby}, even while {old} takes writes"),
            false => format!("promote {standby}, unless {old} takes writes"),
        }
    }

    fn uses<'s>(&'s self, uses: &mut Uses<'s>) {
        uses.servers.extend(self.standbys.iter().chain([&self.old]).map(String::as_str));
        uses.made_servers.extend(self.into.as_deref());
    }

    async fn act(&self, scope: &Scope<'_>) -> Result<Done, ActionError> {
        let chosen = self.choose(scope).await?;
        let settings = scope.server(&chosen, None)?;
        let name = settings.to_string();
        let made = self.into.clone().map(|into| (into, Value::Server(Box::new(settings.clone()))));
        let done = Done { value: Some(chosen), made, ..Done::default() };
        let client = server::connect(settings, scope.timeout.duration()).await?;
        if !in_recovery(&client).await? {
            client.close().await;
            return Ok(Done { output: format!("{name} is a primary already"), ..done });
        }
        let written = self.old_primary_position(scope).await?;
        let standing = standing(&client).await?;
        promote(&client, scope.timeout.duration()).await?;
        let sql = "SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()";
        let timeline = server::run(&client, sql, "ask for the timeline").await;
        client.close().await;
        let timeline = timeline.ok().and_then(|answered| answered.first().map(str::to_owned));
        let bytes = written.zip(standing.received.max(standing.replayed));
        let bytes = bytes.map(|(written, received)| written.0.saturating_sub(received.0));
        let position = standing.replayed.map_or_else(|| "an unknown position".to_owned(), |lsn| lsn.to_string());
        let output = format!(
            "{name} is the primary; before that it had received to {} and replayed to {position}{}",
            standing.received.map_or_else(|| "an unknown position".to_owned(), |lsn| lsn.to_string()),
            timeline.map(|timeline| format!("; its last checkpoint is on timeline {timeline}")).unwrap_or_default(),
        );
        let loss = Some(Loss { recovered_to: standing.newest_commit, bytes });
        Ok(Done { output, loss, ..done })
    }
}

impl Promote {
    /// Returns the variable of the standby that is promoted, or that was.
    async fn choose(&self, scope: &Scope<'_>) -> Result<String, ActionError> {
        let topology = discover(&scope.servers(&self.standbys)?, ANSWER).await;
        let found = topology.primaries().map(|(server, _)| server.name.clone()).next();
        let found = found.or_else(|| Some(candidate(&topology)?.name));
        found.ok_or_else(|| ActionError::Unexpected {
            expected: "a standby that can be promoted".to_owned(),
            found: topology.findings.join("; "),
        })
    }

    /// Makes sure that the old primary takes no writes; returns how far it has written, if it still answers.
    async fn old_primary_position(&self, scope: &Scope<'_>) -> Result<Option<Lsn>, ActionError> {
        let settings = scope.server(&self.old, None)?.connect_timeout(Duration::from_secs(3));
        let name = settings.to_string();
        let Ok(state) = probe(scope, settings.clone()).await else { return Ok(None) };
        if state == State::Writable && !self.beside_running_primary {
            return Err(ActionError::Unexpected {
                expected: format!("{name} to take no writes before another server is promoted"),
                found: state.described().to_owned(),
            });
        }
        if state == State::Standby {
            return Ok(None);
        }
        let client = server::connect(settings, scope.timeout.duration()).await?;
        let answered =
            server::run(&client, "SELECT pg_catalog.pg_current_wal_flush_lsn()", "ask how far it has written").await;
        client.close().await;
        Ok(answered?.first().and_then(|text| text.parse().ok()))
    }
}

async fn in_recovery(client: &Client) -> Result<bool, ActionError> {
    let answered = server::run(client, "SELECT pg_catalog.pg_is_in_recovery()", "ask whether it is a standby").await?;
    Ok(answered.first() == Some("t"))
}

async fn standing(client: &Client) -> Result<Standing, ActionError> {
    let sql = "SELECT pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn(),
                      extract(epoch FROM pg_catalog.pg_last_xact_replay_timestamp())";
    let answered = server::run(client, sql, "ask how far it has replayed").await?;
    let cell = |column: usize| answered.rows.first().and_then(|row| row.get(column)?.as_deref());
    let seconds = cell(2).and_then(|text| text.parse::<f64>().ok());
    Ok(Standing {
        received: cell(0).and_then(|text| text.parse().ok()),
        replayed: cell(1).and_then(|text| text.parse().ok()),
        newest_commit: seconds.and_then(|seconds| DateTime::from_timestamp_micros((seconds * 1e6) as i64)),
    })
}

async fn promote(client: &Client, limit: Duration) -> Result<(), ActionError> {
    let sql = format!("SELECT pg_catalog.pg_promote(true, {})", limit.as_secs().clamp(1, 86_400));
    let answered = server::run(client, &sql, "promote").await?;
    match answered.first() == Some("t") {
        true => Ok(()),
        false => Err(ActionError::Unexpected {
            expected: "the standby to become a primary in time".to_owned(),
            found: "it was asked to, and is still in recovery".to_owned(),
        }),
    }
}
