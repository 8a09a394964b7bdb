//! Answers over HTTP from the facts that it was last given: metrics, the page, JSON, and whether all is well. Changes nothing, asks nobody.
//!
//! On this host alone it may be open. Elsewhere it takes TLS and a token, and refuses to begin without them: what it shows names databases,
//! places, and what is wrong with them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use data_encoding::BASE64;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::Facts;
use super::metrics::CONTENT_TYPE;
use crate::agent::AgentState;
use crate::causes::chain;
use crate::presentation::html::POLICY;

/// Connections at once: those who scrape are few.
const MOST_CONNECTIONS: usize = 64;
/// How long a client may take to agree on encryption, or to send the head of its request.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection may last, its one answer included: who reads nothing gives its place to others.
const LONGEST: Duration = Duration::from_secs(30);
/// How long answers may go on after the word to stop.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long nothing is accepted after that has failed: of file handles, there may be more again.
const PAUSE: Duration = Duration::from_millis(200);

/// Who may ask, and how.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ServeOptions {
    /// What a client must show: as a bearer token, or as the password of any user. Health is told to all.
    pub token: Option<SecretString>,
    /// The certificate and its key.
    pub tls: Option<TlsFiles>,
    /// Facts that are older than this are not to be relied on: the service says that it is not ready.
    pub stale_after: Option<Duration>,
    /// An agent of this process: how it stands is told as it is when somebody asks, also while the repository does not answer.
    pub agent: Option<watch::Receiver<AgentState>>,
}

/// Files in PEM form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and those between it and its root.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Others could listen, or ask.
    #[error("{address} can be reached from other hosts, and {lacks}")]
    Exposed {
        /// Where it would listen.
        address: SocketAddr,
        /// What is missing.
        lacks: &'static str,
    },
    /// A certificate or key that cannot be used.
    #[error("{}: {message}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The socket.
    #[error("cannot {action}")]
    Io {
        /// What was tried.
        action: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

impl ServeOptions {
    /// Sets what a client must show.
    pub fn with_token(mut self, token: Option<SecretString>) -> Self {
        self.token = token;
        self
    }

    /// Sets the certificate.
    pub fn with_tls(mut self, tls: Option<TlsFiles>) -> Self {
        self.tls = tls;
        self
    }

    /// Sets how old facts may be that are relied on.
    pub fn with_stale_after(mut self, age: Option<Duration>) -> Self {
        self.stale_after = age;
        self
    }

    /// Has an agent of this process tell how it stands.
    pub fn with_agent(mut self, agent: Option<watch::Receiver<AgentState>>) -> Self {
        self.agent = agent;
        self
    }

    /// Checks that these may be served at an address. [`serve`] does that, too.
    ///
    /// # Errors
    /// [`ServeError::Exposed`]; [`ServeError::Certificate`].
    pub fn check(&self, address: SocketAddr) -> Result<(), ServeError> {
        self.refuse_exposed(address)?;
        self.tls.as_ref().map(acceptor).transpose().map(drop)
    }

    fn refuse_exposed(&self, address: SocketAddr) -> Result<(), ServeError> {
        let lacks = match (address.ip().is_loopback(), self.tls.is_some(), self.token.is_some()) {
            (true, _, _) | (false, true, true) => return Ok(()),
            (_, false, true) => "there is no certificate",
            (_, true, false) => "no token is asked for",
            (_, false, false) => "there is neither a certificate nor a token",
        };
        Err(ServeError::Exposed { address, lacks })
    }
}

/// Serves until `stop` resolves; requests that are under way are answered. Dropping the future ends all connections.
///
/// Paths: `/` the page, `/metrics`, `/facts.json`, `/health/live`, `/health/ready`.
///
/// # Errors
/// [`ServeError::Exposed`] where other hosts can reach `listener` and the options lack TLS or a token.
pub async fn serve(
    listener: TcpListener,
    facts: watch::Receiver<Option<Arc<Facts>>>,
    options: ServeOptions,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let address = listener.local_addr().map_err(|source| failed("tell the address of the socket", source))?;
    options.refuse_exposed(address)?;
    let tls = options.tls.as_ref().map(acceptor).transpose()?;
    tracing::info!(%address, tls = tls.is_some(), "serving");
    let router = router(Shared { facts, options: Arc::new(options) });
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

fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, ServeError> {
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

#[derive(Debug, Clone)]
struct Shared {
    facts: watch::Receiver<Option<Arc<Facts>>>,
    options: Arc<ServeOptions>,
}

fn router(shared: Shared) -> Router {
    let guarded = Router::new()
        .route("/", get(page))
        .route("/metrics", get(metrics))
        .route("/facts.json", get(json))
        .layer(from_fn_with_state(shared.clone(), only_who_may));
    Router::new()
        .route("/health/live", get(|| async { "alive\n" }))
        .route("/health/ready", get(ready))
        .merge(guarded)
        .layer(axum::middleware::map_response(harmless))
        .with_state(shared)
}

impl Shared {
    fn newest(&self) -> Option<Arc<Facts>> {
        self.facts.borrow().clone()
    }

    /// Returns why the facts are not to be relied on.
    fn doubt(&self, facts: &Facts) -> Option<&'static str> {
        let limit = self.options.stale_after?;
        let age = chrono::Utc::now() - facts.at;
        match age.to_std() {
            Ok(age) if age > limit => Some("the repository does not answer"),
            Ok(_) => None,
            // A few seconds are those of a clock that is being set right.
            Err(_) if (-age).to_std().is_ok_and(|ahead| ahead < PATIENCE) => None,
            Err(_) => Some("the clock of this host was set back"),
        }
    }
}

async fn page(State(shared): State<Shared>) -> Response {
    answered(&shared, |facts| Html(facts.to_doubted_html(shared.doubt(facts))).into_response())
}

async fn metrics(State(shared): State<Shared>) -> Response {
    answered(&shared, |facts| {
        let text = facts.to_doubted_openmetrics(shared.doubt(facts).is_some());
        ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response()
    })
}

async fn json(State(shared): State<Shared>) -> Response {
    answered(&shared, |facts| match serde_json::to_vec_pretty(facts) {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    })
}

async fn ready(State(shared): State<Shared>) -> Response {
    answered(&shared, |facts| match shared.doubt(facts) {
        None => "ready\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("what is known is too old: {why}\n")).into_response(),
    })
}

fn answered(shared: &Shared, answer: impl FnOnce(&Facts) -> Response) -> Response {
    match shared.newest() {
        Some(facts) => match &shared.options.agent {
            Some(agent) => answer(&Facts { agent: Some(agent.borrow().clone()), ..(*facts).clone() }),
            None => answer(&facts),
        },
        None => (StatusCode::SERVICE_UNAVAILABLE, "nothing has been asked yet\n").into_response(),
    }
}

/// Lets in who shows the token. Where none is asked for, a name that is not this host's own is that of another page in somebody's browser.
async fn only_who_may(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let Some(token) = &shared.options.token else {
        return match is_this_host(&request) {
            true => next.run(request).await,
            false => (StatusCode::MISDIRECTED_REQUEST, "ask by the address of this host\n").into_response(),
        };
    };
    let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| shown_token(value.to_str().ok()?));
    match shown.is_some_and(|shown| bool::from(shown.as_bytes().ct_eq(token.expose_secret().as_bytes()))) {
        true => next.run(request).await,
        false => {
            let ask = [(header::WWW_AUTHENTICATE, "Basic realm=\"erpgo-dr\", charset=\"UTF-8\"")];
            (StatusCode::UNAUTHORIZED, ask, "show the token: as a bearer token, or as the password\n").into_response()
        }
    }
}

/// Reads `Bearer TOKEN`, or the password of `Basic`.
fn shown_token(authorization: &str) -> Option<String> {
    let (scheme, value) = authorization.split_once(' ')?;
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" => Some(value.trim().to_owned()),
        "basic" => {
            let pair = String::from_utf8(BASE64.decode(value.trim().as_bytes()).ok()?).ok()?;
            Some(pair.split_once(':')?.1.to_owned())
        }
        _ => None,
    }
}

