//! Messages by mail, for [`Notify`](super::Notify).

use std::fmt;
use std::net::IpAddr;

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use serde::Deserialize;

use super::super::error::ActionError;
use super::super::template::Template;
use super::super::values::{Value, VariableKind};
use super::sql::one_line;
use super::{Scope, Uses, View};
use crate::causes::chain;

/// A mail by SMTP. A server's certificate is verified always.
///
/// ```toml
/// notify = { message = "Recovery of {{ site }} begins.", email = { server = "smtp.ex.test:587", from = "DR <dr@ex.test>", to = ["ops@ex.test"], subject = "Recovery", user = "dr", password = "mail_password" } }
/// ```
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Email {
    /// The mail server: `host` or `host:port`. The port is 587 for `starttls`, 465 for `tls`, and 25 for `none`, unless it is written.
    pub server: Template,
    /// The sender: `dr@ex.test`, or `Recovery <dr@ex.test>`.
    pub from: Template,
    /// The recipients, one each; a list alone in one becomes as many as it has items. One that is refused fails it for all.
    pub to: Vec<Template>,
    /// The subject.
    pub subject: Template,
    /// Who logs in.
    pub user: Option<Template>,
    /// The variable, of the type `secret`, with the password for that.
    pub password: Option<String>,
    /// How the connection is protected. Without this: not at all on loopback, by `tls` at port 465, and by `starttls` elsewhere.
    pub tls: Option<MailTls>,
    /// The PEM file of the authorities to trust instead of the operating system's.
    pub authorities: Option<Template>,
}

/// How a connection to a mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum MailTls {
    /// It begins in the clear, and must become TLS before anything is said.
    Starttls,
    /// TLS from the first byte on.
    Tls,
    /// Not at all: the message, and a password, can be read on the way.
    None,
}

/// Where mail is handed in.
struct Server {
    host: String,
    port: u16,
    tls: MailTls,
}

impl Email {
    pub(super) fn describe(&self, view: &View<'_>) -> String {
        let to = self.to.iter().map(|to| to.shown(view.values)).collect::<Vec<_>>().join(", ");
        format!("{to} by {}", self.server.shown(view.values))
    }

    pub(super) fn uses<'s>(&'s self, uses: &mut Uses<'s>) {
        uses.visible([&self.server, &self.from, &self.subject]);
        uses.visible(&self.to);
        uses.visible(&self.user);
        uses.visible(&self.authorities);
        uses.secrets.extend(self.password.as_deref());
    }

    pub(super) async fn send(&self, scope: &Scope<'_>, text: &str) -> Result<(), ActionError> {
        let server = Server::new(&scope.text(&self.server)?, self.tls)?;
        let message = self.message(scope, text)?;
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&server.host)
            .port(server.port)
            .tls(self.protection(scope, &server)?)
            .timeout(Some(scope.timeout.duration()));
        if let Ok(host) = whoami::hostname() {
            transport = transport.hello_name(ClientId::Domain(host));
        }
        if let Some(credentials) = self.credentials(scope)? {
            transport = transport.credentials(credentials);
        }
        match transport.build().send(message).await {
            Ok(_) => Ok(()),
            Err(error) if error.status().is_some() => {
                Err(ActionError::Refused { by: server.to_string(), answer: chain(&error) })
            }
            Err(error) => Err(ActionError::Request { url: server.to_string(), reason: chain(&error) }),
        }
    }

    fn message(&self, scope: &Scope<'_>, text: &str) -> Result<Message, ActionError> {
        let from = mailbox(&scope.text(&self.from)?)?;
        let identity = format!("<{}.{}@{}>", scope.run, scope.step, from.email.domain());
        let mut message = Message::builder()
            .subject(one_line(&scope.text(&self.subject)?))
            .message_id(Some(identity))
            .header(ContentType::TEXT_PLAIN)
            .from(from);
        for template in &self.to {
            for address in template.arguments(scope.values)? {
                message = message.to(mailbox(&address)?);
            }
        }
        message.body(text.to_owned()).map_err(|error| ActionError::Unusable(format!("no mail: {}", chain(&error))))
    }

    fn protection(&self, scope: &Scope<'_>, server: &Server) -> Result<Tls, ActionError> {
        if server.tls == MailTls::None {
            return Ok(Tls::None);
        }
        let unusable = |error| ActionError::Unusable(format!("no TLS: {}", chain(&error)));
        let mut parameters = TlsParameters::builder(server.host.clone());
        if let Some(path) = scope.optional(self.authorities.as_ref())? {
            let failed = |source| ActionError::File { action: "read", path: path.clone().into(), source };
            let pem = std::fs::read(&path).map_err(failed)?;
            parameters = parameters.certificate_store(CertificateStore::None);
            parameters = parameters.add_root_certificate(Certificate::from_pem(&pem).map_err(unusable)?);
        }
        let parameters = parameters.build_rustls().map_err(unusable)?;
        Ok(if server.tls == MailTls::Tls { Tls::Wrapper(parameters) } else { Tls::Required(parameters) })
    }

    fn credentials(&self, scope: &Scope<'_>) -> Result<Option<Credentials>, ActionError> {
        let Some(user) = scope.optional(self.user.as_ref())? else { return Ok(None) };
        let password = self.password.as_deref().and_then(|name| scope.values.value(name));
        let password = password.filter(|value| value.kind() == VariableKind::Secret).and_then(Value::expose);
        let password = password.ok_or_else(|| ActionError::Unusable(format!("the user {user} needs a password")))?;
        Ok(Some(Credentials::new(user, password)))
    }
}

