//! The Patroni that runs the cluster of a runbook: the table `[patroni]`.

use serde::Deserialize;

use super::super::template::Template;

/// How Patroni is reached, for the steps `ha`. What is an optional variable without a value is left out.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PatroniAccess {
    /// The addresses of its interfaces, of which the first one is asked that answers; a list alone in one becomes as many as it has items.
    pub urls: Vec<Template>,
    /// Who logs in (`restapi.authentication`).
    pub user: Option<Template>,
    /// The variable, of the type `secret`, with the password for that.
    pub password: Option<String>,
    /// The PEM file of the authorities to trust instead of the operating system's.
    pub authorities: Option<Template>,
    /// The PEM file of our certificate.
    pub certificate: Option<Template>,
    /// The PEM file of its key.
    pub key: Option<Template>,
}

impl PatroniAccess {
    /// Lists the texts in it, all of which others may see.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &Template> {
        let files = self.authorities.iter().chain(&self.certificate).chain(&self.key);
        self.urls.iter().chain(&self.user).chain(files)
    }
}
