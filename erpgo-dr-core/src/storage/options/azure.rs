//! Azure Blob Storage.

use std::path::PathBuf;

use secrecy::SecretString;

/// How to reach a container. `Debug` shows no secret.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct AzureOptions {
    /// The storage account.
    pub account: Option<String>,
    /// The account's URL; `None` for `https://ACCOUNT.blob.core.windows.net`.
    pub endpoint: Option<String>,
    /// Where credentials come from. There is no default.
    pub credentials: Option<AzureCredentials>,
}

/// Where the credentials of Azure come from.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum AzureCredentials {
    /// The account's key.
    AccessKey(SecretString),
    /// A shared access signature: the query of its URL.
    SasToken(SecretString),
    /// An application's secret.
    ClientSecret {
        /// The tenant.
        tenant_id: String,
        /// The application.
        client_id: String,
        /// Its secret.
        client_secret: SecretString,
    },
    /// The identity of the machine.
    ManagedIdentity {
        /// Which, if it has several.
        client_id: Option<String>,
    },
    /// A Kubernetes token exchanged for an application's.
    WorkloadIdentity {
        /// The tenant.
        tenant_id: String,
        /// The application.
        client_id: String,
        /// The file that holds the token.
        token_file: PathBuf,
    },
    /// A token that someone else renews.
    BearerToken(SecretString),
    /// No credentials at all.
    Anonymous,
}

impl AzureOptions {
    /// Takes an account with these credentials.
    pub fn new(account: impl Into<String>, credentials: AzureCredentials) -> Self {
        Self { account: Some(account.into()), endpoint: None, credentials: Some(credentials) }
    }

    /// Sets the account.
    pub fn with_account(mut self, account: Option<String>) -> Self {
        self.account = account;
        self
    }

    /// Sets the account's URL.
    pub fn with_endpoint(mut self, endpoint: Option<String>) -> Self {
        self.endpoint = endpoint;
        self
    }

    /// Sets where credentials come from.
    pub fn with_credentials(mut self, credentials: Option<AzureCredentials>) -> Self {
        self.credentials = credentials;
        self
    }
}
