//! Amazon S3, and what speaks its protocol.

use std::path::PathBuf;

use secrecy::SecretString;

/// How to reach a bucket. `Debug` shows no secret.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct S3Options {
    /// The service's URL (`http://127.0.0.1:9000`); `None` for Amazon's.
    pub endpoint: Option<String>,
    /// The region; `us-east-1` by default.
    pub region: Option<String>,
    /// Where credentials come from. There is no default: a host's own identity is used when it is asked for, not by chance.
    pub credentials: Option<S3Credentials>,
    /// Whether the bucket is part of the host's name; `None` chooses: yes at Amazon's, no at an endpoint.
    pub virtual_hosted: Option<bool>,
    /// A checksum that is sent with each part beside the signature.
    pub checksum: Option<S3Checksum>,
    /// The KMS key with which the server encrypts on top of us.
    pub kms_key: Option<String>,
}

/// Where the credentials of S3 come from.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum S3Credentials {
    /// A key pair.
    Static {
        /// The access key.
        access_key: String,
        /// Its secret.
        secret_key: SecretString,
        /// The token of temporary credentials.
        session_token: Option<SecretString>,
    },
    /// The identity of the EC2 instance.
    InstanceMetadata,
    /// The role of an ECS task: `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`.
    ContainerRole {
        /// The path below the agent's address.
        relative_uri: String,
    },
    /// The role of an EKS pod: `AWS_CONTAINER_CREDENTIALS_FULL_URI` and `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`.
    PodIdentity {
        /// The agent's URL.
        full_uri: String,
        /// The file that holds the token for it.
        token_file: PathBuf,
    },
    /// A token exchanged for a role: `AWS_WEB_IDENTITY_TOKEN_FILE` and `AWS_ROLE_ARN`.
    WebIdentity {
        /// The file that holds the token.
        token_file: PathBuf,
        /// The role.
        role_arn: String,
    },
    /// A command that prints credentials as JSON, as `credential_process` of AWS's own tools does.
    Command {
        /// The program and its arguments; no shell is involved.
        argv: Vec<String>,
    },
    /// No signature at all.
    Anonymous,
}

/// A checksum that S3 verifies and keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum S3Checksum {
    /// SHA-256.
    Sha256,
    /// CRC-64/NVME.
    Crc64Nvme,
}

impl S3Credentials {
    /// Makes a key pair without a session token.
    pub fn key_pair(access_key: impl Into<String>, secret_key: impl Into<SecretString>) -> Self {
        Self::Static { access_key: access_key.into(), secret_key: secret_key.into(), session_token: None }
    }
}

impl S3Options {
    /// Takes Amazon's service with these credentials.
    pub fn new(credentials: S3Credentials) -> Self {
        Self { credentials: Some(credentials), ..Self::default() }
    }

    /// Sets the service's URL.
    pub fn with_endpoint(mut self, endpoint: Option<String>) -> Self {
        self.endpoint = endpoint;
        self
    }

    /// Sets the region.
    pub fn with_region(mut self, region: Option<String>) -> Self {
        self.region = region;
        self
    }

    /// Sets where credentials come from.
    pub fn with_credentials(mut self, credentials: Option<S3Credentials>) -> Self {
        self.credentials = credentials;
        self
    }

    /// Sets whether the bucket is part of the host's name.
    pub fn with_virtual_hosted(mut self, virtual_hosted: Option<bool>) -> Self {
        self.virtual_hosted = virtual_hosted;
        self
    }

    /// Sets the checksum that is sent with each part.
    pub fn with_checksum(mut self, checksum: Option<S3Checksum>) -> Self {
        self.checksum = checksum;
        self
    }

    /// Sets the KMS key with which the server encrypts.
    pub fn with_kms_key(mut self, key: Option<String>) -> Self {
        self.kms_key = key;
        self
    }
}
