//! The HTTP client that the three providers share.

use futures::StreamExt as _;
use http::{HeaderMap, StatusCode};
use object_store::client::{HttpClient, HttpConnector as _, HttpRequest, ReqwestConnector};
use object_store::{BackoffConfig, Certificate, ClientOptions, RetryConfig};

use super::error::Attempt;
use crate::storage::{RetryOptions, StorageError, StorageOptions};

/// The longest answer that is read into memory, in bytes.
const LONGEST_ANSWER: usize = 16 << 20;

/// Makes the settings of a client for a service at `endpoint`.
pub(super) fn client_options(options: &StorageOptions, endpoint: Option<&str>) -> object_store::Result<ClientOptions> {
    let mut client = ClientOptions::new()
        .with_user_agent(http::HeaderValue::from_static(concat!("erpgo-dr/", env!("CARGO_PKG_VERSION"))))
        .with_connect_timeout(options.retry.connect_timeout)
        .with_timeout(options.retry.request_timeout)
        .with_read_timeout(options.retry.read_timeout)
        .with_allow_http(endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")));
    if let Some(pem) = &options.http.ca_certificates {
        for certificate in Certificate::from_pem_bundle(pem)? {
            client = client.with_root_certificate(certificate);
        }
    }
    Ok(match &options.http.proxy {
        Some(proxy) => client.with_proxy_url(proxy),
        None => client,
    })
}

pub(super) fn retry_config(retry: &RetryOptions) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig { max_backoff: retry.max_backoff, ..BackoffConfig::default() },
        max_retries: retry.max_retries,
        retry_timeout: retry.retry_timeout,
    }
}

/// Never repeats a request.
pub(super) fn once(retry: &RetryOptions) -> RetryConfig {
    RetryConfig { max_retries: 0, ..retry_config(retry) }
}

/// An answer, read whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Translates an answer that is not a success.
    pub(super) fn error(&self, attempt: Attempt<'_>) -> StorageError {
        let text = format!("status code: {}: {}", self.status, self.body);
        attempt.by_status(Some(self.status.as_u16()), &text)
    }
}

/// For the requests that `object_store` has no call for.
#[derive(Debug)]
pub(super) struct Client(HttpClient);

impl Client {
    pub(super) fn new(options: &ClientOptions) -> object_store::Result<Self> {
        Ok(Self(ReqwestConnector::default().connect(options)?))
    }

    pub(super) async fn send(&self, attempt: Attempt<'_>, request: HttpRequest) -> Result<Answer, StorageError> {
        let unavailable = |error: object_store::client::HttpError| attempt.unavailable(&error.to_string());
        let (parts, body) = self.0.execute(request).await.map_err(unavailable)?.into_parts();
        let mut body = body.bytes_stream();
        let mut whole = Vec::new();
        while let Some(chunk) = body.next().await {
            whole.extend_from_slice(&chunk.map_err(unavailable)?);
            if whole.len() > LONGEST_ANSWER {
                return Err(attempt.failed("the answer is too long"));
            }
        }
        let body = String::from_utf8_lossy(&whole).into_owned();
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }
}
