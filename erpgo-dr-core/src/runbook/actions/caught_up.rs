//! `caught-up`: whether a standby has what its primary wrote.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;

use super::super::error::ActionError;
use super::super::template::Template;
use super::{Act, Done, Nature, Scope, Uses, View, server};
use crate::topology::{Role, ask_server, replayed_checkpoint};
use crate::types::Lsn;

/// Passes if a standby has replayed what its primary has written. Returns how far it has replayed.
///
/// What it must have is named by one of these, or by several: the primary, while it runs; a position that was asked before; and the
/// checkpoint by which a primary ends that is stopped in order. With that one behind everything else nothing is missing, and nothing was
/// written since: the proof for a change of the primary that loses nothing. It asks the standby alone, whose role must be allowed
/// `CHECKPOINT`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct CaughtUp {
    /// The variable of the standby.
    pub on: String,
    /// The variable of the primary, which is asked how far it has written.
    pub primary: Option<String>,
    /// Bytes that may be missing of what the running primary has written.
    #[serde(default)]
    pub within: u64,
    /// A position that the standby must have replayed.
    pub position: Option<Template>,
    /// Whether the last that the standby has replayed must be the checkpoint of a primary that was stopped in order.
    #[serde(default)]
    pub shutdown: bool,
}

/// How long a server may take to say how far it is.
const ANSWER: Duration = Duration::from_secs(5);

#[async_trait]
impl Act for CaughtUp {
    fn nature(&self) -> Nature {
        // A checkpoint writes what is in memory.
        Nature::check(if self.shutdown { 120 } else { 15 })
    }

    fn describe(&self, view: &View<'_>) -> String {
        let mut wanted = Vec::new();
        if let Some(primary) = &self.primary {
            let but = if self.within > 0 { format!(", but for {} bytes", self.within) } else { String::new() };
            wanted.push(format!("what {} has written{but}", view.server_name(primary)));
        }
        wanted.extend(self.position.as_ref().map(|position| format!("the log to {}", position.shown(view.values))));
        if self.shutdown {
            wanted.push("the checkpoint of a primary that was stopped in order, and nothing behind it".to_owned());
        }
        format!("see that {} has replayed {}", view.server_name(&self.on), wanted.join(" and "))
    }

    fn uses<'s>(&'s self, uses: &mut Uses<'s>) {
        uses.servers.push(&self.on);
        uses.servers.extend(self.primary.as_deref());
        uses.visible(&self.position);
    }

    async fn act(&self, scope: &Scope<'_>) -> Result<Done, ActionError> {
        if self.primary.is_none() && self.position.is_none() && !self.shutdown {
            let reason = "caught-up needs a primary, a position, or shutdown = true: what is the standby to have?";
            return Err(ActionError::Unusable(reason.to_owned()));
        }
        let settings = scope.server(&self.on, None)?;
        let name = settings.to_string();
        let unexpected = |expected: String, found: String| ActionError::Unexpected { expected, found };
        let written = self.written(scope).await?;
        let state = ask_server(&settings, ANSWER).await?;
        if state.role != Role::Standby {
            return Err(unexpected(format!("{name} to be a standby"), "a primary".to_owned()));
        }
        let replayed = state.replayed.unwrap_or(Lsn(0));
        let position = self.position(scope)?;
        for wanted in written.map(|lsn| Lsn(lsn.0.saturating_sub(self.within))).into_iter().chain(position) {
            if replayed < wanted {
                let bytes = wanted.0 - replayed.0;
                let found = format!("that it has replayed to {replayed}: {bytes} bytes are missing");
                return Err(unexpected(format!("{name} to have replayed to {wanted}"), found));
            }
        }
        if self.shutdown {
            let limit = scope.timeout.duration();
            let last = replayed_checkpoint(&settings, limit).await?;
            if !last.is_shutdown() || position.is_some_and(|position| last.checkpoint < position) {
                let expected = format!("{name} to end with the checkpoint of a primary that was stopped in order");
                let found = format!(
                    "a checkpoint at {} that begins at {}, and replay to {}",
                    last.checkpoint, last.redo, last.replayed
                );
                return Err(unexpected(expected, found));
            }
            let said = format!("{name} ends with the shutdown checkpoint at {}: nothing is missing", last.checkpoint);
            return Ok(Done { output: said, value: Some(last.replayed.to_string()), ..Done::default() });
        }
        let said = format!("{name} has replayed to {replayed}");
        Ok(Done { output: said, value: Some(replayed.to_string()), ..Done::default() })
    }
}

impl CaughtUp {
    /// Asks the primary how far it has written.
    async fn written(&self, scope: &Scope<'_>) -> Result<Option<Lsn>, ActionError> {
        let Some(primary) = &self.primary else { return Ok(None) };
        let settings = scope.server(primary, None)?;
        let client = server::connect(settings, ANSWER).await?;
        let asked = server::run(&client, "SELECT pg_catalog.pg_current_wal_flush_lsn()", "ask how far it has written");
        let asked = asked.await;
        client.close().await;
        Ok(asked?.first().and_then(|text| text.parse().ok()))
    }

    fn position(&self, scope: &Scope<'_>) -> Result<Option<Lsn>, ActionError> {
        let Some(text) = scope.optional(self.position.as_ref())? else { return Ok(None) };
        let wrong = || ActionError::Unusable(format!("{text:?} is no position of the log"));
        text.parse().map(Some).map_err(|_| wrong())
    }
}
