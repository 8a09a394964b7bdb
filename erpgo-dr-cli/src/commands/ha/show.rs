//! `ha show`: the cluster as Patroni sees it.

use clap::Args;
use erpgo_dr_core::topology::ha::{HaBackend as _, HaCluster, HaMember};
use serde::Serialize;

use super::access::PatroniAccessOptions;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Align, Report, Table, bytes};

/// Show who leads, who follows, and what is wrong; ends with 1 if something is
#[derive(Debug, Args)]
pub(super) struct HaShowArgs {
    #[command(flatten)]
    access: PatroniAccessOptions,
    /// Bytes that a member may be behind before that is said
    #[arg(long, value_name = "BYTES", default_value_t = 16 << 20)]
    max_lag: u64,
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    cluster: HaCluster,
    /// What is wrong, in words.
    findings: Vec<String>,
}

impl HaShowArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let cluster = self.access.backend(context)?.cluster().await?;
        let findings = cluster.findings(self.max_lag, false);
        let (text, ok) = (text(&cluster, &findings), findings.is_empty());
        Report::new(&Shown { cluster, findings }, text, ok)
    }
}

fn text(cluster: &HaCluster, findings: &[String]) -> String {
    let columns = ["MEMBER", "ADDRESS", "ROLE", "STATE", "TIMELINE", "REACHED", "BEHIND"];
    let mut table = Table::new(columns.map(|name| (name, Align::Left)));
    for member in &cluster.members {
        table.row(row(member));
    }
    let mut text = table.render();
    if let Some(scheduled) = &cluster.scheduled {
        let to = scheduled.to.as_deref().unwrap_or("another member");
        text.push_str(&format!("a switchover to {to} is to come at {}\n", scheduled.at));
    }
    for finding in findings {
        text.push_str(&format!("! {finding}\n"));
    }
    text
}

fn row(member: &HaMember) -> [String; 7] {
    let none = || "-".to_owned();
    let address = member.host.as_ref().zip(member.port).map(|(host, port)| format!("{host}:{port}"));
    let restart = if member.pending_restart { ", waits for a restart" } else { "" };
    [
        member.name.clone(),
        address.unwrap_or_else(none),
        member.role.as_str().to_owned(),
        format!("{}{restart}", member.state),
        member.timeline.map_or_else(none, |timeline| timeline.to_string()),
        member.reached.map_or_else(none, |lsn| lsn.to_string()),
        member.behind_bytes.map_or_else(none, bytes),
    ]
}
