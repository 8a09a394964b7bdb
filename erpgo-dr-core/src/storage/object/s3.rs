//! Amazon S3: the bucket, thawing from Glacier, and unfinished multipart uploads.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use http::Method;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, Checksum};
use object_store::client::{HttpRequest, HttpRequestBody};
use object_store::multipart::MultipartStore as _;
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer as _};
use secrecy::ExposeSecret as _;

use super::error::Attempt;
use super::http::{self as client, Answer, Client};
use super::s3_command::CommandCredentials;
use super::{ObjectStorage, Provider};
use crate::storage::{
    Bucket, Capabilities, S3Checksum, S3Credentials, S3Options, StorageError, StorageOptions, ThawOptions, ThawState,
    ThawTier,
};

/// How long a signed request may be under way.
const SIGNATURE_LIFE: Duration = Duration::from_secs(300);

impl ObjectStorage {
    /// Takes a prefix of an S3 bucket.
    ///
    /// # Errors
    /// [`StorageError::InvalidAddress`] for options that do not fit together.
    pub fn s3(bucket: &Bucket, options: &StorageOptions) -> Result<Self, StorageError> {
        let location = format!("s3://{bucket}");
        let invalid =
            |reason: &str| StorageError::InvalidAddress { address: location.clone(), reason: reason.to_owned() };
        let credentials = options.s3.credentials.as_ref().ok_or_else(|| invalid("no credentials are given for S3"))?;
        let build = || -> object_store::Result<_> {
            let client = client::client_options(options, options.s3.endpoint.as_deref())?;
            let mut builder = builder(&bucket.name, &options.s3).with_client_options(client.clone());
            builder = with_credentials(builder, credentials);
            let once = builder.clone().with_retry(client::once(&options.retry)).build()?;
            let store = builder.with_retry(client::retry_config(&options.retry)).build()?;
            Ok((store, once, Client::new(&client)?))
        };
        let (store, once, http) = build().map_err(|error| invalid(&error.to_string()))?;
        let provider = S3 { store: store.clone(), http };
        let mut storage = Self::new(Arc::new(store), location).in_bucket(bucket, options);
        let place = storage.place_mut();
        place.once = Arc::new(once);
        place.provider = Some(Arc::new(provider));
        place.capabilities = Capabilities::new(true, true);
        Ok(storage)
    }
}

fn builder(bucket: &str, options: &S3Options) -> AmazonS3Builder {
    // A bucket with a dot is no host name that a wildcard certificate covers.
    let virtual_hosted = options.virtual_hosted.unwrap_or(options.endpoint.is_none() && !bucket.contains('.'));
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(options.region.as_deref().unwrap_or("us-east-1"))
        .with_virtual_hosted_style_request(virtual_hosted)
        // One key a time is what a delete of ours is, and what every server knows.
        .with_disable_bulk_delete(true);
    if let Some(endpoint) = &options.endpoint {
        builder = builder
            .with_endpoint(if virtual_hosted { with_bucket(endpoint, bucket) } else { endpoint.clone() })
            .with_allow_http(endpoint.starts_with("http://"));
    }
    if let Some(checksum) = options.checksum {
        builder = builder.with_checksum_algorithm(match checksum {
            S3Checksum::Sha256 => Checksum::SHA256,
            S3Checksum::Crc64Nvme => Checksum::CRC64NVME,
        });
    }
    match &options.kms_key {
        Some(key) => builder.with_sse_kms_encryption(key),
        None => builder,
    }
}

/// Puts the bucket before the host of an endpoint.
fn with_bucket(endpoint: &str, bucket: &str) -> String {
    match endpoint.split_once("://") {
        Some((scheme, host)) if !host.starts_with(&format!("{bucket}.")) => format!("{scheme}://{bucket}.{host}"),
        _ => endpoint.to_owned(),
    }
}

