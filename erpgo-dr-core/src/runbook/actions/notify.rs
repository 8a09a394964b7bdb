//! `notify`: tells people, by a web hook, by mail or by a program.

use async_trait::async_trait;
use serde::Deserialize;

use super::super::error::ActionError;
use super::super::template::Template;
use super::command::{self, Program};
use super::mail::Email;
use super::{Act, Done, Nature, Scope, Uses, View, http};
use crate::causes::chain;

/// Sends a message. At least one way must be given, and all that are must work.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Notify {
    /// The message.
    pub message: Template,
    /// The address of a web hook, which takes `{"text": "..."}` as Slack's do. Often a secret.
    pub webhook: Option<Template>,
    /// The PEM file of the authorities to trust for it instead of the operating system's.
    pub authorities: Option<Template>,
    /// A mail.
    pub email: Option<Box<Email>>,
    /// A program that reads the message from standard input, and its arguments.
    #[serde(default)]
    pub command: Vec<Template>,
}

#[async_trait]
impl Act for Notify {
    fn nature(&self) -> Nature {
        Nature::change(30).repeatable()
    }

    fn describe(&self, view: &View<'_>) -> String {
        let mut ways = Vec::new();
        ways.extend(self.webhook.as_ref().map(|_| "the web hook".to_owned()));
        ways.extend(self.email.as_ref().map(|email| email.describe(view)));
        if !self.command.is_empty() {
            ways.push(command::shown(&self.command, view));
        }
        format!("tell {}: {}", ways.join(" and "), self.message.shown(view.values))
    }

    fn uses<'s>(&'s self, uses: &mut Uses<'s>) {
        uses.visible([&self.message]);
        uses.visible(&self.authorities);
        uses.visible(&self.command);
        uses.quiet(&self.webhook);
        if let Some(email) = &self.email {
            email.uses(uses);
        }
    }

    async fn act(&self, scope: &Scope<'_>) -> Result<Done, ActionError> {
        let message = scope.text(&self.message)?;
        if self.webhook.is_none() && self.email.is_none() && self.command.is_empty() {
            return Err(ActionError::Unusable("a notification needs a web hook, a mail or a command".to_owned()));
        }
        if let Some(url) = scope.optional(self.webhook.as_ref())? {
            self.post(scope, &url, &message).await?;
        }
        if let Some(email) = &self.email {
            email.send(scope, &message).await?;
        }
        if !self.command.is_empty() {
            let mut program = Program::new(&self.command, scope)?;
            program.input = Some(message.clone());
            program.output(scope).await?;
        }
        Ok(Done::said(message))
    }
}

impl Notify {
    async fn post(&self, scope: &Scope<'_>, url: &str, message: &str) -> Result<(), ActionError> {
        let failed = |reason: String| ActionError::Request { url: "the web hook".to_owned(), reason };
        let body = serde_json::json!({ "text": message }).to_string();
        let request =
            http::client(scope, self.authorities.as_ref())?.post(url).header("content-type", "application/json");
        let answer = request.body(body).send().await.map_err(|error| failed(chain(&error.without_url())))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(failed(format!("it answered {status}"))),
        }
    }
}
