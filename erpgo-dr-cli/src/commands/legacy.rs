//! Options for the files of the old scripts.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use erpgo_dr_core::crypto::openssl_enc::{DEFAULT_ITERATIONS, OpensslDigest, OpensslKdf};
use erpgo_dr_core::ops::legacy::LegacyOptions;
use secrecy::SecretString;

use crate::context::{Context, first_line};
use crate::error::CliError;

/// How the layers of a file are opened.
#[derive(Debug, Args)]
pub(crate) struct LegacyArgs {
    /// A file whose first line is the old key (or set ERPGO_DR_LEGACY_PASSPHRASE, or name an --env-file with
    /// BACKUP_ENCRYPTION_KEY)
    #[arg(long, value_name = "FILE")]
    pub(super) legacy_passphrase_file: Option<PathBuf>,
    /// How openssl made the key of it [default: found out]
    #[arg(long, value_name = "KDF")]
    pub(super) kdf: Option<Kdf>,
    /// The -iter of `openssl enc -pbkdf2`
    #[arg(long, value_name = "N")]
    pub(super) iterations: Option<NonZeroU32>,
}

/// How `openssl enc` makes a key of a passphrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kdf {
    /// EVP_BytesToKey with SHA-256: openssl 1.1 and later without -pbkdf2
    Sha256,
    /// EVP_BytesToKey with MD5: openssl before 1.1
    Md5,
    /// PBKDF2 with HMAC-SHA-256: -pbkdf2
    Pbkdf2,
}

impl LegacyArgs {
    /// Returns what the library needs to open a file. Asks for the key only where `needs_key` says so.
    pub(super) async fn options(&self, context: &Context) -> Result<LegacyOptions, CliError> {
        Ok(LegacyOptions {
            passphrase: self.passphrase_at_hand(context)?,
            kdf: self.kdf.map(|kdf| self.derivation(kdf)),
            iterations: self.iterations,
        })
    }

    /// Returns the derivation that a new file is written with.
    pub(super) fn derivation(&self, kdf: Kdf) -> OpensslKdf {
        match kdf {
            Kdf::Sha256 => OpensslKdf::EvpBytesToKey(OpensslDigest::Sha256),
            Kdf::Md5 => OpensslKdf::EvpBytesToKey(OpensslDigest::Md5),
            Kdf::Pbkdf2 => OpensslKdf::Pbkdf2 { iterations: self.iterations.unwrap_or(DEFAULT_ITERATIONS) },
        }
    }

    /// Returns the old key from a file, the environment or the old scripts' names.
    pub(super) fn passphrase_at_hand(&self, context: &Context) -> Result<Option<SecretString>, CliError> {
        if let Some(path) = &self.legacy_passphrase_file {
            return first_line(path).map(Some);
        }
        let variable = std::env::var("ERPGO_DR_LEGACY_PASSPHRASE").ok().filter(|value| !value.is_empty());
        match variable {
            Some(text) => Ok(Some(text.into())),
            None => Ok(context.env_file.passphrase()),
        }
    }
}
