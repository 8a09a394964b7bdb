//! Whether a primary is gone. That it does not answer here proves nothing: its standbys are asked whether they hear from it.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::time::Duration;

use serde::Serialize;

use super::discover::{Topology, discover};
use super::server::{Role, ask_server};
use crate::postgres::ConnectionSettings;

/// How a primary is probed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProbeOptions {
    /// Probes that must fail one after the other; a refused connection is decisive at once.
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
    /// It is a standby.
    Standby,
    /// Something answers there, and it is not known what.
    Answers {
        /// What it said.
        error: String,
    },
    /// It does not answer here, and a standby hears from it: it is this host that is cut off from it.
    HeardByOthers {
        /// The standbys that hear from it.
        witnesses: Vec<Witness>,
    },
    /// It does not answer, and enough standbys say that they hear nothing from it either.
    Down {
        /// The standbys that were asked and hear nothing.
        witnesses: Vec<Witness>,
        /// Why the last probe failed.
        error: String,
    },
    /// It does not answer, and there were not enough standbys that could tell: nobody knows.
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

/// What a server that is to be off says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
#[non_exhaustive]
pub enum Liveness {
    /// It is no standby: whoever may, can write to it, also where writes are off by default.
    Primary,
    /// It is a standby.
    Standby,
    /// Something answers there, and it is not known what: a refused log-in, too many clients, a server that starts.
    Answers {
        /// What it said.
        error: String,
    },
    /// Its host says that nothing listens there.
    Refused {
        /// What was said.
        error: String,
    },
    /// Nothing is heard from there: it may be off, or only out of reach from here.
    Silent {
        /// What was waited for.
        error: String,
    },
}

/// Finds out whether a server is off, as far as that can be told from here.
pub async fn liveness(server: &ConnectionSettings, limit: Duration) -> Liveness {
    let error = match ask_server(server, limit).await {
        Ok(state) if state.role == Role::Standby => return Liveness::Standby,
        Ok(_) => return Liveness::Primary,
        Err(error) => error,
    };
    let causes = || std::iter::successors(Some(&error as &dyn std::error::Error), |cause| cause.source());
    let text = causes().last().map(ToString::to_string).unwrap_or_default();
    let kind = causes().find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    let timed_out = causes().any(|cause| cause.is::<tokio::time::error::Elapsed>());
    match kind {
        // The folder of a socket is there, and no server has one in it.
        Some(io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => Liveness::Refused { error: text },
        Some(io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => {
            Liveness::Silent { error: text }
        }
        _ if timed_out => Liveness::Silent { error: format!("no answer within {limit:?}") },
        _ => Liveness::Answers { error: text },
    }
}

/// Probes a primary, and asks its standbys whether they hear from it, until it answers or all probes have failed.
///
/// What answers in whatever way is up. That nothing listens there is known at once, and silence only after all probes. It is down only
/// where more than half of all that could tell say so: this host, and the standbys that were named, twice each. A standby that is told to
/// follow nobody, or that does not show whom it hears, is none of these.
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
        match quiet(primary, options.limit).await {
            Err(answers) => return answers,
            Ok(Quiet { error: refused, listens: false }) => {
                error = refused;
                break;
            }
            Ok(silent) => error = silent.error,
        }
    }
    let first = verdict(&discover(standbys, options.limit).await, standbys.len(), options.reply, &error);
    if !matches!(first, PrimaryVerdict::Down { .. }) {
        return first;
    }
    // A receiver that is about to connect again is deaf for a moment, and a server that is restarted is not there for one.
    tokio::time::sleep(options.every).await;
    match quiet(primary, options.limit).await {
        Err(answers) => answers,
        Ok(quiet) => verdict(&discover(standbys, options.limit).await, standbys.len(), options.reply, &quiet.error),
    }
}

/// A server that says nothing.
struct Quiet {
    error: String,
    /// Whether something may listen there.
    listens: bool,
}

/// Probes a server once: an error is what it is where it answers.
async fn quiet(server: &ConnectionSettings, limit: Duration) -> Result<Quiet, PrimaryVerdict> {
    match liveness(server, limit).await {
        Liveness::Primary => Err(PrimaryVerdict::Up),
        Liveness::Standby => Err(PrimaryVerdict::Standby),
        Liveness::Answers { error } => Err(PrimaryVerdict::Answers { error }),
        Liveness::Refused { error } => Ok(Quiet { error, listens: false }),
        Liveness::Silent { error } => Ok(Quiet { error, listens: true }),
    }
}

