//! Escalation: who is told when a recovery takes long, level by level, on the clock of its incident.

mod clock;

pub(super) use clock::{EscalationClock, Incident};

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use super::RunbookError;
use super::notice::{Notifier, NotifyError};
use super::span::Span;

/// How often somebody is tried to be reached.
const ATTEMPTS: u32 = 3;
/// The wait between two attempts.
const PAUSE: Duration = Duration::from_secs(5);
/// How long all attempts may take: the next level waits for them.
const LIMIT: Duration = Duration::from_secs(60);

/// Somebody who is told, and how.
#[derive(Clone)]
#[non_exhaustive]
pub struct Contact {
    /// What levels, journals and reports call them: `oncall`.
    pub name: String,
    /// What they are: `On-Call Engineer`.
    pub role: Option<String>,
    /// Where others reach them, as messages say it: a telephone number, an address.
    pub reached_at: Vec<String>,
    /// What tells them.
    pub notifier: Arc<dyn Notifier>,
}

/// Those who are told when a recovery has taken a certain time.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EscalationLevel {
    /// How long after the incident.
    pub after: Span,
    /// Who is told.
    pub contacts: Vec<Contact>,
}

/// The levels of escalation. Each is reached while a run goes on and its time has come, or at once when nobody of the one before it
/// could be told.
#[derive(Debug, Clone)]
pub struct Escalation {
    host: String,
    levels: Vec<EscalationLevel>,
}

/// What became of telling a contact something.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Told {
    /// The level, from 1 on.
    pub level: u32,
    /// The contact.
    pub contact: String,
    /// Why it could not be told; absent where it was.
    pub failed: Option<String>,
}

impl Contact {
    /// Somebody of whom messages give only the name.
    pub fn new(name: impl Into<String>, notifier: Arc<dyn Notifier>) -> Self {
        Self { name: name.into(), role: None, reached_at: Vec::new(), notifier }
    }

    /// Sets what they are.
    pub fn with_role(mut self, role: Option<String>) -> Self {
        self.role = role;
        self
    }

    /// Sets where others reach them.
    pub fn with_reached_at(mut self, reached_at: Vec<String>) -> Self {
        self.reached_at = reached_at;
        self
    }

    /// Tells them, in several attempts.
    async fn tell(&self, message: &str) -> Result<(), NotifyError> {
        let attempts = async {
            let mut told = self.notifier.tell(message).await;
            for _ in 1..ATTEMPTS {
                if told.is_ok() {
                    break;
                }
                tokio::time::sleep(PAUSE).await;
                told = self.notifier.tell(message).await;
            }
            told
        };
        let late = || NotifyError { reason: format!("it took more than {}", Span::from(LIMIT)) };
        tokio::time::timeout(LIMIT, attempts).await.unwrap_or_else(|_| Err(late()))
    }
}

impl fmt::Debug for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contact").field("name", &self.name).field("role", &self.role).finish_non_exhaustive()
    }
}

impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        let beside: Vec<&str> = self.role.iter().chain(&self.reached_at).map(String::as_str).collect();
        if beside.is_empty() { Ok(()) } else { write!(f, " ({})", beside.join(", ")) }
    }
}

impl EscalationLevel {
    /// Those who are told this long after the incident.
    pub fn new(after: Span, contacts: Vec<Contact>) -> Self {
        Self { after, contacts }
    }
}

impl Escalation {
    /// Escalates by these levels. `host` is what messages say that they come from.
    ///
    /// # Errors
    /// [`RunbookError::Escalation`] where a level is not later than the one before it, or has nobody to tell.
    pub fn new(host: impl Into<String>, levels: Vec<EscalationLevel>) -> Result<Self, RunbookError> {
        if let Some(level) = levels.iter().position(|level| level.contacts.is_empty()) {
            return Err(RunbookError::Escalation(format!("nobody is told at level {}", level + 1)));
        }
        if let Some(level) = levels.windows(2).position(|pair| pair[0].after >= pair[1].after) {
            let (earlier, later) = (level + 1, level + 2);
            return Err(RunbookError::Escalation(format!("level {later} does not come after level {earlier}")));
        }
        Ok(Self { host: host.into(), levels })
    }

    /// Returns the levels.
    pub fn levels(&self) -> &[EscalationLevel] {
        &self.levels
    }

    /// Tells every contact of every level that this is a test, and returns whom it reached.
    pub async fn test(&self) -> Vec<Told> {
        let message = format!("erpgo-dr on {}: this is a test of the escalation. Nothing has happened.", self.host);
        let message = &message;
        let told = self.numbered().flat_map(|(number, level)| {
            level.contacts.iter().map(move |contact| async move {
                let failed = contact.notifier.tell(message).await.err().map(|error| error.reason);
                Told { level: number, contact: contact.name.clone(), failed }
            })
        });
        join_all(told).await
    }

    fn numbered(&self) -> impl Iterator<Item = (u32, &EscalationLevel)> {
        (1..).zip(&self.levels)
    }
}
