//! Azure Blob Storage: the container, and thawing from the archive tier. Azure drops unfinished uploads after a week.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use http::{HeaderValue, Method};
use object_store::azure::{AzureAuthorizer, AzureConfigKey, MicrosoftAzure, MicrosoftAzureBuilder, split_sas};
use object_store::client::{HttpRequest, HttpRequestBody};
use object_store::path::Path;
use secrecy::ExposeSecret as _;

use super::error::Attempt;
use super::http::{self as client, Answer, Client};
use super::{ObjectStorage, Provider};
use crate::storage::{
    AzureCredentials, Bucket, Capabilities, StorageError, StorageOptions, ThawOptions, ThawState, ThawTier,
};

impl ObjectStorage {
    /// Takes a prefix of a container of Azure Blob Storage.
    ///
    /// # Errors
    /// [`StorageError::InvalidAddress`] for options that do not fit together.
    pub fn azure(bucket: &Bucket, options: &StorageOptions) -> Result<Self, StorageError> {
        let location = format!("az://{bucket}");
        let invalid =
            |reason: &str| StorageError::InvalidAddress { address: location.clone(), reason: reason.to_owned() };
        let credentials = options.azure.credentials.as_ref();
        let credentials = credentials.ok_or_else(|| invalid("no credentials are given for Azure"))?;
        let account = options.azure.account.as_deref().ok_or_else(|| invalid("no account is given for Azure"))?;
        let endpoint = options.azure.endpoint.clone();
        let endpoint = endpoint.unwrap_or_else(|| format!("https://{account}.blob.core.windows.net"));
        let build = || -> object_store::Result<_> {
            let client = client::client_options(options, Some(&endpoint))?;
            let builder = MicrosoftAzureBuilder::new()
                .with_account(account)
                .with_endpoint(endpoint.clone())
                .with_container_name(&bucket.name)
                .with_client_options(client.clone());
            let builder = with_credentials(builder, credentials)?;
            let once = builder.clone().with_retry(client::once(&options.retry)).build()?;
            let store = builder.with_retry(client::retry_config(&options.retry)).build()?;
            Ok((store, once, Client::new(&client)?))
        };
        let (store, once, http) = build().map_err(|error| invalid(&error.to_string()))?;
        let container = format!("{}/{}", endpoint.trim_end_matches('/'), bucket.name);
        let anonymous = matches!(credentials, AzureCredentials::Anonymous);
        let provider = Azure { store: store.clone(), http, account: account.to_owned(), container, anonymous };
        let mut storage = Self::new(Arc::new(store), location).in_bucket(bucket, options);
        let place = storage.place_mut();
        place.once = Arc::new(once);
        place.provider = Some(Arc::new(provider));
        place.capabilities = Capabilities::new(true, true);
        Ok(storage)
    }
}

fn with_credentials(
    builder: MicrosoftAzureBuilder,
    credentials: &AzureCredentials,
) -> object_store::Result<MicrosoftAzureBuilder> {
    // Said by name: the builder would guess otherwise.
    let kind = |builder: MicrosoftAzureBuilder, kind: &str| builder.with_credential_type(kind);
    Ok(match credentials {
        AzureCredentials::AccessKey(key) => kind(builder.with_access_key(key.expose_secret()), "access_key"),
        AzureCredentials::SasToken(token) => {
            let pairs = split_sas(token.expose_secret()).map_err(|_| object_store::Error::Generic {
                store: "Azure",
                source: "the shared access signature is not the query of a URL".into(),
            })?;
            kind(builder.with_sas_authorization(pairs), "sas_token")
        }
        AzureCredentials::ClientSecret { tenant_id, client_id, client_secret } => {
            let secret = client_secret.expose_secret();
            kind(builder.with_client_secret_authorization(client_id, secret, tenant_id), "client_secret")
        }
        AzureCredentials::ManagedIdentity { client_id } => {
            let builder = kind(builder, "managed_identity");
            match client_id {
                Some(id) => builder.with_client_id(id),
                None => builder,
            }
        }
        AzureCredentials::WorkloadIdentity { tenant_id, client_id, token_file } => kind(
            builder
                .with_tenant_id(tenant_id)
                .with_client_id(client_id)
                .with_federated_token_file(token_file.display().to_string()),
            "workload_identity",
        ),
        AzureCredentials::BearerToken(token) => {
            kind(builder.with_bearer_token_authorization(token.expose_secret()), "bearer_token")
        }
        AzureCredentials::Anonymous => kind(
            builder.with_config(AzureConfigKey::SkipSignature, "true").with_bearer_token_authorization(""),
            "bearer_token",
        ),
    })
}

#[derive(Debug)]
struct Azure {
    store: MicrosoftAzure,
    http: Client,
    account: String,
    /// The container's URL.
    container: String,
    anonymous: bool,
}

impl Azure {
    async fn send(
        &self,
        attempt: Attempt<'_>,
        method: Method,
        path: &Path,
        query: &str,
        headers: &[(&'static str, &'static str)],
    ) -> Result<Answer, StorageError> {
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = method;
        let url = format!("{}/{path}{query}", self.container);
        *request.uri_mut() = url.parse().map_err(|_| attempt.failed("the endpoint makes no URL"))?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_static(value));
        }
        if !self.anonymous {
            let credential = self.store.credentials().get_credential().await.map_err(|error| attempt.error(&error))?;
            let authorizer = AzureAuthorizer::new(&credential, &self.account);
            authorizer.try_authorize(&mut request).map_err(|error| attempt.error(&error))?;
        }
        self.http.send(attempt, request).await
    }
}

#[async_trait]
impl Provider for Azure {
    /// Moves the blob to the hot tier, for good: Azure has no readable copy for some days.
    /// <https://learn.microsoft.com/en-us/rest/api/storageservices/set-blob-tier>
    async fn thaw(&self, attempt: Attempt<'_>, path: &Path, options: &ThawOptions) -> Result<ThawState, StorageError> {
        let head = self.send(attempt, Method::HEAD, path, "", &[]).await?;
        if !head.status.is_success() {
            return Err(head.error(attempt));
        }
        if head.header("x-ms-archive-status").is_some_and(|status| status.starts_with("rehydrate-pending")) {
            return Ok(ThawState::Ongoing);
        }
        if head.header("x-ms-access-tier") != Some("Archive") {
            return Ok(ThawState::Readable);
        }
        let priority = if options.tier == ThawTier::Expedited { "High" } else { "Standard" };
        let headers = [("x-ms-access-tier", "Hot"), ("x-ms-rehydrate-priority", priority), ("content-length", "0")];
        let answer = self.send(attempt, Method::PUT, path, "?comp=tier", &headers).await?;
        match answer.status.as_u16() {
            200 => Ok(ThawState::Readable),
            202 => Ok(ThawState::Ongoing),
            409 if answer.body.contains("BlobBeingRehydrated") => Ok(ThawState::Ongoing),
            _ => Err(answer.error(attempt)),
        }
    }

    async fn sweep(&self, _: Attempt<'_>, _: &Path, _: DateTime<Utc>) -> Result<u64, StorageError> {
        Ok(0)
    }
}
