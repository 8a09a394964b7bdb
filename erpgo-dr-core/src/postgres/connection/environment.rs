//! What a client program is told of a connection: by its environment, which other users cannot read.

use std::ffi::OsString;
use std::path::Path;

use secrecy::ExposeSecret;

use super::settings::{ConnectionSettings, SslMode};

/// Where distributions keep the bundle of the authorities that they trust: Debian, Fedora, Alpine and the BSDs.
const SYSTEM_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

impl ConnectionSettings {
    /// Returns the variables from which libpq in a child process learns these settings, the password among them.
    ///
    /// The database is `PGDATABASE`; give it by [`conninfo`](Self::conninfo) where a program wants an argument.
    pub fn client_environment(&self) -> Vec<(OsString, OsString)> {
        let mut variables: Vec<(OsString, OsString)> = Vec::with_capacity(12);
        let mut set = |name: &str, value: OsString| variables.push((name.into(), value));
        set("PGHOST", self.host.clone().into());
        set("PGPORT", self.port.to_string().into());
        set("PGDATABASE", self.database.clone().into());
        set("PGAPPNAME", self.application_name.clone().into());
        set("PGCONNECT_TIMEOUT", self.connect_timeout.as_secs().max(2).to_string().into());
        set("PGSSLMODE", self.effective_ssl_mode().as_str().into());
        // Our own connections know no GSSAPI; two ways of connecting would be two answers.
        set("PGGSSENCMODE", "disable".into());
        if let Some(root) = self.client_root_cert() {
            set("PGSSLROOTCERT", root);
        }
        if let Some(user) = &self.user {
            set("PGUSER", user.clone().into());
        }
        if let Some(password) = &self.password {
            set("PGPASSWORD", password.expose_secret().to_owned().into());
        }
        if let Some(passfile) = &self.passfile {
            set("PGPASSFILE", passfile.clone().into());
        }
        if let Some(options) = &self.options {
            set("PGOPTIONS", options.clone().into());
        }
        variables
    }

    /// Returns a connection string that names the database and nothing else, whatever characters are in it.
    ///
    /// A bare name would be taken for a connection string if it contained `=` or began as a URI.
    pub fn conninfo(&self) -> String {
        let escaped = self.database.replace('\\', r"\\").replace('\'', r"\'");
        format!("dbname='{escaped}'")
    }

    /// libpq verifies only against a file, or since version 16 against `system`: the file serves all versions.
    fn client_root_cert(&self) -> Option<OsString> {
        if let Some(path) = self.root_cert_file() {
            return Some(path.as_os_str().to_owned());
        }
        let verifies = matches!(self.effective_ssl_mode(), SslMode::VerifyCa | SslMode::VerifyFull);
        if !verifies {
            return None;
        }
        let bundle = SYSTEM_BUNDLES.iter().find(|path| Path::new(path).exists());
        Some(bundle.copied().unwrap_or("system").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libpq_is_told_what_we_use_ourselves() {
        let settings = ConnectionSettings::new("127.0.0.1").user("u").password("pw".into()).ssl_root_cert("/ca.pem");
        let environment = settings.client_environment();
        let value = |name: &str| environment.iter().find(|(n, _)| n == name).map(|(_, v)| v.to_str().unwrap());
        assert_eq!(value("PGPASSWORD"), Some("pw"));
        assert_eq!(value("PGSSLMODE"), Some("prefer"));
        assert_eq!(value("PGSSLROOTCERT"), Some("/ca.pem"));
        assert_eq!(value("PGPASSFILE"), None);
    }

    #[test]
    fn a_database_name_stays_a_name() {
        let settings = ConnectionSettings::default().database(r"x' host=evil \");
        assert_eq!(settings.conninfo(), r"dbname='x\' host=evil \\'");
    }
}
