//! The tables `[[contact]]` and `[escalation]`.

use std::path::PathBuf;

use erpgo_dr_core::runbook::Span;
use schemars::JsonSchema;
use serde::Deserialize;

use super::notify::MailConfig;

/// A table `[[contact]]`: somebody who is told, by every way that is given.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ContactConfig {
    /// What levels call them.
    pub name: String,
    /// What they are: `On-Call Engineer`.
    pub role: Option<String>,
    /// Where others telephone them.
    pub phone: Option<String>,
    /// Their address, for a mail by `[escalation.mail]`.
    pub email: Option<String>,
    /// A file whose first line is the address of a web hook.
    pub webhook_file: Option<PathBuf>,
    /// The PEM file of the authorities to trust for it.
    pub webhook_authorities: Option<String>,
    /// A program that reads the message from standard input, and its arguments, without a shell.
    #[serde(default)]
    pub command: Vec<String>,
}

/// The table `[escalation]`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct EscalationConfig {
    /// Who is told when a run of a runbook takes long, in their order.
    #[serde(rename = "level")]
    pub levels: Vec<LevelConfig>,
    /// The server for mails to contacts.
    pub mail: Option<MailConfig>,
}

/// A table `[[escalation.level]]`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LevelConfig {
    /// How long after the incident.
    pub after: Span,
    /// The contacts.
    pub tell: Vec<String>,
}
