//! `http-check`: a question to a web server whose answer is known.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::Deserialize;

use super::super::error::ActionError;
use super::super::template::Template;
use super::{Act, Done, Nature, Scope, Uses, View};
use crate::causes::chain;

/// What is kept of an answer, in bytes.
const KEPT: usize = 4 << 10;
/// The most that is read of an answer, in bytes.
const READ: usize = 1 << 20;

/// Asks a web server, and compares the answer's status and text. Redirections are answers too: none is followed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct HttpCheck {
    /// The address.
    pub url: Template,
    /// The status that it must have.
    #[serde(default = "ok")]
    pub status: u16,
    /// A text that must be in it.
    pub contains: Option<Template>,
    /// Headers of the request.
    #[serde(default)]
    pub headers: BTreeMap<String, Template>,
    /// The PEM file of the authorities to trust instead of the operating system's.
    pub authorities: Option<Template>,
}

fn ok() -> u16 {
    200
}

#[async_trait]
impl Act for HttpCheck {
    fn nature(&self) -> Nature {
        Nature::check(15)
    }

    fn describe(&self, view: &View<'_>) -> String {
        let contains = self.contains.as_ref().map(|text| format!(" with {:?}", text.shown(view.values)));
        format!("ask {}; expect {}{}", self.url.shown(view.values), self.status, contains.unwrap_or_default())
    }

    fn uses<'s>(&'s self, uses: &mut Uses<'s>) {
        uses.visible([&self.url]);
        uses.visible(&self.authorities);
        uses.quiet(self.headers.values());
        uses.quiet(&self.contains);
    }

    async fn act(&self, scope: &Scope<'_>) -> Result<Done, ActionError> {
        let url = scope.text(&self.url)?;
        let failed =
            |error: reqwest::Error| ActionError::Request { url: url.clone(), reason: chain(&error.without_url()) };
        let mut request = client(scope, self.authorities.as_ref())?.get(&url);
        for (name, value) in &self.headers {
            request = request.header(name, scope.text(value)?);
        }
        let mut answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            body.extend_from_slice(&chunk);
            if body.len() > READ {
                break;
            }
        }
        let body = String::from_utf8_lossy(&body);
        if status.as_u16() != self.status {
            let found = format!("{status} {}", start(&body));
            return Err(ActionError::Unexpected {
                expected: self.status.to_string(),
                found: found.trim_end().to_owned(),
            });
        }
        if let Some(wanted) = scope.optional(self.contains.as_ref())?
            && !body.contains(&wanted)
        {
            let expected = format!("an answer with {wanted:?}");
            return Err(ActionError::Unexpected { expected, found: start(&body).to_owned() });
        }
        Ok(Done { output: status.to_string(), value: Some(start(&body).to_owned()), ..Done::default() })
    }
}

/// Makes a client that verifies certificates, follows no redirection and knows no proxy.
pub(super) fn client(scope: &Scope<'_>, authorities: Option<&Template>) -> Result<reqwest::Client, ActionError> {
    let mut builder = reqwest::Client::builder()
        .timeout(scope.timeout.duration())
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("erpgo-dr/", env!("CARGO_PKG_VERSION")));
    if let Some(path) = scope.optional(authorities)? {
        let pem = std::fs::read(&path).map_err(|source| ActionError::File {
            action: "read",
            path: path.clone().into(),
            source,
        })?;
        let unusable = |error: reqwest::Error| ActionError::Unusable(format!("{path}: {}", chain(&error)));
        let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(unusable)?;
        builder = builder.tls_certs_only(certificates);
    }
    builder.build().map_err(|error| ActionError::Unusable(chain(&error)))
}

/// Returns the start of a text, whole characters.
fn start(text: &str) -> &str {
    let mut end = text.len().min(KEPT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].trim_end()
}
