//! The way to a server: a Unix socket or TCP, with TLS where the settings ask for it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use rustls::pki_types::ServerName;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::der::oid::db::rfc5912;

use crate::postgres::connection::client_config;
use crate::postgres::{BoxError, ConnectionSettings, SslMode};

/// What bytes of the protocol go through.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A way to a server on which nothing has been said yet.
pub(super) struct Socket {
    pub(super) duplex: Box<dyn Duplex>,
    /// The hash of the server's certificate that a login can be bound to (`tls-server-end-point`, RFC 5929); `None` without TLS.
    pub(super) certificate_hash: Option<Vec<u8>>,
    /// Whether what is said is encrypted.
    pub(super) is_tls: bool,
}

impl Socket {
    pub(super) async fn connect(settings: &ConnectionSettings) -> Result<Self, BoxError> {
        let plain = |duplex| Self { duplex, certificate_hash: None, is_tls: false };
        if settings.is_socket() {
            let path = Path::new(settings.host()).join(format!(".s.PGSQL.{}", settings.port_number()));
            return Ok(plain(Box::new(UnixStream::connect(path).await?)));
        }
        let mut tcp = TcpStream::connect((settings.host(), settings.port_number())).await?;
        tcp.set_nodelay(true)?;
        let mode = settings.effective_ssl_mode();
        if mode == SslMode::Disable {
            return Ok(plain(Box::new(tcp)));
        }
        match (accepts_tls(&mut tcp).await?, mode) {
            (true, _) => encrypt(settings, tcp).await,
            (false, SslMode::Prefer) => Ok(plain(Box::new(tcp))),
            (false, _) => Err("the server does not support TLS".into()),
        }
    }
}

async fn accepts_tls(tcp: &mut TcpStream) -> Result<bool, BoxError> {
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    tcp.write_all(&request).await?;
    // One byte and no more: what a stranger adds in the clear must not be taken for the server's word under TLS.
    match tcp.read_u8().await? {
        b'S' => Ok(true),
        b'N' => Ok(false),
        _ => Err("what answers there is no PostgreSQL server".into()),
    }
}

async fn encrypt(settings: &ConnectionSettings, tcp: TcpStream) -> Result<Socket, BoxError> {
    let connector = TlsConnector::from(Arc::new(client_config(settings)?));
    let name = ServerName::try_from(settings.host().to_owned())?;
    let stream = connector.connect(name, tcp).await.map_err(|error| explain(settings, &error))?;
    Ok(Socket { certificate_hash: certificate_hash(&stream), duplex: Box::new(stream), is_tls: true })
}

fn explain(settings: &ConnectionSettings, error: &io::Error) -> BoxError {
    format!("no TLS with {} (sslmode {}): {error}", settings.host(), settings.effective_ssl_mode().as_str()).into()
}

/// Hashes the server's certificate with the hash of its signature, or SHA-256 in place of MD5 and SHA-1 (RFC 5929, section 4.1).
fn certificate_hash(stream: &TlsStream<TcpStream>) -> Option<Vec<u8>> {
    let certificate = stream.get_ref().1.peer_certificates()?.first()?;
    let algorithm = Certificate::from_der(certificate).ok()?.signature_algorithm.oid;
    Some(match algorithm {
        rfc5912::SHA_1_WITH_RSA_ENCRYPTION | rfc5912::SHA_256_WITH_RSA_ENCRYPTION | rfc5912::ECDSA_WITH_SHA_256 => {
            Sha256::digest(certificate).to_vec()
        }
        rfc5912::SHA_384_WITH_RSA_ENCRYPTION | rfc5912::ECDSA_WITH_SHA_384 => Sha384::digest(certificate).to_vec(),
        rfc5912::SHA_512_WITH_RSA_ENCRYPTION | rfc5912::ECDSA_WITH_SHA_512 => Sha512::digest(certificate).to_vec(),
        // Others, as Ed25519, name no hash: the login is not bound then, which SCRAM allows.
        _ => return None,
    })
}
