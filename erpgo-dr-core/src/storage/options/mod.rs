//! What a caller says of a storage place beyond its address. The library reads none of it from the environment by itself,
//! but for the proxy that the HTTP client takes from `HTTPS_PROXY` and its like where [`HttpOptions::proxy`] is not set.

mod azure;
mod gcs;
mod s3;

pub use azure::{AzureCredentials, AzureOptions};
pub use gcs::{GcsCredentials, GcsOptions};
pub use s3::{S3Checksum, S3Credentials, S3Options};

use super::{RetryOptions, TransferOptions};

/// What an address leaves open. Each kind of place takes what concerns it.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct StorageOptions {
    /// How much travels at once.
    pub transfer: TransferOptions,
    /// How long to wait, and how often to ask again.
    pub retry: RetryOptions,
    /// How to connect.
    pub http: HttpOptions,
    /// For `s3://`.
    pub s3: S3Options,
    /// For `gs://`.
    pub gcs: GcsOptions,
    /// For `az://`.
    pub azure: AzureOptions,
}

impl StorageOptions {
    /// Sets how much travels at once.
    pub fn with_transfer(mut self, transfer: TransferOptions) -> Self {
        self.transfer = transfer;
        self
    }

    /// Sets how long to wait, and how often to ask again.
    pub fn with_retry(mut self, retry: RetryOptions) -> Self {
        self.retry = retry;
        self
    }

    /// Sets how to connect.
    pub fn with_http(mut self, http: HttpOptions) -> Self {
        self.http = http;
        self
    }

    /// Sets what concerns `s3://`.
    pub fn with_s3(mut self, s3: S3Options) -> Self {
        self.s3 = s3;
        self
    }

    /// Sets what concerns `gs://`.
    pub fn with_gcs(mut self, gcs: GcsOptions) -> Self {
        self.gcs = gcs;
        self
    }

    /// Sets what concerns `az://`.
    pub fn with_azure(mut self, azure: AzureOptions) -> Self {
        self.azure = azure;
        self
    }
}

/// How to connect. HTTP without TLS is used where an endpoint says `http://`, and nowhere else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpOptions {
    /// Certificates, PEM, that are trusted beside those of the system.
    pub ca_certificates: Option<Vec<u8>>,
    /// The URL of a proxy.
    pub proxy: Option<String>,
}

impl HttpOptions {
    /// Sets the certificates, PEM, that are trusted beside those of the system.
    pub fn with_ca_certificates(mut self, pem: Option<Vec<u8>>) -> Self {
        self.ca_certificates = pem;
        self
    }

    /// Sets the URL of a proxy.
    pub fn with_proxy(mut self, url: Option<String>) -> Self {
        self.proxy = url;
        self
    }
}
