//! Requests to Patroni: bounded in time and size, over several addresses.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, SERVER};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::super::error::HaError;
use super::settings::PatroniSettings;
use crate::causes::chain;

pub(super) use reqwest::Method as HttpMethod;

/// The most that is read of an answer, in bytes.
const READ: usize = 4 << 20;
/// What is kept of a refusal, in characters.
const KEPT: usize = 500;
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(3);
/// How long an order may take to be answered. Patroni answers within twenty seconds where its `loop_wait` is ten or less
/// (`poll_failover_result` in its api.py); what is not answered by then, the cluster tells.
const ORDER: Duration = Duration::from_secs(30);

/// The methods of orders.
#[derive(Debug, Clone, Copy)]
pub(super) enum Method {
    Post,
    Patch,
}

/// Sends requests.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    urls: Vec<String>,
    credentials: Option<(String, SecretString)>,
    answer_limit: Duration,
    known: Mutex<Known>,
}

/// What the addresses have turned out to be.
#[derive(Debug, Default)]
struct Known {
    /// The cluster of the first that answered.
    scope: Option<String>,
    /// Those that are of that cluster.
    verified: BTreeSet<String>,
    /// Who answered last: orders go there first.
    answered: Option<String>,
}

/// Why there is no answer.
enum Failure {
    /// Nothing was sent.
    NotConnected(String),
    /// Nothing was sent, because of who the other is, or who we are.
    Tls(String),
    /// It is not known what was heard.
    NoAnswer(String),
}

struct Answer {
    status: u16,
    /// Whether it says that it comes from Patroni's own server, and not from something before it.
    own: bool,
    body: Vec<u8>,
}

impl Client {
    pub(super) fn new(settings: &PatroniSettings) -> Result<Self, HaError> {
        let urls: Vec<String> = settings.urls.iter().map(|url| checked(url)).collect::<Result<_, _>>()?;
        if urls.is_empty() {
            return Err(setting("Patroni", "no address is given".to_owned()));
        }
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("erpgo-dr/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &settings.authorities {
            let certificates = reqwest::Certificate::from_pem_bundle(&read(path)?);
            builder = builder.tls_certs_only(certificates.map_err(|error| unusable(path, &error))?);
        }
        if let Some((certificate, key)) = &settings.identity {
            let pem = [read(certificate)?, b"\n".to_vec(), read(key)?].concat();
            builder =
                builder.identity(reqwest::Identity::from_pem(&pem).map_err(|error| unusable(certificate, &error))?);
        }
        let http = builder.build().map_err(|error| setting("TLS", chain(&error)))?;
        let (credentials, answer_limit) = (settings.credentials.clone(), settings.answer_limit);
        Ok(Self { http, urls, credentials, answer_limit, known: Mutex::default() })
    }

    pub(super) fn urls(&self) -> &[String] {
        &self.urls
    }

