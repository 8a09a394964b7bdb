//! Logs in to a server as a receiver of physical replication.

use bytes::BytesMut;
use fallible_iterator::FallibleIterator as _;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256};
use postgres_protocol::message::backend::{AuthenticationSaslBody, Message};
use postgres_protocol::message::frontend;
use secrecy::{ExposeSecret as _, SecretString};

use super::socket::Socket;
use super::wire::{Incoming, Wire};
use crate::postgres::{BoxError, ConnectionSettings};

/// The name by which libpq looks for the password of a replication connection in a password file.
const REPLICATION: &str = "replication";

/// Connects, and returns when the server is ready for commands.
pub(super) async fn log_in(settings: &ConnectionSettings) -> Result<Wire, BoxError> {
    let Socket { duplex, certificate_hash, is_tls } = Socket::connect(settings).await?;
    let user = match settings.user_name() {
        Some(user) => user.to_owned(),
        None => whoami::username()?,
    };
    let mut login = Login { wire: Wire::new(duplex), user, password: password(settings)?, certificate_hash, is_tls };
    login.begin(settings).await?;
    login.authenticate().await?;
    let mut wire = login.wire;
    loop {
        match wire.next().await? {
            Incoming::Other(Message::ReadyForQuery(_)) => return Ok(wire),
            Incoming::Other(Message::BackendKeyData(_)) => {}
            _ => return Err(unexpected("after the login")),
        }
    }
}

fn password(settings: &ConnectionSettings) -> Result<Option<SecretString>, BoxError> {
    match settings.clone().database(REPLICATION).find_password()? {
        Some(password) => Ok(Some(password)),
        None => Ok(settings.find_password()?),
    }
}

/// Says that a message has no place where it came.
pub(super) fn unexpected(place: &str) -> BoxError {
    format!("the server sent a message that has no place {place}").into()
}

struct Login {
    wire: Wire,
    user: String,
    password: Option<SecretString>,
    certificate_hash: Option<Vec<u8>>,
    is_tls: bool,
}

impl Login {
    async fn begin(&mut self, settings: &ConnectionSettings) -> Result<(), BoxError> {
        let mut parameters = vec![
            ("user", self.user.as_str()),
            ("database", REPLICATION),
            ("replication", "true"),
            ("client_encoding", "UTF8"),
            ("application_name", settings.application()),
        ];
        parameters.extend(settings.session_options().map(|options| ("options", options)));
        let mut message = BytesMut::new();
        frontend::startup_message(parameters, &mut message)?;
        Ok(self.wire.send(&message).await?)
    }

    async fn authenticate(&mut self) -> Result<(), BoxError> {
        loop {
            let Incoming::Other(message) = self.wire.next().await? else { return Err(unexpected("in a login")) };
            match message {
                Message::AuthenticationOk => return Ok(()),
                Message::AuthenticationCleartextPassword if !self.is_tls => {
                    return Err("the server asks for the password in the clear, without TLS".into());
                }
                Message::AuthenticationCleartextPassword => {
                    let password = self.needed()?;
                    self.send_password(password.expose_secret().as_bytes()).await?;
                }
                Message::AuthenticationMd5Password(body) => {
                    let password = self.needed()?;
                    let hash = md5_hash(self.user.as_bytes(), password.expose_secret().as_bytes(), body.salt());
                    self.send_password(hash.as_bytes()).await?;
                }
                Message::AuthenticationSasl(body) => self.scram(&body).await?,
                _ => return Err("the server asks for a way to log in that is not known here".into()),
            }
        }
    }

    fn needed(&self) -> Result<SecretString, BoxError> {
        // The same words as those of the client for SQL, by which a refusal is known.
        self.password.clone().ok_or_else(|| "password missing".into())
    }

    async fn send_password(&mut self, password: &[u8]) -> Result<(), BoxError> {
        let mut message = BytesMut::new();
        frontend::password_message(password, &mut message)?;
        Ok(self.wire.send(&message).await?)
    }

    /// SCRAM-SHA-256 (RFC 7677), bound to the server's certificate where both sides can.
    async fn scram(&mut self, offered: &AuthenticationSaslBody) -> Result<(), BoxError> {
        let mechanisms: Vec<&str> = offered.mechanisms().collect()?;
        let has = |name| mechanisms.contains(&name);
        let (mechanism, binding) = match (self.certificate_hash.take(), has(SCRAM_SHA_256_PLUS)) {
            (Some(hash), true) => (SCRAM_SHA_256_PLUS, ChannelBinding::tls_server_end_point(hash)),
            _ if !has(SCRAM_SHA_256) => return Err("the server offers no SCRAM-SHA-256".into()),
            // A server with TLS always offers binding: one that seems not to is told that we could, and fails if it could too.
            (Some(_), false) => (SCRAM_SHA_256, ChannelBinding::unrequested()),
            (None, _) => (SCRAM_SHA_256, ChannelBinding::unsupported()),
        };
        let password = self.needed()?;
        let mut scram = ScramSha256::new(password.expose_secret().as_bytes(), binding);
        let mut message = BytesMut::new();
        frontend::sasl_initial_response(mechanism, scram.message(), &mut message)?;
        self.wire.send(&message).await?;
        let Incoming::Other(Message::AuthenticationSaslContinue(body)) = self.wire.next().await? else {
            return Err(unexpected("in a SCRAM login"));
        };
        scram.update(body.data())?;
        message.clear();
        frontend::sasl_response(scram.message(), &mut message)?;
        self.wire.send(&message).await?;
        let Incoming::Other(Message::AuthenticationSaslFinal(body)) = self.wire.next().await? else {
            return Err(unexpected("in a SCRAM login"));
        };
        // Here the server proves that it knows the password too.
        Ok(scram.finish(body.data())?)
    }
}