/// Judges by what the standbys say, when the primary says nothing.
fn verdict(standbys: &Topology, named: usize, reply: Duration, error: &str) -> PrimaryVerdict {
    let error = error.to_owned();
    let (mut hearing, mut deaf) = (Vec::new(), Vec::new());
    let mut systems = BTreeSet::new();
    for (server, state) in standbys.standbys() {
        let follows = state.follows.as_ref();
        let cannot_tell = follows.is_some_and(|followed| followed.status.is_none());
        if cannot_tell || state.has_primary != Some(true) {
            continue;
        }
        systems.insert(state.system_identifier);
        let silent_ms = follows.and_then(|followed| followed.silent_ms);
        let witness = Witness { name: server.name.clone(), silent_ms };
        if follows.is_some_and(|followed| followed.hears(reply)) { hearing.push(witness) } else { deaf.push(witness) }
    }
    let votes = deaf.len() + 1;
    match (hearing.is_empty(), deaf.is_empty()) {
        (false, _) => PrimaryVerdict::HeardByOthers { witnesses: hearing },
        (true, false) if systems.len() == 1 && 2 * votes > named + 1 => PrimaryVerdict::Down { witnesses: deaf, error },
        _ => PrimaryVerdict::Unknown { error },
    }
}

impl fmt::Display for PrimaryVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names =
            |witnesses: &[Witness]| witnesses.iter().map(|witness| witness.name.clone()).collect::<Vec<_>>().join(", ");
        match self {
            Self::Up => f.write_str("it takes writes"),
            Self::Standby => f.write_str("it is a standby"),
            Self::Answers { error } => write!(f, "something answers there: {error}"),
            Self::HeardByOthers { witnesses } => {
                write!(f, "it does not answer here, and {} still hears from it", names(witnesses))
            }
            Self::Down { witnesses, error } => {
                write!(f, "it does not answer ({error}), and {} hears nothing from it", names(witnesses))
            }
            Self::Unknown { error } => {
                write!(f, "it does not answer ({error}), and too few standbys can tell whether they hear from it")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::discover::ClusterServer;
    use super::super::server::{Followed, ServerState};
    use super::*;
    use crate::types::TimelineId;

    fn standby(name: &str, follows: Option<(&str, u64)>) -> ClusterServer {
        let follows = follows.map(|(status, silent)| Followed {
            host: None,
            port: None,
            status: (!status.is_empty()).then(|| status.to_owned()),
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
            has_primary: Some(true),
            follows,
            followers: Vec::new(),
            slots: Vec::new(),
        };
        ClusterServer { name: name.to_owned(), address: String::new(), state: Some(state), error: None }
    }

    #[test]
    fn a_primary_is_down_only_where_enough_could_have_heard_it() {
        let judge = |servers: Vec<ClusterServer>| {
            let named = servers.len();
            verdict(&Topology::new(servers), named, Duration::from_secs(2), "x")
        };
        let gone = || ClusterServer { state: None, error: Some("x".to_owned()), ..standby("c", None) };
        let down = judge(vec![standby("a", None), standby("b", Some(("streaming", 32_001))), gone()]);
        assert!(matches!(down, PrimaryVerdict::Down { witnesses, .. } if witnesses.len() == 2));
        let heard = judge(vec![standby("a", None), standby("b", Some(("streaming", 31_000)))]);
        assert!(matches!(heard, PrimaryVerdict::HeardByOthers { witnesses } if witnesses[0].name == "b"));
        assert!(matches!(judge(vec![standby("b", Some(("waiting", 100)))]), PrimaryVerdict::HeardByOthers { .. }));
        assert!(matches!(judge(vec![standby("b", Some(("starting", 100)))]), PrimaryVerdict::Down { .. }));
        // One of three, a role that sees nothing, one that follows nobody, one of another cluster.
        assert!(matches!(judge(vec![standby("a", None), gone(), gone()]), PrimaryVerdict::Unknown { .. }));
        assert!(matches!(judge(vec![standby("b", Some(("", 0)))]), PrimaryVerdict::Unknown { .. }));
        let mut alone = standby("a", None);
        alone.state.as_mut().unwrap().has_primary = Some(false);
        assert!(matches!(judge(vec![alone]), PrimaryVerdict::Unknown { .. }));
        let mut foreign = standby("b", None);
        foreign.state.as_mut().unwrap().system_identifier = 2;
        assert!(matches!(judge(vec![standby("a", None), foreign]), PrimaryVerdict::Unknown { .. }));
        assert!(matches!(judge(vec![gone()]), PrimaryVerdict::Unknown { .. }));
    }
}