fn with_credentials(builder: AmazonS3Builder, credentials: &S3Credentials) -> AmazonS3Builder {
    use AmazonS3ConfigKey as Key;
    match credentials {
        S3Credentials::Static { access_key, secret_key, session_token } => {
            let builder = builder.with_access_key_id(access_key).with_secret_access_key(secret_key.expose_secret());
            match session_token {
                Some(token) => builder.with_token(token.expose_secret()),
                None => builder,
            }
        }
        S3Credentials::InstanceMetadata => builder,
        S3Credentials::ContainerRole { relative_uri } => {
            builder.with_config(Key::ContainerCredentialsRelativeUri, relative_uri)
        }
        S3Credentials::PodIdentity { full_uri, token_file } => builder
            .with_config(Key::ContainerCredentialsFullUri, full_uri)
            .with_config(Key::ContainerAuthorizationTokenFile, token_file.display().to_string()),
        S3Credentials::WebIdentity { token_file, role_arn } => builder
            .with_config(Key::WebIdentityTokenFile, token_file.display().to_string())
            .with_config(Key::RoleArn, role_arn),
        S3Credentials::Command { argv } => builder.with_credentials(Arc::new(CommandCredentials::new(argv.clone()))),
        S3Credentials::Anonymous => builder.with_skip_signature(true),
    }
}

#[derive(Debug)]
struct S3 {
    store: AmazonS3,
    http: Client,
}

impl S3 {
    async fn send(
        &self,
        attempt: Attempt<'_>,
        method: Method,
        path: &Path,
        query: &[(&str, &str)],
        body: String,
    ) -> Result<Answer, StorageError> {
        let query = SignedUrlOptions::new().with_query(query.iter().copied());
        let url = self.store.signed_url_opts(method.clone(), path, SIGNATURE_LIFE, &query).await;
        let url = url.map_err(|error| attempt.error(&error))?;
        let mut request = HttpRequest::new(HttpRequestBody::from(body));
        *request.method_mut() = method;
        *request.uri_mut() = url.as_str().parse().map_err(|_| attempt.failed("the endpoint makes no URL"))?;
        self.http.send(attempt, request).await
    }
}

#[async_trait]
impl Provider for S3 {
    /// The states are those of `x-amz-restore`:
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html#AmazonS3-HeadObject-response-header-Restore>.
    async fn thaw(&self, attempt: Attempt<'_>, path: &Path, options: &ThawOptions) -> Result<ThawState, StorageError> {
        let head = self.send(attempt, Method::HEAD, path, &[], String::new()).await?;
        if !head.status.is_success() {
            return Err(head.error(attempt));
        }
        if let Some(restore) = head.header("x-amz-restore") {
            let ongoing = restore.contains("ongoing-request=\"true\"");
            return Ok(if ongoing { ThawState::Ongoing } else { ThawState::Readable });
        }
        let class = head.header("x-amz-storage-class").unwrap_or_default();
        let tier_archived = head.header("x-amz-archive-status").is_some();
        if !tier_archived && !matches!(class, "GLACIER" | "DEEP_ARCHIVE") {
            return Ok(ThawState::Readable);
        }
        let body = restore_request(options, tier_archived);
        let answer = self.send(attempt, Method::POST, path, &[("restore", "")], body).await?;
        match answer.status.as_u16() {
            // 200: the readable copy is there already, and now lives longer.
            200 => Ok(ThawState::Readable),
            202 => Ok(ThawState::Ongoing),
            409 if answer.body.contains("RestoreAlreadyInProgress") => Ok(ThawState::Ongoing),
            _ => Err(answer.error(attempt)),
        }
    }