fn is_this_host(request: &Request) -> bool {
    let named = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    let Some(named) = named.or_else(|| request.uri().host()) else { return true };
    let Some(host) = named.parse::<Uri>().ok().and_then(|uri| Some(uri.host()?.to_owned())) else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok()
}

/// Has a browser keep what it is given to itself, and run nothing of it.
async fn harmless(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_from_both_schemes() {
        assert_eq!(shown_token("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(shown_token("bearer  abc").as_deref(), Some("abc"));
        assert_eq!(shown_token("Basic b3BlcmF0b3I6YTpiYw==").as_deref(), Some("a:bc"), "what follows the first colon");
        for text in ["abc", "Basic !", "Digest abc", "Basic bm9jb2xvbg=="] {
            assert_eq!(shown_token(text), None, "{text}");
        }
    }

    #[test]
    fn what_others_can_reach_takes_a_certificate_and_a_token() {
        let tls = Some(TlsFiles { certificate: "c.pem".into(), key: "k.pem".into() });
        let token = Some(SecretString::from("secret"));
        let open = ServeOptions::default();
        for address in ["127.0.0.1:80", "[::1]:80"] {
            assert!(open.refuse_exposed(address.parse().unwrap()).is_ok(), "{address}");
        }
        let (only_tls, only_token) = (open.clone().with_tls(tls), open.clone().with_token(token.clone()));
        let both = only_tls.clone().with_token(token);
        for address in ["0.0.0.0:80", "10.0.0.1:80", "[::]:80"] {
            let address = address.parse().unwrap();
            for options in [&open, &only_tls, &only_token] {
                assert!(matches!(options.refuse_exposed(address), Err(ServeError::Exposed { .. })), "{options:?}");
            }
            assert!(both.refuse_exposed(address).is_ok());
        }
    }

    #[test]
    fn names_of_other_hosts_are_told_from_addresses() {
        let request = |host: &str| Request::builder().header("host", host).body(axum::body::Body::empty()).unwrap();
        for host in ["localhost", "LOCALHOST:9187", "127.0.0.1:9187", "[::1]:9187"] {
            assert!(is_this_host(&request(host)), "{host}");
        }
        for host in ["evil.example", "evil.example:9187", "127.0.0.1.evil.example", ""] {
            assert!(!is_this_host(&request(host)), "{host}");
        }
    }
}
