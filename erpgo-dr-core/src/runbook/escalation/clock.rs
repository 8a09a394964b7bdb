//! The clock of an incident: it runs beside the steps, and tells whoever is to know by now.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::join_all;
use tokio::sync::oneshot;

use super::super::journal::{Ending, Event, Journal};
use super::super::model::{Runbook, StepId};
use super::super::span::Span;
use super::{Contact, Escalation, EscalationLevel};
use crate::clock::Clock;
use crate::presentation::units::{length, moment};

/// The most that is slept before the time is looked at again: a host that was asleep has missed some.
const LOOK: Duration = Duration::from_secs(15);

/// What a run has come to: its ending and the step that it stands at, or why its journal could not be written.
pub(in super::super) type Reached = Result<(Ending, Option<StepId>), String>;

/// What people are told about.
#[derive(Debug)]
pub(in super::super) struct Incident {
    title: String,
    runbook: String,
    since: DateTime<Utc>,
    drill: bool,
    rto: Option<Span>,
}

/// The clock of a run's incident.
pub(in super::super) struct EscalationClock<'r> {
    escalation: Arc<Escalation>,
    journal: Arc<Journal<'r>>,
    clock: Arc<dyn Clock>,
    incident: Incident,
    /// Levels, their contacts, and whether these were reached: as the journal has it.
    told: BTreeSet<(u32, String, bool)>,
}

impl Incident {
    pub(in super::super) fn new(runbook: &Runbook, since: DateTime<Utc>, drill: bool) -> Self {
        let (title, name) = (runbook.title.clone(), runbook.name.to_string());
        Self { title, runbook: name, since, drill, rto: runbook.objectives.rto }
    }
}

impl<'r> EscalationClock<'r> {
    /// Takes up the time. `told` is what the journal has of levels, contacts, and whether they were reached.
    pub(in super::super) fn new(
        escalation: Arc<Escalation>,
        journal: Arc<Journal<'r>>,
        clock: Arc<dyn Clock>,
        incident: Incident,
        told: BTreeSet<(u32, String, bool)>,
    ) -> Self {
        Self { escalation, journal, clock, incident, told }
    }

    /// Returns the contacts who know, and are told how it ended.
    fn know(&self) -> BTreeSet<&str> {
        self.told.iter().filter(|(.., reached)| *reached).map(|(_, name, _)| name.as_str()).collect()
    }

    /// Returns the contacts who were tried, and never reached.
    fn unreachable(&self) -> BTreeSet<&str> {
        let know = self.know();
        self.told.iter().map(|(_, name, _)| name.as_str()).filter(|name| !know.contains(name)).collect()
    }

    /// Tells level after level until the run is over, and then those who know how it ended.
    pub(in super::super) async fn run(mut self, mut over: oneshot::Receiver<Reached>) {
        let escalation = Arc::clone(&self.escalation);
        let mut somebody_knows = true;
        for (number, level) in escalation.numbered() {
            let due = async {
                if somebody_knows {
                    self.wait_until(self.incident.since + level.after.duration()).await;
                }
            };
            tokio::select! {
                biased;
                reached = &mut over => return self.tell_the_end(reached.ok()).await,
                () = due => {}
            }
            somebody_knows = self.tell_level(number, level).await;
        }
        let reached = over.await;
        self.tell_the_end(reached.ok()).await;
    }

    async fn wait_until(&self, due: DateTime<Utc>) {
        while let Ok(left) = (due - self.clock.now()).to_std() {
            if left.is_zero() {
                break;
            }
            tokio::time::sleep(left.min(LOOK)).await;
        }
    }

