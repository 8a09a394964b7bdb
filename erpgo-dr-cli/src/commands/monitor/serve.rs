//! `serve`: metrics, the page and JSON over HTTP.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use erpgo_dr_core::runbook::Span;
use serde::Serialize;

use super::options::Watched;
use super::service::{MonitorPlan, Protection};
use crate::context::Context;
use crate::error::CliError;
use crate::output::Report;

/// Where it listens when nothing else is said: this host alone.
const LISTEN: &str = "127.0.0.1:9788";

/// Serve metrics (/metrics), the page (/), JSON (/facts.json) and health (/health/live, /health/ready) over HTTP until told to stop
///
/// It changes nothing. Listening on more than this host takes a certificate and a token.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The address and port; port 0 takes a free one [default: 127.0.0.1:9788]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// The time from one look to the next [default: 1m]
    #[arg(long, value_name = "TIME")]
    every: Option<Span>,
    /// A file whose first line clients must show, as a bearer token or as a password
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A certificate in PEM form, with those between it and its root
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// The certificate's key in PEM form
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

#[derive(Serialize)]
struct Served {
    /// Where it listened.
    address: SocketAddr,
}

impl ServeArgs {
    pub(in crate::commands) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let usual = || LISTEN.parse().expect("an address");
        let listen = self.listen.or(context.config.monitor.listen).unwrap_or_else(usual);
        let given = Protection {
            token: self.token_file.as_ref(),
            certificate: self.certificate.as_ref(),
            key: self.key.as_ref(),
        };
        let every = self.every.map(|span| span.duration());
        let service = MonitorPlan::of(context, listen, every, given)?.bind().await?;
        let address = service.address;
        let watched = Watched::open(context).await?;
        context.output.note(&format!("serving at {address}"));
        service.run(&watched, context.stop.requested()).await?;
        Report::new(&Served { address }, "told to end\n", true)
    }
}
