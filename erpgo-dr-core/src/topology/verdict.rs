//! Whether a primary is gone. That it does not answer here proves nothing: its standbys are asked whether they hear from it.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::discover::{Topology, discover};
use super::server::{Followed, Role, ask_server};
use crate::postgres::ConnectionSettings;

/// How a primary is probed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProbeOptions {
    /// Probes that must fail one after the other.
    pub probes: u32,
    /// The time between two.
    pub every: Duration,
    /// How long an answer may take.
    pub limit: Duration,
    /// How long the answer may take that a standby asks for when it has heard nothing for half of its `wal_receiver_timeout`. One that
    /// has waited longer hears no more.
    pub reply: Duration,
}

impl Default for ProbeOptions {
    fn default() -> Self {
        Self {
            probes: 3,
            every: Duration::from_millis(500),
            limit: Duration::from_secs(2),
            reply: Duration::from_secs(2),
        }
    }
}

impl ProbeOptions {
    /// Sets how many probes must fail; at least one.
    pub fn with_probes(mut self, probes: u32) -> Self {
        self.probes = probes.max(1);
        self
    }

    /// Sets the time between two.
    pub fn with_every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// Sets how long an answer may take.
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Sets how long the answer may take that a standby asks for.
    pub fn with_reply(mut self, reply: Duration) -> Self {
        self.reply = reply;
        self
    }
}

/// What became of a primary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
#[non_exhaustive]
pub enum PrimaryVerdict {
    /// It answers, and takes writes.
    Up,
    /// It answers, and takes none: it is a standby, or set to read only.
    TakesNoWrites,
    /// It does not answer here, and a standby hears from it: it is this host that is cut off from it.
    HeardByOthers {
        /// The standbys that hear from it.
        witnesses: Vec<Witness>,
    },
    /// It does not answer, and no standby that could be asked hears from it.
    Down {
        /// The standbys that were asked and hear nothing.
        witnesses: Vec<Witness>,
        /// Why the last probe failed.
        error: String,
    },
    /// It does not answer, and there was no standby to ask: nobody knows.
    Unknown {
        /// Why the last probe failed.
        error: String,
    },
}

/// What a standby says of the primary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Witness {
    /// What the caller calls it.
    pub name: String,
    /// Milliseconds since it heard something; none if it is not connected.
    pub silent_ms: Option<u64>,
}

/// Probes a primary, and asks its standbys whether they hear from it, until it answers or all probes have failed.
pub async fn probe_primary(
    primary: &ConnectionSettings,
    standbys: &[(String, ConnectionSettings)],
    options: &ProbeOptions,
) -> PrimaryVerdict {
    let mut error = String::new();
    for probe in 0..options.probes.max(1) {
        if probe > 0 {
            tokio::time::sleep(options.every).await;
        }
        match ask_server(primary, options.limit).await {
            Ok(state) if state.role == Role::Primary => return PrimaryVerdict::Up,
            Ok(_) => return PrimaryVerdict::TakesNoWrites,
            Err(failed) => error = failed.to_string(),
        }
    }
    let topology = discover(standbys, options.limit).await;
    verdict(&topology, options.reply, error)
}

/// Judges by what the standbys say, when the primary says nothing.
fn verdict(standbys: &Topology, reply: Duration, error: String) -> PrimaryVerdict {
    let (mut hearing, mut deaf) = (Vec::new(), Vec::new());
    for (server, state) in standbys.standbys() {
        let connected = state.follows.as_ref().filter(|followed| followed.status == "streaming");
        let silent_ms = connected.and_then(|followed| followed.silent_ms);
        let hears = connected.is_some_and(|followed| hears(followed, reply));
        let witness = Witness { name: server.name.clone(), silent_ms };
        if hears { hearing.push(witness) } else { deaf.push(witness) }
    }
    match (hearing.is_empty(), deaf.is_empty()) {
        (false, _) => PrimaryVerdict::HeardByOthers { witnesses: hearing },
        (true, false) => PrimaryVerdict::Down { witnesses: deaf, error },
        (true, true) => PrimaryVerdict::Unknown { error },
    }
}

/// Returns whether a standby that is connected may still hear from its primary.
fn hears(followed: &Followed, reply: Duration) -> bool {
    let (Some(silent), Some(timeout)) = (followed.silent_ms, followed.timeout_ms) else { return true };
    u128::from(silent) <= u128::from(timeout) / 2 + reply.as_millis()
}

impl fmt::Display for PrimaryVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names =
            |witnesses: &[Witness]| witnesses.iter().map(|witness| witness.name.clone()).collect::<Vec<_>>().join(", ");
        match self {
            Self::Up => f.write_str("it takes writes"),
            Self::TakesNoWrites => f.write_str("it answers, and takes no writes"),
            Self::HeardByOthers { witnesses } => {
                write!(f, "it does not answer here, and {} still hears from it", names(witnesses))
            }
            Self::Down { witnesses, error } => {
                write!(f, "it does not answer ({error}), and {} hears nothing from it", names(witnesses))
            }
            Self::Unknown { error } => write!(f, "it does not answer ({error}), and there is no standby to ask"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::discover::ClusterServer;
    use super::super::server::ServerState;
    use super::*;
    use crate::types::TimelineId;

    fn standby(name: &str, follows: Option<(&str, u64)>) -> ClusterServer {
        let follows = follows.map(|(status, silent)| Followed {
            host: None,
            port: None,
            status: status.to_owned(),
            latest: None,
            silent_ms: Some(silent),
            timeout_ms: Some(60_000),
        });
        let state = ServerState {
            system_identifier: 1,
            role: Role::Standby,
            timeline: TimelineId::new(1).unwrap(),
            written: None,
            replayed: None,
            newest_commit: None,
            follows,
            followers: Vec::new(),
            slots: Vec::new(),
        };
        ClusterServer { name: name.to_owned(), address: String::new(), state: Some(state), error: None }
    }

    #[test]
    fn a_primary_is_down_only_where_somebody_could_have_heard_it() {
        let judge =
            |servers: Vec<ClusterServer>| verdict(&Topology::new(servers), Duration::from_secs(2), "x".to_owned());
        let gone = ClusterServer { state: None, error: Some("x".to_owned()), ..standby("c", None) };
        let down = judge(vec![standby("a", None), standby("b", Some(("streaming", 32_001))), gone.clone()]);
        assert!(matches!(down, PrimaryVerdict::Down { witnesses, .. } if witnesses.len() == 2));
        let heard = judge(vec![standby("a", None), standby("b", Some(("streaming", 31_000)))]);
        assert!(matches!(heard, PrimaryVerdict::HeardByOthers { witnesses } if witnesses[0].name == "b"));
        let waiting = judge(vec![standby("b", Some(("waiting", 100)))]);
        assert!(matches!(waiting, PrimaryVerdict::Down { .. }));
        assert!(matches!(judge(vec![gone]), PrimaryVerdict::Unknown { .. }));
    }
}