    /// Tells a level; returns whether anybody of it knows.
    async fn tell_level(&mut self, number: u32, level: &EscalationLevel) -> bool {
        let message = self.level_message(number).await;
        // After a crash nobody is told twice, and whoever was not reached is tried again.
        let left = level.contacts.iter().filter(|contact| !self.told.contains(&(number, contact.name.clone(), true)));
        let telling = left.map(|contact| self.tell(Some(number), contact, &message));
        let told = join_all(telling).await;
        self.told.extend(told.into_iter().map(|(name, reached)| (number, name, reached)));
        let know = self.know();
        level.contacts.iter().any(|contact| know.contains(contact.name.as_str()))
    }

    /// Tells a contact, and writes down whether that worked.
    async fn tell(&self, level: Option<u32>, contact: &Contact, message: &str) -> (String, bool) {
        let failed = contact.tell(message).await.err().map(|error| error.reason);
        let (name, reached) = (contact.name.clone(), failed.is_none());
        if let Some(reason) = &failed {
            tracing::error!(contact = name, reason, "a contact could not be told");
        }
        // The run itself finds out that its journal cannot be written, and says so.
        if let Err(error) = self.journal.record(Event::Told { level, contact: name.clone(), failed }).await {
            tracing::error!(contact = name, %error, "that a contact was told could not be written down");
        }
        (name, reached)
    }

    async fn tell_the_end(self, reached: Option<Reached>) {
        // Whoever dropped the run went away without a word: as after a crash, it is to be resumed.
        let Some(reached) = reached else { return };
        let message = self.end_message(&reached);
        let (know, mut seen) = (self.know(), BTreeSet::new());
        let contacts = self.escalation.levels.iter().flat_map(|level| &level.contacts);
        let contacts = contacts.filter(|contact| know.contains(contact.name.as_str()) && seen.insert(&contact.name));
        let telling: Vec<_> = contacts.map(|contact| self.tell(None, contact, &message)).collect();
        join_all(telling).await;
    }

    async fn level_message(&self, number: u32) -> String {
        let step = self.journal.step().await.map(|step| format!(", at the step {step}")).unwrap_or_default();
        let objective = self.incident.rto.map(|rto| format!(" It was to be over within {rto}.")).unwrap_or_default();
        format!(
            "{}: level {number} of {}: {} since {}, for {}{step}.{objective}{}{}",
            self.from(),
            self.escalation.levels.len(),
            self.what(),
            moment(self.incident.since),
            self.taken(),
            self.named("Told before", &self.know()),
            self.named("Could not be reached", &self.unreachable()),
        )
    }

    fn end_message(&self, reached: &Reached) -> String {
        let run = &self.journal.run;
        let how = match reached {
            Ok((Ending::Completed, _)) => "is over".to_owned(),
            Ok((_, step)) => {
                let step = step.as_ref().map(|step| format!(" at the step {step}")).unwrap_or_default();
                format!("STOPPED{step} and needs somebody: `erpgo-dr runbook resume {run}` goes on")
            }
            Err(reason) => format!("BROKE OFF and needs somebody: {reason}"),
        };
        format!("{}: {} {how}, {} after it began.", self.from(), self.what(), self.taken())
    }

    fn from(&self) -> String {
        let drill = if self.incident.drill { "DRILL: " } else { "" };
        format!("{drill}erpgo-dr on {}", self.escalation.host)
    }

    fn what(&self) -> String {
        let Incident { title, runbook, .. } = &self.incident;
        format!("{title} (runbook {runbook}, run {})", self.journal.run)
    }

    fn taken(&self) -> String {
        length((self.clock.now() - self.incident.since).as_seconds_f64().max(0.0))
    }

    /// Names contacts, and where they are reached.
    fn named(&self, what: &str, names: &BTreeSet<&str>) -> String {
        if names.is_empty() {
            return String::new();
        }
        let contact = |name: &&str| {
            let mut contacts = self.escalation.levels.iter().flat_map(|level| &level.contacts);
            contacts.find(|contact| contact.name == *name).map_or_else(|| (*name).to_owned(), Contact::to_string)
        };
        format!(" {what}: {}.", names.iter().map(contact).collect::<Vec<_>>().join("; "))
    }
}
