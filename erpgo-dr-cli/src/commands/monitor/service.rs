//! The HTTP service of the monitor: checked and bound first, so that a wrong address or file is an error before anything else is done.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use erpgo_dr_core::agent::AgentState;
use erpgo_dr_core::monitor::{FleetFacts, ServeOptions, TlsFiles, keep_observed, serve, serve_fleet};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::options::Watched;
use crate::context::{Context, first_line};
use crate::error::{self, CliError};

/// The time from one look to the next.
const EVERY: Duration = Duration::from_secs(60);
/// The wait before it is tried again to serve what is known.
const BETWEEN_BINDS: Duration = Duration::from_secs(15);
/// What is known counts as too old after so many times of asking.
const STALE_AFTER: u32 = 5;

/// Files that protect the service.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Protection<'a> {
    pub(super) token: Option<&'a PathBuf>,
    pub(super) certificate: Option<&'a PathBuf>,
    pub(super) key: Option<&'a PathBuf>,
}

/// What is served where, and to whom: checked, and not begun.
#[derive(Debug)]
pub(in crate::commands) struct MonitorPlan {
    address: SocketAddr,
    options: ServeOptions,
    every: Duration,
}

/// A service that listens, and does not answer yet.
#[derive(Debug)]
pub(in crate::commands) struct MonitorService {
    listener: TcpListener,
    pub(super) address: SocketAddr,
    options: ServeOptions,
    every: Duration,
}

impl MonitorPlan {
    /// Serves where the configuration says; none where it says nothing of it.
    pub(in crate::commands) fn configured(context: &Context) -> Result<Option<Self>, CliError> {
        Self::configured_every(context, EVERY)
    }

    /// As [`MonitorPlan::configured`], with another time from one look to the next where the configuration says nothing of it.
    pub(in crate::commands) fn configured_every(context: &Context, usual: Duration) -> Result<Option<Self>, CliError> {
        let config = &context.config.monitor;
        let every = config.every.map_or(usual, |span| span.duration());
        config.listen.map(|address| Self::of(context, address, Some(every), Protection::default())).transpose()
    }

    /// Returns the time from one look to the next.
    pub(in crate::commands) fn every(&self) -> Duration {
        self.every
    }

    /// Serves at an address. What is not given is as configured.
    pub(super) fn of(
        context: &Context,
        address: SocketAddr,
        every: Option<Duration>,
        given: Protection<'_>,
    ) -> Result<Self, CliError> {
        let config = &context.config.monitor;
        let every = every.or(config.every.map(|span| span.duration())).unwrap_or(EVERY);
        if every.is_zero() {
            return Err(CliError::usage("the time from one look to the next is nothing", "a minute is usual: 1m"));
        }
        let token = given.token.or(config.token_file.as_ref()).map(|path| first_line(path)).transpose()?;
        let tls = match (given.certificate.or(config.certificate.as_ref()), given.key.or(config.key.as_ref())) {
            (Some(certificate), Some(key)) => Some(tls(certificate, key)),
            (None, None) => None,
            _ => {
                let hint = "give both: `certificate` and `key` in [monitor], or --certificate and --key";
                return Err(CliError::usage("a certificate goes with its key", hint));
            }
        };
        let options =
            ServeOptions::default().with_token(token).with_tls(tls).with_stale_after(Some(every * STALE_AFTER));
        options.check(address)?;
        Ok(Self { address, options, every })
    }

    /// Has an agent of this process tell how it stands.
    pub(in crate::commands) fn with_agent(self, agent: watch::Receiver<AgentState>) -> Self {
        Self { options: self.options.with_agent(Some(agent)), ..self }
    }

    /// Serves by `run` for as long as the future is polled. Where that ends or cannot begin, as when the port is taken, it is tried
    /// again, and whatever is done beside it goes on.
    pub(in crate::commands) async fn keep(
        &self,
        run: impl AsyncFn(MonitorService) -> Result<(), CliError>,
    ) -> Infallible {
        loop {
            let served = match self.bind().await {
                Ok(service) => run(service).await,
                Err(error) => Err(error),
            };
            if let Err(error) = served {
                tracing::error!(error = error.in_a_line(), "nothing is served; trying again");
            }
            tokio::time::sleep(BETWEEN_BINDS).await;
        }
    }

    /// Listens.
    pub(super) async fn bind(&self) -> Result<MonitorService, CliError> {
        let listening = TcpListener::bind(self.address).await;
        let listener = listening.map_err(|source| error::io(format!("listen at {}", self.address), source))?;
        let address = listener.local_addr().map_err(|source| error::io("tell the address of the socket", source))?;
        Ok(MonitorService { listener, address, options: self.options.clone(), every: self.every })
    }
}

impl MonitorService {
    /// Asks and answers until `stop` resolves.
    pub(in crate::commands) async fn run(
        self,
        watched: &Watched,
        stop: impl Future<Output = ()> + Send,
    ) -> Result<(), CliError> {
        let (sender, facts) = watch::channel(None);
        tokio::select! {
            served = serve(self.listener, facts, self.options, stop) => Ok(served?),
            () = keep_observed(&watched.repository, &watched.options, self.every, &sender) => Ok(()),
        }
    }

    /// Answers until `stop` resolves, from what somebody else asks of several clusters.
    pub(in crate::commands) async fn run_fleet(
        self,
        facts: watch::Receiver<Arc<FleetFacts>>,
        stop: impl Future<Output = ()> + Send,
    ) -> Result<(), CliError> {
        Ok(serve_fleet(self.listener, facts, self.options, stop).await?)
    }
}

fn tls(certificate: &Path, key: &Path) -> TlsFiles {
    TlsFiles { certificate: certificate.to_owned(), key: key.to_owned() }
}
