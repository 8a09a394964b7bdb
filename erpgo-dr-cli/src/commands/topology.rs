//! `topology`: the servers of a cluster, who follows whom, and which standby has the most.

use std::time::Duration;

use clap::Args;
use erpgo_dr_core::postgres::ConnectionSettings;
use erpgo_dr_core::topology::{Candidate, ClusterServer, Role, ServerState, Topology, candidate, discover};
use serde::Serialize;

use crate::context::{Context, refuse_password};
use crate::error::CliError;
use crate::output::{Align, Report, Table, bytes};

/// Ask the servers of a cluster who is primary, who follows whom, and which standby has the most
#[derive(Debug, Args)]
pub(crate) struct TopologyArgs {
    /// A server: NAME=CONNINFO, without a password; may be given several times [default: the one of --connection]
    #[arg(long, value_name = "NAME=CONNINFO", value_parser = named)]
    server: Vec<(String, String)>,
    /// Seconds that each may take to answer
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    limit: u64,
}

fn named(text: &str) -> Result<(String, String), String> {
    let (name, connection) =
        text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("expected NAME=CONNINFO")?;
    Ok((name.to_owned(), connection.to_owned()))
}

#[derive(Serialize)]
struct Found {
    #[serde(flatten)]
    topology: Topology,
    /// The standby that would replace the primary.
    candidate: Option<Candidate>,
}

impl TopologyArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let mut servers: Vec<(String, ConnectionSettings)> = Vec::new();
        for (name, text) in &self.server {
            refuse_password(text)?;
            servers.push((name.clone(), context.with_password(text.parse()?)));
        }
        if servers.is_empty() {
            servers.push(("server".to_owned(), context.connection()?));
        }
        let topology = discover(&servers, Duration::from_secs(self.limit.max(1))).await;
        let candidate = candidate(&topology);
        let text = text(&topology, candidate.as_ref());
        let ok = topology.findings.is_empty();
        Report::new(&Found { topology, candidate }, text, ok)
    }
}

fn text(topology: &Topology, candidate: Option<&Candidate>) -> String {
    let columns =
        ["SERVER", "ADDRESS", "ROLE", "TIMELINE", "REACHED", "REPLAYED", "FOLLOWS"].map(|name| (name, Align::Left));
    let mut table = Table::new(columns);
    for server in &topology.servers {
        table.row(row(server));
    }
    let mut text = table.render();
    for finding in &topology.findings {
        text.push_str(&format!("! {finding}\n"));
    }
    if let Some(candidate) = candidate {
        let behind =
            candidate.behind_bytes.map(|behind| format!(", {} behind what the primary announced", bytes(behind)));
        text.push_str(&format!("{} has the most of the standbys{}\n", candidate.name, behind.unwrap_or_default()));
    }
    text
}

fn row(server: &ClusterServer) -> [String; 7] {
    let none = || "-".to_owned();
    let Some(state) = &server.state else {
        return [server.name.clone(), server.address.clone(), "no answer".to_owned(), none(), none(), none(), none()];
    };
    [
        server.name.clone(),
        server.address.clone(),
        role(state).to_owned(),
        state.timeline.to_string(),
        state.reached().map_or_else(none, |lsn| lsn.to_string()),
        state.replayed.map_or_else(none, |lsn| lsn.to_string()),
        follows(state).unwrap_or_else(none),
    ]
}

fn role(state: &ServerState) -> &'static str {
    match state.role {
        Role::Primary => "primary",
        Role::ReadOnlyPrimary => "read only",
        _ => "standby",
    }
}

fn follows(state: &ServerState) -> Option<String> {
    let followed = state.follows.as_ref()?;
    let host = followed.host.as_deref().unwrap_or("?");
    let port = followed.port.map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{host}{port} ({})", followed.status.as_deref().unwrap_or("not shown: pg_monitor is missing")))
}