    /// Refuses to leave TLS because a member says so.
    pub(super) fn allowed(&self, url: &str) -> Result<String, HaError> {
        // All are in the form that `checked` returns.
        let url = checked(url)?;
        let guarded = self.urls.iter().all(|url| url.starts_with("https://"));
        match guarded && !url.starts_with("https://") {
            true => Err(setting(&url, "a member is asked there without TLS, and Patroni was named with it".to_owned())),
            false => Ok(url),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the addresses, the one that answered last before the others.
    fn order(&self) -> Vec<String> {
        let first = self.known().answered.clone();
        let others = self.urls.iter().filter(|url| Some(*url) != first.as_ref()).cloned();
        first.clone().into_iter().chain(others).collect()
    }

    /// Makes sure that an address is of the same cluster as the others: what is asked of one is told to another.
    async fn verify(&self, url: &str) -> Result<Result<(), HaError>, Failure> {
        if self.known().verified.contains(url) {
            return Ok(Ok(()));
        }
        let answer = self.send(HttpMethod::GET, url, "/patroni", None, self.answer_limit).await?;
        if answer.status >= 500 {
            return Err(Failure::NoAnswer(answer.said()));
        }
        let answer = match read_json(url, &answer) {
            Ok(answer) => answer,
            Err(error) => return Ok(Err(error)),
        };
        let Some(scope) = super::answers::scope(&answer) else {
            let reason = "it does not say of which cluster it is".to_owned();
            return Ok(Err(HaError::Unreadable { url: url.to_owned(), reason }));
        };
        let mut known = self.known();
        let expected = known.scope.get_or_insert_with(|| scope.clone()).clone();
        if expected != scope {
            let reason = format!("it is of the cluster {scope}, and another address of {expected}");
            return Ok(Err(setting(url, reason)));
        }
        known.verified.insert(url.to_owned());
        Ok(Ok(()))
    }

    /// Asks the first that answers; returns who that was, too.
    pub(super) async fn ask(&self, path: &str) -> Result<(String, Value), HaError> {
        let mut tried = Vec::new();
        let mut untrusted = None;
        for url in &self.order() {
            let asked = match self.verify(url).await {
                Ok(verified) => {
                    verified?;
                    self.send(HttpMethod::GET, url, path, None, self.answer_limit).await
                }
                Err(failure) => Err(failure),
            };
            match asked {
                Ok(answer) if answer.status >= 500 => tried.push(format!("{url}: {}", answer.said())),
                Ok(answer) => {
                    let read = read_json(url, &answer)?;
                    self.known().answered = Some(url.clone());
                    return Ok((url.clone(), read));
                }
                Err(Failure::Tls(reason)) => {
                    tried.push(format!("{url}: {reason}"));
                    untrusted.get_or_insert(HaError::Tls { url: url.clone(), reason });
                }
                Err(Failure::NotConnected(reason) | Failure::NoAnswer(reason)) => {
                    tried.push(format!("{url}: {reason}"));
                }
            }
        }
        Err(untrusted.unwrap_or(HaError::Unreachable { tried }))
    }

    /// Asks one.
    pub(super) async fn ask_at(&self, url: &str, path: &str) -> Result<Value, HaError> {
        match self.send(HttpMethod::GET, url, path, None, self.answer_limit).await {
            Ok(answer) => read_json(url, &answer),
            Err(failure) => Err(failure.at(url)),
        }
    }

    /// Gives an order to the one that answered last, or else to the first that can be reached. One that was heard is given to nobody else.
    pub(super) async fn tell(&self, method: Method, path: &str, order: &Value, limit: Duration) -> Result<(), HaError> {
        let mut tried = Vec::new();
        let mut untrusted = None;
        for url in &self.order() {
            match self.verify(url).await {
                Ok(verified) => verified?,
                Err(Failure::Tls(reason)) => {
                    tried.push(format!("{url}: {reason}"));
                    untrusted.get_or_insert(HaError::Tls { url: url.clone(), reason });
                    continue;
                }
                Err(Failure::NotConnected(reason) | Failure::NoAnswer(reason)) => {
                    tried.push(format!("{url}: {reason}"));
                    continue;
                }
            }
            match self.tell_at(url, method, path, order, limit).await {
                Err(HaError::Unreachable { tried: here }) => tried.extend(here),
                Err(error @ HaError::Tls { .. }) => {
                    tried.push(error.to_string());
                    untrusted.get_or_insert(error);
                }
                told => return told,
            }
        }
        Err(untrusted.unwrap_or(HaError::Unreachable { tried }))
    }

    /// Gives an order to one.
    pub(super) async fn tell_at(
        &self,
        url: &str,
        method: Method,
        path: &str,
        order: &Value,
        limit: Duration,
    ) -> Result<(), HaError> {
        let method = match method {
            Method::Post => HttpMethod::POST,
            Method::Patch => HttpMethod::PATCH,
        };
        let answer = match self.send(method, url, path, Some(order), limit.min(ORDER)).await {
            Ok(answer) => answer,
            Err(Failure::NoAnswer(reason)) => return Err(HaError::Unanswered { url: url.to_owned(), reason }),
            Err(failure) => return Err(failure.at(url)),
        };
        match answer.status {
            200..=299 => Ok(()),
            401 | 403 => Err(unauthorized(url, &answer)),
            // Something in between heard nothing from Patroni, which may have heard the order.
            502 | 504 => Err(HaError::Unanswered { url: url.to_owned(), reason: answer.said() }),
            503 if !answer.own => Err(HaError::Unanswered { url: url.to_owned(), reason: answer.said() }),
            status => Err(HaError::Refused { by: url.to_owned(), status, text: answer.text() }),
        }
    }

    async fn send(
        &self,
        method: HttpMethod,
        url: &str,
        path: &str,
        order: Option<&Value>,
        limit: Duration,
    ) -> Result<Answer, Failure> {
        let mut request = self.http.request(method, format!("{url}{path}")).timeout(limit);
        if let Some((user, password)) = &self.credentials {
            request = request.basic_auth(user, Some(password.expose_secret()));
        }
        if let Some(order) = order {
            request = request.header(CONTENT_TYPE, "application/json").body(order.to_string());
        }
        let mut answer = request.send().await.map_err(Failure::of)?;
        let status = answer.status().as_u16();
        // Patroni's is Python's own server.
        let server = answer.headers().get(SERVER).and_then(|server| server.to_str().ok());
        let own = server.is_some_and(|server| server.starts_with("BaseHTTP/"));
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(Failure::of)? {
            if body.len() + chunk.len() > READ {
                return Err(Failure::NoAnswer(format!("the answer is longer than {READ} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, own, body })
    }
}

impl Failure {
    fn of(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let reason = chain(&error);
        match error.is_connect() {
            _ if is_about_tls(&error) => Self::Tls(reason),
            true => Self::NotConnected(reason),
            false => Self::NoAnswer(reason),
        }
    }

    fn at(self, url: &str) -> HaError {
        match self {
            Self::Tls(reason) => HaError::Tls { url: url.to_owned(), reason },
            Self::NotConnected(reason) | Self::NoAnswer(reason) => {
                HaError::Unreachable { tried: vec![format!("{url}: {reason}")] }
            }
        }
    }
}

impl Answer {
    fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        text.trim().chars().take(KEPT).collect()
    }

    fn said(&self) -> String {
        format!("{} {}", self.status, self.text()).trim_end().to_owned()
    }
}

fn read_json(url: &str, answer: &Answer) -> Result<Value, HaError> {
    match answer.status {
        200..=299 => {}
        401 | 403 => return Err(unauthorized(url, answer)),
        status => return Err(HaError::Refused { by: url.to_owned(), status, text: answer.text() }),
    }
    let read = serde_json::from_slice(&answer.body);
    read.map_err(|error| HaError::Unreadable { url: url.to_owned(), reason: error.to_string() })
}

fn unauthorized(url: &str, answer: &Answer) -> HaError {
    HaError::Unauthorized { url: url.to_owned(), status: answer.status, text: answer.text() }
}

/// A TLS failure stands inside of errors of input and output, which hide what they hold from the chain of causes.
fn is_about_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    if error.is::<rustls::Error>() {
        return true;
    }
    let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    held.is_some_and(|held| is_about_tls(held)) || error.source().is_some_and(is_about_tls)
}

/// Reads an address: of HTTP, without a password, which would stand in messages, and without a path.
fn checked(text: &str) -> Result<String, HaError> {
    // What may hold a password is not repeated.
    let wrong = |reason: &str| setting("the address of Patroni", reason.to_owned());
    let url = reqwest::Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("it holds a name or a password: these are given by themselves"));
    }
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong("it begins with http:// or https://, and a host"));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("it ends with host and port"));
    }
    // In the one form that addresses are compared in, however it was written.
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    Ok(format!("{}://{host}{port}", url.scheme()))
}

