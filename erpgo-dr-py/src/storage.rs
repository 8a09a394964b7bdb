//! From addresses and options to storage places.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use erpgo_dr_core::Repository;
use erpgo_dr_core::storage::{
    AzureCredentials, AzureOptions, GcsCredentials, GcsOptions, HttpOptions, ReplicatedStorage, RetryOptions,
    S3Checksum, S3Credentials, S3Options, SpooledStorage, Storage, StorageAddress, StorageError, StorageOptions,
    TransferOptions, WritePolicy,
};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use secrecy::SecretString;

use crate::arguments::{choice, duration};
use crate::errors::{checked, invalid};

/// The place of a repository, or its several places as one.
pub(crate) struct Places {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) replicated: Option<ReplicatedStorage>,
}

impl Places {
    /// Puts a spool of this host before the place, if there is one or the place says of what.
    pub(crate) async fn spooled(&mut self, folder: &Path) -> Result<Option<SpooledStorage>, StorageError> {
        let locations = match &self.replicated {
            Some(replicated) => replicated.places().iter().map(|place| place.location()).collect(),
            None => vec![self.storage.location()],
        };
        let found = Repository::spooled_place(Arc::clone(&self.storage), &locations, folder).await?;
        let Some(found) = found else { return Ok(None) };
        self.storage = Arc::new(found.storage.clone());
        Ok(Some(found.storage))
    }
}

/// Opens the place at `address`, and those at `replicas` beside it: addresses, or pairs of address and options.
pub(crate) fn open(
    py: Python<'_>,
    address: &str,
    options: Option<Bound<'_, PyDict>>,
    replicas: Option<Vec<Bound<'_, PyAny>>>,
    write_policy: &str,
) -> PyResult<Places> {
    let policies = [("primary", WritePolicy::Primary), ("all", WritePolicy::All)];
    let policy = choice(py, "write_policy", write_policy, &policies)?;
    let primary = place(py, address, options)?;
    let secondaries = replicas.unwrap_or_default().iter().map(replica).collect::<PyResult<Vec<_>>>()?;
    if secondaries.is_empty() {
        return Ok(Places { storage: primary, replicated: None });
    }
    let replicated = ReplicatedStorage::new(primary, secondaries, policy);
    Ok(Places { storage: Arc::new(replicated.clone()), replicated: Some(replicated) })
}

fn replica(value: &Bound<'_, PyAny>) -> PyResult<Arc<dyn Storage>> {
    if let Ok(address) = value.extract::<String>() {
        return place(value.py(), &address, None);
    }
    let (address, options): (String, Bound<'_, PyDict>) = value.extract()?;
    place(value.py(), &address, Some(options))
}

fn place(py: Python<'_>, address: &str, options: Option<Bound<'_, PyDict>>) -> PyResult<Arc<dyn Storage>> {
    let address: StorageAddress = checked(py, address.parse())?;
    let mut fields = Fields { py, options: options.map(|options| options.copy()).transpose()? };
    let mut chosen = common(&mut fields)?;
    chosen = match &address {
        StorageAddress::S3(_) => chosen.with_s3(s3(&mut fields)?),
        StorageAddress::Gcs(_) => chosen.with_gcs(gcs(&mut fields)?),
        StorageAddress::Azure(_) => chosen.with_azure(azure(&mut fields)?),
        _ => chosen,
    };
    fields.none_left(&address)?;
    checked(py, erpgo_dr_core::storage::open(&address, &chosen))
}

/// The options that have not been taken yet.
struct Fields<'py> {
    py: Python<'py>,
    options: Option<Bound<'py, PyDict>>,
}

impl<'py> Fields<'py> {
    fn any(&mut self, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(options) = &self.options else { return Ok(None) };
        let Some(value) = options.get_item(name)? else { return Ok(None) };
        options.del_item(name)?;
        Ok((!value.is_none()).then_some(value))
    }

    fn take<T: for<'a> FromPyObject<'a, 'py, Error = PyErr>>(&mut self, name: &str) -> PyResult<Option<T>> {
        self.any(name)?.map(|value| value.extract()).transpose()
    }

    fn text(&mut self, name: &str) -> PyResult<Option<String>> {
        self.take(name)
    }

    fn secret(&mut self, name: &str) -> PyResult<Option<SecretString>> {
        Ok(self.text(name)?.map(SecretString::from))
    }

    fn required(&mut self, name: &str) -> PyResult<String> {
        self.text(name)?.ok_or_else(|| invalid(self.py, &format!("storage option {name} is missing")))
    }

    fn none_left(&self, address: &StorageAddress) -> PyResult<()> {
        let Some(options) = self.options.as_ref().filter(|options| !options.is_empty()) else { return Ok(()) };
        // Never the values: one may be a secret.
        let names = options.keys().iter().map(|name| name.to_string()).collect::<Vec<_>>().join(", ");
        Err(invalid(self.py, &format!("not storage options of {address}: {names}")))
    }
}

