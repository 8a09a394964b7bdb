//! The places of the repository: addresses, and what the configuration and the environment say about each.

use std::path::PathBuf;
use std::sync::Arc;

use erpgo_dr_core::storage::{
    self, AzureCredentials, AzureOptions, Bandwidth, GcsCredentials, GcsOptions, HttpOptions, LimitedStorage,
    ReplicatedStorage, RetryOptions, S3Credentials, S3Options, Storage, StorageAddress, StorageOptions,
};
use secrecy::SecretString;

use super::Context;
use crate::config::{self, AzureConfig, GcsConfig, ReplicaConfig, S3Config};
use crate::error::{self, CliError};

/// The storage of a repository.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// What the repository is opened at.
    pub(crate) storage: Arc<dyn Storage>,
    /// The same, where there is more than one place.
    pub(crate) replicated: Option<ReplicatedStorage>,
}

impl Places {
    /// Returns where each single place is.
    pub(crate) fn locations(&self) -> Vec<String> {
        match &self.replicated {
            Some(replicated) => replicated.places().iter().map(|place| place.location()).collect(),
            None => vec![self.storage.location()],
        }
    }
}

impl Context {
    /// Opens the repository's place, with its replicas if there are any.
    pub(crate) fn places(&self) -> Result<Places, CliError> {
        let address = self.repository_address()?;
        let primary = self.limited(storage::open(&address, &self.storage_options(None)?)?);
        let replicas = self.replicas()?;
        if replicas.is_empty() {
            return Ok(Places { storage: primary, replicated: None });
        }
        let policy = self.config.storage.write_policy.map(Into::into).unwrap_or_default();
        let replicated = ReplicatedStorage::new(primary, replicas, policy);
        Ok(Places { storage: Arc::new(replicated.clone()), replicated: Some(replicated) })
    }

    /// Returns whether the repository has several places.
    pub(crate) fn has_replicas(&self) -> bool {
        !self.global.replica.is_empty() || !self.config.replicas.is_empty()
    }

    /// Returns the address that any of the sources names.
    pub(crate) fn named_repository(&self) -> Option<String> {
        let named = self.global.repository.clone().or_else(|| self.config.repository.clone());
        named.or_else(|| self.env_file.repository())
    }

    fn repository_address(&self) -> Result<StorageAddress, CliError> {
        let Some(text) = self.named_repository() else {
            return Err(CliError::usage("no repository was named", naming_hint()));
        };
        Ok(text.parse()?)
    }

    fn replicas(&self) -> Result<Vec<Arc<dyn Storage>>, CliError> {
        let given: Vec<ReplicaConfig> = if self.global.replica.is_empty() {
            self.config.replicas.clone()
        } else {
            let known = |address: &String| self.config.replicas.iter().find(|replica| replica.address == *address);
            let named = |address: &String| known(address).cloned().unwrap_or_else(|| ReplicaConfig::plain(address));
            self.global.replica.iter().map(named).collect()
        };
        given.iter().map(|replica| self.replica(replica)).collect()
    }

    /// Opens a place by its address alone, with what the configuration and the environment say of its kind.
    pub(crate) fn place(&self, address: &str) -> Result<Arc<dyn Storage>, CliError> {
        self.replica(&ReplicaConfig::plain(address))
    }

    fn replica(&self, replica: &ReplicaConfig) -> Result<Arc<dyn Storage>, CliError> {
        let address: StorageAddress = replica.address.parse()?;
        Ok(self.limited(storage::open(&address, &self.storage_options(Some(replica))?)?))
    }

    /// Has a single place keep to the bandwidths that it shares with others.
    fn limited(&self, storage: Arc<dyn Storage>) -> Arc<dyn Storage> {
        let limit = |storage, bandwidth: &Bandwidth| Arc::new(LimitedStorage::new(storage, bandwidth.clone())) as _;
        self.bandwidths.iter().fold(storage, limit)
    }

    fn storage_options(&self, replica: Option<&ReplicaConfig>) -> Result<StorageOptions, CliError> {
        let config = &self.config.storage;
        let s3 = replica.and_then(|replica| replica.s3.as_ref()).unwrap_or(&config.s3);
        let gcs = replica.and_then(|replica| replica.gcs.as_ref()).unwrap_or(&config.gcs);
        let azure = replica.and_then(|replica| replica.azure.as_ref()).unwrap_or(&config.azure);
        let mut retry = RetryOptions::default();
        let from_env_file = self.env_file.number("BACKUP_MAX_RETRIES")?.map(|number| number as usize);
        if let Some(retries) = config.max_retries.or(from_env_file) {
            retry = retry.with_max_retries(retries);
        }
        let authorities = match &config.http.ca_file {
            Some(path) => Some(std::fs::read(path).map_err(error::reading(path))?),
            None => None,
        };
        let http = HttpOptions::default().with_ca_certificates(authorities).with_proxy(config.http.proxy.clone());
        Ok(StorageOptions::default()
            .with_retry(retry)
            .with_http(http)
            .with_s3(s3_options(s3, self.env_file.value("BACKUP_S3_REGION")))
            .with_gcs(gcs_options(gcs))
            .with_azure(azure_options(azure)))
    }
}

