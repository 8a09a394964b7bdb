//! Signed requests to Route 53.

use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{HttpRequest, HttpRequestBody};

use super::super::super::super::error::ActionError;
use super::super::{RecordKind, unusable};
use super::messages::{Change, Found, change_info, found, refusal};
use crate::causes::chain;

/// The most that is read of an answer, in bytes.
const READ: usize = 1 << 20;
/// The region that all requests are signed for, wherever they are sent from.
const REGION: &str = "us-east-1";

/// Asks and tells one hosted zone.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    endpoint: String,
    zone: String,
    credential: AwsCredential,
}

impl Client {
    pub(super) fn new(http: reqwest::Client, endpoint: &str, zone: &str, credential: AwsCredential) -> Self {
        let (endpoint, zone) = (endpoint.trim_end_matches('/').to_owned(), zone.to_owned());
        Self { http, endpoint, zone, credential }
    }

    /// Returns the records of a name and type.
    pub(super) async fn find(&self, name: &str, kind: RecordKind) -> Result<Found, ActionError> {
        // Names of DNS need no escapes but this one.
        let (name_asked, kind_asked) = (name.replace('*', "%2A"), kind.as_str());
        let path = format!("/hostedzone/{}/rrset?maxitems=1&name={name_asked}&type={kind_asked}", self.zone);
        let text = self.send("GET", &path, String::new()).await?;
        let read = found(&text, name, kind).map_err(|error| self.unreadable(&error))?;
        read.map_err(|found| ActionError::Unexpected { expected: format!("plain records of {name}"), found })
    }

    /// Has records changed; returns the identifier of the change.
    pub(super) async fn change(&self, change: &Change<'_>) -> Result<String, ActionError> {
        let path = format!("/hostedzone/{}/rrset/", self.zone);
        let text = self.send("POST", &path, change.to_xml()).await?;
        let info = change_info(&text).map_err(|error| self.unreadable(&error))?;
        let id = info.id.trim_start_matches("/change/");
        match id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            true => Ok(id.to_owned()),
            false => Err(self.unreadable(&"a change without an identifier")),
        }
    }

    /// Returns how far a change is: `PENDING`, `INSYNC`.
    pub(super) async fn status(&self, change: &str) -> Result<String, ActionError> {
        let text = self.send("GET", &format!("/change/{change}"), String::new()).await?;
        change_info(&text).map(|info| info.status).map_err(|error| self.unreadable(&error))
    }

    async fn send(&self, method: &str, path: &str, body: String) -> Result<String, ActionError> {
        let url = format!("{}/2013-04-01{path}", self.endpoint);
        let wrong = |reason: String| unusable(format!("{}: {reason}", self.endpoint));
        let request = http::Request::builder().method(method).uri(&url).body(HttpRequestBody::from(body.clone()));
        let mut request: HttpRequest = request.map_err(|error| wrong(error.to_string()))?;
        AwsAuthorizer::new(&self.credential, "route53", REGION)
            .try_authorize(&mut request, None)
            .map_err(|error| wrong(chain(&error)))?;
        let (parts, _) = request.into_parts();
        let failed = |error: reqwest::Error| ActionError::Request {
            url: self.endpoint.clone(),
            reason: chain(&error.without_url()),
        };
        let request = self.http.request(parts.method, url).headers(parts.headers).body(body);
        let mut answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        let mut read = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            read.extend_from_slice(&chunk);
            if read.len() > READ {
                return Err(self.unreadable(&"an answer that does not end"));
            }
        }
        let text = String::from_utf8_lossy(&read).into_owned();
        match status.is_success() {
            true => Ok(text),
            false => Err(ActionError::Refused {
                by: self.endpoint.clone(),
                answer: format!("{} {}", status.as_u16(), refusal(&text)),
            }),
        }
    }

    fn unreadable(&self, reason: &dyn std::fmt::Display) -> ActionError {
        ActionError::Request { url: self.endpoint.clone(), reason: format!("an answer that cannot be read: {reason}") }
    }
}
