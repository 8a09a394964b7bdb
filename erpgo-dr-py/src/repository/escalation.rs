//! Who is told when a run takes long: callables of Python.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use erpgo_dr_core::agent::AgentOptions;
use erpgo_dr_core::runbook::{Contact, Escalation, EscalationLevel, Notifier, NotifyError};
use pyo3::prelude::*;

use crate::errors::{invalid, runbook_exception};

/// Levels of escalation as Python gives them: seconds after the incident, and callables by the names of contacts.
pub(super) type Levels = Vec<(f64, HashMap<String, Py<PyAny>>)>;

/// Makes levels of what Python gave.
pub(super) fn escalation(py: Python<'_>, levels: Option<Levels>) -> PyResult<Option<Arc<Escalation>>> {
    let Some(levels) = levels else { return Ok(None) };
    let mut made = Vec::with_capacity(levels.len());
    for (after, callables) in levels {
        let after = Duration::try_from_secs_f64(after)
            .map_err(|error| invalid(py, &format!("escalation: {after} is no number of seconds: {error}")))?;
        if let Some((name, _)) = callables.iter().find(|(_, tell)| !tell.bind(py).is_callable()) {
            return Err(invalid(py, &format!("escalation: what is to tell {name} is no callable")));
        }
        let mut contacts: Vec<Contact> =
            callables.into_iter().map(|(name, tell)| Contact::new(name, Arc::new(Callable(Arc::new(tell))))).collect();
        contacts.sort_by(|one, other| one.name.cmp(&other.name));
        made.push(EscalationLevel::new(after.into(), contacts));
    }
    let host = AgentOptions::of_this_host().host;
    let escalation = Escalation::new(host, made).map_err(|error| runbook_exception(py, &error))?;
    Ok(Some(Arc::new(escalation)))
}

/// A callable that takes the message. What it raises is why the contact could not be told.
struct Callable(Arc<Py<PyAny>>);

impl std::fmt::Debug for Callable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Callable")
    }
}

#[async_trait]
impl Notifier for Callable {
    async fn tell(&self, message: &str) -> Result<(), NotifyError> {
        let (tell, message) = (Arc::clone(&self.0), message.to_owned());
        // A thread of its own: the caller's may be waiting for the operator.
        let told = tokio::task::spawn_blocking(move || {
            Python::attach(|py| tell.call1(py, (message,)).map(drop).map_err(|error| error.to_string()))
        });
        let told = told.await.unwrap_or_else(|error| Err(error.to_string()));
        told.map_err(|reason| NotifyError { reason })
    }
}
