//! The web hook that the agent tells of alarms.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use erpgo_dr_benches::random::Random;

/// One request in so many is refused: the agent is to tell it again.
const REFUSED: u64 = 5;

/// A web hook that runs until the process ends.
pub(crate) struct Sink {
    address: String,
    told: Arc<Mutex<Vec<String>>>,
}

/// What was told of alarms.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) raised: u64,
    pub(crate) cleared: u64,
    /// Subjects whose alarm is open.
    pub(crate) open: BTreeSet<String>,
    /// Messages that were told again, or make no sense after the ones before.
    pub(crate) wrong: Vec<String>,
}

impl Sink {
    pub(crate) fn open(seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = format!("http://{}/alarms", listener.local_addr()?);
        let told = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&told);
        thread::spawn(move || {
            let mut random = Random::new(seed);
            for stream in listener.incoming().flatten() {
                // A client that goes away is one that asks again.
                let _ = answer(stream, random.below(REFUSED) == 0, &kept);
            }
        });
        Ok(Self { address, told })
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Returns what was told so far.
    pub(crate) fn told(&self) -> Told {
        read(&self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the messages.
    pub(crate) fn messages(&self) -> Vec<String> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn answer(mut stream: TcpStream, is_refused: bool, told: &Mutex<Vec<String>>) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let status = if is_refused { "503 Service Unavailable" } else { "200 OK" };
    if !is_refused {
        let document: serde_json::Value = serde_json::from_slice(&body)?;
        let text = document["text"].as_str().unwrap_or_default().to_owned();
        told.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

fn read(messages: &[String]) -> Told {
    let mut told = Told::default();
    for message in messages {
        let (_, rest) = message.split_once(": ").unwrap_or_default();
        let raised = rest.strip_prefix("ALARM: ").and_then(|rest| rest.split(':').next());
        let cleared = rest.strip_prefix("cleared: ").and_then(|rest| rest.split(' ').next());
        let makes_sense = match (raised, cleared) {
            (Some(subject), _) => {
                told.raised += 1;
                told.open.insert(subject.to_owned())
            }
            (None, Some(subject)) => {
                told.cleared += 1;
                told.open.remove(subject)
            }
            (None, None) => false,
        };
        if !makes_sense {
            told.wrong.push(message.clone());
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_are_raised_once_and_cleared_once() {
        let raised = "erpgo-dr on soak: ALARM: backup: no server (attempt 4)".to_owned();
        let cleared =
            "erpgo-dr on soak: cleared: backup is well again since 2026 (alarm of 2026: no server)".to_owned();
        let told = read(&[raised.clone(), cleared.clone(), raised.clone()]);
        assert_eq!((told.raised, told.cleared, told.open.len(), told.wrong.len()), (2, 1, 1, 0));
        assert_eq!(read(&[raised.clone(), raised.clone()]).wrong, [raised]);
        assert_eq!(read(std::slice::from_ref(&cleared)).wrong, [cleared]);
    }
}
