//! A connection of our own.

use std::fmt;
use std::ops::{Deref, DerefMut};

use secrecy::{ExposeSecret, SecretString};
use tokio::task::JoinHandle;

use super::super::PostgresError;
use super::settings::{ConnectionSettings, SslMode};
use super::{passfile, tls};

/// A session on a server. Dropping it closes the connection.
pub struct Client {
    session: tokio_postgres::Client,
    server: String,
    connection: JoinHandle<()>,
}

impl ConnectionSettings {
    /// Connects to the server.
    ///
    /// # Errors
    /// [`PostgresError::Connect`] when it cannot be reached, is not the one it should be, or refuses us;
    /// [`PostgresError::InvalidSettings`] and [`PostgresError::File`] for certificates and password files.
    pub async fn connect(&self) -> Result<Client, PostgresError> {
        self.validate()?;
        let config = self.client_config()?;
        let server = self.to_string();
        let refused = |source: super::super::BoxError| PostgresError::Connect { server: server.clone(), source };
        let attempt = async { config.connect(tls::connector(self)?).await.map_err(|error| refused(error.into())) };
        // Covers the name look-up, the handshakes and the log-in as well, for which tokio-postgres has no limit.
        let outcome = tokio::time::timeout(self.connect_timeout, attempt).await;
        let (session, connection) = outcome.map_err(|elapsed| refused(elapsed.into()))??;
        let task_server = server.clone();
        let connection = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(server = task_server, %error, "connection lost");
            }
        });
        Ok(Client { session, server, connection })
    }

    fn client_config(&self) -> Result<tokio_postgres::Config, PostgresError> {
        let mut config = tokio_postgres::Config::new();
        config
            .host(&self.host)
            .port(self.port)
            .dbname(&self.database)
            .application_name(&self.application_name)
            .connect_timeout(self.connect_timeout)
            .ssl_mode(match self.effective_ssl_mode() {
                SslMode::Disable => tokio_postgres::config::SslMode::Disable,
                SslMode::Prefer => tokio_postgres::config::SslMode::Prefer,
                SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => tokio_postgres::config::SslMode::Require,
            });
        if let Some(user) = &self.user {
            config.user(user);
        }
        if let Some(options) = &self.options {
            config.options(options);
        }
        if let Some(password) = self.find_password()? {
            config.password(password.expose_secret());
        }
        Ok(config)
    }

    /// Returns the password that was set, or the one that the password file has for these settings.
    pub(in crate::postgres) fn find_password(&self) -> Result<Option<SecretString>, PostgresError> {
        match (&self.password, &self.passfile) {
            (Some(password), _) => Ok(Some(password.clone())),
            (None, Some(path)) => passfile::look_up(self, path),
            (None, None) => Ok(None),
        }
    }
}

impl Client {
    /// Names the server and database, without password.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Closes the connection, and returns when it is closed: dropping it leaves that to the runtime.
    pub async fn close(mut self) {
        self.connection.abort();
        let _ = (&mut self.connection).await;
    }

    /// Makes the error of a query that was for `action`.
    pub(crate) fn query_error(&self, action: &str) -> impl FnOnce(tokio_postgres::Error) -> PostgresError + use<> {
        let (server, action) = (self.server.clone(), action.to_owned());
        move |source| PostgresError::Query { server, action, source: source.into() }
    }
}

impl Deref for Client {
    type Target = tokio_postgres::Client;

    fn deref(&self) -> &tokio_postgres::Client {
        &self.session
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut tokio_postgres::Client {
        &mut self.session
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