impl ReplicaConfig {
    fn plain(address: &str) -> Self {
        Self { address: address.to_owned(), s3: None, gcs: None, azure: None }
    }
}

fn naming_hint() -> String {
    match config::hidden() {
        // As the package for Debian lays it: only the service's user reads it, and the keys that it names.
        Some(path) => format!(
            "this user may not look at {}: run this as the one who may (`sudo -u erpgo-dr erpgo-dr ...`), or give --repository ADDRESS",
            path.display()
        ),
        None => {
            "give --repository ADDRESS, set ERPGO_DR_REPOSITORY, or write `repository = \"...\"` into erpgo-dr.toml"
                .to_owned()
        }
    }
}

fn s3_options(config: &S3Config, region: Option<&str>) -> S3Options {
    let from_environment = |names: &[&str]| names.iter().find_map(|name| variable(name));
    let endpoint = config.endpoint.clone();
    let endpoint = endpoint.or_else(|| from_environment(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]));
    let named = config.region.clone().or_else(|| from_environment(&["AWS_REGION", "AWS_DEFAULT_REGION"]));
    S3Options::default()
        .with_endpoint(endpoint)
        .with_region(named.or_else(|| region.map(str::to_owned)))
        .with_credentials(s3_credentials(config))
        .with_virtual_hosted(config.virtual_hosted)
        .with_kms_key(config.kms_key.clone())
}

fn s3_credentials(config: &S3Config) -> Option<S3Credentials> {
    use crate::config::S3CredentialsConfig as Source;
    if let Some(argv) = &config.credentials_command {
        return Some(S3Credentials::Command { argv: argv.clone() });
    }
    match config.credentials {
        Some(Source::Instance) => Some(S3Credentials::InstanceMetadata),
        Some(Source::Anonymous) => Some(S3Credentials::Anonymous),
        Some(Source::Environment) | None => {
            let prefix = config.credentials_prefix.as_deref().unwrap_or("AWS");
            key_pair(prefix).or_else(role_of_the_host)
        }
    }
}

fn key_pair(prefix: &str) -> Option<S3Credentials> {
    let access_key = variable(&format!("{prefix}_ACCESS_KEY_ID"))?;
    let secret_key = secret(&format!("{prefix}_SECRET_ACCESS_KEY"))?;
    Some(S3Credentials::Static { access_key, secret_key, session_token: secret(&format!("{prefix}_SESSION_TOKEN")) })
}

/// What EKS and ECS put into the environment of a container.
fn role_of_the_host() -> Option<S3Credentials> {
    if let (Some(token_file), Some(role_arn)) = (variable("AWS_WEB_IDENTITY_TOKEN_FILE"), variable("AWS_ROLE_ARN")) {
        return Some(S3Credentials::WebIdentity { token_file: token_file.into(), role_arn });
    }
    if let Some(relative_uri) = variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
        return Some(S3Credentials::ContainerRole { relative_uri });
    }
    let full_uri = variable("AWS_CONTAINER_CREDENTIALS_FULL_URI")?;
    let token_file = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")?.into();
    Some(S3Credentials::PodIdentity { full_uri, token_file })
}

fn gcs_options(config: &GcsConfig) -> GcsOptions {
    let file = config.service_account_file.clone();
    let file = file.or_else(|| variable("GOOGLE_APPLICATION_CREDENTIALS").map(PathBuf::from));
    let credentials = match (config.anonymous, config.instance, file) {
        (true, _, _) => Some(GcsCredentials::Anonymous),
        (_, true, _) => Some(GcsCredentials::InstanceMetadata),
        (_, _, file) => file.map(GcsCredentials::ServiceAccountFile),
    };
    GcsOptions::default().with_endpoint(config.endpoint.clone()).with_credentials(credentials)
}

fn azure_options(config: &AzureConfig) -> AzureOptions {
    let account = config.account.clone();
    let account =
        account.or_else(|| variable("AZURE_STORAGE_ACCOUNT")).or_else(|| variable("AZURE_STORAGE_ACCOUNT_NAME"));
    let key = || secret("AZURE_STORAGE_KEY").or_else(|| secret("AZURE_STORAGE_ACCOUNT_KEY"));
    let credentials = match config.managed_identity {
        true => Some(AzureCredentials::ManagedIdentity { client_id: variable("AZURE_CLIENT_ID") }),
        false => key()
            .map(AzureCredentials::AccessKey)
            .or_else(|| secret("AZURE_STORAGE_SAS_TOKEN").map(AzureCredentials::SasToken)),
    };
    AzureOptions::default().with_account(account).with_endpoint(config.endpoint.clone()).with_credentials(credentials)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn secret(name: &str) -> Option<SecretString> {
    variable(name).map(SecretString::from)
}
