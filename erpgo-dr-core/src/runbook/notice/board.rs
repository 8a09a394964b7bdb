//! A board that tells the same people whatever there is to tell, by every way that it was given.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use secrecy::SecretString;

use super::super::actions::{Email, MailTls, Notify};
use super::super::operator::Unattended;
use super::super::surroundings::Surroundings;
use super::super::template::Template;
use super::super::values::{Value, Values};
use super::send_notice;
use crate::causes::chain;
use crate::repository::Repository;

/// The variable that stands for the address of the web hook.
const WEBHOOK: &str = "webhook";
/// The variable that stands for the password of the mail server.
const PASSWORD: &str = "password";

/// A message that could not be delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("nobody could be told: {reason}")]
pub struct NotifyError {
    /// Why, for each way.
    pub reason: String,
}

/// Tells people something.
#[async_trait]
pub trait Notifier: Send + Sync + fmt::Debug {
    /// Delivers a message of a line or a few.
    ///
    /// # Errors
    /// [`NotifyError`] where nobody got it.
    async fn tell(&self, message: &str) -> Result<(), NotifyError>;
}

/// A mail to people.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NoticeMail {
    /// The mail server, as [`Email`] has it.
    pub server: String,
    /// The sender.
    pub from: String,
    /// The recipients.
    pub to: Vec<String>,
    /// The subject; that of an alarm without it.
    pub subject: Option<String>,
    /// Who logs in, and the password.
    pub login: Option<(String, SecretString)>,
    /// How the connection is protected.
    pub tls: Option<MailTls>,
    /// The PEM file of the authorities to trust instead of the operating system's.
    pub authorities: Option<String>,
}

impl NoticeMail {
    /// A mail without a login.
    pub fn new(server: impl Into<String>, from: impl Into<String>, to: Vec<String>) -> Self {
        let (server, from) = (server.into(), from.into());
        Self { server, from, to, subject: None, login: None, tls: None, authorities: None }
    }

    /// Sets the subject.
    pub fn with_subject(mut self, subject: Option<String>) -> Self {
        self.subject = subject;
        self
    }

    /// Sets who logs in.
    pub fn with_login(mut self, login: Option<(String, SecretString)>) -> Self {
        self.login = login;
        self
    }

    /// Sets how the connection is protected, and who is trusted for that.
    pub fn with_tls(mut self, tls: Option<MailTls>, authorities: Option<String>) -> Self {
        (self.tls, self.authorities) = (tls, authorities);
        self
    }
}

/// Tells people by web hook, mail and program. A message is delivered when one of the ways that are given has worked.
#[derive(Clone)]
pub struct NoticeBoard {
    ways: Vec<(&'static str, Notify)>,
    values: Values,
    surroundings: Surroundings,
}

impl NoticeBoard {
    /// Tells nobody yet.
    pub fn new(repository: Arc<Repository>) -> Self {
        let surroundings = Surroundings::new(repository, Arc::new(Unattended::refusing("notice")));
        Self { ways: Vec::new(), values: Values::default(), surroundings }
    }

    /// Returns whether it tells anybody.
    pub fn is_empty(&self) -> bool {
        self.ways.is_empty()
    }

    /// Sets the environment of the program.
    pub fn with_environment(mut self, environment: Vec<(std::ffi::OsString, std::ffi::OsString)>) -> Self {
        self.surroundings = self.surroundings.with_environment(environment);
        self
    }

    /// Tells a web hook, which takes `{"text": "..."}` as Slack's do.
    pub fn with_webhook(mut self, address: SecretString, authorities: Option<String>) -> Self {
        self.values.set(WEBHOOK, Value::Secret(address));
        let mut notify = nothing();
        notify.webhook = Some(variable(WEBHOOK));
        notify.authorities = authorities.map(Template::text);
        self.ways.push(("web hook", notify));
        self
    }

    /// Sends a mail.
    pub fn with_mail(mut self, mail: NoticeMail) -> Self {
        let (user, password) = mail.login.unzip();
        if let Some(password) = password {
            self.values.set(PASSWORD, Value::Secret(password));
        }
        let email = Email {
            server: Template::text(mail.server),
            from: Template::text(mail.from),
            to: mail.to.into_iter().map(Template::text).collect(),
            subject: Template::text(mail.subject.unwrap_or_else(|| "erpgo-dr: alarm".to_owned())),
            password: user.is_some().then(|| PASSWORD.to_owned()),
            user: user.map(Template::text),
            tls: mail.tls,
            authorities: mail.authorities.map(Template::text),
        };
        let mut notify = nothing();
        notify.email = Some(Box::new(email));
        self.ways.push(("mail", notify));
        self
    }

    /// Starts a program that reads the message from standard input.
    pub fn with_command(mut self, line: Vec<String>) -> Self {
        let mut notify = nothing();
        notify.command = line.into_iter().map(Template::text).collect();
        self.ways.push(("command", notify));
        self
    }
}

impl fmt::Debug for NoticeBoard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NoticeBoard").field("ways", &self.ways.iter().map(|(way, _)| way).collect::<Vec<_>>()).finish()
    }
}

#[async_trait]
impl Notifier for NoticeBoard {
    async fn tell(&self, message: &str) -> Result<(), NotifyError> {
        // All at once: one that hangs does not keep the others from it.
        let sent = join_all(self.ways.iter().map(|(way, notify)| async move {
            let notify = Notify { message: Template::text(message), ..notify.clone() };
            let sent = send_notice(&notify, &self.values, &self.surroundings).await;
            sent.map_err(|error| format!("{way}: {}", self.values.redact(&chain(&error))))
        }));
        let sent = sent.await;
        let delivered = sent.is_empty() || sent.iter().any(Result::is_ok);
        let failed: Vec<String> = sent.into_iter().filter_map(Result::err).collect();
        failed.iter().for_each(|reason| tracing::warn!("a message could not be delivered: {reason}"));
        if delivered { Ok(()) } else { Err(NotifyError { reason: failed.join("; ") }) }
    }
}

fn nothing() -> Notify {
    let message = Template::text("");
    Notify { message, webhook: None, authorities: None, email: None, command: Vec::new() }
}

fn variable(name: &str) -> Template {
    format!("{{{{ {name} }}}}").parse().expect("a variable alone is a template")
}
