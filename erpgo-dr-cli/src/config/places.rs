//! How storage places are reached. Credentials come from the environment or from files, and never stand in here.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::str::FromStr;

use bytesize::ByteSize;
use erpgo_dr_core::storage::WritePolicy;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

/// The table `[storage]`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct StorageConfig {
    /// With replicas: `primary` (a replica may miss a write, and is named) or `all` (then the write fails).
    pub write_policy: Option<WritePolicyConfig>,
    /// Retries of a request.
    pub max_retries: Option<usize>,
    /// Bytes a second of this process, to and from all places together: `50MiB`. As fast as it can where nothing is said.
    pub bandwidth: Option<BandwidthConfig>,
    /// For `s3://`.
    pub s3: S3Config,
    /// For `gs://`.
    pub gcs: GcsConfig,
    /// For `az://`.
    pub azure: AzureConfig,
    /// How to connect.
    pub http: HttpConfig,
}

/// Bytes a second, more than 0: a whole number, or text with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BandwidthConfig(NonZeroU64);

impl BandwidthConfig {
    /// Returns the bytes a second.
    pub fn bytes(self) -> u64 {
        self.0.get()
    }

    fn new(bytes: u64) -> Result<Self, String> {
        NonZeroU64::new(bytes).map(Self).ok_or_else(|| "a bandwidth of 0 lets nothing pass".to_owned())
    }
}

impl FromStr for BandwidthConfig {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let size: ByteSize =
            text.parse().map_err(|_| format!("{text:?} is no number of bytes: expected 50MiB, 50MB or 50000000"))?;
        Self::new(size.as_u64())
    }
}

impl<'de> Deserialize<'de> for BandwidthConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BandwidthVisitor)
    }
}

struct BandwidthVisitor;

impl Visitor<'_> for BandwidthVisitor {
    type Value = BandwidthConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes a second, as \"50MiB\" or a whole number")
    }

    fn visit_i64<E: Error>(self, bytes: i64) -> Result<BandwidthConfig, E> {
        let bytes = u64::try_from(bytes).map_err(|_| E::custom("a bandwidth is not negative"))?;
        self.visit_u64(bytes)
    }

    fn visit_u64<E: Error>(self, bytes: u64) -> Result<BandwidthConfig, E> {
        BandwidthConfig::new(bytes).map_err(E::custom)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<BandwidthConfig, E> {
        text.parse().map_err(E::custom)
    }
}

impl JsonSchema for BandwidthConfig {
    fn schema_name() -> Cow<'static, str> {
        "BandwidthConfig".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Bytes a second, more than 0: a whole number, or text with a unit, as 50MiB or 50MB.",
            "anyOf": [
                { "type": "integer", "minimum": 1 },
                { "type": "string", "pattern": "^[0-9]+([.][0-9]+)? *([KkMmGgTtPpEe][Ii]?)?[Bb]?$" },
            ],
        })
    }
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

#[cfg(test)]
mod tests {
    use super::BandwidthConfig;
    use crate::config::Config;

    fn bandwidth(value: &str) -> Result<Option<u64>, String> {
        let config = Config::parse(&format!("[storage]\nbandwidth = {value}\n")).map_err(|error| error.to_string())?;
        Ok(config.storage.bandwidth.map(BandwidthConfig::bytes))
    }

    #[test]
    fn a_bandwidth_is_a_number_or_has_a_unit() {
        for (value, bytes) in [
            ("'50MiB'", 50 << 20),
            ("'50 MiB'", 50 << 20),
            ("'50MB'", 50_000_000),
            ("'1.5GiB'", 3 << 29),
            ("'64k'", 64_000),
            ("'1000'", 1000),
            ("1000", 1000),
        ] {
            assert_eq!(bandwidth(value), Ok(Some(bytes)), "{value}");
        }
        assert_eq!(Config::parse("[storage]").unwrap().storage.bandwidth, None);
    }

    #[test]
    fn what_is_no_bandwidth_is_refused_with_its_line() {
        for value in
            ["0", "-1", "'0MiB'", "'0.1B'", "''", "'fast'", "'MiB'", "'-1MiB'", "'50MiB/s'", "1.5", "true", "[]"]
        {
            let error = bandwidth(value).unwrap_err();
            assert!(error.contains("line 2"), "{value}: {error}");
        }
    }
}
