//! How storage places are reached. Credentials come from the environment or from files, and never stand in here.

use std::path::PathBuf;

use erpgo_dr_core::storage::WritePolicy;
use schemars::JsonSchema;
use serde::Deserialize;

/// The table `[storage]`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct StorageConfig {
    /// With replicas: `primary` (a replica may miss a write, and is named) or `all` (then the write fails).
    pub write_policy: Option<WritePolicyConfig>,
    /// Retries of a request.
    pub max_retries: Option<usize>,
    /// For `s3://`.
    pub s3: S3Config,
    /// For `gs://`.
    pub gcs: GcsConfig,
    /// For `az://`.
    pub azure: AzureConfig,
    /// How to connect.
    pub http: HttpConfig,
}

/// When a write to several places has succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WritePolicyConfig {
    /// When the primary has it.
    Primary,
    /// When all have it.
    All,
}

impl From<WritePolicyConfig> for WritePolicy {
    fn from(policy: WritePolicyConfig) -> Self {
        match policy {
            WritePolicyConfig::Primary => Self::Primary,
            WritePolicyConfig::All => Self::All,
        }
    }
}

/// An entry of `[[replica]]`. What it does not say is as in `[storage]`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ReplicaConfig {
    /// Its address.
    pub address: String,
    /// For `s3://`.
    pub s3: Option<S3Config>,
    /// For `gs://`.
    pub gcs: Option<GcsConfig>,
    /// For `az://`.
    pub azure: Option<AzureConfig>,
}

/// The table `s3`. Credentials are `AWS_ACCESS_KEY_ID` and its kin unless `credentials` says otherwise.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct S3Config {
    /// The service's URL.
    pub endpoint: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// Whether the bucket is part of the host's name.
    pub virtual_hosted: Option<bool>,
    /// The KMS key with which the server encrypts on top.
    pub kms_key: Option<String>,
    /// Where credentials come from.
    pub credentials: Option<S3CredentialsConfig>,
    /// The prefix of the variables with the key pair, instead of `AWS`: `SECOND` reads `SECOND_ACCESS_KEY_ID`...
    pub credentials_prefix: Option<String>,
    /// A command that prints credentials, as `credential_process` of AWS's tools.
    pub credentials_command: Option<Vec<String>>,
}

/// Where S3 credentials come from, by word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum S3CredentialsConfig {
    /// A key pair in the environment.
    Environment,
    /// The identity of the EC2 instance.
    Instance,
    /// No signature.
    Anonymous,
}

/// The table `gcs`. Credentials are `GOOGLE_APPLICATION_CREDENTIALS` unless said otherwise.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct GcsConfig {
    /// The service's URL.
    pub endpoint: Option<String>,
    /// The file of a service account's key.
    pub service_account_file: Option<PathBuf>,
    /// Take the identity of the instance.
    pub instance: bool,
    /// Send no credentials.
    pub anonymous: bool,
}

/// The table `azure`. The key is `AZURE_STORAGE_KEY` (or `AZURE_STORAGE_SAS_TOKEN`) unless said otherwise.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct AzureConfig {
    /// The storage account; else `AZURE_STORAGE_ACCOUNT`.
    pub account: Option<String>,
    /// The account's URL.
    pub endpoint: Option<String>,
    /// Take the identity of the machine.
    pub managed_identity: bool,
}

/// The table `http`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HttpConfig {
    /// Certificates, PEM, that are trusted beside those of the system.
    pub ca_file: Option<PathBuf>,
    /// The URL of a proxy.
    pub proxy: Option<String>,
}
