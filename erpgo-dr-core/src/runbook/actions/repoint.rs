//! `repoint`: standbys follow another primary.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;

use super::super::error::ActionError;
use super::super::template::Template;
use super::{Act, Done, Nature, Scope, Uses, View, server};
use crate::postgres::{Client, quoting};
use crate::topology::{Role, ask_server};

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
                    let client = server::connect(settings.clone(), scope.timeout.duration()).await?;
                    let pointed = point(&client, &host, &port).await;
                    client.close().await;
                    pointed?;
                    waiting.push((name, settings));
                }
                Err(error) => said.push(format!("{name} does not answer, and is left as it is: {error}")),
            }
        }
        for (name, settings) in waiting {
            // The step's own time is the limit.
            while !receives(&settings, &host, &port).await {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            said.push(format!("{name} follows {host}:{port}"));
        }
        Ok(Done::said(said.join("\n")))
    }
}

async fn point(client: &Client, host: &str, port: &str) -> Result<(), ActionError> {
    let shown = server::run(client, "SHOW primary_conninfo", "ask whom it follows").await?;
    let before = shown.first().unwrap_or_default();
    if before.starts_with("postgresql://") || before.starts_with("postgres://") {
        let reason = "its primary_conninfo is a URI, to which nothing can be added: write it as keywords";
        return Err(ActionError::Unusable(format!("{} cannot be pointed elsewhere: {reason}", client.server())));
    }
    // It may hold a password, which would be in the server's log with the statement. Only a superuser may, and only it needs to.
    let _ = server::run(client, "SET log_statement = 'none'", "keep a statement out of the log").await;
    // Of a keyword that comes twice, the last one counts (`conninfo_storeval` of libpq's fe-connect.c).
    let own = format!("{} {}", quoting::conninfo("host", host), quoting::conninfo("port", port));
    let before = before.strip_suffix(own.as_str()).unwrap_or(before).trim_end();
    let sql = format!("ALTER SYSTEM SET primary_conninfo = {}", quoting::literal(&format!("{before} {own}")));
    client.batch_execute(&sql).await.map_err(client.query_error("set whom it follows"))?;
    server::run(client, "SELECT pg_catalog.pg_reload_conf()", "have it read its configuration").await.map(drop)
}

async fn receives(settings: &crate::postgres::ConnectionSettings, host: &str, port: &str) -> bool {
    let Ok(state) = ask_server(settings, QUESTION).await else { return false };
    state.follows.is_some_and(|followed| {
        followed.is_streaming()
            && followed.host.as_deref() == Some(host)
            && followed.port.is_some_and(|found| found.to_string() == port)
    })
}
