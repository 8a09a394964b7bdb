//! One message to a name server and its answer, signed or not, by TCP (RFC 7766).

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::tsig::{TsigAlgorithm, TsigError};
use hickory_proto::rr::{Name, TSigVerifier, TSigner};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::super::super::error::ActionError;
use super::records::{Found, RecordSet, Records};
use super::{KeyAlgorithm, unusable};
use crate::clock::Clock;

/// How long a name server may take for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
const PORT: u16 = 53;
/// How many seconds two clocks may differ (RFC 8945, 10).
const FUDGE: u16 = 300;

/// Signs messages with a shared key. `Debug` does not show it.
pub(super) struct Signer {
    signer: TSigner,
    clock: Arc<dyn Clock>,
}

/// A name server.
#[derive(Debug)]
pub(super) struct NameServer {
    name: String,
    address: String,
}

impl Signer {
    pub(super) fn new(
        name: &str,
        key: Vec<u8>,
        algorithm: KeyAlgorithm,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ActionError> {
        let key_name = Name::from_ascii(name).map_err(|_| unusable(format!("{name:?} cannot name a key")))?;
        let algorithm = match algorithm {
            KeyAlgorithm::HmacSha256 => TsigAlgorithm::HmacSha256,
            KeyAlgorithm::HmacSha384 => TsigAlgorithm::HmacSha384,
            KeyAlgorithm::HmacSha512 => TsigAlgorithm::HmacSha512,
        };
        let signer = TSigner::new(key, algorithm, key_name, FUDGE);
        let signer = signer.map_err(|error| unusable(format!("the key {name}: {error}")))?;
        Ok(Self { signer, clock })
    }

    fn sign(&self, message: &mut Message) -> Result<Option<TSigVerifier>, ActionError> {
        let now = u64::try_from(self.clock.now().timestamp()).unwrap_or_default();
        message.finalize(&self.signer, now).map_err(|error| unusable(format!("cannot sign: {error}")))
    }
}

impl NameServer {
    /// Takes `host`, `host:port`, an address, or `[address]:port`.
    pub(super) fn new(name: String) -> Self {
        let has_port = match name.rsplit_once(':') {
            Some((host, port)) => port.parse::<u16>().is_ok() && (host.ends_with(']') || !host.contains(':')),
            None => false,
        };
        let address = match has_port {
            true => name.clone(),
            false if name.contains(':') && !name.starts_with('[') => format!("[{name}]:{PORT}"),
            false => format!("{name}:{PORT}"),
        };
        Self { name, address }
    }

    /// Asks for records.
    pub(super) async fn ask(&self, wanted: &RecordSet) -> Result<Found, ActionError> {
        let answer = self.send(wanted.question(), None).await?;
        self.found(wanted, &answer)
    }

    /// Asks for records, and believes only an answer that is signed.
    pub(super) async fn ask_signed(&self, wanted: &RecordSet, signer: &Signer) -> Result<Found, ActionError> {
        let answer = self.send(wanted.question(), Some(signer)).await?;
        self.found(wanted, &answer)
    }

    /// Replaces records that are still what they were.
    pub(super) async fn update(
        &self,
        wanted: &RecordSet,
        before: &Records,
        signer: &Signer,
    ) -> Result<(), ActionError> {
        let answer = self.send(wanted.update(before), Some(signer)).await?;
        match answer.metadata.response_code {
            ResponseCode::NoError => Ok(()),
            code => Err(self.refused(&answer, code)),
        }
    }

    fn found(&self, wanted: &RecordSet, answer: &Message) -> Result<Found, ActionError> {
        match answer.metadata.response_code {
            ResponseCode::NoError | ResponseCode::NXDomain => Ok(wanted.found_in(answer)),
            code => Err(self.refused(answer, code)),
        }
    }

    async fn send(&self, mut message: Message, signer: Option<&Signer>) -> Result<Message, ActionError> {
        let verifier = signer.map(|signer| signer.sign(&mut message)).transpose()?.flatten();
        let bytes = message.to_vec().map_err(|error| unusable(format!("no message of DNS: {error}")))?;
        let exchanged = tokio::time::timeout(PATIENCE, exchange(&self.address, &bytes)).await;
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", PATIENCE.as_secs()));
        let received = exchanged.map_err(late).flatten().map_err(|error| self.failed(error.to_string()))?;
        let answer = Message::from_vec(&received).map_err(|error| self.failed(format!("no answer of DNS: {error}")))?;
        if answer.metadata.id != message.metadata.id {
            return Err(self.failed("an answer to another question".to_owned()));
        }
        // A refusal may come unsigned (RFC 8945, 5.2.1 and 5.2.2), and changes nothing: it needs no proof.
        let good = matches!(answer.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain);
        if let Some(mut verifier) = verifier.filter(|_| good) {
            verifier.verify(&received).map_err(|error| self.failed(format!("its signature is wrong: {error}")))?;
        }
        Ok(answer)
    }

    fn failed(&self, reason: String) -> ActionError {
        ActionError::Request { url: self.to_string(), reason }
    }

    fn refused(&self, answer: &Message, code: ResponseCode) -> ActionError {
        let signature = answer.signature().and_then(|signature| signature.data.error.as_ref()).map(tsig_error);
        let code = name_of(code);
        let answer = signature.map_or_else(|| code.clone(), |signature| format!("{code} ({signature})"));
        ActionError::Refused { by: self.to_string(), answer }
    }
}

impl fmt::Display for NameServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the name server {}", self.name)
    }
}

async fn exchange(address: &str, message: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    let length = u16::try_from(message.len()).map_err(|_| io::Error::other("more than a message can hold"))?;
    stream.write_all(&[&length.to_be_bytes(), message].concat()).await?;
    let length = stream.read_u16().await?;
    let mut received = vec![0; usize::from(length)];
    stream.read_exact(&mut received).await?;
    Ok(received)
}

/// Returns the name of a code as the RFCs have it.
fn name_of(code: ResponseCode) -> String {
    match code {
        ResponseCode::FormErr => "FORMERR".to_owned(),
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        ResponseCode::NXRRSet => "NXRRSET, its records changed meanwhile".to_owned(),
        ResponseCode::YXRRSet => "YXRRSET, it has records meanwhile".to_owned(),
        ResponseCode::NotAuth => "NOTAUTH".to_owned(),
        ResponseCode::NotZone => "NOTZONE".to_owned(),
        other => format!("{other} ({})", u16::from(other)),
    }
}

fn tsig_error(error: &TsigError) -> String {
    match error {
        TsigError::BadSig => "BADSIG".to_owned(),
        TsigError::BadKey => "BADKEY".to_owned(),
        TsigError::BadTime => "BADTIME, the clocks differ".to_owned(),
        TsigError::BadTrunc => "BADTRUNC".to_owned(),
        TsigError::Unknown(code) => format!("error {code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_taken_where_one_is_written() {
        for (name, address) in [
            ("ns.ex.test", "ns.ex.test:53"),
            ("ns.ex.test:5353", "ns.ex.test:5353"),
            ("192.0.2.1", "192.0.2.1:53"),
            ("2001:db8::1", "[2001:db8::1]:53"),
            ("[2001:db8::1]", "[2001:db8::1]:53"),
            ("[2001:db8::1]:5353", "[2001:db8::1]:5353"),
        ] {
            assert_eq!(NameServer::new(name.to_owned()).address, address);
        }
    }
}
