//! How to reach a PostgreSQL server.

use std::path::PathBuf;

use erpgo_dr_core::postgres::{ConnectionSettings, SslMode};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyString;
use secrecy::SecretString;

use crate::arguments::{choice, duration};
use crate::errors::checked;

/// How to reach a PostgreSQL server, and as whom. Its `repr` leaves the password out.
///
/// `host` is a name, an IP address, or the folder of a Unix socket. `ssl_mode` is one of disable, prefer, require,
/// verify-ca and verify-full; by default verify-full for every host but this one. `connect_timeout` is in seconds.
/// Nothing is read from the environment.
#[pyclass(frozen, module = "erpgo_dr")]
pub struct Connection {
    settings: ConnectionSettings,
}

#[pymethods]
impl Connection {
    #[new]
    #[pyo3(signature = (
        host = "localhost", *, port = 5432, user = None, password = None, passfile = None, database = "postgres",
        ssl_mode = None, ssl_root_cert = None, connect_timeout = None, application_name = None, options = None,
    ))]
    fn new(
        py: Python<'_>,
        host: &str,
        port: u16,
        user: Option<String>,
        password: Option<String>,
        passfile: Option<PathBuf>,
        database: &str,
        ssl_mode: Option<&str>,
        ssl_root_cert: Option<PathBuf>,
        connect_timeout: Option<Bound<'_, PyAny>>,
        application_name: Option<String>,
        options: Option<String>,
    ) -> PyResult<Self> {
        let mut settings = ConnectionSettings::new(host).port(port).database(database);
        if let Some(user) = user {
            settings = settings.user(user);
        }
        if let Some(password) = password {
            settings = settings.password(SecretString::from(password));
        }
        if let Some(passfile) = passfile {
            settings = settings.passfile(passfile);
        }
        if let Some(mode) = ssl_mode {
            settings = settings.ssl_mode(parse_ssl_mode(py, mode)?);
        }
        if let Some(path) = ssl_root_cert {
            settings = settings.ssl_root_cert(path);
        }
        if let Some(timeout) = connect_timeout {
            settings = settings.connect_timeout(duration(&timeout)?);
        }
        if let Some(name) = application_name {
            settings = settings.application_name(name);
        }
        if let Some(options) = options {
            settings = settings.options(options);
        }
        Ok(Self { settings })
    }

    /// Reads a URI (`postgresql://...`) or a list of `keyword=value`, as libpq does.
    #[staticmethod]
    #[pyo3(signature = (conninfo, *, password = None))]
    fn parse(py: Python<'_>, conninfo: &str, password: Option<String>) -> PyResult<Self> {
        let mut settings: ConnectionSettings = checked(py, conninfo.parse())?;
        if let Some(password) = password {
            settings = settings.password(SecretString::from(password));
        }
        Ok(Self { settings })
    }

    /// The host or socket folder.
    #[getter]
    fn host(&self) -> &str {
        self.settings.host()
    }

    /// The port.
    #[getter]
    fn port(&self) -> u16 {
        self.settings.port_number()
    }

    /// The role, where one was given.
    #[getter]
    fn user(&self) -> Option<&str> {
        self.settings.user_name()
    }

    /// The database.
    #[getter]
    fn database(&self) -> &str {
        self.settings.database_name()
    }

    fn __repr__(&self) -> String {
        format!("<Connection {}>", self.settings)
    }
}

/// Takes a `Connection`, or the text of one; a password beside it goes before the one in it.
pub(crate) fn settings(connection: &Bound<'_, PyAny>, password: Option<String>) -> PyResult<ConnectionSettings> {
    let settings: ConnectionSettings = if let Ok(connection) = connection.cast::<Connection>() {
        connection.get().settings.clone()
    } else if let Ok(text) = connection.cast::<PyString>() {
        checked(connection.py(), text.to_cow()?.parse())?
    } else {
        let found = connection.get_type().name()?;
        return Err(PyTypeError::new_err(format!("connection is a str or a Connection, not {found}")));
    };
    Ok(match password {
        Some(password) => settings.password(SecretString::from(password)),
        None => settings,
    })
}

fn parse_ssl_mode(py: Python<'_>, word: &str) -> PyResult<SslMode> {
    let modes = [SslMode::Disable, SslMode::Prefer, SslMode::Require, SslMode::VerifyCa, SslMode::VerifyFull];
    choice(py, "ssl_mode", word, &modes.map(|mode| (mode.as_str(), mode)))
}
