//! Ctrl-C and SIGTERM: the work is dropped, which cancels it, and what cleans up behind it is waited for. Work that has asked for it is
//! told to stop instead, and ends by itself.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use crate::context::Context;
use crate::error::{CliError, Signal};
use crate::output::Report;

/// A request to stop, for work that ends by itself when it is told to.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    is_heard: AtomicBool,
    requests: Notify,
}

impl Stop {
    /// Waits for the request. From the call on, the first signal is one.
    pub(crate) fn requested(&self) -> impl Future<Output = ()> + Send + use<'_> {
        self.is_heard.store(true, Ordering::Release);
        self.requests.notified()
    }
}

/// Runs `work` until it ends or the process is told to stop. A second signal ends the process at once.
pub(crate) async fn run(
    work: impl Future<Output = Result<Report, CliError>>,
    context: &Context,
) -> Result<Report, CliError> {
    // The work ends with this: dropping it cancels it, and what cleans up behind it is waited for below.
    let outcome = until_told(work, context).await;
    let Err(CliError::Interrupted { signal, .. }) = outcome else {
        return tokio::select! {
            () = context.cleanups.settle() => outcome,
            caught = caught() => Err(CliError::Interrupted { signal: caught?, left: context.cleanups.remains() }),
        };
    };
    context.prompts.restore_terminal();
    context.output.note("interrupted: cleaning up (once more to stop at once)");
    let signal = tokio::select! {
        () = context.cleanups.settle() => signal,
        again = caught() => again?,
    };
    Err(CliError::Interrupted { signal, left: context.cleanups.remains() })
}

/// Waits for the end of `work`, or for a signal that it has not asked for.
async fn until_told(
    work: impl Future<Output = Result<Report, CliError>>,
    context: &Context,
) -> Result<Report, CliError> {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            caught = caught() => {
                let signal = caught?;
                if !context.stop.is_heard.swap(false, Ordering::AcqRel) {
                    return Err(CliError::Interrupted { signal, left: Vec::new() });
                }
                context.output.note("stopping (once more to give up what is under way)");
                context.stop.requests.notify_one();
            }
            outcome = work.as_mut() => return outcome,
        }
    }
}

async fn caught() -> Result<Signal, CliError> {
    let listen = |kind| signal(kind).map_err(|source| crate::error::io("listen for signals", source));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    Ok(tokio::select! {
        _ = interrupt.recv() => Signal::Interrupt,
        _ = terminate.recv() => Signal::Terminate,
    })
}