impl Server {
    fn new(text: &str, tls: Option<MailTls>) -> Result<Self, ActionError> {
        let bare = text.parse::<IpAddr>().is_ok();
        let (host, port) = match text.rsplit_once(':').filter(|_| !bare) {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let number = port.map(|port| port.parse::<u16>()).transpose();
        let number = number.map_err(|_| ActionError::Unusable(format!("{text:?} has no port that is a number")))?;
        let tls = tls.unwrap_or_else(|| match number {
            _ if is_loopback(&host) => MailTls::None,
            Some(465) => MailTls::Tls,
            _ => MailTls::Starttls,
        });
        let port = number.unwrap_or(match tls {
            MailTls::Starttls => 587,
            MailTls::Tls => 465,
            MailTls::None => 25,
        });
        Ok(Self { host, port, tls })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the mail server {}:{}", self.host, self.port)
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn mailbox(text: &str) -> Result<Mailbox, ActionError> {
    text.parse().map_err(|_| ActionError::Unusable(format!("{text:?} is no mail address")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_goes_without_tls_by_itself() {
        let read = |text, tls| Server::new(text, tls).map(|server| (server.host, server.port, server.tls)).unwrap();
        let found = |host: &str, port, tls| (host.to_owned(), port, tls);
        assert_eq!(read("smtp.ex.test", None), found("smtp.ex.test", 587, MailTls::Starttls));
        assert_eq!(read("smtp.ex.test:465", None), found("smtp.ex.test", 465, MailTls::Tls));
        assert_eq!(read("smtp.ex.test", Some(MailTls::Tls)), found("smtp.ex.test", 465, MailTls::Tls));
        assert_eq!(read("127.0.0.1:2525", None), found("127.0.0.1", 2525, MailTls::None));
        assert_eq!(read("localhost", Some(MailTls::Starttls)), found("localhost", 587, MailTls::Starttls));
        assert_eq!(read("[::1]:25", None), found("::1", 25, MailTls::None));
        assert_eq!(read("2001:db8::1", None), found("2001:db8::1", 587, MailTls::Starttls));
        assert_eq!(read("10.0.0.1:25", Some(MailTls::None)), found("10.0.0.1", 25, MailTls::None));
        assert!(Server::new("smtp.ex.test:smtp", None).is_err());
        // A name that only looks like it.
        assert_eq!(read("localhost.ex.test:25", None).2, MailTls::Starttls);
    }
}
