//! `primary-down`: whether a primary is really gone, and not only out of reach from here.

use async_trait::async_trait;
use serde::Deserialize;

use super::super::error::ActionError;
use super::super::span::Span;
use super::{Act, Done, Nature, Scope, Uses, View};
use crate::topology::{PrimaryVerdict, ProbeOptions, probe_primary};

/// Passes if a primary answers none of several probes, and no standby hears from it either.
///
/// A standby that is connected and hears nothing asks for an answer after half of its `wal_receiver_timeout`: how soon a host that
/// vanished is known to be gone depends on that setting. Where no standby can be asked, nobody knows, and it does not pass.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct PrimaryDown {
    /// The variable of the primary.
    pub primary: String,
    /// The variables of its standbys.
    pub standbys: Vec<String>,
    /// Probes that must fail one after the other.
    #[serde(default = "probes")]
    pub probes: u32,
    /// The time between two.
    #[serde(default = "every")]
    pub every: Span,
}

fn probes() -> u32 {
    3
}

fn every() -> Span {
    std::time::Duration::from_millis(500).into()
}

#[async_trait]
impl Act for PrimaryDown {
    fn nature(&self) -> Nature {
        Nature::check(60)
    }

    fn describe(&self, view: &View<'_>) -> String {
        let standbys: Vec<String> = self.standbys.iter().map(|name| view.server_name(name)).collect();
        let primary = view.server_name(&self.primary);
        format!("probe {primary} {} times, and ask {} whether it hears from it", self.probes, standbys.join(", "))
    }

    fn uses<'s>(&'s self, uses: &mut Uses<'s>) {
        uses.servers.push(&self.primary);
        uses.servers.extend(self.standbys.iter().map(String::as_str));
    }

    async fn act(&self, scope: &Scope<'_>) -> Result<Done, ActionError> {
        let primary = scope.server(&self.primary, None)?;
        let standbys = scope.servers(&self.standbys)?;
        let options = ProbeOptions::default().with_probes(self.probes).with_every(self.every.duration());
        let verdict = probe_primary(&primary, &standbys, &options).await;
        match verdict {
            PrimaryVerdict::Down { .. } => Ok(Done::said(verdict.to_string())),
            _ => Err(ActionError::Unexpected { expected: format!("{primary} to be gone"), found: verdict.to_string() }),
        }
    }
}
