//! What is said to a service manager, where there is one: `sd_notify`.

use std::time::Duration;

use sd_notify::NotifyState;

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

/// Returns how often that must be said, with as much to spare; `None` where nobody asks.
pub(in crate::commands) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2).filter(|period| !period.is_zero())
}

fn say(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}
