//! The settings of a connection, and their defaults.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use super::super::{PostgresError, quoting};

const DEFAULT_PORT: u16 = 5432;
const DEFAULT_DATABASE: &str = "postgres";
const DEFAULT_APPLICATION: &str = "erpgo-dr";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Whether a connection is encrypted, and whether the server must prove who it is. The words are libpq's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    /// Never encrypts.
    Disable,
    /// Encrypts if the server can. Protects from nobody who can alter the traffic.
    Prefer,
    /// Always encrypts, but talks to whoever answers: without a root certificate it verifies nothing.
    ///
    /// With [`ConnectionSettings::ssl_root_cert`] it behaves as `verify-ca`, as in libpq.
    Require,
    /// Encrypts, and the server's certificate must come from a trusted authority.
    VerifyCa,
    /// As `verify-ca`, and the certificate must be for the host that was asked for.
    VerifyFull,
}

impl SslMode {
    /// Returns libpq's word for the mode.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::Disable, Self::Prefer, Self::Require, Self::VerifyCa, Self::VerifyFull]
            .into_iter()
            .find(|mode| mode.as_str() == text)
    }
}

/// How to reach a server, and as whom. `Debug` and `Display` leave the password out.
///
/// What is not set: host `localhost`, port 5432, database `postgres`, the operating system's user, a connect
/// timeout of 30 seconds. The SSL mode is `verify-full` for every host but this one (a socket, `localhost`, a
/// loopback address), where it is `prefer`: libpq's own default, `prefer`, would hand a whole database to
/// anybody who sits on the way.
#[derive(Clone)]
pub struct ConnectionSettings {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: Option<String>,
    pub(super) password: Option<SecretString>,
    pub(super) passfile: Option<PathBuf>,
    pub(super) database: String,
    pub(super) ssl_mode: Option<SslMode>,
    pub(super) ssl_root_cert: Option<PathBuf>,
    pub(super) connect_timeout: Duration,
    pub(super) application_name: String,
    pub(super) options: Option<String>,
}

impl Default for ConnectionSettings {
    fn default() -> Self {
        Self::new("localhost")
    }
}

