//! What is said to a service manager, where there is one: `sd_notify`.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Says that the service is ready, and what it is about.
pub(in crate::commands) fn ready(status: &str) {
    say(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Says what the service is about.
pub(in crate::commands) fn status(status: &str) {
    say(&[NotifyState::Status(status)]);
}

/// Says that the configuration is read anew. [`ready`] follows, whatever came of it.
pub(in crate::commands) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => say(&[NotifyState::Reloading, now]),
        Err(_) => say(&[NotifyState::Reloading]),
    }
}

/// Says that the service ends, which may take so long.
pub(in crate::commands) fn stopping(grace: Duration) {
    let microseconds = u32::try_from(grace.as_micros()).unwrap_or(u32::MAX);
    say(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(microseconds)]);
}

/// Says that the service is alive.
pub(in crate::commands) fn alive() {
    say(&[NotifyState::Watchdog]);
}

/// Tells when that must be said, with as much time to spare.
pub(in crate::commands) struct Watchdog(Option<Interval>);

impl Watchdog {
    /// Asks the service manager, if there is one, how often it wants to hear of the service.
    pub(in crate::commands) fn new() -> Self {
        let period = sd_notify::watchdog_enabled().map(|limit| limit / 2).filter(|period| !period.is_zero());
        let mut ticks = period.map(interval);
        if let Some(ticks) = &mut ticks {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        Self(ticks)
    }

    /// Waits until it must be said again; for ever where nobody asks.
    pub(in crate::commands) async fn tick(&mut self) {
        match &mut self.0 {
            Some(ticks) => drop(ticks.tick().await),
            None => std::future::pending().await,
        }
    }
}

fn say(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}