    async fn sweep(&self, attempt: Attempt<'_>, prefix: &Path, older_than: DateTime<Utc>) -> Result<u64, StorageError> {
        let folder = if prefix.as_ref().is_empty() { String::new() } else { format!("{prefix}/") };
        let (mut key_marker, mut id_marker) = (String::new(), String::new());
        let mut removed = 0;
        loop {
            let query = [
                ("uploads", ""),
                ("prefix", folder.as_str()),
                ("key-marker", key_marker.as_str()),
                ("upload-id-marker", id_marker.as_str()),
            ];
            // An empty marker is an error to some servers.
            let query: Vec<_> =
                query.into_iter().filter(|(name, value)| *name == "uploads" || !value.is_empty()).collect();
            let answer = self.send(attempt, Method::GET, &Path::default(), &query, String::new()).await?;
            if !answer.status.is_success() {
                return Err(answer.error(attempt));
            }
            for upload in unfinished_uploads(&answer.body) {
                if upload.begun < older_than && upload.key.starts_with(&folder) {
                    removed += self.abort(attempt, &upload).await?;
                }
            }
            let next = (element(&answer.body, "NextKeyMarker"), element(&answer.body, "NextUploadIdMarker"));
            match (element(&answer.body, "IsTruncated"), next) {
                (Some("true"), (Some(key), id)) if (key, id.unwrap_or_default()) != (&key_marker, &id_marker) => {
                    (key_marker, id_marker) = (key.to_owned(), id.unwrap_or_default().to_owned());
                }
                _ => return Ok(removed),
            }
        }
    }
}

impl S3 {
    async fn abort(&self, attempt: Attempt<'_>, upload: &Unfinished<'_>) -> Result<u64, StorageError> {
        let Ok(path) = Path::parse(upload.key) else { return Ok(0) };
        match self.store.abort_multipart(&path, &upload.id.to_owned()).await {
            Ok(()) => Ok(1),
            // Finished or removed since the list was made.
            Err(object_store::Error::NotFound { .. }) => Ok(0),
            Err(error) => Err(attempt.error(&error)),
        }
    }
}

fn restore_request(options: &ThawOptions, tier_archived: bool) -> String {
    let tier = match options.tier {
        ThawTier::Expedited => "Expedited",
        ThawTier::Standard => "Standard",
        ThawTier::Bulk => "Bulk",
    };
    // An object of Intelligent-Tiering moves up for good, and S3 refuses a number of days.
    let days = if tier_archived { String::new() } else { format!("<Days>{}</Days>", options.days.max(1)) };
    format!(
        "<RestoreRequest xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{days}\
         <GlacierJobParameters><Tier>{tier}</Tier></GlacierJobParameters></RestoreRequest>"
    )
}

struct Unfinished<'a> {
    key: &'a str,
    id: &'a str,
    begun: DateTime<Utc>,
}

/// Reads the uploads of a `ListMultipartUploads` answer. Keys of ours hold nothing that XML escapes; others are left alone.
fn unfinished_uploads(body: &str) -> Vec<Unfinished<'_>> {
    let uploads = body.split("<Upload>").skip(1).filter_map(|rest| rest.split_once("</Upload>"));
    let parsed = uploads.filter_map(|(upload, _)| {
        let begun = DateTime::parse_from_rfc3339(element(upload, "Initiated")?).ok()?.to_utc();
        Some(Unfinished { key: element(upload, "Key")?, id: element(upload, "UploadId")?, begun })
    });
    parsed.filter(|upload| !upload.key.contains('&') && !upload.id.contains('&')).collect()
}

fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_goes_before_the_host() {
        assert_eq!(with_bucket("https://s3.example.com:9", "b"), "https://b.s3.example.com:9");
        assert_eq!(with_bucket("https://b.s3.example.com", "b"), "https://b.s3.example.com");
    }

    #[test]
    fn unfinished_uploads_are_read() {
        let body = "<ListMultipartUploadsResult><Upload><Key>a/b</Key><UploadId>u1</UploadId><Initiated>\
                    2026-11-24T04:00:00.000Z</Initiated></Upload><Upload><Key>c&amp;d</Key><UploadId>u2</UploadId>\
                    <Initiated>2026-11-24T04:00:00.000Z</Initiated></Upload></ListMultipartUploadsResult>";
        let found: Vec<_> = unfinished_uploads(body).iter().map(|upload| (upload.key, upload.id)).collect();
        assert_eq!(found, [("a/b", "u1")]);
    }
}