impl ConnectionSettings {
    /// Creates settings for a host: a name, an IP address, or the folder of a Unix socket.
    pub fn new(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            port: DEFAULT_PORT,
            user: None,
            password: None,
            passfile: None,
            database: DEFAULT_DATABASE.to_owned(),
            ssl_mode: None,
            ssl_root_cert: None,
            connect_timeout: DEFAULT_TIMEOUT,
            application_name: DEFAULT_APPLICATION.to_owned(),
            options: None,
        }
    }

    /// Sets the port.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Sets the role to connect as.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Sets the password.
    pub fn password(mut self, password: SecretString) -> Self {
        self.password = Some(password);
        self
    }

    /// Returns the settings as a connection string without the password, from which they can be read again.
    #[cfg_attr(not(feature = "runbooks"), allow(dead_code, reason = "only runbooks write settings down"))]
    pub(crate) fn to_text_without_password(&self) -> String {
        let path = |path: &PathBuf| path.display().to_string();
        let words = [
            ("host", Some(self.host.clone())),
            ("port", Some(self.port.to_string())),
            ("user", self.user.clone()),
            ("passfile", self.passfile.as_ref().map(path)),
            ("dbname", Some(self.database.clone())),
            ("sslmode", self.ssl_mode.map(|mode| mode.as_str().to_owned())),
            ("sslrootcert", self.ssl_root_cert.as_ref().map(path)),
            ("connect_timeout", Some(self.connect_timeout.as_secs().max(2).to_string())),
            ("application_name", Some(self.application_name.clone())),
            ("options", self.options.clone()),
        ];
        let words = words.into_iter().filter_map(|(keyword, value)| Some(quoting::conninfo(keyword, &value?)));
        words.collect::<Vec<_>>().join(" ")
    }

    /// Returns the password that was set, to be kept out of what is written down.
    #[cfg_attr(not(feature = "runbooks"), allow(dead_code, reason = "only runbooks write settings down"))]
    pub(crate) fn exposed_password(&self) -> Option<&str> {
        self.password.as_ref().map(|password| password.expose_secret())
    }

    /// Sets a file of passwords in libpq's `.pgpass` format, which must be closed to group and others.
    pub fn passfile(mut self, path: impl Into<PathBuf>) -> Self {
        self.passfile = Some(path.into());
        self
    }

    /// Sets the database.
    pub fn database(mut self, database: impl Into<String>) -> Self {
        self.database = database.into();
        self
    }

    /// Sets the SSL mode.
    pub fn ssl_mode(mut self, mode: SslMode) -> Self {
        self.ssl_mode = Some(mode);
        self
    }

    /// Sets the PEM file of the authorities to trust instead of the operating system's.
    pub fn ssl_root_cert(mut self, path: impl Into<PathBuf>) -> Self {
        self.ssl_root_cert = Some(path.into());
        self
    }

    /// Sets how long a connection attempt may take. libpq counts in whole seconds, two at the least.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets the name under which the server lists our sessions.
    pub fn application_name(mut self, name: impl Into<String>) -> Self {
        self.application_name = name.into();
        self
    }

    /// Sets command-line options for the server's session, such as `-c search_path=x`.
    pub fn options(mut self, options: impl Into<String>) -> Self {
        self.options = Some(options.into());
        self
    }

    /// Returns the host or socket folder.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port.
    pub fn port_number(&self) -> u16 {
        self.port
    }

    /// Returns the role, where one was set.
    pub fn user_name(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Returns the database.
    pub fn database_name(&self) -> &str {
        &self.database
    }

    /// Returns the command-line options of the server's session, where some were set.
    pub fn session_options(&self) -> Option<&str> {
        self.options.as_deref()
    }

    /// Returns the name under which the server lists our sessions.
    pub fn application(&self) -> &str {
        &self.application_name
    }

    /// Returns how long a connection attempt may take.
    pub fn timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// Returns the SSL mode in force: the one that was set, or the default for the host.
    pub fn effective_ssl_mode(&self) -> SslMode {
        match self.ssl_mode {
            _ if self.is_socket() => SslMode::Disable,
            Some(SslMode::Require) if self.root_cert_file().is_some() => SslMode::VerifyCa,
            Some(mode) => mode,
            None if self.is_loopback() => SslMode::Prefer,
            None => SslMode::VerifyFull,
        }
    }

    /// Returns whether the host is the folder of a Unix socket, where there is no TLS.
    pub fn is_socket(&self) -> bool {
        self.host.starts_with('/')
    }

    /// Returns the PEM file of trusted authorities, unless it is the word `system` or not set.
    pub(super) fn root_cert_file(&self) -> Option<&Path> {
        self.ssl_root_cert.as_deref().filter(|path| path.as_os_str() != "system")
    }

    /// Checks what cannot be checked setting by setting.
    pub(in crate::postgres) fn validate(&self) -> Result<(), PostgresError> {
        let texts = [&self.host, &self.database, &self.application_name];
        let texts = texts.into_iter().chain(self.user.iter()).chain(self.options.iter());
        if texts.into_iter().any(|text| text.contains('\0')) {
            return Err(PostgresError::InvalidSettings("a setting contains a zero byte".to_owned()));
        }
        if self.host.is_empty() || self.host.contains(',') {
            return Err(PostgresError::InvalidSettings(format!("exactly one host is needed, not {:?}", self.host)));
        }
        if self.database.is_empty() {
            return Err(PostgresError::InvalidSettings("the database's name is empty".to_owned()));
        }
        Ok(())
    }

    fn is_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost") || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

/// `user@host:port/database`.
impl fmt::Display for ConnectionSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        let bracket = self.host.contains(':');
        let (open, close) = if bracket { ("[", "]") } else { ("", "") };
        write!(f, "{open}{}{close}:{}/{}", self.host, self.port, self.database)
    }
}

impl fmt::Debug for ConnectionSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionSettings")
            .field("server", &self.to_string())
            .field("password", &self.password.as_ref().map(|_| "[REDACTED]"))
            .field("passfile", &self.passfile)
            .field("ssl_mode", &self.effective_ssl_mode())
            .field("ssl_root_cert", &self.ssl_root_cert)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_elsewhere_must_prove_who_it_is() {
        for (host, mode) in [
            ("db.example", SslMode::VerifyFull),
            ("10.0.0.7", SslMode::VerifyFull),
            ("localhost.example", SslMode::VerifyFull),
            ("localhost", SslMode::Prefer),
            ("127.0.0.2", SslMode::Prefer),
            ("::1", SslMode::Prefer),
            ("/run/postgresql", SslMode::Disable),
        ] {
            assert_eq!(ConnectionSettings::new(host).effective_ssl_mode(), mode, "{host}");
        }
    }

    #[test]
    fn require_verifies_only_with_a_root_certificate() {
        let settings = ConnectionSettings::new("db.example").ssl_mode(SslMode::Require);
        assert_eq!(settings.effective_ssl_mode(), SslMode::Require);
        assert_eq!(settings.ssl_root_cert("/ca.pem").effective_ssl_mode(), SslMode::VerifyCa);
    }

    #[test]
    fn the_password_is_in_no_text() {
        let settings = ConnectionSettings::new("h").user("u").password("hunter2".into());
        assert!(!format!("{settings} {settings:?} {settings:#?}").contains("hunter2"));
        assert_eq!(settings.to_string(), "u@h:5432/postgres");
    }
}
