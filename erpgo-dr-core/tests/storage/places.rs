//! Places over real servers.

use std::time::Duration;

use erpgo_dr_core::storage::{
    AzureCredentials, AzureOptions, GcsCredentials, GcsOptions, RetryOptions, S3Credentials, S3Options, StorageOptions,
};
use erpgo_dr_core::types::ObjectKey;
use erpgo_dr_testkit::{Azurite, GcsServer, SeaweedFs};

pub(crate) fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

/// Gives up soon, so that a test of a dead server is quick.
pub(crate) fn impatient() -> RetryOptions {
    RetryOptions::default()
        .with_max_retries(2)
        .with_max_backoff(Duration::from_millis(200))
        .with_read_timeout(Duration::from_secs(2))
        .with_request_timeout(Duration::from_secs(10))
        .with_retry_timeout(Duration::from_secs(10))
}

pub(crate) fn s3(endpoint: &str, secret: &str) -> StorageOptions {
    let credentials = S3Credentials::key_pair(SeaweedFs::ACCESS_KEY, secret);
    let options = S3Options::new(credentials).with_endpoint(Some(endpoint.to_owned()));
    StorageOptions::default().with_s3(options.with_region(Some(SeaweedFs::REGION.to_owned()))).with_retry(impatient())
}

pub(crate) fn seaweedfs(endpoint: &str) -> StorageOptions {
    s3(endpoint, SeaweedFs::SECRET_KEY)
}

pub(crate) fn azurite(server: &Azurite) -> StorageOptions {
    let credentials = AzureCredentials::AccessKey(Azurite::KEY.into());
    let options = AzureOptions::new(Azurite::ACCOUNT, credentials).with_endpoint(Some(server.endpoint()));
    StorageOptions::default().with_azure(options).with_retry(impatient())
}

pub(crate) fn gcs(server: &GcsServer) -> StorageOptions {
    let options = GcsOptions::new(GcsCredentials::Anonymous).with_endpoint(Some(server.endpoint()));
    StorageOptions::default().with_gcs(options).with_retry(impatient())
}
