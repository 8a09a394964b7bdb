//! How Patroni is reached: options, then the table `[ha]`.

use std::path::PathBuf;

use clap::Args;
use erpgo_dr_core::topology::ha::{PatroniBackend, PatroniSettings};
use secrecy::SecretString;

use crate::context::{Context, first_line};
use crate::error::CliError;

/// How Patroni is reached. The password comes from a file, or from ERPGO_DR_HA_PASSWORD.
#[derive(Debug, Args)]
pub(super) struct PatroniAccessOptions {
    /// The address of an interface of Patroni, such as https://db1:8008; of several the first one is asked that answers
    #[arg(long, value_name = "URL", env = "ERPGO_DR_PATRONI", value_delimiter = ',', hide_env_values = true)]
    patroni: Vec<String>,
    /// Who logs in there
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// A file whose first line is the password for that
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// A PEM file of authorities to trust instead of the operating system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// The PEM file of our certificate
    #[arg(long, value_name = "FILE", requires = "client_key")]
    client_cert: Option<PathBuf>,
    /// The PEM file of its key
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    client_key: Option<PathBuf>,
}

impl PatroniAccessOptions {
    pub(super) fn backend(&self, context: &Context) -> Result<PatroniBackend, CliError> {
        let config = &context.config.ha;
        let urls = if self.patroni.is_empty() { &config.patroni } else { &self.patroni };
        if urls.is_empty() {
            return Err(CliError::usage(
                "nothing says where Patroni is",
                "give --patroni URL, or `patroni` in the table [ha] of erpgo-dr.toml",
            ));
        }
        let ca_file = self.ca_file.clone().or_else(|| config.ca_file.clone());
        let mut settings = PatroniSettings::new(urls.clone()).with_authorities(ca_file);
        if let Some(user) = self.user.as_ref().or(config.user.as_ref()) {
            let password = self.password(context)?.ok_or_else(|| {
                CliError::usage(
                    "Patroni has a user, and no password",
                    "give --password-file FILE, or ERPGO_DR_HA_PASSWORD",
                )
            })?;
            settings = settings.with_credentials(user, password);
        }
        let certificate = self.client_cert.as_ref().or(config.client_cert.as_ref());
        match (certificate, self.client_key.as_ref().or(config.client_key.as_ref())) {
            (Some(certificate), Some(key)) => settings = settings.with_identity(certificate, key),
            (None, None) => {}
            _ => {
                return Err(CliError::usage(
                    "a certificate needs its key",
                    "give client_cert and client_key, or neither",
                ));
            }
        }
        Ok(PatroniBackend::new(&settings)?)
    }

    fn password(&self, context: &Context) -> Result<Option<SecretString>, CliError> {
        if let Some(file) = &self.password_file {
            return first_line(file).map(Some);
        }
        let given = std::env::var("ERPGO_DR_HA_PASSWORD").ok().filter(|password| !password.is_empty());
        match (given, &context.config.ha.password_file) {
            (Some(password), _) => Ok(Some(password.into())),
            (None, Some(file)) => first_line(file).map(Some),
            (None, None) => Ok(None),
        }
    }
}
