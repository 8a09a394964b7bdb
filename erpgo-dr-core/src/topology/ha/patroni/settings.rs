//! How Patroni is reached, and who we are.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

/// How Patroni is reached.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PatroniSettings {
    /// The addresses of its interfaces: `https://db1:8008`. Without a password.
    pub urls: Vec<String>,
    /// Name and password (`restapi.authentication`).
    pub credentials: Option<(String, SecretString)>,
    /// The PEM file of the authorities to trust instead of the operating system's.
    pub authorities: Option<PathBuf>,
    /// The PEM files of our certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// How long an answer to a question may take. Orders have a limit of their own.
    pub answer_limit: Duration,
}

impl PatroniSettings {
    /// Reaches it at these addresses, without a name, trusting the operating system's authorities; an answer may take 5 s.
    pub fn new(urls: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let urls = urls.into_iter().map(Into::into).collect();
        Self { urls, credentials: None, authorities: None, identity: None, answer_limit: Duration::from_secs(5) }
    }

    /// Sets name and password.
    pub fn with_credentials(mut self, user: impl Into<String>, password: SecretString) -> Self {
        self.credentials = Some((user.into(), password));
        self
    }

    /// Sets the file of the authorities to trust.
    pub fn with_authorities(mut self, file: Option<PathBuf>) -> Self {
        self.authorities = file;
        self
    }

    /// Sets the files of our certificate and its key.
    pub fn with_identity(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.identity = Some((certificate.into(), key.into()));
        self
    }

    /// Sets how long an answer to a question may take.
    pub fn with_answer_limit(mut self, limit: Duration) -> Self {
        self.answer_limit = limit;
        self
    }
}
