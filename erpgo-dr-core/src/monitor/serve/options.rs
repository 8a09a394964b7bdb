//! Who may ask, how, and what is not served.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::watch;

use super::super::Facts;
use super::connections::{PATIENCE, acceptor};
use crate::agent::AgentState;

/// Who may ask, and how.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ServeOptions {
    /// What a client must show: as a bearer token, or as the password of any user. Health is told to all.
    pub token: Option<SecretString>,
    /// The certificate and its key.
    pub tls: Option<TlsFiles>,
    /// Facts that are older than this are not to be relied on: the service says that it is not ready.
    pub stale_after: Option<Duration>,
    /// An agent of this process: how it stands is told as it is when somebody asks, also while the repository does not answer. Of a fleet,
    /// the facts of each cluster have its own.
    pub agent: Option<watch::Receiver<AgentState>>,
}

/// Files in PEM form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and those between it and its root.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Others could listen, or ask.
    #[error("{address} can be reached from other hosts, and {lacks}")]
    Exposed {
        /// Where it would listen.
        address: SocketAddr,
        /// What is missing.
        lacks: &'static str,
    },
    /// A certificate or key that cannot be used.
    #[error("{}: {message}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The socket.
    #[error("cannot {action}")]
    Io {
        /// What was tried.
        action: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

impl ServeOptions {
    /// Sets what a client must show.
    pub fn with_token(mut self, token: Option<SecretString>) -> Self {
        self.token = token;
        self
    }

    /// Sets the certificate.
    pub fn with_tls(mut self, tls: Option<TlsFiles>) -> Self {
        self.tls = tls;
        self
    }

    /// Sets how old facts may be that are relied on.
    pub fn with_stale_after(mut self, age: Option<Duration>) -> Self {
        self.stale_after = age;
        self
    }

    /// Has an agent of this process tell how it stands.
    pub fn with_agent(mut self, agent: Option<watch::Receiver<AgentState>>) -> Self {
        self.agent = agent;
        self
    }

    /// Checks that these may be served at an address. [`serve`](super::serve) does that, too.
    ///
    /// # Errors
    /// [`ServeError::Exposed`]; [`ServeError::Certificate`].
    pub fn check(&self, address: SocketAddr) -> Result<(), ServeError> {
        self.refuse_exposed(address)?;
        self.tls.as_ref().map(acceptor).transpose().map(drop)
    }

    pub(super) fn refuse_exposed(&self, address: SocketAddr) -> Result<(), ServeError> {
        let lacks = match (address.ip().is_loopback(), self.tls.is_some(), self.token.is_some()) {
            (true, _, _) | (false, true, true) => return Ok(()),
            (_, false, true) => "there is no certificate",
            (_, true, false) => "no token is asked for",
            (_, false, false) => "there is neither a certificate nor a token",
        };
        Err(ServeError::Exposed { address, lacks })
    }

    /// Returns why facts are not to be relied on, if there is a reason.
    pub(super) fn doubt(&self, facts: &Facts) -> Option<&'static str> {
        let limit = self.stale_after?;
        let age = chrono::Utc::now() - facts.at;
        match age.to_std() {
            Ok(age) if age > limit => Some("the repository does not answer"),
            Ok(_) => None,
            // A few seconds are those of a clock that is being set right.
            Err(_) if (-age).to_std().is_ok_and(|ahead| ahead < PATIENCE) => None,
            Err(_) => Some("the clock of this host was set back"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_can_reach_takes_a_certificate_and_a_token() {
        let tls = Some(TlsFiles { certificate: "c.pem".into(), key: "k.pem".into() });
        let token = Some(SecretString::from("secret"));
        let open = ServeOptions::default();
        for address in ["127.0.0.1:80", "[::1]:80"] {
            assert!(open.refuse_exposed(address.parse().unwrap()).is_ok(), "{address}");
        }
        let (only_tls, only_token) = (open.clone().with_tls(tls), open.clone().with_token(token.clone()));
        let both = only_tls.clone().with_token(token);
        for address in ["0.0.0.0:80", "10.0.0.1:80", "[::]:80"] {
            let address = address.parse().unwrap();
            for options in [&open, &only_tls, &only_token] {
                assert!(matches!(options.refuse_exposed(address), Err(ServeError::Exposed { .. })), "{options:?}");
            }
            assert!(both.refuse_exposed(address).is_ok());
        }
    }
}
