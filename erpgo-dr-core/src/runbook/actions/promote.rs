//! `promote`: a standby becomes the primary.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;

use super::super::error::ActionError;
use super::super::values::Value;
use super::{Act, Done, Loss, Nature, Scope, Uses, View, server};
use crate::postgres::ConnectionSettings;
use crate::topology::{Liveness, ask_server, candidate, discover, liveness, patroni_runs, promote_standby};
use crate::types::Lsn;

/// Promotes a standby, and waits until it takes writes. Of several it takes the one that has the most of the log. Returns the name of
/// the variable.
///
/// The old primary must not answer in any way, and the standby must hear nothing from it; a server that is a primary already is
/// accepted only where an earlier attempt of the same step has promoted it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Promote {
    /// The variables of the standbys: one, or several of which the most advanced is promoted.
    pub standbys: Vec<String>,
    /// The variable that gets the one that was promoted.
    pub into: Option<String>,
    /// The variable of the primary that it replaces. While that one takes writes, nothing is promoted.
    pub old: String,
    /// Promotes although the old primary takes writes: what it takes from then on is lost.
    #[serde(default)]
    pub beside_running_primary: bool,
    /// Promotes although Patroni runs the standby, for a cluster whose agents are lost for good: one that comes back decides otherwise.
    #[serde(default)]
    pub beside_patroni: bool,
}

/// How long a standby may take to say how much it has.
const ANSWER: Duration = Duration::from_secs(3);
/// How long the answer of a primary may take that a standby asks for.
const REPLY: Duration = Duration::from_secs(2);
/// How long it is waited before a standby is asked again.
const PAUSE: Duration = Duration::from_millis(100);

#[async_trait]
impl Act for Promote {
    fn nature(&self) -> Nature {
        Nature::change(120).repeatable().asking()
    }

    fn describe(&self, view: &View<'_>) -> String {
        let standbys: Vec<String> = self.standbys.iter().map(|name| view.server_name(name)).collect();
        let (standby, old) = (standbys.join(" or "), view.server_name(&self.old));
        match self.beside_running_primary {
            true => format!("promote {standby}, even while {old} takes writes"),
            false => format!("promote {standby}, unless {old} takes writes"),
        }
    }

    fn uses<'s>(&'s self, uses: &mut Uses<'s>) {
        uses.servers.extend(self.standbys.iter().chain([&self.old]).map(String::as_str));
        uses.made_servers.extend(self.into.as_deref());
    }

    async fn act(&self, scope: &Scope<'_>) -> Result<Done, ActionError> {
        let (chosen, promoted) = self.choose(scope).await?;
        let settings = scope.server(&chosen, None)?;
        let name = settings.to_string();
        let made = self.into.clone().map(|into| (into, Value::Server(Box::new(settings.clone()))));
        let done = Done { value: Some(chosen), made, ..Done::default() };
        if promoted {
            return Ok(Done { output: format!("{name} is a primary already"), ..done });
        }
        // A standby that cannot be asked for that is not promoted.
        if !self.beside_patroni && patroni_runs(&settings, ANSWER).await? {
            return Err(ActionError::Unexpected {
                expected: format!("{name} to be run by nobody else"),
                found: "that Patroni runs it, which is asked by `ha` instead".to_owned(),
            });
        }
        let written = self.old_primary_position(scope).await?;
        self.wait_until_deaf(scope, &settings).await?;
        let before = ask_server(&settings, ANSWER).await?;
        if !promote_standby(&settings, scope.timeout.duration()).await? {
            return Err(ActionError::Unexpected {
                expected: "the standby to become a primary in time".to_owned(),
                found: "it was asked to, and is still in recovery".to_owned(),
            });
        }
        // What was received is replayed before it is promoted.
        let after = ask_server(&settings, ANSWER).await?;
        let bytes = written.zip(before.reached()).map(|(written, reached)| written.0.saturating_sub(reached.0));
        let position = |lsn: Option<Lsn>| lsn.map_or_else(|| "an unknown position".to_owned(), |lsn| lsn.to_string());
        let output = format!(
            "{name} is the primary; before that it had received to {} and replayed to {}",
            position(before.written),
            position(after.replayed),
        );
        let loss = Some(Loss { recovered_to: after.newest_commit, bytes });
        Ok(Done { output, loss, ..done })
    }
}

impl Promote {
    /// Returns the variable of the standby that is promoted, and whether an earlier attempt of this step has promoted it.
    async fn choose(&self, scope: &Scope<'_>) -> Result<(String, bool), ActionError> {
        let topology = discover(&scope.servers(&self.standbys)?, ANSWER).await;
        let unexpected =
            |found: String| ActionError::Unexpected { expected: "a standby that can be promoted".to_owned(), found };
        let systems: BTreeSet<u64> =
            topology.servers.iter().filter_map(|server| Some(server.state.as_ref()?.system_identifier)).collect();
        if systems.len() > 1 {
            return Err(unexpected("servers of several clusters".to_owned()));
        }
        let primary = topology.primaries().map(|(server, _)| server.name.clone()).next();
        match primary {
            Some(name) if scope.again => Ok((name, true)),
            Some(name) => Err(unexpected(format!("{name}, which is a primary, and was not promoted by this run"))),
            None => match candidate(&topology) {
                Some(candidate) => Ok((candidate.name, false)),
                None => Err(unexpected(topology.findings.join("; "))),
            },
        }
    }

    /// Makes sure that the old primary is off, as far as can be seen from here; returns how far it has written, if it still answers.
    async fn old_primary_position(&self, scope: &Scope<'_>) -> Result<Option<Lsn>, ActionError> {
        let settings = scope.server(&self.old, None)?;
        let found = match liveness(&settings, ANSWER).await {
            Liveness::Refused { .. } | Liveness::Silent { .. } | Liveness::Standby => return Ok(None),
            Liveness::Primary => "a primary".to_owned(),
            Liveness::Answers { error } => format!("that something answers there: {error}"),
        };
        if !self.beside_running_primary {
            let expected = format!("{settings} to take no writes before another server is promoted");
            return Err(ActionError::Unexpected { expected, found });
        }
        let client = server::connect(settings, scope.timeout.duration()).await?;
        let answered =
            server::run(&client, "SELECT pg_catalog.pg_current_wal_flush_lsn()", "ask how far it has written").await;
        client.close().await;
        Ok(answered?.first().and_then(|text| text.parse().ok()))
    }

    /// Waits until the standby hears nothing from its primary any more: while it does, somebody can still write there.
    async fn wait_until_deaf(&self, scope: &Scope<'_>, standby: &ConnectionSettings) -> Result<(), ActionError> {
        let deadline = tokio::time::Instant::now() + scope.timeout.duration().saturating_sub(ANSWER);
        if self.beside_running_primary {
            return Ok(());
        }
        loop {
            let state = ask_server(standby, ANSWER).await?;
            let hears = state.follows.as_ref().is_some_and(|followed| followed.hears(REPLY));
            if !hears {
                return Ok(());
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(ActionError::Unexpected {
                    expected: format!("{standby} to hear nothing from its primary any more"),
                    found: "that it still receives from it".to_owned(),
                });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
