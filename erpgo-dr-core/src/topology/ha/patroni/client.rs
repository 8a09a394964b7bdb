//! Requests to Patroni: bounded in time and size, over several addresses.

use std::io;
use std::path::Path;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
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
        Ok(Self { http, urls, credentials: settings.credentials.clone(), answer_limit: settings.answer_limit })
    }

    pub(super) fn urls(&self) -> &[String] {
        &self.urls
    }

    /// Refuses to leave TLS because a member says so.
    pub(super) fn allowed(&self, url: String) -> Result<String, HaError> {
        let guarded = self.urls.iter().all(|url| url.starts_with("https://"));
        match guarded && !url.starts_with("https://") {
            true => Err(setting(&url, "a member is asked there without TLS, and Patroni was named with it".to_owned())),
            false => Ok(url),
        }
    }

    /// Asks the first that answers; returns who that was, too.
    pub(super) async fn ask(&self, path: &str) -> Result<(String, Value), HaError> {
        let mut tried = Vec::new();
        let mut untrusted = None;
        for url in &self.urls {
            match self.send(HttpMethod::GET, url, path, None, self.answer_limit).await {
                Ok(answer) if answer.status >= 500 => tried.push(format!("{url}: {}", answer.said())),
                Ok(answer) => return Ok((url.clone(), read_json(url, &answer)?)),
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

    /// Gives an order to the first that can be reached. One that was heard is given to nobody else.
    pub(super) async fn tell(&self, method: Method, path: &str, order: &Value, limit: Duration) -> Result<(), HaError> {
        let mut tried = Vec::new();
        let mut untrusted = None;
        for url in &self.urls {
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
        let answer = match self.send(method, url, path, Some(order), limit).await {
            Ok(answer) => answer,
            Err(Failure::NoAnswer(reason)) => return Err(HaError::Unanswered { url: url.to_owned(), reason }),
            Err(failure) => return Err(failure.at(url)),
        };
        match answer.status {
            200..=299 => Ok(()),
            401 | 403 => Err(unauthorized(url, &answer)),
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
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(Failure::of)? {
            if body.len() + chunk.len() > READ {
                return Err(Failure::NoAnswer(format!("the answer is longer than {READ} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, body })
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
    if url.path() != "/" || url.query().is_some() {
        return Err(wrong("it ends with host and port"));
    }
    Ok(text.trim_end_matches('/').to_owned())
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
    use super::*;

    #[test]
    fn an_address_has_a_host_and_no_password() {
        assert_eq!(checked("https://db1:8008/").unwrap(), "https://db1:8008");
        for text in ["db1:8008", "ftp://db1", "http://me:secret@db1", "http://me@db1", "http://db1/patroni", ""] {
            let error = checked(text).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(matches!(Client::new(&PatroniSettings::new([""; 0])), Err(HaError::Setting { .. })));
    }

    #[test]
    fn a_member_cannot_lead_away_from_tls() {
        let client = Client::new(&PatroniSettings::new(["https://db1:8008"])).unwrap();
        assert!(
            client.allowed("http://db2:8008".to_owned()).is_err() && client.allowed("https://x".to_owned()).is_ok()
        );
        let open = Client::new(&PatroniSettings::new(["http://db1:8008"])).unwrap();
        assert!(open.allowed("http://db2:8008".to_owned()).is_ok());
    }

    #[test]
    fn nothing_shows_the_password() {
        let settings = PatroniSettings::new(["http://db1"]).with_credentials("me", "geheim".into());
        let client = Client::new(&settings).unwrap();
        assert!(!format!("{settings:?} {client:?}").contains("geheim"));
    }
}
