//! Google Cloud Storage.

use std::path::PathBuf;

use secrecy::SecretString;

/// How to reach a bucket. `Debug` shows no secret.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct GcsOptions {
    /// The service's URL; `None` for Google's.
    pub endpoint: Option<String>,
    /// Where credentials come from. There is no default.
    pub credentials: Option<GcsCredentials>,
}

/// Where the credentials of Google Cloud come from.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum GcsCredentials {
    /// The file of a service account's key.
    ServiceAccountFile(PathBuf),
    /// The text of a service account's key, JSON.
    ServiceAccountKey(SecretString),
    /// A file as `gcloud auth application-default login` writes it.
    ApplicationDefault(PathBuf),
    /// The identity of the instance; `gcloud`'s own file in the home folder comes first where there is one.
    InstanceMetadata,
    /// A token that someone else renews.
    BearerToken(SecretString),
    /// No credentials at all.
    Anonymous,
}

impl GcsOptions {
    /// Takes Google's service with these credentials.
    pub fn new(credentials: GcsCredentials) -> Self {
        Self { credentials: Some(credentials), ..Self::default() }
    }

    /// Sets the service's URL.
    pub fn with_endpoint(mut self, endpoint: Option<String>) -> Self {
        self.endpoint = endpoint;
        self
    }

    /// Sets where credentials come from.
    pub fn with_credentials(mut self, credentials: Option<GcsCredentials>) -> Self {
        self.credentials = credentials;
        self
    }
}
