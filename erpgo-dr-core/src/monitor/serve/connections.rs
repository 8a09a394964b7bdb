//! Connections: how many, how long, and encrypted or not. Each is for one answer.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::options::{ServeError, ServeOptions, TlsFiles};
use crate::causes::chain;

/// Connections at once: those who scrape are few.
const MOST_CONNECTIONS: usize = 64;
/// How long a client may take to agree on encryption, or to send the head of its request.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection may last, its one answer included: who reads nothing gives its place to others.
const LONGEST: Duration = Duration::from_secs(30);
/// How long answers may go on after the word to stop.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long nothing is accepted after that has failed: of file handles, there may be more again.
const PAUSE: Duration = Duration::from_millis(200);

/// Answers until `stop` resolves; requests that are under way are answered. Dropping the future ends all connections.
pub(super) async fn answer_all(
    listener: TcpListener,
    router: Router,
    options: &ServeOptions,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let address = listener.local_addr().map_err(|source| failed("tell the address of the socket", source))?;
    options.refuse_exposed(address)?;
    let tls = options.tls.as_ref().map(acceptor).transpose()?;
    tracing::info!(%address, tls = tls.is_some(), "serving");
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = stop.as_mut() => break,
            accepted = accepted => accepted,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                let connection = answer(stream, tls.clone(), router.clone(), graceful.watcher());
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(FAREWELL, graceful.shutdown()).await.is_err() {
        tracing::warn!("connections are cut off");
    }
    Ok(())
}

fn failed(action: &str, source: std::io::Error) -> ServeError {
    ServeError::Io { action: action.to_owned(), source }
}

pub(super) fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, ServeError> {
    let wrong = |path: &Path, message: String| ServeError::Certificate { path: path.to_owned(), message };
    let of = |path: &Path| {
        let path = path.to_owned();
        move |error: rustls::pki_types::pem::Error| ServeError::Certificate { path, message: error.to_string() }
    };
    let certificates = CertificateDer::pem_file_iter(&files.certificate).map_err(of(&files.certificate))?;
    let certificates: Vec<_> = certificates.collect::<Result<_, _>>().map_err(of(&files.certificate))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(of(&files.key))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| wrong(&files.certificate, error.to_string()))?;
    let config = config.with_no_client_auth().with_single_cert(certificates, key);
    Ok(TlsAcceptor::from(Arc::new(config.map_err(|error| wrong(&files.certificate, error.to_string()))?)))
}

async fn answer(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    router: Router,
    watcher: hyper_util::server::graceful::Watcher,
) {
    match tls {
        None => answer_on(stream, router, watcher).await,
        Some(tls) => match tokio::time::timeout(PATIENCE, tls.accept(stream)).await {
            Ok(Ok(stream)) => answer_on(stream, router, watcher).await,
            Ok(Err(error)) => tracing::debug!(error = chain(&error), "a client did not agree on encryption"),
            Err(_) => tracing::debug!("a client did not agree on encryption in time"),
        },
    }
}

async fn answer_on<S>(stream: S, router: Router, watcher: hyper_util::server::graceful::Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE).keep_alive(false);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match tokio::time::timeout(LONGEST, watcher.watch(connection)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(error = chain(&error), "a connection broke off"),
        Err(_) => tracing::debug!("a client did not take its answer in time"),
    }
}
