//! `tcp-ready` and `pg-ready`: whether something answers.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::super::error::ActionError;
use super::super::template::Template;
use super::{Act, Done, Nature, Scope, Uses, View, server};
use crate::causes::chain;

/// Checks that a port takes connections.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct TcpReady {
    /// The host.
    pub host: Template,
    /// The port.
    pub port: Template,
}

/// Checks whether a server answers, and to what.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct PgReady {
    /// The variable of the server.
    pub on: String,
    /// What it is to be ready for.
    #[serde(default)]
    pub to: Readiness,
}

/// What a server is ready for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Readiness {
    /// Queries, of a primary or a standby.
    #[default]
    Read,
    /// Writes: it is a primary, and not set to read only.
    Write,
    /// To follow: it is a standby, and receives from its primary.
    Follow,
}

#[async_trait]
impl Act for TcpReady {
    fn nature(&self) -> Nature {
        Nature::check(10)
    }

    fn describe(&self, view: &View<'_>) -> String {
        format!("connect to {}:{}", self.host.shown(view.values), self.port.shown(view.values))
    }

    fn uses<'s>(&'s self, uses: &mut Uses<'s>) {
        uses.visible([&self.host, &self.port]);
    }

    async fn act(&self, scope: &Scope<'_>) -> Result<Done, ActionError> {
        let (host, port) = (scope.text(&self.host)?, scope.text(&self.port)?);
        let number = port.parse::<u16>().map_err(|_| ActionError::Unusable(format!("{port:?} is no port")))?;
        let connected = tokio::net::TcpStream::connect((host.as_str(), number)).await;
        let refused =
            |error: std::io::Error| ActionError::Request { url: format!("{host}:{port}"), reason: error.to_string() };
        connected.map_err(refused)?;
        Ok(Done::said(format!("{host}:{port} takes connections")))
    }
}

#[async_trait]
impl Act for PgReady {
    fn nature(&self) -> Nature {
        Nature::check(5)
    }

    fn describe(&self, view: &View<'_>) -> String {
        format!("ask {} whether it is ready {}", view.server_name(&self.on), self.to.described())
    }

    fn uses<'s>(&'s self, uses: &mut Uses<'s>) {
        uses.servers.push(&self.on);
    }

    async fn act(&self, scope: &Scope<'_>) -> Result<Done, ActionError> {
        let settings = scope.server(&self.on, None)?;
        let name = settings.to_string();
        let found = probe(scope, settings).await.map_err(|error| ActionError::Unexpected {
            expected: format!("{name} to be ready {}", self.to.described()),
            found: chain(&error),
        })?;
        let holds = match self.to {
            Readiness::Read => true,
            Readiness::Write => found == State::Writable,
            Readiness::Follow => found == State::Following,
        };
        match holds {
            true => Ok(Done::said(format!("{name} is {}", found.described()))),
            false => Err(ActionError::Unexpected {
                expected: format!("{name} to be ready {}", self.to.described()),
                found: found.described().to_owned(),
            }),
        }
    }
}

/// What a server that answers is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Writable,
    ReadOnly,
    /// A standby that receives from nobody.
    Standby,
    Following,
}

/// Asks a server what it is.
async fn probe(scope: &Scope<'_>, settings: crate::postgres::ConnectionSettings) -> Result<State, ActionError> {
    let client = server::connect(settings, scope.timeout.duration()).await?;
    let sql = "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only'),
                      EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver WHERE status = 'streaming')";
    let answered = server::run(&client, sql, "ask whether it takes writes").await;
    client.close().await;
    let answered = answered?;
    let cell = |column: usize| answered.rows.first().and_then(|row| row.get(column)?.as_deref());
    Ok(match answered.first() {
        Some("t") if cell(2) == Some("t") => State::Following,
        Some("t") => State::Standby,
        _ if cell(1) == Some("on") => State::ReadOnly,
        _ => State::Writable,
    })
}

impl State {
    fn described(self) -> &'static str {
        match self {
            Self::Writable => "a primary that takes writes",
            Self::ReadOnly => "a primary that is set to read only",
            Self::Standby => "a standby that receives from nobody",
            Self::Following => "a standby",
        }
    }
}

impl Readiness {
    fn described(self) -> &'static str {
        match self {
            Self::Read => "for queries",
            Self::Write => "for writes",
            Self::Follow => "to follow a primary",
        }
    }
}
