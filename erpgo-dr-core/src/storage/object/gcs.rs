//! Google Cloud Storage. Its archive class is read like any other; unfinished uploads are left to a lifecycle rule.

use std::sync::Arc;

use object_store::StaticCredentialProvider;
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder};
use secrecy::ExposeSecret as _;

use super::{ObjectStorage, http as client};
use crate::storage::{Bucket, Capabilities, GcsCredentials, StorageError, StorageOptions};

impl ObjectStorage {
    /// Takes a prefix of a bucket of Google Cloud Storage.
    ///
    /// # Errors
    /// [`StorageError::InvalidAddress`] for options that do not fit together, or a key file that cannot be read.
    pub fn gcs(bucket: &Bucket, options: &StorageOptions) -> Result<Self, StorageError> {
        let location = format!("gs://{bucket}");
        let invalid =
            |reason: &str| StorageError::InvalidAddress { address: location.clone(), reason: reason.to_owned() };
        let credentials =
            options.gcs.credentials.as_ref().ok_or_else(|| invalid("no credentials are given for GCS"))?;
        let build = || -> object_store::Result<_> {
            let client = client::client_options(options, options.gcs.endpoint.as_deref())?;
            let mut builder =
                GoogleCloudStorageBuilder::new().with_bucket_name(&bucket.name).with_client_options(client);
            if let Some(endpoint) = &options.gcs.endpoint {
                builder = builder.with_base_url(endpoint.trim_end_matches('/'));
            }
            builder = with_credentials(builder, credentials);
            let once = builder.clone().with_retry(client::once(&options.retry)).build()?;
            Ok((builder.with_retry(client::retry_config(&options.retry)).build()?, once))
        };
        let (store, once) = build().map_err(|error| invalid(&error.to_string()))?;
        let mut storage = Self::new(Arc::new(store), location).in_bucket(bucket, options);
        let place = storage.place_mut();
        place.once = Arc::new(once);
        place.capabilities = Capabilities::new(true, false);
        Ok(storage)
    }
}

fn with_credentials(builder: GoogleCloudStorageBuilder, credentials: &GcsCredentials) -> GoogleCloudStorageBuilder {
    let bearer = |token: &str| Arc::new(StaticCredentialProvider::new(GcpCredential { bearer: token.to_owned() }));
    match credentials {
        GcsCredentials::ServiceAccountFile(path) => builder.with_service_account_path(path.display().to_string()),
        GcsCredentials::ServiceAccountKey(key) => builder.with_service_account_key(key.expose_secret()),
        GcsCredentials::ApplicationDefault(path) => builder.with_application_credentials(path.display().to_string()),
        GcsCredentials::InstanceMetadata => builder,
        GcsCredentials::BearerToken(token) => builder.with_credentials(bearer(token.expose_secret())),
        // An unused provider keeps the builder from looking for credentials of the user who runs this.
        GcsCredentials::Anonymous => builder.with_credentials(bearer("")).with_skip_signature(true),
    }
}
