//! `serve`: metrics, the page and JSON over HTTP.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use erpgo_dr_core::monitor::{ServeOptions, TlsFiles, keep_observed, serve};
use erpgo_dr_core::runbook::Span;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::options::Watched;
use crate::context::{Context, first_line};
use crate::error::{self, CliError};
use crate::output::Report;

/// Where it listens when nothing else is said: this host alone.
const LISTEN: &str = "127.0.0.1:9788";
/// What is known counts as too old after so many times of asking.
const STALE_AFTER: u32 = 5;

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
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// The certificate's key in PEM form
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
}

#[derive(Serialize)]
struct Served {
    /// Where it listened.
    address: SocketAddr,
}

impl ServeArgs {
    pub(in crate::commands) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let config = &context.config.monitor;
        let usual = || LISTEN.parse().expect("an address");
        let listen = self.listen.or(config.listen).unwrap_or_else(usual);
        let every = self.every.or(config.every).map_or(std::time::Duration::from_secs(60), |span| span.duration());
        let token = self.token_file.as_ref().or(config.token_file.as_ref()).map(|path| first_line(path)).transpose()?;
        let tls = tls(self.certificate.as_deref(), self.key.as_deref())
            .or_else(|| tls(config.certificate.as_deref(), config.key.as_deref()));
        let options =
            ServeOptions::default().with_token(token).with_tls(tls).with_stale_after(Some(every * STALE_AFTER));
        let listening = TcpListener::bind(listen).await;
        let listener = listening.map_err(|source| error::io(format!("listen at {listen}"), source))?;
        let address = listener.local_addr().map_err(|source| error::io("tell the address of the socket", source))?;
        let watched = Watched::open(context).await?;
        let (sender, facts) = watch::channel(None);
        let serving = serve(listener, facts, options, context.stop.requested());
        context.output.note(&format!("serving at {address}"));
        tokio::select! {
            served = serving => served?,
            () = keep_observed(&watched.repository, &watched.options, every, &sender) => {}
        }
        Report::new(&Served { address }, "told to end\n", true)
    }
}

fn tls(certificate: Option<&Path>, key: Option<&Path>) -> Option<TlsFiles> {
    Some(TlsFiles { certificate: certificate?.to_owned(), key: key?.to_owned() })
}