fn read(path: &Path) -> Result<Vec<u8>, HaError> {
    std::fs::read(path).map_err(|error| setting(&path.display().to_string(), error.to_string()))
}

fn unusable(path: &Path, error: &reqwest::Error) -> HaError {
    setting(&path.display().to_string(), chain(error))
}

fn setting(what: &str, reason: String) -> HaError {
    HaError::Setting { what: what.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn an_address_has_a_host_and_no_password() {
        for text in ["https://db1:8008/", " https://db1:8008", "HTTPS://DB1:8008", "https://db1:8008 "] {
            assert_eq!(checked(text).unwrap(), "https://db1:8008");
        }
        assert_eq!(checked("http://[::1]:8008").unwrap(), "http://[::1]:8008");
        assert!(checked("http://db1:8008/#x").is_err());
        for text in ["db1:8008", "ftp://db1", "http://me:secret@db1", "http://me@db1", "http://db1/patroni", ""] {
            let error = checked(text).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(matches!(Client::new(&PatroniSettings::new([""; 0])), Err(HaError::Setting { .. })));
    }

    #[test]
    fn a_member_cannot_lead_away_from_tls() {
        let client = Client::new(&PatroniSettings::new(["https://db1:8008"])).unwrap();
        assert!(client.allowed("http://db2:8008").is_err() && client.allowed("https://x").is_ok());
        // However it is written.
        let written = Client::new(&PatroniSettings::new([" https://db1:8008", "HTTPS://db3"])).unwrap();
        for away in ["http://db2:8008", "HTTP://db2", " http://db2"] {
            assert!(written.allowed(away).is_err(), "{away}");
        }
        let open = Client::new(&PatroniSettings::new(["http://db1:8008"])).unwrap();
        assert!(open.allowed("http://db2:8008").is_ok());
    }

    /// Answers like a Patroni of the cluster `scope`; returns its address, and the orders that it heard. An order gets `order`, or nothing.
    async fn patroni(scope: &'static str, order: Option<&'static str>) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, told) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let heard = Arc::clone(&told);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let heard = Arc::clone(&heard);
                tokio::spawn(async move {
                    let mut request = vec![0_u8; 4096];
                    let read = stream.read(&mut request).await.unwrap();
                    let text = format!(r#"{{"members": [], "patroni": {{"scope": "{scope}"}}}}"#);
                    let mut answer =
                        format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{text}", text.len());
                    if !request[..read].starts_with(b"GET") {
                        heard.fetch_add(1, Ordering::SeqCst);
                        match order {
                            Some(head) => {
                                answer = format!("HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
                            }
                            // It hangs.
                            None => std::future::pending::<()>().await,
                        }
                    }
                    stream.write_all(answer.as_bytes()).await.unwrap();
                });
            }
        });
        (format!("http://{address}"), told)
    }

    fn client(urls: &[&String]) -> Client {
        let settings = PatroniSettings::new(urls.iter().map(|url| url.as_str()));
        Client::new(&settings.with_answer_limit(Duration::from_secs(10))).unwrap()
    }

    async fn order(client: &Client) -> Result<(), HaError> {
        client.tell(Method::Post, "/failover", &Value::Null, Duration::from_secs(2)).await
    }

    #[tokio::test]
    async fn an_order_goes_to_who_answered_and_once() {
        // The first one takes connections, and never answers.
        let hung = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hung = (format!("http://{}", hung.local_addr().unwrap()), hung);
        let (well, told) = patroni("a", Some("200 OK")).await;
        let settings = PatroniSettings::new([&hung.0, &well]).with_answer_limit(Duration::from_secs(1));
        let client = Client::new(&settings).unwrap();
        assert_eq!(client.ask("/cluster").await.unwrap().0, well);
        order(&client).await.unwrap();
        assert_eq!(told.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn an_answer_that_is_not_patronis_own_is_none() {
        for (head, unanswered) in [
            ("502 Bad Gateway", true),
            ("504 Gateway Timeout", true),
            ("503 Service Unavailable\r\nServer: nginx", true),
            ("503 Service Unavailable\r\nServer: BaseHTTP/0.6 Python/3.11.2", false),
            ("412 Precondition Failed", false),
        ] {
            let (url, told) = patroni("a", Some(head)).await;
            let (second, other) = patroni("a", Some("200 OK")).await;
            let error = order(&client(&[&url, &second])).await.unwrap_err();
            assert_eq!(matches!(error, HaError::Unanswered { .. }), unanswered, "{head}: {error}");
            assert_eq!((told.load(Ordering::SeqCst), other.load(Ordering::SeqCst)), (1, 0));
        }
        let (url, _) = patroni("a", None).await;
        assert!(matches!(order(&client(&[&url])).await, Err(HaError::Unanswered { .. })));
    }

    #[tokio::test]
    async fn an_address_of_another_cluster_is_not_told() {
        let (one, _) = patroni("a", Some("200 OK")).await;
        let (other, told) = patroni("b", Some("200 OK")).await;
        let client = client(&[&one, &other]);
        client.ask("/cluster").await.unwrap();
        client.known().answered = Some(other.clone());
        for error in [client.ask("/cluster").await.unwrap_err(), order(&client).await.unwrap_err()] {
            assert!(
                matches!(&error, HaError::Setting { reason, .. } if reason.contains("of the cluster b")),
                "{error}"
            );
        }
        assert_eq!(told.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn nothing_shows_the_password() {
        let settings = PatroniSettings::new(["http://db1"]).with_credentials("me", "geheim".into());
        let client = Client::new(&settings).unwrap();
        assert!(!format!("{settings:?} {client:?}").contains("geheim"));
    }
}
