//! TLS for our own connections, verified as libpq would verify it.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::super::PostgresError;
use super::settings::{ConnectionSettings, SslMode};

/// Makes a connector for the settings' SSL mode.
pub(super) fn connector(settings: &ConnectionSettings) -> Result<MakeRustlsConnect, PostgresError> {
    Ok(MakeRustlsConnect::new(client_config(settings)?))
}

/// Makes the configuration that the settings' SSL mode asks for.
pub(in crate::postgres) fn client_config(settings: &ConnectionSettings) -> Result<ClientConfig, PostgresError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match settings.effective_ssl_mode() {
        SslMode::Disable | SslMode::Prefer | SslMode::Require => {
            Arc::new(Lenient { provider: provider.clone(), authority: None })
        }
        SslMode::VerifyCa => {
            let authority = Some(authority(settings, &provider)?);
            Arc::new(Lenient { provider: provider.clone(), authority })
        }
        SslMode::VerifyFull => authority(settings, &provider)?,
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(config)
}

fn authority(
    settings: &ConnectionSettings,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, PostgresError> {
    let Some(path) = settings.root_cert_file() else {
        let system = rustls_platform_verifier::Verifier::new(provider.clone()).map_err(|error| unusable(&error))?;
        return Ok(Arc::new(system));
    };
    let roots = Arc::new(read_roots(path)?);
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build();
    Ok(verifier.map_err(|error| PostgresError::InvalidSettings(format!("{}: {error}", path.display())))?)
}

fn read_roots(path: &Path) -> Result<RootCertStore, PostgresError> {
    let invalid =
        |text: String| PostgresError::InvalidSettings(format!("root certificates {}: {text}", path.display()));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| invalid(error.to_string()))? {
        let certificate = certificate.map_err(|error| invalid(error.to_string()))?;
        roots.add(certificate).map_err(|error| invalid(error.to_string()))?;
    }
    if roots.is_empty() { Err(invalid("there is none in it".to_owned())) } else { Ok(roots) }
}

fn unusable(error: &rustls::Error) -> PostgresError {
    PostgresError::InvalidSettings(format!("TLS cannot be used: {error}"))
}

/// Verifies less than a host's identity: its chain to an authority (`verify-ca`), or nothing (`require`, `prefer`).
///
/// Without an authority it still checks that the peer holds the key of the certificate that it shows.
#[derive(Debug)]
struct Lenient {
    provider: Arc<CryptoProvider>,
    authority: Option<Arc<dyn ServerCertVerifier>>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(authority) = &self.authority else { return Ok(ServerCertVerified::assertion()) };
        match authority.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            // The verifier looks at the name last: by then the chain has been found good.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            outcome => outcome,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
