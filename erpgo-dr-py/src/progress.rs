//! From the library's progress events to a callback `(phase, done, total)`.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use erpgo_dr_core::progress::{Phase, Progress, ProgressEvent};
use pyo3::prelude::*;
use tokio::sync::Notify;

use crate::host::{Context, Raised};

/// Calls of a callback are at least this far apart; what happens between two is one.
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Copy)]
struct Update {
    phase: &'static str,
    done: u64,
    total: Option<u64>,
    finished: bool,
}

#[derive(Default)]
struct State {
    current: HashMap<&'static str, Update>,
    waiting: VecDeque<Update>,
}

/// Collects events, and passes them on at the pace of the callback. Memory is bounded by the number of phases.
pub(crate) struct ProgressRelay {
    callback: Option<Py<PyAny>>,
    state: Mutex<State>,
    changed: Notify,
    closed: Switch,
}

impl ProgressRelay {
    pub(crate) fn new(callback: Option<Py<PyAny>>) -> Self {
        Self { callback, state: Mutex::default(), changed: Notify::new(), closed: Switch::default() }
    }

    /// Begins a phase.
    pub(crate) fn started(&self, phase: &'static str, total: Option<u64>) {
        self.change(|state| {
            let update = Update { phase, done: 0, total, finished: false };
            state.current.insert(phase, update);
            state.waiting.push_back(update);
        });
    }

    /// Goes on by some bytes.
    pub(crate) fn advanced(&self, phase: &'static str, bytes: u64) {
        self.change(|state| {
            let Some(update) = state.current.get_mut(phase) else { return };
            update.done += bytes;
            let update = *update;
            match state.waiting.iter_mut().rev().find(|waiting| waiting.phase == phase && !waiting.finished) {
                Some(waiting) => *waiting = update,
                None => state.waiting.push_back(update),
            }
        });
    }

    /// Ends a phase: the total is then what was done.
    pub(crate) fn finished(&self, phase: &'static str) {
        self.change(|state| {
            let Some(update) = state.current.remove(phase) else { return };
            state.waiting.push_back(Update { total: Some(update.done), finished: true, ..update });
        });
    }

    /// Passes updates on until [`close`](Self::close) or an exception of the callback.
    pub(crate) async fn relay(&self, context: &Context) -> Result<(), Raised> {
        if self.callback.is_none() {
            self.closed.turned_on().await;
            return Ok(());
        }
        loop {
            self.changed.notified().await;
            // Looked at first: what comes before the close is then delivered.
            let closed = self.closed.is_on();
            self.deliver(context).await?;
            if closed {
                return Ok(());
            }
            let _ = tokio::time::timeout(PAUSE, self.closed.turned_on()).await;
        }
    }

    /// Ends the relay once it has passed on what is waiting.
    pub(crate) fn close(&self) {
        self.closed.turn_on();
        self.changed.notify_one();
    }

    async fn deliver(&self, context: &Context) -> Result<(), Raised> {
        let updates = std::mem::take(&mut self.lock().waiting);
        if updates.is_empty() {
            return Ok(());
        }
        let relay = std::sync::Arc::clone(&context.progress);
        context.notify(move |py| updates.into_iter().try_for_each(|update| relay.tell(py, update))).await
    }

    fn tell(&self, py: Python<'_>, update: Update) -> PyResult<()> {
        let Some(callback) = &self.callback else { return Ok(()) };
        callback.call1(py, (update.phase, update.done, update.total)).map(drop)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        if self.callback.is_some() {
            change(&mut self.lock());
            self.changed.notify_one();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something that happens once, and can be waited for.
#[derive(Default)]
pub(crate) struct Switch {
    on: AtomicBool,
    changed: Notify,
}

impl Switch {
    /// Lets it happen.
    pub(crate) fn turn_on(&self) {
        self.on.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Returns whether it has happened.
    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Ordering::Acquire)
    }

    /// Waits until it has happened.
    pub(crate) async fn turned_on(&self) {
        // Registered before the look, so that a change in between is not missed.
        let changed = self.changed.notified();
        if !self.is_on() {
            changed.await;
        }
    }
}

impl Progress for ProgressRelay {
    fn report(&self, event: ProgressEvent<'_>) {
        match event {
            ProgressEvent::Started { phase, total_bytes, .. } => self.started(Phase::name(phase), total_bytes),
            ProgressEvent::Advanced { phase, bytes } => self.advanced(phase.name(), bytes),
            ProgressEvent::Finished { phase, .. } => self.finished(phase.name()),
            _ => {}
        }
    }
}