fn common(fields: &mut Fields<'_>) -> PyResult<StorageOptions> {
    let mut retry = RetryOptions::default();
    let times = [
        ("connect_timeout", &mut retry.connect_timeout),
        ("request_timeout", &mut retry.request_timeout),
        ("read_timeout", &mut retry.read_timeout),
        ("retry_timeout", &mut retry.retry_timeout),
    ];
    for (name, time) in times {
        if let Some(value) = fields.any(name)? {
            *time = duration(&value)?;
        }
    }
    if let Some(count) = fields.take("max_retries")? {
        retry.max_retries = count;
    }
    let mut transfer = TransferOptions::default();
    if let Some(bytes) = fields.take("part_size")? {
        transfer = transfer.with_part_size(bytes);
    }
    if let Some(count) = fields.take("parts_in_flight")? {
        transfer = transfer.with_parts_in_flight(count);
    }
    if let Some(equal) = fields.take("equal_parts")? {
        transfer = transfer.with_equal_parts(equal);
    }
    let http =
        HttpOptions::default().with_ca_certificates(fields.take("ca_certificates")?).with_proxy(fields.text("proxy")?);
    Ok(StorageOptions::default().with_retry(retry).with_transfer(transfer).with_http(http))
}

fn s3(fields: &mut Fields<'_>) -> PyResult<S3Options> {
    let py = fields.py;
    let mut options = S3Options::default();
    options.endpoint = fields.text("endpoint")?;
    options.region = fields.text("region")?;
    options.virtual_hosted = fields.take("virtual_hosted")?;
    options.kms_key = fields.text("kms_key")?;
    let checksums = [("sha256", S3Checksum::Sha256), ("crc64nvme", S3Checksum::Crc64Nvme)];
    options.checksum = match fields.text("checksum")? {
        Some(word) => Some(choice(py, "checksum", &word, &checksums)?),
        None => None,
    };
    options.credentials = match fields.text("access_key")? {
        Some(access_key) => Some(S3Credentials::Static {
            access_key,
            secret_key: fields.required("secret_key")?.into(),
            session_token: fields.secret("session_token")?,
        }),
        None => s3_identity(fields)?,
    };
    Ok(options)
}

fn s3_identity(fields: &mut Fields<'_>) -> PyResult<Option<S3Credentials>> {
    let Some(kind) = fields.text("credentials")? else { return Ok(None) };
    Ok(Some(match kind.as_str() {
        "instance-metadata" => S3Credentials::InstanceMetadata,
        "container-role" => S3Credentials::ContainerRole { relative_uri: fields.required("relative_uri")? },
        "pod-identity" => S3Credentials::PodIdentity {
            full_uri: fields.required("full_uri")?,
            token_file: fields.required("token_file")?.into(),
        },
        "web-identity" => S3Credentials::WebIdentity {
            token_file: fields.required("token_file")?.into(),
            role_arn: fields.required("role_arn")?,
        },
        "command" => S3Credentials::Command { argv: fields.take("command")?.unwrap_or_default() },
        "anonymous" => S3Credentials::Anonymous,
        _ => {
            let known = "instance-metadata, container-role, pod-identity, web-identity, command, anonymous";
            return Err(invalid(fields.py, &format!("credentials is {kind:?}, not one of {known}")));
        }
    }))
}

fn gcs(fields: &mut Fields<'_>) -> PyResult<GcsOptions> {
    let mut options = GcsOptions::default();
    options.endpoint = fields.text("endpoint")?;
    options.credentials = if let Some(path) = fields.take::<PathBuf>("service_account_file")? {
        Some(GcsCredentials::ServiceAccountFile(path))
    } else if let Some(key) = fields.secret("service_account_key")? {
        Some(GcsCredentials::ServiceAccountKey(key))
    } else if let Some(path) = fields.take::<PathBuf>("application_default")? {
        Some(GcsCredentials::ApplicationDefault(path))
    } else if let Some(token) = fields.secret("bearer_token")? {
        Some(GcsCredentials::BearerToken(token))
    } else if let Some(word) = fields.text("credentials")? {
        let kinds = [("instance-metadata", true), ("anonymous", false)];
        Some(match choice(fields.py, "credentials", &word, &kinds)? {
            true => GcsCredentials::InstanceMetadata,
            false => GcsCredentials::Anonymous,
        })
    } else {
        None
    };
    Ok(options)
}

fn azure(fields: &mut Fields<'_>) -> PyResult<AzureOptions> {
    let mut options = AzureOptions::default();
    options.endpoint = fields.text("endpoint")?;
    options.account = fields.text("account")?;
    options.credentials = if let Some(key) = fields.secret("access_key")? {
        Some(AzureCredentials::AccessKey(key))
    } else if let Some(token) = fields.secret("sas_token")? {
        Some(AzureCredentials::SasToken(token))
    } else if let Some(client_secret) = fields.secret("client_secret")? {
        let (tenant_id, client_id) = (fields.required("tenant_id")?, fields.required("client_id")?);
        Some(AzureCredentials::ClientSecret { tenant_id, client_id, client_secret })
    } else if let Some(token) = fields.secret("bearer_token")? {
        Some(AzureCredentials::BearerToken(token))
    } else {
        azure_identity(fields)?
    };
    Ok(options)
}

fn azure_identity(fields: &mut Fields<'_>) -> PyResult<Option<AzureCredentials>> {
    let Some(kind) = fields.text("credentials")? else { return Ok(None) };
    Ok(Some(match kind.as_str() {
        "managed-identity" => AzureCredentials::ManagedIdentity { client_id: fields.text("client_id")? },
        "workload-identity" => AzureCredentials::WorkloadIdentity {
            tenant_id: fields.required("tenant_id")?,
            client_id: fields.required("client_id")?,
            token_file: fields.required("token_file")?.into(),
        },
        "anonymous" => AzureCredentials::Anonymous,
        _ => {
            let known = "managed-identity, workload-identity, anonymous";
            return Err(invalid(fields.py, &format!("credentials is {kind:?}, not one of {known}")));
        }
    }))
}
