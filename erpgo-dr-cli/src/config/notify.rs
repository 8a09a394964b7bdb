//! By which ways people are told: `[agent.notify]`, and what `[escalation]` shares with it.

use std::path::PathBuf;

use erpgo_dr_core::runbook::MailTls;
use schemars::JsonSchema;
use serde::Deserialize;

/// The table `[agent.notify]`: the ways by which people are told.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct NotifyConfig {
    /// A file whose first line is the address of a web hook.
    pub webhook_file: Option<PathBuf>,
    /// The PEM file of the authorities to trust for it.
    pub webhook_authorities: Option<String>,
    /// A program that reads the message from standard input, and its arguments, without a shell.
    pub command: Vec<String>,
    /// A mail.
    pub email: Option<MailConfig>,
}

/// The tables `[agent.notify.email]` and `[escalation.mail]`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct MailConfig {
    /// The mail server: `host` or `host:port`.
    pub server: String,
    /// The sender.
    pub from: String,
    /// The recipients; of `[escalation.mail]` they are the contacts.
    #[serde(default)]
    pub to: Vec<String>,
    /// The subject.
    pub subject: Option<String>,
    /// Who logs in.
    pub user: Option<String>,
    /// A file whose first line is the password for that.
    pub password_file: Option<PathBuf>,
    /// `starttls`, `tls` or `none`.
    pub tls: Option<MailTls>,
    /// The PEM file of the authorities to trust.
    pub authorities: Option<String>,
}
