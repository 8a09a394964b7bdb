//! `repoint`: standbys follow another primary.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;

use super::super::error::ActionError;
use super::super::template::Template;
use super::{Act, Done, Nature, Scope, Uses, View};
use crate::postgres::PostgresError;
use crate::topology::{Role, ask_server, point_standby, receives_from};

/// How long one question to a server may take.
const QUESTION: Duration = Duration::from_secs(5);

/// Has standbys follow another primary: `primary_conninfo` gets its address behind what it has, which then counts.
///
/// The primary itself is left out where it is among them, and so is a standby that does not answer: that is said, and is no failure.
/// Waits until the others receive from it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Repoint {
    /// The variables of the standbys.
    pub standbys: Vec<String>,
    /// The variable of the primary.
    pub to: String,
    /// The host by which standbys reach it, where that is another than its own.
    pub host: Option<Template>,
    /// The port by which standbys reach it, where that is another than its own.
    pub port: Option<Template>,
}

#[async_trait]
impl Act for Repoint {
    fn nature(&self) -> Nature {
        Nature::change(120).repeatable()
    }

    fn describe(&self, view: &View<'_>) -> String {
        let standbys: Vec<String> = self.standbys.iter().map(|name| view.server_name(name)).collect();
        format!("have {} follow {}", standbys.join(", "), view.server_name(&self.to))
    }

    fn uses<'s>(&'s self, uses: &mut Uses<'s>) {
        uses.servers.push(&self.to);
        uses.servers.extend(self.standbys.iter().map(String::as_str));
        uses.visible(self.host.iter().chain(&self.port));
    }

    async fn act(&self, scope: &Scope<'_>) -> Result<Done, ActionError> {
        let primary = scope.server(&self.to, None)?;
        let host = scope.optional(self.host.as_ref())?.unwrap_or_else(|| primary.host().to_owned());
        let port = scope.optional(self.port.as_ref())?.unwrap_or_else(|| primary.port_number().to_string());
        let mut said = Vec::new();
        let mut waiting = Vec::new();
        for (name, settings) in scope.servers(&self.standbys)? {
            match ask_server(&settings, QUESTION).await {
                Ok(state) if state.role != Role::Standby => said.push(format!("{name} is no standby")),
                Ok(_) => {
                    point_standby(&settings, &host, &port).await.map_err(unusable)?;
                    waiting.push((name, settings));
                }
                Err(error) => said.push(format!("{name} does not answer, and is left as it is: {error}")),
            }
        }
        for (name, settings) in waiting {
            // The step's own time is the limit.
            while !receives_from(&settings, &host, &port).await {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            said.push(format!("{name} follows {host}:{port}"));
        }
        Ok(Done::said(said.join("\n")))
    }
}

/// Another attempt does no better where the server's own settings are in the way.
fn unusable(error: PostgresError) -> ActionError {
    match error {
        PostgresError::InvalidSettings(reason) => ActionError::Unusable(reason),
        error => error.into(),
    }
}
