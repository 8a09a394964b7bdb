//! The text by which a person names a storage place.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::StorageError;

/// Where a storage place is. Carries no credentials, and no text with credentials parses as one.
///
/// | text | place |
/// |---|---|
/// | `/var/backups`, `./backups`, `file:///var/backups` | a folder |
/// | `s3://bucket/prefix` | Amazon S3, or what speaks its protocol |
/// | `gs://bucket/prefix` | Google Cloud Storage |
/// | `az://container/prefix` | Azure Blob Storage |
/// | `memory:` | this process; gone when it ends |
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StorageAddress {
    /// A folder.
    Local(PathBuf),
    /// The memory of this process.
    Memory,
    /// Amazon S3, or what speaks its protocol.
    S3(Bucket),
    /// Google Cloud Storage.
    Gcs(Bucket),
    /// Azure Blob Storage; the bucket is a container.
    Azure(Bucket),
}

/// A bucket or container, and a folder in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// The folder, without slashes at its ends; empty for all of the bucket.
    pub prefix: String,
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

impl FromStr for StorageAddress {
    type Err = StorageError;

    fn from_str(text: &str) -> Result<Self, StorageError> {
        parse(text)
            .map_err(|reason| StorageError::InvalidAddress { address: redacted(text), reason: reason.to_owned() })
    }
}

fn parse(text: &str) -> Result<StorageAddress, &'static str> {
    if text == "memory:" {
        return Ok(StorageAddress::Memory);
    }
    if text.starts_with('/') || text.starts_with("./") || text.starts_with("../") || text == "." {
        return path(text);
    }
    let (scheme, rest) =
        text.split_once("://").ok_or("neither a path, which starts with / or ./, nor scheme://bucket/prefix")?;
    match scheme {
        "file" if rest.starts_with('/') => path(rest),
        "file" => Err("file:// takes an absolute path: file:///var/backups"),
        "s3" => bucket(rest).map(StorageAddress::S3),
        "gs" => bucket(rest).map(StorageAddress::Gcs),
        "az" => bucket(rest).map(StorageAddress::Azure),
        _ => Err("its scheme is not one of file, s3, gs, az and memory"),
    }
}

fn path(text: &str) -> Result<StorageAddress, &'static str> {
    if text.contains('\0') { Err("it contains a NUL") } else { Ok(StorageAddress::Local(PathBuf::from(text))) }
}

fn bucket(rest: &str) -> Result<Bucket, &'static str> {
    let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if name.contains('@') {
        return Err("credentials belong in the options, not in the address");
    }
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
        return Err("its bucket is not of A-Z a-z 0-9 . _ -");
    }
    let prefix = prefix.trim_end_matches('/');
    if prefix.contains(['?', '#']) {
        return Err("it takes no ? and #: settings belong in the options");
    }
    if prefix.starts_with('/') || object_store::path::Path::parse(prefix).is_err() {
        return Err("its prefix has an empty segment, . or .., or a character that no object store takes");
    }
    Ok(Bucket { name: name.to_owned(), prefix: prefix.to_owned() })
}

/// Cuts out what may be a secret: the user information and all from the first `?`.
fn redacted(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    match text.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", rest.rsplit_once('@').map_or(rest, |(_, host)| host)),
        None => text.to_owned(),
    }
}

impl fmt::Display for StorageAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => path.display().fmt(f),
            Self::Memory => f.pad("memory:"),
            Self::S3(bucket) => write!(f, "s3://{bucket}"),
            Self::Gcs(bucket) => write!(f, "gs://{bucket}"),
            Self::Azure(bucket) => write!(f, "az://{bucket}"),
        }
    }
}

impl Serialize for StorageAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StorageAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back_as_they_are_written() {
        for text in ["/var/backups", "./b", "../b", "memory:", "s3://b", "s3://b/a/c", "gs://b/x", "az://c/db=erp/1"] {
            assert_eq!(text.parse::<StorageAddress>().unwrap().to_string(), text);
        }
        assert_eq!("file:///a/b".parse::<StorageAddress>().unwrap(), StorageAddress::Local("/a/b".into()));
        assert_eq!("s3://b/".parse::<StorageAddress>().unwrap().to_string(), "s3://b");
    }

    #[test]
    fn what_is_not_an_address_says_why_and_tells_no_secret() {
        for text in ["", "backups", "s3:/b", "s3://", "s3:///a", "ftp://h/a", "file://a", "s3://b/../c", "s3://b//c"] {
            assert!(text.parse::<StorageAddress>().is_err(), "{text:?}");
        }
        for text in ["s3://key:hush@b/p", "az://c/p?sig=hush", "http://u:hush@h/"] {
            let error = text.parse::<StorageAddress>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
        }
    }
}
